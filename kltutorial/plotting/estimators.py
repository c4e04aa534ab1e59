"""Figures of the chapter on the three estimators."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named, point
from kltutorial.plotting._style import STYLES, axes_or_new, draw, legend_above

__all__ = [
    "plot_penalties",
    "plot_relative_deviation",
    "plot_running_means",
    "plot_variance_parabola",
]


def plot_penalties(
    log_r: ArrayLike, values: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    r"""Draw estimators as functions of :math:`\log r`.

    Parameters
    ----------
    log_r : array_like
        The horizontal axis, log(q/p) of a sample.
    values : mapping of str to array_like
        For each of ``"k1"``, ``"k2"``, ``"k3"`` that is to be drawn, its values in nats.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    log_r = along("log_r", log_r)
    ax = draw(ax, log_r, named("values", values, heights(log_r.size), STYLES))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(xlabel=r"$\log r = \log q - \log p$ of the sample (nats)", ylabel="its estimate (nats)")
    ax.legend()
    return ax


def plot_relative_deviation(
    kl: ArrayLike,
    deviations: Mapping[str, ArrayLike],
    crossings: Mapping[str, tuple[float, float]],
    ax: Axes | None = None,
) -> Axes:
    """Draw the noise of one sample, relative to the divergence, against the divergence.

    Parameters
    ----------
    kl : array_like
        Divergences in nats.
    deviations : mapping of str to array_like
        For each estimator, its standard deviation divided by the divergence.
    crossings : mapping of str to (float, float)
        Points to mark, (divergence, relative deviation), with what is written beside them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    kl = along("kl", kl)
    marks = {name: place for name, place, _ in named("crossings", crossings, point, range(9))}
    ax = draw(ax, kl, named("deviations", deviations, heights(kl.size), STYLES))
    for place in marks.values():
        ax.plot(*place, "o", color="black", markersize=4)
    if marks:
        note = "\n".join(f"{name} at {place[0]:.3f}" for name, place in marks.items())
        place = np.mean(list(marks.values()), axis=0)
        arrow = {"arrowstyle": "-", "color": "0.5"}
        ax.annotate(note, place, (-55, 62), textcoords="offset points", arrowprops=arrow)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="divergence (nats)",
        ylabel="standard deviation / divergence",
    )
    legend_above(ax)
    return ax


def plot_variance_parabola(
    weights: ArrayLike,
    variances: Mapping[str, ArrayLike],
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the variance of :math:`k_1 + \lambda (r - 1)` against λ, relative to that of k1.

    Parameters
    ----------
    weights : array_like
        The horizontal axis, λ.
    variances : mapping of str to array_like
        For each pair of distributions, by name, the variances divided by that of k1.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    weights = along("weights", weights)
    curves = named("variances", variances, heights(weights.size), ("-", "--", "-."))
    ax = axes_or_new(ax)
    for name, values, style in curves:
        (line,) = ax.plot(weights, values, label=name, linewidth=2, linestyle=style)
        lowest = int(np.argmin(values))
        ax.plot(weights[lowest], values[lowest], "o", color=line.get_color())
    ax.axhline(1, color="0.6", linewidth=0.8)
    for weight, name in ((0, "k1"), (1, "k3")):
        ax.axvline(weight, color="0.6", linewidth=0.8, linestyle=":")
        ax.annotate(name, (weight, 1.9), (3, 0), textcoords="offset points", color="0.35")
    ax.set(
        xlabel=r"weight $\lambda$ of the control variate",
        ylabel="variance, relative to k1",
        ylim=(0, 2),
    )
    legend_above(ax)
    return ax


def plot_running_means(
    n: ArrayLike, means: ArrayLike, truth: float, ax: Axes | None = None
) -> Axes:
    """Draw running means of an estimator in several runs against the true value.

    Parameters
    ----------
    n : array_like
        Numbers of samples at which the means are given.
    means : array_like
        Running means in nats, shape (runs, len(n)).
    truth : float
        The divergence in nats.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    n = along("n", n)
    means = heights(None, n.size)("means", means)
    truth = _checks.positive_real("truth", truth)
    ax = axes_or_new(ax)
    ax.plot(n, means.T, color=STYLES["k3"]["color"], linewidth=0.8, alpha=0.6)
    ax.axhline(truth, color="black", linestyle="--", label="true divergence")
    ax.set(xscale="log", xlabel="samples", ylabel="running mean of k3 (nats)", ylim=(0, 3 * truth))
    ax.legend()
    return ax
