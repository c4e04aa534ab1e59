"""Monte Carlo estimators of KL(p || q) from log-probabilities of samples of p.

Derived in the chapter :doc:`Three estimators </book/three_estimators>`.
Everywhere ``logp`` and ``logq`` are the log-probabilities that p and q give to the *same*
samples, and the samples come from p, the first argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import (
    Array,
    boolean,
    detach,
    fails,
    floats,
    namespace,
    numbers,
    widest,
)
from kltutorial._blocks import TASK, Fresh, Scratch, in_threads, with_progress
from kltutorial._checks import FloatArray
from kltutorial._numerics import NEAR, PENALTIES, exp_gap, exp_gap_into, half_square, log_ratio

__all__ = [
    "EstimatorMoments",
    "KLEstimate",
    "estimate_kl",
    "estimate_kl_chunks",
    "estimator_moments",
    "k1",
    "k2",
    "k3",
    "optimal_control_variate",
    "shifted_normal_moments",
]

Estimator = Literal["k1", "k2", "k3", "optimal"]
Several = list[Estimator] | tuple[Estimator, ...]
Unit = Literal["token", "sequence"]

BLOCK = 1 << 16  # entries handled at a time: several arrays of that size must fit a cache


def k1(logp: Array, logq: Array) -> Array:
    r"""Log-ratio estimator of KL(p || q), :math:`k_1 = \log p - \log q = -\log r`.

    Unbiased for samples of p.  A single value, and a mean of several, can be negative.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, of the same samples of p; equal shapes.
        `logq` may be ``-inf`` (q excludes the sample), `logp` may not.

    Returns
    -------
    array
        One value per sample, in nats.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, `logp` is not finite, or `logq` is NaN or ``+inf``.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> k1(np.log([0.5, 0.5]), np.log([0.25, 0.75])).round(4)
    array([ 0.6931, -0.4055])

    References
    ----------
    Schulman (2020), "Approximating KL divergence", with our p his q.
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    return -_log_r(logp, logq)


def k2(logp: Array, logq: Array) -> Array:
    r"""Squared log-ratio estimator of KL(p || q), :math:`k_2 = \tfrac12 (\log r)^2`.

    Biased: its mean is no KL divergence, and agrees with one to second order only.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, of the same samples of p; equal shapes.
        `logq` may be ``-inf`` (q excludes the sample), `logp` may not.

    Returns
    -------
    array
        One value per sample; non-negative.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, `logp` is not finite, or `logq` is NaN or ``+inf``.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> k2(np.log([0.5, 0.5]), np.log([0.25, 0.75])).round(4)
    array([0.2402, 0.0822])

    References
    ----------
    Schulman (2020), "Approximating KL divergence", with our p his q.
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    return half_square(_log_r(logp, logq))


def k3(logp: Array, logq: Array) -> Array:
    r"""Control-variate estimator of KL(p || q), :math:`k_3 = r - 1 - \log r`, with r = q/p.

    Unbiased for samples of p where q puts all its mass on outcomes that p can produce, and
    never negative.  Given the rounded difference of the log-probabilities it is correct to 4
    units in the last place, in float32 and in float64, also for small log-ratios, where
    ``exp(x) - x - 1`` returns 0 or a negative number.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, of the same samples of p; equal shapes.
        `logq` may be ``-inf`` (q excludes the sample), `logp` may not.

    Returns
    -------
    array
        One value per sample, in nats; non-negative.  ``inf`` where r overflows.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, `logp` is not finite, or `logq` is NaN or ``+inf``.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> k3(np.log([0.5, 0.5]), np.log([0.25, 0.75])).round(4)
    array([0.1931, 0.0945])

    References
    ----------
    Schulman (2020), "Approximating KL divergence", with our p his q; DeepSeekMath
    (arXiv 2402.03300), equation 4.
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    return exp_gap(_log_r(logp, logq))


