/** All that explorables share, with D3, in one script: a reader loads it once for all pages. */

export * from "./shared/controls.js";
export * from "./shared/dom.js";
export * from "./shared/frame.js";
export * from "./shared/numerics.js";
