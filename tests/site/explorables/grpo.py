"""What grpo.js must find."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

import kltutorial as kl

PAGE = "book/gradients.html"
REFERENCE = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
REWARDS = np.linspace(0, 1, 5)
STEPS, GROUP = 200, 16
PENALTIES = {"k1": kl.k1, "k2": kl.k2, "k3": kl.k3}
NAMES = ["place", "estimator", "beta", "sampled", "seed", "step"]
PLACES = ["reward", "loss", "weighted"]
VALUES = [PLACES, PENALTIES, [0.1, 0.25, 1], [False, True], [7], [37]]
# Left out: noise alone, and much of it.  There two runs on the same answers that start 1e-16 apart
# may end 1e-6 apart, so that no two programs could agree.
GRID = [
    dict(zip(NAMES, values, strict=True))
    for values in product(*VALUES)
    if values[:4] != ("loss", "k1", 1, True)
]


def expected(estimator, place, beta, sampled, seed, step):
    path = train(estimator, place, beta, seed if sampled else None)
    reward, divergence = path["rewards"][step], path["divergences"][step]
    best = kl.tilted_policy(REFERENCE, REWARDS, beta)
    frontier = kl.reward_kl_frontier(REFERENCE, REWARDS, 10 ** np.linspace(1, -2, 121))
    return path | {
        "reward": reward,
        "kl": divergence,
        "logged": path["logs"][step],
        "objective": reward - beta * divergence,
        "missing": beta * kl.kl_divergence(path["policies"][step], best),
        "optimal_policy": best,
        "optimal_reward": best @ REWARDS,
        "optimal_kl": kl.kl_divergence(best, REFERENCE),
        "frontier_kl": frontier[0],
        "frontier_reward": frontier[1],
    }


@cache
def train(estimator, place, beta, seed):
    use = {
        "estimator": estimator,
        "placement": "reward" if place == "reward" else "loss",
        "weight": "ratio" if place == "weighted" else None,
    }
    logits, shares, policies = np.log(REFERENCE), [], []
    for step in range(STEPS + 1):
        policy = np.exp(logits - logits.max())
        policy /= policy.sum()
        policies.append(policy)
        if seed is None:
            share = policy
            gradient = policy * (REWARDS - policy @ REWARDS)
            penalty = kl.expected_gradient(logits, np.log(REFERENCE), **use)
            logits = logits + gradient - beta * penalty
        else:
            answers = drawn(policy, seed, step)
            share = np.bincount(answers, minlength=5) / GROUP
            logits = logits + of_a_group(logits, answers, beta, use)
        shares.append(share)
    policies = np.array(policies)
    with np.errstate(divide="ignore"):
        penalties = PENALTIES[estimator](np.log(policies), np.log(REFERENCE) + 0 * policies)
    return {
        "policies": policies,
        "rewards": policies @ REWARDS,
        "divergences": kl.kl_divergence(policies, REFERENCE),
        "logs": (shares * penalties).sum(axis=1),
    }


def of_a_group(logits, answers, beta, use):
    """Return the step that the answers of one group make."""
    logs = logits - np.logaddexp.reduce(logits)
    scores = np.eye(5)[answers] - np.exp(logs)
    rewards, penalty = REWARDS[answers], 0.0
    if use["placement"] == "reward":
        value = PENALTIES[use["estimator"]](logs[answers], np.log(REFERENCE)[answers])
        rewards = rewards - beta * value
    else:
        penalty = kl.sample_gradients(logits, np.log(REFERENCE), **use)[answers]
    advantages = kl.group_advantages(rewards[None], normalize_std=False)[0]
    return (advantages[:, None] * scores - beta * penalty).mean(axis=0)


def drawn(policy, seed, step):
    """Return the answers that numbers between 0 and 1 pick."""
    index = np.arange(step * GROUP, (step + 1) * GROUP, dtype=np.uint32)
    start = scrambled(np.array([seed + 1], np.uint32))
    number = (scrambled(start + index) + 0.5) / 2**32
    return np.minimum(np.searchsorted(policy.cumsum(), number, side="right"), 4)


def scrambled(bits):
    """Return the finaliser of MurmurHash3 of 32-bit integers."""
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> np.uint32(16))


def conclude(compute):
    """Hold the numbers to the caption: where exact gradients lead."""

    def end(estimator, place, beta):
        found = compute(estimator=estimator, place=place, beta=beta, step=STEPS, sampled=False)
        path, best = np.array(found["policies"]), np.array(found["optimal_policy"])
        return path, best, found["missing"]

    followers = [("k1", "reward"), ("k2", "loss"), ("k1", "weighted"), ("k3", "weighted")]
    others = {*product(PENALTIES, PLACES)} - {*followers}
    shortfalls = []
    for beta in (0.1, 0.25, 0.5, 1):
        short = {use: end(*use, beta)[2] for use in product(PENALTIES, PLACES)}
        assert max(short[use] for use in followers) < min(short[use] for use in others)
        shortfalls.append(short["k1", "reward"])
        path, best, _ = end("k3", "loss", beta)
        assert path[-1, 0] > best[0]
        one, other = end("k1", "loss", beta)[0], end("k1", "loss", 0.3)[0]
        np.testing.assert_allclose(one, other, rtol=1e-9)
        for estimator in ("k2", "k3"):
            assert gives_up(end(estimator, "reward", beta)[0])
        assert gives_up(end("k2", "weighted", beta)[0]) == (beta < 0.7)
    assert all(np.diff(shortfalls) < 0)
    assert shortfalls[0] < 0.003
    assert np.argmin(end("k3", "reward", 1)[0][-1]) != 4
    assert end("k3", "reward", 1)[0][-1, 4] < 1e-9


def gives_up(path):
    """Tell whether a token has become rare, and still becomes rarer."""
    rarest = path[-1].argmin()
    return path[-1, rarest] < 0.02 and path[-1, rarest] < 0.99 * path[-10, rarest]
