import jax
import mpmath
import numpy as np
import pytest

from kltutorial import k3
from kltutorial._blocks import BLOCK
from kltutorial._numerics import exp_gap, log, log_ratio, log_softmax
from tests.memory import peak_memory
from tests.strategies import exactly, relative_error, ulps

FLOATS = [np.float32, np.float64]


def log_uniform(dtype, n, seed):
    """Both signs, from where x²/2 is the smallest normal number up to 80."""
    rng = np.random.default_rng(seed)
    low = np.log(2 * np.sqrt(float(np.finfo(dtype).tiny)))
    size = np.exp(rng.uniform(low, np.log(80), n))
    return (rng.choice([-1, 1], n) * size).astype(dtype)


def around_the_switches(dtype):
    """A dense grid, and the neighbours of where one form gives way to another."""
    near = np.linspace(0.5, 2, 400, dtype=dtype)
    tiny = np.linspace(1 / 80, 1 / 50, 100, dtype=dtype)
    edges = np.array([1 / 64, 1, 1.25], dtype)
    edges = np.concatenate([np.nextafter(edges, dtype(0)), edges, np.nextafter(edges, dtype(2))])
    return np.concatenate([near, -near, tiny, -tiny, edges, -edges])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [0.001, 0.3, 30.0])
def test_a_block_is_worked_on_in_three_arrays_beside_the_result(spread, dtype):
    x = (spread * np.random.default_rng(0).normal(size=BLOCK)).astype(dtype)
    assert peak_memory(exp_gap, x) < 4.5 * x.nbytes


def alone(x):
    """Each element by itself: which form it gets depends on the largest of its block."""
    return np.array([k3(np.zeros(1, x.dtype), x[i : i + 1])[0] for i in range(x.size)])


def together(x):
    return k3(np.zeros_like(x), x)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("xs", [lambda d: log_uniform(d, 3000, 0), around_the_switches])
@pytest.mark.parametrize("evaluated", [alone, together])
def test_k3_is_within_4_ulp_of_the_exact_gap(dtype, xs, evaluated):
    x = xs(dtype)
    got = evaluated(x)
    assert got.dtype == dtype
    assert got.min() >= np.finfo(dtype).tiny
    with mpmath.workdps(400):  # exp(x) - 1 - x cancels up to 2 * 154 digits
        worst = max(ulps(y, mpmath.exp(t) - 1 - t) for y, t in zip(got, exactly(x), strict=True))
    assert worst <= 4


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gap_is_within_4_ulp_where_it_is_denormal(dtype):
    tiny = np.sqrt(2 * float(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate([sign * np.geomspace(tiny / 4, tiny * 1e3, 500) for sign in (1, -1)])
    x = x.astype(dtype)
    with mpmath.workdps(400):
        worst = max(
            ulps(y, mpmath.expm1(t) - t) for y, t in zip(exp_gap(x), exactly(x), strict=True)
        )
    assert worst <= 4


@pytest.mark.jax
def test_jax_takes_a_denormal_gap_for_0_where_numpy_does_not():
    x = np.array([1e-20], np.float32)
    assert exp_gap(x)[0] > 0
    assert exp_gap(jax.numpy.asarray(x))[0] == 0


@pytest.mark.jax
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("xs", [lambda d: log_uniform(d, 2000, 1), around_the_switches])
def test_the_derivative_of_the_gap_is_within_4_ulp(dtype, xs):
    x = xs(dtype)
    with jax.enable_x64(dtype == np.float64):
        slope = jax.jit(jax.grad(lambda x: exp_gap(x).sum()))
        got = np.asarray(slope(jax.numpy.asarray(x)))
    assert got.dtype == dtype
    with mpmath.workdps(400):
        worst = max(ulps(y, mpmath.expm1(t)) for y, t in zip(got, exactly(x), strict=True))
    assert worst <= 4


@pytest.mark.jax
def test_the_derivative_of_the_gap_is_finite_or_the_true_infinity():
    x = jax.numpy.asarray(np.array([0.0, -0.0, -np.inf, -1e30, 1e30, np.inf], np.float32))
    slopes = jax.vmap(jax.grad(exp_gap))(x)
    np.testing.assert_array_equal(slopes, np.array([0, 0, -1, -1, np.inf, np.inf]))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (300, 1000)])
