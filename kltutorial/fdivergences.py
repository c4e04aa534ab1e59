r"""f-divergences :math:`D_f(p \| q) = \sum_x q\, f(p/q)`, and Bregman divergences.

Derived in the chapter :doc:`f-divergences </book/fdivergences>`.
A generator is a convex function f of the ratio :math:`u = p/q` with f(1) = 0.  Those of this
module are in their non-negative form, :math:`f'(1) = 0`; adding :math:`c (u - 1)` to one changes
no divergence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, fails, floats, namespace
from kltutorial._numerics import exp_gap, log, log_ratio, quotient
from kltutorial.divergences import _pointwise_kl

__all__ = [
    "F_DIVERGENCES",
    "FDivergence",
    "alpha_divergence",
    "bregman_divergence",
    "f_divergence",
]

Function: TypeAlias = Callable[[Any], Any]
Perspective: TypeAlias = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class FDivergence:
    r"""An f-divergence: its generator f, and what else one wants to know of it.

    Parameters
    ----------
    name : str
        What it is called.
    f : callable
        The generator, a convex function of the ratio u = p/q with f(1) = 0: takes an array of
        ratios :math:`u \ge 0` and returns one value each.  ``f(0)`` is what an outcome with
        p = 0 adds, per unit of q.
    df : callable
        Its derivative.
    recession : float
        :math:`\lim_{u \to \infty} f(u)/u`, often written :math:`f'(\infty)`: what an outcome
        with q = 0 adds, per unit of p.  NaN, the default, is *unknown*; such outcomes are then
        refused.
    curvature : float
        :math:`f''(1)`; ``inf`` for a kink, NaN if unknown.  Near equality the divergence is half
        of this times :math:`\chi^2`.
    symmetric : bool
        Whether :math:`D_f(p \| q) = D_f(q \| p)` for all p and q.
    perspective : callable, optional
        :math:`q\, f(p/q)` as a function of arrays p and q of non-negative numbers, if it can be
        had without the ratio, which costs digits where p and q nearly agree.  It must also be
        right where p or q is 0.

    Raises
    ------
    TypeError
        If `f`, `df` or `perspective` can't be called, `name` is no string, `recession` or
        `curvature` no number, or `symmetric` neither True nor False.

    Examples
    --------
    >>> jeffreys = FDivergence("jeffreys", lambda u: (u - 1) * np.log(u),
    ...                        lambda u: np.log(u) + 1 - 1 / u, symmetric=True)
    >>> print(f"{f_divergence([0.5, 0.5], [0.25, 0.75], jeffreys):.4f} nats")
    0.2747 nats

    References
    ----------
    Liese and Vajda (2006), "On divergences and informations in statistics and information theory".
    Derived in :doc:`f-divergences </book/fdivergences>`.
    """

    name: str
    f: Function = field(repr=False)
    df: Function = field(repr=False)
    recession: float = field(default=math.nan, repr=False)
    curvature: float = field(default=math.nan, repr=False)
    symmetric: bool = field(default=False, repr=False)
    perspective: Perspective | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _checks.text("name", self.name)
        for name in ("f", "df"):
            _checks.function(name, getattr(self, name))
        for name in ("recession", "curvature"):
            _checks.real(name, getattr(self, name))
        _checks.boolean("symmetric", self.symmetric)
        if self.perspective is not None:
            _checks.function("perspective", self.perspective)

    @property
    def supremum(self) -> float:
        r"""Least upper bound of the divergence, :math:`f(0) + f'(\infty)`.

        It is reached by distributions that have no outcome in common.
        """
        with np.errstate(all="ignore"):
            return float(self.f(np.zeros(1))[0]) + self.recession


def f_divergence(p: Array, q: Array, f: str | FDivergence | Function, *, axis: int = -1) -> Array:
    r"""f-divergence of categorical distributions, :math:`D_f(p \| q) = \sum_x q\, f(p/q)`.

    An outcome with p = 0 adds q f(0).  One with q = 0 adds :math:`p f'(\infty)`, the limit of
    q f(p/q) as q goes to 0; it may be ``inf``.  One that both exclude adds nothing.

    Parameters
    ----------
    p, q : array_like
        Probabilities that broadcast together; ``"kl"`` is the KL divergence of the first from
        the second.
    f : str, FDivergence or callable
        A name in ``F_DIVERGENCES``, an :class:`FDivergence`, or a convex function of the
        ratio p/q with f(1) = 0.  Named ones keep their digits however close p and q are; a
        callable sees only the rounded ratio, and that it is convex is not checked.
    axis : int
        The axis that runs over the outcomes; it is summed away.

    Returns
    -------
    array
        Divergences, never negative if f is convex; in nats for ``"kl"``, ``"reverse_kl"`` and
        ``"jensen_shannon"``.

    Raises
    ------
    ValueError
        If `p` or `q` is empty, negative, not finite or not normalised, if they do not
        broadcast, if `f` is an unknown name, if f(1) is not 0, if `f` returns NaN or not one
        value per ratio, or if q = 0 < p occurs and the recession of `f` is unknown.
    TypeError
        If `p` or `q` is not real numbers, `axis` not an integer, or `f` none of the three.

    Examples
    --------
    >>> p, q = [0.5, 0.5], [0.25, 0.75]
    >>> print(f"{f_divergence(p, q, 'squared_hellinger'):.4f}")
    0.0341
    >>> print(f"{f_divergence(p, q, lambda u: (u - 1) ** 2):.4f}")
    0.3333
    >>> print(f_divergence([0.5, 0.5], [1.0, 0.0], "total_variation"))
    0.5

    References
    ----------
    Liese and Vajda (2006), "On divergences and informations in statistics and information theory".
    Derived in :doc:`f-divergences </book/fdivergences>`.
    """
    perspective = _perspective(f)
    xp, p, q = _checks.distributions(axis, p=p, q=q)
    return xp.sum(perspective(p, q), axis=-1)


def alpha_divergence(alpha: float) -> FDivergence:
    r"""α-divergence, the family that runs from one direction of KL to the other and beyond.

    .. math:: f_\alpha(u) = \frac{u^\alpha - 1 - \alpha (u - 1)}{\alpha (\alpha - 1)}

    With the limits KL(p || q) at α = 1 and KL(q || p) at α = 0.  At α = 2 it is half of χ², at
    -1 half of Neyman's χ², at ½ four times the squared Hellinger distance.  All have
    :math:`f''(1) = 1`, and swapping p and q swaps α and 1 - α.

    Parameters
    ----------
    alpha : float
        Any finite number.

    Returns
    -------
    FDivergence
        For :func:`f_divergence`.

    Raises
    ------
    ValueError
        If `alpha` is not finite.
    TypeError
        If `alpha` is not a number.

    Examples
    --------
    >>> alpha_divergence(0.5)
    FDivergence(name='alpha(0.5)')
    >>> p, q = [0.5, 0.5], [0.25, 0.75]
    >>> print(f"{f_divergence(p, q, alpha_divergence(1)):.4f} nats")
    0.1438 nats

    References
    ----------
    Cichocki and Amari (2010), "Families of alpha- beta- and gamma-divergences", section 2.
    Derived in :doc:`f-divergences </book/fdivergences>`.
    """
    alpha = _checks.finite_real("alpha", alpha)

    def perspective(p: Array, q: Array) -> Array:
        return _alpha_terms(p, q, alpha) if alpha <= 0.5 else _alpha_terms(q, p, 1 - alpha)

    def df(u: Array) -> Array:
        if alpha == 1:
            return log(u)
        return _power_gap(u, namespace(u).ones_like(u), alpha - 1, log(u))

    return _member(f"alpha({alpha:g})", perspective, df, 1.0, symmetric=alpha == 0.5)


def bregman_divergence(phi: Function, grad_phi: Function, x: Array, y: Array) -> Array:
    r"""Bregman divergence, :math:`\phi(x) - \phi(y) - \langle \nabla\phi(y), x - y \rangle`.

    The height of a convex function at `x` above its tangent at `y`.  Where the two nearly agree
    the subtraction loses digits: for a KL divergence use :func:`kl_divergence`.

    Parameters
    ----------
    phi : callable
        A convex function; that it is convex is not checked.  If it returns one value per
        entry, each entry is a number of its own; if it returns one value per vector along the
        last axis, the gaps are those of vectors.
    grad_phi : callable
        Its derivative or gradient, of the shape of its argument.
    x, y : array_like
        Points that broadcast together.

    Returns
    -------
    array
        One gap per entry or per vector, as `phi` has it; never negative if it is convex.

    Raises
    ------
    ValueError
        If `x` or `y` is empty or not finite, if they do not broadcast, or if `phi` or
        `grad_phi` returns NaN or the wrong shape.
    TypeError
        If `x` or `y` is not real numbers, or `phi` or `grad_phi` can't be called.

    Examples
    --------
    >>> print(bregman_divergence(lambda r: -np.log(r), lambda r: -1 / r, [0.5, 2.0], 1.0).round(4))
    [0.1931 0.3069]
    >>> print(bregman_divergence(lambda v: v @ v, lambda v: 2 * v, [3.0, 0.0], [0.0, 4.0]))
    25.0

    References
    ----------
    Banerjee, Merugu, Dhillon and Ghosh (2005), "Clustering with Bregman divergences", definition 1.
    Derived in :doc:`f-divergences </book/fdivergences>`.
    """
    _checks.function("phi", phi)
    _checks.function("grad_phi", grad_phi)
    xp, x, y = floats(x=x, y=y)
    _checks.filled("x", x)
    _checks.filled("y", y)
    _checks.broadcast("x and y", x, y)
    x, y = xp.broadcast_arrays(x, y)
    calls = ("phi", phi, x), ("phi", phi, y), ("grad_phi", grad_phi, y)
    height, foot, slope = (_returned(name, function(point)) for name, function, point in calls)
    _checks.same_shape("what grad_phi returns", slope, "y", y)
    rise = slope * (x - y)
    if height.shape != x.shape:
        rise = xp.sum(rise, axis=-1)
    _checks.same_shape("what phi returns", height, "its tangent", rise)
    return height - foot - rise


def _returned(name: str, value: Array) -> Array:
    """Return what a user's function gave back, as a floating array without NaN."""
    name = f"what {name} returns"
    _, array = floats(**{name: value})
    _checks.no_nan(name, array)
    return array