def optimal_control_variate(logp: Array, logq: Array) -> float:
    r"""Weight λ* that minimises the variance of :math:`k_1 + \lambda (r - 1)`, from samples.

    In the limit of many samples it is :math:`J / \chi^2`, with
    :math:`J = \mathrm{KL}(p \| q) + \mathrm{KL}(q \| p)` and :math:`\chi^2 = \chi^2(q \| p)`;
    k3, which is λ = 1, beats k1, which is λ = 0, exactly when λ* > ½.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, of the same independent samples of p; equal shapes.

    Returns
    -------
    float
        λ*; 0 where r does not vary, or a value is infinite, so that there is nothing to gain.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, `logp` is not finite, or `logq` is NaN or ``+inf``.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=100_000)
    >>> weight = optimal_control_variate(-x**2 / 2, -((x - 1) ** 2) / 2)
    >>> print(f"{weight:.2f}")  # in the limit 1 / (e - 1) = 0.58
    0.57

    References
    ----------
    Owen (2013), *Monte Carlo theory, methods and examples*, section 8.9.
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    xp, logp, logq = floats(logp=logp, logq=logq)
    _checks.same_shape("logp", logp, "logq", logq)
    flat = xp.reshape(logp, (-1,)), xp.reshape(logq, (-1,))
    return float(estimate_kl(*flat, estimator="optimal")._weights[1])


class EstimatorMoments(NamedTuple):
    """Exact mean and standard deviation of an estimator on one sample, in nats.

    See :doc:`Three estimators </book/three_estimators>`.
    """

    mean: float
    std: float


def estimator_moments(p: Array, q: Array, *, estimator: Estimator = "k3") -> EstimatorMoments:
    r"""Exact mean and standard deviation of one sample's estimate, by enumeration.

    Parameters
    ----------
    p, q : array_like
        Two categorical distributions, shape (outcomes,); the sample comes from `p`.
    estimator : {"k1", "k2", "k3", "optimal"}
        Which estimator; ``"optimal"`` uses the exact λ*.

    Returns
    -------
    EstimatorMoments
        ``.mean`` and ``.std``, in nats.  The bias is ``.mean`` less ``kl_divergence(p, q)``.

    Raises
    ------
    ValueError
        If `p` or `q` is not a distribution of shape (outcomes,), if q is 0 on an outcome of p,
        or the estimator is unknown.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> mean, std = estimator_moments([0.9, 0.1], [0.8, 0.2], estimator="k2")
    >>> print(f"mean {mean:.4f}, sd {std:.4f}")
    mean 0.0303, sd 0.0700

    References
    ----------
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    _check_estimator(estimator)
    _, p, q = _checks.distributions(
        -1, p=_checks.as_float_array("p", p), q=_checks.as_float_array("q", q)
    )
    if p.ndim != 1 or q.ndim != 1:
        raise ValueError(f"p and q must have shape (outcomes,), got {p.shape} and {q.shape}")
    possible = p > 0
    if (q[possible] == 0).any():
        raise ValueError("q must be positive wherever p is: the estimate is infinite elsewhere")
    weight = p[possible].astype(np.float64)
    weight = weight / weight.sum()
    x = log_ratio(q[possible], p[possible])
    columns = np.stack([-x, np.expm1(x)] if estimator == "optimal" else [PENALTIES[estimator](x)])
    with np.errstate(all="ignore"):
        deviations = columns - (columns @ weight)[:, None]
        combination = _combination(estimator, (deviations * weight) @ deviations.T)
        used = combination != 0  # a column of weight 0 may have overflowed, and 0 * inf is NaN
        values = combination[used] @ columns[used]
        mean = values @ weight
        return EstimatorMoments(float(mean), float((values - mean) ** 2 @ weight) ** 0.5)


