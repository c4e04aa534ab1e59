import itertools
import math

import hypothesis.strategies as st
import jax
import mpmath
import numpy as np
import pytest
from hypothesis import given
from scipy import optimize
from scipy.special import rel_entr, softmax

import kltutorial as kl
from kltutorial import (
    best_of_n,
    best_of_n_kl,
    best_of_n_kl_bound,
    dpo_loss,
    reward_kl_frontier,
    tilted_policy,
)
from tests.strategies import distributions, relative_error, seeds


@st.composite
def problems(draw, *, zeros=True):
    """A reference and integer rewards, some of them equal."""
    size = draw(st.integers(2, 6))
    rewards = draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    return draw(distributions(size, zeros=zeros)), np.array(rewards, dtype=float)


betas = st.floats(0.05, 20)


# --- the tilted policy ---------------------------------------------------------------------------


@given(problems(), betas)
def test_the_tilt_is_the_formula(problem, beta):
    ref, reward = problem
    weights = [
        mpmath.mpf(q) * mpmath.exp(mpmath.mpf(r) / beta) for q, r in zip(ref, reward, strict=True)
    ]
    exact = [weight / sum(weights) for weight in weights]
    for got, wanted in zip(tilted_policy(ref, reward, beta), exact, strict=True):
        assert got == 0 if wanted == 0 else relative_error(got, wanted) < 1e-12


