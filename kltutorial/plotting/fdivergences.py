"""Figures of the chapter on f-divergences."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named
from kltutorial.plotting._style import DIVERGENCES, STYLES, axes_or_new, draw, legend_above

__all__ = ["plot_chords", "plot_generators", "plot_local_divergences"]


def plot_generators(u: ArrayLike, values: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    r"""Draw generators of f-divergences, to be compared near one.

    Parameters
    ----------
    u : array_like
        The horizontal axis, the ratio p/q.
    values : mapping of str to array_like
        For each divergence, by its name in ``kltutorial.F_DIVERGENCES``, its generator in
        the non-negative form, divided by :math:`f''(1)` where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    u = along("u", u)
    ax = draw(ax, u, named("values", values, heights(u.size), DIVERGENCES))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(
        xlabel="ratio $u = p/q$ of an outcome", ylabel="its price $f(u)/f''(1)$", ylim=(-0.05, 1)
    )
    legend_above(ax, columns=3)
    return ax


def plot_chords(
    u: ArrayLike,
    curves: Mapping[str, ArrayLike],
    chords: Mapping[str, ArrayLike],
    ax: Axes | None = None,
) -> Axes:
    """Draw what merging two outcomes does: from a point on the chord to one on the curve.

    Parameters
    ----------
    u : array_like
        The horizontal axis, the ratio p/q.
    curves : mapping of str to array_like
        For each quantity, ``"kl"`` or ``"k2"``, its generator at `u`.
    chords : mapping of str to array_like
        For each of them three ratios and three heights, shape (2, 3): the first outcome, the
        merged one on the curve, and the second outcome.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    u = along("u", u)
    styles = {"kl": {**DIVERGENCES["kl"], "label": "KL (k1, k3)"}, "k2": STYLES["k2"]}
    series = named("curves", curves, heights(u.size), styles)
    points = {name: value for name, value, _ in named("chords", chords, heights(2, 3), styles)}
    if points.keys() != curves.keys():
        raise ValueError(f"chords must have the names of curves, {', '.join(curves)}")
    for name, value in points.items():
        _checks.finite(f"chords[{name!r}]", value)
    ax = axes_or_new(ax)
    for name, curve, style in series:
        draw(ax, u, [(name, curve, style)])
        ratios, prices = points[name]
        ax.plot(ratios[[0, 2]], prices[[0, 2]], "o-", color="0.3", linewidth=1, markersize=4)
        before = np.interp(ratios[1], ratios[[0, 2]], prices[[0, 2]])
        ax.annotate(
            "",
            (ratios[1], prices[1]),
            (ratios[1], before),
            arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 0, "shrinkB": 0},
        )
    ax.axvline(1 / math.e, color="0.6", linewidth=0.8, linestyle=":")
    ax.annotate("$u = 1/e$", (1 / math.e, 1), (4, -12), textcoords="offset points", color="0.35")
    ax.set(xlabel="ratio $u = p/q$ of an outcome", ylabel="generator (nats)")
    ax.legend()
    return ax


def plot_local_divergences(
    steps: ArrayLike, divergences: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    r"""Draw divergences against the size of the step between two distributions.

    Parameters
    ----------
    steps : array_like
        The horizontal axis: how far one distribution has moved from the other.
    divergences : mapping of str to array_like
        For each name, as :func:`plot_generators` has them or ``"k2"``, the divergences, divided
        by :math:`f''(1)` where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    steps = along("steps", steps)
    ax = draw(ax, steps, named("divergences", divergences, heights(steps.size), DIVERGENCES))
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="step $t$ from the reference towards the policy",
        ylabel="divergence $/\\,f''(1)$",
    )
    legend_above(ax, columns=3)
    return ax