def _perspective(f: str | FDivergence | Function) -> Perspective:
    """Return (p, q) -> q f(p/q)."""
    if isinstance(f, str):
        if f not in F_DIVERGENCES:
            raise ValueError(f"f must be one of {', '.join(F_DIVERGENCES)}, got {f!r}")
        f = F_DIVERGENCES[f]
    if isinstance(f, FDivergence):
        return f.perspective or partial(_terms, f.f, f.recession)
    if not callable(f):
        raise TypeError(f"f must be a name, an FDivergence or a callable, got {type(f).__name__}")
    return partial(_terms, f, math.nan)


def _terms(f: Function, recession: float, p: Array, q: Array) -> Array:
    """Return q f(p/q) of a generator that is known as a function of the ratio alone."""
    xp = namespace(p, q)
    p, q = xp.broadcast_arrays(p, q)
    excluded = q == 0
    only_p = excluded & (p > 0)
    if math.isnan(recession) and fails(~xp.any(only_p)):
        raise ValueError(
            "f must be an FDivergence with its recession where q is 0 and p is not: "
            "a function of p/q doesn't say what such an outcome adds"
        )
    with np.errstate(all="ignore"):
        u = xp.where(excluded, 1.0, p) / xp.where(excluded, 1.0, q)
        _, values = floats(**{"what f returns": f(u)})
        _checks.same_shape("what f returns", values, "p/q", u)
        if fails(~xp.any(xp.isnan(values))):
            raise ValueError(
                f"f must not return NaN, and does at u = {float(u[xp.isnan(values)][0]):g}: "
                "where p is 0, it must return its limit at 0"
            )
        at_one = xp.max(xp.abs(f(xp.ones_like(xp.reshape(u, (-1,))[:1]))))
        if fails(at_one <= 1e-9):
            raise ValueError(f"f must be 0 at 1, got {float(at_one):g}")
        # Infinite recession times a p of 0 would be NaN.
        limit = p * recession if math.isfinite(recession) else xp.where(only_p, recession, p)
        return xp.where(excluded, limit, q * values)