@given(problems(), betas, seeds)
def test_no_policy_is_better(problem, beta, seed):
    ref, reward = problem

    def objective(policy):
        return policy @ reward - beta * rel_entr(policy, ref).sum()

    best = tilted_policy(ref, reward, beta)
    rng = np.random.default_rng(seed)
    other = np.where(ref > 0, rng.dirichlet(np.ones(len(ref))), 0)
    other /= other.sum()
    gap = beta * rel_entr(other, best).sum()
    np.testing.assert_allclose(objective(best) - objective(other), gap, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("beta", [5e-324, 1e-300, 1e-3])
def test_a_tiny_price_leaves_the_best_that_the_reference_allows(beta):
    got = tilted_policy([0.0, 0.1, 0.3, 0.6], [9.0, 2.0, 2.0, 1.0], beta)
    np.testing.assert_allclose(got, [0, 0.25, 0.75, 0], atol=1e-15)


def test_a_huge_price_leaves_the_reference():
    np.testing.assert_allclose(tilted_policy([0.25, 0.75], [1.0, -1.0], 1e300), [0.25, 0.75])


def test_rewards_of_any_size_do_not_overflow():
    np.testing.assert_array_equal(tilted_policy([0.5, 0.5], [1e308, -1e308], 1e-5), [1, 0])


def test_shapes_broadcast():
    ref, reward = np.full((3, 1, 2), 0.5), np.arange(10.0).reshape(5, 2)
    got = tilted_policy(ref, reward, 1)
    assert got.shape == (3, 5, 2)
    np.testing.assert_allclose(got[2, 4], tilted_policy([0.5, 0.5], reward[4], 1))


# --- DPO -----------------------------------------------------------------------------------------


def test_dpo_of_one_pair_by_hand():
    # margin 0.5 * ((-1 + 2) - (-3 + 2)) = 1
    assert math.isclose(dpo_loss(-1.0, -3.0, -2.0, -2.0, beta=0.5), math.log1p(math.exp(-1)))


@given(seeds, betas)
def test_dpo_is_the_logistic_loss_of_the_margin(seed, beta):
    values = np.random.default_rng(seed).normal(size=(4, 3, 2))
    chosen, rejected, ref_chosen, ref_rejected = values
    margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    for got, h in zip(dpo_loss(*values, beta=beta).ravel(), margin.ravel(), strict=True):
        assert relative_error(got, mpmath.log1p(mpmath.exp(-mpmath.mpf(h)))) < 1e-12


@pytest.mark.parametrize(("gap", "loss"), [(1e4, 0.0), (-1e4, 1e4), (40.0, math.exp(-40.0))])
def test_dpo_keeps_its_digits_far_out(gap, loss):
    np.testing.assert_allclose(dpo_loss([gap], [0.0], [0.0], [0.0], beta=1.0), [loss], rtol=1e-14)


def test_the_optimum_of_dpo_on_all_pairs_is_the_tilted_policy():
    rng = np.random.default_rng(0)
    ref, reward, beta = rng.dirichlet(np.ones(4)), rng.normal(size=4), 0.5
    pairs = np.array(list(itertools.combinations(range(4), 2)))
    wins = 1 / (1 + np.exp(reward[pairs[:, 1]] - reward[pairs[:, 0]]))
    q = np.log(ref)

    def loss(logits):
        p = logits - np.log(np.exp(logits).sum())
        a, b = pairs.T
        return (
            wins * dpo_loss(p[a], p[b], q[a], q[b], beta=beta)
            + (1 - wins) * dpo_loss(p[b], p[a], q[b], q[a], beta=beta)
        ).sum()

    found = optimize.minimize(loss, np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(softmax(found), tilted_policy(ref, reward, beta), atol=1e-5)


def test_float32_stays_float32():
    values = np.ones((4, 3), np.float32)
    assert dpo_loss(*values, beta=0.1).dtype == np.float32
    halves = np.full(2, 0.5, np.float32)
    assert best_of_n(halves, [0.0, 1.0], 2).dtype == np.float32


# --- best of n -----------------------------------------------------------------------------------


@given(problems(), st.integers(1, 4))
def test_best_of_n_is_what_all_draws_give(problem, n):
    ref, reward = problem
    exact = np.zeros(len(ref))
    for draw in itertools.product(range(len(ref)), repeat=n):
        best = max(draw, key=lambda outcome: reward[outcome])  # the first of several
        exact[best] += math.prod(ref[outcome] for outcome in draw)
    np.testing.assert_allclose(best_of_n(ref, reward, n), exact, atol=1e-14)


@pytest.mark.jax
def test_best_of_n_of_another_library_has_its_divergence_as_a_number():
    got = best_of_n_kl(jax.numpy.asarray([0.75, 0.25]), [0.0, 1.0], 2)
    assert got == pytest.approx(best_of_n_kl([0.75, 0.25], [0.0, 1.0], 2), rel=1e-6, abs=0)


@given(problems(), st.integers(1, 10**6))
def test_the_divergence_of_best_of_n_is_below_its_bound(problem, n):
    got = best_of_n_kl(*problem, n)
    exact = rel_entr(best_of_n(*problem, n), problem[0]).sum()
    np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-12)
    assert 0 <= got <= best_of_n_kl_bound(n) + 1e-12


def test_rare_outcomes_keep_their_digits():
    ref, reward = np.array([1 - 1e-18, 1e-18]), np.array([0.0, 1.0])
    np.testing.assert_allclose(best_of_n(ref, reward, 1000)[1], 1e-15, rtol=1e-12)


def test_a_reference_that_is_off_by_a_rounding_error_gives_a_distribution():
    ref = np.array([0.5, 0.5 + 9e-7])
    np.testing.assert_allclose(best_of_n(ref, [0.0, 0.0], 10**6).sum(), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "bound", "exact"),
    [(2, 0.1931, 0.0976), (4, 0.6363, 0.4725), (16, 1.8351, 1.6740), (64, 3.1745, 2.2926)],
)
def test_known_divergences(n, bound, exact):
    assert round(best_of_n_kl_bound(n), 4) == bound
    assert round(best_of_n_kl([0.7, 0.2, 0.1], [0.0, 1.0, 2.0], n), 4) == exact


def test_the_bound_is_the_limit_of_many_equal_outcomes():
    ref, reward = np.full(10**6, 1e-6), np.arange(10.0**6)
    assert math.isclose(best_of_n_kl(ref, reward, 8), best_of_n_kl_bound(8), rel_tol=1e-5)


# --- the frontier --------------------------------------------------------------------------------


@given(problems(zeros=False), betas)
def test_the_frontier_has_the_slope_beta(problem, beta):
    ref, reward = problem
    divergence, mean = reward_kl_frontier(ref, reward, [beta * 0.999, beta, beta * 1.001])
    policy = tilted_policy(ref, reward, beta)
    np.testing.assert_allclose(divergence[1], rel_entr(policy, ref).sum(), atol=1e-12)
    np.testing.assert_allclose(mean[1], policy @ reward, atol=1e-12)
    gain = beta * (divergence[0] - divergence[2])
    np.testing.assert_allclose(mean[0] - mean[2], gain, rtol=1e-3, atol=1e-9)


