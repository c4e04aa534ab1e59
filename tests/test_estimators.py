import itertools
import math
import pickle
import sys

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import assume, given, settings

import kltutorial as kl
from kltutorial import estimate_kl, estimate_kl_chunks, estimators
from tests.memory import peak_memory
from tests.strategies import ESTIMATORS, distribution_pairs, relative_error, seeds

FAR_P, FAR_Q = np.array([0.9, 0.07, 0.03]), np.array([0.05, 0.15, 0.8])
ELEMENTWISE = {"k1": kl.k1, "k2": kl.k2, "k3": kl.k3}


def textbook(estimator, logp, logq, weight=0.0):
    """The formulas of the book, on numbers where nothing cancels."""
    log_r = np.asarray(logq, float) - np.asarray(logp, float)
    r = np.exp(log_r)
    return {
        "k1": -log_r,
        "k2": log_r**2 / 2,
        "k3": r - 1 - log_r,
        "optimal": -log_r + weight * (r - 1),
    }[estimator]


def normal_samples(rng, shape, shift=0.7):
    x = rng.normal(size=shape)
    return -(x**2) / 2, -((x - shift) ** 2) / 2


def ragged(rng, n, length, full=False):
    """Log-probabilities of sequences of dependent tokens, and a mask of random lengths."""
    logp, logq = normal_samples(rng, (n, length))
    logq += 0.5 * rng.normal(size=(n, 1))
    lengths = np.full(n, length) if full else rng.integers(1, length + 1, n)
    return logp, logq, np.arange(length) < lengths[:, None]


def numbers(estimate):
    return np.array([estimate.mean, estimate.std, estimate.std_error, estimate.n])


# --- elementwise -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (2, 3, 4)])
def test_elementwise_estimators_match_the_formulas(name, shape):
    logp, logq = normal_samples(np.random.default_rng(0), shape, shift=3.0)
    got = ELEMENTWISE[name](logp, logq)
    assert np.shape(got) == shape
    np.testing.assert_allclose(got, textbook(name, logp, logq), rtol=1e-12, atol=1e-15)


@given(distribution_pairs(zeros=False))
def test_k1_and_k3_are_unbiased_by_enumeration(pair):
    p, q = pair
    logp, logq, exact = np.log(p), np.log(q), kl.kl_divergence(p, q)
    assert p @ kl.k1(logp, logq) == pytest.approx(exact, rel=1e-12, abs=1e-14)
    assert p @ kl.k3(logp, logq) == pytest.approx(exact, rel=1e-12, abs=1e-14)


def test_far_from_equality_every_common_mistake_is_visible():
    p, logp, logq = FAR_P, np.log(FAR_P), np.log(FAR_Q)
    exact = kl.kl_divergence(FAR_P, FAR_Q)
    assert p @ kl.k1(logp, logq) == pytest.approx(exact, rel=1e-14, abs=0)
    assert p @ kl.k3(logp, logq) == pytest.approx(exact, rel=1e-14, abs=0)
    mistakes = {
        "k1 with the arguments swapped": p @ kl.k1(logq, logp),
        "k3 with the ratio inverted": p @ kl.k3(logq, logp),
        "k3 averaged under q": FAR_Q @ kl.k3(logp, logq),
        "k1 averaged under q": FAR_Q @ kl.k1(logp, logq),
        "k2": p @ kl.k2(logp, logq),
        "k3 with the sign of the log flipped": p @ (FAR_Q / FAR_P - 1 + logq - logp),
    }
    for mistake, value in mistakes.items():
        assert abs(value - exact) > 0.3 * exact, mistake


def test_k3_falls_short_by_the_mass_that_q_puts_where_p_has_none():
    p, q = np.array([0.6, 0.4]), np.array([0.3, 0.5, 0.2])
    exact = kl.kl_divergence([*p, 0.0], q)
    assert p @ kl.k3(np.log(p), np.log(q[:2])) == pytest.approx(exact - 0.2, rel=1e-14, abs=0)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize(
    ("logp", "logq", "result"),
    [
        (np.float32, np.float32, np.float32),
        (np.float16, np.float16, np.float32),
        (np.float32, np.float64, np.float64),
        (np.int32, np.int64, np.float64),
        (np.uint8, np.uint8, np.float64),
    ],
)
def test_the_result_has_the_precision_of_the_input(name, logp, logq, result):
    p, q = np.array([1, 2, 0], logp), np.array([3, 1, 0], logq)
    got = ELEMENTWISE[name](p, q)
    assert got.dtype == result
    expected = textbook(name, [1, 2, 0], [3, 1, 0])  # uint8 must not wrap around
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_excluded_samples_and_overflow_give_infinity_in_silence(name, dtype):
    logq = np.array([-np.inf, np.finfo(dtype).min, 800], dtype)
    got = ELEMENTWISE[name](np.zeros(3, dtype), logq)
    lowest = np.inf if name == "k2" else -np.finfo(dtype).min
    last = {"k1": -800, "k2": 320_000, "k3": np.inf}[name]
    np.testing.assert_array_equal(got, np.array([np.inf, lowest, last], dtype))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_equal_log_probabilities_give_exactly_zero(name):
    logp = -np.random.default_rng(0).exponential(10, 100)
    assert (ELEMENTWISE[name](logp, logp) == 0).all()


# --- exact moments -----------------------------------------------------------------------------


