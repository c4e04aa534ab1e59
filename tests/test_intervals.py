"""Confidence intervals cover as often as they say, and fail where the docstring says so.

Repetitions draw from distributions of finitely many outcomes, so that the truth, and what the
skewness of the estimates costs at this sample size, are exact sums.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from kltutorial import TabularLM, estimate_kl, k1, k2, k3, kl_divergence, kl_normal
from tests.strategies import ESTIMATORS

REPETITIONS = 10_000
LEVEL = 0.95
MONTE_CARLO = (LEVEL * (1 - LEVEL) / REPETITIONS) ** 0.5
P = np.array([0.30, 0.25, 0.20, 0.15, 0.10])
Q = np.array([0.22, 0.30, 0.18, 0.12, 0.18])
PENALTIES = {"k1": k1, "k2": k2, "k3": k3}


def expected_coverage(chance, values, n):
    """Coverage of the studentised mean of `n` draws, to order 1/n; Hall (1992), section 2.6."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centred = values - chance @ values
    second, third, fourth = (chance @ centred**power for power in (2, 3, 4))
    skewness2, excess = third**2 / second**3, fourth / second**2 - 3
    error = excess * (z**3 - 3 * z) / 12 - skewness2 * (z**5 + 2 * z**3 - 3 * z) / 18
    return LEVEL + 2 * NormalDist().pdf(z) * (error - (z**3 + z) / 4) / n


def coverage(truth, draws, **options):
    """Share of the intervals that hold the truth; `draws` yields log-probabilities and masks."""
    estimates = (estimate_kl(logp, logq, where=mask, **options) for logp, logq, mask in draws)
    held = [low <= truth <= high for low, high in (each.interval(LEVEL) for each in estimates)]
    assert len(held) == REPETITIONS
    return np.mean(held)


def covers(observed, chance, values, n):
    expected = expected_coverage(chance, values, n)
    assert abs(expected - LEVEL) < MONTE_CARLO  # so many samples that the level is nominal
    assert observed == pytest.approx(expected, abs=3 * MONTE_CARLO)


def values_of(estimator, logp, logq, chance):
    """What the estimate is a mean of, for each outcome."""
    if estimator != "optimal":
        return PENALTIES[estimator](logp, logq)
    gain = np.exp(logq - logp) - 1
    loss = k1(logp, logq)
    return loss - chance @ ((loss - chance @ loss) * gain) / (chance @ gain**2) * gain


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_independent_samples(estimator):
    n = 2000
    rng = np.random.default_rng(0)
    logp, logq = np.log(P), np.log(Q)
    values = values_of(estimator, logp, logq, P)
    truth = P @ values
    if estimator != "k2":
        assert truth == pytest.approx(kl_divergence(P, Q))
    drawn = (rng.choice(P.size, n, p=P) for _ in range(REPETITIONS))
    observed = coverage(truth, ((logp[x], logq[x], None) for x in drawn), estimator=estimator)
    covers(observed, P, values, n)


@pytest.fixture(scope="module")
def sequences():
    """Chances, log-probabilities under both models and masks of all sequences; what is drawn."""
    rng = np.random.default_rng(1)
    reference = TabularLM.random(3, 4, rng, eos=0)
    policy = reference.perturbed(0.4, rng)
    tokens = policy.sequences()
    logp, logq = policy.log_prob(tokens), reference.log_prob(tokens)
    mask = np.cumsum(tokens == 0, axis=1) - (tokens == 0) == 0
    chance = np.exp(logp.sum(axis=1))
    n = 1000
    drawn = rng.choice(len(tokens), (REPETITIONS, n), p=chance / chance.sum())
    return policy.kl(reference), chance, logp, logq, mask, drawn


@pytest.mark.parametrize(
    ("estimator", "unit"), [("k1", "token"), ("k2", "token"), ("k3", "token"), ("k3", "sequence")]
)
def test_sequences_of_dependent_tokens_with_a_mask(sequences, estimator, unit):
    kl, chance, logp, logq, mask, drawn = sequences
    sums = np.where(mask, PENALTIES[estimator](logp, logq), 0).sum(axis=1)
    lengths = mask.sum(axis=1) if unit == "token" else np.ones(len(sums))
    truth = chance @ sums / (chance @ lengths)
    if estimator != "k2":
        assert truth == pytest.approx(kl / (chance @ lengths))
    draws = ((logp[x], logq[x], mask[x]) for x in drawn)
    held = coverage(truth, draws, estimator=estimator, unit=unit)
    covers(held, chance, sums - truth * lengths, drawn.shape[1])


def shifted(x):
    return -(x**2) / 2, -((x - 3) ** 2) / 2


def widened(x):
    return -(x**2) / 2, -((x / 2) ** 2) / 2 - np.log(2)


@pytest.mark.parametrize(("pair", "kl"), [(shifted, 4.5), (widened, kl_normal(0, 1, 0, 2))])
def test_heavy_tails_are_covered_by_k1_only_and_show_in_the_standard_errors(pair, kl):
    rng = np.random.default_rng(0)
    repetitions, n = 1000, 1000
    held, low, error = {}, {}, {}
    samples = [pair(rng.normal(size=n)) for _ in range(repetitions)]
    for estimator in ("k1", "k3"):
        estimates = [estimate_kl(*sample, estimator=estimator) for sample in samples]
        intervals = np.array([each.interval(LEVEL) for each in estimates])
        held[estimator] = ((intervals[:, 0] <= kl) & (kl <= intervals[:, 1])).mean()
        low[estimator] = (intervals[:, 1] < kl).mean()
        error[estimator] = np.array([each.std_error for each in estimates])
    noise = (LEVEL * (1 - LEVEL) / repetitions) ** 0.5
    assert held["k1"] == pytest.approx(LEVEL, abs=3 * noise)
    assert held["k3"] < 0.7  # "less than seven times in ten", and nearly always too low
    assert low["k3"] > 0.9 * (1 - held["k3"])
    assert (error["k3"] > error["k1"]).mean() > 0.95