def test_the_gap_has_the_shape_of_its_argument_in_any_layout(shape):
    x = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_array_equal(exp_gap(x.T), exp_gap(x).T)
    assert exp_gap(x).shape == shape


def test_the_gap_of_many_elements_is_that_of_each():
    x = np.random.default_rng(0).normal(size=(1 << 20) + (1 << 16) + 5)  # two threads
    parts = np.concatenate([exp_gap(part) for part in np.array_split(x, 57)])
    np.testing.assert_allclose(exp_gap(x), parts, rtol=4e-16)


@pytest.mark.parametrize("dtype", FLOATS)
def test_k3_is_within_4_ulp_at_the_rounded_difference(dtype):
    rng = np.random.default_rng(1)
    logp = (-rng.exponential(5, 500)).astype(dtype)
    logq = (logp + rng.normal(size=500) * 10.0 ** -rng.integers(0, 5, 500)).astype(dtype)
    difference = logq - logp
    assert (difference != 0).all()
    with mpmath.workdps(60):
        exact = [mpmath.exp(t) - 1 - t for t in exactly(difference)]
        worst = max(ulps(y, t) for y, t in zip(k3(logp, logq), exact, strict=True))
    assert worst <= 4


def test_the_textbook_form_loses_every_digit_where_k3_keeps_them():
    x = np.array([1e-4], np.float32)
    assert (np.exp(x) - x - 1)[0] == 0
    assert k3([np.float32(0)], x)[0] == pytest.approx(5.00017e-9, rel=1e-5, abs=0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gap_is_never_negative(dtype):
    bits = np.random.default_rng(2).integers(0, 256, 80_000, dtype=np.uint8).view(dtype)
    x = bits[np.isfinite(bits)]
    assert (exp_gap(x) >= 0).all()
    assert (np.exp(np.clip(x, -1, 1)) - np.clip(x, -1, 1) - 1 < 0).any()  # the textbook form is


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gap_at_zero_and_at_the_infinities(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, 800.0, -800.0, np.nan], dtype)
    np.testing.assert_array_equal(exp_gap(x), [0, 0, np.inf, np.inf, np.inf, 799, np.nan])


def test_log_of_zero_is_minus_infinity_without_a_warning():
    np.testing.assert_array_equal(log(np.array([0.0, 1.0])), [-np.inf, 0.0])


@pytest.mark.parametrize("ratio", [1 + 1e-15, 1 - 1e-9, 1 + 1e-5, 0.51, 1.49, 0.49, 1.51, 7.0])
@pytest.mark.parametrize("denominator", [1e-5, 0.3, 1.0])
def test_log_ratio_has_all_digits_also_near_one(ratio, denominator):
    numerator = np.array([ratio * denominator])
    (got,) = log_ratio(numerator, np.array([denominator]))
    with mpmath.workdps(60):
        exact = mpmath.log(exactly(numerator)[0] / mpmath.mpf(denominator))
    # Far from 1 two logarithms are subtracted; each is rounded at its own size.
    far = abs(ratio - 1) > 0.4
    loss = 2 * abs(np.log(denominator)) / abs(float(exact)) if far else 0
    assert relative_error(got, exact) <= (2 + loss) * np.finfo(float).eps


def test_log_ratio_survives_underflow_overflow_and_zeros():
    numerator = np.array([0.0, 1.0, 1e-320, 1.0, 0.0])
    denominator = np.array([1.0, 0.0, 1.0, 1e-320, 0.0])
    got = log_ratio(numerator, denominator)
    small = np.log(1e-320)
    np.testing.assert_array_equal(got, [-np.inf, np.inf, small, -small, np.nan])


def test_logits_as_large_as_floats_get_are_normalised():
    np.testing.assert_array_equal(log_softmax(np.array([1.5e308, 0.0])), [0.0, -1.5e308])
