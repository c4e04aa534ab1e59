"""Monte Carlo estimators of KL(p || q) from log-probabilities of samples of p.

Derived in the chapter :doc:`Three estimators </book/three_estimators>`.
Everywhere ``logp`` and ``logq`` are the log-probabilities that p and q give to the *same*
samples, and the samples come from p, the first argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kltutorial import _checks
from kltutorial._arrays import Array, as_array, fails, floats
from kltutorial._checks import FloatArray
from kltutorial._numerics import PENALTIES, exp_gap, half_square, log_ratio

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
Unit = Literal["token", "sequence"]

# Elements handled at a time: large enough to hide Python's overhead, small enough for a cache.
_BLOCK = 1 << 16


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
    never negative.  Correct to 4 units in the last place, in float32 and in float64, also for
    small log-ratios, where ``exp(x) - x - 1`` returns 0 or a negative number.

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


def optimal_control_variate(logp: ArrayLike, logq: ArrayLike) -> float:
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
    columns = _columns(_log_r(logp, logq).ravel(), "optimal")
    return _best_weight(_Moments.of(columns).comoment)


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
    p, q = _checks.as_float_array("p", p), _checks.as_float_array("q", q)
    _checks.distributions(-1, p=p, q=q)
    if p.ndim != 1 or q.ndim != 1:
        raise ValueError(f"p and q must have shape (outcomes,), got {p.shape} and {q.shape}")
    possible = p > 0
    if (q[possible] == 0).any():
        raise ValueError("q must be positive wherever p is: the estimate is infinite elsewhere")
    weight = p[possible].astype(np.float64)
    columns = _columns(log_ratio(q[possible], p[possible]), estimator)
    weight = weight / weight.sum()
    combination = _combination(estimator, _Moments.of(columns, weight).comoment)
    used = combination != 0  # a column of weight 0 may have overflowed, and 0 * inf is NaN
    moments = _Moments.of((combination[used] @ columns[used])[None], weight)
    return EstimatorMoments(float(moments.mean[0]), float(moments.comoment[0, 0]) ** 0.5)


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
        else:
            gain = exp_gap(m) / np.expm1(m) if 0 < m < 1 else 1 - m / np.expm1(m)
            mean, variance = kl, m * gain if 0 < m < 700 else m
    return EstimatorMoments(float(mean), float(np.sqrt(variance)))


@dataclass(frozen=True, repr=False, eq=False)
class KLEstimate:
    """Estimate of KL(p || q) with its uncertainty; made by :func:`estimate_kl`.

    Estimates of one kind add up: ``a + b`` is the estimate from the samples of both.

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
        one at 95 % covers less than seven times in ten.  It shows in the standard errors:
        where that of k3 is above that of k1 on the same samples, use k1, whose interval still
        covers there.

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
            clusters = self._clusters + other._clusters
        return KLEstimate(self.estimator, self.unit, self._units + other._units, clusters)

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