def shifted_normal_moments(shift: float, *, estimator: Estimator = "k3") -> EstimatorMoments:
    r"""Exact mean and standard deviation of one sample's estimate, for two shifted normals.

    The sample comes from p = N(0, 1), and q = N(`shift`, 1), so that the divergence is
    :math:`m/2` with :math:`m` the squared shift, in both directions.

    Parameters
    ----------
    shift : float
        Distance of the two means, in standard deviations.
    estimator : {"k1", "k2", "k3", "optimal"}
        Which estimator; ``"optimal"`` uses the exact λ*, :math:`m / (e^m - 1)`.

    Returns
    -------
    EstimatorMoments
        ``.mean`` and ``.std``, in nats.

    Raises
    ------
    ValueError
        If `shift` is not finite or the estimator is unknown.
    TypeError
        If `shift` is not a real number.

    Examples
    --------
    >>> for name in ("k1", "k2", "k3"):
    ...     mean, std = shifted_normal_moments(1.0, estimator=name)
    ...     print(f"{name}: mean {mean:.4f}, sd {std:.4f}")
    k1: mean 0.5000, sd 1.0000
    k2: mean 0.6250, sd 0.8660
    k3: mean 0.5000, sd 0.8475

    References
    ----------
    Closed forms of the tables in Schulman (2020), "Approximating KL divergence".
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    _check_estimator(estimator)
    array = _checks.as_float_array("shift", shift)
    if array.ndim:
        raise TypeError(f"shift must be a single number, got shape {array.shape}")
    _checks.finite("shift", array)
    with np.errstate(over="ignore", invalid="ignore"):
        m: FloatArray = array.astype(np.float64) ** 2
        kl = m / 2
        if estimator == "k1":
            mean, variance = kl, m
        elif estimator == "k2":
            mean, variance = kl + m**2 / 8, m**2 / 2 + m**3 / 4
        elif estimator == "k3":
            mean, variance = kl, exp_gap(m)
        elif 0 < m < 700:
            gain = exp_gap(m) / np.expm1(m) if m < 1 else 1 - m / np.expm1(m)
            mean, variance = kl, m * gain
        else:  # where nothing is gained
            mean, variance = kl, m
    return EstimatorMoments(float(mean), float(np.sqrt(variance)))


@dataclass(frozen=True, repr=False, eq=False)
class KLEstimate:
    """Estimate of KL(p || q) with its uncertainty; made by :func:`estimate_kl`.

    Estimates of one kind add up: ``a + b`` is the estimate from the samples of both, and ``sum``
    merges many, which can be pickled.

    Attributes
    ----------
    estimator : str
        ``"k1"``, ``"k2"``, ``"k3"`` or ``"optimal"``.
    unit : str
        What `mean` is per: ``"sample"`` (one-dimensional input), ``"token"`` or ``"sequence"``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=10_000)
    >>> estimate_kl(-x**2 / 2, -((x - 1) ** 2) / 2)
    KLEstimate(k3: 0.4901 ± 0.0074 nats per sample, 10000 samples)

    References
    ----------
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """

    estimator: Estimator
    unit: Literal["sample", "token", "sequence"]
    _units: _Moments
    _clusters: _Moments | None

    @property
    def n(self) -> int:
        """Number of samples, tokens or sequences that `mean` is a mean of."""
        return self._units.count

    @property
    def mean(self) -> float:
        """The estimate, in nats per `unit`."""
        return _combine(self._weights, self._units.mean)

    @property
    def std(self) -> float:
        """Standard deviation of one sample's, token's or sequence's estimate, in nats.

        NaN for a single one.
        """
        return _root(self._weights, self._units.comoment, self.n - 1)

    @property
    def std_error(self) -> float:
        """Standard error of `mean`, in nats.

        Tokens of one sequence depend on one another, so a mean per token of two-dimensional
        input counts whole sequences as the independent samples.  NaN for a single one.
        """
        if self._clusters is None:
            return self.std / self.n**0.5
        residuals = self._residual_comoment(self._clusters)
        count = self._clusters.count
        return _root(self._weights, residuals, count - 1) * count**0.5 / self.n

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the normal confidence interval of the divergence at `level`, in nats.

        It covers at its level where single samples have a finite variance and there are many
        of them: some hundred, or some thousand where they are skewed.  Where q/p has heavy
        tails, those of k3 and ``"optimal"`` do not: the sample seldom holds the rare large
        values, so that the interval lies too low and is too narrow.  For p = N(0, 1),
        n = 1000 and q = N(3, 1) or N(0, 2²) (standard deviation 2, infinite variance of k3)
        one at 95 % covers less than seven times in ten.  Where the standard
        error of k3 is above that of k1 on the same samples, use k1, whose interval still covers.

        Parameters
        ----------
        level : float
            Nominal coverage, between 0 and 1.

        Returns
        -------
        tuple of float
            Lower and upper end.  The lower end may be negative; it is not clipped.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        TypeError
            If `level` is not a number.
        """
        _checks.real("level", level)
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level}")
        from statistics import NormalDist  # which takes long to import

        half = -NormalDist().inv_cdf((1 - level) / 2) * self.std_error
        return self.mean - half, self.mean + half

    def __add__(self, other: KLEstimate) -> KLEstimate:
        if not isinstance(other, KLEstimate):
            return NotImplemented
        if (self.estimator, self.unit) != (other.estimator, other.unit):
            raise ValueError(
                f"can't merge {self.estimator} per {self.unit} "
                f"with {other.estimator} per {other.unit}"
            )
        clusters = None
        if self._clusters is not None and other._clusters is not None:
            clusters = _Moments.merged([self._clusters, other._clusters])
        units = _Moments.merged([self._units, other._units])
        return KLEstimate(self.estimator, self.unit, units, clusters)

    def __radd__(self, other: int) -> KLEstimate:
        # So that `sum` of estimates works, which starts from 0.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        count = f"{self.n} {self.unit}s"
        if self._clusters is not None:
            count += f" in {self._clusters.count} sequences"
        return (
            f"KLEstimate({self.estimator}: {self.mean:.4g} ± {self.std_error:.2g} nats "
            f"per {self.unit}, {count})"
        )

    @property
    def _weights(self) -> FloatArray:
        """How the columns combine into the estimate: (1,), or (1, λ*) for "optimal"."""
        comoment = (
            self._units.comoment
            if self._clusters is None
            else self._residual_comoment(self._clusters)
        )
        return _combination(self.estimator, comoment)

    def _residual_comoment(self, clusters: _Moments) -> FloatArray:
        """Co-moments of (sequence sum - mean per token * sequence length), the ratio estimator.

        Cochran (1977), *Sampling Techniques*, chapter 6.
        """
        sums, lengths = clusters.comoment[:-1], clusters.comoment[-1, -1]
        mean = self._units.mean
        with np.errstate(invalid="ignore", over="ignore"):
            cross = np.outer(mean, sums[:, -1])
            square = np.outer(mean, mean * lengths)
            residuals = sums[:, :-1] - cross - cross.T + square
            # What is left where everything cancels is rounding, and no weight may rest on it.
            size = np.abs(sums[:, :-1]) + np.abs(cross) + np.abs(cross.T) + np.abs(square)
            noise = (np.abs(residuals) <= 1e-14 * size) & np.isfinite(size)
            return np.where(noise, 0.0, residuals)


