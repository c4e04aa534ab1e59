// The theme's search dialog shows and hides itself; this makes it modal while it is shown.
const dialog = document.querySelector(".search-button__wrapper");
const others = [...document.body.children].filter((element) => element !== dialog);
const hint = document.createElement("p");
hint.append("Enter shows the results");
hint.className = "search-hint";
hint.id = "search-hint";
dialog.role = "dialog";
dialog.ariaModal = "true";
dialog.ariaLabel = "Search";
dialog.lastElementChild.append(hint);
dialog.querySelector("input").setAttribute("aria-describedby", hint.id);

let opener; // what had the focus before
dialog.addEventListener("focusin", ({ relatedTarget }) => {
  opener = relatedTarget ?? opener;
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") dialog.classList.remove("show");
});
new MutationObserver(() => {
  const isShown = dialog.classList.contains("show");
  for (const element of others) element.inert = isShown;
  if (isShown) return;
  opener?.focus();
  opener = null;
}).observe(dialog, { attributeFilter: ["class"] });
