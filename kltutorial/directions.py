r"""Fits of a normal to a target density in both directions, exactly.

Derived in the chapter :doc:`Forward and reverse KL </book/directions>`.  Forward is
KL(target || normal), reverse is KL(normal || target).  Nothing is sampled: integrals are sums
over an equidistant grid, refined until they stand still.  For smooth functions that vanish at
both ends this rule gains digits exponentially.  (Gauss–Hermite quadrature does not: its nodes
are too far apart for the crease that a log-density has between two bumps.)

Public names: :class:`NormalMixture` (a target), :class:`NormalFit` (a result),
:func:`forward_fit` (moments matched), :func:`reverse_fit` (the local optimum that descent
reaches from a start) and :func:`kl_from_normal` (the loss surface of the latter).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial._checks import FloatArray
from kltutorial._numerics import log

__all__ = ["NormalFit", "NormalMixture", "forward_fit", "kl_from_normal", "reverse_fit"]

LogDensity = Callable[[FloatArray], ArrayLike]

_REACH = 10.0  # standard deviations beyond which a normal has less than 1e-22 of its mass
_LOG_ROOT_TWO_PI = math.log(2 * math.pi) / 2
_TOLERANCE = 1e-12


class NormalFit(NamedTuple):
    """Mean and standard deviation of a fitted normal, and the divergence that is left, in nats.

    See :doc:`Forward and reverse KL </book/directions>`.
    """

    mean: float
    std: float
    kl: float

    def __str__(self) -> str:
        mean, std, kl = (round(value, 4) + 0.0 for value in self)  # no minus before a zero
        return f"mean {mean:.4f}, sd {std:.4f}, KL {kl:.4f} nats"


class NormalMixture:
    r"""Mixture of normal distributions, :math:`\sum_i w_i\, \mathcal N(\mu_i, \sigma_i^2)`.

    What is given is kept in the attributes `means`, `stds` and `weights`, of shape (bumps,) each.

    Parameters
    ----------
    means : array_like
        Means of the bumps, shape (bumps,).
    stds : array_like
        Their standard deviations; one for all, or shape (bumps,).
    weights : array_like, optional
        Their probabilities, shape (bumps,); by default equal.

    Raises
    ------
    ValueError
        If the shapes do not fit, a mean is not finite, a standard deviation not positive and
        finite, or the weights are not a distribution.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> two_bumps = NormalMixture([-4, 4])
    >>> two_bumps.log_density([0.0, 4.0]).round(4)
    array([-8.9189, -1.6121])

    References
    ----------
    Introduced in :doc:`Forward and reverse KL </book/directions>`.
    """

    def __init__(
        self, means: ArrayLike, stds: ArrayLike = 1.0, weights: ArrayLike | None = None
    ) -> None:
        self.means = _checks.real_array("means", means)
        if self.means.ndim != 1:
            raise ValueError(f"means must have shape (bumps,), got {self.means.shape}")
        stds = _checks.real_array("stds", stds)
        _checks.positive("stds", stds)
        self.stds = np.full(self.means.shape, stds) if stds.ndim == 0 else stds
        _checks.same_shape("means", self.means, "stds", self.stds)
        if weights is None:
            weights = np.full(self.means.shape, 1 / self.means.size)
        _, weights = _checks.distributions(-1, weights=weights)
        self.weights = _checks.as_float_array("weights", weights)
        _checks.same_shape("means", self.means, "weights", self.weights)

    def log_density(self, x: ArrayLike) -> FloatArray:
        """Logarithm of the density.

        Parameters
        ----------
        x : array_like
            Where, any shape.

        Returns
        -------
        numpy.ndarray or numpy.floating
            One value for each point, also where the density itself would underflow.

        Raises
        ------
        ValueError
            If `x` is empty or not finite.
        TypeError
            If `x` is not real numbers.

        Examples
        --------
        >>> print(f"{NormalMixture([0.0]).log_density(40.0):.4f}")
        -800.9189
        """
        x = _checks.real_array("x", x)
        one_per_bump = (-1, *[1] * x.ndim)
        z = (x - self.means.reshape(one_per_bump)) / self.stds.reshape(one_per_bump)
        heights = log(self.weights) - np.log(self.stds) - _LOG_ROOT_TWO_PI
        return np.logaddexp.reduce(heights.reshape(one_per_bump) - z * z / 2, axis=0)


def forward_fit(log_density: LogDensity, *, bounds: tuple[float, float]) -> NormalFit:
    r"""Fit the normal that minimises KL(target || normal): it has the target's moments.

    There is one optimum, and the loss elsewhere follows from it: for every normal q,
    :math:`\mathrm{KL}(p \| q) = \mathrm{KL}(p \| q^*) + \mathrm{KL}(q^* \| q)`, where
    :math:`q^*` is the fit.

    Parameters
    ----------
    log_density : callable
        Logarithm of the target density, smooth; takes an array and returns one of its shape.
        It has to be normalised, since the divergence that is left is reported, too.
    bounds : (float, float)
        An interval outside of which the target has no mass worth counting.

    Returns
    -------
    NormalFit
        Mean and standard deviation of the target, and KL(target || fit).

    Raises
    ------
    ValueError
        If `bounds` is no interval, cuts off mass or holds less than 1 to nine digits, or if
        `log_density` returns another shape, NaN or ``+inf``, or is too rough to be integrated.
    TypeError
        If `log_density` is not callable or does not return real numbers.

    Examples
    --------
    >>> print(forward_fit(NormalMixture([-4, 4]).log_density, bounds=(-20, 20)))
    mean 0.0000, sd 4.1231, KL 0.7236 nats

    References
    ----------
    Bishop (2006), *Pattern Recognition and Machine Learning*, section 10.7.
    Derived in :doc:`Forward and reverse KL </book/directions>`.
    """
    _checks.function("log_density", log_density)
    interval = _checks.real_array("bounds", bounds)
    if interval.shape != (2,) or interval[0] >= interval[1]:
        raise ValueError(f"bounds must be (low, high) with low < high, got {bounds}")
    low, high = interval.tolist()

    def mean_of(function: Callable[[FloatArray], FloatArray]) -> float:
        def terms(x: FloatArray) -> FloatArray:
            density = np.exp(_evaluate(log_density, x))
            return np.where(density > 0, density * function(x), 0)[None]

        return float(_integrate(terms, low, high)[0])

    mass = mean_of(np.ones_like)
    if abs(mass - 1) > 1e-9:
        raise ValueError(
            f"log_density must be normalised and bounds must hold its mass: they hold {mass:.10g}"
        )
    mean = mean_of(lambda x: x)
    std = math.sqrt(mean_of(lambda x: (x - mean) ** 2))
    # The mean of the fit's own log-density is minus its entropy, since the moments agree.
    kl = mean_of(lambda x: _evaluate(log_density, x)) + _normal_entropy(std)
    return NormalFit(mean, std, kl)


def kl_from_normal(mean: ArrayLike, std: ArrayLike, log_density: LogDensity) -> FloatArray:
    r"""KL divergence of a normal from a target density, KL(normal || target).

    The samples, if there were any, would come from the normal, so the target need not be
    normalised.  If it is not, with :math:`Z` its mass, the result is
    :math:`\mathrm{KL} - \log Z`: minus what is called the evidence lower bound.

    Parameters
    ----------
    mean, std : array_like
        Mean and standard deviation of the normal; they broadcast together.
    log_density : callable
        Logarithm of the target density up to a constant, smooth; takes an array and returns one
        of its shape.

    Returns
    -------
    numpy.ndarray or numpy.floating
        Divergences in nats, right to about twelve digits; ``inf`` where the target excludes
        what the normal produces.

    Raises
    ------
    ValueError
        If `mean` is not finite, `std` not positive and finite, the two do not broadcast, or
        `log_density` returns another shape, NaN or ``+inf``, or is too rough to be integrated.
    TypeError
        If `mean` or `std` is not real numbers, or `log_density` is not callable or does not
        return real numbers.

    Examples
    --------
    >>> target = NormalMixture([-4, 4]).log_density
    >>> kl_from_normal([0, 4], 1, target).round(4)
    array([5.421 , 0.6931])

    References
    ----------
    Derived in :doc:`Forward and reverse KL </book/directions>`.
    """
    mean, std = _checks.real_array("mean", mean), _checks.real_array("std", std)
    _checks.positive("std", std)
    shape = _checks.broadcast("mean and std", mean, std)
    _checks.function("log_density", log_density)
    pairs = zip(np.broadcast_to(mean, shape).flat, np.broadcast_to(std, shape).flat, strict=True)
    values = [_loss(_moments(log_density, float(m), float(s), 1), float(s)) for m, s in pairs]
    return np.reshape(values, shape)[()]


def reverse_fit(log_density: LogDensity, *, mean: float, std: float) -> NormalFit:
    r"""Fit a normal by descent on KL(normal || target), from a given start.

    The loss may have several local optima, and the start decides which one is reached.
    Newton's method with the absolute Hessian, so that it descends.  Gradient and Hessian are
    means of the log-density times polynomials: the target is never differentiated.

    Parameters
    ----------
    log_density : callable
        Logarithm of the target density up to a constant, smooth and finite; takes an array and
        returns one of its shape.
    mean, std : float
        The normal to start from.

    Returns
    -------
    NormalFit
        A local minimum, and KL(normal || target) there; less log Z if the target is not
        normalised, as in :func:`kl_from_normal`.

    Raises
    ------
    ValueError
        If `mean` is not finite, `std` not positive and finite, `log_density` returns another
        shape or what is not finite, or is too rough to be integrated, or no minimum is found.
    TypeError
        If `mean` or `std` is not a number, or `log_density` is not callable or does not return
        real numbers.

    Examples
    --------
    >>> target = NormalMixture([-4, 4]).log_density
    >>> for start in (4, 0):
    ...     print(reverse_fit(target, mean=start, std=1))
    mean 3.9996, sd 1.0008, KL 0.6931 nats
    mean 0.0000, sd 3.4727, KL 1.8712 nats

    References
    ----------
    Opper and Archambeau (2009), "The variational Gaussian approximation revisited".
    Derived in :doc:`Forward and reverse KL </book/directions>`.
    """
    _checks.function("log_density", log_density)
    centre, width = _checks.finite_real("mean", mean), _checks.positive_real("std", std)
    loss, gradient, hessian = _derivatives(log_density, centre, width)
    for _ in range(100):
        curvatures, axes = np.linalg.eigh(hessian)
        step = -axes @ (axes.T @ gradient / np.maximum(np.abs(curvatures), 1e-6))
        step /= max(1.0, float(np.abs(step).max()))
        while True:  # halve the step until it descends, or is too small to tell
            trial = centre + width * float(step[0]), width * math.exp(step[1])
            trial_loss, gradient, hessian = _derivatives(log_density, *trial)
            length = float(np.abs(step).max())
            if trial_loss <= loss or length < 1e-6:
                break
            step /= 2
        (centre, width), loss = trial, trial_loss
        if length < 1e-8:
            if curvatures[0] <= 0:
                raise ValueError("mean and std are a saddle point of the loss: start elsewhere")
            return NormalFit(centre, width, loss)
    raise ValueError("log_density has no minimum of the loss within 100 steps from mean and std")


def _derivatives(
    log_density: LogDensity, mean: float, std: float
) -> tuple[float, FloatArray, FloatArray]:
    """Loss, gradient and Hessian of KL(normal || target) in the coordinates mean/std, log std."""
    moments = _moments(log_density, mean, std, 5)
    if np.isinf(moments[0]):
        raise ValueError("log_density must be finite: else KL(normal || target) is infinite")
    _, a, b, c, d = moments
    return _loss(moments, std), np.array([-a, -1 - b]), np.array([[-b, -c], [-c, -d]])


def _loss(moments: FloatArray, std: float) -> float:
    """KL(normal || target): cross-entropy less entropy."""
    return float(-moments[0] - _normal_entropy(std))


def _normal_entropy(std: float) -> float:
    return math.log(std) + _LOG_ROOT_TWO_PI + 0.5


def _moments(log_density: LogDensity, mean: float, std: float, count: int) -> FloatArray:
    """Means of the log-density under the normal, times the first few of five polynomials.

    The polynomials are what differentiating the normal by mean/std and log std brings down.
    """

    def terms(z: FloatArray) -> FloatArray:
        scores = np.array([z**0, z, z**2 - 1, z**3 - 3 * z, z**4 - 4 * z**2 + 1][:count])
        return (
            scores * np.exp(-z * z / 2 - _LOG_ROOT_TWO_PI) * _evaluate(log_density, mean + std * z)
        )

    return _integrate(terms, -_REACH, _REACH)


def _evaluate(log_density: LogDensity, x: FloatArray) -> FloatArray:
    values = _checks.as_float_array("log_density", log_density(x))
    if values.shape != x.shape:
        raise ValueError(
            f"log_density must return one value per point, got {values.shape} for {x.shape}"
        )
    _checks.below_infinity("log_density", values)
    return values


def _integrate(terms: Callable[[FloatArray], FloatArray], low: float, high: float) -> FloatArray:
    """Integrals of the rows of `terms`, which vanish at both ends, by the trapezoid rule.

    The grid is halved until two results agree; the second is then far better than they agree.
    """
    width = (high - low) / 64
    with np.errstate(invalid="ignore"):  # 0 * inf and inf - inf, which nobody looks at
        coarse = width * terms(np.linspace(low, high, 65))
        integral, size = coarse.sum(axis=-1), np.abs(coarse).sum(axis=-1)
        for halving in range(12):
            between = width * terms(low + width * (np.arange(64 << halving) + 0.5))
            previous, integral = integral, (integral + between.sum(axis=-1)) / 2
            size = (size + np.abs(between).sum(axis=-1)) / 2
            if np.isinf(integral[0]) or (np.abs(integral - previous) <= _TOLERANCE * size).all():
                return integral
            width /= 2
    raise ValueError(
        "log_density is too rough, or cut off: its integrals do not settle on a fine grid"
    )
