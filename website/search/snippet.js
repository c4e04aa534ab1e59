// The part of a text that shows what was found in it.

import { term, words } from "./words.js";

const LENGTH = 200; // letters
const ROW = " · "; // between the cells of a table
const WORD = /([\p{L}\p{N}_]+)/u;

const isFound = (word, terms) => words(word).some((each) => terms.has(term(each)));

/** The line cut at its words, each part with whether it is one of the terms. */
export function marked(line, terms) {
  return line.split(WORD).map((part) => [part, isFound(part, terms)]);
}

/** The sentence with most of what the title doesn't say, and as much as there is room for. */
export function snippet(title, text, terms) {
  const said = words(title).map(term);
  const missing = new Set([...terms].filter((each) => !said.includes(each)));
  const sentences = text.split(/\n|(?<=[.?!]) /);
  const worth = sentences.map((each) => found(each, missing) / (each.includes(ROW) ? 2 : 1));
  const first = worth.indexOf(Math.max(...worth));
  let shown = sentences[first];
  for (const sentence of sentences.slice(first + 1)) {
    if (!/[.?!:]$/.test(shown) || shown.length + sentence.length > LENGTH) break;
    shown += ` ${sentence}`;
  }
  return shown;
}

function found(sentence, terms) {
  return new Set(words(sentence).map(term).filter((each) => terms.has(each))).size;
}
