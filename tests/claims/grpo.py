"""The GRPO formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import optimize, stats
from scipy.special import expit, logit, rel_entr, softmax

import kltutorial as kl
from tests.claims import claim, claim_each

AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo")


def k3(log_r: np.ndarray) -> np.ndarray:
    return np.exp(log_r) - 1 - log_r


def normalised(rewards: np.ndarray) -> np.ndarray:
    """Advantages of one group, divided by the standard deviation; 0 where that is 0."""
    deviation = rewards.std()
    return (rewards - rewards.mean()) / deviation if deviation else 0 * rewards


def gain(ratio: float, advantage: float, low: float, high: float) -> float:
    """The clipped policy term of one token."""
    return min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)


def aggregated(
    token: np.ndarray, mask: np.ndarray, aggregation: str, total: float, longest: float
) -> float:
    """Loss of a batch from the losses of its tokens."""
    rows = [row[kept] for row, kept in zip(token, mask, strict=True)]
    added = sum(row.sum() for row in rows)
    return {
        "grpo": np.mean([row.mean() for row in rows]),
        "bnpo": added / mask.sum(),
        "dapo": added / total,
        "dr_grpo": added / (len(rows) * longest),
    }[aggregation]


@claim
def grpo_advantage_rare() -> float:
    """Advantage of one success among four answers."""
    return normalised(np.array([1.0, 0, 0, 0]))[0]


@claim
def grpo_advantage_equal() -> str:
    """Advantages of the package where all rewards are equal, whatever they are."""
    found = [
        kl.group_advantages([[reward] * size], normalize_std=std, eps=eps)
        for reward in (0, 1, 1 / 3, 1e9 + 0.1)
        for size in (2, 7, 16)
        for std in (False, True)
        for eps in (0, 1e-4)
    ]
    return "zero" if all((a == 0).all() for a in found) else "not zero"


@claim
def grpo_advantage_sum() -> str:
    """Sums of the advantages over random groups, with and without the deviation."""
    groups = np.random.default_rng(0).normal(size=(1000, 8))
    sums = [kl.group_advantages(groups, normalize_std=s).sum(axis=1) for s in (False, True)]
    return "sum to zero" if np.abs(sums).max() < 1e-13 else "do not sum to zero"


@claim
def grpo_clip_overshoot() -> float:
    """Ratio of a token after a step of two along its score, from four equal chances."""
    return softmax(2 * (np.eye(4)[0] - 1 / 4))[0] / (1 / 4)


@claim
def grpo_clip_ten() -> str:
    """The lower side of the clip at ten: is a punished token with a tiny ratio still clipped?"""
    ratios = np.geomspace(1e-300, 1, 1000)
    same = [gain(ratio, -1, 10, 10) == -ratio for ratio in ratios]
    assert not all(gain(ratio, -1, 0.2, 0.2) == -ratio for ratio in ratios)
    return "never binds" if all(same) else "binds"


BEFORE, AFTER, UNIFORM = np.array([4, 2, 1, 1]) / 8, np.array([17, 1, 1, 1]) / 20, np.full(4, 1 / 4)


@claim
def grpo_stale_kl() -> float:
    """Divergence of the cat's distribution after the update from the uniform one."""
    return rel_entr(AFTER, UNIFORM).sum()


@claim
def grpo_stale_k1() -> float:
    """Mean of k1 over samples from before the update."""
    return BEFORE @ np.log(AFTER / UNIFORM)


@claim
def grpo_stale_k3() -> float:
    """Mean of k3 over samples from before the update."""
    return BEFORE @ k3(np.log(UNIFORM / AFTER))


@claim
def grpo_stale_weighted() -> float:
    """The same, each value times the ratio of the new policy to the old."""
    return BEFORE @ (AFTER / BEFORE * k3(np.log(UNIFORM / AFTER)))


@claim_each(aggregation=AGGREGATIONS)
def grpo_by_hand(aggregation: str) -> float:
    """Loss of a right answer of one token and a wrong one of three, on fresh samples."""
    token = np.array([[-1.0, 0, 0, 0], [1, 1, 1, 0]])
    return aggregated(token, token != 0, aggregation, total=10, longest=4)


@claim
def grpo_loss_is_kl() -> str:
    """Share of the penalty in the loss of 100 fresh batches of answers of equal length."""
    policy, reference = kl.example_pair()
    rng = np.random.default_rng(0)
    for _ in range(100):
        tokens = policy.sample(8, rng)
        advantages = normalised(rng.normal(size=8))[:, None]
        logp, ref = policy.log_prob(tokens), reference.log_prob(tokens)
        mask = np.ones(tokens.shape, dtype=bool)
        loss = kl.grpo_loss(logp, logp, ref, advantages[:, 0], mask, beta=0.04).loss
        if not math.isclose(loss, 0.04 * k3(ref - logp).mean(), rel_tol=1e-9):
            return "not only KL"
    return "KL"


@claim_each(aggregation=AGGREGATIONS)
def grpo_scale(aggregation: str) -> float:
    """What a penalty of one per token reads, for answers of 100 and 300 tokens."""
    mask = np.arange(1000) < np.array([[100], [300]])
    return aggregated(np.ones(mask.shape), mask, aggregation, total=1600, longest=1000)


