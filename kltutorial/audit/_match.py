r"""Recognising a penalty by its values, and a divergence by its values or its gradient.

All is computed by enumeration on a few pairs of policies, so that there is no sampling noise.
They are far apart, and unlike in every respect: near equality all penalties are alike, and what
is symmetric hides a ratio that is upside down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np

from kltutorial.audit._calls import Array, rounded, same
from kltutorial.audit._report import Clamp
from kltutorial.estimators import k1, k2, k3
from kltutorial.fdivergences import f_divergence
from kltutorial.gradients import expected_gradient, kl_gradient

Penalty = Callable[[Array, Array], Array]  # of log p and log q

#: Policies p, references q and behaviour policies b, each of five outcomes; a row is a triple.
P, Q, B = np.swapaxes(
    [
        [[40, 25, 20, 10, 5], [20, 30, 10, 15, 25], [25, 15, 30, 20, 10]],
        [[10, 15, 20, 25, 30], [30, 10, 12, 40, 8], [20, 30, 10, 10, 30]],
        [[55, 20, 10, 10, 5], [25, 15, 30, 5, 25], [30, 10, 20, 25, 15]],
        [[5, 10, 20, 25, 40], [20, 30, 10, 15, 25], [10, 25, 15, 20, 30]],
        [[30, 25, 20, 15, 10], [8, 30, 35, 5, 22], [15, 20, 30, 25, 10]],
        [[5, 10, 10, 20, 55], [25, 15, 30, 10, 20], [20, 15, 25, 10, 30]],
    ],
    0,
    1,
) / np.array(100)
LOG_P, LOG_Q, LOG_B = np.log(P), np.log(Q), np.log(B)

#: Log-ratios up to this size are ordinary: q/p from 0.14 to 7.4.
ORDINARY = 2.0
_FAR = np.geomspace(2.1, 100, 48)
#: What x = log p - log q is probed at.
GRID = np.concatenate([-_FAR[::-1], np.linspace(-ORDINARY, ORDINARY, 81), _FAR])
_CENTRE = len(GRID) // 2
_ORDINARY = np.abs(GRID) <= ORDINARY
_LEVELS = np.array([-1.3, -0.1, -4.0])  # of the larger of log p and log q

# How exactly values agree: those of float64, of float32, and of half of that.
EXACT, _SINGLE, COARSE = 1e-8, 1e-4, 0.1

# The penalties that can be recognised, and how they are written.  The order decides between
# those that agree.
KNOWN: dict[str, tuple[Penalty, str]] = {
    "k1": (k1, "log p - log q"),
    "k2": (k2, "(log p - log q)^2 / 2"),
    "k3": (k3, "r - 1 - log r with r = q/p"),
    "abs": (lambda p, q: np.abs(p - q), "|log p - log q|"),
    "k3_inverted": (lambda p, q: k3(q, p), "p/q - 1 - log(p/q)"),
    "r - 1": (lambda p, q: np.expm1(q - p), "q/p - 1"),
    "p/q - 1": (lambda p, q: np.expm1(p - q), "p/q - 1"),
    "r log r": (lambda p, q: np.exp(q - p) * (q - p), "r log r with r = q/p"),
    "p k1": (lambda p, q: np.exp(p) * (p - q), "p (log p - log q)"),
    "q k1": (lambda p, q: np.exp(q) * (p - q), "q (log p - log q)"),
}
TERMS = ("p k1", "q k1")  # of an exact sum over outcomes, taken for samples


@dataclass(frozen=True)
class Match:
    """A known penalty, and how it is changed: ``scale * penalty + offset``, clamped."""

    penalty: str
    scale: float
    offset: float
    tolerance: float
    clamps: tuple[Clamp, ...] = ()

    @property
    def label(self) -> str:
        """Its name."""
        return sum_of([(self.scale, self.penalty), (self.offset, "1")])

    def __call__(self, logp: Array, logq: Array) -> Array:
        """Return the penalty without clamps."""
        return self.scale * KNOWN[self.penalty][0](logp, logq) + self.offset

    @np.errstate(all="ignore")
    def fits(self, values: Array, logp: Array, logq: Array) -> Array:
        """Return where `values` is this, up to the tolerance, or has overflowed."""
        formula = self(logp, logq)
        near = np.abs(values - formula) <= self.tolerance * (1 + np.abs(formula))
        return near | (np.isinf(values) & (np.abs(formula) > 3e38))  # as large as float32 can be


def log_probs(x: Array, level: Array | float = -1.3) -> tuple[Array, Array]:
    """Return log p and log q, both negative, whose difference is x."""
    return level + np.minimum(x, 0), level - np.maximum(x, 0)


@np.errstate(all="ignore")
def identify(evaluate: Penalty) -> Match | None:
    """Return the known penalty that `evaluate` computes from log p and log q, if it is one."""
    logp, logq = log_probs(GRID, _LEVELS[:, None])
    values = evaluate(logp, logq)
    for tolerance in (EXACT, _SINGLE, COARSE)[: 3 if _is_coarse(values) else 2]:
        found = []
        for match in _candidates(values, logp, logq, tolerance):
            start, stop = _run(np.all(match.fits(values, logp, logq), axis=0))
            whole = _ORDINARY[start:stop].sum() == _ORDINARY.sum()
            # Clamped nearer than that, it must at least be limited, and not another function.
            limited = _constant(values[:, :start]) and _constant(values[:, stop:])
            if whole or (limited and stop - start >= 5):
                found.append((match, start, stop))
        if found:
            match, start, stop = max(found, key=lambda each: each[2] - each[1])
            edges = [(start, start - 1)] * (start > 0) + [(stop - 1, stop)] * (stop < len(GRID))
            clamps = [_clamp(evaluate, match, *GRID[list(edge)]) for edge in edges]
            return replace(match, clamps=() if match.penalty in TERMS else tuple(clamps))
    return None


def is_half(values: Array) -> bool:
    """Return whether float16, or bfloat16, holds all values as they are."""
    return same(values, rounded(values, 11))


def _is_coarse(values: Array) -> bool:
    """Return whether values are rounded, or noisy where only the ratio should matter."""
    ordinary = values[:, _ORDINARY]
    noise = np.abs(ordinary - ordinary[0]).max() / (1 + np.abs(ordinary).max())
    return bool(1e-4 < noise < 0.05) or is_half(values)


def _candidates(values: Array, logp: Array, logq: Array, tolerance: float) -> Iterator[Match]:
    """Yield each known penalty, all 0 at p = q, with the scale at which most values fit."""
    at_zero = float(values[0, _CENTRE])
    offset = at_zero if abs(at_zero) > tolerance else 0.0
    target = values - offset
    for name, (function, _) in KNOWN.items():
        known = function(logp, logq)
        # What fits zero as well says nothing on the scale.
        use = _ORDINARY & np.isfinite(target[0]) & (np.abs(target[0]) > 2 * tolerance)
        use &= known[0] != 0
        if use.any():
            scales = target[0, use] / known[0, use]
            formulas = scales[:, None, None] * known
            near = np.abs(target - formulas) <= tolerance * (1 + np.abs(formulas))
            # Of those that fit most, the one where the penalty is largest has the most digits.
            order = np.lexsort([np.abs(known[0, use]), near.all(axis=1).sum(axis=1)])
            scale = float(scales[order[-1]])
            simple = round(scale) if abs(scale - round(scale)) < tolerance else scale
            yield Match(name, simple, offset, tolerance)


def _run(fits: Array) -> tuple[int, int]:
    """Return where the run of the grid that fits starts and stops, around p = q."""
    outside = np.flatnonzero(~fits)
    below, above = outside[outside <= _CENTRE], outside[outside >= _CENTRE]
    return int(below.max(initial=-1)) + 1, int(above.min(initial=len(GRID)))


def _constant(values: Array) -> bool:
    return bool((np.abs(values - values[:, :1]) <= 1e-4 * (1 + np.abs(values[:, :1]))).all())


def _clamp(evaluate: Penalty, match: Match, inner: float, outer: float) -> Clamp:
    """Return where the function leaves its formula, between two log-ratios."""
    side: Literal["below", "above"] = "below" if outer < inner else "above"
    for _ in range(5):
        x = np.linspace(inner, outer, 65)
        logp, logq = log_probs(x[None])
        values = evaluate(logp, logq)
        first = max(1, int(np.argmin(match.fits(values, logp, logq))))
        inner, outer = x[first - 1], x[first]
    return Clamp(side, round(float(inner), 4) + 0.0, float(values[0, first]))


_DIVERGENCES = {
    "KL(p||q)": "kl",
    "KL(q||p)": "reverse_kl",
    "chi2(p||q)": "chi2",
    "chi2(q||p)": "neyman_chi2",
    "TV(p,q)": "total_variation",
    "JS(p,q)": "jensen_shannon",
    "H2(p,q)": "squared_hellinger",
}


@cache
def value_basis() -> dict[str, Array]:
    """Return the divergences of the policies that a mean may be, by name."""
    return {
        **{name: f_divergence(P, Q, f) for name, f in _DIVERGENCES.items()},
        "E[k2]": (P * k2(LOG_P, LOG_Q)).sum(axis=1),
        "E[|k1|]": (P * np.abs(LOG_P - LOG_Q)).sum(axis=1),
        "1": np.ones(len(P)),
    }


@cache
def gradient_basis() -> dict[str, Array]:
    """Return the gradients of those divergences, and of KL(b || p)."""
    # The weight makes the gradient that of the mean, of which it is a part.
    square, absolute = (
        expected_gradient(LOG_P, LOG_Q, estimator=name, placement="loss", weight="ratio")
        for name in ("k2", "abs")
    )
    return {
        **{name: kl_gradient(LOG_P, LOG_Q, divergence=f) for name, f in _DIVERGENCES.items()},
        "E[k2]": square,
        "E[|k1|]": absolute,
        "KL(b||p)": kl_gradient(LOG_P, LOG_B, divergence="reverse_kl"),
    }


@np.errstate(all="ignore")
def mean_gradient(samples: Array, coefficient: Array) -> Array:
    """Return the mean over `samples` of the coefficient times the score of p."""
    terms = samples * coefficient
    return terms - P * terms.sum(axis=1, keepdims=True)


def express(target: Array, basis: Mapping[str, Array], tolerance: float) -> str | None:
    """Return `target` as a multiple of one member of the basis, or a sum of two."""
    target = target.ravel()
    size = np.abs(target).max()
    if not np.isfinite(size):
        return None
    if size <= tolerance:
        return "0"
    for number in (1, 2):
        for names in combinations(basis, number):
            columns = np.stack([basis[name].ravel() for name in names], axis=1)
            factors = np.linalg.lstsq(columns, target)[0]
            if number == 2:
                # One to one or one to two: two free numbers could fit what is no divergence.
                factors = np.round(2 * factors / np.abs(factors).max()) / 2
                mixed = columns @ factors
                factors = factors * (mixed @ target) / (mixed @ mixed)
            if np.abs(columns @ factors - target).max() <= tolerance * size:
                simple = np.round(2 * factors) / 2
                factors = np.where(np.abs(factors - simple) <= tolerance, simple, factors)
                return sum_of(list(zip(factors.tolist(), names, strict=True)))
    return None


def sum_of(terms: list[tuple[float, str]]) -> str:
    """Return the terms as one would write them, the positive ones first."""
    text = ""
    for factor, name in sorted(terms, key=lambda term: term[0] <= 0):
        number = f"{abs(factor):.4g}"
        product = number if name == "1" else f"{number} {name}"
        product = {f"1 {name}": name, f"0.5 {name}": f"{name}/2"}.get(product, product)
        if abs(factor) > 1e-9:
            text += f"{' - ' if factor < 0 else ' + '}{product}"
    return "-" * text.startswith(" -") + text[3:]
