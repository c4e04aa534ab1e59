/** A small policy in training: where β, the estimator and its place lead, beside the optimum. */

import { choice, counter, explorable, range, toggle } from "./shared.js";
import { fixed, gap, sum, uniform } from "./shared.js";

// The reference and the rewards of the chapter: the best of five tokens is the rarest.
const REFERENCE = [0.3, 0.25, 0.2, 0.15, 0.1].map(Math.log);
const REWARDS = [0, 0.25, 0.5, 0.75, 1];
const STEPS = 200;
const GROUP = 16;
const BETA = { min: 0.1, max: 1, step: 0.01 };
const ESTIMATORS = { k1: "k1", k2: "k2", k3: "k3" };
const PLACES = {
  reward: "reward",
  loss: "loss",
  weighted: "loss, times π/π_old",
};

// What a penalty subtracts from the reward of a token, and what the score of the token is
// multiplied with when it is differentiated, plain or times π/π_old, by log π/π_ref.
const PENALTIES = {
  k1: { value: (x) => x, loss: () => 1, weighted: (x) => x + 1 },
  k2: { value: (x) => (x * x) / 2, loss: (x) => x, weighted: (x) => (x * x) / 2 + x },
  k3: { value: (x) => gap(-x), loss: (x) => -Math.expm1(-x), weighted: (x) => x },
};

const mean = (weights, values) => sum(weights.map((weight, k) => weight * values[k]));
const logRatios = (logs) => logs.map((log, k) => log - REFERENCE[k]);
const divergence = (logs) => mean(logs.map(Math.exp), logRatios(logs));
const reward = (logs) => mean(logs.map(Math.exp), REWARDS);

function normalised(logits) {
  const most = Math.max(...logits);
  const log = most + Math.log(sum(logits.map((each) => Math.exp(each - most))));
  return logits.map((each) => each - log);
}

/** Log-probabilities of the best policy at a price: the tilted reference. */
const tilted = (beta) => normalised(REFERENCE.map((log, k) => log + REWARDS[k] / beta));

const FRONTIER = Array.from({ length: 121 }, (_, k) => tilted(10 ** (1 - k / 40)));
const EDGE = {
  frontier_kl: FRONTIER.map(divergence),
  frontier_reward: FRONTIER.map(reward),
};
const PRICES = Array.from({ length: 91 }, (_, k) => BETA.min + k * BETA.step);
const DISTANCES = PRICES.map((beta) => divergence(tilted(beta)));

/** The price whose optimum is at about this divergence. */
function priceAt(kl) {
  const off = DISTANCES.map((each) => Math.abs(each - kl));
  return PRICES[off.indexOf(Math.min(...off))];
}

/** The share of each token in the group of a step. */
function drawn(probabilities, seed, step) {
  const share = probabilities.map(() => 0);
  for (let k = 0; k < GROUP; k++) {
    let left = uniform(seed, step * GROUP + k);
    let token = 0;
    while (token < share.length - 1 && left >= probabilities[token]) {
      left -= probabilities[token++];
    }
    share[token] += 1 / GROUP;
  }
  return share;
}

/** One step of ascent; with the probabilities as shares it is the mean over all groups. */
function ascend(logs, share, { estimator, place, beta }) {
  const penalty = PENALTIES[estimator];
  const ratios = logRatios(logs);
  const inReward = place === "reward";
  const paid = REWARDS.map((each, k) => each - (inReward ? beta * penalty.value(ratios[k]) : 0));
  const average = mean(share, paid);
  const slopes = ratios.map((ratio) => (inReward ? 0 : beta * penalty[place](ratio)));
  const pushes = share.map((each, k) => each * (paid[k] - average - slopes[k]));
  const total = sum(pushes);
  return normalised(logs.map((log, k) => log + pushes[k] - Math.exp(log) * total));
}

function train(settings) {
  const value = PENALTIES[settings.estimator].value;
  const path = { policies: [], rewards: [], divergences: [], logs: [] };
  let logs = REFERENCE;
  for (let step = 0; step <= STEPS; step++) {
    const policy = logs.map(Math.exp);
    const share = settings.sampled ? drawn(policy, settings.seed, step) : policy;
    path.policies.push(policy);
    path.rewards.push(reward(logs));
    path.divergences.push(divergence(logs));
    path.logs.push(mean(share, logRatios(logs).map(value)));
    logs = ascend(logs, share, settings);
  }
  return path;
}

function compute(settings) {
  const { beta, step } = settings;
  const path = train(settings);
  const best = tilted(beta);
  const [kl, gained] = [path.divergences[step], path.rewards[step]];
  const objective = gained - beta * kl;
  const optimum = reward(best) - beta * divergence(best);
  return {
    ...path,
    reward: gained,
    kl,
    logged: path.logs[step],
    objective,
    missing: optimum - objective,
    optimal_policy: best.map(Math.exp),
    optimal_reward: reward(best),
    optimal_kl: divergence(best),
    ...EDGE,
  };
}

const points = (x, y) => x.map((each, k) => [each, y[k]]);

