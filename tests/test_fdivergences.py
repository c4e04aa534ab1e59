import itertools
import math

import hypothesis.strategies as st
import jax
import mpmath
import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import assume, given

import kltutorial as kl
from tests.strategies import distribution_pairs, distributions, relative_error, seeds

ALPHAS = [-2.5, -1, -1e-3, 0, 1e-9, 0.3, 0.5, 0.999999, 1, 1.001, 2, 4]
MEMBERS = {
    **kl.F_DIVERGENCES,
    **{f"alpha({alpha:g})": kl.alpha_divergence(alpha) for alpha in ALPHAS},
}
SMOOTH = [name for name in MEMBERS if name != "total_variation"]
P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])

every_member = pytest.mark.parametrize("name", MEMBERS)
every_smooth_member = pytest.mark.parametrize("name", SMOOTH)
# For the tests over random distributions: those with a name, and one alpha in each range.
RANDOM = [*kl.F_DIVERGENCES, "alpha(-2.5)", "alpha(0.3)", "alpha(4)"]


# --- oracles -----------------------------------------------------------------------------------


def kl_term(a, b):
    return (a * mpmath.log(a / b) if a else 0) - a + b


def alpha_term(a, b, alpha):
    if alpha in (0, 1):
        return kl_term(a, b) if alpha else kl_term(b, a)
    return (a**alpha * b ** (1 - alpha) - b - alpha * (a - b)) / (alpha * (alpha - 1))


ORACLES = {
    "kl": kl_term,
    "reverse_kl": lambda a, b: kl_term(b, a),
    "jensen_shannon": lambda a, b: (kl_term(a, (a + b) / 2) + kl_term(b, (a + b) / 2)) / 2,
    "squared_hellinger": lambda a, b: (mpmath.sqrt(a) - mpmath.sqrt(b)) ** 2 / 2,
    "total_variation": lambda a, b: abs(a - b) / 2,
    "chi2": lambda a, b: (a - b) ** 2 / b,
    "neyman_chi2": lambda a, b: (a - b) ** 2 / a,
    **{
        f"alpha({alpha:g})": lambda a, b, alpha=alpha: alpha_term(a, b, mpmath.mpf(alpha))
        for alpha in ALPHAS
    },
}


def oracle(name, p, q):
    with mpmath.workdps(60):
        pairs = zip(p, q, strict=True)
        return mpmath.fsum(
            ORACLES[name](mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in pairs
        )


# --- values ------------------------------------------------------------------------------------


def test_the_members_are_those_with_a_name():
    assert list(kl.F_DIVERGENCES) == [
        "kl",
        "reverse_kl",
        "jensen_shannon",
        "squared_hellinger",
        "total_variation",
        "chi2",
        "neyman_chi2",
    ]
    assert all(member.name == name for name, member in kl.F_DIVERGENCES.items())
    with pytest.raises(TypeError):
        kl.F_DIVERGENCES["mine"] = kl.F_DIVERGENCES["kl"]


@every_member
@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.7, 3.0, 10.0])
def test_members_keep_their_digits_at_any_distance(name, distance):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=20)
        p = np.exp(logits) / np.exp(logits).sum()
        weights = np.exp(logits + distance * rng.normal(size=20))
        q = weights / weights.sum()
        got = kl.f_divergence(p, q, MEMBERS[name])
        assert relative_error(got, oracle(name, p, q)) < 3e-14


@given(distribution_pairs())
def test_both_kl_divergences_are_those_of_kl_divergence(pair):
    p, q = pair
    assert kl.f_divergence(p, q, "kl") == kl.kl_divergence(p, q)
    assert kl.f_divergence(p, q, "reverse_kl") == kl.kl_divergence(q, p)


@given(distribution_pairs(zeros=False))
def test_jensen_shannon_is_the_square_of_scipys_distance(pair):
    expected = scipy.spatial.distance.jensenshannon(*pair) ** 2
    got = kl.f_divergence(*pair, "jensen_shannon")
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(distribution_pairs())
def test_alpha_meets_the_named_members(pair):
    for alpha, name, factor in [
        (1, "kl", 1),
        (0, "reverse_kl", 1),
        (2, "chi2", 0.5),
        (-1, "neyman_chi2", 0.5),
        (0.5, "squared_hellinger", 4),
    ]:
        got = kl.f_divergence(*pair, kl.alpha_divergence(alpha))
        assert got == pytest.approx(factor * kl.f_divergence(*pair, name), rel=1e-13, abs=0)


