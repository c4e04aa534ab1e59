// Reads a list of {tex, display} and writes the list of their MathML.
import { readFileSync } from "node:fs";
import temml from "temml";

const formulas = JSON.parse(readFileSync(0, "utf8"));
const typeset = formulas.map(({ tex, display }) => {
  try {
    // `wrap` lets a formula within a sentence break where TeX would break it.
    return temml.renderToString(tex, { displayMode: display, throwOnError: true, wrap: "tex" });
  } catch (error) {
    throw new Error(`${error.message}\nin ${tex}`);
  }
});
process.stdout.write(JSON.stringify(typeset));
