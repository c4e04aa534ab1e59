r"""Gradients of divergences, and those that minimising a sampled penalty really follows.

Derived in the chapter :doc:`Gradients </book/gradients>`.
The distributions are softmax policies over a finite set of outcomes, so every expectation is a
finite sum.  Gradients are with respect to the logits of the first argument, the policy.  A
sampled outcome x contributes a number, its *coefficient*, times the score
:math:`\nabla \log p(x) = e_x - p`; the uses of a penalty differ in that number alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial._arrays import Array, boolean, fails, floats, namespace
from kltutorial._checks import FloatArray
from kltutorial._numerics import exp_gap, half_square, log_softmax
from kltutorial.divergences import kl_from_logits
from kltutorial.fdivergences import F_DIVERGENCES, FDivergence

__all__ = [
    "expected_gradient",
    "follow_penalty",
    "gradient_noise",
    "kl_gradient",
    "leash_example",
    "sample_gradients",
]

Penalty = Literal["k1", "k2", "k3", "abs", "k3_inverted"]
Placement = Literal["loss", "reward"]
Weight = Literal["ratio", "detached"]

Function = Callable[[Array], Array]


def _expm1(x: Array) -> Array:
    return namespace(x).expm1(x)


# Of each penalty, as functions of x = log p - log q: its value, its derivative, and their sum.
# The sum is written out because that of k3 is x, which the two parts lose once r is large.
_PENALTIES: dict[str, tuple[Function, Function, Function]] = {
    "k1": (lambda x: x, lambda x: namespace(x).ones_like(x), lambda x: x + 1),
    "k2": (half_square, lambda x: x, lambda x: half_square(x) + x),
    "k3": (lambda x: exp_gap(-x), lambda x: -_expm1(-x), lambda x: x),
    "abs": (abs, lambda x: namespace(x).sign(x), lambda x: abs(x) + namespace(x).sign(x)),
    "k3_inverted": (exp_gap, _expm1, lambda x: exp_gap(x) + _expm1(x)),
}


def kl_gradient(p_logits: Array, q_logits: Array, *, divergence: str | FDivergence = "kl") -> Array:
    r"""Exact gradient of a divergence, :math:`\nabla_p D_f(p \| q) = p\,(f'(u) - \sum p f'(u))`.

    With :math:`u = p/q`.  It is with respect to the logits of p, and its entries sum to zero.

    Parameters
    ----------
    p_logits, q_logits : array_like
        Finite logits that broadcast together; the outcomes are along the last axis.
    divergence : str or FDivergence
        A name in ``F_DIVERGENCES`` (``"kl"`` is KL(p || q), ``"reverse_kl"`` KL(q || p)), or an
        :class:`FDivergence`, of which only the derivative is used.

    Returns
    -------
    array
        One number per logit, in the unit of the divergence.  Where f has a kink (total
        variation at p = q) it is what ``df`` returns there.

    Raises
    ------
    ValueError
        If a logit is not finite, the shapes do not fit, the name is unknown, or p and q are so
        far apart that a ratio, or the derivative there, overflows.
    TypeError
        If an argument is not real numbers, or `divergence` is neither a name nor an FDivergence.

    Examples
    --------
    >>> p_logits, q_logits = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    >>> kl_gradient(p_logits, q_logits).round(4)
    array([ 0.2747, -0.2747])
    >>> kl_gradient(p_logits, q_logits, divergence="reverse_kl")
    array([ 0.25, -0.25])

    References
    ----------
    Go et al. (2023), "Aligning language models with preferences through f-divergence
    minimization" (arXiv 2302.08215).  Derived in :doc:`Gradients </book/gradients>`.
    """
    if isinstance(divergence, str):
        if divergence not in F_DIVERGENCES:
            names = ", ".join(F_DIVERGENCES)
            raise ValueError(f"divergence must be one of {names}, got {divergence!r}")
        divergence = F_DIVERGENCES[divergence]
    if not isinstance(divergence, FDivergence):
        raise TypeError(
            f"divergence must be a name or an FDivergence, got {type(divergence).__name__}"
        )
    logp, logq = _log_probs(p_logits=p_logits, q_logits=q_logits)
    with np.errstate(all="ignore"):
        xp, u = floats(u=namespace(logp).exp(logp - logq))
        _within_range(1 / u, u)
        _, slope = floats(**{"what df returns": divergence.df(u)})
        _checks.same_shape("what df returns", slope, "p/q", u)
        p = xp.exp(logp)
        return _within_range(_mean_gradient(p, p * slope))


def sample_gradients(
    p_logits: Array,
    q_logits: Array,
    *,
    estimator: Penalty,
    placement: Placement,
    weight: Weight | None = None,
    behaviour_logits: Array | None = None,
) -> Array:
    r"""Gradient that each single outcome contributes when it is sampled.

    With :math:`\ell = \log p - \log q`, score s, penalty :math:`k(\ell)` and, if it is weighted,
    :math:`\rho = p/b`, where b is the distribution that the samples come from:

    ========== ============== ===========================================
    placement  weight         gradient
    ========== ============== ===========================================
    "loss"     None           :math:`k' s`
    "loss"     "detached"     :math:`\rho\, k' s`
    "loss"     "ratio"        :math:`\rho\, (k + k') s`
    "reward"   None           :math:`k s`
    "reward"   either         :math:`\rho\, k s`
    ========== ============== ===========================================

    Parameters
    ----------
    p_logits, q_logits : array_like
        Finite logits of the policy and of the reference, which broadcast together; the outcomes
        are along the last axis.
    estimator : {"k1", "k2", "k3", "abs", "k3_inverted"}
        The penalty: ``"abs"`` is \|k1\|, ``"k3_inverted"`` is k3 with p/q in place of q/p.
    placement : {"loss", "reward"}
        In the loss the penalty is differentiated.  In the reward it is a number that multiplies
        the score, without a baseline; the sign is that of a penalty to be minimised.
    weight : {"ratio", "detached"}, optional
        The importance weight ρ.  ``"ratio"`` is differentiated along with the rest,
        ``"detached"`` held fixed.  In the reward the two agree, since the derivative of ρ is ρ
        times the score and the penalty has none.  On samples of p, ρ has the value 1; the
        derivative of ``"ratio"`` remains.
    behaviour_logits : array_like, optional
        Logits of the distribution b that the samples come from; by default, p.  Without a
        weight such samples are used as if they came from p, uncorrected.

    Returns
    -------
    array
        Shape (..., outcomes, outcomes): row x is the gradient, with respect to `p_logits`, that
        the sample x contributes.  The mean of the rows over b is :func:`expected_gradient`.

    Raises
    ------
    ValueError
        If a logit is not finite, the shapes do not fit, a name is unknown, or distributions are
        so far apart that a ratio overflows.
    TypeError
        If logits are not real numbers.

    Examples
    --------
    >>> p_logits, q_logits = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    >>> sample_gradients(p_logits, q_logits, estimator="k3", placement="loss")
    array([[ 0.25, -0.25],
           [ 0.25, -0.25]])

    References
    ----------
    Derived in :doc:`Gradients </book/gradients>`.
    """
    logp, _, coefficient = _enumerate(
        p_logits, q_logits, estimator, placement, weight, behaviour_logits
    )
    return _within_range(coefficient)[..., None] * _scores(logp)


def expected_gradient(
    p_logits: Array,
    q_logits: Array,
    *,
    estimator: Penalty,
    placement: Placement,
    weight: Weight | None = None,
    behaviour_logits: Array | None = None,
) -> Array:
    r"""Gradient that minimising a sampled penalty follows on average, by enumeration.

    Step against it, and the penalty is minimised, in either placement; for a penalty that is
    subtracted from the reward this is the policy gradient of the penalty.  What the uses mean is
    said at :func:`sample_gradients`.

    Parameters
    ----------
    p_logits, q_logits, estimator, placement, weight, behaviour_logits
        As for :func:`sample_gradients`.

    Returns
    -------
    array
        One number per logit of the policy; the entries sum to zero.

    Raises
    ------
    ValueError, TypeError
        As :func:`sample_gradients`.

    Examples
    --------
    >>> p_logits, q_logits = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    >>> expected_gradient(p_logits, q_logits, estimator="k2", placement="loss").round(4)
    array([ 0.2747, -0.2747])
    >>> expected_gradient(p_logits, q_logits, estimator="k1", placement="loss")
    array([0., 0.])

    References
    ----------
    Tang and Munos (2025), "On a few pitfalls in KL divergence gradient estimation for RL"
    (arXiv 2506.09477).  Derived in :doc:`Gradients </book/gradients>`.
    """
    logp, logb, coefficient = _enumerate(
        p_logits, q_logits, estimator, placement, weight, behaviour_logits
    )
    with np.errstate(all="ignore"):
        exp = namespace(logp).exp
        return _within_range(_mean_gradient(exp(logp), exp(logb) * coefficient))


def gradient_noise(
    p_logits: Array,
    q_logits: Array,
    *,
    estimator: Penalty,
    placement: Placement,
    weight: Weight | None = None,
    behaviour_logits: Array | None = None,
) -> Array:
    r"""Variance of the gradient of one sample: the trace of its covariance, by enumeration.

    The mean gradient of n independent samples has this variance divided by n.

    Parameters
    ----------
    p_logits, q_logits, estimator, placement, weight, behaviour_logits
        As for :func:`sample_gradients`.

    Returns
    -------
    array
        One variance per distribution, summed over the logits.

    Raises
    ------
    ValueError, TypeError
        As :func:`sample_gradients`.

    Examples
    --------
    >>> p_logits, q_logits = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    >>> for estimator in ("k1", "k2", "k3"):
    ...     noise = gradient_noise(p_logits, q_logits, estimator=estimator, placement="loss")
    ...     print(f"{estimator} {noise:.4f}")
    k1 0.5000
    k2 0.0103
    k3 0.0000

    References
    ----------
    Derived in :doc:`Gradients </book/gradients>`.
    """
    logp, logb, coefficient = _enumerate(
        p_logits, q_logits, estimator, placement, weight, behaviour_logits
    )
    xp = namespace(logp)
    p, b = xp.exp(logp), xp.exp(logb)
    with np.errstate(all="ignore"):
        mean = _mean_gradient(p, b * coefficient)
        deviations = coefficient[..., None] * _scores(logp) - mean[..., None, :]
        return _within_range(xp.sum(b * xp.sum(deviations**2, axis=-1), axis=-1))


def follow_penalty(
    p_logits: ArrayLike,
    q_logits: ArrayLike,
    *,
    estimator: Penalty,
    placement: Placement,
    weight: Weight | None = None,
    steps: int = 100,
    step_size: float = 0.5,
    batch_size: int | None = None,
    rng: np.random.Generator | None = None,
) -> FloatArray:
    r"""Leash test: descend on a penalty alone, and see whether it leads back to the reference.

    Plain gradient descent on the logits of p, always on fresh samples.  There is no reward, so
    all that moves the policy is the penalty.

    Parameters
    ----------
    p_logits, q_logits : array_like
        Finite logits of the policy to start from and of the reference, which broadcast together;
        the outcomes are along the last axis, the others are independent runs.
    estimator, placement, weight : str
        As for :func:`sample_gradients`.
    steps : int
        How many.
    step_size : float
        What the gradient is multiplied with.
    batch_size : int, optional
        Samples per step.  By default the gradient is the exact expectation.
    rng : numpy.random.Generator, optional
        Where the samples come from; needed with `batch_size`.

    Returns
    -------
    numpy.ndarray
        KL(p || q) in nats, of shape (steps + 1, ...): before the first step, and after each.
        A run that drives a ratio beyond the largest float ends there; the rest of it is NaN.

    Raises
    ------
    ValueError
        If a logit is not finite, the shapes do not fit, a name is unknown, a number is not
        positive, or only one of `batch_size` and `rng` is given.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> p_logits, q_logits = leash_example()
    >>> for estimator in ("k1", "k3"):
    ...     path = follow_penalty(p_logits, q_logits, estimator=estimator, placement="reward")
    ...     print(f"{estimator} in the reward: {path[0]:.4f} to {path[-1]:.4f} nats")
    k1 in the reward: 0.0514 to 0.0000 nats
    k3 in the reward: 0.0514 to 0.6300 nats

    References
    ----------
    Derived in :doc:`Gradients </book/gradients>`.
    """
    _check_use(estimator, placement, weight)
    _checks.positive_integer("steps", steps)
    _checks.positive_real("step_size", step_size)
    if (batch_size is None) != (rng is None):
        raise ValueError("batch_size and rng must be given together: samples need both")
    if batch_size is not None:
        _checks.generator("rng", rng)
        _checks.positive_integer("batch_size", batch_size)
    p_logits = _checks.as_float_array("p_logits", p_logits)
    q_logits = _checks.as_float_array("q_logits", q_logits)
    logits, logq = np.broadcast_arrays(*_log_probs(p_logits=p_logits, q_logits=q_logits))
    path = np.empty((steps + 1, *logits.shape))
    path[0] = logits
    for step in range(steps):
        with np.errstate(all="ignore"):
            logp = log_softmax(path[step])
            p = np.exp(logp)
            coefficient = _coefficient(estimator, placement, weight, logp, logq, logp)
            if rng is None or batch_size is None:
                terms = p * coefficient
            else:
                ended = np.isnan(p).any(axis=-1, keepdims=True)
                share = rng.multinomial(batch_size, np.where(ended, 1 / p.shape[-1], p))
                # An outcome that was not sampled adds nothing, whatever its coefficient.
                terms = np.where(share > 0, share / batch_size * coefficient, 0)
            path[step + 1] = path[step] - step_size * _mean_gradient(p, terms)
    finite = np.isfinite(path).all(axis=-1)
    divergence = np.full(finite.shape, np.nan)
    divergence[finite] = kl_from_logits(path[finite], np.broadcast_to(logq, path.shape)[finite])
    return divergence


def leash_example() -> tuple[FloatArray, FloatArray]:
    """Return logits of the policy and of the reference that the book's leash test starts from.

    Five outcomes; the policy is a little sharper than the reference, at KL(p || q) = 0.0514 nats.

    Returns
    -------
    p_logits, q_logits : numpy.ndarray
        Shape (5,).

    Examples
    --------
    >>> p_logits, q_logits = leash_example()
    >>> print(np.exp(p_logits).round(2), np.exp(q_logits).round(2))
    [0.4  0.3  0.15 0.1  0.05] [0.3  0.25 0.2  0.15 0.1 ]

    References
    ----------
    Derived in :doc:`Gradients </book/gradients>`.
    """
    return np.log([0.4, 0.3, 0.15, 0.1, 0.05]), np.log([0.3, 0.25, 0.2, 0.15, 0.1])


def _check_use(estimator: str, placement: str, weight: str | None) -> None:
    _checks.choice("estimator", estimator, *_PENALTIES)
    _checks.choice("placement", placement, "loss", "reward")
    _checks.choice("weight", weight, None, "ratio", "detached")


def _log_probs(**logits: Array) -> list[Array]:
    """Return the log-probabilities of checked logits, in the widest of their types."""
    xp, *arrays = _checks.logits(-1, **logits)
    for name, array in zip(logits, arrays, strict=True):
        _checks.finite(name, array)
    dtype = xp.result_type(*arrays)
    return [log_softmax(xp.astype(array, dtype)) for array in arrays]


def _enumerate(
    p_logits: Array,
    q_logits: Array,
    estimator: str,
    placement: str,
    weight: str | None,
    behaviour_logits: Array | None,
) -> tuple[Array, Array, Array]:
    """Return log p, log b and the coefficient of the score, for every outcome."""
    _check_use(estimator, placement, weight)
    behaviour = p_logits if behaviour_logits is None else behaviour_logits
    logp, logq, logb = _log_probs(p_logits=p_logits, q_logits=q_logits, behaviour_logits=behaviour)
    logp, logq, logb = namespace(logp).broadcast_arrays(logp, logq, logb)
    with np.errstate(all="ignore"):
        return logp, logb, _coefficient(estimator, placement, weight, logp, logq, logb)


def _coefficient(
    estimator: str,
    placement: str,
    weight: str | None,
    logp: Array,
    logq: Array,
    logb: Array,
) -> Array:
    """Return what the score of a sampled outcome is multiplied with."""
    value, slope, both = _PENALTIES[estimator]
    differentiated = both if weight == "ratio" else slope
    coefficient = (value if placement == "reward" else differentiated)(logp - logq)
    return coefficient if weight is None else namespace(logp).exp(logp - logb) * coefficient


def _scores(logp: Array) -> Array:
    """Return the gradient of log p(x) in the logits, row x for each outcome."""
    xp = namespace(logp)
    own = boolean("own", np.eye(logp.shape[-1], dtype=bool), logp)
    return xp.astype(own, logp.dtype) - xp.exp(logp)[..., None, :]


def _mean_gradient(p: Array, terms: Array) -> Array:
    """Return the sum over outcomes of `terms` times their scores."""
    return terms - p * namespace(terms).sum(terms, axis=-1, keepdims=True)


def _within_range(*arrays: Array) -> Array:
    """Return the last array; raise if one of them holds what only an overflow can bring about."""
    xp = namespace(*arrays)
    if any(fails(xp.all(xp.isfinite(array))) for array in arrays):
        raise ValueError(
            "p_logits must be nearer to the other logits: a ratio of probabilities overflows"
        )
    return arrays[-1]
