r"""Objectives of post-training: the tilted policy, the loss of DPO, best-of-n, the frontier.

Derived in the chapter :doc:`KL in LLM training </book/alignment>`.
An outcome is a whole answer; rewards are numbers, one for each, and :math:`\beta` is the price
of a nat in their unit.
"""

from __future__ import annotations

import math

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, floats, namespace, widest
from kltutorial._numerics import log_sum_exp
from kltutorial.divergences import kl_divergence

__all__ = [
    "best_of_n",
    "best_of_n_kl",
    "best_of_n_kl_bound",
    "dpo_loss",
    "reward_kl_frontier",
    "tilted_policy",
]


def tilted_policy(ref: Array, reward: Array, beta: float) -> Array:
    r"""Policy that is best under a KL penalty, :math:`\pi^* = \pi_{\mathrm{ref}} e^{R/\beta} / Z`.

    Of all policies, the only one that maximises
    :math:`E_\pi[R] - \beta\, \mathrm{KL}(\pi \,\|\, \pi_{\mathrm{ref}})`.  Computed with
    logarithms, so that a tiny `beta` does no harm.

    Parameters
    ----------
    ref : array_like
        Probabilities of the reference, shape (..., outcomes).
    reward : array_like
        Rewards, of a shape that broadcasts with that of `ref` and has as many outcomes.
    beta : float
        Price of a nat, in units of the reward; above 0.

    Returns
    -------
    array
        Probabilities, shape (..., outcomes).  Where `ref` is 0 they are 0.

    Raises
    ------
    ValueError
        If `ref` is not a distribution, a reward is not finite, the outcomes differ in number, or
        `beta` is not positive and finite.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> tilted_policy([0.5, 0.5], [1.0, 0.0], beta=1.0).round(4)
    array([0.7311, 0.2689])

    References
    ----------
    Korbak, Perez and Buckley (arXiv 2205.11275); Rafailov et al. (arXiv 2305.18290),
    equation 4.  Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    ref, reward = _problem(ref, reward)
    return _tilt(ref, reward, _checks.positive_real("beta", beta))


def dpo_loss(
    logp_chosen: Array,
    logp_rejected: Array,
    ref_logp_chosen: Array,
    ref_logp_rejected: Array,
    *,
    beta: float,
) -> Array:
    r"""Loss of DPO for each pair of answers, :math:`-\log \sigma(h)`.

    :math:`h = \beta \left(\log \frac{\pi(y_w)}{\pi_{\mathrm{ref}}(y_w)}
    - \log \frac{\pi(y_l)}{\pi_{\mathrm{ref}}(y_l)}\right)`, with :math:`y_w` the chosen and
    :math:`y_l` the rejected answer.

    One value for each pair, so that pairs can be weighted: what is trained on is their mean.

    Parameters
    ----------
    logp_chosen, logp_rejected : array_like
        Log-probabilities, in nats, of the whole answers under the policy, that is the sums over
        their tokens.  Shape (pairs,), or any other that all four share.
    ref_logp_chosen, ref_logp_rejected : array_like
        Those under the reference.
    beta : float
        Price of a nat, in units of the reward that the preferences are logistic in; above 0.

    Returns
    -------
    array
        The losses, in nats per pair, of the shape of the input.

    Raises
    ------
    ValueError
        If shapes differ or are empty, a log-probability is not finite, or `beta` is not positive
        and finite.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> losses = dpo_loss([-1.0, -2.0], [-3.0, -2.0], [-2.0, -2.0], [-2.0, -2.0], beta=0.5)
    >>> losses.round(4)
    array([0.3133, 0.6931])

    References
    ----------
    Rafailov et al. (arXiv 2305.18290), equation 7.
    Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    beta = _checks.positive_real("beta", beta)
    names = ("logp_chosen", "logp_rejected", "ref_logp_chosen", "ref_logp_rejected")
    values = (logp_chosen, logp_rejected, ref_logp_chosen, ref_logp_rejected)
    xp, *arrays = floats(**dict(zip(names, values, strict=True)))
    chosen, rejected, ref_chosen, ref_rejected = arrays
    for name, array in zip(names, arrays, strict=True):
        if array.shape != chosen.shape:
            raise ValueError(
                f"{name} must have the shape of logp_chosen, {_checks.shape(chosen)}, "
                f"got {_checks.shape(array)}"
            )
        _checks.filled(name, array)
    margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    # Not max(-h, 0) + log1p(exp(-|h|)): its gradient is wrong at h = 0, where training starts.
    return xp.logaddexp(xp.zeros_like(margin), -margin)


