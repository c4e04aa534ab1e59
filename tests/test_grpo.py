import math

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given

import kltutorial as kl
from kltutorial import GRPOLoss, group_advantages, grpo_loss
from tests.strategies import seeds

AGGREGATIONS = ["grpo", "bnpo", "dapo", "dr_grpo"]
PENALTIES = {
    "k1": lambda x: -x,
    "k2": lambda x: x * x / 2,
    "k3": lambda x: math.exp(x) - 1 - x,
}


def batch(seed, spread=0.5):
    """Log-probabilities of a ragged batch, its advantages and its mask."""
    rng = np.random.default_rng(seed)
    samples, tokens = rng.integers(1, 6), rng.integers(1, 7)
    logp = -rng.exponential(2, (samples, tokens))
    old, ref = logp + spread * rng.normal(size=(2, samples, tokens))
    mask = np.arange(tokens) < rng.integers(1, tokens + 1, samples)[:, None]
    return logp, old, ref, rng.normal(size=samples), mask


def by_the_book(logp, old, ref, advantages, mask, beta, low, high, penalty, weighted, divisors):
    """Policy loss, KL loss, mean penalty and clip fraction, token by token."""
    policy_loss = kl_loss = total = clipped = 0.0
    for i, t in zip(*np.nonzero(mask), strict=True):
        ratio, A = math.exp(logp[i, t] - old[i, t]), advantages[i]
        bounded = min(max(ratio, 1 - low), 1 + high)
        value = PENALTIES[penalty](ref[i, t] - logp[i, t]) * (ratio if weighted else 1)
        policy_loss -= min(ratio * A, bounded * A) / divisors[i]
        kl_loss += value / divisors[i]
        total += value
        clipped += bounded * A < ratio * A
    return policy_loss, kl_loss, total / mask.sum(), clipped / mask.sum()


def divisors(mask, aggregation, total_tokens, max_length):
    samples, lengths = len(mask), mask.sum(axis=1)
    return {
        "grpo": samples * lengths,
        "bnpo": np.full(samples, mask.sum()),
        "dapo": np.full(samples, total_tokens),
        "dr_grpo": np.full(samples, samples * max_length),
    }[aggregation]


# --- advantages ----------------------------------------------------------------------------------


def test_advantages_of_a_group_by_hand():
    # mean 2, deviations (-2, 0, 0, 2), variance 8/4 or 8/3
    rewards = [[0.0, 2.0, 2.0, 4.0]]
    np.testing.assert_array_equal(group_advantages(rewards, normalize_std=False), [[-2, 0, 0, 2]])
    np.testing.assert_allclose(
        group_advantages(rewards, eps=0), [[-math.sqrt(2), 0, 0, math.sqrt(2)]]
    )
    np.testing.assert_allclose(
        group_advantages(rewards, ddof=1, eps=0.5)[0, 3], 2 / (math.sqrt(8 / 3) + 0.5)
    )


