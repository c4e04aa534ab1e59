// Bundle the box of previews into the folder that is named.
import { build } from "esbuild";

const [outdir] = process.argv.slice(2);
await build({
  entryPoints: ["previews/box.js", "previews/loader.js"],
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
});