def enumerated(p, q, estimator):
    """Mean and variance of one sample's estimate, KL(p‖q) + KL(q‖p), and χ²(q‖p)."""
    jeffreys, chi2 = ((p - q) * np.log(p / q)).sum(), ((q - p) ** 2 / p).sum()
    values = textbook(estimator, np.log(p), np.log(q), jeffreys / chi2 if chi2 else 0)
    return p @ values, p @ (values - p @ values) ** 2, jeffreys, chi2


@given(distribution_pairs(zeros=False), st.sampled_from(ESTIMATORS))
def test_estimator_moments_are_those_of_enumeration(pair, estimator):
    mean, variance, *_ = enumerated(*pair, estimator)
    got = kl.estimator_moments(*pair, estimator=estimator)
    assert got.mean == pytest.approx(mean, rel=1e-11, abs=1e-13)
    # The oracle subtracts numbers of order r, so it knows a standard deviation only that well.
    r = (pair[1] / pair[0]).max()
    assert got.std == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-14 * (1 + r))


@given(distribution_pairs(zeros=False), st.floats(-3, 3))
def test_variance_is_a_parabola_in_the_weight(pair, weight):
    p, q = pair
    _, of_k1, jeffreys, chi2 = enumerated(p, q, "k1")
    values = textbook("optimal", np.log(p), np.log(q), weight)
    direct = p @ (values - p @ values) ** 2
    parabola = of_k1 - 2 * weight * jeffreys + weight**2 * chi2
    assert direct == pytest.approx(parabola, rel=1e-9, abs=1e-11 * (1 + chi2))
    if chi2 > 1e-6:
        k3 = kl.estimator_moments(p, q, estimator="k3").std ** 2
        best = kl.estimator_moments(p, q, estimator="optimal").std ** 2
        assert k3 == pytest.approx(of_k1 - 2 * jeffreys + chi2, rel=1e-9, abs=1e-11 * chi2)
        assert best == pytest.approx(of_k1 - jeffreys**2 / chi2, rel=1e-9, abs=1e-11 * (1 + chi2))


@given(distribution_pairs(zeros=False))
def test_k3_beats_k1_exactly_when_the_best_weight_exceeds_one_half(pair):
    *_, jeffreys, chi2 = enumerated(*pair, "k1")
    assume(chi2 > 0)
    assume(abs(jeffreys / chi2 - 0.5) > 1e-9)
    k1 = kl.estimator_moments(*pair, estimator="k1").std
    k3 = kl.estimator_moments(*pair, estimator="k3").std
    assert (k3 < k1) == (jeffreys / chi2 > 0.5)


def test_both_sides_of_the_k3_crossover_occur():
    near, far = ([0.5, 0.5], [0.45, 0.55]), ([0.99, 0.01], [0.5, 0.5])
    for (p, q), k3_wins in [(near, True), (far, False)]:
        k1, k3 = (kl.estimator_moments(p, q, estimator=name).std for name in ("k1", "k3"))
        assert (k3 < k1) == k3_wins


@pytest.mark.parametrize(("p", "q"), [([4, 3, 2, 1], [1, 2, 3, 4]), ([97, 2, 1], [50, 25, 25])])
@pytest.mark.parametrize("copies", [1, 50])
def test_optimal_weight_of_exact_frequencies_is_jeffreys_over_chi2(p, q, copies):
    samples = np.repeat(np.arange(len(p)), np.multiply(p, copies))
    p, q = np.array(p) / sum(p), np.array(q) / sum(q)
    *_, jeffreys, chi2 = enumerated(p, q, "k1")
    got = kl.optimal_control_variate(np.log(p)[samples], np.log(q)[samples])
    assert got == pytest.approx(jeffreys / chi2, rel=1e-13, abs=0)


@pytest.mark.parametrize("log_ratio", [0.0, 0.1, 0.3, -0.7, 800.0, -np.inf])
@pytest.mark.parametrize("n", [1, 3, 7, 1000])
def test_a_ratio_that_does_not_vary_has_optimal_weight_zero(log_ratio, n):
    # The mean of three 0.1 is not 0.1, and a weight must not be made of that rounding.
    assert kl.optimal_control_variate(np.zeros(n), np.full(n, log_ratio)) == 0
    assert estimate_kl(np.zeros(n), np.full(n, log_ratio), estimator="optimal").mean == -log_ratio


def test_a_ratio_that_does_not_vary_gives_no_weight_in_sequences_of_any_length():
    logp, _, mask = ragged(np.random.default_rng(0), 9, 7)
    estimate = estimate_kl(logp * 0, logp * 0 + 0.1, estimator="optimal", where=mask)
    assert estimate.mean == pytest.approx(-0.1, rel=1e-14, abs=0)
    assert estimate.std_error == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shift", [-1.0, 0.01, 0.1, 0.5, 1.0, 2.0, 3.0])
def test_shifted_normal_moments_match_integration(estimator, shift):
    weight = shift**2 / math.expm1(shift**2)

    def value(x):
        return textbook(estimator, -(x**2) / 2, -((x - shift) ** 2) / 2, weight)

    def expected(function):
        cuts = [-14, -5, 0, 5, 14, 2 * abs(shift) + 14]
        cuts = [math.copysign(1, shift) * c for c in cuts]
        pieces = (
            scipy.integrate.quad(
                lambda x: function(x) * scipy.stats.norm.pdf(x), a, b, epsabs=1e-14, epsrel=1e-11
            )[0]
            for a, b in itertools.pairwise(cuts)
        )
        return math.copysign(1, shift) * sum(pieces)

    mean = expected(value)
    got = kl.shifted_normal_moments(shift, estimator=estimator)
    assert got.mean == pytest.approx(mean, rel=1e-9, abs=0)
    std = math.sqrt(expected(lambda x: (value(x) - mean) ** 2))
    assert got.std == pytest.approx(std, rel=1e-6, abs=0)


