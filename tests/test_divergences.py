import itertools

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import assume, given

import kltutorial as kl
from kltutorial import _logits
from tests.memory import peak_memory
from tests.strategies import distribution_pairs, distributions, exactly, relative_error, seeds

CATEGORICAL = [kl.entropy, kl.cross_entropy, kl.kl_divergence]
P, Q = [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]
EYE = np.eye(2)
ROUNDING = 1e-13  # of a handful of terms below 10 nats


def softmax(logits, axis=-1):
    weights = np.exp(logits)
    return weights / weights.sum(axis=axis, keepdims=True)


def random_distributions(rng, shape, axis=-1):
    return softmax(rng.normal(size=shape), axis)


def arguments(function, p, q):
    return (p,) if function is kl.entropy else (p, q)


# --- categorical -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize("base", [None, 2, 10.0, 0.5, np.int64(2)])
def test_categorical_values_match_scipy_for_any_shape_axis_and_base(shape, base):
    rng = np.random.default_rng(0)
    for axis in range(-len(shape), len(shape)):
        p, q = random_distributions(rng, shape, axis), random_distributions(rng, shape, axis)
        entropy = scipy.stats.entropy(p, axis=axis)
        divergence = scipy.stats.entropy(p, q, axis=axis)
        unit = np.log(base or np.e)
        options = {"axis": axis, "base": base}
        close = {"rtol": 1e-13, "atol": 1e-15}
        np.testing.assert_allclose(kl.entropy(p, **options), entropy / unit, **close)
        np.testing.assert_allclose(kl.kl_divergence(p, q, **options), divergence / unit, **close)
        cross = kl.cross_entropy(p, q, **options)
        np.testing.assert_allclose(cross, (entropy + divergence) / unit, **close)
        assert np.shape(cross) == entropy.shape


def test_one_row_of_logits_broadcasts_against_many():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 5))
    wanted = [kl.kl_from_logits(a[0], row) for row in b]
    np.testing.assert_array_equal(kl.kl_from_logits(a[0], b), wanted)
    np.testing.assert_array_equal(kl.kl_from_logits(a[:1], b), wanted)
    wanted = [kl.kl_from_logits(row, b[0]) for row in a]
    np.testing.assert_array_equal(kl.kl_from_logits(a, b[0]), wanted)


def test_one_model_broadcasts_against_a_batch():
    rng = np.random.default_rng(1)
    p, q = random_distributions(rng, (4, 3)), random_distributions(rng, (3,))
    each = [kl.kl_divergence(row, q) for row in p]
    np.testing.assert_array_equal(kl.kl_divergence(p, q), each)
    np.testing.assert_allclose(kl.kl_from_logits(np.log(p), np.log(q)), each, rtol=1e-12)
    # Along axis 0 the two have one outcome axis each, in a different place from the end.
    np.testing.assert_array_equal(kl.kl_divergence(p.T, q, axis=0), each)
    np.testing.assert_allclose(kl.kl_from_logits(np.log(p.T), np.log(q), axis=0), each, rtol=1e-12)


@pytest.mark.parametrize("function", [kl.cross_entropy, kl.kl_divergence])
def test_an_outcome_that_q_excludes_costs_infinity(function):
    p, q = [[0.5, 0.5, 0.0], [0.0, 0.4, 0.6], [1e-320, 1.0, 0.0]], [0.0, 0.5, 0.5]
    np.testing.assert_array_equal(np.isinf(function(p, q)), [True, False, True])
    assert (np.array(function(p, q)) > 0).all()  # +inf, and no NaN


def test_zero_times_log_zero_is_zero():
    assert kl.entropy([1.0, 0.0]) == 0
    assert kl.cross_entropy([1.0, 0.0], [1.0, 0.0]) == 0
    assert kl.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0
    assert kl.kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2), rel=1e-15, abs=0)


@given(distribution_pairs())
def test_cross_entropy_is_entropy_plus_divergence(pair):
    p, q = pair
    total = kl.entropy(p) + kl.kl_divergence(p, q)
    assert kl.cross_entropy(p, q) == pytest.approx(total, rel=1e-13, abs=ROUNDING)


def categorical_oracle(p, q):
    """Σ p log(p/q) − Σp + Σq of the floats as they are, not of what they were meant to be."""
    with mpmath.workdps(60):
        pairs = list(zip(exactly(p), exactly(q), strict=True))
        return mpmath.fsum(a * mpmath.log(a / b) - a + b if a else b for a, b in pairs)


@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(5))
def test_divergence_keeps_its_digits_at_any_distance(distance, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=20)
    p, q = softmax(logits), softmax(logits + distance * rng.normal(size=20))
    assert relative_error(kl.kl_divergence(p, q), categorical_oracle(p, q)) < 1e-14


