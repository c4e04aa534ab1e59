from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr, softmax

import kltutorial as kl
from kltutorial import gradients
from tests.strategies import seeds

PENALTIES = {
    "k1": lambda log_r: -log_r,
    "k2": lambda log_r: log_r**2 / 2,
    "k3": lambda log_r: np.exp(log_r) - 1 - log_r,
    "abs": np.abs,
    "k3_inverted": lambda log_r: np.exp(-log_r) - 1 + log_r,
}
PLACEMENTS, WEIGHTS = ("loss", "reward"), (None, "ratio", "detached")
USES = list(product(PENALTIES, PLACEMENTS, WEIGHTS))


def triple(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of policy, reference and sampler."""
    rng = np.random.default_rng(seed)
    size = rng.integers(2, 7)
    return tuple(rng.uniform(0.2, 1.5) * rng.normal(size=(3, size)))


def slope(objective, z) -> np.ndarray:
    """Gradient by central differences of two step sizes, extrapolated."""

    def central(h):
        return np.array([objective(z + e) - objective(z - e) for e in h * np.eye(z.size)]) / (2 * h)

    return (4 * central(1e-4) - central(2e-4)) / 3


def surrogate(p_logits, q_logits, b_logits, estimator, placement, weight):
    """What an automatic differentiator is given: a function of the logits, samples held fixed."""
    chance, logq, logb = softmax(b_logits), log_softmax(q_logits), log_softmax(b_logits)
    logp = log_softmax(p_logits)

    def of(z):
        now = log_softmax(z)
        penalty = PENALTIES[estimator](logq - (now if placement == "loss" else logp))
        live = np.exp((now if weight == "ratio" else logp) - logb)
        weights = live if weight else 1.0
        # In the reward something has to be differentiated: the score, unless the ratio has it.
        scored = now if placement == "reward" and weight != "ratio" else 1.0
        return chance @ (weights * penalty * scored)

    return of


@given(seeds, st.sampled_from(USES), st.booleans())
def test_expected_gradient_is_the_slope_of_the_surrogate(seed, use, stale):
    p, q, b = triple(seed)
    estimator, placement, weight = use
    got = kl.expected_gradient(
        p,
        q,
        estimator=estimator,
        placement=placement,
        weight=weight,
        behaviour_logits=b if stale else None,
    )
    wanted = slope(surrogate(p, q, b if stale else p, *use), p)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def kl_pq(p, q):
    return rel_entr(p, q).sum()


def mean_k2(p, q):
    return p @ np.log(p / q) ** 2 / 2


def chi2(p, q):
    return ((p - q) ** 2 / q).sum()


# Of each use on fresh samples: what its expected gradient is the gradient of.
EQUALS = {
    ("k1", "loss", None): lambda p, q: 0.0,
    ("k2", "loss", None): kl_pq,
    ("k3", "loss", None): lambda p, q: kl_pq(q, p),
    ("abs", "loss", None): lambda p, q: np.abs(p - q).sum(),
    ("k3_inverted", "loss", None): lambda p, q: chi2(p, q) / 2,
    ("k1", "loss", "ratio"): kl_pq,
    ("k2", "loss", "ratio"): mean_k2,
    ("k3", "loss", "ratio"): kl_pq,
    ("abs", "loss", "ratio"): lambda p, q: p @ np.abs(np.log(p / q)),
    ("k3_inverted", "loss", "ratio"): lambda p, q: chi2(p, q) - kl_pq(p, q),
    ("k2", "loss", "detached"): kl_pq,
    ("k1", "reward", None): kl_pq,
    ("k2", "reward", None): lambda p, q: mean_k2(p, q) - kl_pq(p, q),
    ("k3", "reward", None): lambda p, q: kl_pq(p, q) - kl_pq(q, p),
}


@given(seeds, st.sampled_from(list(EQUALS)), st.booleans())
def test_what_each_use_is_the_gradient_of(seed, use, stale):
    p, q, b = triple(seed)
    estimator, placement, weight = use
    wanted = slope(lambda z: EQUALS[use](softmax(z), softmax(q)), p)
    got = kl.expected_gradient(
        p,
        q,
        estimator=estimator,
        placement=placement,
        weight=weight,
        behaviour_logits=b if stale and weight else None,
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


@given(seeds)
def test_k1_as_a_loss_on_stale_samples_repels(seed):
    p, q, b = triple(seed)
    got = kl.expected_gradient(p, q, estimator="k1", placement="loss", behaviour_logits=b)
    np.testing.assert_allclose(got, -kl.kl_gradient(p, b, divergence="reverse_kl"), atol=1e-14)


@given(seeds, st.sampled_from(USES), st.booleans())
def test_mean_and_noise_are_those_of_the_samples(seed, use, stale):
    p, q, b = triple(seed)
    estimator, placement, weight = use
    options = {"estimator": estimator, "placement": placement, "weight": weight}
    if stale:
        options["behaviour_logits"] = b
    chance = softmax(b if stale else p)
    rows = kl.sample_gradients(p, q, **options)
    mean = kl.expected_gradient(p, q, **options)
    np.testing.assert_allclose(chance @ rows, mean, rtol=1e-10, atol=1e-12)
    trace = np.trace(np.cov(rows.T, aweights=chance, ddof=0).reshape(p.size, p.size))
    np.testing.assert_allclose(kl.gradient_noise(p, q, **options), trace, rtol=1e-8, atol=1e-12)


@given(seeds, st.sampled_from([*kl.F_DIVERGENCES, "alpha"]))
def test_gradient_of_a_divergence(seed, name):
    p, q, _ = triple(seed)
    divergence = kl.alpha_divergence(0.3) if name == "alpha" else name
    wanted = slope(lambda z: kl.f_divergence(softmax(z), softmax(q), divergence), p)
    got = kl.kl_gradient(p, q, divergence=divergence)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    assert abs(got.sum()) < 1e-13


@given(seeds)
def test_batches_and_scores_of_three_uses_are_one(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(2, 3, 1, 4)), rng.normal(size=(5, 4))
    one, two, three = (
        kl.sample_gradients(p, q, estimator=e, placement=place, weight=w)
        for e, place, w in (
            ("k1", "reward", None),
            ("k2", "loss", None),
            ("k3", "loss", "ratio"),
        )
    )
    assert one.shape == (2, 3, 5, 4, 4)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
    np.testing.assert_allclose(
        kl.kl_gradient(p, q)[1, 2, 3], kl.kl_gradient(p[1, 2, 0], q[3]), atol=1e-15
    )
    mean = kl.expected_gradient(p, q, estimator="k3", placement="loss")
    np.testing.assert_allclose(mean, kl.kl_gradient(p, q, divergence="reverse_kl"), atol=1e-14)
    assert kl.gradient_noise(p, q, estimator="k3", placement="loss").shape == (2, 3, 5)


def test_a_live_ratio_of_k3_keeps_its_digits_where_the_parts_cancel():
    p, q = np.array([-50.0, 0.0]), np.array([0.0, 0.0])
    row = kl.sample_gradients(p, q, estimator="k3", placement="loss", weight="ratio")[0]
    np.testing.assert_allclose(row, [-50 + np.log(2), 50 - np.log(2)], rtol=1e-13)


def test_float32_and_integers_are_computed_in_float64():
    p = np.array([0, 1, 2], dtype=np.float32)
    got = kl.kl_gradient(p, [0, 0, 0])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, kl.kl_gradient(p.astype(float), np.zeros(3)))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"p_logits": [0.0, np.nan]}, ValueError, "p_logits"),
        ({"p_logits": [0.0, -np.inf]}, ValueError, "p_logits must be finite"),
        ({"q_logits": [0.0, -np.inf]}, ValueError, "q_logits must be finite"),
        ({"q_logits": [0.0, 0.0, 0.0]}, ValueError, "same outcomes"),
        ({"behaviour_logits": [0.0]}, ValueError, "behaviour_logits"),
        ({"p_logits": ["a", "b"]}, TypeError, "p_logits"),
        ({"estimator": "k4"}, ValueError, "estimator must be 'k1'"),
        ({"placement": "both"}, ValueError, "placement must be 'loss' or 'reward'"),
        ({"weight": True}, ValueError, "weight must be None"),
        ({"p_logits": [-800.0, 0.0]}, ValueError, "overflows"),
    ],
)
@pytest.mark.parametrize("function", [kl.expected_gradient, kl.sample_gradients, kl.gradient_noise])
def test_bad_input_of_a_use(function, change, error, match):
    good = {"p_logits": [0.0, 1.0], "q_logits": [0.0, 0.0]}
    with pytest.raises(error, match=match):
        function(**{**good, "estimator": "k3", "placement": "loss", **change})


def test_batch_axes_of_three_arrays_must_broadcast():
    with pytest.raises(ValueError, match="must broadcast together"):
        kl.expected_gradient(
            np.zeros(2),
            np.zeros((2, 2)),
            estimator="k1",
            placement="loss",
            behaviour_logits=np.zeros((3, 2)),
        )


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"divergence": "forward"}, ValueError, "divergence must be one of kl, reverse_kl"),
        ({"divergence": np.log}, TypeError, "a name or an FDivergence"),
        ({"p_logits": [800.0, 0.0]}, ValueError, "overflows"),
        ({"p_logits": [-800.0, 0.0]}, ValueError, "overflows"),
        ({"p_logits": [-800.0, 0.0], "divergence": "chi2"}, ValueError, "^p_logits must be nearer"),
        ({"q_logits": [np.inf, 0.0]}, ValueError, "q_logits"),
        (
            {"divergence": kl.FDivergence("scalar", np.log, lambda u: np.ones(7))},
            ValueError,
            "^what df returns and p/q must have the same shape",
        ),
        (
            {"divergence": kl.FDivergence("nan", np.log, lambda u: u + np.nan)},
            ValueError,
            "overflows",
        ),
    ],
)
def test_bad_input_of_a_divergence(change, error, match):
    with pytest.raises(error, match=match):
        kl.kl_gradient(**{"p_logits": [0.0, 1.0], "q_logits": [0.0, 0.0], **change})


# The leash test.


def test_the_instance():
    p, q = kl.leash_example()
    assert round(float(kl.kl_from_logits(p, q)), 4) == 0.0514


@pytest.mark.parametrize(("estimator", "placement", "weight"), USES)
def test_exact_descent_is_what_it_says(estimator, placement, weight):
    use = {"estimator": estimator, "placement": placement, "weight": weight}
    p, q = kl.leash_example()
    got = kl.follow_penalty(p, q, **use, steps=3, step_size=0.2)
    wanted = [kl.kl_from_logits(p, q)]
    for _ in range(3):
        p = p - 0.2 * kl.expected_gradient(p, q, **use)
        wanted.append(kl.kl_from_logits(p, q))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_sampled_descent_is_what_it_says():
    p, q = kl.leash_example()
    use = {"estimator": "k3", "placement": "loss"}
    rng = np.random.default_rng(3)
    got = kl.follow_penalty(p, q, **use, steps=4, batch_size=16, rng=np.random.default_rng(3))
    wanted = [kl.kl_from_logits(p, q)]
    for _ in range(4):
        share = rng.multinomial(16, softmax(p)) / 16
        p = p - 0.5 * share @ kl.sample_gradients(p, q, **use)
        wanted.append(kl.kl_from_logits(p, q))
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_runs_are_independent_and_one_that_overflows_ends_there():
    p, q = kl.leash_example()
    start = np.stack([p, q])
    use = {"estimator": "k3", "placement": "reward", "steps": 3000}
    paths = kl.follow_penalty(start, q, **use)
    assert paths.shape == (3001, 2)
    ended = np.isnan(paths[:, 0])
    assert ended[-1]
    assert (np.diff(ended.astype(int)) >= 0).all()
    np.testing.assert_allclose(paths[:, 1], 0, atol=1e-15)
    # No outcome that is nearly gone is ever sampled, so that nothing overflows.
    sampled = kl.follow_penalty(start, q, **use, batch_size=4, rng=np.random.default_rng(0))
    assert np.isfinite(sampled).all()


def test_a_sampled_run_that_overflows_ends_and_lets_the_others_run():
    q = np.array([[0.0, -705.0], [0.0, 0.0]])
    use = {"estimator": "k3_inverted", "placement": "reward", "steps": 3, "step_size": 1e10}
    rng = np.random.default_rng(0)
    path = kl.follow_penalty([0.0, 0.0], q, **use, batch_size=4, rng=rng)
    assert np.isnan(path[1:, 0]).all()
    np.testing.assert_array_equal(path[:, 1], 0)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"steps": 0}, ValueError, "steps must be positive"),
        ({"steps": 1.5}, TypeError, "steps"),
        ({"step_size": 0}, ValueError, "step_size must be positive"),
        ({"step_size": np.inf}, ValueError, "step_size must be positive and finite"),
        ({"step_size": "1"}, TypeError, "step_size"),
        ({"batch_size": 4}, ValueError, "given together"),
        ({"rng": np.random.default_rng(0)}, ValueError, "given together"),
        ({"batch_size": 4, "rng": 0}, TypeError, "rng"),
        ({"batch_size": 0, "rng": np.random.default_rng(0)}, ValueError, "batch_size"),
        ({"estimator": "kl"}, ValueError, "estimator"),
        ({"p_logits": [0.0, -np.inf]}, ValueError, "p_logits"),
    ],
)
def test_bad_input_of_the_leash_test(change, error, match):
    good = {"p_logits": [0.0, 1.0], "q_logits": [0.0, 0.0]}
    with pytest.raises(error, match=match):
        kl.follow_penalty(**{**good, "estimator": "k3", "placement": "loss", **change})


def test_the_names_of_the_penalties_are_those_of_the_tests():
    assert list(gradients._PENALTIES) == list(PENALTIES)