@pytest.mark.parametrize("shift", [1e-6, 1e-4, 0.01, 0.5, 0.99, 1.01])
def test_shifted_normal_moments_keep_their_digits_nearby(shift):
    with mpmath.workdps(80):
        m = mpmath.mpf(shift) ** 2
        variance = {"k3": mpmath.expm1(m) - m, "optimal": m - m**2 / mpmath.expm1(m)}
        exact = {name: mpmath.sqrt(value) for name, value in variance.items()}
    for name, std in exact.items():
        got = kl.shifted_normal_moments(shift, estimator=name).std
        assert relative_error(got, std) < 2e-15


@pytest.mark.parametrize(("shift", "k3"), [(26.0, math.exp(338)), (27.0, None), (1e200, None)])
def test_shifted_normal_moments_far_apart(shift, k3):
    m = shift**2 if shift < 1e100 else math.inf
    assert kl.shifted_normal_moments(shift, estimator="optimal") == (m / 2, math.sqrt(m))
    assert kl.shifted_normal_moments(shift, estimator="k1") == (m / 2, math.sqrt(m))
    assert kl.shifted_normal_moments(shift).std == pytest.approx(k3 or math.inf, rel=1e-10, abs=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_moments_at_equality_are_zero(estimator):
    assert kl.shifted_normal_moments(0, estimator=estimator) == (0, 0)
    assert kl.estimator_moments(FAR_P, FAR_P, estimator=estimator) == (0, 0)
    assert kl.estimator_moments([1.0, 0.0], [1.0, 0.0], estimator=estimator) == (0, 0)


# --- estimates from independent samples -----------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [2, 1000, 300_000])  # the last is several blocks
def test_independent_samples_match_plain_numpy(estimator, n):
    logp, logq = normal_samples(np.random.default_rng(0), n)
    r = np.exp(logq - logp)
    weight = np.cov(logq - logp, r)[0, 1] / r.var(ddof=1)
    values = textbook(estimator, logp, logq, weight)
    got = estimate_kl(logp, logq, estimator=estimator)
    assert (got.n, got.unit, got.estimator) == (n, "sample", estimator)
    assert got.mean == pytest.approx(values.mean(), rel=1e-11, abs=0)
    # Two samples fit the optimal combination exactly, up to the root of the rounding.
    loose = estimator == "optimal" and n == 2
    std = values.std(ddof=1)
    assert got.std == pytest.approx(std, rel=1e-11, abs=1e-7 if loose else 0)
    assert got.std_error == pytest.approx(std / math.sqrt(n), rel=1e-11, abs=1e-7 if loose else 0)


def test_optimal_uses_the_weight_that_optimal_control_variate_returns():
    logp, logq = normal_samples(np.random.default_rng(1), 100)
    weight = kl.optimal_control_variate(logp, logq)
    expected = textbook("optimal", logp, logq, weight).mean()
    assert estimate_kl(logp, logq, estimator="optimal").mean == pytest.approx(
        expected, rel=1e-13, abs=0
    )


def test_float32_input_is_accumulated_in_float64():
    logp, logq = (x.astype(np.float32) for x in normal_samples(np.random.default_rng(2), 200_000))
    expected = np.mean(logp.astype(np.float64) - logq)
    assert estimate_kl(logp, logq, estimator="k1").mean == pytest.approx(expected, rel=1e-13, abs=0)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999, 1e-3, 1 - 2**-53])
def test_interval_is_that_of_the_normal_distribution(level):
    estimate = estimate_kl(*normal_samples(np.random.default_rng(0), 50))
    half = scipy.stats.norm.isf((1 - level) / 2) * estimate.std_error
    expected = estimate.mean - half, estimate.mean + half
    assert estimate.interval(level) == pytest.approx(expected, rel=1e-12, abs=0)
    assert estimate.interval() == estimate.interval(0.95)


def test_the_interval_is_not_clipped_at_zero():
    logp, logq = np.zeros(4), np.array([1.0, -1.0, 2.0, -1.9])
    assert estimate_kl(logp, logq, estimator="k1").interval()[0] < 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_single_unit_has_no_standard_error(estimator):
    one = estimate_kl([-1.0], [-1.5], estimator=estimator)
    row = estimate_kl([[-1.0, -2.0]], [[-1.5, -0.5]], estimator=estimator)
    sequence = estimate_kl([[-1.0]], [[-1.5]], estimator=estimator, unit="sequence")
    for estimate in (one, row, sequence):
        assert math.isnan(estimate.std_error)
        assert np.isnan(estimate.interval()).all()
        assert math.isfinite(estimate.mean)
    assert math.isnan(one.std)
    assert math.isfinite(row.std)  # of two tokens


def test_repr_reads_as_a_result():
    logp, logq = normal_samples(np.random.default_rng(0), 50)
    rows = logp.reshape(10, 5), logq.reshape(10, 5)
    one, per_token = repr(estimate_kl(logp, logq)), repr(estimate_kl(*rows))
    assert one.startswith("KLEstimate(k3: 0.")
    assert one.endswith("nats per sample, 50 samples)")
    assert per_token.endswith("nats per token, 50 tokens in 10 sequences)")
    assert repr(estimate_kl(*rows, unit="sequence")).endswith("nats per sequence, 10 sequences)")


# --- sequences ------------------------------------------------------------------------------------


