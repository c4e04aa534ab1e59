"""Figures of the chapter on whether the penalty helps."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import coordinates, named
from kltutorial.plotting._style import SERIES, axes_or_new, draw, legend_above

__all__ = ["plot_against_kl"]


def plot_against_kl(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], quantity: str, ax: Axes | None = None
) -> Axes:
    """Draw what policies earn against what they spend: a quantity over the divergence.

    Parameters
    ----------
    curves : mapping of str to pair of array_like
        For each curve, by name, divergences from the reference in nats, and the quantity there.
    quantity : str
        What the vertical axis shows, with its unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    _checks.text("quantity", quantity)
    series = named("curves", curves, coordinates, SERIES)
    ax = axes_or_new(ax)
    for name, (divergence, values), style in series:
        draw(ax, divergence, [(name, values, style)])
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel=r"KL($\pi$‖$\pi_{\mathrm{ref}}$) in nats", ylabel=quantity)
    legend_above(ax)
    return ax
