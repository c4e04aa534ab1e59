/** Two normal densities, the divergence both ways, and where on the line it comes from. */

import { choice, explorable, range, toggle } from "./shared.js";
import { fixed, gap, klNormal, logNormal, spaced } from "./shared.js";

const EDGE = 12; // wide enough to leave next to nothing of a divergence outside
const GRID = spaced(-EDGE, EDGE, 481);
const MEAN = { min: -3, max: 3, step: 0.05 };
const WIDTH = { min: 0.4, max: 2.25, step: 0.05 };
const FORMULAS = {
  pq: ["p log(p/q)", "p log(p/q) − p + q"],
  qp: ["q log(q/p)", "q log(q/p) − q + p"],
};

const density = (mean, std) => GRID.map((x) => Math.exp(logNormal(x, mean, std)));

function integrand({ mean_p, std_p, mean_q, std_q, direction, shifted }) {
  const p = [mean_p, std_p];
  const q = [mean_q, std_q];
  const [first, second] = direction === "pq" ? [p, q] : [q, p];
  return GRID.map((x) => {
    const log = logNormal(x, ...first);
    const ratio = logNormal(x, ...second) - log;
    return Math.exp(log) * (shifted ? gap(ratio) : -ratio);
  });
}

function compute(settings) {
  const { mean_p, std_p, mean_q, std_q } = settings;
  return {
    kl_pq: klNormal(mean_p, std_p, mean_q, std_q),
    kl_qp: klNormal(mean_q, std_q, mean_p, std_p),
    x: GRID,
    p: density(mean_p, std_p),
    q: density(mean_q, std_q),
    integrand: integrand(settings),
  };
}

const curve = (values) => values.map((value, k) => [GRID[k], value]);

function drawDensities(figure, { mean_p, std_p, mean_q, std_q }, { p, q }) {
  const height = (distance, std) => Math.exp(logNormal(distance, 0, std));
  const panel = figure.panel("densities", {
    x: [-EDGE, EDGE],
    y: [0, 1.15 * Math.max(height(0, std_p), height(0, std_q))],
    height: figure.height / 2,
    yLabel: "density",
  });
  const handle = (name, x, y, value, series) => figure.handle(name, { panel, x, y, value, series });
  panel.line("p", curve(p), "first");
  panel.line("q", curve(q), "second");
  // p is widened on its left and q on its right, out of each other's way.
  handle("std_p", mean_p - std_p, height(std_p, std_p), (x) => mean_p - x, "first");
  handle("mean_p", mean_p, height(0, std_p), (x) => x, "first");
  handle("mean_q", mean_q, height(0, std_q), (x) => x, "second");
  handle("std_q", mean_q + std_q, height(std_q, std_q), (x) => x - mean_q, "second");
}

function drawIntegrand(figure, { direction, shifted }, { integrand }) {
  const panel = figure.panel("integrand", {
    x: [-EDGE, EDGE],
    y: [1.1 * Math.min(-0.02, ...integrand), 1.1 * Math.max(0.05, ...integrand)],
    top: figure.height / 2,
    height: figure.height / 2,
    xLabel: "x",
    yLabel: `integrand ${FORMULAS[direction][Number(shifted)]}, nats per unit of x`,
  });
  const series = direction === "pq" ? "first" : "second";
  panel.area("positive", curve(integrand.map((each) => Math.max(0, each))), series);
  panel.area("negative", curve(integrand.map((each) => Math.min(0, each))), "muted");
  panel.rule("zero", { y: 0 }, "axis");
  panel.line("curve", curve(integrand), series);
}

explorable("densities", {
  title: "Two densities, both directions",
  intro:
    "Drag a peak to move a density, or the dot on its flank to change its standard deviation (sd).",
  caption:
    "The divergence is the area above zero less the area below. It is the first argument that " +
    "weighs the log-ratio, so each direction looks where its own first argument is. " +
    "Adding the second density less the first, whose area is nil, leaves nothing below zero.",
  controls: [
    range("mean_p", { label: "mean of p", value: 0, ...MEAN }),
    range("std_p", { label: "sd of p", value: 1, ...WIDTH }),
    range("mean_q", { label: "mean of q", value: 1, ...MEAN }),
    range("std_q", { label: "sd of q", value: 2, ...WIDTH }),
    choice("direction", {
      label: "Integrand of",
      options: { pq: "KL(p ‖ q)", qp: "KL(q ‖ p)" },
      value: "pq",
    }),
    toggle("shifted", {
      label: ({ direction }) =>
        `add ${direction === "pq" ? "q − p" : "p − q"} (nothing below zero)`,
    }),
  ],
  compute,
  readouts: [
    { name: "kl_pq", label: "KL(p ‖ q)", unit: "nats" },
    { name: "kl_qp", label: "KL(q ‖ p)", unit: "nats" },
  ],
  legend: [
    ["p", "first"],
    ["q", "second"],
  ],
  say: ({ direction, shifted }, { kl_pq, kl_qp }) =>
    `KL(p ‖ q) is ${fixed(kl_pq, 4)} nats, KL(q ‖ p) is ${fixed(kl_qp, 4)} nats. ` +
    `Drawn is the integrand ${FORMULAS[direction][Number(shifted)]}.`,
  height: () => 380,
  draw(figure, settings, numbers) {
    drawDensities(figure, settings, numbers);
    drawIntegrand(figure, settings, numbers);
  },
});