def _member(
    name: str, perspective: Perspective, df: Function, curvature: float, *, symmetric: bool = False
) -> FDivergence:
    """Return the f-divergence with this perspective function: f(u) is its value at (u, 1)."""
    perspective, df = np.errstate(all="ignore")(perspective), np.errstate(all="ignore")(df)

    def f(u: Array) -> Array:
        xp, u = floats(u=u)
        _checks.non_negative("u", u)
        return +perspective(u, xp.ones_like(u))

    def derivative(u: Array) -> Array:
        _, u = floats(u=u)
        _checks.non_negative("u", u)
        return +df(u)

    recession = float(perspective(np.ones(1), np.zeros(1))[0])
    return FDivergence(name, f, derivative, recession, curvature, symmetric, perspective)


def _reverse_kl(p: Array, q: Array) -> Array:
    return _pointwise_kl(q, p)


def _jensen_shannon(p: Array, q: Array) -> Array:
    # The mean of p and q would lose digits of the smallest numbers; twice the mean does not.
    return (_pointwise_kl(2 * p, p + q, q - p) + _pointwise_kl(2 * q, p + q, p - q)) / 4


def _squared_hellinger(p: Array, q: Array) -> Array:
    xp, inside, a, b = _inside(p, q)
    # The difference of p and q loses nothing; that of their roots would.
    difference = (a - b) / (xp.sqrt(a) + xp.sqrt(b))
    return xp.where(inside, difference * difference, p + q) / 2


