"""Figures of the chapter on KL divergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, texts
from kltutorial.plotting._style import COLORS, axes_or_new

__all__ = ["plot_evidence", "plot_inequality", "plot_terms"]


def plot_inequality(r: ArrayLike, ax: Axes | None = None) -> Axes:
    r"""Draw :math:`\log r` below :math:`r - 1`, and the gap between them.

    Parameters
    ----------
    r : array_like
        Increasing positive numbers, the horizontal axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    r = along("r", r, above=0)
    ax = axes_or_new(ax)
    ax.plot(r, r - 1, color=COLORS[0], linestyle="--")
    ax.plot(r, np.log(r), color=COLORS[3])
    ax.fill_between(r, np.log(r), r - 1, color="0.85")
    ax.annotate("$r - 1$", (r[-1], r[-1] - 1), (-8, 0), textcoords="offset points", ha="right")
    ax.annotate(
        r"$\log r$", (r[-1], np.log(r[-1])), (-4, -16), textcoords="offset points", ha="right"
    )
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel="ratio $r$", ylabel="nats")
    return ax


def plot_terms(
    textbook: ArrayLike, shifted: ArrayLike, names: Sequence[str], ax: Axes | None = None
) -> Axes:
    r"""Draw what each outcome adds to a divergence, before and after adding :math:`q - p`.

    Parameters
    ----------
    textbook, shifted : array_like
        The terms :math:`p \log(p/q)` and :math:`p \log(p/q) - p + q`, in nats, one per outcome.
    names : sequence of str
        The outcomes.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    textbook = along("textbook", textbook)
    shifted = heights(textbook.size)("shifted", shifted)
    texts("names", names)
    if len(names) != textbook.size:
        raise ValueError(f"names must be {textbook.size}, one per outcome, got {len(names)}")
    ax = axes_or_new(ax)
    place = np.arange(len(names))
    ax.bar(place - 0.2, textbook, 0.38, color=COLORS[0], label=r"$p\,\log(p/q)$")
    ax.bar(
        place + 0.2,
        shifted,
        0.38,
        color=COLORS[1],
        hatch="//",
        edgecolor="white",
        label=r"$p\,\log(p/q) - p + q$",
    )
    ax.axhline(0, color="0.3", linewidth=0.8)
    ax.set_xticks(place, names)
    ax.set(xlabel="next token", ylabel="contribution (nats)")
    ax.legend()
    return ax


def plot_evidence(paths: ArrayLike, slope: float, threshold: float, ax: Axes | None = None) -> Axes:
    """Draw running sums of log-likelihood ratios and the line that they climb along.

    Parameters
    ----------
    paths : array_like
        Running sums in nats, shape (runs, samples).
    slope : float
        The divergence: expected evidence per sample, in nats.
    threshold : float
        Evidence at which one would decide, in nats.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    paths = heights(None, None)("paths", paths)
    _checks.finite("paths", paths)
    slope = _checks.finite_real("slope", slope)
    threshold = _checks.finite_real("threshold", threshold)
    ax = axes_or_new(ax)
    samples = np.arange(1, paths.shape[1] + 1)
    ax.plot(samples, paths.T, color="0.7", linewidth=0.8)
    ax.plot(samples, slope * samples, color=COLORS[3], linewidth=2.5, label="KL × samples")
    ax.axhline(threshold, color=COLORS[0], linestyle="--", label="odds of 20 to 1")
    ax.set(xlabel="samples seen", ylabel="evidence for p over q (nats)")
    ax.legend()
    return ax
