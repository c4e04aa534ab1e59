/** Load an explorable when the reader comes near it. */

const here = document.currentScript.src;
const loaded = new Set();

/** Run a script of this folder, once, and after those that were asked for before. */
function load(name) {
  if (loaded.has(name)) return;
  loaded.add(name);
  const script = document.createElement("script");
  script.src = new URL(`${name}.js`, here).href;
  script.async = false;
  document.head.append(script);
}

const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      watch.unobserve(entry.target);
      load("shared");
      load(entry.target.id);
    }
  },
  { rootMargin: "300px" },
);

for (const place of document.querySelectorAll(".explorable")) {
  place.dataset.address = new URL(`#${place.id}`, location.href).href; // for the print
  watch.observe(place);
}
