"""Figures of the chapter on tokens and sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named, texts
from kltutorial.plotting._style import SERIES, axes_or_new, draw, legend_above

__all__ = ["plot_growth", "plot_tree"]


def plot_tree(to_go: Sequence[ArrayLike], tokens: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw the prefixes of a model as a tree, coloured by the divergence still to come.

    Parameters
    ----------
    to_go : sequence of array_like
        One array per position, in nats, as of :meth:`~kltutorial.TabularLM.kl_to_go` where the
        whole prefix counts: position t has ``len(tokens)**t`` values.
    tokens : sequence of str
        What is written on the branches.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    texts("tokens", tokens)
    if not isinstance(to_go, Sequence) or not to_go:
        raise ValueError(f"to_go must be a sequence of arrays, got {to_go!r}")
    levels = [heights(len(tokens) ** t)(f"to_go[{t}]", each) for t, each in enumerate(to_go)]
    depth = np.repeat(np.arange(len(levels)), [level.size for level in levels])
    values = np.concatenate(levels)
    _checks.finite("to_go", values)
    ax = axes_or_new(ax)
    places = [-(np.arange(level.size) + 0.5) / level.size for level in levels]
    for t in range(1, len(levels)):
        for child, height in enumerate(places[t]):
            parent, token = divmod(child, len(tokens))
            ends = places[t - 1][parent], height
            ax.plot([t - 1, t], ends, color="0.6", linewidth=1.5, zorder=1)
            label = {"facecolor": "white", "edgecolor": "none", "boxstyle": "round,pad=0.15"}
            ax.text(t - 0.5, sum(ends) / 2, tokens[token], ha="center", va="center", bbox=label)
    color_map, top = plt.get_cmap("Blues"), max(values.max(), 1e-12)
    ax.scatter(
        depth, np.concatenate(places), s=1100, c=color_map(values / top), edgecolor="0.3", zorder=2
    )
    for x, y, value in zip(depth, np.concatenate(places), values, strict=True):
        ink = "white" if value > top / 2 else "black"
        ax.text(float(x), float(y), f"{value:.3g}", color=ink, ha="center", va="center", zorder=3)
    ax.set(
        xlabel="tokens written",
        xticks=range(len(to_go)),
        xlim=(-0.3, len(to_go) - 0.7),
        ylabel="prefix, with its nats to come",
        yticks=[],
        ylim=(-1.02, 0.02),
    )
    ax.spines["left"].set_visible(False)
    return ax


def plot_growth(
    lengths: ArrayLike,
    curves: Mapping[str, ArrayLike],
    quantity: str,
    ax: Axes | None = None,
    *,
    log: bool = False,
) -> Axes:
    """Draw quantities against the length of the sequences, which is on a logarithmic axis.

    Parameters
    ----------
    lengths : array_like
        The horizontal axis, in tokens.
    curves : mapping of str to array_like
        The quantities, by name.
    quantity : str
        What the vertical axis shows, with its unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.
    log : bool
        Whether the vertical axis is logarithmic too.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    lengths = along("lengths", lengths, above=0)
    _checks.text("quantity", quantity)
    _checks.boolean("log", log)
    ax = draw(ax, lengths, named("curves", curves, heights(lengths.size), SERIES))
    ax.set(xlabel="length (tokens)", ylabel=quantity, xscale="log")
    if log:
        ax.set_yscale("log")
    legend_above(ax)
    return ax