def ratio_linearised(values, mask):
    """Mean per token and its standard error, by the textbook ratio estimator."""
    sums, lengths = (values * mask).sum(axis=1), mask.sum(axis=1)
    mean = sums.sum() / lengths.sum()
    groups = len(sums)
    residuals = sums - mean * lengths
    return mean, math.sqrt(groups / (groups - 1) * (residuals**2).sum()) / lengths.sum()


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(2, 3), (40, 12), (30_000, 5), (3, 200_000)])
def test_token_means_have_the_ratio_estimators_standard_error(estimator, full, shape):
    logp, logq, mask = ragged(np.random.default_rng(0), *shape, full)
    values = textbook(estimator, logp, logq)
    mean, std_error = ratio_linearised(values, mask)
    got = estimate_kl(logp, logq, estimator=estimator, where=None if full else mask)
    assert got.unit == "token"
    expected = [mean, values[mask].std(ddof=1), std_error, mask.sum()]
    np.testing.assert_allclose(numbers(got), expected, rtol=1e-10)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("full", [True, False])
def test_sequence_means_are_means_of_sums(estimator, full):
    logp, logq, mask = ragged(np.random.default_rng(1), 50, 9, full)
    sums = (textbook(estimator, logp, logq) * mask).sum(axis=1)
    got = estimate_kl(logp, logq, estimator=estimator, unit="sequence", where=mask)
    assert got.unit == "sequence"
    std = sums.std(ddof=1)
    np.testing.assert_allclose(numbers(got), [sums.mean(), std, std / 50**0.5, 50], rtol=1e-12)


@pytest.mark.parametrize("unit", ["token", "sequence"])
@pytest.mark.parametrize("nudge", [-1e-2, 1e-2])
def test_optimal_minimises_the_clustered_standard_error(unit, nudge):
    logp, logq, mask = ragged(np.random.default_rng(2), 50, 9)

    def combination(weight):
        values = textbook("optimal", logp, logq, weight)
        if unit == "token":
            return ratio_linearised(values, mask)
        sums = (values * mask).sum(axis=1)
        return sums.mean(), sums.std(ddof=1) / 50**0.5

    got = estimate_kl(logp, logq, estimator="optimal", unit=unit, where=mask)
    (zero, _), (one, _) = combination(0.0), combination(1.0)
    weight = (got.mean - zero) / (one - zero)
    assert got.std_error == pytest.approx(combination(weight)[1], rel=1e-10, abs=0)
    assert combination(weight + nudge)[1] > got.std_error


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_standard_errors_are_honest_for_dependent_tokens_and_naive_ones_are_not(estimator):
    rng = np.random.default_rng(3)
    replications, groups, length = 1500, 150, 8
    means, squared, naive = [], [], []
    for _ in range(replications):
        log_r = 0.3 * rng.normal(size=(groups, 1)) + 0.05 * rng.normal(size=(groups, length))
        log_r -= (0.3**2 + 0.05**2) / 2  # so that the mean of r is 1, as it is under p
        mask = np.arange(length) < rng.integers(4, length + 1, (groups, 1))
        got = estimate_kl(np.zeros_like(log_r), log_r, estimator=estimator, where=mask)
        means.append(got.mean)
        squared.append(got.std_error**2)
        naive.append(got.std / got.n**0.5)
    truth = np.std(means, ddof=1)
    # The standard error of a standard deviation, four times, and a bias of order 1/groups.
    tolerance = 4 / math.sqrt(2 * (replications - 1)) + 1 / groups
    assert math.sqrt(np.mean(squared)) == pytest.approx(truth, rel=tolerance)
    if estimator != "optimal":  # there the independent noise within a sequence is what remains
        assert np.mean(naive) < 0.5 * truth


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_interval_covers_the_truth_as_often_as_it_says(estimator):
    rng = np.random.default_rng(4)
    truth, n = kl.estimator_moments(FAR_P[::-1], FAR_P, estimator=estimator).mean, 1500
    hits = 0
    for _ in range(n):
        x = rng.choice(3, 400, p=FAR_P[::-1])
        low, high = estimate_kl(
            np.log(FAR_P[::-1])[x], np.log(FAR_P)[x], estimator=estimator
        ).interval(0.9)
        hits += low < truth < high
    # Four binomial standard errors, and two points for 400 skewed samples not being normal.
    assert hits / n == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / n) + 0.02)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("unit", ["token", "sequence"])
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, 1e300])
def test_masked_entries_are_never_read(estimator, unit, rubbish):
    logp, logq, mask = ragged(np.random.default_rng(5), 20, 6)
    mask &= np.random.default_rng(6).random(mask.shape) < 0.7  # holes, not only padding
    mask[:, 0] = True
    clean = estimate_kl(logp, logq, estimator=estimator, unit=unit, where=mask)
    logp[~mask], logq[~mask] = rubbish, rubbish
    dirty = estimate_kl(logp, logq, estimator=estimator, unit=unit, where=mask)
    np.testing.assert_array_equal(numbers(dirty), numbers(clean))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_masked_samples_are_never_read(estimator):
    logp, logq = normal_samples(np.random.default_rng(5), 200_000)
    mask = np.random.default_rng(6).random(200_000) < 0.3
    mask[:70_000] = False  # a whole block
    clean = estimate_kl(logp[mask], logq[mask], estimator=estimator)
    logp[~mask], logq[~mask] = np.nan, np.inf
    dirty = estimate_kl(logp, logq, estimator=estimator, where=mask)
    np.testing.assert_allclose(numbers(dirty), numbers(clean), rtol=1e-12)