@given(distribution_pairs(), st.integers(-80, 80).map(lambda n: n / 16))  # 1 - alpha is exact
def test_swapping_the_arguments_swaps_alpha_and_its_complement(pair, alpha):
    p, q = pair
    there = kl.f_divergence(p, q, kl.alpha_divergence(alpha))
    back = kl.f_divergence(q, p, kl.alpha_divergence(1 - alpha))
    assert there == pytest.approx(back, rel=1e-10, abs=1e-15)


@every_member
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 4)])
def test_any_axis_of_any_shape(name, shape):
    rng = np.random.default_rng(0)
    member = MEMBERS[name]
    for axis in range(-len(shape), len(shape)):
        p, q = (weights / weights.sum(axis, keepdims=True) for weights in rng.random((2, *shape)))
        expected = (q * member.f(p / q)).sum(axis)
        np.testing.assert_allclose(kl.f_divergence(p, q, member, axis=axis), expected, rtol=1e-11)


@every_member
def test_one_distribution_broadcasts_against_a_batch(name):
    p = np.random.default_rng(1).dirichlet(np.ones(3), size=4)
    each = [kl.f_divergence(row, Q, MEMBERS[name]) for row in p]
    np.testing.assert_array_equal(kl.f_divergence(p, Q, MEMBERS[name]), each)


@every_member
@pytest.mark.parametrize(("given_dtype", "result"), [(np.float32, np.float32), (int, np.float64)])
def test_the_result_has_the_precision_of_the_input(name, given_dtype, result):
    p, q = np.array([1, 0], given_dtype), np.array([1, 0], given_dtype)
    assert kl.f_divergence(p, q, MEMBERS[name]).dtype == result
    near = kl.f_divergence(P.astype(np.float32), Q.astype(np.float32), MEMBERS[name])
    assert near == pytest.approx(kl.f_divergence(P, Q, MEMBERS[name]), rel=2e-6, abs=0)


# --- where p or q is 0 ---------------------------------------------------------------------------

AT_ZERO_AND_RECESSION = {
    "kl": (1, math.inf),
    "reverse_kl": (math.inf, 1),
    "jensen_shannon": (math.log(2) / 2, math.log(2) / 2),
    "squared_hellinger": (0.5, 0.5),
    "total_variation": (0.5, 0.5),
    "chi2": (1, math.inf),
    "neyman_chi2": (math.inf, 1),
    "alpha(-2.5)": (math.inf, 1 / 3.5),
    "alpha(0.3)": (1 / 0.3, 1 / 0.7),
    "alpha(4)": (1 / 4, math.inf),
}


@pytest.mark.parametrize("name", AT_ZERO_AND_RECESSION)
def test_f_at_zero_and_recession(name):
    at_zero, recession = AT_ZERO_AND_RECESSION[name]
    member = MEMBERS[name]
    assert member.f(0.0) == pytest.approx(at_zero, rel=1e-15, abs=0)
    assert member.recession == pytest.approx(recession, rel=1e-15, abs=0)
    assert member.supremum == pytest.approx(at_zero + recession, rel=1e-15, abs=0)


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "alpha(0.999999)"])
def test_recession_is_the_limit_of_the_slope(name):  # which that one reaches after 1e6 decades
    member = MEMBERS[name]
    slopes = [member.f(u) / u for u in (1e4, 1e8, 1e16)]
    if math.isfinite(member.recession):
        assert slopes[-1] == pytest.approx(member.recession, rel=1e-4, abs=0)
    else:
        assert slopes[0] < slopes[1] < slopes[2]
        assert slopes[2] - slopes[1] > 0.5 * (slopes[1] - slopes[0])  # and no end in sight


