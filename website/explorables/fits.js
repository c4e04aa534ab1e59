/** A normal fitted to two bumps in both directions, and how descent chooses among the optima. */

import { explorable, fixed, klNormal, logNormal, range, rough, spaced, sum } from "./shared.js";

const EDGE = 8;
const HIGHEST = 6.5; // standard deviation at the top of the map
const HIGHEST_LOSS = 3.5; // in the drawing: no optimum is higher
const GRID = spaced(-EDGE, EDGE, 321);
const STEPS = 200;
const RATE = 0.5;
/** Of the three panels. */
const heights = (width) => (width < 560 ? [120, 200, 120] : [150, 230, 140]);
const STARTS = [0.6, 2, 3.7, 5.4].flatMap((std) => spaced(-7, 7, 10).map((mean) => [mean, std]));

/** The target: bumps of variance one at ±d.  Its log-density is log cosh(dx + tilt) − x²/2 + … */
function bumps(d, weight, grain = 0.33) {
  const [tilt, level] = [weight / (1 - weight), weight * (1 - weight)].map((x) => Math.log(x) / 2);
  return { d, weight, tilt, level, grain };
}

/**
 * KL(N(mean, std²) ‖ target), its gradient, and its second derivatives (in mean, mixed, in std).
 *
 * The parabola in the log-density has a closed form.  The rest is a sum over equidistant points,
 * whose error is exp(−2πy/width), with y = π/(2d std) how far the poles of tanh are from the line.
 */
function reverse(mean, std, { d, tilt, level, grain }) {
  const width = Math.min(0.5, grain / (d * std));
  const count = Math.ceil(8 / width);
  let [log, first, second, third, fourth, fifth] = [0, 0, 0, 0, 0, 0];
  for (let k = -count; k <= count; k++) {
    const z = k * width;
    const mass = width * Math.exp(-z * z / 2);
    const u = d * (mean + std * z) + tilt;
    const small = Math.exp(-2 * Math.abs(u));
    const tanh = (Math.sign(u) * (1 - small)) / (1 + small);
    const bend = mass * (1 - tanh * tanh);
    log += mass * (Math.abs(u) + Math.log1p(small));
    first += mass * tanh;
    second += mass * tanh * z;
    third += bend;
    fourth += bend * z;
    fifth += bend * z * z;
  }
  const unit = 1 / Math.sqrt(2 * Math.PI);
  const [one, two] = [d * unit, d * d * unit];
  return {
    kl: (mean ** 2 + std ** 2 + d ** 2 - 1) / 2 - Math.log(std) - unit * log - level,
    slope: [mean - one * first, std - 1 / std - one * second],
    bends: [1 - two * third, -two * fourth, 1 + 1 / std ** 2 - two * fifth],
  };
}

/** The target's moments, and what is left: the fit's entropy less that of the target. */
function forward(target) {
  const { d, weight } = target;
  const mean = (2 * weight - 1) * d;
  const std = Math.sqrt(1 + 4 * weight * (1 - weight) * d * d);
  const within = weight * reverse(d, 1, target).kl + (1 - weight) * reverse(-d, 1, target).kl;
  return { mean, std, kl: Math.log(std) - within };
}

/** Gradient descent on mean and standard deviation: the points it visits, until it moves less. */
function descend(start, target, steps, least = 0) {
  const points = [start];
  for (let [mean, std] = start; points.length <= steps; points.push([mean, std])) {
    const [a, b] = reverse(mean, std, target).slope;
    if (Math.hypot(a, b) < least) break;
    mean -= RATE * a;
    std -= RATE * b;
  }
  return points;
}

/**
 * The way from a point to the optimum below it by Newton's method with the absolute Hessian, as in
 * the package: it does not linger where the loss is almost level.
 */
function settle([mean, std], target) {
  const points = [];
  for (let length = 1; length > 1e-9; points.push([mean, std])) {
    const { slope: [a, b], bends: [aa, ab, bb] } = reverse(mean, std, target);
    const size = Math.abs(aa * bb - ab * ab);
    const trace = Math.sqrt(aa * aa + 2 * ab * ab + bb * bb + 2 * size);
    const [right, mixed, up] = [aa * aa + ab * ab + size, ab * (aa + bb), bb * bb + ab * ab + size];
    const across = (a * up - b * mixed) / (trace * size);
    const along = (b * right - a * mixed) / (trace * size);
    length = Math.hypot(across, along);
    const share = Math.min(1, std / 4 / length);
    mean -= share * across;
    std -= share * along;
  }
  return points;
}

