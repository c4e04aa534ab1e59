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
    "plot_branches",
    "plot_chords",
    "plot_clip",
    "plot_descent",
    "plot_evidence",
    "plot_fits",
    "plot_generators",
    "plot_inequality",
    "plot_local_divergences",
    "plot_logged",
    "plot_loss_surface",
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
#: Label, colour and line style of each f-divergence, and of the mean of k2 beside them.
_DIVERGENCES: dict[str, dict[str, Any]] = {
    "kl": {"label": "KL(p‖q)", "color": _COLORS[3], "linestyle": "-"},
    "reverse_kl": {"label": "KL(q‖p)", "color": _COLORS[0], "linestyle": (0, (3, 1, 1, 1))},
    "jensen_shannon": {"label": "Jensen–Shannon", "color": _COLORS[9], "linestyle": "-."},
    "squared_hellinger": {"label": "Hellinger²", "color": _COLORS[4], "linestyle": ":"},
    "total_variation": {"label": "total variation", "color": "black", "linestyle": "-"},
    "chi2": {"label": "χ²", "color": _COLORS[1], "linestyle": (0, (6, 1))},
    "neyman_chi2": {"label": "Neyman χ²", "color": _COLORS[7], "linestyle": (0, (1, 1))},
    "k2": {"label": "mean of k2", **_STYLES["k2"]},
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
            "figure.figsize": (5.6, 3.4),  # so that its letters stay legible on a phone
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
        note = "\n".join(f"{name} at {point[0]:.3f}" for name, point in crossings.items())
        place = np.mean(list(crossings.values()), axis=0)
        arrow = {"arrowstyle": "-", "color": "0.5"}
        ax.annotate(note, place, (-55, 62), textcoords="offset points", arrowprops=arrow)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="divergence (nats)",
        ylabel="standard deviation / divergence",
    )
    _legend_above(ax)
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
    _legend_above(ax)
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