@given(seeds, st.integers(2, 20), st.booleans(), st.sampled_from([0, 1]))
def test_advantages_do_not_see_the_level_and_sum_to_zero(seed, size, normalize_std, ddof):
    rewards = np.random.default_rng(seed).normal(size=(3, size))
    options = {"normalize_std": normalize_std, "ddof": ddof}
    got = group_advantages(rewards, **options)
    assert got.shape == rewards.shape
    np.testing.assert_allclose(got.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(group_advantages(rewards + 5, **options), got, atol=1e-9)


@given(seeds, st.integers(2, 20))
def test_normalised_advantages_have_a_deviation_of_one_and_no_unit(seed, size):
    rewards = np.random.default_rng(seed).normal(size=(3, size))
    got = group_advantages(rewards, eps=0)
    np.testing.assert_allclose(got.std(axis=1), 1)
    np.testing.assert_allclose(group_advantages(1000 * rewards, eps=0), got)


@pytest.mark.parametrize("reward", [0, 1, 0.1, 1 / 3, -7e9 + 0.3, 1e-300])
@pytest.mark.parametrize("size", [2, 3, 7, 16])
@pytest.mark.parametrize("eps", [0, 1e-4])
def test_a_group_of_equal_rewards_has_no_advantage_at_all(reward, size, eps):
    group = group_advantages([[reward] * size, [reward] * size], eps=eps)
    assert (group == 0).all()
    assert (group_advantages([[reward] * size], normalize_std=False) == 0).all()


def test_groups_are_independent_of_one_another():
    rewards = np.random.default_rng(0).normal(size=(4, 6))
    for row, got in zip(rewards, group_advantages(rewards), strict=True):
        np.testing.assert_allclose(group_advantages(row[None])[0], got, rtol=1e-14)


@pytest.mark.parametrize(
    ("argument", "options", "error", "message"),
    [
        ([1.0, 0.0], {}, ValueError, "^rewards must have shape"),
        ([[1.0], [0.0]], {}, ValueError, "^rewards must hold a group, and two answers"),
        (np.zeros((0, 4)), {}, ValueError, "^rewards must hold a group"),
        ([[1.0, np.nan]], {}, ValueError, "^rewards must be finite"),
        ([[1.0, np.inf]], {}, ValueError, "^rewards must be finite"),
        ([[1.0, 0.0], [1.0]], {}, ValueError, "^rewards must be a rectangular"),
        ([["a", "b"]], {}, TypeError, "^rewards must be real"),
        ([[1.0, 0.0]], {"ddof": 2}, ValueError, "^ddof must be in 0..1"),
        ([[1.0, 0.0]], {"ddof": -1}, ValueError, "^ddof must be in 0..1"),
        ([[1.0, 0.0]], {"ddof": 0.5}, TypeError, "^ddof must be an integer"),
        ([[1.0, 0.0]], {"eps": -1e-4}, ValueError, "^eps must be finite and not negative"),
        ([[1.0, 0.0]], {"eps": np.nan}, ValueError, "^eps must be finite and not negative"),
        ([[1.0, 0.0]], {"eps": "0"}, TypeError, "^eps must be a number"),
    ],
)
def test_bad_rewards_are_refused_by_name(argument, options, error, message):
    with pytest.raises(error, match=message):
        group_advantages(argument, **options)


# --- the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "options", "by_hand"),
    [
        # A right answer of one token (-1), a wrong one of three (+1 each).
        ("grpo", {}, (-1 + 3 / 3) / 2),
        ("bnpo", {}, (-1 + 3) / 4),
        ("dapo", {"total_tokens": 10}, (-1 + 3) / 10),
        ("dapo", {}, (-1 + 3) / 4),
        ("dr_grpo", {"max_length": 4}, (-1 + 3) / (2 * 4)),
        ("dr_grpo", {"max_length": 100}, (-1 + 3) / (2 * 100)),
    ],
)
def test_each_aggregation_by_hand(aggregation, options, by_hand):
    mask = [[True, False, False, False], [True, True, True, False]]
    logp = np.full((2, 4), -1.0)
    result = grpo_loss(logp, None, None, [1, -1], mask, beta=0, aggregation=aggregation, **options)
    assert result.loss == pytest.approx(by_hand, abs=1e-15)
    # A penalty of one per token, in the same way.
    result = grpo_loss(
        logp, None, logp - 1, [0, 0], mask, beta=1, kl="k1", aggregation=aggregation, **options
    )
    weights = {"grpo": 1, "bnpo": 1, "dapo": 4 / options.get("total_tokens", 4)}
    weights["dr_grpo"] = 4 / (2 * options.get("max_length", 1))
    assert result.loss == pytest.approx(weights[aggregation])
    assert result.kl == 1