def test_the_textbook_sum_has_no_digit_left_a_billionth_apart():
    p = np.array([0.3, 0.3, 0.4])
    q = p + np.array([1e-9, -1e-9, 0])
    exact = categorical_oracle(p, q)
    assert relative_error((p * np.log(p / q)).sum(), exact) > 0.1
    assert relative_error(kl.kl_divergence(p, q), exact) < 1e-14


@pytest.mark.parametrize("tiny", [1e-300, 5e-324])
def test_divergence_survives_extreme_probabilities(tiny):
    p, q = [tiny, 1.0], [1.0, tiny]
    assert kl.kl_divergence(p, q) == pytest.approx(-np.log(tiny), rel=1e-14, abs=0)


# --- logits ----------------------------------------------------------------------------------


def logits_oracle(a, b):
    with mpmath.workdps(700):
        a, b = exactly(a), exactly(b)
        p, q = [mpmath.exp(x) for x in a], [mpmath.exp(x) for x in b]
        log_z = mpmath.log(mpmath.fsum(p)) - mpmath.log(mpmath.fsum(q))
        terms = [w * (x - y - log_z) for w, x, y in zip(p, a, b, strict=True) if w]
        return mpmath.fsum(terms) / mpmath.fsum(p)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1, 30, 100, 300, 1e4])
@pytest.mark.parametrize("distance", [1e-9, 1e-6, 1e-2, 1.0, None])
def test_logits_give_twelve_digits_at_any_scale_and_distance(scale, distance):
    judged = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        a = scale * rng.normal(size=6)
        b = a + distance * rng.normal(size=6) if distance else scale * rng.normal(size=6)
        exact = logits_oracle(a, b)
        if exact > 1e-290:  # below, the probabilities themselves are no normal numbers
            judged += 1
            assert relative_error(kl.kl_from_logits(a, b), exact) < 1e-12
        else:
            assert 0 <= kl.kl_from_logits(a, b) < 1e-288
    assert judged or scale == 1e4


@pytest.mark.parametrize("seed", range(5))
def test_logits_a_few_units_in_the_last_place_apart_keep_their_digits(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=6)
    b = a + 1e-14 * rng.normal(size=6)
    assert relative_error(kl.kl_from_logits(a, b), logits_oracle(a, b)) < 1e-12


@pytest.mark.parametrize("offset", [100.0, -1e4, 1e6, 2.0**45])
@pytest.mark.parametrize("distance", [1e-6, 1.0])
def test_a_constant_added_to_one_side_costs_no_digits(offset, distance):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        a = rng.normal(size=6)
        b = a + distance * rng.normal(size=6) + offset  # rounded: the oracle sees these floats
        for first, second in [(a, b), (b, a)]:
            exact = logits_oracle(first, second)
            assert relative_error(kl.kl_from_logits(first, second), exact) < 1e-14


def test_integer_offsets_change_no_bit():
    a, b = np.array([0.0, 1.0, -2.0]), np.array([3.0, 0.0, 1.0])
    assert kl.kl_from_logits(a + 2**40, b - 2**41) == kl.kl_from_logits(a, b)


@pytest.mark.parametrize("distance", [1e-6, 1e-4, 1e-2, 1.0, 5.0])
@pytest.mark.parametrize("offset", [0.0, 1.5, 1e3])
def test_float32_logits_of_a_whole_vocabulary_give_six_digits(distance, offset):
    rng = np.random.default_rng(0)
    a = (3 * rng.normal(size=(2, 50_000))).astype(np.float32)
    b = (a + distance * rng.normal(size=a.shape) + offset).astype(np.float32)
    got, exact = kl.kl_from_logits(a, b), kl.kl_from_logits(a.astype(float), b.astype(float))
    assert got.dtype == np.float32
    # exp of a rounded logit of size 13 is wrong by 13 eps, and so is a sum of such.
    np.testing.assert_allclose(got, exact, rtol=13 * 2**-23)


def test_logits_far_apart_neither_overflow_nor_lose_digits():
    for size in (80.0, 800.0, 1e5):
        assert kl.kl_from_logits([0.0, -size], [-size, 0.0]) == pytest.approx(
            size, rel=1e-14, abs=0
        )
    assert kl.kl_from_logits([0.0, -1e30], [-1e30, 0.0]) == pytest.approx(1e30, rel=1e-14, abs=0)


def test_rows_of_which_some_are_far_apart_do_not_touch():
    p = np.array([[0.0, -1000.0], [0.0, -500.0], [0.0, -20.0], [0.0, -1.0]])
    q = np.array([[-900.0, 0.0], [-700.0, 0.0], [-30.0, 0.0], [-2.0, 0.0]])
    exact = [float(logits_oracle(*rows)) for rows in zip(p, q, strict=True)]
    np.testing.assert_allclose(kl.kl_from_logits(p, q), exact, rtol=1e-14)