@every_member
def test_zeros_add_their_limits(name):
    member = MEMBERS[name]
    tiny = 1e-300
    for p, q in [([0.0, 1.0], [0.4, 0.6]), ([0.4, 0.6], [0.0, 1.0]), ([0.0, 0.6, 0.4], [0, 1, 0])]:
        expected = member.f(p[1] / q[1]) * q[1]
        expected += q[0] * member.f(0.0) if q[0] else p[0] * member.recession if p[0] else 0
        if len(p) == 3:
            expected += p[2] * member.recession
        assert kl.f_divergence(p, q, member) == pytest.approx(expected, rel=1e-14, abs=0)
    for p, q in [(0.0, tiny), (tiny, 0.0), (0.0, 0.0)]:
        assert not np.isnan(member.perspective(np.array([p]), np.array([q])))
    np.testing.assert_array_equal(member.perspective(np.zeros(1), np.zeros(1)), [0])


@every_member
def test_distributions_without_a_common_outcome_reach_the_supremum(name):
    member = MEMBERS[name]
    got = kl.f_divergence([0.25, 0.75, 0, 0], [0, 0, 0.5, 0.5], member)
    assert got == pytest.approx(member.supremum, rel=1e-14, abs=0)


@every_member
def test_extreme_probabilities_give_no_nan(name):
    sizes = [0.0, 5e-324, 1e-300, 1e-150, 0.5, 1.0]
    p, q = (np.array(side) for side in zip(*itertools.product(sizes, sizes), strict=True))
    terms = MEMBERS[name].perspective(p, q)
    assert (terms >= 0).all()
    assert (terms[p == q] == 0).all()


# --- f and its derivative ------------------------------------------------------------------------


@every_member
def test_generators_are_in_their_non_negative_form(name):
    member = MEMBERS[name]
    u = np.geomspace(1e-6, 1e6, 401)
    assert member.f(1.0) == 0
    assert member.df(1.0) == 0
    assert (member.f(u) >= 0).all()
    assert (np.diff(member.f(u)) * np.sign(u[:-1] - 0.999) >= 0).all()
    assert (np.diff(member.df(u)) >= 0).all()  # convex


@every_member
def test_df_is_the_derivative_of_f(name):
    member = MEMBERS[name]
    for u in (0.03, 0.4, 0.9, 1.2, 3.0, 40.0):
        with mpmath.workdps(60):
            step = mpmath.mpf("1e-20")
            ends = [ORACLES[name](u + sign * step, mpmath.mpf(1)) for sign in (1, -1)]
            exact = (ends[0] - ends[1]) / (2 * step)
        assert member.df(u) == pytest.approx(float(exact), rel=1e-12, abs=0)


@every_smooth_member
def test_curvature_is_the_second_derivative_at_one(name):
    with mpmath.workdps(80):
        f = ORACLES[name]
        step, one = mpmath.mpf("1e-20"), mpmath.mpf(1)
        second = (f(one + step, one) + f(one - step, one)) / step**2
    assert MEMBERS[name].curvature == pytest.approx(float(second), rel=1e-12, abs=0)


def test_total_variation_has_a_kink_where_the_others_have_a_curvature():
    member = kl.F_DIVERGENCES["total_variation"]
    assert member.curvature == math.inf
    np.testing.assert_array_equal(member.df([0.0, 0.5, 1.0, 2.0]), [-0.5, -0.5, 0, 0.5])


@every_member
def test_slope_at_zero_decides_whether_an_outcome_can_be_given_up(name):
    slope = {"total_variation": -0.5, "chi2": -2, "alpha(2)": -1, "alpha(4)": -1 / 3}
    slope["alpha(1.001)"] = -1000
    assert MEMBERS[name].df(0.0) == pytest.approx(slope.get(name, -math.inf), rel=1e-9, abs=0)


def test_f_and_df_take_numbers_and_arrays():
    member = kl.F_DIVERGENCES["kl"]
    assert member.f(2) == pytest.approx(2 * math.log(2) - 1, rel=1e-15, abs=0)
    assert np.shape(member.f(2)) == np.shape(member.df(2)) == ()
    assert np.shape(member.f([[1.0, 2.0]])) == np.shape(member.df([[1.0, 2.0]])) == (1, 2)