@given(seeds, st.lists(st.sampled_from(ESTIMATORS), min_size=1, max_size=5),
       st.sampled_from(["sample", "token", "sequence"]), st.booleans())  # fmt: skip
def test_several_estimators_in_one_pass_equal_each_alone(seed, estimators, unit, in_chunks):
    logp, logq, mask = ragged(np.random.default_rng(seed), 20, 6)
    options = {"unit": unit}
    if unit == "sample":
        logp, logq, mask, options = logp[:, 0], logq[:, 0], mask[:, 0], {}

    def estimate(estimator):
        if in_chunks:
            halves = [(logp[i], logq[i], mask[i]) for i in (slice(0, 9), slice(9, 20))]
            return estimate_kl_chunks(halves, estimator=estimator, **options)
        return estimate_kl(logp, logq, estimator=estimator, where=mask, **options)

    several = estimate(tuple(estimators))
    assert isinstance(several, tuple)
    assert [each.estimator for each in several] == estimators
    for got, name in zip(several, estimators, strict=True):
        np.testing.assert_array_equal(numbers(got), numbers(estimate(name)))


# --- merging --------------------------------------------------------------------------------------


def split(rng, n, parts):
    cuts = np.sort(rng.choice(np.arange(1, n), min(parts - 1, n - 1), replace=False))
    return np.split(np.arange(n), cuts)


@given(seeds, st.integers(3, 60), st.integers(2, 6), st.sampled_from(ESTIMATORS),
       st.sampled_from(["sample", "token", "sequence"]))  # fmt: skip
def test_merging_equals_one_shot(seed, n, parts, estimator, unit):
    rng = np.random.default_rng(seed)
    logp, logq, mask = ragged(rng, n, 5)
    options = {"estimator": estimator, "unit": unit}
    if unit == "sample":
        logp, logq, mask = logp[:, 0], logq[:, 0], None
        options["unit"] = "token"

    def estimate(rows):
        where = None if mask is None else mask[rows]
        return estimate_kl(logp[rows], logq[rows], where=where, **options)

    whole = numbers(estimate(np.arange(n)))
    pieces = [estimate(rows) for rows in split(rng, n, parts)]
    left = pieces[0]
    for piece in pieces[1:]:
        left = left + piece
    right = pieces[-1]
    for piece in pieces[-2::-1]:
        right = piece + right
    # Three samples leave "optimal" one degree of freedom, hence cancellation to the square root.
    few = estimator == "optimal" and n <= 5
    close = {"rtol": 1e-12, "atol": 1e-7 if few else 1e-14}
    np.testing.assert_allclose(numbers(left), whole, **close)
    np.testing.assert_allclose(numbers(right), whole, **close)


@given(seeds, st.sampled_from(ESTIMATORS), st.sampled_from(["token", "sequence"]))
def test_chunks_of_different_padded_length_equal_one_padded_array(seed, estimator, unit):
    rng = np.random.default_rng(seed)
    logp, logq, mask = ragged(rng, 30, 8)
    chunks = []
    for rows in split(rng, 30, 4):
        width = mask[rows].sum(axis=1).max()
        chunks.append((logp[rows, :width], logq[rows, :width], mask[rows, :width]))
    got = estimate_kl_chunks(iter(chunks), estimator=estimator, unit=unit)
    whole = estimate_kl(logp, logq, estimator=estimator, unit=unit, where=mask)
    np.testing.assert_allclose(numbers(got), numbers(whole), rtol=1e-11)


@pytest.mark.parametrize("chunk_type", [tuple, list])
def test_chunks_may_be_pairs(chunk_type):
    logp, logq = normal_samples(np.random.default_rng(0), 90)
    chunks = (chunk_type([logp[i : i + 30], logq[i : i + 30]]) for i in (0, 30, 60))
    whole = estimate_kl(logp, logq)
    np.testing.assert_allclose(numbers(estimate_kl_chunks(chunks)), numbers(whole), rtol=1e-13)


def test_merging_keeps_the_optimal_weight_of_the_whole_not_of_the_parts():
    rng = np.random.default_rng(7)
    near, far = normal_samples(rng, 500, 0.1), normal_samples(rng, 500, 2.0)
    a, b = estimate_kl(*near, estimator="optimal"), estimate_kl(*far, estimator="optimal")
    pooled = estimate_kl(*np.concatenate([near, far], axis=1), estimator="optimal")
    assert (a + b).mean == pytest.approx(pooled.mean, rel=1e-13, abs=0)
    assert abs((a.mean + b.mean) / 2 - pooled.mean) > 1e-3 * pooled.mean


