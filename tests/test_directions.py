import math

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
from hypothesis import given, settings

import kltutorial as kl

WIDE = (-40.0, 40.0)
TARGETS = {
    "one bump": kl.NormalMixture([0.3], 0.8),
    "merged bumps": kl.NormalMixture([-1, 1]),
    "two bumps": kl.NormalMixture([-4, 4]),
    "unequal bumps": kl.NormalMixture([-3, 2], [0.7, 1.5], [0.8, 0.2]),
    "narrow and far": kl.NormalMixture([-2, 6], [0.2, 0.3]),
}


def pdf(target, x):
    """The density of a mixture, from SciPy's normals."""
    bumps = zip(target.means, target.stds, target.weights, strict=True)
    return sum(w * scipy.stats.norm.pdf(x, m, s) for m, s, w in bumps)


def adaptive(function, target, low=-40.0, high=40.0):
    """Integral by adaptive quadrature, told where the bumps are."""
    points = np.unique(np.clip(np.add.outer(target.means, [-3.0, -1.0, 0.0, 1.0, 3.0]), low, high))
    options = {"points": points.ravel(), "limit": 1000, "epsabs": 1e-13, "epsrel": 1e-13}
    return scipy.integrate.quad(function, low, high, **options)[0]


def reverse_oracle(target, mean, std):
    """KL(normal || mixture) by adaptive quadrature."""
    normal = scipy.stats.norm(mean, std)

    def integrand(x):
        return normal.pdf(x) * (normal.logpdf(x) - target.log_density(x))

    return adaptive(integrand, target, mean - 12 * std, mean + 12 * std)


# --- targets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_mixture_density_is_the_weighted_sum_of_normals(target, shape):
    x = np.random.default_rng(0).normal(scale=3, size=shape)
    got = target.log_density(x)
    assert np.shape(got) == shape
    np.testing.assert_allclose(np.exp(got), pdf(target, x), rtol=1e-13)


def test_mixture_density_does_not_underflow():
    with mpmath.workdps(30):
        density = mpmath.npdf(100, 1) / 4 + 3 * mpmath.npdf(100, -2, 3) / 4
        expected = float(mpmath.log(density))
        far = float(mpmath.log(mpmath.npdf(60, 0)))
    got = kl.NormalMixture([1, -2], [1, 3], [0.25, 0.75]).log_density(100)
    assert got == pytest.approx(expected, rel=1e-14, abs=0)
    assert kl.NormalMixture([0.0]).log_density(60) == pytest.approx(far, rel=1e-14, abs=0)


def test_a_bump_of_weight_zero_is_not_there():
    x = np.linspace(-3, 3, 7)
    got = kl.NormalMixture([0, 5], 1, [1, 0]).log_density(x)
    np.testing.assert_allclose(got, kl.NormalMixture([0]).log_density(x), rtol=1e-15)


def test_mixture_fills_in_what_is_left_out():
    target = kl.NormalMixture([1, 2, 3])
    np.testing.assert_array_equal(target.stds, [1, 1, 1])
    np.testing.assert_allclose(target.weights, [1 / 3] * 3)


# --- forward ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_forward_fit_has_the_closed_form_moments_of_the_mixture(target):
    fit = kl.forward_fit(target.log_density, bounds=WIDE)
    mean = target.weights @ target.means
    variance = target.weights @ (target.stds**2 + (target.means - mean) ** 2)
    assert fit.mean == pytest.approx(mean, abs=1e-13)
    assert fit.std == pytest.approx(math.sqrt(variance), rel=1e-13, abs=0)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_forward_divergence_agrees_with_adaptive_quadrature(target):
    fit = kl.forward_fit(target.log_density, bounds=WIDE)

    def integrand(x):
        log_fit = scipy.stats.norm.logpdf(x, fit.mean, fit.std)
        return pdf(target, x) * (target.log_density(x) - log_fit)

    assert fit.kl == pytest.approx(adaptive(integrand, target), abs=1e-11)