@every_member
@pytest.mark.parametrize("call", ["f", "df"])
def test_ratios_that_are_none_are_refused(name, call):
    function = getattr(MEMBERS[name], call)
    with pytest.raises(ValueError, match=r"^u must be non-negative"):
        function([-0.1, 1.0])
    with pytest.raises(ValueError, match=r"^u must be finite"):
        function([np.nan])
    with pytest.raises(TypeError, match=r"^u must be real numbers"):
        function(["1"])


# --- what every f-divergence must satisfy --------------------------------------------------------


@pytest.mark.parametrize("name", RANDOM)
@given(pair=distribution_pairs())
def test_zero_exactly_at_equality_and_within_the_range(name, pair):
    p, q = pair
    got = kl.f_divergence(p, q, MEMBERS[name])
    assert 0 <= got <= MEMBERS[name].supremum * (1 + 1e-14)
    assert (got == 0) == (p == q).all()
    assert kl.f_divergence(p, p, MEMBERS[name]) == 0


@pytest.mark.parametrize("name", RANDOM)
@given(pair=distribution_pairs(), seed=seeds)
def test_processing_the_data_never_raises_it(name, pair, seed):
    p, q = pair
    channel = np.random.default_rng(seed).dirichlet(np.full(3, 0.3), size=len(p))
    coarse = kl.f_divergence(p @ channel, q @ channel, MEMBERS[name])
    assert coarse <= kl.f_divergence(p, q, MEMBERS[name]) * (1 + 1e-12) + 1e-13


@pytest.mark.parametrize("name", RANDOM)
@given(pair=distribution_pairs())
def test_merging_two_outcomes_never_raises_it(name, pair):
    merged = (np.append(x[2:], x[0] + x[1]) for x in pair)
    fine = kl.f_divergence(*pair, MEMBERS[name])
    assert kl.f_divergence(*merged, MEMBERS[name]) <= fine * (1 + 1e-13) + 1e-14


@pytest.mark.parametrize("name", RANDOM)
@given(data=st.data(), weight=st.floats(0, 1))
def test_it_is_jointly_convex(name, data, weight):
    p, q, r, s = (data.draw(distributions(4)) for _ in range(4))
    ends = [kl.f_divergence(p, q, MEMBERS[name]), kl.f_divergence(r, s, MEMBERS[name])]
    assume(np.isfinite(ends).all())
    mixed = weight * p + (1 - weight) * r, weight * q + (1 - weight) * s
    bound = weight * ends[0] + (1 - weight) * ends[1]
    assert kl.f_divergence(*mixed, MEMBERS[name]) <= bound * (1 + 1e-12) + 1e-13


@pytest.mark.parametrize("name", RANDOM)
@given(pair=distribution_pairs())
def test_symmetric_where_it_says_so(name, pair):
    p, q = pair
    there, back = kl.f_divergence(p, q, MEMBERS[name]), kl.f_divergence(q, p, MEMBERS[name])
    if MEMBERS[name].symmetric:
        assert there == pytest.approx(back, rel=1e-14, abs=0)


@every_member
def test_asymmetric_where_it_says_so(name):
    there, back = kl.f_divergence(P, Q, MEMBERS[name]), kl.f_divergence(Q, P, MEMBERS[name])
    assert MEMBERS[name].symmetric == math.isclose(there, back, rel_tol=1e-12)
    # alpha and 1 - alpha coincide at one half only
    assert MEMBERS[name].symmetric == (
        name in ("jensen_shannon", "squared_hellinger", "total_variation", "alpha(0.5)")
    )


@pytest.mark.parametrize("name", RANDOM)
@given(pair=distribution_pairs(zeros=False), c=st.floats(-10, 10))
def test_a_multiple_of_u_minus_one_changes_nothing(name, pair, c):
    member = MEMBERS[name]
    shifted = kl.f_divergence(*pair, lambda u: member.f(u) + c * (u - 1))
    scale = 1e-12 * (1 + abs(c)) * (1 + (pair[0] / pair[1]).max())
    assert shifted == pytest.approx(kl.f_divergence(*pair, member), rel=1e-11, abs=scale)