@pytest.mark.parametrize("infinite", ["first", "second", "both"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_an_excluded_sample_makes_every_merged_mean_infinite(infinite, estimator, shape):
    def part(bad):
        logq = np.array([1.0, -np.inf if bad else -1.0, 0.5, 0.2]).reshape(shape)
        return estimate_kl(np.zeros(shape), logq, estimator=estimator)

    merged = part(infinite != "second") + part(infinite != "first")
    assert merged.mean == np.inf
    assert not merged.std < np.inf
    assert not merged.std_error < np.inf
    assert "inf" in repr(merged)


def test_excluded_samples_in_different_blocks_give_infinity():
    logq = np.zeros(300_000)
    logq[[0, 150_000]] = -np.inf
    assert estimate_kl(np.zeros(300_000), logq).mean == np.inf
    assert estimate_kl(np.zeros((1, 300_000)), logq[None], unit="sequence").mean == np.inf


@pytest.mark.parametrize("log_ratio", [400.0, 800.0])  # r², and r itself, overflow
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_where_r_overflows_optimal_falls_back_on_k1(log_ratio, shape):
    logq = np.array([log_ratio, 0.0, -1.0, 2.0]).reshape(shape)
    k1, k3, optimal = (
        estimate_kl(np.zeros(shape), logq, estimator=name) for name in ("k1", "k3", "optimal")
    )
    np.testing.assert_allclose(numbers(optimal), numbers(k1), rtol=1e-14)
    assert math.isfinite(optimal.std_error)
    assert k3.mean == (math.inf if log_ratio == 800 else pytest.approx(math.exp(400) / 4))
    assert k3.std_error == math.inf or log_ratio == 800  # inf - inf has no standard error


def test_means_too_far_apart_for_floats_merge():
    far = estimate_kl([0.0], [-1.5e308], estimator="k1")
    other = estimate_kl([-1.5e308], [0.0], estimator="k1")
    assert (far.mean, other.mean) == (1.5e308, -1.5e308)
    assert (far + other).mean == 0


def test_unlike_estimates_refuse_to_merge():
    logp, logq = normal_samples(np.random.default_rng(0), (4, 3))
    token, sequence = estimate_kl(logp, logq), estimate_kl(logp, logq, unit="sequence")
    sample, k1 = estimate_kl(logp[0], logq[0]), estimate_kl(logp, logq, estimator="k1")
    for a, b in itertools.permutations([token, sequence, sample, k1], 2):
        with pytest.raises(ValueError, match=r"can't merge k\d per \w+ with k\d per"):
            a + b
    with pytest.raises(TypeError):
        token + 1
    with pytest.raises(ValueError, match="can't merge"):
        estimate_kl_chunks([(logp, logq), (logp[0], logq[0])])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(60,), (20, 3)])
def test_estimates_from_other_processes_can_be_summed(estimator, shape):
    logp, logq = normal_samples(np.random.default_rng(0), shape)
    parts = [estimate_kl(logp[i::4], logq[i::4], estimator=estimator) for i in range(4)]
    total = sum(pickle.loads(pickle.dumps(part)) for part in parts)
    whole = estimate_kl(logp, logq, estimator=estimator)
    assert repr(total) == repr(whole)
    np.testing.assert_allclose(numbers(total), numbers(whole), rtol=1e-12)
    with pytest.raises(TypeError):
        1 + whole


def test_estimates_compare_by_identity_and_can_be_hashed():
    logp, logq = normal_samples(np.random.default_rng(0), 9)
    a, b = (estimate_kl(logp, logq, estimator="optimal") for _ in range(2))
    assert a == a
    assert a != b  # rather than the error that comparing arrays would raise
    assert len({a, b}) == 2


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.001, 0.1, 3.0])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_block_is_worked_on_in_five_arrays_that_are_kept(estimator, spread):
    logp = np.zeros(estimators.BLOCK)
    logq = spread * np.random.default_rng(0).normal(size=logp.size)
    logq[0] = 3 * spread
    assert peak_memory(estimate_kl, logp, logq, estimator=estimator) < 5.5 * logp.nbytes


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ["k3", "optimal"])
@pytest.mark.parametrize(
    ("small", "large"),
    [((3_000_000,), (9_000_000,)), ((2, 1_500_000), (2, 4_500_000)), ((10**6, 3), (3 * 10**6, 3))],
)
def test_memory_beyond_the_input_does_not_grow_with_it(
    small, large, masked, estimator, monkeypatch
):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # each thread has memory of its own
    peaks = []
    for shape in (small, large):
        where = np.ones(shape, bool) if masked else None
        arrays = np.full(shape, -1.0), np.full(shape, -1.5)
        peaks.append(peak_memory(estimate_kl, *arrays, estimator=estimator, where=where))
    assert peaks[1] <= peaks[0] + 2**17


@pytest.mark.parametrize("masked", [False, True])
def test_excluded_samples_are_looked_for_in_blocks(masked):
    logp, logq = np.zeros((2, 1, 2**21))
    logq[0, 0] = -np.inf
    where = np.ones(logp.shape, bool) if masked else None
    assert peak_memory(estimate_kl, logp, logq, where=where) < logp.nbytes / 2


@settings(max_examples=30)
@given(seeds, st.integers(1, 40), st.integers(1, 90), st.sampled_from(ESTIMATORS))
def test_the_size_of_the_blocks_does_not_matter(seed, block, task, estimator):
    logp, logq, mask = ragged(np.random.default_rng(seed), 12, 7)
    one = logp[mask], logq[mask]
    whole = numbers(estimate_kl(logp, logq, estimator=estimator, where=mask))
    whole_one = numbers(estimate_kl(*one, estimator=estimator))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimators, "BLOCK", block)
        patch.setattr(estimators, "TASK", task)
        blocks = numbers(estimate_kl(logp, logq, estimator=estimator, where=mask))
        blocks_one = numbers(estimate_kl(*one, estimator=estimator))
    np.testing.assert_allclose(blocks, whole, rtol=1e-11)
    np.testing.assert_allclose(blocks_one, whole_one, rtol=1e-11)