def estimate_kl(
    logp: ArrayLike,
    logq: ArrayLike,
    *,
    estimator: Estimator = "k3",
    unit: Unit = "token",
    where: ArrayLike | None = None,
) -> KLEstimate:
    r"""Estimate KL(p || q), with a standard error that means something.

    One-dimensional input is taken as independent samples.  Two-dimensional input, (sequences,
    tokens), gives the mean per token or per sequence; either way the sequences are the
    independent samples, since tokens within one depend on one another.  Memory beyond the
    inputs does not grow with them if they are float32 or float64 arrays; others are converted.

    Where q/p has heavy tails, the standard error of ``"k3"`` and ``"optimal"`` is itself too
    small: see :meth:`KLEstimate.interval`.

    Parameters
    ----------
    logp, logq : array_like
        Log-probabilities, in nats, that p and q give to samples of p; equal shapes, (samples,)
        or (sequences, tokens).
    estimator : {"k3", "k1", "k2", "optimal"}
        ``"optimal"`` is :math:`k_1 + \lambda^* (r - 1)` with λ* from the same samples, which
        costs a bias of order 1/n.
    unit : {"token", "sequence"}
        What the mean is per, for two-dimensional input.  ``"sequence"`` sums over the tokens.
    where : array_like of bool, optional
        True for the entries that count.  The others are never read and may hold anything.

    Returns
    -------
    KLEstimate
        With ``.mean``, ``.std``, ``.std_error``, ``.n`` and ``.interval(level)``; ``+`` merges.

    Raises
    ------
    ValueError
        If shapes differ or are not one- or two-dimensional, the input is empty, a sequence has
        no token that counts, `logp` is not finite, `logq` is NaN or ``+inf``, or a name is
        unknown.
    TypeError
        If `logp` or `logq` is not real numbers or `where` is not boolean.

    Examples
    --------
    >>> logp = np.log([[0.5, 0.5], [0.5, 0.9]])
    >>> logq = np.log([[0.4, 0.6], [0.4, 0.9]])
    >>> estimate_kl(logp, logq, estimator="k1")
    KLEstimate(k1: 0.06599 ± 0.046 nats per token, 4 tokens in 2 sequences)
    >>> estimate_kl(logp, logq, estimator="k1", unit="sequence")
    KLEstimate(k1: 0.132 ± 0.091 nats per sequence, 2 sequences)

    References
    ----------
    Derived in :doc:`Three estimators </book/three_estimators>`.
    """
    _check_estimator(estimator)
    _checks.choice("unit", unit, "token", "sequence")
    logp = _checks.as_float_array("logp", logp)
    logq = _checks.as_float_array("logq", logq)
    _checks.same_shape("logp", logp, "logq", logq)
    if logp.ndim not in (1, 2):
        raise ValueError(
            f"logp must have shape (samples,) or (sequences, tokens), got {logp.shape}"
        )
    _checks.non_empty("logp", logp)
    mask = None
    if where is not None:
        mask = as_array("where", where)
        if mask.dtype != np.bool_:
            raise TypeError(f"where must be boolean, got dtype {mask.dtype}")
        _checks.same_shape("where", mask, "logp", logp)
    if logp.ndim == 1:
        if unit == "sequence":
            raise ValueError("unit='sequence' needs logp of shape (sequences, tokens)")
        if mask is not None and not mask.any():
            raise ValueError("where must keep at least one sample")
        as_row = logp[None], logq[None], None if mask is None else mask[None]
        units, _ = _moments_of_rows(*as_row, estimator)
        return KLEstimate(estimator, "sample", units, None)
    tokens, sequences = _moments_of_rows(logp, logq, mask, estimator)
    if unit == "token":
        return KLEstimate(estimator, "token", tokens, sequences)
    return KLEstimate(estimator, "sequence", sequences.without_last(), None)


