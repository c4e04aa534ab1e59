"""What estimators.js must find."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from scipy.stats import norm

import kltutorial as kl

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
    stds = [*(each.std for each in estimates), np.std(values[3], ddof=1)]
    errors = [*(each.std_error for each in estimates), stds[3] / n**0.5]
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
        "stds": stds,
        "errors": errors,
        "sample": [covariance[0, 0], -covariance[0, 1], covariance[1, 1]],
        "sample_best": kl.optimal_control_variate(*logs),
        "mean": means[chosen],
        "error": errors[chosen],
        "expected": truth["mean_k2"] if estimator == "k2" else truth["kl"],
        "exact_std": variance**0.5,
        "step": step,
        "first": first,
        "counts": counts[0],
        "counts_k1": counts[1],
        "largest": np.max(values[chosen]),
    }
