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