@pytest.mark.parametrize("name", [name for name in RANDOM if name in SMOOTH])
@given(q=distributions(5, zeros=False), seed=seeds)
def test_near_equality_it_is_half_the_curvature_times_chi2(name, q, seed):
    direction = np.random.default_rng(seed).normal(size=5)
    direction -= q @ direction
    assume(q @ direction**2 > 1e-4)
    for size in (1e-2, 1e-4):
        u = 1 + size * direction / np.abs(direction).max()
        limit = MEMBERS[name].curvature * (q @ (u - 1) ** 2) / 2
        got = kl.f_divergence(q * u, q, MEMBERS[name])
        assert got == pytest.approx(limit, rel=4 * size)


@given(q=distributions(5, zeros=False), seed=seeds)
def test_near_equality_total_variation_is_linear(q, seed):
    direction = np.random.default_rng(seed).normal(size=5)
    direction -= q @ direction
    values = [
        kl.f_divergence(q * (1 + size * direction / 10), q, "total_variation") / size
        for size in (1e-2, 1e-4)
    ]
    rounding = np.finfo(float).eps / 1e-4  # of the numbers close to q
    assert values[0] == pytest.approx(values[1], rel=1e-12, abs=rounding)
    assert values[0] > 0


@given(distribution_pairs())
def test_the_classical_inequalities(pair):
    d = {name: kl.f_divergence(*pair, name) for name in kl.F_DIVERGENCES}
    slack = 1 + 1e-12
    tv, hellinger = d["total_variation"], d["squared_hellinger"]
    assert 2 * tv**2 <= d["kl"] * slack  # Pinsker
    assert hellinger <= tv * slack
    assert tv <= math.sqrt(hellinger * (2 - hellinger)) * slack
    assert d["kl"] <= math.log1p(d["chi2"]) * slack
    assert d["jensen_shannon"] <= math.log(2) * tv * slack


@pytest.mark.parametrize("name", [name for name in RANDOM if name in SMOOTH])
@given(pair=distribution_pairs(zeros=False), seed=seeds)
def test_tangents_bound_it_from_below(name, pair, seed):
    p, q = pair
    member, u = MEMBERS[name], p / q
    divergence = kl.f_divergence(p, q, member)
    guess = u * np.exp(0.3 * np.random.default_rng(seed).normal(size=len(p)))

    def bound(g):
        return p @ member.df(g) - q @ (g * member.df(g) - member.f(g))

    scale = p @ np.abs(member.df(guess)) + q @ (np.abs(guess * member.df(guess)) + member.f(guess))
    assert bound(guess) <= divergence + 1e-12 * scale
    assert bound(u) == pytest.approx(divergence, rel=1e-9, abs=1e-12 * scale)
    gaps = kl.bregman_divergence(member.f, member.df, u, guess)
    assert q @ gaps == pytest.approx(divergence - bound(guess), rel=1e-6, abs=1e-12 * scale)


@pytest.mark.jax
@pytest.mark.parametrize("name", ["kl", "jensen_shannon", "squared_hellinger", "alpha(0.3)"])
def test_rare_outcomes_leave_gradients_finite_in_single_precision(name):
    # Their probabilities are 1e-26 and 1e-20 and such: of the square, float32 has nothing.
    logits = np.array([[0.0, -60.0, -46.0, -3.0], [0.0, -3.0, -60.0, -50.0]])

    def loss(a, b):
        return kl.f_divergence(jax.nn.softmax(a), jax.nn.softmax(b), MEMBERS[name])

    got = jax.grad(loss, (0, 1))(*jax.numpy.asarray(logits, "float32"))
    with jax.enable_x64(True):
        wanted = jax.grad(loss, (0, 1))(*jax.numpy.asarray(logits))
    assert (got[0].dtype, wanted[0].dtype) == ("float32", "float64")
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6)


# --- k1, k2, k3 ----------------------------------------------------------------------------------


@given(distribution_pairs(zeros=False))
def test_k1_and_k3_are_one_divergence_sampled_from_p(pair):
    p, q = pair
    r = q / p
    generators = {
        kl.k1: lambda u: u * np.log(u),
        kl.k3: lambda u: u * np.log(u) - u + 1,
    }
    for k, f in generators.items():
        np.testing.assert_allclose(k(np.log(p), np.log(q)), r * f(1 / r), rtol=1e-9, atol=1e-12)
        exact = kl.kl_divergence(p, q)
        assert kl.f_divergence(p, q, f) == pytest.approx(exact, rel=1e-11, abs=1e-13)