def _chi2(p: Array, q: Array) -> Array:
    xp = namespace(p, q)
    root = (p - q) / xp.sqrt(xp.where(q > 0, q, 1.0))
    return xp.where((p > 0) & (q == 0), math.inf, root * root)


def _neyman_chi2(p: Array, q: Array) -> Array:
    return _chi2(q, p)


def _inside(p: Array, q: Array) -> tuple[Any, Array, Array, Array]:
    """Return the namespace, where p and q are both above 0, and the two with 1 elsewhere."""
    xp = namespace(p, q)
    inside = (p > 0) & (q > 0)
    return xp, inside, xp.where(inside, p, 1.0), xp.where(inside, q, 1.0)


def _power_gap(a: Array, b: Array, power: float, x: Array) -> Array:
    """Return b ((a/b)**power - 1) / power, where x is log(a/b)."""
    xp, y = namespace(a, b), power * x
    near = xp.abs(y) < 1
    # Where a/b, its power or its derivative could leave the range of floats, the roots do not.
    limit = math.sqrt(xp.finfo(x.dtype).smallest_normal)
    plain = (max(1, abs(power)) * xp.abs(x) < -math.log(limit)) & (b > limit)
    ratio = quotient(xp.where(plain, a, 1.0), xp.where(plain, b, 1.0))
    raised = xp.where(plain, ratio, xp.sqrt(a) / xp.sqrt(b)) ** power
    far = (xp.where(plain, b * raised, (xp.sqrt(b) * raised) ** 2) - b) / power
    return xp.where(near, b * (xp.expm1(xp.where(near, y, 0.0)) / power), far)


def _alpha_terms(p: Array, q: Array, alpha: float) -> Array:
    """Return q f_α(p/q) for α ≤ ½; above, swapping p and q swaps α and 1 - α."""
    if alpha == 0:
        return _reverse_kl(p, q)
    xp, inside, a, b = _inside(p, q)
    x = log_ratio(a, b)
    # With g(x) = e^x - 1 - x, f_α is (g(x) - g(αx)/α) / (1 - α): for α ≤ ½ the two terms
    # don't cancel near x = 0.  Far from it they are better had from p and q themselves.
    near = (xp.abs(x) < 2) & (xp.abs(alpha * x) < 1)
    small = xp.where(near, x, 0.0)
    gap = b * (exp_gap(small) - exp_gap(alpha * small) / alpha)
    far = (a - b) - _power_gap(a, b, alpha, x)
    edge = p / (1 - alpha) + q / alpha
    if alpha < 0:
        edge = xp.where(q > 0, math.inf, edge)
    return xp.where(inside, xp.where(near, gap, far) / (1 - alpha), edge)


F_DIVERGENCES: Mapping[str, FDivergence] = MappingProxyType(
    {
        member.name: member
        for member in (
            _member("kl", _pointwise_kl, log, 1.0),
            _member("reverse_kl", _reverse_kl, lambda u: (u - 1) / u, 1.0),
            _member(
                "jensen_shannon",
                _jensen_shannon,
                lambda u: log_ratio(2 * u, 1 + u, u - 1) / 2,
                0.25,
                symmetric=True,
            ),
            _member(
                "squared_hellinger",
                _squared_hellinger,
                lambda u: (u - 1) / (u + u**0.5) / 2,
                0.25,
                symmetric=True,
            ),
            _member(
                "total_variation",
                lambda p, q: namespace(p, q).abs(p - q) / 2,
                lambda u: namespace(u).sign(u - 1) / 2,
                math.inf,
                symmetric=True,
            ),
            _member("chi2", _chi2, lambda u: 2 * (u - 1), 2.0),
            _member("neyman_chi2", _neyman_chi2, lambda u: (u - 1) / u * ((u + 1) / u), 2.0),
        )
    }
)
"""The f-divergences that have a name, by that name."""
