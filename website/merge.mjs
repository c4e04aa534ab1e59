// Merges style sheets and scripts, in the order given, into one of each; of the rules only those
// stay that the content uses.
import { readFileSync } from "node:fs";
import { build, transform } from "esbuild";
import { PurgeCSS } from "purgecss";

const { folder, sheets, scripts, content } = JSON.parse(readFileSync(0, "utf8"));
const { outputFiles: [{ text }] } = await build({
  stdin: {
    contents: sheets.map((sheet) => `@import ${JSON.stringify(`./${sheet}`)};`).join("\n"),
    resolveDir: folder,
    loader: "css",
  },
  bundle: true,
  loader: { ".png": "dataurl", ".svg": "dataurl" },
  external: ["*.woff2", "*.ttf"],
  minify: true,
  write: false,
});
const [{ css }] = await new PurgeCSS().purge({
  css: [{ raw: text }],
  content,
  // Words, for names, and whole values, for selectors such as [href*="claims.html#"].
  defaultExtractor: (page) => [...page.match(/[\w-]+/g), ...page.match(/[^\s"'<>=]+/g)],
  fontFace: true,
});
const { code } = await transform(scripts.join("\n;\n"), { minify: true });
process.stdout.write(JSON.stringify({ css, js: code }));
