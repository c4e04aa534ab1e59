"""Released trainers: how their penalties and losses are called, and what the audit finds.

What is expected was found by running, and compared with the source.  It is what the versions
that are pinned in ``trainers.txt`` do; a version that does otherwise fails the test.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import kltutorial as kl
from tests.peers.wheels import assigned, load

AGGREGATIONS = ("grpo", "bnpo", "dapo", "dr_grpo")


@dataclass(frozen=True)
class Facts:
    """What an audit says of a penalty, as far as it is compared.

    Divergences are those of `AuditReport`; p is the policy, q the reference, b the policy that
    wrote the samples.  `far` is the value, and the slope, at log p - log q = -100 in float32, and
    `digits` what is left of the digits of float32 where log p - log q is small.  `codes` are
    those of findings that the other facts don't imply.
    """

    estimator: str | None = None
    weight: str | None = None
    value: str | None = None
    loss: str | None = None
    stale: str | None = None
    reward: str | None = None
    clamps: tuple[str, ...] = ()
    far: tuple[str, str] = ("", "")
    digits: int = 7
    codes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Penalty:
    """A penalty that a trainer offers: its names there, and what it does.

    A name may have a remark of ours, in parentheses; the page explains it.  `get` takes one of
    the names, and returns a function of log-probabilities `logp` of the policy, `logq` of the
    reference, and, if it wants them, `logb` of the policy that wrote the samples, and `mask`.
    """

    names: tuple[str, ...]
    get: Callable[[str], Callable[..., Any]]
    expected: Facts
    place: str = ""  # "loss" or "reward", where the trainer uses it nowhere else
    backend: str = "torch"


@dataclass(frozen=True)
class Loss:
    """A whole loss, and what it does, in each of the aggregations.

    `get` returns a function of what `grpo_loss` takes, `aggregation` and `weight_kl` among it.
    """

    get: Callable[[], Callable[..., Any]]
    codes: frozenset[str]
    weights: tuple[bool, ...] = (False, True)  # whether the penalty is multiplied with the ratio


@dataclass(frozen=True)
class Trainer:
    """What is audited of one trainer."""

    name: str
    package: str
    functions: tuple[str, ...]
    penalties: tuple[Penalty, ...]
    loss: Loss | None = None
    note: str = ""


@cache
def audit(penalty: Penalty, name: str) -> kl.AuditReport:
    """Audit a penalty under one of its names."""
    function = penalty.get(name)
    arguments = {parameter: parameter for parameter in inspect.signature(function).parameters}
    return kl.audit_kl(function, arguments=arguments, backend=penalty.backend)


# What value, gradients, clamps and weight say already.
_IMPLIED = {
    *("identified", "value-biased", "other-divergence", "weighted", "straight-through"),
    *("loss-no-force", "loss-other-divergence", "reward-other-divergence", "no-gradient"),
    *("clamp-saturates", "overflow", "precision-float32", "precision-bfloat16"),
}


def facts(report: kl.AuditReport) -> Facts:
    """Return what is compared of a report."""
    # That on stale samples the gradient is another one is a note, and a fact of its own.
    codes = {
        finding.code
        for finding in report.findings
        if finding.code not in _IMPLIED
        and (finding.code, finding.severity) != ("off-policy-uncorrected", "note")
    }
    lost = [f.numbers["digits_lost"] for f in report.findings if f.code == "precision-float32"]
    far = ("", "")
    if report.extremes:
        _, value, slope = report.extremes[0]
        # Differences of numbers that are infinite, or were rounded, are no slopes to compare.
        far = (f"{value:.4g}", f"{slope:.4g}" if report.backend == "torch" else "")
    return Facts(
        estimator=report.estimator,
        weight=report.weight,
        value=report.value_of,
        loss=report.loss_gradient_of,
        stale=report.off_policy_gradient_of,
        reward=report.reward_gradient_of,
        clamps=tuple(map(str, report.clamps)),
        far=far,
        digits=round(24 * np.log10(2) - sum(lost)),
        codes=frozenset(codes),
    )


@cache
def audit_loss(loss: Loss, aggregation: str, weight_kl: bool) -> kl.GRPOAuditReport:
    """Audit a whole loss with one choice of its options."""
    function = loss.get()

    def chosen(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length):
        arrays = {"logp": logp, "logp_old": logp_old, "logp_ref": logp_ref}
        arrays |= {"advantages": advantages, "mask": mask}
        numbers = {"beta": beta, "clip": clip, "max_length": max_length}
        return function(**arrays, **numbers, aggregation=aggregation, weight_kl=weight_kl)

    return kl.audit_grpo_loss(chosen, clip=(0.2, 0.3), backend="torch")


def inside(loss: Callable[..., Any], *, weight_kl: bool) -> Callable[..., Any]:
    """Return the penalty that is inside a loss: of batches of one token, without advantage."""

    def weighted(logp, logq, logb):
        losses = [
            loss(
                logp=p.view(1, 1),
                logp_old=b.view(1, 1),
                logp_ref=q.view(1, 1),
                advantages=p.new_zeros(1),
                mask=torch.ones(1, 1, dtype=torch.bool),
                beta=1.0,
                clip=(0.2, 0.3),
                max_length=1,
                aggregation="grpo",
                weight_kl=weight_kl,
            )
            for p, q, b in zip(logp.flatten(), logq.flatten(), logb.flatten(), strict=True)
        ]
        return torch.stack(losses).view(logp.shape)

    def plain(logp, logq):
        return weighted(logp, logq, logp.detach())

    return weighted if weight_kl else plain


# --- Liger ---------------------------------------------------------------------------------------

LIGER = "liger_kernel/chunked_loss/grpo_loss.py"


def liger_k3(name):
    k3 = load("liger-kernel", LIGER, "k3_loss_fn")
    return lambda logp, logq: k3(logq, logp)  # the reference comes first


def liger_loss():
    base = "LigerFusedLinearPPOBase"
    divisor = load(
        "liger-kernel",
        "liger_kernel/chunked_loss/fused_linear_ppo.py",
        f"{base}._compute_dapo_normalizer",
    )
    ppo_loss = load(
        "liger-kernel",
        LIGER,
        "k3_loss_fn",
        "clip_coef_fn",
        "LigerFusedLinearGRPOFunction.ppo_loss_fn",
        **{base: SimpleNamespace(_compute_dapo_normalizer=divisor)},
    )

    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length, **options):
        result, _ = ppo_loss(
            logp,
            mask.to(logp.dtype),
            advantages,
            mask.to(logp.dtype),
            ref_per_token_logps=logp_ref,
            old_per_token_logps=logp_old,
            epsilon_low=clip[0],
            epsilon_high=clip[1],
            beta=beta,
            loss_type=options["aggregation"],
            max_completion_length=max_length,
            use_bias_correction_kl=options["weight_kl"],
        )
        return result

    return loss


# --- TRL -----------------------------------------------------------------------------------------


def trl_loss():
    """`_compute_loss`, given the log-probabilities that it would get from the model.

    Of the trainer it needs its settings: here those of one process without accumulation, and
    the defaults of `GRPOConfig` but for what is audited.  What it logs goes nowhere.
    """
    compute_loss = load(
        "trl",
        "trl/trainer/grpo_trainer.py",
        "GRPOTrainer._compute_loss",
        nanmin=torch.min,  # of logged numbers
        nanmax=torch.max,
    )

    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length, **options):
        trainer = SimpleNamespace(
            _get_per_token_logps_and_entropies=lambda *_, **__: (
                logp,
                torch.zeros_like(logp),
                None,
            ),
            accelerator=SimpleNamespace(
                num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x
            ),
            args=SimpleNamespace(
                use_bias_correction_kl=options["weight_kl"], delta=None, steps_per_generation=1
            ),
            aux_loss_enabled=False,
            beta=beta,
            current_gradient_accumulation_steps=1,
            epsilon_low=clip[0],
            epsilon_high=clip[1],
            importance_sampling_level="token",
            loss_type=options["aggregation"],
            max_completion_length=max_length,
            model=SimpleNamespace(training=True),
            off_policy_mask_threshold=None,
            top_entropy_quantile=1.0,
            use_vllm=False,
            _entropy_bonus_enabled=False,
            _metrics=defaultdict(lambda: defaultdict(list)),
        )
        ids = torch.zeros(logp.shape, dtype=torch.long)
        inputs = {
            "prompt_ids": ids[:, :0],
            "prompt_mask": ids[:, :0],
            "completion_ids": ids,
            "completion_mask": mask.long(),
            "advantages": advantages,
            "old_per_token_logps": logp_old,
            "ref_per_token_logps": logp_ref,
            "num_items_in_batch": mask.sum(),
        }
        return compute_loss(trainer, None, inputs)

    return loss


def trl_rloo(name):
    """The line of RLOO that computes it: what is around it needs a model and its samples."""
    where = ("trl", "trl/trainer/rloo_trainer.py", "RLOOTrainer._generate_and_score_completions")

    def penalty(logp, logq):
        logps = {"old_per_token_logps": logp, "ref_per_token_logps": logq}
        return assigned(*where, "per_token_kl", **logps)

    return penalty


# --- verl, OpenRLHF, SkyRL, AReaL ----------------------------------------------------------------


def verl(name):
    kl_penalty = load("verl", "verl/trainer/ppo/core_algos.py", "kl_penalty_forward", "kl_penalty")
    return lambda logp, logq: kl_penalty(logp, logq, name)


def openrlhf(name):
    names = ("KL_IS_WEIGHT_CLIP", "compute_approx_kl")
    approx_kl = load("openrlhf", "openrlhf/models/utils.py", *names)
    return lambda logp, logq: approx_kl(logp, logq, kl_estimator=name)


def openrlhf_unbiased(name):
    names = ("KL_IS_WEIGHT_CLIP", "compute_approx_kl")
    approx_kl = load("openrlhf", "openrlhf/models/utils.py", *names)
    options = {"kl_estimator": name.partition(" ")[0], "unbiased_gradient": True}
    return lambda logp, logq, logb: approx_kl(logp, logq, logb, **options)


def skyrl(name):
    """As it is called, in the loss and for the reward: with a mask."""
    where = ("skyrl", "skyrl/backends/skyrl_train/utils/ppo_utils.py")
    approx_kl = load(*where, "compute_approx_kl")
    return lambda logp, logq, mask: approx_kl(logp, logq, mask, kl_estimator_type=name)


def areal(name):
    approx_kl = load("areal", "areal/utils/data.py", "KLEstimator._compute_approx_kl")
    return lambda logp, logq: approx_kl(logp, logq, name)


# --- ms-swift, unsloth_zoo -----------------------------------------------------------------------


def swift_loss():
    """`_compute_loss_and_metrics`, with the trainer replaced as for TRL."""
    where = ("ms-swift", "swift/rlhf_trainers/grpo_trainer.py")
    compute_loss = load(
        *where,
        "WINDOW_NORMALIZED_LOSS_TYPES",
        "GRPOTrainer._compute_loss_and_metrics",
        gather_object=lambda objects: objects,
        nanmin=torch.min,  # of logged numbers
        nanmax=torch.max,
    )

    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length, **options):
        assert not options["weight_kl"]  # it does not have this
        trainer = SimpleNamespace(
            _get_per_token_logps_and_entropies=lambda *_, **__: (logp, None),
            _has_teacher=False,
            _undo_gradient_accumulation_scaling=lambda loss: loss,
            accelerator=SimpleNamespace(num_processes=1, gather_for_metrics=lambda x: x),
            args=SimpleNamespace(delta=None),
            beta=beta,
            chord_sft_iterator=None,
            compute_entropy=False,
            disable_rollout_importance_sampling=False,
            epsilon_low=clip[0],
            epsilon_high=clip[1],
            importance_sampling_level="token",
            kl_in_reward=False,
            log_rollout_offpolicy_metrics=False,
            loss_type=options["aggregation"],
            max_completion_length=max_length,
            model=SimpleNamespace(training=True),
            off_policy_sequence_mask_delta=None,
            overlong_filter=False,
            rollout_importance_sampling_mode=None,
            sdar_loss_coef=0.0,
        )
        batch = SimpleNamespace(
            advantages=advantages[:, None].expand_as(logp),
            completion_mask=mask,
            num_items_in_batch=mask.sum(),
            old_per_token_logps=logp_old,
            ref_per_token_logps=logp_ref,
            rollout_per_token_logps=None,
            truncated_mask=None,
        )
        return compute_loss(trainer, None, {}, batch)[0]

    return loss


def unsloth_loss():
    compute_loss = load("unsloth-zoo", "unsloth_zoo/rl_replacements.py", "grpo_compute_loss")

    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length, **options):
        result, *_ = compute_loss(
            logp_ref,
            logp,
            logp_old,
            None,
            torch.zeros(mask.shape, dtype=torch.long),
            mask,
            beta,
            advantages,
            loss_type=options["aggregation"],
            epsilon_low=clip[0],
            epsilon_high=clip[1],
            max_completion_length=max_length,
            num_items_in_batch=mask.sum(),
            use_bias_correction_kl=options["weight_kl"],
        )
        return result

    return loss


# --- Tunix, tinker-cookbook ----------------------------------------------------------------------


def tunix(name):
    """Written for JAX; what it asks of its arrays and of `jax.numpy`, NumPy has too."""
    divergence = load("google-tunix", "tunix/rl/common.py", "compute_kl_divergence", jnp=np)
    return lambda logp, logq: divergence(logp, logq, name)


def tinker(name):
    """What `incorporate_kl_penalty` takes off the advantages; the batch mean is added back."""

    def penalty(logp, logq):
        async def score_sequences(client, sequences):
            return [[0.0, *logq.flatten().tolist()]], None

        class Data(SimpleNamespace):
            def to_torch(self):
                return self.tensor

        incorporate = load(
            "tinker-cookbook",
            "tinker_cookbook/rl/metrics.py",
            "incorporate_kl_penalty",
            score_sequences=score_sequences,
            _full_sequence_inputs=lambda data: data,
            safezip=lambda *lists: zip(*lists, strict=True),
            tinker=SimpleNamespace(
                TensorData=SimpleNamespace(from_torch=lambda tensor: Data(tensor=tensor))
            ),
        )
        flat = logp.flatten()
        arrays = {"logprobs": flat, "mask": torch.ones_like(flat)}
        arrays |= {"advantages": torch.zeros_like(flat)}
        inputs = {name: Data(tensor=tensor) for name, tensor in arrays.items()}
        metrics, _ = asyncio.run(
            incorporate([SimpleNamespace(loss_fn_inputs=inputs)], None, 1.0, 0.0)
        )
        return (metrics["kl_policy_base"] - inputs["advantages"].to_torch()).view(logp.shape)

    return penalty


# --- What they do --------------------------------------------------------------------------------

KL, REVERSE = "KL(p||q)", "KL(q||p)"
CANCEL = f"{KL} - {REVERSE}"
NO_PULL = frozenset({"clamp-zero-gradient"})

K1 = Facts("k1", None, KL, "0", "-KL(b||p)", KL, far=("-100", "1"))
ABS = Facts("abs", None, "E[|k1|]", "2 TV(p,q)", None, "E[|k1|] - 2 TV(p,q)", far=("100", "-1"))
K2 = Facts("k2", None, "E[k2]", KL, None, f"E[k2] - {KL}", far=("5000", "-100"))
K3 = Facts("k3", None, KL, REVERSE, None, CANCEL, far=("inf", "-inf"), digits=0)

# The value is limited to 10: beyond these log-ratios.
UPPER_10 = (
    "10 where log p - log q < -2.611",
    "10 where log p - log q > 11",
)
K1_10 = replace(
    K1,
    clamps=(
        "-10 where log p - log q < -10",
        "10 where log p - log q > 10",
    ),
    far=("-10", "0"),
    codes=NO_PULL,
)
K2_10 = replace(
    K2,
    clamps=(
        "10 where log p - log q < -4.472",
        "10 where log p - log q > 4.472",
    ),
    far=("10", "0"),
    codes=NO_PULL,
)
K3_10 = replace(K3, clamps=UPPER_10, far=("10", "0"), codes=NO_PULL)

# Value as it is, gradient of k2, which no clamp limits.
BY_K2 = {"loss": KL, "weight": "straight-through"}
UNWEIGHTED_VALUE = frozenset({"off-policy-uncorrected"})

TRAINERS = (
    Trainer(
        "TRL",
        "trl",
        ("GRPOTrainer._compute_loss", "RLOOTrainer._generate_and_score_completions"),
        (
            Penalty(
                ("GRPO (corrected)",),
                lambda name: inside(trl_loss(), weight_kl=True),
                replace(K3, weight="ratio", loss=KL, stale=KL, far=("inf", "nan")),
                place="loss",
            ),
            Penalty(
                ("GRPO",),
                lambda name: inside(trl_loss(), weight_kl=False),
                K3,
                place="loss",
            ),
            Penalty(("RLOO",), trl_rloo, K1, place="reward"),
        ),
        Loss(trl_loss, frozenset({"mask-leak", "implements"})),
        "the loss as it is; of RLOO, the line that computes the penalty",
    ),
    Trainer(
        "Liger",
        "liger-kernel",
        ("k3_loss_fn", "LigerFusedLinearGRPOFunction.ppo_loss_fn"),
        (
            Penalty(("k3_loss_fn",), liger_k3, K3, place="loss"),
            Penalty(
                ("ppo_loss_fn (corrected)",),
                lambda name: inside(liger_loss(), weight_kl=True),
                replace(K3, weight="ratio", loss=KL, stale=KL, far=("inf", "nan")),
                place="loss",
            ),
            Penalty(
                ("ppo_loss_fn",),
                lambda name: inside(liger_loss(), weight_kl=False),
                K3,
                place="loss",
            ),
        ),
        Loss(liger_loss, frozenset({"mask-leak", "implements"})),
    ),
    Trainer(
        "unsloth_zoo",
        "unsloth-zoo",
        ("grpo_compute_loss",),
        (
            Penalty(
                ("GRPO (corrected)",),
                lambda name: inside(unsloth_loss(), weight_kl=True),
                replace(K3_10, weight="ratio", loss=KL, stale=KL, digits=3),
                place="loss",
            ),
            Penalty(
                ("GRPO",),
                lambda name: inside(unsloth_loss(), weight_kl=False),
                replace(K3_10, digits=3),
                place="loss",
            ),
        ),
        Loss(unsloth_loss, frozenset({"clamp-saturates", "implements"})),
    ),
    Trainer(
        "ms-swift",
        "ms-swift",
        ("GRPOTrainer._compute_loss_and_metrics",),
        (
            Penalty(
                ("GRPO",), lambda name: inside(swift_loss(), weight_kl=False), K3_10, place="loss"
            ),
        ),
        Loss(swift_loss, frozenset({"mask-leak", "clamp-saturates", "implements"}), (False,)),
    ),
    Trainer(
        "verl",
        "verl",
        ("kl_penalty",),
        (
            Penalty(("kl", "k1"), verl, K1),
            Penalty(("abs",), verl, ABS),
            Penalty(("mse", "k2", "mse+", "k2+"), verl, K2),
            Penalty(("low_var_kl", "k3"), verl, K3_10),
            Penalty(("kl+", "k1+"), verl, replace(K1, **BY_K2, stale=None, far=("-100", "-100"))),
            Penalty(("abs+",), verl, replace(ABS, **BY_K2, far=("100", "-100"))),
            Penalty(
                ("low_var_kl+", "k3+"),
                verl,
                replace(K3_10, loss=KL, weight="ratio", far=("10", "-100"), codes=frozenset()),
            ),
            Penalty(("full",), verl, Facts(codes=frozenset({"raises"}))),
        ),
    ),
    Trainer(
        "OpenRLHF",
        "openrlhf",
        ("compute_approx_kl",),
        (
            Penalty(("k1",), openrlhf, K1_10),
            Penalty(("k2",), openrlhf, K2_10),
            Penalty(("k3",), openrlhf, K3_10),
            Penalty(
                ("k1 (corrected)",),
                openrlhf_unbiased,
                replace(K1_10, **BY_K2, stale=KL, far=("-10", "-100"), codes=UNWEIGHTED_VALUE),
                place="loss",
            ),
            Penalty(
                ("k2 (corrected)",),
                openrlhf_unbiased,
                replace(K2_10, stale=KL, far=("10", "-100"), codes=UNWEIGHTED_VALUE),
                place="loss",
            ),
            Penalty(
                ("k3 (corrected)",),
                openrlhf_unbiased,
                replace(
                    K3_10,
                    weight="ratio",
                    loss=KL,
                    stale=KL,
                    far=("10", "-100"),
                    codes=UNWEIGHTED_VALUE,
                ),
                place="loss",
            ),
        ),
    ),
    Trainer(
        "SkyRL",
        "skyrl",
        ("compute_approx_kl",),
        (
            Penalty(("k1",), skyrl, K1),
            Penalty(("abs",), skyrl, ABS),
            Penalty(("k2",), skyrl, replace(K2, codes=frozenset({"mask-leak"}))),
            Penalty(("k3",), skyrl, K3_10),
        ),
    ),
    Trainer(
        "AReaL",
        "areal",
        ("KLEstimator._compute_approx_kl",),
        (
            Penalty(("k1",), areal, K1_10, place="reward"),
            Penalty(("k2",), areal, K2_10, place="reward"),
            Penalty(
                ("k3",),
                areal,
                replace(K3_10, far=("10", "nan"), codes=K3_10.codes | {"nan-gradient"}),
                place="reward",
            ),
        ),
    ),
    Trainer(
        "Tunix",
        "google-tunix",
        ("compute_kl_divergence",),
        (
            Penalty(("kl",), tunix, replace(K1, far=("-100", "")), backend="numpy"),
            Penalty(("mse_kl",), tunix, replace(K2, far=("5000", "")), backend="numpy"),
            Penalty(("low_var_kl",), tunix, replace(K3, far=("inf", "")), backend="numpy"),
        ),
        note="as it is, on NumPy in place of `jax.numpy`, with finite differences for gradients",
    ),
    Trainer(
        "tinker-cookbook",
        "tinker-cookbook",
        ("incorporate_kl_penalty",),
        (
            Penalty(
                ("advantage",), tinker, replace(K1, stale="0", far=("-100", "0")), place="reward"
            ),
        ),
        note="as it is; the mean of the batch, which it subtracts, was added back",
    ),
)
