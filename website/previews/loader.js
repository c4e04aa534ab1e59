// Load the previews of this page when the first link that has one may be wanted.

const here = document.currentScript.src;

function load(name) {
  const script = document.createElement("script");
  script.src = new URL(`previews/${name}.js`, here).href;
  script.async = false;
  document.head.append(script);
}

function onFirst({ target }) {
  if (!target.closest("article a[href*='#']")) return;
  for (const event of ["mouseover", "focusin"]) removeEventListener(event, onFirst);
  load(location.pathname.split("/").pop().replace(/\.html$/, ""));
  load("box");
}

for (const event of ["mouseover", "focusin"]) addEventListener(event, onFirst);
