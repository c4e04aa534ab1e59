// Bundle the explorables into the folder that is named: plain scripts, which also run from a file,
// and the licences of what is in them.

import { build } from "esbuild";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [outdir] = process.argv.slice(2);
const options = {
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  metafile: true,
  logLevel: "warning",
};

// What is imported from shared.js is not bundled again: it is there, under a global name.
const shared = {
  name: "shared",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/shared\.js$/ }, () => ({ path: "shared", namespace: "global" }));
    onLoad({ filter: /./, namespace: "global" }, () => ({ contents: "module.exports = explorables" }));
  },
};

const names = readdirSync("explorables").filter((name) => /\.(js|css)$/.test(name));
const others = names.filter((name) => name !== "shared.js");
await build({
  ...options,
  entryPoints: others.map((name) => join("explorables", name)),
  plugins: [shared],
});
const { metafile } = await build({
  ...options,
  entryPoints: ["explorables/shared.js"],
  globalName: "explorables",
});

const folders = Object.keys(metafile.inputs).map((path) => path.match(/^node_modules\/[^/]+/)?.[0]);
const licences = [...new Set(folders)]
  .filter((folder) => folder && existsSync(join(folder, "LICENSE")))
  .map((folder) => `${folder}\n\n${readFileSync(join(folder, "LICENSE"), "utf8")}`);
writeFileSync(join(outdir, "licences.txt"), licences.sort().join("\n"));
