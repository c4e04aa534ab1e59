/** One sample, what each estimator makes of it, and the variance that a weight would give. */

import { choice, counter, explorable, range } from "./shared.js";
import { fixed, gap, klNormal, logNormal, normals, rough, spaced, sum } from "./shared.js";

const NAMES = ["k1", "k2", "k3", "weighted"];
const LABELS = ["k1", "k2", "k3", "k1 + λ(r − 1)"];
const SERIES = ["k1", "k2", "k3", "optimal"];
const WEIGHT = { min: -0.2, max: 1.4, step: 0.02 };
const WEIGHTS = spaced(WEIGHT.min, WEIGHT.max, 161);
const BINS = 42;

/** The name of an estimator, in one line. */
const called = (estimator) => LABELS[NAMES.indexOf(estimator)].replaceAll(" ", "\u00a0");
const count = (size) => Math.round(10 ** size);
const square = (x) => x * x;
const mean = (values) => sum(values) / values.length;

/** Sum of products of deviations, over n − 1. */
function covariance(a, b) {
  const [meanA, meanB] = [mean(a), mean(b)];
  return sum(a.map((each, k) => (each - meanA) * (b[k] - meanB))) / (a.length - 1);
}

/** What is exact, for p = N(0, 1) and q = N(shift, width²). */
function exact(shift, width) {
  const kl = klNormal(0, 1, shift, width);
  const reverse = klNormal(shift, width, 0, 1);
  // k1 is a quadratic of a normal, a x² + b x + c, with the cumulants kl, v, third and fourth.
  const a = (1 / square(width) - 1) / 2;
  const b = -shift / square(width);
  const v = 2 * a * a + b * b;
  const third = 8 * a ** 3 + 6 * a * b * b;
  const fourth = 48 * a * a * (a * a + b * b);
  // In the tails p r² goes as exp(x²/2 − x²/width²), so that its integral needs a width below √2.
  const room = 2 - square(width);
  const logSecond = square(shift) / room - Math.log1p(-square(1 - square(width))) / 2;
  return {
    kl,
    var_k1: v,
    jeffreys: kl + reverse,
    chi2: room > 0 ? Math.expm1(logSecond) : Infinity,
    mean_k2: (v + kl * kl) / 2,
    var_k2: (fourth + 4 * third * kl + 2 * v * v + 4 * v * kl * kl) / 4,
  };
}

/** The variance of k1 + weight · (r − 1). */
function parabola(weight, var_k1, jeffreys, chi2) {
  return weight === 0 ? var_k1 : var_k1 - 2 * weight * jeffreys + square(weight) * chi2;
}

/** Count the values of each bin; bin k begins at k steps, so that none holds both signs. */
function histogram(values, step, first) {
  const counts = Array(BINS).fill(0);
  for (const value of values) {
    const bin = Math.floor(value / step) - first;
    if (bin in counts) counts[bin]++;
  }
  return counts;
}

function compute({ shift, width, size, weight, estimator, seed }) {
  const truth = exact(shift, width);
  const { kl, var_k1, jeffreys, chi2 } = truth;
  const logRatio = (x) => logNormal(x, shift, width) - logNormal(x, 0, 1);
  const logR = normals(seed, count(size)).map(logRatio);
  const k1 = logR.map((each) => -each);
  const excess = logR.map(Math.expm1); // r − 1
  const values = [
    k1,
    logR.map((each) => square(each) / 2),
    logR.map(gap),
    k1.map((each, k) => each + weight * excess[k]),
  ];
  const means = values.map(mean);
  const errors = values.map((each) => Math.sqrt(covariance(each, each) / each.length));
  const chosen = NAMES.indexOf(estimator);
  const step = (7 * Math.sqrt(var_k1)) / BINS || 1;
  const first = Math.round(kl / step - BINS / 2);
  const sample = [covariance(k1, k1), -covariance(k1, excess), covariance(excess, excess)];
  const at = (each) => parabola(each, var_k1, jeffreys, chi2);
  const variances = [var_k1, truth.var_k2, at(1), at(weight)];
  return {
    ...truth,
    best: jeffreys / chi2 || 0,
    n: k1.length,
    means,
    errors,
    sample,
    sample_best: sample[1] / sample[2] || 0,
    mean: means[chosen],
    error: errors[chosen],
    expected: chosen === 1 ? truth.mean_k2 : kl,
    exact_std: Math.sqrt(variances[chosen]),
    step,
    first,
    below: values[chosen].filter((each) => each < first * step).length,
    counts: histogram(values[chosen], step, first),
    counts_k1: histogram(k1, step, first),
    extremes: [Math.min(...values[chosen]), Math.max(...values[chosen])],
  };
}

