"""Figures of the chapter on gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial._checks import FloatArray
from kltutorial.plotting._data import along, heights, named
from kltutorial.plotting._style import COLORS, axes_or_new, draw

__all__ = ["plot_coefficients", "plot_leash", "plot_pull"]

# Up to five uses of a penalty, which must be told apart in one figure.
_USES: list[dict[str, Any]] = [
    {"color": COLORS[0], "linestyle": "-"},
    {"color": COLORS[2], "linestyle": "--"},
    {"color": "0.3", "linestyle": ":"},
    {"color": COLORS[1], "linestyle": "-."},
    {"color": COLORS[3], "linestyle": (0, (6, 1))},
]


def plot_coefficients(
    log_ratio: ArrayLike, coefficients: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    """Draw what the score of a sample is multiplied with, against its log-ratio.

    Parameters
    ----------
    log_ratio : array_like
        The horizontal axis, log π - log π_ref of the sample, in nats.
    coefficients : mapping of str to array_like
        The coefficients of up to five uses, by name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    log_ratio = along("log_ratio", log_ratio)
    ax = draw(ax, log_ratio, named("coefficients", coefficients, heights(log_ratio.size), _USES))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(0, color="0.6", linewidth=0.8)
    ax.set(
        xlabel=r"log-ratio of the sample, $\log \pi - \log \pi_{\mathrm{ref}}$ (nats)",
        ylabel="coefficient of the score",
    )
    _legend(ax)
    return ax


def plot_leash(divergences: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw the divergence from the reference while a policy descends on a penalty alone.

    Parameters
    ----------
    divergences : mapping of str to array_like
        For each of up to five uses, by name, the divergence in nats before the first step and
        after each: shape (steps + 1,), or (steps + 1, runs), of which every run is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes, with a logarithmic scale.
    """
    paths = named("divergences", divergences, _one_or_more_runs, _USES)
    ax = axes_or_new(ax)
    for name, runs, style in paths:
        width = 2.5 if len(runs) == 1 else 1.3
        for number, run in enumerate(runs):
            label = "_" if number else name
            ax.plot(run, label=label, linewidth=width, alpha=1 if len(runs) == 1 else 0.8, **style)
    ax.set(
        xlabel="gradient step",
        ylabel=r"$\mathrm{KL}(\pi \,\Vert\, \pi_{\mathrm{ref}})$ (nats)",
        yscale="log",
        ylim=(1e-5, 3),
    )
    _legend(ax)
    return ax


def plot_pull(
    chance: ArrayLike, pulls: Mapping[str, ArrayLike], reference: float, ax: Axes | None = None
) -> Axes:
    """Draw which way a penalty moves a policy of two outcomes, and how fast.

    Parameters
    ----------
    chance : array_like
        The horizontal axis, π of the first outcome.
    pulls : mapping of str to array_like
        For each of one or two uses, by name, what a step of size 1 adds to the log-odds of the
        first outcome.
    reference : float
        Its chance under the reference.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    chance = along("chance", chance)
    # The first and the last look, as of k1 and k3 in the reward in the figures of five.
    reference = _checks.finite_real("reference", reference)
    ax = draw(ax, chance, named("pulls", pulls, heights(chance.size), (_USES[0], _USES[-1])))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(reference, color="0.6", linewidth=0.8)
    ax.set(
        xlabel=r"$\pi$ of the first outcome; the vertical line is $\pi_{\mathrm{ref}}$",
        ylabel="push on its log-odds\n(per unit of step size)",
    )
    _legend(ax)
    return ax


def _one_or_more_runs(name: str, values: ArrayLike) -> FloatArray:
    """Return paths of shape (runs, steps + 1)."""
    array = _checks.as_float_array(name, values)
    _checks.non_empty(name, array)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (steps + 1,) or (steps + 1, runs)")
    return np.atleast_2d(array.T)


def _legend(ax: Axes) -> None:
    ax.legend(loc="lower left", bbox_to_anchor=(-0.12, 1), ncol=2, columnspacing=1, fontsize=9.5)