function drawPlane(figure, box, { beta, step }, numbers) {
  const { kl, reward: gained, missing, optimal_kl, optimal_reward, divergences, rewards } = numbers;
  const [lowest, end] = [Math.min(0.34, ...rewards) - 0.04, -REFERENCE.at(-1)];
  const panel = figure.panel("plane", {
    x: [0, 1.04 * Math.max(end, ...divergences)],
    y: [lowest, 1.04],
    xLabel: "exact KL(π ‖ π_ref), nats",
    yLabel: "mean reward",
    ...box,
  });
  const level = (x) => optimal_reward + beta * (x - optimal_kl);
  panel.line("level", [[0, level(0)], [3, level(3)]], "second");
  panel.line("frontier", points(numbers.frontier_kl, numbers.frontier_reward), "exact");
  panel.line("missing", [[kl, gained], [kl, level(kl)]], "third");
  panel.line("path", points(divergences, rewards).slice(0, step + 1), "first");
  panel.dots("policy", [[kl, gained]], "first");
  const place = kl < end / 2 ? { dx: 9, dy: 16 } : { dx: 4, dy: 26, anchor: "end" };
  panel.text("gap", [kl, gained], `gap ${fixed(missing, 4)}`, place);
  figure.handle("beta", {
    panel,
    x: optimal_kl,
    y: optimal_reward,
    value: priceAt,
    series: "second",
  });
}

function drawTokens(figure, box, { step }, { policies, optimal_policy }) {
  const panel = figure.panel("tokens", {
    x: [-0.13, 1.13],
    y: [0, 1],
    xTicks: REWARDS,
    xLabel: "reward of the token",
    yLabel: "probability of the token",
    ...box,
  });
  const around = (k) => [REWARDS[k] - 0.08, REWARDS[k] + 0.08];
  panel.bars("policy", policies[step].map((height, k) => [...around(k), height]), "first");
  const marks = { muted: policies[0], second: optimal_policy };
  for (const [series, heights] of Object.entries(marks)) {
    heights.forEach((height, k) => {
      panel.line(`${series} ${k}`, around(k).map((x) => [x, height]), series);
    });
  }
}

const isWide = (width) => width >= 560;

explorable("grpo", {
  title: "One policy, nine uses of a penalty",
  intro:
    "Five tokens, the best of them the rarest, and a policy that starts at the reference. " +
    "Choose a penalty and its place, and see where the policy goes. " +
    "Drag the optimum along the frontier to change β. " +
    "π_old is π held fixed: π/π_old is one, but it is differentiated, too.",
  caption:
    "The optimum is where a line of slope β touches the frontier; the gap of a policy is how " +
    "far it lies below that line. With exact gradients only the uses that follow KL(π ‖ π_ref) " +
    "go there, the more slowly the smaller β: k1 in the reward, k2 in the loss, k1 or k3 times " +
    "π/π_old. Plain k3 in the loss keeps more of the worst token. k1 in the loss does not " +
    "feel β. k2 and k3 in the reward give tokens up for good, k3 at β = 1 even the best; so does " +
    "k2 times π/π_old, unless β is large. Sampled groups add noise.",
  controls: [
    range("step", { label: "step", min: 0, max: STEPS, step: 1, value: STEPS, play: 10 }),
    choice("estimator", { label: "Penalty", options: ESTIMATORS, value: "k3" }),
    choice("place", { label: "in the", options: PLACES, value: "loss" }),
    range("beta", { label: "β, reward per nat", value: 0.25, ...BETA }),
    toggle("sampled", { label: `sample a group of ${GROUP} for each step` }),
    counter("seed", { label: "Sample anew", also: { sampled: true } }),
  ],
  compute,
  readouts: [
    { name: "reward", label: "mean reward" },
    { name: "kl", label: "KL(π ‖ π_ref)", unit: "nats" },
    { name: "logged", label: ({ estimator }) => `mean of ${estimator}`, unit: "nats" },
    { name: "objective", label: "reward − β KL" },
    { name: "missing", label: "gap to the optimum" },
  ],
  legend: [
    ["policy", "first"],
    ["optimum for this β", "second"],
    ["gap to the optimum", "third"],
    ["reference", "muted"],
    ["frontier: most reward for each KL", "exact"],
  ],
  say: ({ estimator, place, beta, sampled, step }, numbers) =>
    `${estimator} in the ${PLACES[place].replace("_", " ")}, β ${fixed(beta, 2)}, ` +
    `${sampled ? "sampled" : "exact"} gradients: after ${step} steps the reward is ` +
    `${fixed(numbers.reward, 4)} at ${fixed(numbers.kl, 4)} nats from the reference, ` +
    `${fixed(numbers.missing, 4)} short of the optimum.`,
  height: (width) => (isWide(width) ? 320 : 420),
  draw(figure, settings, numbers) {
    const { width } = figure;
    const [left, right] = isWide(width)
      ? [{ width: 0.6 * width }, { left: 0.6 * width, width: 0.4 * width }]
      : [{ height: 250 }, { top: 250, height: 170 }];
    drawPlane(figure, left, settings, numbers);
    drawTokens(figure, right, settings, numbers);
  },
});
