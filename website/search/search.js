// The search page: its form, and the sections that answer what is asked.

import "./search.css";
import { search } from "./ranking.js";
import { marked, snippet } from "./snippet.js";

const SHOWN = 20;
const PAUSE = 150; // milliseconds without a key, so that what is read aloud is not cut off

const container = document.querySelector(".bd-search-container");
const form = container.querySelector("form");
const input = form.querySelector("input");
const summary = container.querySelector(".search-summary");
const list = container.querySelector(".search-sections");

/** Say how much was found, and which words were not. */
function summarise({ found, unknown, similar }) {
  const none = unknown.length ? `, none with ${quoted(unknown)}` : "";
  if (!found.length) return `No section has ${quoted(unknown) || "such words"}. Try other words.`;
  const number = found.length > SHOWN ? `The best ${SHOWN} of ${found.length}` : found.length;
  const meant = similar.length ? ` Did you mean ${quoted(similar)}?` : "";
  return `${number} section${found.length === 1 ? "" : "s"}${none}.${meant}`;
}

function quoted(words) {
  return words.map((word) => `“${word}”`).join(", ");
}

/** An element with these children, of which strings are text. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function entry({ page, title, address, text = "", terms }) {
  const highlight = (line) =>
    marked(line, terms).map(([part, isFound]) => (isFound ? element("mark", {}, part) : part));
  const path = page === title ? [] : [element("span", { className: "search-page" }, `${page} › `)];
  return element(
    "li",
    {},
    element("a", { href: address }, ...path, ...highlight(title)),
    element("p", {}, ...highlight(snippet(title, text, terms))),
  );
}

function show() {
  const query = input.value.trim();
  const results = search(query);
  summary.textContent = query ? summarise(results) : "";
  list.replaceChildren(...results.found.slice(0, SHOWN).map(entry));
  const address = query ? `?${new URLSearchParams({ q: query })}` : location.pathname;
  history.replaceState(null, "", address); // what the way back from a result leads to
}

let waiting;
input.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(show, PAUSE);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  show();
  list.querySelector("a")?.focus();
});

input.value = new URLSearchParams(location.search).get("q") ?? "";
input.focus();
input.select();
show();