def test_k2_obeys_neither_data_processing_nor_joint_convexity():
    def k2(u):
        return u * np.log(u) ** 2 / 2

    p, q = np.array([0.01, 0.01, 0.98]), np.array([0.05, 0.40, 0.55])
    fine, coarse = kl.f_divergence(p, q, k2), kl.f_divergence([0.02, 0.98], [0.45, 0.55], k2)
    assert fine == pytest.approx(p @ kl.k2(np.log(p), np.log(q)), rel=1e-14, abs=0)
    assert (fine, coarse) == (pytest.approx(0.24448, abs=5e-6), pytest.approx(0.26043, abs=5e-6))
    swapped_p, swapped_q = p[[1, 0, 2]], q[[1, 0, 2]]
    middle = kl.f_divergence((p + swapped_p) / 2, (q + swapped_q) / 2, k2)
    assert middle > kl.f_divergence(swapped_p, swapped_q, k2) == pytest.approx(fine)


# --- generators of one's own ---------------------------------------------------------------------


@given(distribution_pairs(zeros=False))
def test_a_callable_is_taken_as_it_is(pair):
    jeffreys = kl.f_divergence(*pair, lambda u: (u - 1) * np.log(u))
    both = kl.kl_divergence(*pair) + kl.kl_divergence(*reversed(pair))
    assert jeffreys == pytest.approx(both, rel=1e-12, abs=1e-14)


def test_a_callable_is_asked_for_f_at_zero():
    assert kl.f_divergence([0.0, 1.0], [0.5, 0.5], lambda u: (u - 1) ** 2) == 1.0
    assert kl.f_divergence([0.0, 1.0], [0.5, 0.5], lambda u: np.exp(-u) - np.exp(-1)) > 0
    with pytest.raises(ValueError, match=r"^f must not return NaN, and does at u = 0: "):
        kl.f_divergence([0.0, 1.0], [0.5, 0.5], lambda u: u * np.log(u))


@pytest.mark.parametrize(("alpha", "slope"), [(1, np.log(3)), (2, 2), (0, 2 / 3), (-1, 4 / 9)])
def test_the_derivative_of_alpha_is_the_power_or_its_limit(alpha, slope):
    assert kl.alpha_divergence(alpha).df(3.0) == pytest.approx(slope, rel=1e-15, abs=0)


def test_a_callable_does_not_say_what_an_excluded_outcome_adds():
    def square(u):
        return (u - 1) ** 2

    with pytest.raises(
        ValueError, match=r"^f must be an FDivergence .* what such an outcome adds$"
    ):
        kl.f_divergence([0.5, 0.5], [1.0, 0.0], square)
    assert kl.f_divergence([0.5, 0.5, 0.0], [0.2, 0.8, 0.0], square) == pytest.approx(0.5625)
    known = kl.FDivergence("chi2", square, lambda u: 2 * (u - 1), math.inf)
    assert kl.f_divergence([0.5, 0.5], [1.0, 0.0], known) == math.inf
    assert kl.f_divergence([1.0, 0.0], [1.0, 0.0], known) == 0


def test_ones_own_divergence_needs_no_perspective():
    def triangle(u):
        return (u - 1) ** 2 / (u + 1)

    def slope(u):
        return (u - 1) * (u + 3) / (u + 1) ** 2

    own = kl.FDivergence("triangular", triangle, slope, 1.0, 1.0, symmetric=True)
    batch = np.array([[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]])
    q = np.array([0.0, 0.4, 0.6])
    total = np.where(batch + q > 0, batch + q, 1)
    np.testing.assert_allclose(
        kl.f_divergence(batch, q, own), ((batch - q) ** 2 / total).sum(-1), rtol=1e-14
    )
    np.testing.assert_array_equal(
        kl.f_divergence(batch.T, q, own, axis=0), kl.f_divergence(batch, q, own)
    )
    assert own.supremum == 2
    assert repr(own) == "FDivergence(name='triangular')"


