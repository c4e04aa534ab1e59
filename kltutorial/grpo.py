"""The GRPO objective: group advantages, and the loss with each of its variants.

Derived in the chapter :doc:`The GRPO formula </book/grpo>`.
Log-probabilities have the shape (samples, tokens) and are those that were given to the sampled
tokens; a boolean mask says which tokens belong to a sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, boolean, detach, fails, floats, namespace
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

    loss: Array
    policy_loss: Array
    kl_loss: Array
    kl: Array
    clip_fraction: Array


def group_advantages(
    rewards: Array, *, normalize_std: bool = True, ddof: int = 0, eps: float = 1e-4
) -> Array:
    r"""Advantage of each answer over its group, :math:`\hat A_i = (R_i - \bar R) / (s + \epsilon)`.

    Parameters
    ----------
    rewards : array_like
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
    array
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
    xp, rewards = floats(rewards=rewards)
    if rewards.ndim != 2:
        raise ValueError(f"rewards must have shape (groups, G), got {_checks.shape(rewards)}")
    groups, size = rewards.shape
    if groups == 0 or size < 2:
        raise ValueError(
            "rewards must hold a group, and two answers or more in each: a single one has "
            f"nothing to be compared with; got shape {_checks.shape(rewards)}"
        )
    _checks.finite("rewards", rewards)
    _checks.boolean("normalize_std", normalize_std)
    if not 0 <= _checks.integer("ddof", ddof) < size:
        raise ValueError(f"ddof must be in 0..{size - 1}, got {ddof}")
    eps = _checks.real("eps", eps)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be finite and not negative, got {eps}")
    # The mean of equal numbers is rounded; what is left over is no difference between them.
    varies = xp.any(rewards != rewards[:, :1], axis=1, keepdims=True)
    centred = xp.where(varies, rewards - xp.mean(rewards, axis=1, keepdims=True), 0.0)
    if not normalize_std:
        return centred
    variance = xp.sum(centred**2, axis=1, keepdims=True) / (size - ddof)
    # The root has no derivative at 0.
    return centred / (xp.sqrt(xp.where(varies, variance, 1.0)) + eps)


def grpo_loss(
    logp: Array,
    logp_old: Array | None,
    logp_ref: Array | None,
    advantages: Array,
    mask: Array,
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

    Where the mask is False nothing is read, neither in the value nor in the gradient: there may
    be NaN.

    Parameters
    ----------
    logp : array_like
        Log-probabilities, in nats, of the sampled tokens under the policy; (samples, tokens).
    logp_old : array_like or None
        Those of the policy that wrote the samples.  None: that policy is this one, so ρ has the
        value 1 and the gradient of log π.
    logp_ref : array_like or None
        Those of the reference.  None is allowed where `beta` is 0.
    advantages : array_like
        One number per sample, shape (samples,).
    mask : array_like of bool
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
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta must be finite and not negative, got {beta}")
    _checks.choice("kl", kl, "k1", "k2", "k3")
    _checks.choice("aggregation", aggregation, "grpo", "bnpo", "dapo", "dr_grpo")
    _checks.boolean("weight_kl", weight_kl)
    if weight_kl and kl == "k2":
        raise ValueError("weight_kl must be False with kl='k2': it would not be a KL divergence")
    if logp_ref is None and beta != 0:
        raise ValueError(f"logp_ref may be None only where beta is 0, got beta {beta}")

    xp, logp, old, ref, scores = floats(
        logp=logp,
        logp_old=logp if logp_old is None else logp_old,
        logp_ref=logp if logp_ref is None else logp_ref,
        advantages=advantages,
    )
    keep = boolean("mask", mask, logp)
    logp = _log_probs("logp", logp, keep)
    old = detach(logp) if logp_old is None else _log_probs("logp_old", old, keep)
    if scores.shape != logp.shape[:1]:
        raise ValueError(
            f"advantages must have shape {_checks.shape(logp)[:1]}, one for each sample of logp, "
            f"got {_checks.shape(scores)}"
        )
    _checks.finite("advantages", scores)
    scores = scores[:, None]
    lengths = xp.sum(xp.astype(keep, logp.dtype), axis=1)
    if fails(xp.all(lengths > 0)):
        empty = int(xp.argmin(lengths))
        raise ValueError(f"mask must keep at least one token of each sample; {empty} has none")
    count = xp.sum(lengths)
    weights = _token_weights(aggregation, lengths, count, max_length, total_tokens)

    with np.errstate(over="ignore"):
        ratio = xp.exp(logp - old)
        surrogate = xp.minimum(ratio * scores, xp.clip(ratio, 1 - low, 1 + high) * scores)
        clipped = ((ratio > 1 + high) & (scores > 0)) | ((ratio < 1 - low) & (scores < 0))
        # A masked entry has two equal log-probabilities of 0 by now: ρ is 1, the penalty 0.
        policy_loss = xp.sum(xp.where(keep, -surrogate * weights, 0.0))
        fraction = xp.sum(xp.astype(clipped, logp.dtype)) / count
        if logp_ref is None:
            nothing = 0.0 * count
            return GRPOLoss(policy_loss, policy_loss, nothing, nothing + math.nan, fraction)
        penalty = PENALTIES[kl](_log_probs("logp_ref", ref, keep) - logp)
        if weight_kl:
            penalty = ratio * penalty
        kl_loss = xp.sum(penalty * weights)
        loss = policy_loss + beta * kl_loss if beta else policy_loss
        return GRPOLoss(loss, policy_loss, kl_loss, xp.sum(detach(penalty)) / count, fraction)


def _log_probs(name: str, value: Array, keep: Array) -> Array:
    """Return the checked log-probabilities of the tokens that count, and 0 for the others."""
    xp = namespace(value)
    if value.ndim != 2:
        raise ValueError(f"{name} must have shape (samples, tokens), got {_checks.shape(value)}")
    _checks.same_shape(name, value, "mask", keep)
    _checks.non_empty(name, value)
    # Not a product with the mask: 0 * NaN is NaN, here and in the gradient.
    value = xp.where(keep, value, 0.0)
    if fails(xp.all(xp.isfinite(value))):
        raise ValueError(f"{name} must be finite where mask is True")
    return value


def _token_weights(
    aggregation: Aggregation,
    lengths: Array,
    count: Array,
    max_length: int | None,
    total_tokens: float | None,
) -> Array:
    """Return what the loss of each token is multiplied with before all are added up."""
    samples = lengths.shape[0]
    if aggregation == "grpo":
        return 1 / (samples * lengths)[:, None]
    if aggregation == "bnpo" or (aggregation == "dapo" and total_tokens is None):
        return 1 / count
    if aggregation == "dapo":
        return 1 / _checks.positive_real("total_tokens", total_tokens)
    if max_length is None:
        raise ValueError("max_length must be given with aggregation='dr_grpo'")
    limit = _checks.real("max_length", _checks.integer("max_length", max_length))
    longest = namespace(lengths).max(lengths)
    if fails(longest <= limit):
        raise ValueError(
            f"max_length must be at least {int(longest)}, the longest sample, got {max_length}"
        )
    return 1 / (samples * limit)


def _check_clip(clip: float | tuple[float, float]) -> tuple[float, float]:
    pair = clip if isinstance(clip, tuple | list) else (clip, clip)
    if len(pair) != 2:
        raise TypeError(f"clip must be a number or (low, high), got {clip!r}")
    low, high = _checks.real("clip", pair[0]), _checks.real("clip", pair[1])
    if not (low > 0 and high > 0):
        raise ValueError(f"clip must be positive, got {clip!r}")
    return low, high
