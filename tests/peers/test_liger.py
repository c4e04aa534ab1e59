"""`grpo_loss` on PyTorch tensors against Liger Kernel's, in value and in gradient."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOFunction

import kltutorial as kl
from kltutorial._numerics import exp_gap

AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo")
CASES = list(product(AGGREGATIONS, (False, True)))
BATCHES = 50
TOLERANCE = 1e-12


def random_batch(seed: int) -> dict:
    """Log-probabilities in float64, near each other or far apart, with a ragged mask."""
    rng = np.random.default_rng(seed)
    samples, tokens = rng.integers(1, 9), rng.integers(1, 17)
    logp = -rng.exponential(2, (samples, tokens))
    spread = 10.0 ** rng.uniform(-4, 0)
    old, ref = logp + spread * rng.normal(size=(2, samples, tokens))
    lengths = rng.integers(1, tokens + 1, samples)
    mask = np.arange(tokens) < lengths[:, None]
    arrays = {
        "logp": logp,
        "logp_old": None if seed % 5 == 0 else old,
        "logp_ref": ref,
        "advantages": rng.normal(size=samples),
        "mask": mask,
    }
    tensors = {name: None if a is None else torch.as_tensor(a) for name, a in arrays.items()}
    options = {
        "beta": float(rng.choice([0.0, 0.04, 1.0])),
        "clip": (float(rng.uniform(0.01, 0.5)), float(rng.uniform(0.01, 0.5))),
        "max_length": int(tokens + rng.integers(0, 5)),
        "total_tokens": int(mask.sum() + rng.integers(0, 50)),
    }
    return {**tensors, **options}


def ours(batch, aggregation, weight_kl):
    batch = {**batch, "logp": batch["logp"].clone().requires_grad_()}
    result = kl.grpo_loss(**batch, aggregation=aggregation, weight_kl=weight_kl)
    result.loss.backward()
    return result, batch["logp"].grad


def ligers(batch, aggregation, weight_kl):
    logp = batch["logp"].clone().requires_grad_()
    mask = batch["mask"].double()
    # Its DAPO counts in float32, and divides by what it counts itself unless it is told.
    total = torch.tensor(batch["total_tokens"], dtype=torch.float64)
    loss, metrics = LigerFusedLinearGRPOFunction.ppo_loss_fn(
        logp,
        mask,
        batch["advantages"],
        mask,
        ref_per_token_logps=batch["logp_ref"],
        old_per_token_logps=batch["logp_old"],
        epsilon_low=batch["clip"][0],
        epsilon_high=batch["clip"][1],
        beta=batch["beta"],
        loss_type=aggregation,
        max_completion_length=batch["max_length"],
        use_bias_correction_kl=weight_kl,
        num_items_in_batch=total,
    )
    loss.backward()
    return loss.detach(), [metric.detach() for metric in metrics], logp.grad


def disagreement(ours, theirs) -> float:
    """Largest difference, relative to the largest number where that exceeds 1."""
    scale = max(1.0, float(theirs.abs().max()))
    return float((ours - theirs).abs().max()) / scale


@pytest.fixture(scope="module")
def table():
    """Largest disagreements in (loss, gradient, kl, clip fraction), by case; printed at the end."""
    rows = {}
    yield rows
    print("\n\naggregation  weight_kl   loss      gradient  kl        clip fraction")
    for (aggregation, weight_kl), row in rows.items():
        print(f"{aggregation:<11}  {weight_kl!s:<9}  ", *(f"{x:<9.1e}" for x in row))


@pytest.mark.parametrize(("aggregation", "weight_kl"), CASES)
def test_value_and_gradient_agree_with_liger(table, aggregation, weight_kl):
    worst = np.zeros(4)
    for seed in range(BATCHES):
        batch = random_batch(seed)
        result, gradient = ours(batch, aggregation, weight_kl)
        loss, metrics, their_gradient = ligers(batch, aggregation, weight_kl)
        pairs = [(result.loss.detach(), loss), (gradient, their_gradient)]
        pairs += [(result.kl, metrics[0])] if batch["beta"] else []
        found = [disagreement(*pair) for pair in pairs] + [0.0] * (3 - len(pairs))
        worst = np.maximum(worst, [*found, disagreement(result.clip_fraction, metrics[-1])])
    table[aggregation, weight_kl] = worst
    assert worst.max() <= TOLERANCE


def test_the_batches_exercise_the_clip_on_both_sides():
    fractions = [
        float(ours(random_batch(seed), "grpo", False)[0].clip_fraction) for seed in range(BATCHES)
    ]
    assert min(fractions) == 0
    assert max(fractions) > 0.2


@pytest.mark.parametrize(("aggregation", "weight_kl"), CASES)
def test_numpy_gives_the_same_numbers(aggregation, weight_kl):
    for seed in range(10):
        batch = random_batch(seed)
        tensor, _ = ours(batch, aggregation, weight_kl)
        arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        array = kl.grpo_loss(**arrays, aggregation=aggregation, weight_kl=weight_kl)
        for name in ("loss", "policy_loss", "kl_loss", "kl", "clip_fraction"):
            got, expected = float(getattr(array, name)), float(getattr(tensor, name).detach())
            assert got == pytest.approx(expected, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("penalty", ["k1", "k2", "k3"])
@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("weight_kl", [False, True])
def test_the_gradient_is_that_of_finite_differences(penalty, stale, weight_kl):
    if penalty == "k2" and weight_kl:
        return
    batch = random_batch(7)
    # Unless it is stated, the old policy is the one at the point of differentiation.
    old = batch["logp_old"] if stale else batch["logp"].clone()
    batch |= {"logp_old": old, "clip": (5.0, 5.0), "beta": 0.5}

    def loss(logp):
        return kl.grpo_loss(**{**batch, "logp": logp}, kl=penalty, weight_kl=weight_kl).loss

    logp = batch["logp"].clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (logp,), eps=1e-6, atol=1e-8)
    if not stale:
        with_none = logp.detach().clone().requires_grad_()
        options = {**batch, "logp": with_none, "logp_old": None}
        kl.grpo_loss(**options, kl=penalty, weight_kl=weight_kl).loss.backward()
        loss(logp).backward()
        torch.testing.assert_close(with_none.grad, logp.grad, rtol=0, atol=1e-15)


def test_masked_entries_are_read_neither_in_value_nor_in_gradient():
    for seed in range(1, 20):
        clean = random_batch(seed)
        hole = ~clean["mask"]
        dirty = dict(clean)
        for name in ("logp", "logp_old", "logp_ref"):
            if clean[name] is not None:
                dirty[name] = clean[name].masked_fill(hole, float("nan"))
        for aggregation, weight_kl in CASES:
            expected, expected_gradient = ours(clean, aggregation, weight_kl)
            got, gradient = ours(dirty, aggregation, weight_kl)
            assert got.loss == expected.loss
            assert torch.equal(gradient, expected_gradient)
            assert (gradient[hole] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_penalty_and_its_gradient_keep_their_digits_near_zero(dtype):
    size = torch.logspace(-12, 1.5, 500, dtype=torch.float64)
    x = torch.cat([-size, torch.zeros(1, dtype=torch.float64), size]).to(dtype).requires_grad_()
    gap = exp_gap(x)
    gap.sum().backward()
    exact = torch.as_tensor(kl.k3(np.zeros(len(x)), x.detach().double().numpy()))
    slope = torch.expm1(x.detach().double())
    rtol = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(gap.detach().double(), exact, rtol=rtol, atol=0)
    torch.testing.assert_close(x.grad.double(), slope, rtol=rtol, atol=0)


@pytest.mark.parametrize("extreme", [90.0, 800.0, 1e30, -800.0, -1e30])
def test_far_from_zero_the_gradient_is_no_nan(extreme):
    x = torch.tensor([extreme, 1e-3], dtype=torch.float64, requires_grad=True)
    exp_gap(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.expm1(x.detach()))


def test_half_precision_is_computed_in_float32_and_the_gradient_comes_back():
    batch = random_batch(3)
    for dtype in (torch.bfloat16, torch.float16):
        logp = batch["logp"].to(dtype).requires_grad_()
        result = kl.grpo_loss(**{**batch, "logp": logp, "logp_old": None, "beta": 0.1})
        result.loss.backward()
        assert logp.grad.dtype == dtype
        assert result.kl.dtype == torch.float64  # that of the reference


def test_what_is_no_tensor_follows_the_log_probabilities():
    batch = random_batch(3)
    expected, _ = ours(batch, "grpo", False)
    lists = {name: batch[name].tolist() for name in ("logp_ref", "advantages", "mask")}
    assert ours({**batch, **lists}, "grpo", False)[0].loss == expected.loss


def test_logged_numbers_carry_no_gradient():
    result, _ = ours(random_batch(3), "grpo", True)
    assert result.loss.requires_grad
    assert result.policy_loss.requires_grad
    assert not result.kl.requires_grad
    assert not result.clip_fraction.requires_grad


def test_advantages_of_tensors_are_those_of_arrays():
    rewards = np.random.default_rng(0).normal(size=(5, 4)).round(1)
    rewards[0] = 1 / 3
    for normalize_std in (False, True):
        array = kl.group_advantages(rewards, normalize_std=normalize_std)
        tensor = kl.group_advantages(torch.as_tensor(rewards), normalize_std=normalize_std)
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("logp", torch.zeros(2, 3, dtype=torch.complex64), TypeError),
        ("mask", torch.ones(2, 3), TypeError),
        ("advantages", torch.tensor([1.0, float("nan")]), ValueError),
        ("logp_ref", torch.zeros(2, 2), ValueError),
        ("logp_old", torch.full((2, 3), float("nan")), ValueError),
    ],
)
def test_bad_tensors_are_refused_by_name(name, value, error):
    zeros = torch.zeros(2, 3)
    good = {"logp": zeros, "logp_old": zeros, "logp_ref": zeros, "advantages": torch.ones(2)}
    good["mask"] = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(error, match=f"^{name} "):
        kl.grpo_loss(**{**good, name: value}, beta=0.1)