@given(st.floats(-6, 6), st.floats(0.3, 8))
@settings(max_examples=10)
def test_the_forward_loss_is_what_is_left_plus_the_distance_from_the_fit(mean, std):
    target = TARGETS["unequal bumps"]
    fit = kl.forward_fit(target.log_density, bounds=WIDE)

    def integrand(x):
        return pdf(target, x) * (target.log_density(x) - scipy.stats.norm.logpdf(x, mean, std))

    loss = fit.kl + kl.kl_normal(fit.mean, fit.std, mean, std)
    assert loss == pytest.approx(adaptive(integrand, target), rel=1e-11, abs=1e-11)
    assert loss >= fit.kl


def test_forward_fit_of_a_normal_is_that_normal():
    fit = kl.forward_fit(kl.NormalMixture([2], 0.5).log_density, bounds=(-6, 10))
    assert fit == pytest.approx((2, 0.5, 0), abs=1e-13)


def test_forward_fit_of_a_density_in_small_units_keeps_its_digits():
    fit = kl.forward_fit(kl.NormalMixture([3e-6], 1e-6).log_density, bounds=(-1e-5, 2e-5))
    assert fit.mean == pytest.approx(3e-6, rel=1e-12, abs=0)
    assert fit.std == pytest.approx(1e-6, rel=1e-12, abs=0)
    assert fit.kl == pytest.approx(0, abs=1e-11)


def test_forward_fit_of_a_density_that_ends_smoothly():
    # Proportional to (1 - x²)³ on (-1, 1), and -inf elsewhere: variance 1/9.
    def log_density(x):
        with np.errstate(divide="ignore"):
            return np.log(35 / 32) + 3 * np.log(np.maximum(1 - x**2, 0))

    fit = kl.forward_fit(log_density, bounds=(-1.5, 1.5))
    assert fit.mean == pytest.approx(0, abs=1e-12)
    assert fit.std == pytest.approx(
        1 / 3, rel=1e-7, abs=0
    )  # the third derivative jumps at the ends
    exact = scipy.integrate.quad(
        lambda x: np.exp(log_density(x)) * (log_density(x) - scipy.stats.norm.logpdf(x, 0, 1 / 3)),
        -1,
        1,
    )[0]
    assert fit.kl == pytest.approx(exact, abs=1e-8)


# --- reverse ---------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (4, 1), (-1, 3.5), (2, 0.1), (0, 12)])
def test_reverse_loss_agrees_with_adaptive_quadrature(target, mean, std):
    got = kl.kl_from_normal(mean, std, target.log_density)
    assert got == pytest.approx(reverse_oracle(target, mean, std), rel=1e-10, abs=1e-11)


def test_reverse_loss_broadcasts_over_the_surface():
    target = TARGETS["two bumps"].log_density
    means, stds = np.array([[0.0], [4.0]]), np.array([1.0, 2.0, 3.0])
    got = kl.kl_from_normal(means, stds, target)
    each = [[float(kl.kl_from_normal(m, s, target)) for s in stds] for m in means.ravel()]
    np.testing.assert_array_equal(got, each)


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-3, 3), st.floats(0.2, 5))
@settings(max_examples=50)
def test_reverse_loss_of_a_normal_target_is_the_closed_form(mean, std, centre, width):
    got = kl.kl_from_normal(mean, std, kl.NormalMixture([centre], width).log_density)
    exact = kl.kl_normal(mean, std, centre, width)
    assert got == pytest.approx(exact, rel=1e-12, abs=1e-12)


def test_a_target_that_excludes_something_is_infinitely_far():
    def half(x):
        return np.where(x > 0, -x, -np.inf)

    np.testing.assert_array_equal(kl.kl_from_normal([1, 50], 1, half) == np.inf, [True, False])
    with pytest.raises(ValueError, match=r"^log_density must be finite"):
        kl.reverse_fit(half, mean=1, std=1)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("mean", "std"), [(0, 1), (-5, 0.5), (5, 3), (-1, 30), (20, 0.05)])
