"""The GRPO objective: group advantages, and the loss with each of its variants.

Derived in the chapter :doc:`The GRPO formula </book/grpo>`.
Log-probabilities have the shape (samples, tokens) and are those that were given to the sampled
tokens; a boolean mask says which tokens belong to a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, as_bool_array, as_float_array, detach, namespace
from kltutorial._numerics import PENALTIES

__all__ = ["GRPOLoss", "group_advantages", "grpo_loss"]

KLTerm = Literal["k1", "k2", "k3"]
Aggregation = Literal["grpo", "bnpo", "dapo", "dr_grpo"]


@dataclass(frozen=True)
class GRPOLoss:
    """What :func:`grpo_loss` returns: the loss, its two parts, and two things to log.

    Each is a scalar of the library of the log-probabilities.

    Attributes
    ----------
    loss
        ``policy_loss + beta * kl_loss``, to be minimised.
    policy_loss
        The clipped surrogate, negated and aggregated.
    kl_loss
        The penalty, aggregated in the same way; 0 without a reference.
    kl
        Mean of the penalty over all tokens that count, in nats; no gradient flows through it.
        NaN without a reference: the divergence is not 0 then, but unknown.
    clip_fraction
        Share of the tokens whose policy term has no gradient because of the clip.

    References
    ----------
    Derived in :doc:`The GRPO formula </book/grpo>`.
    """

    loss: Any
    policy_loss: Any
    kl_loss: Any
    kl: Any
    clip_fraction: Any


def group_advantages(
    rewards: Any, *, normalize_std: bool = True, ddof: int = 0, eps: float = 1e-4
) -> Array:
    r"""Advantage of each answer over its group, :math:`\hat A_i = (R_i - \bar R) / (s + \epsilon)`.

    Parameters
    ----------
    rewards : array_like or torch.Tensor
        Shape (groups, G): the rewards of G answers to each question.
    normalize_std : bool
        Divide by the standard deviation s of the group, as GRPO does and Dr. GRPO does not.
        The advantages then have no unit; otherwise they have that of the rewards.
    ddof : int
        The divisor of the variance is G - `ddof`.
    eps : float
        Added to the standard deviation, in units of the rewards; not used without it.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        Shape (groups, G).  Exactly 0 in a group whose rewards are all equal, also if `eps` is 0.

    Raises
    ------
    ValueError
        If `rewards` does not have two dimensions, has fewer than two answers to a question or
        a value that is not finite, `ddof` is not in 0..G-1, or `eps` is negative.
    TypeError
        If `rewards` is not real numbers, `ddof` not an integer, `eps` not a number, or
        `normalize_std` neither True nor False.

    Examples
    --------
    >>> group_advantages([[1.0, 0.0, 0.0, 0.0]], eps=0).round(4)
    array([[ 1.7321, -0.5774, -0.5774, -0.5774]])
    >>> group_advantages([[1.0, 0.0, 0.0, 0.0]], normalize_std=False)
    array([[ 0.75, -0.25, -0.25, -0.25]])

    References
    ----------
    DeepSeekMath (arXiv 2402.03300), section 4.1; without the standard deviation, Dr. GRPO
    (arXiv 2503.20783).  Derived in :doc:`The GRPO formula </book/grpo>`.
    """
    xp = namespace(rewards)
    rewards = as_float_array("rewards", rewards)
    if rewards.ndim != 2:
        raise ValueError(f"rewards must have shape (groups, G), got {tuple(rewards.shape)}")
    groups, size = rewards.shape
    if groups == 0 or size < 2:
        raise ValueError(
            "rewards must hold a group, and two answers or more in each: a single one has "
            f"nothing to be compared with; got shape {tuple(rewards.shape)}"
        )
    if not xp.isfinite(rewards).all():
        raise ValueError("rewards must be finite")
    _checks.boolean("normalize_std", normalize_std)
    if not 0 <= _checks.integer("ddof", ddof) < size:
        raise ValueError(f"ddof must be in 0..{size - 1}, got {ddof}")
    eps = _checks.real("eps", eps)
    if not 0 <= eps < float("inf"):
        raise ValueError(f"eps must be finite and not negative, got {eps}")
    centred = rewards - rewards.sum(axis=1)[:, None] / size
    # The mean of equal numbers is rounded; what is left over is no difference between them.
    varies = (rewards != rewards[:, :1]).any(axis=1)[:, None]
    centred = xp.where(varies, centred, xp.zeros_like(rewards))
    if not normalize_std:
        return centred
    std = ((centred**2).sum(axis=1)[:, None] / (size - ddof)) ** 0.5
    return centred / xp.where(varies, std + eps, xp.ones_like(std))


def grpo_loss(
    logp: Any,
    logp_old: Any,
    logp_ref: Any,
    advantages: Any,
    mask: Any,
    *,
    beta: float,
    clip: float | tuple[float, float] = 0.2,
    kl: KLTerm = "k3",
    weight_kl: bool = False,
    aggregation: Aggregation = "grpo",
    max_length: int | None = None,
    total_tokens: float | None = None,
) -> GRPOLoss:
    r"""Loss of GRPO: minus the clipped surrogate, plus β times the penalty.

    With :math:`\rho = \pi / \pi_{\mathrm{old}}` and :math:`r = \pi_{\mathrm{ref}} / \pi`, the loss
    of one token is

    .. math::

        -\min(\rho \hat A, \mathrm{clip}(\rho, 1 - \epsilon_l, 1 + \epsilon_h) \hat A)
        + \beta\, (r - 1 - \log r)

    Works on NumPy arrays, and on PyTorch tensors with autograd; `logp` decides.  Where the mask is
    False nothing is read, neither in the value nor in the gradient: there may be NaN.

    Parameters
    ----------
    logp : array_like or torch.Tensor
        Log-probabilities, in nats, of the sampled tokens under the policy; (samples, tokens).
    logp_old : array_like or torch.Tensor or None
        Those of the policy that wrote the samples.  None: that policy is this one, so ρ has the
        value 1 and the gradient of log π.
    logp_ref : array_like or torch.Tensor or None
        Those of the reference.  None is allowed where `beta` is 0.
    advantages : array_like or torch.Tensor
        One number per sample, shape (samples,).
    mask : array_like or torch.Tensor of bool
        True for the tokens that count; at least one in each sample.
    beta : float
        Weight of the penalty: its price per nat, in units of the advantages.
    clip : float or (float, float)
        ε, or its lower and upper value.  A lower one of 1 or more never binds.
    kl : {"k3", "k1", "k2"}
        The penalty of a token.
    weight_kl : bool
        Multiply the penalty by ρ, which is differentiated too (DeepSeek-V3.2).
    aggregation : {"grpo", "bnpo", "dapo", "dr_grpo"}
        Mean over samples of the mean over tokens; mean over the tokens of the batch; sum over
        tokens divided by `total_tokens`; sum divided by samples × `max_length`.
    max_length : int, optional
        Tokens that a sample may have, for ``"dr_grpo"``; ignored otherwise.
    total_tokens : float, optional
        Tokens that count in the global batch, of which this is a part, for ``"dapo"``; ignored
        otherwise.  None: this is all of it.

    Returns
    -------
    GRPOLoss
        With ``.loss``, ``.policy_loss``, ``.kl_loss``, ``.kl`` and ``.clip_fraction``.

    Raises
    ------
    ValueError
        If shapes differ or are empty, a sample has no token that counts, a value that counts is
        not finite, `beta` is negative, `clip` not positive, a name is unknown, something is
        missing that a choice needs, or `weight_kl` goes with ``"k2"``: the gradient would be that
        of the mean of k2, which is no KL divergence.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> logp, logp_ref = np.log([[0.5, 0.5]]), np.log([[0.25, 0.5]])
    >>> result = grpo_loss(logp, None, logp_ref, [1.0], [[True, True]], beta=0.1)
    >>> print(f"{result.policy_loss:.4f} + 0.1 * {result.kl_loss:.4f} = {result.loss:.4f}")
    -1.0000 + 0.1 * 0.0966 = -0.9903

    References
    ----------
    DeepSeekMath (arXiv 2402.03300), equations 3 and 4; DAPO (arXiv 2503.14476); Dr. GRPO
    (arXiv 2503.20783); the weighted penalty, DeepSeek-V3.2 (arXiv 2512.02556).
    Derived in :doc:`The GRPO formula </book/grpo>`.
    """
    low, high = _check_clip(clip)
    beta = _checks.real("beta", beta)
    if not 0 <= beta < float("inf"):
        raise ValueError(f"beta must be finite and not negative, got {beta}")
    _checks.choice("kl", kl, "k1", "k2", "k3")
    _checks.choice("aggregation", aggregation, "grpo", "bnpo", "dapo", "dr_grpo")
    _checks.boolean("weight_kl", weight_kl)
    if weight_kl and kl == "k2":
        raise ValueError("weight_kl must be False with kl='k2': it would not be a KL divergence")
    if logp_ref is None and beta != 0:
        raise ValueError(f"logp_ref may be None only where beta is 0, got beta {beta}")

    xp = namespace(logp)
    logp = as_float_array("logp", logp)
    keep = as_bool_array("mask", mask, logp)
    logp = _log_probs("logp", logp, logp, keep)
    old = detach(logp) if logp_old is None else _log_probs("logp_old", logp_old, logp, keep)
    scores = as_float_array("advantages", advantages, logp)
    if scores.shape != logp.shape[:1]:
        raise ValueError(
            f"advantages must have shape {tuple(logp.shape[:1])}, one for each sample of logp, "
            f"got {tuple(scores.shape)}"
        )
    if not xp.isfinite(scores).all():
        raise ValueError("advantages must be finite")
    scores = scores[:, None]
    zeros = xp.zeros_like(logp)
    ones = xp.where(keep, zeros + 1, zeros)  # not integers, which PyTorch divides in float32
    lengths = ones.sum(axis=1)
    if not (lengths > 0).all():
        empty = [bool(n) for n in lengths > 0].index(False)
        raise ValueError(f"mask must keep at least one token of each sample; {empty} has none")
    count = int(keep.sum())
    weights = _token_weights(aggregation, lengths, count, max_length, total_tokens)

    with np.errstate(over="ignore"):
        ratio = xp.exp(logp - old)
        surrogate = xp.minimum(ratio * scores, xp.clip(ratio, 1 - low, 1 + high) * scores)
        clipped = ((ratio > 1 + high) & (scores > 0)) | ((ratio < 1 - low) & (scores < 0))
        # A masked entry has two equal log-probabilities of 0 by now: ρ is 1, the penalty 0.
        policy_loss = xp.where(keep, -surrogate * weights, zeros).sum()
        fraction = xp.where(clipped, ones, zeros).sum() / count
        if logp_ref is None:
            nothing = zeros.sum()
            return GRPOLoss(policy_loss, policy_loss, nothing, nothing + float("nan"), fraction)
        log_r = _log_probs("logp_ref", logp_ref, logp, keep) - logp
        penalty = PENALTIES[kl](log_r)
        if weight_kl:
            penalty = ratio * penalty
        kl_loss = (penalty * weights).sum()
        loss = policy_loss + beta * kl_loss if beta else policy_loss
        return GRPOLoss(loss, policy_loss, kl_loss, detach(penalty).sum() / count, fraction)


def _log_probs(name: str, value: Any, like: Array, keep: Array) -> Array:
    """Return the checked log-probabilities of the tokens that count, and 0 for the others."""
    xp = namespace(like)
    value = as_float_array(name, value, like)
    if value.ndim != 2:
        raise ValueError(f"{name} must have shape (samples, tokens), got {tuple(value.shape)}")
    if value.shape != keep.shape:
        raise ValueError(
            f"{name} and mask must have the same shape, "
            f"got {tuple(value.shape)} and {tuple(keep.shape)}"
        )
    if 0 in value.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(value.shape)}")
    # Not a product with the mask: 0 * NaN is NaN, here and in the gradient.
    value = xp.where(keep, value, xp.zeros_like(value))
    if not xp.isfinite(value).all():
        raise ValueError(f"{name} must be finite where mask is True")
    return value


def _token_weights(
    aggregation: Aggregation,
    lengths: Array,
    count: int,
    max_length: int | None,
    total_tokens: float | None,
) -> Any:
    """Return what the loss of each token is multiplied with before all are added up."""
    samples = len(lengths)
    if aggregation == "grpo":
        return 1 / (samples * lengths)[:, None]
    if aggregation == "bnpo":
        return 1 / count
    if aggregation == "dapo":
        total = count if total_tokens is None else total_tokens
        return 1 / _checks.positive_real("total_tokens", total)
    if max_length is None:
        raise ValueError("max_length must be given with aggregation='dr_grpo'")
    if _checks.integer("max_length", max_length) < int(lengths.max()):
        raise ValueError(
            f"max_length must be at least {int(lengths.max())}, the longest sample, "
            f"got {max_length}"
        )
    return 1 / (samples * max_length)


def _check_clip(clip: float | tuple[float, float]) -> tuple[float, float]:
    pair = clip if isinstance(clip, tuple | list) else (clip, clip)
    if len(pair) != 2:
        raise TypeError(f"clip must be a number or (low, high), got {clip!r}")
    low, high = _checks.real("clip", pair[0]), _checks.real("clip", pair[1])
    if not (low > 0 and high > 0):
        raise ValueError(f"clip must be positive, got {clip!r}")
    return low, high