def test_unknown_properties_are_not_a_number():
    bare = kl.FDivergence("bare", lambda u: u * np.log(u), np.log)
    assert np.isnan([bare.recession, bare.curvature, bare.supremum]).all()
    assert not bare.symmetric
    assert kl.f_divergence(P, Q, bare) == pytest.approx(kl.kl_divergence(P, Q), rel=1e-13, abs=0)


# --- Bregman divergences -------------------------------------------------------------------------


def neg_entropy(v):
    return np.sum(v * np.log(v), axis=-1)


def neg_entropy_gradient(v):
    return np.log(v) + 1


def square(v):
    return np.sum(v**2, axis=-1)


@given(distribution_pairs(zeros=False))
def test_negative_entropy_gives_kl(pair):
    got = kl.bregman_divergence(neg_entropy, neg_entropy_gradient, *pair)
    assert got == pytest.approx(kl.kl_divergence(*pair), rel=1e-11, abs=1e-13)


@given(seeds)
def test_negative_entropy_of_unnormalised_vectors_adds_the_difference_of_the_masses(seed):
    x, y = np.random.default_rng(seed).uniform(0.1, 9, (2, 4))
    expected = np.sum(x * np.log(x / y) - x + y)
    got = kl.bregman_divergence(neg_entropy, neg_entropy_gradient, x, y)
    assert got == pytest.approx(expected, rel=1e-11, abs=1e-12)
    assert got >= 0


@given(st.floats(-5, 5))
def test_the_gap_of_the_logarithm_at_one_is_k3(log_r):
    got = kl.bregman_divergence(lambda r: -np.log(r), lambda r: -1 / r, np.exp(log_r), 1.0)
    assert got == pytest.approx(kl.k3(0.0, log_r), rel=1e-9, abs=1e-14)


def test_square_gives_the_squared_distance_in_any_shape():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    vectors = kl.bregman_divergence(square, lambda v: 2 * v, x, y)
    np.testing.assert_allclose(vectors, ((x - y) ** 2).sum(-1), rtol=1e-12)
    entries = kl.bregman_divergence(lambda v: v**2, lambda v: 2 * v, x, y)
    np.testing.assert_allclose(entries, (x - y) ** 2, rtol=1e-10, atol=1e-14)
    one = kl.bregman_divergence(square, lambda v: 2 * v, x[0], y[0])
    assert one == pytest.approx(vectors[0], rel=1e-14, abs=0)
    number = kl.bregman_divergence(lambda v: v**2, lambda v: 2 * v, 3.0, 1)
    assert number == 4
    against_one = kl.bregman_divergence(square, lambda v: 2 * v, x, y[0])
    np.testing.assert_allclose(against_one, ((x - y[0]) ** 2).sum(-1), rtol=1e-12)


def test_a_vector_of_one_entry_may_be_read_either_way():
    for phi in (square, lambda v: v**2):
        got = kl.bregman_divergence(phi, lambda v: 2 * v, [3.0], [1.0])
        assert got == pytest.approx(4)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        ("KL", ValueError, "^f must be one of kl, reverse_kl, .*neyman_chi2, got 'KL'"),
        (1.0, TypeError, "^f must be a name, an FDivergence or a callable, got float"),
        (None, TypeError, "^f must be a name, an FDivergence or a callable, got NoneType"),
        (lambda u: u, ValueError, "^f must be 0 at 1, got 1"),
        (lambda u: np.sum(u - 1), ValueError, "^what f returns and p/q must have the same shape"),
        (lambda u: (u - 1) * 1j, TypeError, "^what f returns must be real numbers"),
        (lambda u: u * np.nan, ValueError, "^f must not return NaN, and does at u = 2.5"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_generator_is_refused(f, error, message):
    with pytest.raises(error, match=message):
        kl.f_divergence(P, Q, f)


@pytest.mark.parametrize("f", ["kl", "total_variation", lambda u: (u - 1) ** 2])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([0.5, 0.6, -0.1], ValueError, "must be non-negative"),
        ([0.5, 0.3, 0.3], ValueError, "must sum to 1"),
        ([0.5, 0.5, np.nan], ValueError, "must be finite"),
        ([], ValueError, "must not be empty"),
        (["a"] * 3, TypeError, "must be real numbers"),
        ([0.5, 0.5], ValueError, "must have the same outcomes"),
    ],
)
def test_what_is_no_distribution_is_refused(f, bad, error, message):
    with pytest.raises(error, match=f"^p .*{message}"):
        kl.f_divergence(bad, Q, f)
    with pytest.raises(error, match=f"q .*{message}"):
        kl.f_divergence(P, bad, f)


