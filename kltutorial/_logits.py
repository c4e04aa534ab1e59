"""KL divergence of softmax distributions, row by row of logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, floats
from kltutorial._blocks import BLOCK, TASK, Fresh, Scratch, in_blocks
from kltutorial._numerics import small_exp_gap, split

__all__: list[str] = []


def kl_of_logits(a: Array, b: Array) -> Array:
    """KL divergence of the softmax of `a` from that of `b`, along the last axis of both."""
    *rows, outcomes = _checks.broadcast("p_logits and q_logits", a, b)
    xp, *empty = floats(p_logits=a[..., :0], q_logits=b[..., :0])
    a, b = xp.broadcast_to(a, (*rows, outcomes)), xp.broadcast_to(b, (*rows, outcomes))
    if xp is not np:
        _, a, b = _checks.logits(-1, p_logits=a, q_logits=b)
        return _kl(Fresh(xp), a, b, *[None] * 6)
    result = np.empty(rows, np.result_type(*empty))
    flat = result.reshape(-1)
    at_once = max(1, BLOCK // outcomes)
    scratch = Scratch((6, min(at_once, flat.size), outcomes), result.dtype)

    def block(first: int, last: int) -> None:
        # A single row is looked at where it is, several are copied.
        number = first if at_once == 1 else np.arange(first, last)
        row = np.unravel_index(number, rows) if rows else ()
        p, q = (x[row].reshape(-1, outcomes).astype(result.dtype, copy=False) for x in (a, b))
        _checks.logits(-1, p_logits=p, q_logits=q)
        with np.errstate(all="ignore"):
            flat[first:last] = _kl(np, p, q, *scratch()[:, : last - first])

    in_blocks(block, flat.size, at_once, max(1, TASK // outcomes))
    return result[()]


def _kl(f: Any, a: Array, b: Array, *spare: Array) -> Array:
    """KL divergence of each row, with arrays to work in.

    With x = log(q/p) less its mean under p, any constant added to `a` or `b` has dropped out, and
    KL(p || q) = log E_p[e^x] = log(1 + E_p[e^x - 1 - x]): no term is negative, nothing cancels.
    """
    w, x, far, t, u, v = spare
    top_a, top_b = f.max(a, axis=-1, keepdims=True), f.max(b, axis=-1, keepdims=True)
    excluded = False
    if f is not np or min(a.min(), b.min()) == -math.inf:
        excluded = f.any((b == -math.inf) & (a > -math.inf), axis=-1)
        a, b = _finite(f, a, top_a), _finite(f, b, top_b)
    w = f.exp(f.subtract(a, top_a, out=w), out=w)
    total = f.sum(w, axis=-1)
    x, lost = _difference(f, b, a, x, t, u)
    shift, shift_lost = _difference(f, top_b, top_a, None, None, None)
    x = f.subtract(x, shift, out=x)
    x = f.add(x, f.subtract(lost, shift_lost, out=u), out=x)
    mean = f.sum(f.multiply(w, x, out=t), axis=-1) / total
    x = f.subtract(x, mean[..., None], out=x)
    small, far = split(f, x, t, far)
    near = f.multiply(w, small_exp_gap(f, small, u, v), out=u)
    # Far off, e^x could overflow although w e^x does not.
    q = f.subtract(f.subtract(b, top_b, out=t), mean[..., None], out=t)
    q = f.exp(f.clip(q, None, _LARGE, out=t), out=t)
    rest = f.subtract(f.subtract(q, w, out=t), f.multiply(w, x, out=x), out=t)
    gap = f.sum(f.add(near, f.multiply(far, rest, out=t), out=u), axis=-1) / total
    kl = f.log1p(gap)
    if f is not np or not (gap < math.exp(_LARGE / 2)).all():
        q_total = f.sum(f.exp(f.subtract(b, top_b, out=t), out=t), axis=-1)
        kl = f.where(gap < math.exp(_LARGE / 2), kl, f.log(q_total / total) - mean)
    return f.where(excluded, math.inf, kl)


_LARGE = 60.0  # e^60 summed over a vocabulary does not overflow, in float32 either


def _finite(f: Any, logits: Array, top: Array) -> Array:
    """Return the logits with something in place of -inf that is as impossible."""
    return f.where(logits == -math.inf, top - (1e5 + f.abs(top) / 1000), logits)


def _difference(f: Any, x: Array, y: Array, out: Array, t: Array, u: Array) -> tuple[Array, Array]:
    """Return x - y and what its rounding lost (Knuth's two-sum)."""
    difference = f.subtract(x, y, out=out)
    step = f.subtract(difference, x, out=t)
    left = f.subtract(x, f.subtract(difference, step, out=u), out=u)
    return difference, f.subtract(left, f.add(y, step, out=t), out=u)