def test_a_first_block_without_a_sample_costs_no_digits():
    logp = -1e6 - 1e-3 * np.random.default_rng(0).normal(size=estimators.BLOCK + 1000)
    where = np.arange(logp.size) >= estimators.BLOCK
    got = estimate_kl(logp, np.zeros_like(logp), estimator="k1", where=where)
    assert got.std == pytest.approx(np.std(logp[where], ddof=1), rel=1e-9, abs=0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_number_of_threads_changes_no_bit(estimator, monkeypatch):
    logp, logq = normal_samples(np.random.default_rng(0), 3_500_000)
    several = [numbers(estimate_kl(logp, logq, estimator=estimator)) for _ in range(3)]
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    one = numbers(estimate_kl(logp, logq, estimator=estimator))
    np.testing.assert_array_equal(several, [one] * 3)


@pytest.mark.parametrize("spread", [2.0, 0.1, 0.01, 1e-3, 1e-9])
def test_sums_of_k3_are_right_to_1e_13_at_any_distance(spread):
    rng = np.random.default_rng(0)
    logp = -rng.exponential(2, 100_000)
    logq = logp + spread * rng.normal(size=logp.size)
    exact = math.fsum(kl.k3(logp, logq)) / logp.size  # each to 4 ulp
    got = estimate_kl(logp, logq)
    assert got.mean == pytest.approx(exact, rel=1e-13, abs=0)
    squares = math.fsum((kl.k3(logp, logq) - exact) ** 2)
    assert got.std == pytest.approx(math.sqrt(squares / (logp.size - 1)), rel=1e-13, abs=0)


def test_a_large_log_ratio_costs_the_sum_of_many_small_ones_no_digits():
    log_r = np.full(60_000, 1e-4 / 3)
    log_r[7] = 0.02
    exact = math.fsum(kl.k3(np.zeros_like(log_r), log_r)) / log_r.size
    assert estimate_kl(np.zeros_like(log_r), log_r).mean == pytest.approx(exact, rel=1e-13, abs=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
@pytest.mark.parametrize("shape", [(1_500_000,), (5000, 300)])
def test_arrays_in_files_are_read_in_blocks(dtype, shape, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    rng = np.random.default_rng(0)
    files = []
    for name in ("logp", "logq"):
        values = np.round(8 * -rng.exponential(2, (2, *shape))).clip(-100) / 8
        np.save(tmp_path / name, values.astype(dtype))
        # Every second entry of the last axis, backwards, of an array that stays in its file.
        files.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r")[1, ..., ::-2])
    whole = [np.array(file, np.float64) for file in files]
    assert peak_memory(estimate_kl, *files) < 12 * 2**20 + 8 * 2**20 * (dtype != np.float64)
    np.testing.assert_allclose(
        numbers(estimate_kl(*files)), numbers(estimate_kl(*whole)), rtol=1e-13
    )


# --- progress -------------------------------------------------------------------------------------


def test_progress_is_shown_on_stderr_and_only_when_asked_for(capfd):
    logp, logq = normal_samples(np.random.default_rng(0), 2_500_000)
    chunks = [(logp[:1000], logq[:1000])] * 4
    quiet = [estimate_kl(logp, logq), estimate_kl_chunks(iter(chunks))]
    assert capfd.readouterr() == ("", "")
    shown = [estimate_kl(logp, logq, progress=True)]
    assert "100%" in capfd.readouterr().err
    shown.append(estimate_kl_chunks(iter(chunks), progress=True))
    out, err = capfd.readouterr()
    assert out == ""
    assert "4it" in err  # how many will come is not known
    for a, b in zip(quiet, shown, strict=True):
        np.testing.assert_array_equal(numbers(a), numbers(b))


@pytest.mark.parametrize(
    "function", [estimate_kl, lambda *pair, **k: estimate_kl_chunks([pair], **k)]
)
def test_without_tqdm_progress_says_what_to_install(function, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert function([0.0, 0.0], [0.0, 0.1]).n == 2
    with pytest.raises(ImportError, match=r"^progress=True needs tqdm.*kltutorial\[progress\]"):
        function([0.0, 0.0], [0.0, 0.1], progress=True)
    with pytest.raises(TypeError, match=r"^progress must be True or False"):
        function([0.0, 0.0], [0.0, 0.1], progress=1)


# --- input ----------------------------------------------------------------------------------------

PAIR_FUNCTIONS = [*ELEMENTWISE.values(), estimate_kl, kl.optimal_control_variate]


@pytest.mark.parametrize("function", PAIR_FUNCTIONS)
@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("dtype", [complex, bool, str, object])
def test_what_is_not_real_numbers_is_a_type_error(function, position, dtype):
    values = [np.zeros(2), np.zeros(2)]
    values[position] = values[position].astype(dtype)
    with pytest.raises(TypeError, match=rf"^log{'pq'[position]} must be real numbers"):
        function(*values)


@pytest.mark.parametrize("function", PAIR_FUNCTIONS)
@pytest.mark.parametrize(
    ("logp", "logq", "message"),
    [
        ([0.0, np.nan], [0.0, 0.0], "^logp must be finite"),
        ([0.0, -np.inf], [0.0, 0.0], "^logp must be finite"),
        ([0.0, np.inf], [0.0, 0.0], "^logp must be finite"),
        ([0.0, 0.0], [0.0, np.nan], "^logq must not contain NaN"),
        ([0.0, 0.0], [0.0, np.inf], r"^logq must not contain \+inf"),
        ([0.0, 0.0], [0.0], "^logp and logq must have the same shape"),
        ([[0.0, 0.0]], [0.0, 0.0], "^logp and logq must have the same shape"),
        ([], [], "^logp must not be empty"),
        ([[0.0], [0.0, 1.0]], [0.0], "^logp must be a rectangular array"),
    ],
)
def test_bad_log_probabilities_are_refused(function, logp, logq, message):
    with pytest.raises(ValueError, match=message):
        function(logp, logq)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((), {}, r"^logp must have shape \(samples,\) or \(sequences, tokens\)"),
        ((2, 2, 2), {}, r"^logp must have shape \(samples,\) or \(sequences, tokens\)"),
        ((0, 3), {}, "^logp must not be empty"),
        ((3, 0), {}, "^logp must not be empty"),
        ((3,), {"estimator": "k4"}, "^estimator must be 'k1', 'k2', 'k3' or 'optimal', got 'k4'"),
        ((3,), {"estimator": None}, "^estimator must be"),
        ((3,), {"estimator": ()}, "^estimator must name at least one"),
        ((3,), {"estimator": ["k1", "k4"]}, "^estimator must be .*, got 'k4'"),
        ((3,), {"unit": "word"}, "^unit must be 'token' or 'sequence', got 'word'"),
        ((3,), {"unit": "sequence"}, "^unit='sequence' needs"),
        ((3,), {"where": [True, True]}, "^where and logp must have the same shape"),
        ((2, 2), {"where": [True, True]}, "^where and logp must have the same shape"),
        ((2,), {"where": [False, False]}, "^where must keep at least one sample"),
        ((2, 2), {"where": [[True, False], [False, False]]}, "^where must .* 1 has none"),
        ((2, 2), {"where": [[False, False]] * 2}, "^where must .* 0 has none"),
    ],
)
def test_bad_options_of_estimate_kl_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        estimate_kl(np.zeros(shape), np.zeros(shape), **options)


def test_an_all_masked_sequence_is_named_by_its_number_also_in_a_later_block():
    mask = np.ones((50_000, 3), bool)
    mask[43_210] = False
    with pytest.raises(ValueError, match=r"^where must .* 43210 has none"):
        estimate_kl(np.zeros(mask.shape), np.zeros(mask.shape), where=mask)


@pytest.mark.parametrize("where", [[1, 1], [1.0, 0.0], ["a", "b"], [None, True]])
def test_a_mask_that_is_not_boolean_is_a_type_error(where):
    with pytest.raises(TypeError, match=r"^where must be boolean"):
        estimate_kl([0.0, 0.0], [0.0, 0.0], where=where)


@pytest.mark.parametrize("level", [0, 1, -0.5, 1.5, 95, np.nan])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match=r"^level must be between 0 and 1"):
        estimate_kl([0.0, 0.0], [0.0, 1.0]).interval(level)


@pytest.mark.parametrize("level", ["0.95", None, True])
def test_a_level_that_is_no_number_is_a_type_error(level):
    with pytest.raises(TypeError, match=r"^level must be a number"):
        estimate_kl([0.0, 0.0], [0.0, 1.0]).interval(level)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "^chunks must hold at least one"),
        (iter([]), "^chunks must hold at least one"),
        ([([0.0],)], r"^chunks\[0\] must be \(logp, logq\)"),
        ([([0.0], [0.0]), ([0.0], [0.0], [True], 1)], r"^chunks\[1\] must be \(logp, logq\)"),
        ([np.zeros((2, 5))], r"^chunks\[0\] must be \(logp, logq\)"),
        ([([0.0], [np.nan])], r"^chunks\[0\]: logq must not contain NaN"),
        ([([0.0], [0.0]), ([], [])], r"^chunks\[1\]: logp must not be empty"),
        ([([0.0], [0.0]), ([[0.0]], [[0.0]])], r"^chunks\[1\]: can't merge k3 per sample with"),
    ],
)
def test_bad_chunks_are_refused(chunks, message):
    with pytest.raises(ValueError, match=message):
        estimate_kl_chunks(chunks)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl.estimator_moments([1.0], [1.0], estimator="K3"), "^estimator must be"),
        (lambda: kl.shifted_normal_moments(1.0, estimator="K3"), "^estimator must be"),
        (lambda: estimate_kl_chunks([([0.0], [0.0])], estimator="K3"), "^estimator must be"),
        (lambda: kl.estimator_moments([[1.0]], [[1.0]]), "^p and q must have shape"),
        (lambda: kl.estimator_moments([1.0], [[1.0]]), "^p and q must have shape"),
        (lambda: kl.estimator_moments([0.5, 0.5], [1.0, 0.0]), "^q must be positive wherever p is"),
        (lambda: kl.estimator_moments([0.5, 0.6], [0.5, 0.5]), "^p must sum to 1"),
        (lambda: kl.estimator_moments([0.5, 0.5], [1.5, -0.5]), "^q must be non-negative"),
        (lambda: kl.estimator_moments([], []), "^p must not be empty"),
        (lambda: kl.shifted_normal_moments(np.nan), "^shift must be finite"),
        (lambda: kl.shifted_normal_moments(np.inf), "^shift must be finite"),
    ],
    ids=itertools.count(),
)
def test_bad_arguments_of_the_exact_moments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shift", ["1", 1j, None, True, [1.0], [[1.0, 2.0]]])
def test_a_shift_that_is_not_one_number_is_a_type_error(shift):
    with pytest.raises(TypeError, match=r"^shift must be"):
        kl.shifted_normal_moments(shift)


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
@pytest.mark.parametrize("function", PAIR_FUNCTIONS)
def test_input_is_not_modified(function, shape):
    logp, logq = normal_samples(np.random.default_rng(0), shape)
    where = np.ones(shape, bool)
    for array in (logp, logq, where):
        array.flags.writeable = False  # writing raises
    options = {"where": where} if function is estimate_kl else {}
    function(logp, logq, **options)