@pytest.mark.parametrize(("axis", "error"), [(1, ValueError), (0.0, TypeError), (None, TypeError)])
def test_a_bad_axis_is_refused(axis, error):
    with pytest.raises(error, match=r"^axis "):
        kl.f_divergence(P, Q, "kl", axis=axis)


@pytest.mark.parametrize(
    ("alpha", "error", "message"),
    [
        (np.nan, ValueError, "^alpha must be finite, got nan"),
        (-np.inf, ValueError, "^alpha must be finite, got -inf"),
        ("1", TypeError, "^alpha must be a number"),
        (True, TypeError, "^alpha must be a number"),
        ([1.0], TypeError, "^alpha must be a number"),
    ],
)
def test_a_bad_alpha_is_refused(alpha, error, message):
    with pytest.raises(error, match=message):
        kl.alpha_divergence(alpha)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("f", (1, np.log)), ("df", (np.log, 1)), ("perspective", (np.log, np.log, 0.0, 1.0, True, 1))],
)
def test_an_f_divergence_is_made_of_functions(name, arguments):
    with pytest.raises(TypeError, match=f"^{name} must be a function, got int"):
        kl.FDivergence("mine", *arguments)


def only_of_ones(values):
    return np.where(values == 1, 1.0, np.nan)


@every_member
@pytest.mark.parametrize("function", ["f", "df"])
def test_a_bad_ratio_is_refused_by_its_name(name, function):
    with pytest.raises(ValueError, match=r"^u must be non-negative"):
        getattr(MEMBERS[name], function)(-1.0)
    with pytest.raises(TypeError, match=r"^u must be real numbers"):
        getattr(MEMBERS[name], function)("a")


@pytest.mark.parametrize(
    ("phi", "grad_phi", "x", "y", "error", "message"),
    [
        (1, square, [1.0], [1.0], TypeError, "^phi must be a function"),
        (square, None, [1.0], [1.0], TypeError, "^grad_phi must be a function"),
        (square, np.copy, [np.nan], [1.0], ValueError, "^x must be finite"),
        (square, np.copy, [1.0], [np.inf], ValueError, "^y must be finite"),
        (square, np.copy, [], [1.0], ValueError, "^x must not be empty"),
        (square, np.copy, [1.0], [1j], TypeError, "^y must be real numbers"),
        (square, np.copy, [1.0, 2.0], [1.0, 2.0, 3.0], ValueError, "^x and y must broadcast"),
        (np.sum, np.copy, np.ones((2, 3)), np.ones((2, 3)), ValueError, "^what phi returns and"),
        (square, np.sum, [1.0, 2.0], [1.0, 2.0], ValueError, "^what grad_phi returns and y must"),
        (lambda v: v * np.nan, np.copy, [1.0], [1.0], ValueError, "^what phi returns must not"),
        (only_of_ones, np.copy, [1.0], [2.0], ValueError, "^what phi returns must not"),
        (square, lambda v: v * np.nan, [1.0], [1.0], ValueError, "^what grad_phi returns must not"),
        (lambda v: v * 1j, np.copy, [1.0], [1.0], TypeError, "^what phi returns must be real"),
    ],
    ids=itertools.count(),
)
def test_bad_bregman_input_is_refused(phi, grad_phi, x, y, error, message):
    with pytest.raises(error, match=message):
        kl.bregman_divergence(phi, grad_phi, x, y)


@every_member
def test_input_is_not_modified(name):
    p, q = P.copy(), Q.copy()
    p.flags.writeable = q.flags.writeable = False  # writing raises
    kl.f_divergence(p, q, MEMBERS[name])
    MEMBERS[name].f(p)
    MEMBERS[name].df(p)
    kl.bregman_divergence(MEMBERS[name].f, MEMBERS[name].df, p, q)
