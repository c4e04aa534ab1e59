// Before the first line is drawn: light or dark; the fonts within the style sheet unpacked; and
// nothing laid out that is out of sight, unless the address leads there.
const { dataset } = document.documentElement;
if (dataset.theme !== "light" && dataset.theme !== "dark") {
  dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
document.fonts.forEach((face) => face.load());
if (!location.hash) dataset.arriving = "";