def test_reverse_fit_ends_at_a_minimum_below_its_start(target, mean, std):
    fit = kl.reverse_fit(target.log_density, mean=mean, std=std)
    assert fit.kl <= kl.kl_from_normal(mean, std, target.log_density)
    assert fit.kl == pytest.approx(reverse_oracle(target, fit.mean, fit.std), abs=1e-11)
    around = [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01), (0.007, 0.007), (-0.007, 0.007)]
    for shift, stretch in around:
        moved = fit.mean + shift * fit.std, fit.std * math.exp(stretch)
        assert kl.kl_from_normal(*moved, target.log_density) > fit.kl


def slopes(target, x):
    """First and second derivative of the log-density of a mixture."""
    z = (x - target.means) / target.stds
    share = target.weights * np.exp(-z * z / 2) / target.stds
    share /= share.sum()
    first = -z / target.stds
    mean = share @ first
    return mean, share @ (first**2 - 1 / target.stds**2) - mean**2


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_reverse_fit_balances_slope_and_curvature_of_the_log_density(target):
    """Opper and Archambeau (2009): mean slope 0, and mean curvature -1/std²."""
    fit = kl.reverse_fit(target.log_density, mean=target.means[0], std=target.stds[0])
    normal = scipy.stats.norm(fit.mean, fit.std)
    means = [
        adaptive(
            lambda x, k=k: normal.pdf(x) * slopes(target, x)[k],
            target,
            fit.mean - 9 * fit.std,
            fit.mean + 9 * fit.std,
        )
        for k in (0, 1)
    ]
    assert means[0] * fit.std == pytest.approx(0, abs=1e-9)
    assert means[1] * fit.std**2 == pytest.approx(-1, abs=1e-9)


def test_two_bumps_have_three_local_fits():
    target = TARGETS["two bumps"].log_density
    fits = [kl.reverse_fit(target, mean=start, std=1) for start in (-4, 0, 4)]
    assert [fit.mean for fit in fits] == pytest.approx([-fits[2].mean, 0, fits[2].mean], abs=1e-9)
    assert fits[0].kl == pytest.approx(fits[2].kl, rel=1e-12, abs=0)
    assert fits[1].kl > fits[0].kl + 1


@given(st.floats(0.2, 6))
@settings(max_examples=25)
def test_the_centre_of_two_bumps_is_a_local_minimum_at_any_separation(distance):
    target = kl.NormalMixture([-distance, distance]).log_density
    fit = kl.reverse_fit(target, mean=0, std=math.hypot(1, distance))
    assert fit.mean == pytest.approx(0, abs=1e-9)
    beside = kl.kl_from_normal([-0.05, 0.05], fit.std, target)
    # The curvature in the mean is 1/std² wherever the loss is level: here it is the third
    # difference that is judged, the next term of the series being of fourth order.
    curvature = (beside.sum() - 2 * fit.kl) / 0.05**2
    assert curvature * fit.std**2 == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("weight", [0.2, 0.5, 0.8])
def test_a_far_bump_costs_minus_log_its_weight(weight):
    target = kl.NormalMixture([-9, 9], 1, [1 - weight, weight]).log_density
    fit = kl.reverse_fit(target, mean=9, std=1)
    assert fit == pytest.approx((9, 1, -math.log(weight)), abs=1e-9)


def test_a_constant_shifts_the_loss_and_nothing_else():
    target = TARGETS["unequal bumps"].log_density
    plain = kl.reverse_fit(target, mean=2, std=1)
    shifted = kl.reverse_fit(lambda x: target(x) - 1000, mean=2, std=1)
    assert shifted[:2] == pytest.approx(plain[:2], rel=1e-9, abs=0)
    assert shifted.kl - 1000 == pytest.approx(plain.kl, abs=1e-9)