def test_the_frontier_has_the_shape_of_the_prices():
    divergence, mean = reward_kl_frontier([0.5, 0.5], [0, 1], np.ones((2, 3)))
    assert divergence.shape == mean.shape == (2, 3)


# --- bad input -----------------------------------------------------------------------------------


REF, REWARD, PAIRS = [0.5, 0.5], [1.0, 0.0], ([-1.0], [-2.0], [-1.0], [-1.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tilted_policy([0.5, 0.6], REWARD, 1), ValueError, "^ref must sum to 1"),
        (lambda: tilted_policy(REF, [1.0, np.inf], 1), ValueError, "^reward must be finite"),
        (lambda: tilted_policy(REF, 1.0, 1), ValueError, "^axis -1 is out of range for reward"),
        (lambda: tilted_policy(REF, [1.0] * 3, 1), ValueError, "^ref and reward must have the sa"),
        (lambda: tilted_policy(REF, REWARD, 0), ValueError, "^beta must be positive and finite"),
        (lambda: tilted_policy(REF, REWARD, math.inf), ValueError, "^beta must be .* got inf"),
        (lambda: tilted_policy(REF, REWARD, math.nan), ValueError, "^beta must be .* got nan"),
        (lambda: tilted_policy(REF, REWARD, [1.0]), TypeError, "^beta must be a number"),
        (lambda: tilted_policy(REF, ["a", "b"], 1), TypeError, "^reward must be real numbers"),
        (lambda: dpo_loss(*PAIRS, beta=0.0), ValueError, "^beta must be positive"),
        (lambda: dpo_loss(*PAIRS[:3], [1.0, 2.0], beta=1), ValueError, "^ref_logp_rejected must"),
        (lambda: dpo_loss(*[[]] * 4, beta=1), ValueError, "^logp_chosen must not be empty"),
        (lambda: dpo_loss([-np.inf], *PAIRS[1:], beta=1), ValueError, "^logp_chosen must be fin"),
        (lambda: dpo_loss(["a"], *PAIRS[1:], beta=1), TypeError, "^logp_chosen must be real"),
        (lambda: best_of_n([REF], REWARD, 2), ValueError, r"^ref must have shape \(outcomes,\)"),
        (lambda: best_of_n(REF, [REWARD], 2), ValueError, "^ref and reward must have the same"),
        (lambda: best_of_n(REF, REWARD, 0), ValueError, "^n must be positive"),
        (lambda: best_of_n(REF, REWARD, 10**400), ValueError, "^n must be within the range"),
        (lambda: best_of_n(REF, REWARD, 2.0), TypeError, "^n must be an integer"),
        (lambda: best_of_n_kl(REF, REWARD, -1), ValueError, "^n must be positive, got -1"),
        (lambda: best_of_n_kl_bound(0), ValueError, "^n must be positive, got 0"),
        (lambda: reward_kl_frontier([REF], REWARD, [1]), ValueError, "^ref must have shape"),
        (lambda: reward_kl_frontier(REF, [REWARD], [1]), ValueError, "^ref and reward must have"),
        (lambda: reward_kl_frontier(REF, REWARD, [1, 0]), ValueError, "^betas must be positive"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_everything_is_public():
    assert set(kl.alignment.__all__) <= set(kl.__all__)


def test_each_policy_is_tilted_by_its_own_best_reward():
    rewards = [[0.0, 1.0], [2.0**60, 2.0**60]]  # less this, 0 and 1 are one number
    np.testing.assert_allclose(
        tilted_policy([0.5, 0.5], rewards, 1.0), [[1 / (1 + np.e), np.e / (1 + np.e)], [0.5, 0.5]]
    )


def test_a_policy_is_tilted_also_where_numpy_is_told_to_raise():
    with np.errstate(all="raise"):  # the worse outcome underflows
        np.testing.assert_array_equal(tilted_policy([0.5, 0.5], [0.0, 1.0], 1e-3), [0.0, 1.0])


def test_the_best_is_found_also_where_numpy_is_told_to_raise():
    with np.errstate(all="raise"):  # that all of 2,000 are the worse one has chance 0.5**2000
        np.testing.assert_array_equal(best_of_n([0.5, 0.5], [0.0, 1.0], 2000), [0.0, 1.0])
