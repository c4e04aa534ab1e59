// Reads a list of {tex, display} and writes the list of their MathML.
import { readFileSync } from "node:fs";
import temml from "temml";

const formulas = JSON.parse(readFileSync(0, "utf8"));
const typeset = formulas.map(({ tex, display }) => {
  try {
    return temml.renderToString(tex, { displayMode: display, throwOnError: true, wrap: "none" });
  } catch (error) {
    throw new Error(`${error.message}\nin ${tex}`);
  }
});
process.stdout.write(JSON.stringify(typeset));
