/** Load an explorable when the reader comes near it. */

import { load } from "../load.js";

const here = document.currentScript.src;
const loaded = new Set();

/** Run a script of this folder once. */
function once(name) {
  if (loaded.has(name)) return;
  loaded.add(name);
  load(new URL(`${name}.js`, here).href);
}

const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      watch.unobserve(entry.target);
      once("shared");
      once(entry.target.id);
    }
  },
  { rootMargin: "300px" },
);

for (const place of document.querySelectorAll(".explorable")) {
  place.dataset.address = new URL(`#${place.id}`, location.href).href; // for the print
  watch.observe(place);
}