def test_a_start_on_a_saddle_is_refused():
    # A spike on a plain, both centred: narrow and wide fits are minima, with a ridge between.
    target = kl.NormalMixture([0, 0], [0.02, 3], [0.4, 0.6]).log_density

    def slope(log_std):
        step = 1e-4
        low, high = kl.kl_from_normal(0, np.exp([log_std - step, log_std + step]), target)
        return (high - low) / (2 * step)

    narrow, wide = (kl.reverse_fit(target, mean=0, std=std).std for std in (0.02, 3))
    assert wide > 10 * narrow
    grid = np.linspace(np.log(narrow) + 0.2, np.log(wide) - 0.2, 60)
    falling = np.array([slope(x) < 0 for x in grid])
    top = int(np.flatnonzero(falling)[0])
    ridge = math.exp(scipy.optimize.brentq(slope, grid[top - 1], grid[top], xtol=1e-14))
    with pytest.raises(ValueError, match=r"^mean and std are a saddle point"):
        kl.reverse_fit(target, mean=0, std=ridge)


def test_a_loss_without_a_minimum_is_refused():
    with pytest.raises(ValueError, match=r"^log_density has no minimum"):
        kl.reverse_fit(np.zeros_like, mean=0, std=1)


# --- quadrature ------------------------------------------------------------------------------


def test_the_crease_between_two_bumps_is_integrated_where_gauss_hermite_is_too_coarse():
    nodes, weights = np.polynomial.hermite_e.hermegauss(201)
    target = TARGETS["two bumps"]
    fit = kl.reverse_fit(target.log_density, mean=0, std=3.5)
    exact = reverse_oracle(target, 0, fit.std)
    log_ratio = scipy.stats.norm.logpdf(nodes) - math.log(fit.std)
    log_ratio -= target.log_density(fit.std * nodes)
    assert abs(weights @ log_ratio / weights.sum() - exact) > 1e-3
    assert fit.kl == pytest.approx(exact, abs=1e-12)


def test_a_fit_prints_four_digits_and_no_negative_zero():
    assert str(kl.NormalFit(-1e-17, 2.0, -1e-16)) == "mean 0.0000, sd 2.0000, KL 0.0000 nats"
    assert str(kl.NormalFit(-2e-5, 2.0, 1.0)) == "mean 0.0000, sd 2.0000, KL 1.0000 nats"
    assert str(kl.NormalFit(-1.5, 2.00006, 0.1)) == "mean -1.5000, sd 2.0001, KL 0.1000 nats"


# --- bad input -------------------------------------------------------------------------------

NORMAL = kl.NormalMixture([0.0]).log_density
CALLS = {
    "forward_fit": lambda f: kl.forward_fit(f, bounds=(-20, 20)),
    "kl_from_normal": lambda f: kl.kl_from_normal(0, 1, f),
    "reverse_fit": lambda f: kl.reverse_fit(f, mean=0, std=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (3.0, TypeError, "must be a function"),
        (lambda x: 1.0, ValueError, "must return one value per point"),
        (lambda x: x[:-1], ValueError, "must return one value per point"),
        (lambda x: x * np.nan, ValueError, "must not contain NaN"),
        (lambda x: x * 0 + np.inf, ValueError, "must not contain .inf"),
        (lambda x: x * 1j, TypeError, "must be real numbers"),
    ],
    ids=["number", "scalar", "shape", "NaN", "inf", "complex"],
)
def test_a_bad_log_density_is_refused(call, bad, error, message):
    with pytest.raises(error, match=rf"^log_density {message}"):
        call(bad)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_rough_target_is_refused(call):
    with pytest.raises(ValueError, match=r"^log_density is too rough"):
        call(lambda x: -np.abs(x - 0.1) - math.log(2))


