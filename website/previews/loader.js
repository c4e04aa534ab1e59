// Load the previews of this page when the first link that has one may be wanted.

import { load } from "../load.js";

const here = document.currentScript.src;

function onFirst({ target }) {
  if (!target.closest("article a[href*='#']")) return;
  for (const event of ["mouseover", "focusin"]) removeEventListener(event, onFirst);
  const page = location.pathname.split("/").pop().replace(/\.html$/, "");
  for (const name of [page, "box"]) load(new URL(`previews/${name}.js`, here).href);
}

for (const event of ["mouseover", "focusin"]) addEventListener(event, onFirst);