def best_of_n(ref: Array, reward: Array, n: int) -> Array:
    r"""Exact distribution of the best of `n` independent answers of the reference.

    The highest reward is at most x with probability :math:`F(x)^n`, where :math:`F(x)` is the
    chance that one answer's is.  Answers of equal reward share what falls to that reward in
    proportion to their probabilities, as they do when ties are broken at random or by taking the
    first.

    Parameters
    ----------
    ref : array_like
        Probabilities of the reference, shape (outcomes,).
    reward : array_like
        Rewards, shape (outcomes,).
    n : int
        Number of answers that are drawn.

    Returns
    -------
    array
        Probabilities, shape (outcomes,).

    Raises
    ------
    ValueError
        If `ref` is not a distribution of shape (outcomes,), `reward` differs from it in shape or
        is not finite, or `n` is not positive.
    TypeError
        If `ref` or `reward` is not real numbers, or `n` is not an integer.

    Examples
    --------
    >>> best_of_n([0.5, 0.3, 0.2], [1.0, 2.0, 3.0], n=2).round(4)
    array([0.25, 0.39, 0.36])

    References
    ----------
    Beirami et al. (arXiv 2401.01879).
    Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    ref, reward = _one_problem(ref, reward)
    times = _checks.real("n", _checks.positive_integer("n", n))
    xp = namespace(ref)
    # F at each outcome and one level below.
    order = xp.argsort(reward)
    at_most = xp.cumulative_sum(xp.take(xp.astype(ref, widest(xp)), order), include_initial=True)
    at_most = at_most / at_most[-1]  # 1 + 1e-7 to the power of a large n would be far from 1
    below, here = (
        xp.take(at_most, xp.searchsorted(reward, reward, side=side, sorter=order))
        for side in ("left", "right")
    )
    # With t = 1 - below/here, what the best has more of is F^(n-1) (1 - (1 - t)^n) / t, which
    # tends to n F^(n-1).  For a small t as it stands it would lose digits, for t = 1 its slope.
    t = (here - below) / xp.where(here > 0, here, 1.0)
    near = xp.where((t > 0) & (t < 0.5), t, 0.25)
    far = xp.where(t < 0.5, 1.0, t)
    with np.errstate(under="ignore"):
        careful = -xp.expm1(times * xp.log1p(-near)) / near
        ratio = xp.where(t < 0.5, careful, (1 - (1 - far) ** times) / far)
        more = here ** (times - 1) * xp.where(t > 0, ratio, times)
    return ref * xp.astype(more, ref.dtype)


def best_of_n_kl(ref: Array, reward: Array, n: int) -> float:
    r"""Exact :math:`\mathrm{KL}(\mathrm{best\ of\ } n \,\|\, \mathrm{reference})`.

    Parameters
    ----------
    ref : array_like
        Probabilities of the reference, shape (outcomes,).
    reward : array_like
        Rewards, shape (outcomes,).
    n : int
        Number of answers that are drawn.

    Returns
    -------
    float
        The divergence in nats; at most :func:`best_of_n_kl_bound`.

    Raises
    ------
    ValueError, TypeError
        As :func:`best_of_n`; also a TypeError if JAX traces `ref` or `reward`.

    Examples
    --------
    >>> print(f"{best_of_n_kl([0.7, 0.2, 0.1], [0.0, 1.0, 2.0], n=4):.4f}")
    0.4725

    References
    ----------
    Beirami et al. (arXiv 2401.01879).
    Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    _checks.untraced("ref", ref)
    _checks.untraced("reward", reward)
    return float(kl_divergence(best_of_n(ref, reward, n), ref))