def test_one_token_by_hand():
    # ρ = 1.5, r = 0.25: clipped at 1.2, k3 = 0.25 - 1 + log 4
    logp, old, ref = np.log([[0.6]]), np.log([[0.4]]), np.log([[0.15]])
    k3 = -0.75 + math.log(4)
    result = grpo_loss(logp, old, ref, [2.0], [[True]], beta=0.1)
    assert result.policy_loss == pytest.approx(-2.4)
    assert result.kl_loss == pytest.approx(k3)
    assert result.loss == pytest.approx(-2.4 + 0.1 * k3)
    assert result.clip_fraction == 1
    result = grpo_loss(logp, old, ref, [-2.0], [[True]], beta=0.1, weight_kl=True)
    assert result.policy_loss == pytest.approx(3)
    assert result.kl_loss == result.kl == pytest.approx(1.5 * k3)
    assert result.clip_fraction == 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clip", [0.2, (0.1, 0.4), (1.0, 0.01), 10])
def test_the_loss_is_that_of_the_book_token_by_token(aggregation, penalty, weighted, clip):
    if penalty == "k2" and weighted:
        return
    low, high = clip if isinstance(clip, tuple) else (clip, clip)
    for seed in range(20):
        arrays = batch(seed)
        mask = arrays[-1]
        sizes = {"total_tokens": mask.sum() + 7, "max_length": mask.shape[1] + 2}
        result = grpo_loss(
            *arrays,
            beta=0.3,
            clip=clip,
            kl=penalty,
            weight_kl=weighted,
            aggregation=aggregation,
            total_tokens=int(sizes["total_tokens"]),
            max_length=int(sizes["max_length"]),
        )
        policy_loss, kl_loss, mean, clipped = by_the_book(
            *arrays, 0.3, low, high, penalty, weighted, divisors(mask, aggregation, **sizes)
        )
        assert result.policy_loss == pytest.approx(policy_loss, rel=1e-12, abs=1e-14)
        assert result.kl_loss == pytest.approx(kl_loss, rel=1e-12, abs=1e-14)
        assert result.loss == pytest.approx(policy_loss + 0.3 * kl_loss, rel=1e-12, abs=1e-14)
        assert result.kl == pytest.approx(mean, rel=1e-12, abs=1e-14)
        assert result.clip_fraction == pytest.approx(clipped, abs=1e-15)


def test_a_lower_clip_of_one_or_more_never_binds():
    logp, old = np.log([[1e-6, 0.5]]), np.log([[0.9, 0.5]])
    for low in (1, 1.0, 10):
        result = grpo_loss(logp, old, None, [-1], np.ones((1, 2), bool), beta=0, clip=(low, 0.2))
        assert result.clip_fraction == 0
        assert result.loss == pytest.approx((1e-6 / 0.9 + 1) / 2)
    assert grpo_loss(logp, old, None, [-1], np.ones((1, 2), bool), beta=0).clip_fraction == 0.5


@given(seeds)
def test_no_old_policy_means_this_one(seed):
    logp, _, ref, advantages, mask = batch(seed)
    for weight_kl in (False, True):
        got = grpo_loss(logp, None, ref, advantages, mask, beta=0.1, weight_kl=weight_kl)
        expected = grpo_loss(logp, logp, ref, advantages, mask, beta=0.1, weight_kl=weight_kl)
        assert got == expected
    assert got.clip_fraction == 0


@given(seeds)
def test_on_fresh_samples_of_whole_groups_the_loss_is_the_penalty(seed):
    rng = np.random.default_rng(seed)
    logp, _, ref, _, _ = batch(seed)
    lengths = np.arange(logp.shape[1]) < rng.integers(1, logp.shape[1] + 1)
    for mask, aggregations in (
        (batch(seed)[-1], ["grpo"]),
        (np.broadcast_to(lengths, logp.shape), AGGREGATIONS),
    ):
        advantages = rng.normal(size=len(logp))
        advantages -= advantages.mean()
        for aggregation in aggregations:
            result = grpo_loss(
                logp, None, ref, advantages, mask, beta=0.2, aggregation=aggregation, max_length=9
            )
            assert result.policy_loss == pytest.approx(0, abs=1e-14)
            assert result.loss == pytest.approx(0.2 * result.kl_loss, abs=1e-14)