@claim
def grpo_price_equal_lengths() -> str:
    """Gradients of policy term and penalty in the logits, by aggregation, for equal lengths."""
    rng = np.random.default_rng(0)
    logits, reference = rng.normal(size=(2, 3, 4))  # one next-token distribution for each position
    tokens = rng.integers(0, 4, size=(8, 3))
    at = np.arange(3), tokens
    advantages = normalised(rng.normal(size=8))[:, None]
    mask = np.arange(5) < np.full((8, 1), 3)

    def log_probs(z: np.ndarray) -> np.ndarray:
        return np.log(softmax(z, axis=1))[at]

    def gradient(term: Callable[[np.ndarray], np.ndarray], name: str) -> np.ndarray:
        def loss(z: np.ndarray) -> float:
            padded = np.pad(term(log_probs(z)), ((0, 0), (0, 2)))
            return aggregated(padded, mask, name, total=100, longest=5)

        steps = 1e-6 * np.eye(12).reshape(12, 3, 4)
        return np.array([loss(logits + e) - loss(logits - e) for e in steps]) / 2e-6

    old, log_ref = log_probs(logits), log_probs(reference)
    terms = (lambda now: -np.exp(now - old) * advantages, lambda now: k3(log_ref - now))
    for name, divisor in (("bnpo", 24), ("dapo", 100), ("dr_grpo", 40)):
        for term in terms:
            expected = gradient(term, "grpo") * 24 / divisor
            if not np.allclose(gradient(term, name), expected, rtol=0, atol=1e-9):
                return "no multiples"
    return "multiples"


@claim
def grpo_rare_std() -> float:
    """Standard deviation of one success among sixteen."""
    return np.append(np.zeros(15), 1).std()


@claim
def grpo_rare_price() -> float:
    """A price of 0.04 deviations, in units of that reward."""
    return 0.04 * grpo_rare_std()


def good(tokens: np.ndarray) -> np.ndarray:
    return (np.sum(tokens == 0, axis=1) > 1).astype(float)


@cache
def training(beta: float, penalty: str = "k3") -> np.ndarray:
    """Success, exact divergence and logged k3 over eight runs: shape (runs, 41, 3)."""
    reference = kl.example_pair()[1]
    every = reference.sequences()
    reference_logs = reference.log_prob(every)
    runs = []
    for seed in range(8):
        rng, run = np.random.default_rng(seed), []
        tables = [reference_logs[:: 4 ** (4 - t), t].reshape(-1, 4).copy() for t in range(5)]
        for step in range(201):
            policy = kl.TabularLM(tables)
            tokens = policy.sample(64, rng)
            logp, log_ref = policy.log_prob(tokens), reference.log_prob(tokens)
            if step % 5 == 0:
                logs = policy.log_prob(every).sum(axis=1)
                divergence = np.exp(logs) @ (logs - reference_logs.sum(axis=1))
                logged = k3(log_ref - logp).sum(axis=1).mean()
                run.append([np.exp(logs) @ good(every), divergence, logged])
            groups = good(tokens).reshape(4, 16)
            deviation = groups.std(axis=1, keepdims=True) + 1e-4
            advantages = (groups - groups.mean(axis=1, keepdims=True)) / deviation
            pull = np.expm1(log_ref - logp) if penalty == "k3" else -np.ones((64, 5))
            coefficient = advantages.reshape(64, 1) + beta * pull
            for t in range(5):
                context = tokens[:, :t] @ 4 ** np.arange(t)[::-1]
                chances = softmax(tables[t], axis=1)
                score = np.eye(4)[tokens[:, t]] - chances[context]
                np.add.at(tables[t], context, 10 / 320 * coefficient[:, [t]] * score)
        runs.append(run)
    return np.array(runs)


PRICES = {"free": 0.0, "tenth": 0.1, "half": 0.5}


@claim
def grpo_train_start() -> float:
    """Success of the reference."""
    return training(0.0)[0, 0, 0]


@claim
def grpo_train_needed() -> float:
    """Divergence from the reference of the reference given success, by enumeration."""
    reference = kl.example_pair()[1]
    every = reference.sequences()
    chance = np.exp(reference.log_prob(every).sum(axis=1))
    restricted = chance * good(every) / (chance @ good(every))
    return rel_entr(restricted, chance).sum()


@claim_each(price=("free", "tenth", "half"))
def grpo_train_success(price: str) -> float:
    """Mean success at the end of eight runs, at a price of 0, 0.1 or 0.5."""
    return training(PRICES[price])[:, -1, 0].mean()


@claim_each(price=("free", "tenth", "half"))
def grpo_train_kl(price: str) -> float:
    """Mean exact divergence at the end of eight runs."""
    return training(PRICES[price])[:, -1, 1].mean()


@claim
def grpo_train_k1() -> str:
    """Mean divergence at the end, k1 at a price of 0.5, against no price and against k3.

    In words, since k1 as a loss amplifies rounding: the digits differ between machines.
    """
    free, held = (training(price)[:, -1, 1].mean() for price in (0.0, 0.5))
    with_k1 = training(0.5, "k1")[:, -1, 1].mean()
    return "no closer" if with_k1 > free - 0.1 * (free - held) else "closer"


