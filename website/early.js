// Before the first line is drawn: light or dark, and the fonts within the style sheet unpacked.
const { dataset } = document.documentElement;
if (dataset.theme !== "light" && dataset.theme !== "dark") {
  dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
document.fonts.forEach((face) => face.load());