def plot_generators(u: ArrayLike, values: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    r"""Draw generators of f-divergences, to be compared near one.

    Parameters
    ----------
    u : array_like
        The horizontal axis, the ratio p/q.
    values : mapping of str to array_like
        For each divergence, by its name in ``kltutorial.F_DIVERGENCES``, its generator in
        the non-negative form, divided by :math:`f''(1)` where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ax = _axes(ax)
    for name, value in values.items():
        ax.plot(u, value, linewidth=2, **_DIVERGENCES[name])
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set(
        xlabel="ratio $u = p/q$ of an outcome", ylabel="its price $f(u)/f''(1)$", ylim=(-0.05, 1)
    )
    _legend_above(ax, columns=3)
    return ax


def plot_chords(
    u: ArrayLike,
    curves: Mapping[str, ArrayLike],
    chords: Mapping[str, ArrayLike],
    ax: Axes | None = None,
) -> Axes:
    """Draw what merging two outcomes does: from a point on the chord to one on the curve.

    Parameters
    ----------
    u : array_like
        The horizontal axis, the ratio p/q.
    curves : mapping of str to array_like
        For each quantity, ``"kl"`` or ``"k2"``, its generator at `u`.
    chords : mapping of str to array_like
        For each of them three ratios and three heights, shape (2, 3): the first outcome, the
        merged one on the curve, and the second outcome.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ax = _axes(ax)
    for name, curve in curves.items():
        style = {**_DIVERGENCES[name], "label": {"kl": "KL (k1, k3)"}.get(name, name)}
        ax.plot(u, curve, linewidth=2, **style)
        ratios, heights = np.asarray(chords[name])
        ax.plot(ratios[[0, 2]], heights[[0, 2]], "o-", color="0.3", linewidth=1, markersize=4)
        before = np.interp(ratios[1], ratios[[0, 2]], heights[[0, 2]])
        ax.annotate(
            "",
            (ratios[1], heights[1]),
            (ratios[1], before),
            arrowprops={"arrowstyle": "-|>", "color": style["color"], "shrinkA": 0, "shrinkB": 0},
        )
    ax.axvline(1 / np.e, color="0.6", linewidth=0.8, linestyle=":")
    ax.annotate("$u = 1/e$", (1 / np.e, 1), (4, -12), textcoords="offset points", color="0.35")
    ax.set(xlabel="ratio $u = p/q$ of an outcome", ylabel="generator (nats)")
    ax.legend()
    return ax


def plot_local_divergences(
    steps: ArrayLike, divergences: Mapping[str, ArrayLike], ax: Axes | None = None
) -> Axes:
    r"""Draw divergences against the size of the step between two distributions.

    Parameters
    ----------
    steps : array_like
        The horizontal axis: how far one distribution has moved from the other.
    divergences : mapping of str to array_like
        For each name, as :func:`plot_generators` has them or ``"k2"``, the divergences, divided
        by :math:`f''(1)` where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default, a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ax = _axes(ax)
    for name, value in divergences.items():
        ax.plot(steps, value, linewidth=2, **_DIVERGENCES[name])
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="step $t$ from the reference towards the policy",
        ylabel="divergence $/\\,f''(1)$",
    )
    _legend_above(ax, columns=3)
    return ax


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
    ax = _axes(ax)
    x = np.asarray(x)
    ax.fill_between(x, 0, target, color="0.8")
    styles = zip((_COLORS[3], _COLORS[0], _COLORS[2]), ("-", "--", "-."), strict=True)
    for (name, density), (color, style) in zip(fits.items(), styles, strict=False):
        ax.plot(x, density, color=color, linestyle=style, linewidth=2.5, label=name)
    colors = ["0.45", *(line.get_color() for line in ax.lines)]
    curves = {"target": np.asarray(target), **{k: np.asarray(v) for k, v in fits.items()}}
    for (name, density), color in zip(curves.items(), colors, strict=False):
        top = (x[density.argmax()], density.max())
        ax.annotate(name, top, (0, 6), textcoords="offset points", ha="center", color=color)
    highest = max(density.max() for density in curves.values())
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
    ax = _axes(ax)
    loss = np.asarray(loss)
    lowest = min(kl for _, _, kl in optima)
    # Denser towards the bottom, and one close around each minimum, however shallow.
    levels = {*(lowest + np.array([0.3, 0.7, 1.5, 2.5, 4, 7, 12, 20]))}
    levels |= {kl + 0.04 for _, _, kl in optima}
    ax.contour(mean, std, loss, levels=sorted(levels), colors="0.55", linewidths=0.8)
    for m, s, kl in optima:
        best = kl < lowest + 1e-6
        ax.plot(
            m,
            s,
            "o",
            color=_COLORS[3],
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
    ax.set_ylim(np.min(np.asarray(std)), np.max(np.asarray(std)))
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
    ax = _axes(ax)
    styles = zip((_COLORS[0], _COLORS[3], "0.3"), ("--", "-", ":"), strict=True)
    for (name, value), (color, style) in zip(branches.items(), styles, strict=False):
        ax.plot(separation, value, color=color, linestyle=style, linewidth=2, label=name)
    # One above to the left, one below to the right, out of the way of rising curves.
    places = ((-16, 40), "right"), ((16, -44), "left")
    for (name, point), (offset, side) in zip(marks.items(), places, strict=False):
        ax.plot(*point, "o", color="black", markersize=5)
        ax.annotate(
            f"{name} {point[0]:.2f}",
            point,
            offset,
            textcoords="offset points",
            ha=side,
            arrowprops={"arrowstyle": "-", "color": "0.5"},
        )
    ax.set(xlabel="half the distance of the bumps, $d$", ylabel="KL(model ‖ target) (nats)")
    _legend_above(ax)
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
    ax = _axes(ax)
    styles = zip((_COLORS[0], _COLORS[3]), ("--", "-"), strict=True)
    for (name, value), (color, style) in zip(divergences.items(), styles, strict=False):
        ax.plot(steps, value, color=color, linestyle=style, linewidth=2, label=name)
    ax.set(yscale="log", xlabel="gradient steps", ylabel="divergence (nats)")
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
    _legend_above(ax)
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
    _legend_above(ax)
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
    _legend_above(ax, columns=2)
    return ax


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _legend_above(ax: Axes, columns: int | None = None) -> None:
    columns = columns or len(ax.get_legend_handles_labels()[1])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=columns, columnspacing=1)


def _label(name: str) -> str:
    return r"best $\lambda^*$" if name == "optimal" else name