def estimate_kl_chunks(
    chunks: Iterable[tuple[ArrayLike, ...]],
    *,
    estimator: Estimator = "k3",
    unit: Unit = "token",
) -> KLEstimate:
    """Estimate KL(p || q) from chunks of samples, as :func:`estimate_kl` does from all at once.

    Parameters
    ----------
    chunks : iterable of tuple
        Each ``(logp, logq)`` or ``(logp, logq, where)``, as :func:`estimate_kl` takes them.
        Chunks of sequences may differ in their padded length; no sequence may be split.
    estimator, unit : str
        As for :func:`estimate_kl`.

    Returns
    -------
    KLEstimate
        The merged estimate.

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
    merged: KLEstimate | None = None
    for index, chunk in enumerate(chunks):
        if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
            raise ValueError(f"chunks[{index}] must be (logp, logq) or (logp, logq, where)")
        where = chunk[2] if len(chunk) == 3 else None
        estimate = estimate_kl(chunk[0], chunk[1], estimator=estimator, unit=unit, where=where)
        merged = estimate if merged is None else merged + estimate
    if merged is None:
        raise ValueError("chunks must hold at least one chunk")
    return merged


@dataclass(frozen=True, eq=False)
class _Moments:
    """Count, means and co-moments (sums of products of deviations) of a few columns."""

    count: int
    mean: FloatArray
    comoment: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, weights: FloatArray | None = None) -> _Moments:
        """Moments of the rows of `columns`, shape (columns, n), accumulated in float64."""
        columns = columns.astype(np.float64, copy=False)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = np.average(columns, axis=1, weights=weights)
            # A column that does not vary must have no variance, not that of its mean's rounding.
            mean = np.where(columns.min(axis=1) == columns.max(axis=1), columns[:, 0], mean)
            deviations = columns - mean[:, None]
            scaled = deviations if weights is None else deviations * weights
            return cls(columns.shape[1], mean, scaled @ deviations.T)

    def __add__(self, other: _Moments) -> _Moments:
        count = self.count + other.count
        with np.errstate(invalid="ignore", over="ignore"):
            step = other.mean - self.mean
            mean = np.where(
                np.isfinite(step),
                self.mean + step * (other.count / count),
                self.mean * (self.count / count) + other.mean * (other.count / count),
            )
            between = np.outer(step, step) * (self.count * other.count / count)
            return _Moments(count, mean, self.comoment + other.comoment + between)

    def without_last(self) -> _Moments:
        """Return the moments of all columns but the last."""
        return _Moments(self.count, self.mean[:-1], self.comoment[:-1, :-1])


def _moments_of_rows(
    logp: FloatArray, logq: FloatArray, mask: NDArray[np.bool_] | None, estimator: Estimator
) -> tuple[_Moments, _Moments]:
    """Moments over entries, and over rows (the sums of each row, then its count of entries)."""
    n_rows, n_columns = logp.shape
    rows_at_once = max(1, _BLOCK // n_columns)
    entries: _Moments | None = None
    rows: _Moments | None = None
    for start in range(0, n_rows, rows_at_once):
        row = slice(start, start + rows_at_once)
        sums: FloatArray | float = 0.0
        for first in range(0, n_columns, _BLOCK):
            block = row, slice(first, first + _BLOCK)
            keep = np.True_ if mask is None else mask[block]
            # Every column is 0 where both log-probabilities are, so masked entries add nothing.
            x = _log_r(np.where(keep, logp[block], 0), np.where(keep, logq[block], 0))
            columns = _columns(x, estimator)
            kept = columns.reshape(len(columns), -1) if mask is None else columns[:, keep]
            if kept.size:
                entries = _merged(entries, _Moments.of(kept))
            counts = np.broadcast_to(keep, x.shape)
            sums = sums + np.stack([*columns, counts]).sum(axis=2, dtype=np.float64)
        sums = np.asarray(sums)
        if not sums[-1].all():
            empty = start + int(np.argmin(sums[-1]))
            raise ValueError(
                f"where must keep at least one token of each sequence; {empty} has none"
            )
        rows = _merged(rows, _Moments.of(sums))
    return cast(_Moments, entries), cast(_Moments, rows)  # the input is not empty


def _merged(done: _Moments | None, new: _Moments) -> _Moments:
    return new if done is None else done + new


def _log_r(logp: Array, logq: Array) -> Array:
    """Return log q - log p of checked log-probabilities."""
    xp, logp, logq = floats(logp=logp, logq=logq)
    _checks.same_shape("logp", logp, "logq", logq)
    _checks.non_empty("logp", logp)
    if fails(xp.all(xp.isfinite(logp))):
        raise ValueError("logp must be finite: the samples come from p, so p can produce them")
    _checks.below_infinity("logq", logq)
    with np.errstate(over="ignore"):
        return logq - logp


def _columns(x: FloatArray, estimator: Estimator) -> FloatArray:
    """Return what is averaged, as functions of x = log r, stacked in front."""
    if estimator == "optimal":
        with np.errstate(over="ignore"):
            return np.stack([-x, np.expm1(x)])
    return PENALTIES[estimator](x)[None]


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