@claim
def grpo_train_peak() -> float:
    """Highest mean divergence on the way, at a price of 0.1."""
    return training(0.1)[:, :, 1].mean(axis=0).max()


@claim
def grpo_logged_below() -> float:
    """Share of logged k3 below the exact divergence, second half of the runs without a price."""
    late = training(0.0)[:, 20:]
    return np.mean(late[:, :, 2] < late[:, :, 1])


FAIR, OTHER = np.array([0.5, 0.5]), np.array([0.55, 0.45])


def one_token(value: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Mean and variance over one of the independent tokens."""
    values = value(np.log(OTHER / FAIR))
    mean = FAIR @ values
    return mean, FAIR @ (values - mean) ** 2


@claim
def grpo_output_kl() -> float:
    """Divergence of a thousand tokens."""
    return 1000 * rel_entr(FAIR, OTHER).sum()


@claim
def grpo_output_sd_k1() -> float:
    """Standard deviation of the sum of k1."""
    return math.sqrt(1000 * one_token(np.negative)[1])


@claim
def grpo_output_sd_token() -> float:
    """Standard deviation of the sum of k3 per token."""
    return math.sqrt(1000 * one_token(k3)[1])


@claim
def grpo_output_sd_output() -> float:
    """Standard deviation of R - 1 - log R, R the product of the ratios: by its three terms."""
    r = OTHER / FAIR
    variance_of_product = (FAIR @ r**2) ** 1000 - 1
    variance_of_log = 1000 * one_token(lambda x: x)[1]
    covariance = 1000 * (OTHER @ np.log(r) - FAIR @ np.log(r))  # a mean of R times is one over q
    return math.sqrt(variance_of_product + variance_of_log - 2 * covariance)


def shift(beta: float, kind: str, start: float = 0.5, size: int = 16) -> float:
    """Shift of the log-odds where reward and reverse KL balance: from the closed forms."""

    def excess(x: float) -> float:
        p = expit(logit(start) + x)
        wins = np.arange(size + 1)
        share = wins / size
        weight = stats.binom.pmf(wins, size, p)
        # (1/G) Σ A (R - p), where the advantages of a group sum to zero.
        pull = {
            "loo": share * (1 - share) * size / (size - 1),
            "mean": share * (1 - share),
            "std": np.sqrt(share * (1 - share)),
        }[kind]
        return weight @ pull / (p * (1 - p)) - beta * x

    return optimize.brentq(excess, 1e-6, 25)


BETAS = {"half": 0.5, "two": 2.0}


@claim_each(kind=("loo", "mean", "std"), price=("half", "two"))
def grpo_shift(kind: str, price: str) -> float:
    """Shift of the log-odds, sixteen answers, reference at one half."""
    return shift(BETAS[price], kind)


@claim_each(price=("half", "two"))
def grpo_shift_limit(price: str) -> float:
    """√(G - 1)/β; at a price of 0.2, where success is nearly certain, the shift is that."""
    limit = math.sqrt(15) / BETAS[price]
    assert math.isclose(shift(0.2, "std"), math.sqrt(15) / 0.2, rel_tol=1e-6)
    return limit


@claim
def grpo_shift_plain_half() -> float:
    """Shift where p (1 - p) equals the slope of KL(ref || π), at a price of 0.5."""

    def excess(x: float) -> float:
        step = 1e-5

        def forward(z: float) -> float:
            return rel_entr([0.5, 0.5], [expit(z), expit(-z)]).sum()

        slope = (forward(x + step) - forward(x - step)) / (2 * step)
        return expit(x) * expit(-x) - 0.5 * slope

    return optimize.brentq(excess, 1e-6, 25)


@claim
def grpo_ten_clipped() -> float:
    """Gain of a rewarded token at a ratio of ten."""
    return gain(10, 1, 0.2, 0.2)


@claim
def grpo_ten_punished() -> float:
    """Gain of a punished token at a ratio of ten."""
    return gain(10, -1, 0.2, 0.2)


def penalty_slope(weighted: bool) -> float:
    """Slope of k3 in log π where r is twenty, by finite differences."""

    def penalty(change: float) -> float:
        weight = math.exp(change) if weighted else 1.0
        return weight * float(k3(np.array(math.log(20) - change)))

    return (penalty(1e-6) - penalty(-1e-6)) / 2e-6


@claim
def grpo_slope_plain() -> float:
    """Slope of plain k3."""
    return penalty_slope(weighted=False)


@claim
def grpo_slope_weighted() -> float:
    """Slope of weighted k3."""
    return penalty_slope(weighted=True)


@claim
def grpo_loo_factor() -> float:
    """Advantage over the mean of the others, over that over the group's mean, four answers."""
    rewards = np.random.default_rng(0).normal(size=4)
    others = [np.delete(rewards, i).mean() for i in range(4)]
    factors = (rewards - others) / (rewards - rewards.mean())
    assert np.allclose(factors, factors[0])
    return factors[0]