@overload
def estimate_kl(
    logp: Array,
    logq: Array,
    *,
    estimator: Estimator = ...,
    unit: Unit = ...,
    where: Array | None = ...,
    progress: bool = ...,
) -> KLEstimate: ...
@overload
def estimate_kl(
    logp: Array,
    logq: Array,
    *,
    estimator: Several,
    unit: Unit = ...,
    where: Array | None = ...,
    progress: bool = ...,
) -> tuple[KLEstimate, ...]: ...
def estimate_kl(
    logp: Array,
    logq: Array,
    *,
    estimator: Estimator | Several = "k3",
    unit: Unit = "token",
    where: Array | None = None,
    progress: bool = False,
) -> KLEstimate | tuple[KLEstimate, ...]:
    r"""Estimate KL(p || q), with a standard error that means something.

    One-dimensional input is taken as independent samples.  Two-dimensional input, (sequences,
    tokens), gives the mean per token or per sequence; either way the sequences are the
    independent samples, since tokens within one depend on one another.

    The input is read in blocks, by several threads: arrays in files (``numpy.memmap``) stay
    there, and memory does not grow with them.  Sums are in float64 (in JAX only where that is
    enabled).

    Where q/p has heavy tails, some standard errors are too small: see
    :meth:`KLEstimate.interval`.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, that p and q give to samples of p; equal shapes, (samples,)
        or (sequences, tokens).
    estimator : {"k3", "k1", "k2", "optimal"}, or a tuple or list of them
        ``"optimal"`` is :math:`k_1 + \lambda^* (r - 1)` with λ* from the same samples, which
        costs a bias of order 1/n.  Several are estimated in one pass.
    unit : {"token", "sequence"}
        What the mean is per, for two-dimensional input.  ``"sequence"`` sums over the tokens.
    where : array_like of bool, optional
        True for the entries that count.  The others are never read and may hold anything.
    progress : bool
        Whether to show a progress bar on the standard error stream; it needs tqdm, which
        ``kltutorial[progress]`` brings.

    Returns
    -------
    KLEstimate, or a tuple of them
        Each with ``.mean``, ``.std``, ``.std_error``, ``.n`` and ``.interval(level)``; ``+``
        merges two of one kind, ``[sum(each) for each in zip(*tuples)]`` tuples.

    Raises
    ------
    ValueError
        If shapes differ or are not one- or two-dimensional, the input is empty, a sequence has
        no token that counts, `logp` is not finite, `logq` is NaN or ``+inf``, or a name is
        unknown.
    TypeError
        If `logp` or `logq` is not real numbers, `where` or `progress` is not boolean, or JAX
        traces an array.
    ImportError
        If tqdm is needed and not installed.

    Examples
    --------
    >>> logp = np.log([[0.5, 0.5], [0.5, 0.9]])
    >>> logq = np.log([[0.4, 0.6], [0.4, 0.9]])
    >>> estimate_kl(logp, logq, estimator="k1")
    KLEstimate(k1: 0.06599 ± 0.046 nats per token, 4 tokens in 2 sequences)
    >>> for estimate in estimate_kl(logp, logq, estimator=("k1", "k3"), unit="sequence"):
    ...     print(estimate)
    KLEstimate(k1: 0.132 ± 0.091 nats per sequence, 2 sequences)
    KLEstimate(k3: 0.03198 ± 0.0088 nats per sequence, 2 sequences)

    References
    ----------
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    estimates = _estimates(logp, logq, _names(estimator), unit, where, progress)
    return estimates[0] if isinstance(estimator, str) else tuple(estimates)


@overload
def estimate_kl_chunks(
    chunks: Iterable[tuple[Array, ...]],
    *,
    estimator: Estimator = ...,
    unit: Unit = ...,
    progress: bool = ...,
) -> KLEstimate: ...
@overload
def estimate_kl_chunks(
    chunks: Iterable[tuple[Array, ...]],
    *,
    estimator: Several,
    unit: Unit = ...,
    progress: bool = ...,
) -> tuple[KLEstimate, ...]: ...
def estimate_kl_chunks(
    chunks: Iterable[tuple[Array, ...]],
    *,
    estimator: Estimator | Several = "k3",
    unit: Unit = "token",
    progress: bool = False,
) -> KLEstimate | tuple[KLEstimate, ...]:
    """Estimate KL(p || q) from chunks of samples, as :func:`estimate_kl` does from all at once.

    Parameters
    ----------
    chunks : iterable of tuple
        Each ``(logp, logq)`` or ``(logp, logq, where)``, as :func:`estimate_kl` takes them.
        Chunks of sequences may differ in their padded length; no sequence may be split, and no
        chunk be without a sample that counts.
    estimator, unit, progress
        As for :func:`estimate_kl`.

    Returns
    -------
    KLEstimate, or a tuple of them
        Merged over the chunks.

    Raises
    ------
    ValueError
        If there is no chunk, a chunk is not a tuple of two or three arrays, or
        :func:`estimate_kl` refuses it.
    TypeError
        If `chunks` can't be iterated over, or as :func:`estimate_kl`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = (rng.normal(size=1000) for _ in range(10))
    >>> estimate_kl_chunks((-x**2 / 2, -((x - 1) ** 2) / 2) for x in draws)
    KLEstimate(k3: 0.4901 ± 0.0074 nats per sample, 10000 samples)

    References
    ----------
    Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance".
    Used in :doc:`Three estimators </book/three_estimators>`.
    """
    if not isinstance(chunks, Iterable):
        raise TypeError(f"chunks must be iterable, got {type(chunks).__name__}")
    _checks.boolean("progress", progress)
    names = _names(estimator)
    merged: list[KLEstimate] = []
    for index, chunk in enumerate(with_progress(chunks, progress)):
        if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
            raise ValueError(f"chunks[{index}] must be (logp, logq) or (logp, logq, where)")
        where = chunk[2] if len(chunk) == 3 else None
        try:
            new = _estimates(chunk[0], chunk[1], names, unit, where, progress=False)
            merged = [a + b for a, b in zip(merged, new, strict=True)] if merged else new
        except (TypeError, ValueError) as error:
            raise type(error)(f"chunks[{index}]: {error}") from None
    if not merged:
        raise ValueError("chunks must hold at least one chunk")
    return merged[0] if isinstance(estimator, str) else tuple(merged)


def _names(estimator: Estimator | Several) -> list[Estimator]:
    names = [*estimator] if isinstance(estimator, tuple | list) else [estimator]
    if not names:
        raise ValueError("estimator must name at least one")
    for name in names:
        _check_estimator(name)
    return names


def _estimates(
    logp: Array,
    logq: Array,
    estimators: list[Estimator],
    unit: Unit,
    where: Array | None,
    progress: bool,
) -> list[KLEstimate]:
    """Estimate with each of the estimators, in one pass over the samples."""
    _checks.choice("unit", unit, "token", "sequence")
    _checks.boolean("progress", progress)
    for name, value in (("logp", logp), ("logq", logq), ("where", where)):
        _checks.untraced(name, value)
    logp, logq = map(detach, numbers(logp=logp, logq=logq))
    _checks.same_shape("logp", logp, "logq", logq)
    if logp.ndim not in (1, 2):
        raise ValueError(
            f"logp must have shape (samples,) or (sequences, tokens), got {_checks.shape(logp)}"
        )
    _checks.non_empty("logp", logp)
    if where is not None:
        where = boolean("where", where, logp)
        _checks.same_shape("where", where, "logp", logp)
    independent = logp.ndim == 1
    if independent and unit == "sequence":
        raise ValueError("unit='sequence' needs logp of shape (sequences, tokens)")
    at_once = max(1, TASK // math.prod(logp.shape[1:]))
    tasks = range(0, logp.shape[0], at_once)
    scratch = Scratch((5, min(BLOCK, math.prod(logp.shape))), np.float64)

    def task(start: int) -> list[tuple[_Moments, _Moments]]:
        part = range(start, min(start + at_once, logp.shape[0]))
        with np.errstate(all="ignore"):
            return _moments(logp, logq, where, estimators, part, independent, scratch)

    parts = list(with_progress(in_threads(task, tasks), progress, len(tasks)))
    estimates = []
    for estimator, moments in zip(estimators, zip(*parts, strict=True), strict=True):
        entries, sequences = (_Moments.merged(part) for part in zip(*moments, strict=True))
        if not entries.count:
            raise ValueError("where must keep at least one sample")
        if independent:
            estimates.append(KLEstimate(estimator, "sample", entries, None))
        elif unit == "token":
            estimates.append(KLEstimate(estimator, "token", entries, sequences))
        else:
            estimates.append(KLEstimate(estimator, "sequence", sequences.without_last(), None))
    return estimates


@dataclass(frozen=True, eq=False)
class _Moments:
    """Count, means and co-moments (sums of products of deviations) of a few columns."""

    count: int
    mean: FloatArray
    comoment: FloatArray

    @classmethod
    def about(
        cls, center: FloatArray, count: int, sums: FloatArray, squares: FloatArray
    ) -> _Moments:
        """Moments from the sums of what is left of each column without a number near its mean."""
        count_or_one = max(count, 1)
        comoment = squares - np.outer(sums, sums) / count_or_one
        # A column that does not vary has no variance, whatever rounding has left.
        comoment[np.abs(comoment) < 1e-14 * np.abs(squares)] = 0
        return cls(count, center + sums / count_or_one, comoment)

    @classmethod
    def merged(cls, parts: Iterable[_Moments]) -> _Moments:
        """Moments of all entries of the parts (Chan, Golub and LeVeque, 1983)."""
        parts = [part for part in parts if part.count] or list(parts)[:1]
        count = sum(part.count for part in parts)
        weights, means = (
            np.array([part.count for part in parts]),
            np.stack([part.mean for part in parts]),
        )
        with np.errstate(all="ignore"):
            mean = means[0] + weights @ (means - means[0]) / count
            mean = np.where(np.isfinite(mean), mean, (weights / count) @ means)
            steps = means - mean
            between = (steps.T * weights) @ steps
            return cls(count, mean, between + sum(part.comoment for part in parts))

    def without_last(self) -> _Moments:
        """Return the moments of all columns but the last."""
        return _Moments(self.count, self.mean[:-1], self.comoment[:-1, :-1])


class _Sums:
    """Sums of what an estimator averages, over entries and over rows, from block to block."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.count = estimator, 0
        self.center: FloatArray = np.zeros(1)
        self.sums: FloatArray = np.zeros(1)
        self.squares: FloatArray = np.zeros((1, 1))
        self.rows: list[Array] = []

    def add(
        self, f: Any, x: Array, keep: Array | None, count: int, lengths: Array | None, spare: Any
    ) -> None:
        """Add a block of log r, of which so many entries count, and of its rows `lengths`."""
        columns = _columns(f, x, self.estimator, spare)
        if not self.count:  # of the first that counts: near enough to all that nothing cancels
            self.center = _finite(np.array([float(f.sum(c)) for c in columns]) / max(count, 1))
        for i, column in enumerate(columns):
            columns[i] = _kept(f, f.subtract(column, float(self.center[i]), out=column), keep)
        sums, squares = _sums_of(f, columns, spare[-1])
        self.count += count
        self.sums, self.squares = self.sums + sums, self.squares + squares
        if lengths is not None:
            centers = [float(center) * lengths for center in self.center]
            of_rows = [f.sum(c, axis=1) + m for c, m in zip(columns, centers, strict=True)]
            self.rows.append(f.stack([*of_rows, lengths]))

    def of_entries(self) -> _Moments:
        return _Moments.about(self.center, self.count, self.sums, self.squares)

    def of_rows(self, f: Any, blocks: int, first: int) -> _Moments:
        """Moments of sums over rows and of the rows' lengths; each row is in some `blocks`."""
        rows = [sum(self.rows[i : i + blocks]) for i in range(0, len(self.rows), blocks)]
        columns = f.unstack(f.concat(rows, axis=1))
        if not f.all(columns[-1] > 0):
            raise ValueError(
                "where must keep at least one token of each sequence; "
                f"{first + int(f.argmin(columns[-1]))} has none"
            )
        center = _finite(np.array([float(f.mean(column)) for column in columns]))
        rest = [column - float(c) for column, c in zip(columns, center, strict=True)]
        return _Moments.about(center, columns[-1].shape[0], *_sums_of(f, rest, None))


