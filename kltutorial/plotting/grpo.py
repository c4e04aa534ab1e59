"""Figures of the chapter on the GRPO formula."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial.plotting._data import along, heights, named
from kltutorial.plotting._style import SERIES, axes_or_new, draw, legend_above

__all__ = ["plot_clip", "plot_logged", "plot_training"]


def plot_clip(ratio: ArrayLike, gains: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw what a token contributes to the policy term against how much likelier it has become.

    Parameters
    ----------
    ratio : array_like
        The horizontal axis, π/π_old of the token.
    gains : mapping of str to array_like
        The contributions, in units of the advantage, by what is written beside them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ratio = along("ratio", ratio)
    ax = draw(ax, ratio, named("gains", gains, heights(ratio.size), SERIES))
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(
        xlabel=r"ratio $\rho = \pi_\theta / \pi_{\mathrm{old}}$ of the token",
        ylabel="contribution\n(units of advantage)",
    )
    legend_above(ax)
    return ax


def plot_training(
    steps: ArrayLike, runs: Mapping[str, ArrayLike], quantity: str, ax: Axes | None = None
) -> Axes:
    """Draw a quantity over training: the mean of several runs, and the range that they cover.

    Parameters
    ----------
    steps : array_like
        The horizontal axis.
    runs : mapping of str to array_like
        For each setting, by name, its values of shape (runs, len(steps)).
    quantity : str
        What the vertical axis shows, with its unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    steps = along("steps", steps)
    settings = named("runs", runs, heights(None, steps.size), SERIES)
    _checks.text("quantity", quantity)
    ax = axes_or_new(ax)
    for name, values, style in settings:
        ax.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, lw=0
        )
        ax.plot(steps, values.mean(axis=0), label=name, linewidth=2, **style)
    ax.set(xlabel="training step", ylabel=quantity)
    legend_above(ax)
    return ax


def plot_logged(
    steps: ArrayLike,
    exact: Mapping[str, ArrayLike],
    logged: Mapping[str, ArrayLike],
    ax: Axes | None = None,
) -> Axes:
    """Draw the exact divergence over training, and the estimates that would be logged.

    Parameters
    ----------
    steps : array_like
        The horizontal axis.
    exact, logged : mapping of str to array_like
        For each run, by name, its divergences and their estimates in nats per answer.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    steps = along("steps", steps)
    curves = named("exact", exact, heights(steps.size), SERIES)
    dots = {name: value for name, value, _ in named("logged", logged, heights(steps.size), "os^")}
    if dots.keys() != exact.keys():
        raise ValueError(f"logged must have the names of exact, {', '.join(exact)}")
    ax = axes_or_new(ax)
    for (name, values, style), marker in zip(curves, "os^", strict=False):
        ax.plot(steps, values, label=f"{name}, exact", linewidth=2, **style)
        ax.plot(
            steps,
            dots[name],
            marker,
            color=style["color"],
            markersize=4,
            alpha=0.7,
            label=f"{name}, logged k3",
        )
    ax.set(xlabel="training step", ylabel="divergence (nats per answer)")
    legend_above(ax, columns=2)
    return ax
