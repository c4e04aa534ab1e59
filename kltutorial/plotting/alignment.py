"""Figures of the chapter on KL in LLM training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial.plotting._data import along, coordinates, heights, named
from kltutorial.plotting._style import COLORS, SERIES, axes_or_new, draw, legend_above

__all__ = ["plot_frontier", "plot_overoptimisation"]

_MARKERS = [(COLORS[0], "o"), (COLORS[3], "s"), (COLORS[2], "^"), (COLORS[1], "D"), ("0.35", "v")]


def plot_frontier(
    frontier: tuple[ArrayLike, ArrayLike],
    policies: Mapping[str, tuple[ArrayLike, ArrayLike]],
    ax: Axes | None = None,
) -> Axes:
    """Draw the best reward at each divergence, and policies beneath it.

    Parameters
    ----------
    frontier : (array_like, array_like)
        Divergences and mean rewards of the limit, drawn as a line.
    policies : mapping of str to (array_like, array_like)
        For each method, by name, the divergences and mean rewards of its policies, drawn as dots.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    frontier = coordinates("frontier", frontier)
    dots = named("policies", policies, coordinates, _MARKERS)
    ax = axes_or_new(ax)
    ax.plot(*frontier, color="black", linewidth=1.5, label="exact optimum")
    for name, (divergence, reward), (color, marker) in dots:
        ax.plot(
            np.ravel(divergence),
            np.ravel(reward),
            marker,
            color=color,
            markersize=6,
            markerfacecolor="none",
            markeredgewidth=1.4,
            label=name,
        )
    ax.set(xlabel=r"KL(π ‖ reference) (nats per answer)", ylabel="mean reward")
    legend_above(ax, columns=2)
    return ax


def plot_overoptimisation(
    divergence: ArrayLike, rewards: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Draw what is optimised and what is wanted against the distance from the reference.

    Parameters
    ----------
    divergence : array_like
        Divergences from the reference in nats; the axis shows their square roots.
    rewards : mapping of str to array_like
        Mean rewards at each of them, by what is written beside the line.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    divergence = along("divergence", divergence)
    if divergence.min() < 0:
        raise ValueError(f"divergence must not be negative, got {divergence.min():g}")
    ax = draw(ax, np.sqrt(divergence), named("rewards", rewards, heights(divergence.size), SERIES))
    ax.set(xlabel=r"$d = \sqrt{\mathrm{KL}}$ ($\sqrt{\mathrm{nats}}$)", ylabel="mean reward")
    legend_above(ax)
    return ax