def _moments(
    logp: Array,
    logq: Array,
    mask: Array | None,
    estimators: list[Estimator],
    part: range,
    independent: bool,
    scratch: Scratch,
) -> list[tuple[_Moments, _Moments]]:
    """For each estimator, moments over the entries of some rows, and over rows.

    Of independent samples only the former are wanted.
    """
    xp = namespace(logp, logq)
    f: Any = np if xp is np else Fresh(xp)
    # Independent samples make a column, block by block: JAX would copy the whole.
    tokens = 1 if independent else logp.shape[1]
    height, width = max(1, BLOCK // tokens), min(tokens, BLOCK)
    blocks = [
        (
            slice(start, min(start + height, part.stop)),
            None if independent else slice(first, min(first + width, tokens)),
        )
        for start in part[::height]
        for first in range(0, tokens, width)
    ]
    sums = [_Sums(estimator) for estimator in estimators]
    for block in blocks:
        p, q, keep = logp[block], logq[block], None if mask is None else mask[block]
        work = scratch()[:, : p.size].reshape(5, *p.shape) if f is np else [None] * 5
        x = _wide_log_r(f, p, q, keep, work[0])
        count = math.prod(x.shape) if keep is None else int(f.count_nonzero(keep))
        lengths = None if independent else _lengths(f, x, keep)
        for each in sums:
            each.add(f, x, keep, count, lengths, work[1:])
        if not np.isfinite(sums[0].sums).all():  # much cheaper than to look at every number
            _check_log_probabilities(*(_kept(f, x + 0.0, keep) for x in (p, q)))
    entries = [each.of_entries() for each in sums]
    if independent:
        return list(zip(entries, entries, strict=True))
    per_row = math.ceil(tokens / width)
    rows = [each.of_rows(f, per_row, part.start) for each in sums]
    return list(zip(entries, rows, strict=True))


def _lengths(f: Any, x: Array, keep: Array | None) -> Array:
    """Return how many entries of each row count, in the type of `x`."""
    if keep is None:
        return f.zeros_like(x[:, 0]) + x.shape[1]
    return f.astype(f.count_nonzero(keep, axis=1), x.dtype)


def _finite(center: FloatArray) -> FloatArray:
    return np.where(np.isfinite(center), center, 0.0)


def _sums_of(f: Any, columns: list[Array], spare: Array | None) -> tuple[FloatArray, FloatArray]:
    """Return the sum of each column, and of the product of each two."""
    products = [[float(f.sum(f.multiply(a, b, out=spare))) for b in columns] for a in columns]
    return np.array([float(f.sum(column)) for column in columns]), np.array(products)


def _log_r(logp: Array, logq: Array) -> Array:
    """Return log q - log p of checked log-probabilities."""
    _, logp, logq = floats(logp=logp, logq=logq)
    _checks.same_shape("logp", logp, "logq", logq)
    _checks.non_empty("logp", logp)
    _check_log_probabilities(logp, logq)
    with np.errstate(over="ignore"):
        return logq - logp


def _check_log_probabilities(logp: Array, logq: Array) -> None:
    xp = namespace(logp)
    if fails(xp.all(xp.isfinite(logp))):
        raise ValueError("logp must be finite: the samples come from p, so p can produce them")
    _checks.below_infinity("logq", logq)


def _wide_log_r(f: Any, logp: Array, logq: Array, keep: Array | None, out: Array) -> Array:
    """Return log q - log p in float64, and 0 where an entry does not count."""
    if f is np:
        return _kept(f, np.subtract(logq, logp, out=out, dtype=np.float64), keep)
    wide = widest(namespace(logp))
    return _kept(f, f.astype(logq, wide) - f.astype(logp, wide), keep)


def _kept(f: Any, x: Array, keep: Array | None) -> Array:
    """Return `x` with 0 where an entry does not count; there may be NaN."""
    if keep is None:
        return x
    if f is not np:
        return f.where(keep, x, 0.0)
    np.copyto(x, 0.0, where=~keep)
    return x


def _columns(f: Any, x: Array, estimator: Estimator, spare: Any) -> list[Array]:
    """Return what is averaged, as functions of x = log r."""
    if estimator == "k1":
        return [f.negative(x, out=spare[0])]
    if estimator == "k2":
        return [f.multiply(f.multiply(x, x, out=spare[0]), 0.5, out=spare[0])]
    if estimator == "optimal":
        return [f.negative(x, out=spare[0]), f.expm1(x, out=spare[1])]
    if f is np and max(-x.min(), x.max()) > NEAR:
        gap = np.subtract(np.expm1(x, out=spare[0]), x, out=spare[0])
        # Each difference is wrong by some eps |x|: mostly that is nothing to their sum.
        if np.abs(x, out=spare[1]).sum() <= 100 * gap.sum():
            return [gap]
    return [exp_gap_into(f, x, *spare)]


def _combination(estimator: Estimator, comoment: FloatArray) -> FloatArray:
    return np.array([1.0, _best_weight(comoment)]) if estimator == "optimal" else np.ones(1)


def _best_weight(comoment: FloatArray) -> float:
    """λ* = -Cov(k1, r - 1) / Var(r - 1); 0 where that is undefined."""
    covariance, variance = comoment[0, 1], comoment[1, 1]
    if not np.isfinite([covariance, variance]).all() or variance <= 0:
        return 0.0
    return float(-covariance / variance)


def _combine(weights: FloatArray, mean: FloatArray) -> float:
    return float(weights[weights != 0] @ mean[weights != 0])


def _root(weights: FloatArray, comoment: FloatArray, degrees: float) -> float:
    """Return the standard deviation of the weighted columns; NaN without degrees of freedom."""
    if degrees < 1:
        return float("nan")
    used = weights != 0  # a column of weight 0 may have overflowed, and 0 * inf is NaN
    weights, comoment = weights[used], comoment[np.ix_(used, used)]
    # Rounding can leave a zero variance a few ulp below zero.
    return float(max(float(weights @ comoment @ weights), 0.0) / degrees) ** 0.5


def _check_estimator(estimator: str) -> None:
    _checks.choice("estimator", estimator, "k1", "k2", "k3", "optimal")
