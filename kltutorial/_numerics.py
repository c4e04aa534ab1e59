"""Elementary functions that keep their digits where the textbook forms lose them."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import neg

import numpy as np

from kltutorial._arrays import Array, detach, namespace

__all__: list[str] = []

# 1/2!, 1/3!, ...: the series of (exp(x) - 1 - x) / x**2.  Eighteen terms reach the last
# digit of float64 for |x| < 1.
_COEFFICIENTS = [1 / math.factorial(k) for k in range(2, 20)]


def exp_gap(x: Array) -> Array:
    r"""Gap of the inequality :math:`1 + x \le e^x`, that is :math:`e^x - 1 - x`.

    With :math:`x = \log r` this is the gap of :math:`\log r \le r - 1`.  Below :math:`|x| = 1`
    the subtraction would cancel (at ``x = 1e-4`` in float32 nothing is left), so the series is
    summed instead.  Error at most 4 units in the last place, in float32 and in float64; never
    negative.  ``-inf`` and ``inf`` give ``inf``.  It can be differentiated.
    """
    xp = namespace(x)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        near = xp.abs(x) < 1
        # Far away the series is not used.  At 0 it can't overflow either, which would be a NaN
        # in the gradient although not in the value.
        small = xp.where(near, x, 0.0)
        series = xp.full_like(x, _COEFFICIENTS[-1])
        for coefficient in reversed(_COEFFICIENTS[:-1]):
            series = series * small + coefficient
        # Far beyond overflow the subtraction no longer matters, and inf - inf would be NaN.
        far = xp.expm1(x) - xp.clip(x, max=1e6)
        return xp.where(near, series * small * small, far)


def log(x: Array) -> Array:
    """log(x), with log(0) = -inf and no warning."""
    with np.errstate(divide="ignore"):
        return namespace(x).log(x)


def quotient(a: Array, b: Array) -> Array:
    """Return a / b, whose derivative then needs no 1 / b**2: for a small b, that overflows."""
    scale = detach(b)
    return (a / scale) / (b / scale)


def log_ratio(numerator: Array, denominator: Array, difference: Array | None = None) -> Array:
    """log(numerator / denominator) to 3 units in the last place, wherever the two are.

    Their `difference` can be given, if it is known better than the two are.
    """
    xp = namespace(numerator, denominator)
    difference = numerator - denominator if difference is None else difference
    below = numerator < denominator
    small, large = xp.where(below, numerator, denominator), xp.where(below, denominator, numerator)
    gap = xp.where(below, -difference, difference)
    with np.errstate(all="ignore"):
        near = gap / small < 2**20
        # Both branches get numbers that do no harm where the other is used: a NaN there would
        # be one in the gradient, too.  Far off, large / small**2 could overflow in it.
        excess = quotient(xp.where(near, gap, 0.0), xp.where(near, small, 1.0))
        root = xp.where(near, 1.0, large) ** 0.25 / xp.where(near, 1.0, small) ** 0.25
        size = xp.where(near, xp.log1p(excess), 4 * xp.log(root))
    return xp.where(below, -size, size)


def log_sum_exp(x: Array) -> Array:
    """Logarithm of the sum of exp(x) along the last axis, which is kept; for values of any size."""
    xp = namespace(x)
    top = xp.max(x, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(x - top), axis=-1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """Logarithm of the probabilities along the last axis; for logits of any size."""
    # First without the largest, which costs no digits.
    shifted = logits - namespace(logits).max(logits, axis=-1, keepdims=True)
    return shifted - log_sum_exp(shifted)


def half_square(x: Array) -> Array:
    """Half of the square of `x`; overflow gives ``inf`` and no warning."""
    with np.errstate(over="ignore"):
        return x * x / 2


#: The estimators of one sample as functions of log r, on arrays of any library.
PENALTIES: dict[str, Callable[[Array], Array]] = {"k1": neg, "k2": half_square, "k3": exp_gap}
