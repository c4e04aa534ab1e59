"""Figures of the book.  Each takes data that was computed elsewhere and returns the axes.

Needs matplotlib and seaborn: ``pip install "kltutorial[plot]"``.
Colours are seaborn's colour-blind-safe palette, and a line style goes with each colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

__all__ = [
    "plot_clip",
    "plot_evidence",
    "plot_inequality",
    "plot_logged",
    "plot_penalties",
    "plot_relative_deviation",
    "plot_running_means",
    "plot_terms",
    "plot_training",
    "plot_variance_parabola",
    "use_book_style",
]

_COLORS = sns.color_palette("colorblind")
#: Colour and line style of each estimator, the same in every figure.
_STYLES: dict[str, dict[str, Any]] = {
    "k1": {"color": _COLORS[0], "linestyle": "-"},
    "k2": {"color": _COLORS[2], "linestyle": "--"},
    "k3": {"color": _COLORS[3], "linestyle": "-."},
    "optimal": {"color": "0.3", "linestyle": ":"},
}
#: Colour and line style of the first, second and third of several series.
_SERIES: list[dict[str, Any]] = [
    {"color": _COLORS[k], "linestyle": style} for k, style in ((3, "-"), (0, "--"), (2, "-."))
]


def use_book_style() -> None:
    """Draw as the book does: quiet axes, and SVG that comes out the same on every run.

    Call it once at the top of a notebook.  It changes matplotlib's global settings.
    """
    from matplotlib_inline.backend_inline import set_matplotlib_formats  # comes with Jupyter

    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.figsize": (6.4, 3.6),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "kltutorial",  # otherwise ids in the file are random
        },
    )
    set_matplotlib_formats("svg", metadata={"Date": None})  # type: ignore[no-untyped-call]


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
    ax = _axes(ax)
    r = np.asarray(r)
    ax.plot(r, r - 1, color=_COLORS[0], linestyle="--")
    ax.plot(r, np.log(r), color=_COLORS[3])
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
    ax = _axes(ax)
    place = np.arange(len(names))
    ax.bar(place - 0.2, textbook, 0.38, color=_COLORS[0], label=r"$p\,\log(p/q)$")
    ax.bar(
        place + 0.2,
        shifted,
        0.38,
        color=_COLORS[1],
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
    ax = _axes(ax)
    paths = np.asarray(paths)
    samples = np.arange(1, paths.shape[1] + 1)
    ax.plot(samples, paths.T, color="0.7", linewidth=0.8)
    ax.plot(samples, slope * samples, color=_COLORS[3], linewidth=2.5, label="KL × samples")
    ax.axhline(threshold, color=_COLORS[0], linestyle="--", label="odds of 20 to 1")
    ax.set(xlabel="samples seen", ylabel="evidence for p over q (nats)")
    ax.legend()
    return ax


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
    ax = _axes(ax)
    for name, value in values.items():
        ax.plot(log_r, value, label=_label(name), linewidth=2, **_STYLES[name])
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
    ax = _axes(ax)
    for name, value in deviations.items():
        ax.plot(kl, value, label=_label(name), linewidth=2, **_STYLES[name])
    for point in crossings.values():
        ax.plot(*point, "o", color="black", markersize=4)
    if crossings:
        ax.annotate(
            "\n".join(f"{name} at {point[0]:.3f}" for name, point in crossings.items()),
            np.mean(list(crossings.values()), axis=0),
            (-150, 14),
            textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": "0.5"},
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="divergence (nats)",
        ylabel="standard deviation / divergence",
    )
    ax.legend()
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
    ax = _axes(ax)
    weights = np.asarray(weights)
    for (name, values), style in zip(variances.items(), ("-", "--", "-."), strict=False):
        values = np.asarray(values)
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
    ax.legend()
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
    ax = _axes(ax)
    ax.plot(n, np.asarray(means).T, color=_STYLES["k3"]["color"], linewidth=0.8, alpha=0.6)
    ax.axhline(truth, color="black", linestyle="--", label="true divergence")
    ax.set(xscale="log", xlabel="samples", ylabel="running mean of k3 (nats)", ylim=(0, 3 * truth))
    ax.legend()
    return ax


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
    ax = _axes(ax)
    for (name, gain), style in zip(gains.items(), _SERIES, strict=False):
        ax.plot(ratio, gain, label=name, linewidth=2, **style)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(1, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(
        xlabel=r"ratio $\rho = \pi_\theta / \pi_{\mathrm{old}}$ of the token",
        ylabel="contribution\n(units of advantage)",
    )
    ax.legend()
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
    ax = _axes(ax)
    for (name, values), style in zip(runs.items(), _SERIES, strict=False):
        values = np.asarray(values)
        ax.fill_between(
            steps, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, lw=0
        )
        ax.plot(steps, values.mean(axis=0), label=name, linewidth=2, **style)
    ax.set(xlabel="training step", ylabel=quantity)
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
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
    ax = _axes(ax)
    for (name, values), style, marker in zip(exact.items(), _SERIES, "os^", strict=False):
        ax.plot(steps, values, label=f"{name}, exact", linewidth=2, **style)
        ax.plot(
            steps,
            logged[name],
            marker,
            color=style["color"],
            markersize=4,
            alpha=0.7,
            label=f"{name}, logged k3",
        )
    ax.set(xlabel="training step", ylabel="divergence (nats per answer)")
    ax.legend()
    return ax


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _label(name: str) -> str:
    return r"best weight $\lambda^*$" if name == "optimal" else name