@given(seeds, st.sampled_from(AGGREGATIONS), st.booleans())
def test_masked_entries_are_never_read(seed, aggregation, weight_kl):
    logp, old, ref, advantages, mask = batch(seed)
    options = {"beta": 0.1, "weight_kl": weight_kl, "aggregation": aggregation, "max_length": 9}
    expected = grpo_loss(logp, old, ref, advantages, mask, **options)
    for hole in (np.nan, np.inf, -np.inf, 1e308):
        dirty = [np.where(mask, a, hole) for a in (logp, old, ref)]
        assert grpo_loss(*dirty, advantages, mask, **options) == expected


def test_without_a_reference_the_divergence_is_unknown_and_not_zero():
    logp, old, ref, advantages, mask = batch(0)
    result = grpo_loss(logp, old, None, advantages, mask, beta=0)
    assert math.isnan(result.kl)
    assert result.kl_loss == 0
    assert result.loss == result.policy_loss
    with_reference = grpo_loss(logp, old, ref, advantages, mask, beta=0)
    assert with_reference.loss == result.loss
    assert with_reference.kl > 0


def test_a_price_of_zero_is_not_zero_times_infinity():
    far = grpo_loss([[-1000.0]], None, [[0.0]], [1.0], [[True]], beta=0)
    assert far.loss == -1
    assert far.kl == math.inf


def test_the_penalty_keeps_its_digits_near_the_reference():
    logp = np.array([[-1.0]], np.float32)
    ref = logp + np.float32(1e-4)
    x = float(ref[0, 0]) - float(logp[0, 0])
    result = grpo_loss(logp, None, ref, np.zeros(1, np.float32), [[True]], beta=1)
    assert result.loss.dtype == np.float32
    assert result.loss == pytest.approx(x * x / 2 + x**3 / 6, rel=1e-6, abs=0)


def test_the_parts_of_the_result_add_up():
    result = grpo_loss(*batch(3), beta=0.25)
    assert isinstance(result, GRPOLoss)
    assert result.loss == result.policy_loss + 0.25 * result.kl_loss