/** What is said, in two lines, of values that are not drawn. */
function offTheChart(number, furthest) {
  const values = number === 1 ? "1 value" : `${number.toLocaleString("en")} values`;
  return [`${values} off`, `the chart (${rough(furthest)})`];
}

const isWide = (width) => width >= 560;

/** Where a panel lies: beside one another, or all below one another. */
function layout(figure) {
  const wide = isWide(figure.width);
  const width = wide ? figure.width / 2 : figure.width;
  const tall = wide ? 160 : 140;
  return {
    histogram: { width, height: tall },
    means: { width, top: tall, height: 140 },
    parabola: wide ? { width, left: width, height: 300 } : { top: 280, height: 180 },
  };
}

function drawHistogram(figure, { estimator }, numbers) {
  const { n, step, first, below, counts, counts_k1, kl, extremes } = numbers;
  const edge = (k) => (first + k) * step;
  const chosen = NAMES.indexOf(estimator);
  const top = (1.1 * Math.max(...counts, ...counts_k1)) / n;
  const panel = figure.panel("values", {
    ...layout(figure).histogram,
    x: [edge(0), edge(BINS)],
    y: [0, top],
    xLabel: "nats",
    yLabel: `bars: ${LABELS[chosen]}, share of the sample`,
  });
  const bars = counts.map((each, k) => [edge(k), edge(k + 1), each / n]);
  const outline = counts_k1.flatMap((each, k) => [[edge(k), each / n], [edge(k + 1), each / n]]);
  panel.rule("truth", { x: kl }, "exact");
  panel.bars("bars", bars, SERIES[chosen]);
  panel.line("k1", outline, "k1");
  const above = n - below - sum(counts);
  const sides = [
    { number: below, x: edge(0), furthest: extremes[0], dx: 8, anchor: "start" },
    { number: above, x: edge(BINS), furthest: extremes[1], anchor: "end" },
  ];
  for (const { number, x, furthest, ...place } of sides.filter(({ number }) => number)) {
    const [first, second] = offTheChart(number, furthest);
    panel.text(`${place.anchor} number`, [x, top], first, { ...place, dy: 8 });
    panel.text(`${place.anchor} furthest`, [x, top], second, { ...place, dy: 22 });
  }
}

function drawMeans(figure, _, { n, kl, var_k1, mean_k2, means, errors }) {
  const furthest = Math.max(...[mean_k2, ...means].map((each) => Math.abs(each - kl)));
  const half = Math.max(1.5 * kl, 1.1 * furthest, 3 * Math.sqrt(var_k1 / n)) || 1;
  const panel = figure.panel("means", {
    ...layout(figure).means,
    x: [kl - half, kl + half],
    y: [3.6, -0.6],
    rows: ["k1", "k2", "k3", "λ"],
    xLabel: "nats",
    yLabel: "mean ± standard error",
  });
  panel.rule("truth", { x: kl }, "exact");
  panel.line("mean of k2", [0.6, 1.4].map((y) => [mean_k2, y]), "exact");
  means.forEach((each, k) => {
    const [from, to] = [each - errors[k], each + errors[k]].map(panel.x);
    panel
      .put(`error ${k}`, "path")
      .attr("class", `whisker series-${SERIES[k]}`)
      .attr("d", `M${from},${panel.y(k)}H${to}`);
    panel.dots(`mean ${k}`, [[each, k]], SERIES[k]);
  });
}

function drawParabola(figure, { weight }, { var_k1, jeffreys, chi2, best, sample, sample_best }) {
  const finite = chi2 < Infinity;
  const panel = figure.panel("parabola", {
    ...layout(figure).parabola,
    x: [WEIGHT.min, WEIGHT.max],
    y: [0, 2],
    xLabel: "weight λ",
    yLabel: `variance, in units of k1’s exact one${finite ? "" : "; exact: ∞"}`,
  });
  const relative = (each, ...terms) => parabola(each, ...terms) / (var_k1 || 1);
  const height = (each) => relative(each, var_k1, jeffreys, chi2);
  const curve = (of) => WEIGHTS.map((each) => [each, of(each)]);
  const ofSample = (each) => relative(each, ...sample);
  panel.line("sample", curve(ofSample), "optimal");
  if (finite) panel.line("exact", curve(height), "exact");
  // What lies outside has its name at the edge, an arrow, and how far it is.
  const mark = (at, value, name, series, place) => {
    const point = [Math.min(at, WEIGHT.max), Math.min(2, value)];
    const [far, high] = [at > WEIGHT.max, value > 2];
    if (far || high) {
      const beyond = high ? `↑ ${rough(value)}` : `→ ${rough(at)}`;
      const dy = high ? 14 : place.dy;
      panel.text(`name of ${name}`, point, `${name} ${beyond}`, { dy, anchor: "end" });
    } else {
      panel.dots(name, [point], series);
      panel.text(`name of ${name}`, point, name, place);
    }
  };
  const right = { dx: 9, dy: -7 };
  const left = { dx: -9, dy: -7, anchor: "end" };
  mark(0, height(0), "k1", "k1", right);
  mark(1, height(1), "k3", "k3", best < 0.9 ? { dx: 9, dy: 4 } : left);
  mark(best, height(best), "λ*", "exact", best > 0.2 ? right : { ...left, dy: 16 });
  const lowest = ofSample(sample_best);
  const beside = { dy: lowest > 0.3 ? 18 : -24, anchor: "middle" };
  mark(sample_best, lowest, "sample’s λ*", "optimal", beside);
  drawWeight(figure, panel, weight, finite ? height(weight) : ofSample(weight));
}

