"""Figures of the chapter on forward and reverse KL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named, point
from kltutorial.plotting._style import COLORS, axes_or_new, draw, legend_above

__all__ = ["plot_branches", "plot_descent", "plot_fits", "plot_loss_surface"]

_KINDS = [
    {"color": color, "linestyle": style}
    for color, style in zip((COLORS[0], COLORS[3], "0.3"), ("--", "-", ":"), strict=True)
]


def plot_fits(
    x: ArrayLike, target: ArrayLike, fits: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Draw a target density and what was fitted to it, each with its name above its peak.

    Parameters
    ----------
    x : array_like
        The horizontal axis.
    target : array_like
        The density of the target at `x`; it is filled.
    fits : mapping of str to array_like
        The densities of the fits, with what is written above the highest point of each.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    x = along("x", x)
    target = heights(x.size)("target", target)
    styles = [
        {"color": color, "linestyle": style, "linewidth": 2.5}
        for color, style in zip((COLORS[3], COLORS[0], COLORS[2]), ("-", "--", "-."), strict=True)
    ]
    curves = named("fits", fits, heights(x.size), styles)
    ax = axes_or_new(ax)
    ax.fill_between(x, 0, target, color="0.8")
    draw(ax, x, curves)
    for name, density, style in [("target", target, {"color": "0.45"}), *curves]:
        top = (x[density.argmax()], density.max())
        color = style["color"]
        ax.annotate(name, top, (0, 6), textcoords="offset points", ha="center", color=color)
    highest = max(density.max() for density in (target, *(density for _, density, _ in curves)))
    ax.set(xlabel="x", ylabel="density", ylim=(0, 1.2 * highest), xlim=(x[0], x[-1]))
    return ax


def plot_loss_surface(
    mean: ArrayLike,
    std: ArrayLike,
    loss: ArrayLike,
    optima: Sequence[tuple[float, float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw a divergence over mean and standard deviation of a normal, and its local minima.

    Parameters
    ----------
    mean, std : array_like
        The two axes, shapes (means,) and (stds,).
    loss : array_like
        Divergences in nats, shape (stds, means).
    optima : sequence of (float, float, float)
        Mean, standard deviation and divergence of each minimum; the lowest are drawn as discs,
        the others as rings, and the divergence is written beside them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    mean, std = along("mean", mean), along("std", std, above=0)
    # Where a contour meets itself must not depend on the last bit.
    loss = np.round(heights(std.size, mean.size)("loss", loss), 9)
    minima = heights(None, 3)("optima", optima)
    _checks.finite("optima", minima)
    ax = axes_or_new(ax)
    lowest = min(kl for _, _, kl in minima)
    # Denser towards the bottom, and one close around each minimum, however shallow.
    levels = {*(lowest + np.array([0.3, 0.7, 1.5, 2.5, 4, 7, 12, 20]))}
    levels |= {kl + 0.04 for _, _, kl in minima}
    ax.contour(mean, std, loss, levels=sorted(levels), colors="0.55", linewidths=0.8)
    for m, s, kl in minima:
        best = kl < lowest + 1e-6
        ax.plot(
            m,
            s,
            "o",
            color=COLORS[3],
            fillstyle="full" if best else "none",
            markersize=8,
            markeredgewidth=2,
        )
        ax.annotate(
            f"{kl:.3f}",
            (m, s),
            (0, 11),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    ax.set(xlabel="mean of the model", ylabel="its standard deviation", yscale="log")
    ticks = [0.5, 1, 2, 4, 8]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(std.min(), std.max())
    return ax


def plot_branches(
    separation: ArrayLike,
    branches: Mapping[str, ArrayLike],
    marks: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw the divergence at each local optimum against the separation of the bumps.

    Parameters
    ----------
    separation : array_like
        Half the distance of the bumps, the horizontal axis.
    branches : mapping of str to array_like
        For each kind of optimum its divergence in nats, NaN where there is none.
    marks : mapping of str to (float, float)
        Up to two points, (separation, divergence), with what is written beside them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    separation = along("separation", separation)
    # One above to the left, one below to the right, out of the way of rising curves.
    places = ((-16, 40), "right"), ((16, -44), "left")
    marked = named("marks", marks, point, places)
    ax = draw(ax, separation, named("branches", branches, heights(separation.size), _KINDS))
    for name, place, (offset, side) in marked:
        ax.plot(*place, "o", color="black", markersize=5)
        ax.annotate(
            f"{name} {place[0]:.2f}",
            place,
            offset,
            textcoords="offset points",
            ha=side,
            arrowprops={"arrowstyle": "-", "color": "0.5"},
        )
    ax.set(xlabel="half the distance of the bumps, $d$", ylabel="KL(model ‖ target) (nats)")
    legend_above(ax)
    return ax


def plot_descent(
    steps: ArrayLike, divergences: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Draw divergences against the steps of a descent, on a logarithmic axis.

    Parameters
    ----------
    steps : array_like
        The horizontal axis.
    divergences : mapping of str to array_like
        For each descent, by name, the divergence that it lowers, in nats.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    steps = along("steps", steps)
    ax = draw(ax, steps, named("divergences", divergences, heights(steps.size), _KINDS[:2]))
    ax.set(yscale="log", xlabel="gradient steps", ylabel="divergence (nats)")
    ax.legend()
    return ax