@pytest.mark.parametrize("bounds", [(1, 1), (2, -2), (0, 1, 2), 3, [[0, 1]]])
def test_bounds_must_be_an_interval(bounds):
    with pytest.raises(ValueError, match=r"^bounds must be \(low, high\)"):
        kl.forward_fit(NORMAL, bounds=bounds)


@pytest.mark.parametrize("bounds", [(-np.inf, 5), (np.nan, 5)])
def test_bounds_must_be_finite(bounds):
    with pytest.raises(ValueError, match=r"^bounds must be finite"):
        kl.forward_fit(NORMAL, bounds=bounds)


@pytest.mark.parametrize(
    ("target", "bounds"),
    [
        (lambda x: NORMAL(x) + 0.1, (-20, 20)),
        (NORMAL, (40, 60)),
        (kl.NormalMixture([-4, 4], 1e-4).log_density, (-20.05, 20)),
    ],
    ids=["not normalised", "elsewhere", "too narrow to be seen"],
)
def test_mass_that_is_missing_is_noticed(target, bounds):
    with pytest.raises(ValueError, match=r"^log_density must be normalised and bounds must hold"):
        kl.forward_fit(target, bounds=bounds)


def test_mass_that_is_cut_off_is_noticed():
    with pytest.raises(ValueError, match=r"^log_density is too rough, or cut off"):
        kl.forward_fit(NORMAL, bounds=(-1, 20))


@pytest.mark.parametrize("function", [kl.kl_from_normal, kl.reverse_fit])
@pytest.mark.parametrize(
    ("name", "bad", "error", "message"),
    [
        ("mean", np.inf, ValueError, "must be finite"),
        ("std", np.nan, ValueError, "must be (positive and )?finite"),
        ("std", 0.0, ValueError, "must be positive"),
        ("std", -1, ValueError, "must be positive"),
        ("mean", "0", TypeError, "must be"),
        ("std", 1j, TypeError, "must be"),
    ],
)
def test_a_bad_normal_is_refused(function, name, bad, error, message):
    arguments = {"mean": 0.0, "std": 1.0, "log_density": NORMAL, name: bad}
    with pytest.raises(error, match=rf"^{name} {message}"):
        function(**arguments)


def test_the_start_is_one_normal_and_the_surface_one_shape():
    with pytest.raises(TypeError, match=r"^mean must be a number"):
        kl.reverse_fit(NORMAL, mean=[0, 1], std=1)
    with pytest.raises(TypeError, match=r"^std must be a number"):
        kl.reverse_fit(NORMAL, mean=0, std=[1])
    with pytest.raises(ValueError, match=r"^mean and std must broadcast"):
        kl.kl_from_normal([0, 1], [1, 2, 3], NORMAL)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([],), ValueError, "means must not be empty"),
        ((0.0,), ValueError, r"means must have shape \(bumps,\)"),
        (([[0.0]],), ValueError, r"means must have shape \(bumps,\)"),
        (([np.nan],), ValueError, "means must be finite"),
        ((["a"],), TypeError, "means must be real numbers"),
        (([0, 1], 0), ValueError, "stds must be positive"),
        (([0, 1], [1, 2, 3]), ValueError, "means and stds must have the same shape"),
        (([0, 1], 1, [0.5, 0.6]), ValueError, "weights must sum to 1"),
        (([0, 1], 1, [1.5, -0.5]), ValueError, "weights must be non-negative"),
        (([0, 1], 1, [1.0]), ValueError, "means and weights must have the same shape"),
    ],
)
def test_a_bad_mixture_is_refused(arguments, error, message):
    with pytest.raises(error, match=rf"^{message}"):
        kl.NormalMixture(*arguments)


@pytest.mark.parametrize(
    ("bad", "error"), [(np.nan, ValueError), ([], ValueError), ("x", TypeError)]
)
def test_a_bad_point_is_refused(bad, error):
    with pytest.raises(error, match=r"^x must"):
        kl.NormalMixture([0.0]).log_density(bad)
