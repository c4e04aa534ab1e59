// What is wider than the page scrolls within itself; then it is a stop of the tab key.
const wide = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document
  .querySelectorAll("div.math, .pst-scrollable-table-container")
  .forEach((element) => wide.observe(element));

// What is out of sight is laid out as soon as the reader does anything.
for (const event of ["pointerdown", "keydown", "wheel", "scroll"]) {
  const arrive = () => delete document.documentElement.dataset.arriving;
  addEventListener(event, arrive, { once: true, passive: true });
}
