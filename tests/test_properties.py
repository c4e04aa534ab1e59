"""Properties of what no other module holds one of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kltutorial as kl
from tests.strategies import ESTIMATORS, distribution_pairs, seeds

rates = st.floats(1e-3, 1e3)
shifts = st.floats(-3, 3)
log_probs = st.floats(-30, 0)


@given(st.integers(0, 1024), st.integers(1, 1023))
def test_coins_are_distributions_over_two_outcomes_whatever_a_side_is_called(a, b):
    p, q = a / 1024, b / 1024  # 1 - p is exact
    coins = kl.kl_bernoulli(p, q)
    assert coins == pytest.approx(kl.kl_divergence([p, 1 - p], [q, 1 - q]), rel=1e-14, abs=0)
    assert coins == pytest.approx(kl.kl_bernoulli(1 - p, 1 - q), rel=1e-14, abs=0)
    assert (coins == 0) == (a == b)


@given(rates, rates, st.integers(-20, 20))
def test_exponentials_do_not_depend_on_the_unit_of_time(p, q, power):
    divergence = kl.kl_exponential(p, q)
    # log p and log q are at most 21, so that their difference is right to 1e-14.
    scaled = kl.kl_exponential(p * 2.0**power, q * 2.0**power)
    assert scaled == pytest.approx(divergence, rel=1e-13, abs=0)
    # Both directions add up to (s - 1)² / s, where nothing is subtracted that could cancel.
    jeffreys = divergence + kl.kl_exponential(q, p)
    assert jeffreys == pytest.approx((q - p) ** 2 / (p * q), rel=1e-13, abs=0)


@given(seeds, st.integers(1, 4))
def test_multivariate_normals_are_the_same_in_all_coordinates(seed, size):
    rng = np.random.default_rng(seed)
    means, stds = rng.normal(size=(2, size)), rng.uniform(0.5, 2, (2, size))
    covariances = [np.diag(std**2) for std in stds]
    divergence = kl.kl_multivariate_normal(means[0], covariances[0], means[1], covariances[1])
    parts = kl.kl_normal(means[0], stds[0], means[1], stds[1])
    assert divergence == pytest.approx(parts.sum(), rel=1e-13, abs=0)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0] * rng.uniform(0.5, 2, size)
    moved = [turn @ mean + 1 for mean in means]
    spread = [turn @ covariance @ turn.T for covariance in covariances]
    spread = [(each + each.T) / 2 for each in spread]
    assert kl.kl_multivariate_normal(moved[0], spread[0], moved[1], spread[1]) == pytest.approx(
        divergence, rel=1e-9
    )


@given(st.lists(st.tuples(log_probs, log_probs), min_size=1))
def test_k2_has_no_direction_and_is_half_of_the_square_of_k1(pairs):
    logp, logq = np.array(pairs).T
    np.testing.assert_array_equal(kl.k2(logp, logq), kl.k2(logq, logp))
    np.testing.assert_array_equal(kl.k2(logp, logq), kl.k1(logp, logq) ** 2 / 2)


@given(seeds, st.floats(-3, 3))
def test_no_weight_of_the_control_variate_gives_less_variance_than_the_optimal_one(seed, weight):
    rng = np.random.default_rng(seed)
    logp, logq = rng.normal(size=(2, 50))

    def variance(weight):
        return np.var(kl.k1(logp, logq) + weight * np.expm1(logq - logp))

    best = kl.optimal_control_variate(logp, logq)
    assert variance(best) <= variance(weight) * (1 + 1e-12)


@given(shifts)
def test_moments_for_shifted_normals(shift):
    moments = {name: kl.shifted_normal_moments(shift, estimator=name) for name in ESTIMATORS}
    assert moments == {
        name: kl.shifted_normal_moments(-shift, estimator=name) for name in ESTIMATORS
    }
    exact = kl.kl_normal(0, 1, shift, 1)
    for name in ("k1", "k3", "optimal"):
        assert moments[name].mean == pytest.approx(exact, rel=1e-14, abs=0)
    assert moments["optimal"].std <= min(moments["k1"].std, moments["k3"].std) * (1 + 1e-14)
    # E[k2] is half of the second moment of k1.
    second = moments["k1"].mean ** 2 + moments["k1"].std ** 2
    assert moments["k2"].mean == pytest.approx(second / 2, rel=1e-14, abs=0)


@given(distribution_pairs(zeros=False), st.floats(-10, 10))
def test_a_multiple_of_u_less_1_changes_no_f_divergence(pair, slope):
    p, q = pair
    plain = kl.FDivergence("mine", lambda u: (u - 1) ** 2, lambda u: 2 * (u - 1))
    tilted = kl.FDivergence(
        "tilted", lambda u: (u - 1) ** 2 + slope * (u - 1), lambda u: 2 * (u - 1) + slope
    )
    chi2 = kl.f_divergence(p, q, "chi2")
    rounding = 1e-14 * (1 + abs(slope)) * (1 + np.sum(q * (1 + p / q) ** 2))
    assert kl.f_divergence(p, q, plain) == pytest.approx(chi2, abs=rounding)
    assert kl.f_divergence(p, q, tilted) == pytest.approx(chi2, abs=rounding)


@given(seeds, st.sampled_from(ESTIMATORS), st.floats(0.01, 0.98))
def test_intervals_are_centred_and_wider_ones_hold_the_narrower(seed, estimator, level):
    logp, logq = np.random.default_rng(seed).normal(size=(2, 20))
    estimate = kl.estimate_kl(logp, logq, estimator=estimator)
    low, high = estimate.interval(level)
    assert low + high == pytest.approx(2 * estimate.mean, abs=1e-12)
    wider = estimate.interval((1 + level) / 2)
    assert wider[0] < low < high < wider[1]


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, 0]))
def test_what_is_sampled_is_possible_and_ends_with_the_end_token(seed, vocabulary, horizon, eos):
    rng = np.random.default_rng(seed)
    logits = np.where(rng.random((vocabulary, vocabulary)) < 0.4, -np.inf, 0.0)
    logits[:, -1] = 0.0  # something stays possible
    model = kl.TabularLM([logits[:1], *[logits] * (horizon - 1)], eos=eos)
    drawn = model.sample(50, rng)
    tokens = drawn if eos is None else drawn[0]
    assert np.isfinite(model.log_prob(tokens)).all()
    if eos is not None:
        mask = drawn[1]
        ended = tokens == eos
        # It counts up to the first end token, which is the last that counts.
        np.testing.assert_array_equal(mask.sum(axis=1), np.where(
            ended.any(axis=1), ended.argmax(axis=1) + 1, horizon
        ))  # fmt: skip
        assert (tokens[~mask] == eos).all()


@given(seeds, st.integers(1, 3), st.integers(1, 4))
def test_what_is_to_come_is_on_average_what_the_later_tokens_add(seed, vocabulary, horizon):
    rng = np.random.default_rng(seed)
    policy = kl.TabularLM.random(vocabulary, horizon, rng)
    other = policy.perturbed(1.0, rng)
    tokens = policy.sequences()
    chance = np.exp(policy.log_prob(tokens).sum(axis=1))
    later = chance @ policy.token_kl(other, tokens)
    digits = vocabulary ** np.arange(horizon)[::-1]
    for t, values in enumerate(policy.kl_to_go(other)):
        prefix = (tokens[:, :t] * digits[horizon - t :]).sum(axis=1)
        assert chance @ values[prefix] == pytest.approx(later[t:].sum(), rel=1e-12, abs=1e-14)
    assert policy.kl_to_go(other)[0][0] == pytest.approx(policy.kl(other), rel=1e-12, abs=1e-14)


@given(
    seeds,
    st.sampled_from(["k1", "k2", "k3", "abs", "k3_inverted"]),
    st.sampled_from(["loss", "reward"]),
    st.sampled_from([None, "ratio", "detached"]),
)
def test_a_step_on_the_leash_is_one_against_the_expected_gradient(
    seed, estimator, placement, weight
):
    rng = np.random.default_rng(seed)
    p, q = 0.5 * rng.normal(size=(2, 4))
    use = {"estimator": estimator, "placement": placement, "weight": weight}
    path = kl.follow_penalty(p, q, **use, steps=1, step_size=0.1)
    after = p - 0.1 * kl.expected_gradient(p, q, **use)
    exact = [kl.kl_from_logits(p, q), kl.kl_from_logits(after, q)]
    np.testing.assert_allclose(path, exact, rtol=1e-12)


@settings(max_examples=10)
@given(
    st.floats(0.01, 2),
    st.floats(0.05, 0.5),
    st.sampled_from(["grpo", "bnpo", "dapo"]),
    st.sampled_from(["k1", "k2", "k3"]),
)
def test_the_audit_reads_off_what_a_grpo_loss_was_made_with(beta, clip, aggregation, penalty):
    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip):
        return kl.grpo_loss(
            logp, logp_old, logp_ref, advantages, mask,
            beta=beta, clip=clip, kl=penalty, aggregation=aggregation,
        ).loss  # fmt: skip

    report = kl.audit_grpo_loss(loss, beta=beta, clip=clip)
    assert report.matches
    assert report.kl == penalty
    assert report.beta == pytest.approx(beta)