const same = (one) => (two) => Math.hypot(one[0] - two[0], one[1] - two[1]) < 1e-3;

/** Descent from all over the map, the optima that it finds, and the one below each start. */
const landscape = remember((d, weight) => {
  const [target, rough] = [bumps(d, weight), bumps(d, weight, 0.8)]; // streams are only drawn
  const streams = STARTS.map((start) => {
    const points = descend(start, rough, 100, 1e-2);
    return [...points, ...settle(points.at(-1), target)];
  });
  const ends = streams.map((points) => points.at(-1));
  const optima = ends.filter((end, k) => ends.findIndex(same(end)) === k);
  optima.sort(([one], [two]) => one - two);
  return {
    streams,
    optima: optima.map(([mean, std]) => [mean, std, reverse(mean, std, target).kl]),
    basins: ends.map((end) => optima.findIndex(same(end))),
  };
});

const walk = remember((d, weight, mean, std) => {
  const target = bumps(d, weight);
  const path = descend([mean, std], target, STEPS);
  const chosen = landscape(d, weight).optima.findIndex(same(settle(path.at(-1), target).at(-1)));
  return { path, losses: path.map(([m, s]) => reverse(m, s, target).kl), chosen };
});

/** Call a function only if its arguments are not those of the last call. */
function remember(act) {
  let [known, result] = [];
  return (...given) => {
    if (String(given) !== known) [known, result] = [String(given), act(...given)];
    return result;
  };
}

function compute({ distance, weight, start_mean, start_std, step }) {
  const target = bumps(distance, weight);
  const { optima, basins } = landscape(distance, weight);
  const { path, losses, chosen } = walk(distance, weight, start_mean, start_std);
  const best = forward(target);
  const [mean, std] = path[step];
  return {
    forward_mean: best.mean,
    forward_std: best.std,
    forward_pq: best.kl,
    forward_qp: reverse(best.mean, best.std, target).kl,
    mean,
    std,
    pq: best.kl + klNormal(best.mean, best.std, mean, std),
    qp: losses[step],
    path,
    losses,
    optima,
    basins,
    chosen,
    count: optima.length,
  };
}

const normal = (mean, std) => GRID.map((x) => [x, Math.exp(logNormal(x, mean, std))]);

function drawDensities(figure, { distance, weight }, { mean, std, forward_mean, forward_std }) {
  const bump = (x, middle) => Math.exp(logNormal(x, middle, 1));
  const density = (x) => (1 - weight) * bump(x, -distance) + weight * bump(x, distance);
  const panel = figure.panel("densities", {
    x: [-EDGE, EDGE],
    y: [0, 1.15 * Math.max(0.4, Math.exp(logNormal(0, 0, std)))],
    height: heights(figure.width)[0],
    yLabel: "density",
  });
  const target = GRID.map((x) => [x, density(x)]);
  panel.area("target", target, "muted");
  panel.line("outline", target, "muted");
  panel.line("forward", normal(forward_mean, forward_std), "second");
  panel.line("reverse", normal(mean, std), "first");
  const [x, y] = [distance, density(distance)];
  figure.handle("distance", { panel, x, y, value: (at) => at, series: "muted" });
}

