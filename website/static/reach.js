// What is wider than the page scrolls within itself; then it is a stop of the tab key.
const wide = new ResizeObserver((changes) => {
  const measured = changes.map(({ target }) => [target, target.scrollWidth > target.clientWidth]);
  for (const [target, scrolls] of measured) {
    if (scrolls) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
document
  .querySelectorAll("article :is(pre, .output, div.math, .pst-scrollable-table-container)")
  .forEach((element) => wide.observe(element));
