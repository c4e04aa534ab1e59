// Reads the sections and writes one script, which also runs from a file, with what searches them.

import { build } from "esbuild";
import { readFileSync } from "node:fs";

const [outfile] = process.argv.slice(2);
const sections = {
  name: "sections",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^sections$/ }, () => ({ path: "sections", namespace: "stdin" }));
    onLoad({ filter: /./, namespace: "stdin" }, () => ({
      contents: readFileSync(0, "utf8"),
      loader: "json",
    }));
  },
};

await build({
  entryPoints: ["search/search.js"],
  outfile,
  plugins: [sections],
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  logLevel: "warning",
  banner: { js: `/* With MiniSearch:\n${readFileSync("node_modules/minisearch/LICENSE.txt", "utf8")}*/` },
});
