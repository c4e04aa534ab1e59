"""Elementary functions that keep their digits where the textbook forms lose them."""

from __future__ import annotations

from collections.abc import Callable
from operator import neg
from typing import Any

import numpy as np

from kltutorial._arrays import Array, detach, namespace
from kltutorial._blocks import BLOCK, TASK, Fresh, Scratch, in_blocks

__all__: list[str] = []


def exp_gap(x: Array) -> Array:
    r"""Gap of the inequality :math:`1 + x \le e^x`, that is :math:`e^x - 1 - x`.

    With :math:`x = \log r` this is the gap of :math:`\log r \le r - 1`.  Error at most 4 units in
    the last place, in float32 and in float64, of the value and of the derivative that autograd
    finds; never negative.  ``-inf`` and ``inf`` give ``inf``.  JAX takes denormals for 0.
    """
    xp = namespace(x)
    if xp is not np:
        return exp_gap_into(Fresh(xp), x, None, None, None, None)
    result = np.empty(x.shape, x.dtype)
    flat, out = x.reshape(-1), result.reshape(-1)
    scratch = Scratch((3, min(x.size, BLOCK)), x.dtype)

    def block(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            exp_gap_into(np, flat[first:last], out[first:last], *scratch()[:, : last - first])

    in_blocks(block, x.size, BLOCK, TASK)
    return result[()]  # a number, if it has no dimensions


def exp_gap_into(f: Any, x: Array, out: Array, small: Array, far: Array, spare: Array) -> Array:
    """`exp_gap` into `out`, with arrays to work in."""
    if f is np and (largest := max(-x.min(), x.max())) <= 1:
        return small_exp_gap(f, x, out, spare, _FEW if largest < NEAR else _ALL)
    small, far = split(f, x, small, far)
    gap = small_exp_gap(f, small, out, spare)
    # Far beyond overflow the subtraction no longer matters, and inf - inf would be NaN.
    rest = f.subtract(f.expm1(x, out=spare), f.clip(x, None, 1e6, out=small), out=spare)
    return f.add(gap, f.multiply(far, rest, out=spare), out=out)


def split(f: Any, x: Array, small: Array, far: Array) -> tuple[Array, Array]:
    """Return `x` where |x| < 5/4, else 0; and 1 where |x| >= 5/4, else 0.

    A sum of two terms, one of them 0, has the gradient of the other; a choice between two would
    have NaN where the one that is not chosen overflows.
    """
    clipped = f.clip(x, -1.25, 1.25, out=small)
    sign = f.trunc(f.multiply(clipped, 0.8, out=far), out=far)
    near = f.subtract(1, f.multiply(sign, sign, out=far), out=far)
    return f.multiply(clipped, near, out=small), f.subtract(1, near, out=far)


# The numbers of the continued fraction from the last to the first: those that reach the last
# digit of float64 where |x| < 5/4, and where |x| < NEAR.
_ALL = (30, 26, 22, 18, 14, 10, 6)
_FEW = (14, 10, 6)
NEAR = 1 / 64


def small_exp_gap(f: Any, x: Array, out: Array, spare: Array, terms: Any = _ALL) -> Array:
    r"""Return :math:`e^x - 1 - x` for :math:`|x| \le 5/4`, where the subtraction would cancel.

    Lambert's continued fraction, :math:`e^x = 1 + 2x / (2 - s)` with
    :math:`s = x - x^2 / (6 + x^2 / (10 + x^2 / (14 + \dots)))`, makes of the gap the product
    :math:`x s / (2 - s)`, in which nothing cancels.
    """
    square = f.multiply(x, x, out=spare)
    tail = f.divide(square, terms[0], out=out)
    for k in terms[1:]:
        tail = f.divide(square, f.add(tail, k, out=out), out=out)
    s = f.subtract(x, tail, out=spare)
    denominator = f.subtract(2, s, out=out)
    return f.divide(f.multiply(x, s, out=spare), denominator, out=out)


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