/** The handle on the curve, at its top if that is higher, and its name out of the others' way. */
function drawWeight(figure, panel, weight, value) {
  const [y, high] = [Math.min(2, value), value > 2];
  const name = `λ = ${fixed(weight, 2)}${high ? ` ↑ ${rough(value)}` : ""}`;
  const at = high ? [2, 30] : value > 0.45 ? [0, -6] : [y, -38];
  const anchor = weight > 1 ? "end" : weight < 0.2 ? "start" : "middle";
  panel.line("weight", [[weight, 0], [weight, y]], "optimal thin");
  panel.text("weight name", [weight, at[0]], name, { dy: at[1], anchor });
  figure.handle("weight", { panel, x: weight, y, value: (x) => x, series: "optimal" });
}

function note(_, { chi2, best, var_k1, sample_best }) {
  if (var_k1 === 0) return "q is p: every value is zero, whatever the sample and the weight.";
  if (chi2 === Infinity) {
    return (
      "The variance of q is above two: k3’s is infinite. The sample hides it, so don’t trust k3’s " +
      "error bar."
    );
  }
  const words = best > 0.5 ? ["above", "k3 is quieter than k1"] : ["below", "k1 is quieter than k3"];
  return (
    `The exact λ* is ${fixed(best, 2)}, ${words[0]} one half: ${words[1]}. ` +
    `The sample makes it ${fixed(sample_best, 2)}.`
  );
}

explorable("estimators", {
  title: "One sample, four estimates",
  intro:
    "p is the standard normal, r = q/p; k1 = −log r, k2 = ½ (log r)², k3 = r − 1 − log r. " +
    "Draw again, move or widen q, drag the dot along the weights.",
  caption:
    "Near equality k3 is far quieter than k1. With q as wide as p it stays quieter up to 0.628 " +
    "nats, with a wider q less far, with a narrower one further. The exact λ* is never noisier " +
    "than either. All four estimates come from one sample; the long upright line is the " +
    "divergence, the short one what k2 tends to.",
  controls: [
    counter("seed", { label: "Draw again" }),
    range("shift", { label: "mean of q", min: 0, max: 2, step: 0.05, value: 1 }),
    range("width", { label: "sd of q", min: 0.5, max: 2, step: 0.05, value: 1 }),
    range("weight", { label: "weight λ", value: 0.3, ...WEIGHT }),
    range("size", {
      label: "samples",
      min: 1,
      max: 4,
      step: 0.5,
      value: 2,
      format: (size) => count(size).toLocaleString("en"),
    }),
    choice("estimator", {
      label: "Show",
      options: Object.fromEntries(NAMES.map((name, k) => [name, LABELS[k]])),
      value: "k3",
    }),
  ],
  compute,
  readouts: [
    { name: "kl", label: "KL(p ‖ q)", unit: "nats" },
    { name: "expected", label: ({ estimator }) => `exact mean of ${called(estimator)}`, unit: "nats" },
    { name: "exact_std", label: ({ estimator }) => `exact sd of ${called(estimator)}`, unit: "nats" },
    { name: "mean", label: ({ estimator }) => `sample mean of ${called(estimator)}`, unit: "nats" },
    { name: "error", label: "its standard error", unit: "nats" },
  ],
  legend: [
    ["exact", "exact"],
    ["from the sample", "optimal"],
    ["values of k1", "k1"],
  ],
  say: ({ estimator }, { n, kl, mean, error }) =>
    `${LABELS[NAMES.indexOf(estimator)]} of ${n.toLocaleString("en")} samples: ${fixed(mean, 4)} ± ` +
    `${fixed(error, 4)} nats; KL(p ‖ q) is ${fixed(kl, 4)} nats.`,
  note,
  height: (width) => (isWide(width) ? 300 : 460),
  draw(figure, settings, numbers) {
    drawHistogram(figure, settings, numbers);
    drawMeans(figure, settings, numbers);
    drawParabola(figure, settings, numbers);
  },
});