def best_of_n_kl_bound(n: int) -> float:
    r"""Upper bound :math:`\log n - (n - 1)/n` on the divergence of best-of-n.

    It is reached in the limit where no single reward has a noticeable probability.

    Parameters
    ----------
    n : int
        Number of answers that are drawn.

    Returns
    -------
    float
        The bound in nats.

    Raises
    ------
    ValueError
        If `n` is not positive.
    TypeError
        If `n` is not an integer.

    Examples
    --------
    >>> print(f"{best_of_n_kl_bound(4):.4f}")
    0.6363

    References
    ----------
    Beirami et al. (arXiv 2401.01879).
    Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    n = _checks.positive_integer("n", n)
    return math.log(n) - (n - 1) / n


def reward_kl_frontier(ref: Array, reward: Array, betas: Array) -> tuple[Array, Array]:
    r"""Divergence and mean reward of the tilted policies: the best reward at each divergence.

    Parameters
    ----------
    ref : array_like
        Probabilities of the reference, shape (outcomes,).
    reward : array_like
        Rewards, shape (outcomes,).
    betas : array_like
        Prices of a nat, above 0, of any shape.

    Returns
    -------
    kl : array
        :math:`\mathrm{KL}(\pi^*_\beta \,\|\, \pi_{\mathrm{ref}})` in nats, of the shape of `betas`.
    mean_reward : array
        :math:`E_{\pi^*_\beta}[R]`, of that shape.

    Raises
    ------
    ValueError
        If `ref` is not a distribution of shape (outcomes,), `reward` differs from it in shape or
        is not finite, or one of `betas` is not positive and finite.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> divergence, mean = reward_kl_frontier([0.5, 0.5], [1.0, 0.0], [1.0, 0.5])
    >>> divergence.round(4), mean.round(4)
    (array([0.1109, 0.3278]), array([0.7311, 0.8808]))

    References
    ----------
    Rafailov et al. (arXiv 2305.18290), figure 2, draws trained policies on these axes.
    Derived in :doc:`KL in LLM training </book/alignment>`.
    """
    ref, reward = _one_problem(ref, reward)
    xp, ref, reward, betas = floats(ref=ref, reward=reward, betas=betas)
    _checks.positive("betas", betas)
    policies = _tilt(ref, reward, betas[..., None])
    return kl_divergence(policies, ref), xp.sum(policies * reward, axis=-1)


def _tilt(ref: Array, reward: Array, beta: Array) -> Array:
    """Return the tilted policies of checked arguments that broadcast."""
    xp = namespace(ref)
    possible = ref > 0
    # Less the best reward first: divided by a tiny beta, rewards would overflow.
    best = xp.max(xp.where(possible, reward, -math.inf), axis=-1, keepdims=True)
    with np.errstate(over="ignore", under="ignore"):
        gain = xp.where(possible, reward - best, 0.0) / beta
        logits = xp.where(possible, xp.log(xp.where(possible, ref, 1.0)) + gain, -math.inf)
        return xp.exp(logits - log_sum_exp(logits))


def _problem(ref: Array, reward: Array) -> list[Array]:
    """Return the checked reference and rewards."""
    _checks.distributions(-1, ref=ref)
    _, ref, reward = floats(ref=ref, reward=reward)
    _checks.filled("reward", reward)
    _checks.axis_of("reward", reward, -1)
    return _checks.same_outcomes(-1, ref=ref, reward=reward)


def _one_problem(ref: Array, reward: Array) -> list[Array]:
    """Return the checked reference and rewards of one question."""
    ref, reward = _problem(ref, reward)
    if ref.ndim != 1:
        raise ValueError(f"ref must have shape (outcomes,), got {_checks.shape(ref)}")
    _checks.same_shape("ref", ref, "reward", reward)
    return [ref, reward]