function drawMap(figure, { distance, weight, start_mean, start_std, step }, numbers) {
  const { path, optima, basins, chosen, forward_mean, forward_std } = numbers;
  const [top, height] = heights(figure.width);
  const panel = figure.panel("map", {
    x: [-EDGE, EDGE],
    y: [0, HIGHEST],
    top,
    height,
    xLabel: "x, and mean of the model",
    yLabel: "standard deviation of the model",
  });
  landscape(distance, weight).streams.forEach((points, k) => {
    panel.line(`stream ${k}`, points, basins[k] === chosen ? "first thin" : "muted thin");
  });
  panel.line("path", path.slice(0, step + 1), "first");
  panel.dots("visited", path.slice(0, step), "first small");
  panel.dots("forward", [[forward_mean, forward_std]], "second");
  panel.text("forward name", [forward_mean, forward_std], "forward", { dy: -8, anchor: "middle" });
  panel.dots("optima", optima, "optimal");
  panel.dots("now", [path[step]], "first");
  // The number of an optimum gives way to the handle.
  const [below, beside] = [{ dy: 18, anchor: "middle" }, { dx: 9, dy: 4 }];
  optima.forEach((each, k) => {
    const [right, up] = [start_mean - each[0], start_std - each[1]];
    const hidden = Math.abs(right) < 1.2 && up < 0 && up > -1.5;
    panel.text(`loss ${k}`, each, fixed(each[2], 3), hidden ? beside : below);
  });
  figure.handle("start_mean", {
    panel,
    x: start_mean,
    y: start_std,
    value: (x) => x,
    upward: ["start_std", (y) => y],
    series: "first",
  });
}

function drawLosses(figure, { step }, { losses, optima }) {
  const [densities, map, height] = heights(figure.width);
  const panel = figure.panel("losses", {
    x: [0, 1.02 * STEPS],
    y: [0, HIGHEST_LOSS],
    top: densities + map,
    height,
    xLabel: "step",
    yLabel: "KL(q ‖ p) of the reverse fit, nats",
  });
  optima.forEach(([, , kl], k) => panel.rule(`optimum ${k}`, { y: kl }, "optimal"));
  panel.line("losses", losses.slice(0, step + 1).map((loss, k) => [k, loss]), "first");
  panel.dots("now", [[step, losses[step]]], "first");
  const above = losses[0] > HIGHEST_LOSS ? `starts at ${rough(losses[0])} ↑` : "";
  panel.text("above", [1.02 * STEPS, HIGHEST_LOSS], above, { dy: 8, anchor: "end" });
}

const slider = (name, label, min, max, value) =>
  range(name, { label, min, max, step: 0.05, value });

explorable("fits", {
  title: "Two bumps, both fits",
  intro:
    "A normal q is fitted to p. Drag the dot on the map to start the reverse fit elsewhere, or " +
    "the right bump to move both. Thin lines are descents from other starts, in colour if they " +
    "end where yours does; the numbers are KL(q ‖ p) at its optima, in nats.",
  caption:
    "The forward fit has one optimum: the moments decide. The reverse fit may have several, and " +
    "then its start decides. For equal bumps there are three once d is past 2.412, and below that " +
    "only the middle one, across both. At d = 4 the middle optimum disappears when two thirds of " +
    "the weight are in one bump, and the lighter bump keeps its own; nearer together, the lighter " +
    "loses it.",
  controls: [
    range("step", { label: "step", min: 0, max: STEPS, step: 1, value: STEPS, play: 15 }),
    slider("distance", "d: bumps at −d, d", 0.5, 5, 4),
    slider("weight", "weight on the right", 0.05, 0.95, 0.5),
    slider("start_mean", "mean at the start", -7, 7, 2),
    slider("start_std", "sd at the start", 0.4, 6, 3),
  ],
  compute,
  readouts: [
    { name: "qp", label: "reverse fit, KL(q ‖ p)", unit: "nats" },
    { name: "pq", label: "reverse fit, KL(p ‖ q)", unit: "nats" },
    { name: "forward_qp", label: "forward fit, KL(q ‖ p)", unit: "nats" },
    { name: "forward_pq", label: "forward fit, KL(p ‖ q)", unit: "nats" },
  ],
  legend: [
    ["target p", "muted"],
    ["forward fit", "second"],
    ["reverse fit", "first"],
  ],
  say: ({ step }, { qp, pq, mean, std, count }) =>
    `After ${step} steps the reverse fit has mean ${fixed(mean, 2)} and standard deviation ` +
    `${fixed(std, 2)}, KL(q ‖ p) ${fixed(qp, 4)} and KL(p ‖ q) ${fixed(pq, 4)} nats; ` +
    `its loss has ${count === 1 ? "one local optimum" : `${count} local optima`}.`,
  height: (width) => sum(heights(width)),
  draw(figure, settings, numbers) {
    drawDensities(figure, settings, numbers);
    drawMap(figure, settings, numbers);
    drawLosses(figure, settings, numbers);
  },
});
