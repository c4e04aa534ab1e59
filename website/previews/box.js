// What a link leads to, in a box beside it.  `previews`, by the link's address, is of this page.

import "tippy.js/dist/tippy.css";
import "./box.css";
import { delegate } from "tippy.js";

const dismissible = {
  fn: (box) => {
    const onKey = ({ key }) => key === "Escape" && box.hide();
    return {
      onShow: () => addEventListener("keydown", onKey),
      onHide: () => removeEventListener("keydown", onKey),
    };
  },
};

const links = [...document.querySelectorAll("article a[href]")];
for (const link of links) link.toggleAttribute("data-preview", link.getAttribute("href") in previews);
delegate(document.querySelector("article"), {
  target: "[data-preview]",
  content: (link) => previews[link.getAttribute("href")],
  allowHTML: true,
  animation: false,
  appendTo: () => document.body,
  delay: [300, 100],
  interactive: true,
  maxWidth: "min(36rem, 90vw)",
  plugins: [dismissible],
  theme: "book",
});

// The link that all this was loaded for.
for (const [state, event] of [[":hover", "mouseover"], [":focus", "focusin"]]) {
  const link = document.querySelector(`[data-preview]${state}`);
  link?.dispatchEvent(new MouseEvent(event, { bubbles: true }));
}