GOOD = {
    "logp": np.zeros((2, 3)),
    "logp_old": np.zeros((2, 3)),
    "logp_ref": np.zeros((2, 3)),
    "advantages": np.zeros(2),
    "mask": np.ones((2, 3), bool),
    "beta": 0.1,
}
NAN, INFINITE = np.full((2, 3), np.nan), np.full((2, 3), -np.inf)
EMPTY = {name: np.zeros((2, 0)) for name in ("logp", "logp_old", "logp_ref")}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logp": np.zeros((2, 4))}, ValueError, "^logp and mask must have the same shape"),
        ({"logp_old": np.zeros((3, 3))}, ValueError, "^logp_old and mask must have the same"),
        ({"logp_ref": np.zeros((2, 1))}, ValueError, "^logp_ref and mask must have the same"),
        ({"logp": np.zeros(3)}, ValueError, r"^logp must have shape \(samples, tokens\)"),
        ({"advantages": np.zeros(3)}, ValueError, r"^advantages must have shape \(2,\)"),
        ({"advantages": np.zeros((2, 1))}, ValueError, r"^advantages must have shape \(2,\)"),
        ({"advantages": [np.nan, 0]}, ValueError, "^advantages must be finite"),
        ({"logp": NAN}, ValueError, "^logp must be finite where mask is True"),
        ({"logp_old": NAN}, ValueError, "^logp_old must be finite where mask is True"),
        ({"logp_ref": NAN}, ValueError, "^logp_ref must be finite where mask is True"),
        ({"logp_ref": INFINITE}, ValueError, "^logp_ref must be finite where mask is True"),
        ({"logp": [["a"] * 3] * 2}, TypeError, "^logp must be real"),
        ({"mask": np.ones((2, 3))}, TypeError, "^mask must be boolean"),
        (
            {"mask": np.array([[1, 1, 1], [0, 0, 0]], bool)},
            ValueError,
            "^mask must keep at least one token of each sample; 1 has none",
        ),
        ({**EMPTY, "mask": np.ones((2, 0), bool)}, ValueError, "^logp must not be empty"),
        ({"beta": -0.1}, ValueError, "^beta must be finite and not negative"),
        ({"beta": np.nan}, ValueError, "^beta must be finite and not negative"),
        ({"beta": "0.1"}, TypeError, "^beta must be a number"),
        ({"logp_ref": None}, ValueError, "^logp_ref may be None only where beta is 0"),
        ({"clip": 0}, ValueError, "^clip must be positive"),
        ({"clip": -0.2}, ValueError, "^clip must be positive"),
        ({"clip": (0.2, 0.0)}, ValueError, "^clip must be positive"),
        ({"clip": np.nan}, ValueError, "^clip must be positive"),
        ({"clip": (0.2, 0.2, 0.2)}, TypeError, "^clip must be a number or"),
        ({"clip": "0.2"}, TypeError, "^clip must be a number, got str"),
        ({"clip": None}, TypeError, "^clip must be a number, got NoneType"),
        ({"kl": "k4"}, ValueError, "^kl must be 'k1', 'k2' or 'k3'"),
        ({"kl": "k2", "weight_kl": True}, ValueError, "^weight_kl must be False with kl='k2'"),
        ({"aggregation": "mean"}, ValueError, "^aggregation must be 'grpo', 'bnpo'"),
        ({"aggregation": "dr_grpo"}, ValueError, "^max_length must be given"),
        ({"aggregation": "dr_grpo", "max_length": 2}, ValueError, "^max_length must be at least 3"),
        ({"aggregation": "dr_grpo", "max_length": 3.5}, TypeError, "^max_length must be an int"),
        ({"aggregation": "dapo", "total_tokens": 0}, ValueError, "^total_tokens must be positive"),
        ({"aggregation": "dapo", "total_tokens": "9"}, TypeError, "^total_tokens must be a numb"),
    ],
)
def test_bad_input_is_refused_by_name(change, error, message):
    grpo_loss(**GOOD)
    with pytest.raises(error, match=message):
        grpo_loss(**{**GOOD, **change})


# --- another library -----------------------------------------------------------------------------


@pytest.mark.jax
def test_of_one_log_probability_in_two_roles_the_old_one_is_held_fixed():
    logp, _, ref, advantages, mask = batch(1)
    with jax.enable_x64(True):

        def loss(logp, old):
            return grpo_loss(logp, old, ref, advantages, mask, beta=0.1, weight_kl=True).loss

        held = jax.grad(loss)(jax.numpy.asarray(logp), jax.numpy.asarray(logp))
        np.testing.assert_array_equal(jax.grad(loss)(jax.numpy.asarray(logp), None), held)


@pytest.mark.jax
def test_no_gradient_flows_through_what_is_logged():
    logp, old, ref, advantages, mask = map(jax.numpy.asarray, batch(1))
    for name in ("kl", "clip_fraction"):
        gradient = jax.grad(
            lambda x, name=name: getattr(
                grpo_loss(x, old, ref, advantages, mask, beta=0.1, weight_kl=True), name
            )
        )(logp)
        np.testing.assert_array_equal(gradient, 0)


def test_everything_is_public():
    assert {"GRPOLoss", "group_advantages", "grpo_loss"} <= set(kl.__all__)


def test_the_standard_deviation_is_padded_with_a_ten_thousandth_unless_told():
    rewards = [[1.0, 0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(
        group_advantages(rewards), group_advantages(rewards, ddof=0, eps=1e-4, normalize_std=True)
    )
    assert group_advantages(rewards)[0, 0] == pytest.approx(
        0.75 / (0.1875**0.5 + 1e-4), rel=1e-15, abs=0
    )