@pytest.mark.parametrize("shape", [(3, 1, 7), (1, 5, 7), (7,)])
def test_logits_in_blocks_are_those_of_each_row(shape, monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 5, 7)), rng.normal(size=shape)
    a[0, 0, 1] = b[..., 1] = -np.inf
    a[..., 1] = -np.inf
    each = [[kl.kl_from_logits(x, y) for x, y in zip(p, q, strict=True)]
            for p, q in zip(a, np.broadcast_to(b, a.shape), strict=True)]  # fmt: skip
    for block, task in itertools.product([1, 15, 100], [1, 30, 1000]):
        monkeypatch.setattr(_logits, "BLOCK", block)
        monkeypatch.setattr(_logits, "TASK", task)
        np.testing.assert_allclose(kl.kl_from_logits(a, b), each, rtol=1e-14)
        moved = np.moveaxis(a, -1, 0), np.moveaxis(np.broadcast_to(b, a.shape), -1, 0)
        np.testing.assert_allclose(kl.kl_from_logits(*moved, axis=0), each, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("broadcast", [False, True])
def test_memory_beyond_the_logits_does_not_grow_with_the_rows(dtype, broadcast, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # each thread has memory of its own
    peaks = []
    for rows in (20, 100):
        a = np.random.default_rng(0).normal(size=(rows, 40_000)).astype(dtype)
        b = a[:1] + dtype(0.1) if broadcast else a[::-1]
        peaks.append(peak_memory(kl.kl_from_logits, a, b))
    assert peaks[1] <= peaks[0] + 2**15
    assert peaks[1] <= 10 * 4 * 65536 * 4


@pytest.mark.parametrize("spread", [0.01, 1.0, 50.0])
def test_a_row_is_worked_on_in_six_arrays(spread):
    a, b = spread * np.random.default_rng(0).normal(size=(2, 1, _logits.BLOCK))
    assert peak_memory(kl.kl_from_logits, a, b) < 6.5 * a.nbytes


@pytest.mark.parametrize(
    ("bad", "message"),
    [(np.nan, "contain NaN"), (np.inf, r"contain \+inf"), (-np.inf, "allow some outcome")],
)
@pytest.mark.parametrize("position", [0, 1])
def test_a_bad_logit_in_a_late_block_is_found(bad, message, position):
    arrays = [np.zeros((60_000, 3)), np.zeros((60_000, 3))]
    arrays[position][55_555] = bad
    with pytest.raises(ValueError, match=rf"^{'pq'[position]}_logits must (not )?{message}"):
        kl.kl_from_logits(*arrays)


def test_impossible_outcomes_in_logits():
    nope = -np.inf
    a = [[0.0, 0.0, nope], [0.0, nope, nope], [nope, 0.0, 0.0], [nope, nope, 0.0]]
    half, third = np.log([0.5, 0.5, 1.0]), np.zeros(3)
    got = kl.kl_from_logits(a, third)
    np.testing.assert_allclose(got, np.log([1.5, 3.0, 1.5, 3.0]), rtol=1e-14)
    to_first = kl.kl_from_logits(a, [0.0, 0.0, nope])
    np.testing.assert_allclose(to_first, [0.0, np.log(2), np.inf, np.inf], rtol=1e-14)
    assert kl.kl_from_logits([0.0, -800.0], [0.0, nope]) == np.inf  # exp(-800) is 0 in float64
    assert kl.kl_from_logits(half, half) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outcomes_masked_with_the_lowest_float_drop_out(dtype):
    low = np.finfo(dtype).min
    got = kl.kl_from_logits(np.array([0, 0, low], dtype), np.array([0, np.log(3), low], dtype))
    assert got == pytest.approx(0.1438410362, rel=1e-6, abs=0)


def test_logits_along_any_axis():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    for axis in range(-3, 3):
        expected = kl.kl_divergence(softmax(a, axis), softmax(b, axis), axis=axis)
        np.testing.assert_allclose(kl.kl_from_logits(a, b, axis=axis), expected, rtol=1e-12)


# --- closed forms ----------------------------------------------------------------------------


def integrated(p, q, low, high):
    """KL of two scipy.stats distributions by adaptive integration."""
    return scipy.integrate.quad(
        lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, limit=200, epsabs=1e-12
    )[0]


@pytest.mark.parametrize(("m", "s", "n", "t"), [(0, 1, 1, 1), (1, 0.5, -1, 2), (0, 3, 0.5, 0.7)])
def test_normal_matches_integration(m, s, n, t):
    exact = integrated(scipy.stats.norm(m, s), scipy.stats.norm(n, t), m - 12 * s, m + 12 * s)
    assert kl.kl_normal(m, s, n, t) == pytest.approx(exact, rel=1e-9, abs=0)


@pytest.mark.parametrize(("a", "b"), [(1, 2), (2, 1), (0.1, 3), (5, 5.5)])
def test_exponential_matches_integration(a, b):
    p, q = scipy.stats.expon(scale=1 / a), scipy.stats.expon(scale=1 / b)
    assert kl.kl_exponential(a, b) == pytest.approx(integrated(p, q, 0, 50 / a), rel=1e-9, abs=0)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.9, 0.8), (0.01, 0.7), (1.0, 0.3), (0.0, 0.3)])
