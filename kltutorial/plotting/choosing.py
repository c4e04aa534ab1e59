"""Figures of the chapter on choosing and checking."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named
from kltutorial.plotting._style import SERIES, draw, legend_above

__all__ = ["plot_clamp"]


def plot_clamp(
    log_r: ArrayLike, curves: Mapping[str, ArrayLike], cut: float, ax: Axes | None = None
) -> Axes:
    """Draw a penalty and how hard it pulls a token back, where a clamp cuts in.

    Parameters
    ----------
    log_r : array_like
        The horizontal axis, the log-ratio of the token in nats.
    curves : mapping of str to array_like
        The penalty in nats and the pulls, in nats per unit of the token's log-probability, by
        what is written beside them.
    cut : float
        The log-ratio at which the clamp takes over, marked by a vertical line.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    log_r = along("log_r", log_r)
    cut = _checks.finite_real("cut", cut)
    ax = draw(ax, log_r, named("curves", curves, heights(log_r.size), SERIES))
    ax.axvline(cut, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(
        xlabel=r"$\log (\pi_{\mathrm{ref}} / \pi)$ of the token (nats)",
        ylabel="penalty (nats), or pull\n" + r"(nats per unit of $\log \pi$)",
    )
    legend_above(ax)
    return ax
