"""What estimators.js must find."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from scipy.stats import norm

import kltutorial as kl
from tests.claims import load

PAGE = "book/three_estimators.html"
NAMES = ["shift", "width", "weight", "estimator"]
ESTIMATORS = ["k1", "k2", "k3", "weighted"]
# A variance of r is finite at a width of 1.4, infinite at 1.45; where the shift is 0 and the
# width 1, all is zero.  At a width of 1 are the pairs of the tables of the chapter.
VALUES = [[0, 0.1, 1, 2], [0.5, 1, 1.4, 1.45, 2], [0, 0.84], ESTIMATORS]
GRID = [
    dict(zip(NAMES, values, strict=True)) | {"size": 1 + 0.5 * (k % 7), "seed": k}
    for k, values in enumerate(product(*VALUES))
]
#: Claims that the caption quotes, and to how many digits.
QUOTED = {"k3-crossover": 3}
BINS = 42
# Fine and wide enough that sums over it are integrals to the last digits, also of q²/p at a
# width of 1.4, whose bump is 7 wide and lies at 100.
X = np.arange(-400, 600, 0.1)


def draw(seed, n):
    """Return standard normals: the same as the explorable draws."""
    numbers = (scrambled(scrambled(seed + 1) + np.arange(2 * n)) + 0.5) / 2**32
    return np.sqrt(-2 * np.log(numbers[::2])) * np.cos(2 * np.pi * numbers[1::2])


def scrambled(bits):
    bits = np.asarray(bits, np.uint64)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = ((bits ^ (bits >> shift)) * factor) % 2**32
    return bits ^ (bits >> 16)


@cache
def exact(shift, width):
    """Integrate what the explorable has closed forms for, by the definitions."""
    logp, logq = norm.logpdf(X), norm.logpdf(X, shift, width)
    p, q = 0.1 * np.exp(logp), 0.1 * np.exp(logq)
    k1, k2 = kl.k1(logp, logq), kl.k2(logp, logq)
    truth, mean_k2 = p @ k1, p @ k2
    square = 2 * logq - logp  # log p r², which must fall outwards for an integral to exist
    finite = square[-1] < square[-2] and square[0] < square[1]
    chi2 = np.sum(0.1 * np.exp(square) - 2 * q + p) if finite else np.inf
    return {
        "kl": kl.kl_normal(0, 1, shift, width),
        "var_k1": p @ (k1 - truth) ** 2,
        "jeffreys": (p - q) @ k1,
        "chi2": chi2,
        "mean_k2": mean_k2,
        "var_k2": p @ (k2 - mean_k2) ** 2,
    }


def parabola(weight, *, var_k1, jeffreys, chi2, **_):
    """Return the variance of k1 + weight (r - 1), in which 0 times infinity is 0."""
    return var_k1 + (weight and weight**2 * chi2 - 2 * weight * jeffreys)


def ratio(numerator, denominator):
    return numerator / denominator if denominator else 0.0


def expected(shift, width, size, weight, estimator, seed):
    truth = exact(shift, width)
    n = round(10**size)
    x = draw(seed, n)
    logs = norm.logpdf(x), norm.logpdf(x, shift, width)
    estimates = [kl.estimate_kl(*logs, estimator=name) for name in ESTIMATORS[:3]]
    k1, r = kl.k1(*logs), np.exp(logs[1] - logs[0])
    values = [k1, kl.k2(*logs), kl.k3(*logs), k1 + weight * (r - 1)]
    means = [*(each.mean for each in estimates), np.mean(values[3])]
    errors = [*(each.std_error for each in estimates), np.std(values[3], ddof=1) / n**0.5]
    chosen = ESTIMATORS.index(estimator)
    weights = {"k1": 0, "k3": 1, "weighted": weight}
    variance = truth["var_k2"] if estimator == "k2" else parabola(weights[estimator], **truth)
    step = 7 * truth["var_k1"] ** 0.5 / BINS or 1
    first = round(truth["kl"] / step - BINS / 2)
    bins = [np.floor(each / step) - first for each in (values[chosen], k1)]
    counts = [[np.sum(each == k) for k in range(BINS)] for each in bins]
    covariance = np.cov(k1, r)
    return truth | {
        "best": ratio(truth["jeffreys"], truth["chi2"]),
        "n": n,
        "means": means,
        "errors": errors,
        "sample": [covariance[0, 0], -covariance[0, 1], covariance[1, 1]],
        "sample_best": kl.optimal_control_variate(*logs),
        "mean": means[chosen],
        "error": errors[chosen],
        "expected": truth["mean_k2"] if estimator == "k2" else truth["kl"],
        "exact_std": variance**0.5,
        "step": step,
        "first": first,
        "below": np.sum(bins[0] < 0),
        "counts": counts[0],
        "counts_k1": counts[1],
        "extremes": [np.min(values[chosen]), np.max(values[chosen])],
    }


def conclude(compute):
    """Hold the numbers to the caption: how far k3 is quieter than k1."""

    def variance(weight, found):
        return parabola(weight, **{key: found[key] for key in ("var_k1", "jeffreys", "chi2")})

    def reach(width):
        """Return the divergences at which k3 is quieter, and those at which it is not."""
        quieter, noisier = [], []
        for shift in np.arange(0.05, 2.01, 0.05).tolist():
            found = compute(shift=shift, width=width, size=1)
            none, once = variance(0, found), variance(1, found)
            assert variance(found["best"], found) <= min(none, once)
            (quieter if once < none else noisier).append(found["kl"])
        return quieter, noisier

    border = load()["k3-crossover"]()
    quieter, noisier = reach(1)
    assert max(quieter) < border < min(noisier)
    for width in (1.05, 1.2, 1.35, 1.5, 2):
        quieter, noisier = reach(width)
        assert min(noisier) < border
        assert max(quieter, default=0) < border
    for width in (0.95, 0.8, 0.65, 0.5):
        quieter, noisier = reach(width)
        assert max(quieter) > border
        assert min(noisier, default=np.inf) > border
    for shift, width in ((0.1, 1), (0, 0.95), (0, 1.05)):
        near = compute(shift=shift, width=width)
        assert variance(1, near) < 0.2 * variance(0, near)