def test_bernoulli_matches_scipy(p, q):
    exact = scipy.stats.entropy([p, 1 - p], [q, 1 - q])
    assert kl.kl_bernoulli(p, q) == pytest.approx(exact, rel=1e-13, abs=1e-16)


def test_bernoulli_is_infinite_exactly_where_q_excludes_what_p_produces():
    p, q = np.meshgrid([0.0, 0.5, 1.0], [0.0, 1.0])
    expected = [[0, np.inf, np.inf], [np.inf, np.inf, 0]]
    np.testing.assert_array_equal(kl.kl_bernoulli(p, q), expected)


@pytest.mark.parametrize("distance", [1e-9, 1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("p", [1e-12, 1e-5, 0.1, 0.3, 0.7, 1 - 1e-6])
def test_bernoulli_keeps_its_digits_at_any_distance(p, distance):
    q = p + distance * min(p, 1 - p)
    with mpmath.workdps(60):
        a, b = mpmath.mpf(p), mpmath.mpf(q)
        exact = a * mpmath.log(a / b) + (1 - a) * mpmath.log((1 - a) / (1 - b))
    assert relative_error(kl.kl_bernoulli(p, q), exact) < 1e-14


def gap_oracle(x):
    return x - 1 - mpmath.log(x)


@pytest.mark.parametrize("distance", [1e-9, 1e-6, 1e-3, 0.3, 5.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_normal_and_exponential_keep_their_digits_at_any_distance(distance, scale):
    s, t, m, n = (scale * x for x in (1.0, 1 + distance, 3.0, 3 + distance))
    with mpmath.workdps(60):
        s_, t_, m_, n_ = exactly([s, t, m, n])
        exponential = gap_oracle(t_ / s_)
        normal = (gap_oracle((s_ / t_) ** 2) + ((m_ - n_) / t_) ** 2) / 2
    assert relative_error(kl.kl_exponential(s, t), exponential) < 1e-14
    assert relative_error(kl.kl_normal(m, s, n, t), normal) < 1e-14


def test_closed_forms_underflow_in_silence_also_where_numpy_is_told_to_raise():
    with np.errstate(all="raise"):
        assert kl.kl_normal(0, 1, 1e-170, 1) == 0
        assert kl.kl_exponential(1.0, 1e-320) == pytest.approx(320 * np.log(10) - 1, rel=1e-5)
        assert kl.kl_normal(0, 1e-200, 0, 1) == pytest.approx(200 * np.log(10) - 0.5, rel=1e-12)


def test_closed_forms_broadcast_and_overflow_to_infinity_in_silence():
    assert kl.kl_normal(0, 1, np.zeros((3, 1)), np.ones(2)).shape == (3, 2)
    assert kl.kl_exponential(np.ones((3, 1)), np.ones(2)).shape == (3, 2)
    assert kl.kl_bernoulli(np.full((3, 1), 0.5), [0.1, 0.2]).shape == (3, 2)
    assert kl.kl_normal(1e200, 1, 0, 1) == np.inf
    assert kl.kl_normal(0, 1e200, 0, 1e-200) == np.inf
    assert kl.kl_normal(1.5e308, 1e300, -1.5e308, 1e300) == pytest.approx(4.5e16)
    assert kl.kl_exponential(1e-200, 1e200) == np.inf


def random_covariance(rng, size, condition):
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    cov = turn @ np.diag(np.geomspace(1, condition, size)) @ turn.T
    return (cov + cov.T) / 2


def multivariate_oracle(m, cov_p, n, cov_q):
    """½ (tr Σq⁻¹Σp − d + log det Σq / det Σp + Δᵀ Σq⁻¹ Δ), in 60 digits."""
    with mpmath.workdps(60):
        a, b = mpmath.matrix(cov_p.tolist()), mpmath.matrix(cov_q.tolist())
        step = mpmath.matrix(exactly(m)) - mpmath.matrix(exactly(n))
        inverse = mpmath.inverse(b)
        ratio = inverse * a
        trace = mpmath.fsum(ratio[i, i] for i in range(len(m)))
        log_det = mpmath.log(mpmath.det(b) / mpmath.det(a))
        return (trace - len(m) + log_det + (step.T * inverse * step)[0]) / 2


@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
@pytest.mark.parametrize("seed", range(8))
def test_multivariate_normal_matches_sixty_digits(condition, seed):
    rng = np.random.default_rng(seed)
    size = 2 + seed % 4
    m, n = rng.normal(size=(2, size))
    cov_p, cov_q = (random_covariance(rng, size, condition) for _ in range(2))
    got = kl.kl_multivariate_normal(m, cov_p, n, cov_q)
    assert relative_error(got, multivariate_oracle(m, cov_p, n, cov_q)) < 1e-12


@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
@pytest.mark.parametrize("distance", [1e-8, 1e-4])
def test_multivariate_normal_keeps_its_digits_when_nearly_equal(condition, distance):
    rng = np.random.default_rng(5)
    cov_q = random_covariance(rng, 3, condition)
    root = np.linalg.cholesky(cov_q)
    noise = rng.normal(size=(3, 3))
    cov_p = cov_q + distance * root @ (noise + noise.T) @ root.T
    cov_p = (cov_p + cov_p.T) / 2
    n = rng.normal(size=3)
    m = n + distance * root @ rng.normal(size=3)
    got = kl.kl_multivariate_normal(m, cov_p, n, cov_q)
    exact = multivariate_oracle(m, cov_p, n, cov_q)
    # An entry's rounding is 1e-16 of the largest eigenvalue, so `condition` of the smallest.
    assert relative_error(got, exact) < 1e-14 * condition


def test_multivariate_normal_matches_integration_in_two_dimensions():
    mean_p, cov_p = [0.3, -0.2], [[1.0, 0.4], [0.4, 0.5]]
    mean_q, cov_q = [0.0, 0.5], [[2.0, -0.3], [-0.3, 1.0]]
    p, q = (
        scipy.stats.multivariate_normal(mean_p, cov_p),
        scipy.stats.multivariate_normal(mean_q, cov_q),
    )
    exact, _ = scipy.integrate.dblquad(
        lambda y, x: p.pdf([x, y]) * (p.logpdf([x, y]) - q.logpdf([x, y])),
        -9, 9, -7, 7, epsabs=1e-7, epsrel=1e-7,
    )  # fmt: skip
    assert kl.kl_multivariate_normal(mean_p, cov_p, mean_q, cov_q) == pytest.approx(
        exact, rel=1e-6, abs=0
    )


@pytest.mark.parametrize("distance", [1e-8, 0.1, 5.0])
def test_multivariate_normal_in_one_dimension_is_normal(distance):
    s, t = 1 + distance, 2.0
    one = kl.kl_multivariate_normal([1.0], [[s**2]], [0.5], [[t**2]])
    assert one == pytest.approx(kl.kl_normal(1.0, s, 0.5, t), rel=1e-14, abs=0)


def test_a_rotated_isotropic_covariance_counts_as_symmetric():
    for seed, dtype in itertools.product(range(20), [np.float32, np.float64]):
        turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
        cov = (turn @ np.diag([2, 2, 2]) @ turn.T).astype(dtype)
        cov[0, 1] += np.finfo(dtype).eps  # what rounding leaves where the exact entry is 0
        got = kl.kl_multivariate_normal(np.zeros(3, dtype), cov, np.zeros(3, dtype), np.eye(3))
        assert got == pytest.approx(1.5 * (1 - np.log(2)), rel=1e-5, abs=0)


# --- what every divergence must satisfy --------------------------------------------------------


@given(distribution_pairs())
def test_divergence_is_at_least_twice_the_squared_total_variation(pair):
    p, q = pair  # Pinsker: so it is 0 only where p = q
    total_variation = np.abs(p - q).sum() / 2
    assert kl.kl_divergence(p, q) >= 2 * total_variation**2 * (1 - ROUNDING)
    assert kl.kl_divergence(p, p) == 0


@given(distribution_pairs(zeros=False), st.floats(-30, 30))
def test_divergence_from_logits_is_never_negative_and_zero_for_equal_ones(pair, offset):
    a, b = np.log(pair[0]), np.log(pair[1])
    assert kl.kl_from_logits(a, b) >= 0
    assert kl.kl_from_logits(a, a + offset) <= 1e-26  # logits rounded at 30, squared
    assert (kl.kl_from_logits(a, b) > 0) == (np.abs(pair[0] - pair[1]).max() > 0)


@given(distribution_pairs(), distribution_pairs())
def test_divergence_adds_over_independent_parts(first, second):
    p, q = (np.outer(a, b).ravel() for a, b in zip(first, second, strict=True))
    parts = kl.kl_divergence(*first) + kl.kl_divergence(*second)
    assert kl.kl_divergence(p, q) == pytest.approx(parts, rel=1e-13, abs=ROUNDING)


@given(seeds)
def test_chain_rule(seed):
    rng = np.random.default_rng(seed)
    p, q = (random_distributions(rng, 12).reshape(3, 4) for _ in range(2))
    p_x, q_x = p.sum(axis=1), q.sum(axis=1)
    later = kl.kl_divergence(p / p_x[:, None], q / q_x[:, None])
    total = kl.kl_divergence(p_x, q_x) + p_x @ later
    assert kl.kl_divergence(p.ravel(), q.ravel()) == pytest.approx(total, rel=1e-12, abs=0)


@given(distribution_pairs(), st.randoms(use_true_random=False))
def test_relabelling_outcomes_changes_nothing(pair, random):
    p, q = pair
    order = list(range(len(p)))
    random.shuffle(order)
    expected = kl.kl_divergence(p, q)
    assert kl.kl_divergence(p[order], q[order]) == pytest.approx(expected, rel=1e-14, abs=0)


@given(distribution_pairs(), seeds)
def test_processing_the_data_never_raises_the_divergence(pair, seed):
    p, q = pair
    channel = random_distributions(np.random.default_rng(seed), (len(p), 3))
    assert kl.kl_divergence(p @ channel, q @ channel) <= kl.kl_divergence(p, q) + ROUNDING


@given(st.data(), st.floats(0, 1))
def test_divergence_is_jointly_convex(data, weight):
    p, q, r, s = (data.draw(distributions(4)) for _ in range(4))
    mixed = kl.kl_divergence(weight * p + (1 - weight) * r, weight * q + (1 - weight) * s)
    ends = kl.kl_divergence(p, q), kl.kl_divergence(r, s)
    assume(np.isfinite(ends).all())
    assert mixed <= weight * ends[0] + (1 - weight) * ends[1] + ROUNDING


def test_divergence_is_not_symmetric():
    assert kl.kl_divergence([0.9, 0.1], [0.5, 0.5]) == pytest.approx(0.3680642, rel=1e-6, abs=0)
    assert kl.kl_divergence([0.5, 0.5], [0.9, 0.1]) == pytest.approx(0.5108256, rel=1e-6, abs=0)


# --- input -------------------------------------------------------------------------------------

CALLS = [  # a function, a name for each argument that it checks, and arguments that it takes
    (kl.entropy, ["p"], [P]),
    (kl.cross_entropy, ["p", "q"], [P, Q]),
    (kl.kl_divergence, ["p", "q"], [P, Q]),
    (kl.kl_from_logits, ["p_logits", "q_logits"], [P, Q]),
    (kl.kl_normal, ["mean_p", "std_p", "mean_q", "std_q"], [[0.0], [1.0], [1.0], [2.0]]),
    (kl.kl_bernoulli, ["p", "q"], [[0.5, 0.1], [0.3, 0.1]]),
    (kl.kl_exponential, ["rate_p", "rate_q"], [[1.0], [2.0]]),
    (kl.kl_multivariate_normal, ["mean_p", "cov_p", "mean_q", "cov_q"], [[0, 0], EYE, [1, 0], EYE]),
]
EACH_ARGUMENT = [
    pytest.param(function, values, i, name, id=f"{function.__name__}-{name}")
    for function, names, values in CALLS
    for i, name in enumerate(names)
]
EACH_FUNCTION = [pytest.param(f, values, id=f.__name__) for f, _, values in CALLS]


def spoiled(values, i, change):
    return [change(np.array(v, float)) if i == j else v for j, v in enumerate(values)]


@pytest.mark.parametrize(("function", "values", "i", "name"), EACH_ARGUMENT)
@pytest.mark.parametrize("dtype", [complex, bool, object, str, "datetime64[s]"])
def test_what_is_not_real_numbers_is_a_type_error(function, values, i, name, dtype):
    def convert(array):
        return array.astype(int).astype(dtype) if dtype == "datetime64[s]" else array.astype(dtype)

    with pytest.raises(TypeError, match=rf"^{name} must be real numbers"):
        function(*spoiled(values, i, convert))


@pytest.mark.parametrize(("function", "values", "i", "name"), EACH_ARGUMENT)
def test_nan_is_refused(function, values, i, name):
    with pytest.raises(ValueError, match=rf"^{name} must (be finite|not contain NaN)"):
        function(*spoiled(values, i, lambda array: array * np.nan))


@pytest.mark.parametrize(("function", "values", "i", "name"), EACH_ARGUMENT)
def test_plus_infinity_is_refused(function, values, i, name):
    with pytest.raises(ValueError, match=rf"^{name} must (be finite|not contain \+inf)"):
        function(*spoiled(values, i, lambda array: array + np.inf))


@pytest.mark.parametrize(("function", "values", "i", "name"), EACH_ARGUMENT)
def test_empty_input_is_refused(function, values, i, name):
    shape = (2, 0) if function not in (kl.kl_multivariate_normal,) else (0,)
    with pytest.raises(ValueError, match=rf"{name} .*(empty|shape)"):
        function(*spoiled(values, i, lambda _: np.empty(shape)))


@pytest.mark.parametrize(("function", "values", "i", "name"), EACH_ARGUMENT)
def test_ragged_input_is_refused(function, values, i, name):
    with pytest.raises(ValueError, match=rf"^{name} must be a rectangular array"):
        function(*[[[0.5, 0.5], [1.0]] if i == j else v for j, v in enumerate(values)])


@pytest.mark.parametrize("function", CATEGORICAL)
@pytest.mark.parametrize(
    ("bad", "message"),
    [([0.5, 0.6, -0.1], "non-negative"), ([0.5, 0.3, 0.3], "sum to 1"), (1.0, "axis -1")],
)
def test_what_is_not_a_distribution_is_refused(function, bad, message):
    with pytest.raises(ValueError, match=rf"\bp\b.*{message}|{message}.*\bp\b"):
        function(*arguments(function, bad, Q))
    if function is not kl.entropy:
        with pytest.raises(ValueError, match=rf"\bq\b.*{message}|{message}.*\bq\b"):
            function(P, bad)


@pytest.mark.parametrize("function", [*CATEGORICAL, kl.kl_from_logits])
@pytest.mark.parametrize(
    ("axis", "error"), [(1, ValueError), (-2, ValueError), (0.0, TypeError), ("x", TypeError),
                        (None, TypeError), (True, TypeError)],
)  # fmt: skip
def test_a_bad_axis_is_refused(function, axis, error):
    with pytest.raises(error, match=r"^axis "):
        function(*arguments(function, P, Q), axis=axis)


@pytest.mark.parametrize("function", CATEGORICAL)
@pytest.mark.parametrize("base", [0, -2, 1, 1.0, np.nan, np.inf])
def test_a_base_without_a_logarithm_is_refused(function, base):
    with pytest.raises(ValueError, match=r"^base must be positive, finite and not 1"):
        function(*arguments(function, P, Q), base=base)


@pytest.mark.parametrize("function", CATEGORICAL)
@pytest.mark.parametrize("base", ["2", True, 2j, [2]])
def test_a_base_that_is_no_number_is_a_type_error(function, base):
    with pytest.raises(TypeError, match=r"^base must be a number"):
        function(*arguments(function, P, Q), base=base)


@pytest.mark.parametrize("function", [kl.cross_entropy, kl.kl_divergence, kl.kl_from_logits])
@pytest.mark.parametrize(
    ("p", "q"),
    [
        (np.full(3, 1 / 3), np.full(2, 0.5)),
        (np.full((2, 1), 1.0), np.full((2, 2), 0.5)),  # would broadcast along the outcomes
        (np.full((2, 4), 0.25), np.full((3, 4), 0.25)),
    ],
)
def test_outcomes_that_do_not_match_are_refused(function, p, q):
    with pytest.raises(ValueError, match=r"^p\w* and q\w* must"):
        function(p, q)


@pytest.mark.parametrize("function", [kl.cross_entropy, kl.kl_divergence, kl.kl_from_logits])
def test_outcome_axes_of_different_length_are_refused_even_where_shapes_broadcast(function):
    with pytest.raises(ValueError, match=r"same outcomes along axis 0, got 2 and 3"):
        function(np.full((2, 3), 0.5), np.full(3, 1 / 3), axis=0)


def test_logits_that_allow_no_outcome_are_refused():
    with pytest.raises(ValueError, match=r"^q_logits must allow some outcome"):
        kl.kl_from_logits(np.zeros((2, 2)), [[0.0, 0.0], [-np.inf, -np.inf]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl.kl_normal(0, 0, 0, 1), "^std_p must be positive"),
        (lambda: kl.kl_normal(0, 1, 0, -1), "^std_q must be positive"),
        (lambda: kl.kl_normal([0, 0], 1, 0, [1, 1, 1]), "^mean_p, .* must broadcast"),
        (lambda: kl.kl_exponential(0, 1), "^rate_p must be positive"),
        (lambda: kl.kl_exponential(1, -1), "^rate_q must be positive"),
        (lambda: kl.kl_exponential([1, 1], [1, 1, 1]), "^rate_p and rate_q must broadcast"),
        (lambda: kl.kl_bernoulli(-0.1, 0.5), r"^p must be in \[0, 1\]"),
        (lambda: kl.kl_bernoulli(0.5, 1.1), r"^q must be in \[0, 1\]"),
        (lambda: kl.kl_bernoulli([0.5] * 2, [0.5] * 3), "^p and q must broadcast"),
        (lambda: kl.kl_multivariate_normal(0, 1, 0, 1), "^mean_p must have shape"),
        (lambda: kl.kl_multivariate_normal([[0]], 1, 0, 1), "^mean_p must have shape"),
        (lambda: kl.kl_multivariate_normal([0, 0], EYE, [0], EYE), "^mean_p and mean_q must"),
        (lambda: kl.kl_multivariate_normal([0, 0], [1, 1], [0, 0], EYE), "^cov_p must have shape"),
        (lambda: kl.kl_multivariate_normal([0, 0], EYE, [0, 0], -EYE), "^cov_q must be positive"),
        (lambda: kl.kl_multivariate_normal([0, 0], EYE, [0, 0], 0 * EYE), "^cov_q must be pos"),
        (
            lambda: kl.kl_multivariate_normal([0, 0], [[1, 0.1], [0, 1]], [0, 0], EYE),
            "^cov_p must be symmetric",
        ),
        (
            lambda: kl.kl_multivariate_normal([0, 0], [[1, 1e-9], [0, 1]], [0, 0], EYE),
            "^cov_p must be symmetric",
        ),
    ],
    ids=itertools.count(),
)
def test_parameters_outside_their_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("dtype", "slack"), [(np.float64, 1e-6), (np.float16, 4 * 2**-10)])
def test_sums_within_tolerance_are_taken_as_they_are_and_others_refused(dtype, slack):
    p = np.full(16, 1 / 16)
    inside, outside = p * (1 + 0.9 * slack), p * (1 + 1.2 * slack)
    # float16 probabilities are multiples of 2**-14 here, so these sums are off by 3 or 5 of 1024.
    if dtype == np.float16:
        inside, outside = p + 3 / 16 / 1024, p + 5 / 16 / 1024
    expected = -(inside * np.log(inside)).sum()  # not renormalised
    assert kl.entropy(inside.astype(dtype)) == pytest.approx(expected, rel=1e-6, abs=0)
    with pytest.raises(ValueError, match=r"^p must sum to 1"):
        kl.entropy(outside.astype(dtype))


def test_a_long_float32_softmax_counts_as_normalised():
    weights = np.exp(np.random.default_rng(0).normal(size=1_000_000).astype(np.float32))
    p = weights / np.float32(weights.sum(dtype=np.float64) * (1 + 5e-5))  # √n eps is 1.2e-4
    assert 13 < kl.entropy(p) < np.log(1e6)


def test_long_float32_columns_count_as_normalised():
    even = np.full((1_000_000, 2), 1e-6, np.float32)  # added up in float32 they give 1.009
    np.testing.assert_array_equal(kl.kl_divergence(even, even, axis=0), [0.0, 0.0])


@pytest.mark.parametrize(("function", "values"), EACH_FUNCTION)
@pytest.mark.parametrize(
    ("given_dtype", "result_dtype"),
    [(np.float32, np.float32), (np.float16, np.float32), (np.float64, np.float64)],
)
def test_the_result_has_the_precision_of_the_input(function, values, given_dtype, result_dtype):
    arrays = [np.array(v, given_dtype) for v in values]
    result = function(*arrays)
    assert result.dtype == result_dtype
    assert result == pytest.approx(
        function(*values), rel=5e-3 if given_dtype == np.float16 else 1e-5
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64])
def test_integers_become_float64(dtype):
    one, two = np.array([1, 0], dtype), np.array([2, 1], dtype)
    results = [
        kl.entropy(one), kl.cross_entropy(one, one), kl.kl_divergence(one, one),
        kl.kl_from_logits(one, two), kl.kl_normal(one, two, two, two), kl.kl_bernoulli(one, one),
        kl.kl_exponential(two, two), kl.kl_multivariate_normal(one, EYE.astype(dtype), two, EYE),
    ]  # fmt: skip
    assert {result.dtype for result in results} == {np.dtype(float)}
    assert kl.kl_from_logits(one, two) == pytest.approx(0, abs=1e-30)


@pytest.mark.parametrize(("function", "values"), EACH_FUNCTION)
def test_input_is_not_modified(function, values):
    arrays = [np.array(v, float) for v in values]
    for array in arrays:
        array.flags.writeable = False  # writing raises
    function(*arrays)
