"""What all figures share: colours, line styles, a place to draw."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kltutorial._checks import FloatArray

COLORS = sns.color_palette("colorblind")
#: Colour and line style of each estimator, the same in every figure.
STYLES: dict[str, dict[str, Any]] = {
    "k1": {"color": COLORS[0], "linestyle": "-"},
    "k2": {"color": COLORS[2], "linestyle": "--"},
    "k3": {"color": COLORS[3], "linestyle": "-."},
    "optimal": {"label": r"best $\lambda^*$", "color": "0.3", "linestyle": ":"},
}
#: Label, colour and line style of each f-divergence, and of the mean of k2 beside them.
DIVERGENCES: dict[str, dict[str, Any]] = {
    "kl": {"label": "KL(p‖q)", "color": COLORS[3], "linestyle": "-"},
    "reverse_kl": {"label": "KL(q‖p)", "color": COLORS[0], "linestyle": (0, (3, 1, 1, 1))},
    "jensen_shannon": {"label": "Jensen–Shannon", "color": COLORS[9], "linestyle": "-."},
    "squared_hellinger": {"label": "Hellinger²", "color": COLORS[4], "linestyle": ":"},
    "total_variation": {"label": "total variation", "color": "black", "linestyle": "-"},
    "chi2": {"label": "χ²", "color": COLORS[1], "linestyle": (0, (6, 1))},
    "neyman_chi2": {"label": "Neyman χ²", "color": COLORS[7], "linestyle": (0, (1, 1))},
    "k2": {"label": "mean of k2", **STYLES["k2"]},
}
#: Colour and line style of the first, second and third of several series.
SERIES: list[dict[str, Any]] = [
    {"color": COLORS[k], "linestyle": style} for k, style in ((3, "-"), (0, "--"), (2, "-."))
]


def use_book_style() -> None:
    """Draw as the book does: quiet axes, and SVG that comes out the same on every machine.

    Call it once at the top of a notebook.  It changes matplotlib's global settings, and the way
    in which Jupyter shows figures.
    """
    from IPython.core.interactiveshell import InteractiveShell  # comes with Jupyter
    from matplotlib_inline.backend_inline import set_matplotlib_formats

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
    set_matplotlib_formats("svg")  # type: ignore[no-untyped-call]
    shell: Any = InteractiveShell.instance()
    shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, _portable_svg)


def _portable_svg(figure: Figure) -> str:
    """Return a figure as SVG without what differs from one machine or one run to the next.

    Processors differ in the last bit of a logarithm, and so, now and then, in the last of the six
    decimals of a coordinate.  Three are kept.  The shift is there because round coordinates are
    common, and some of them lie on the edge between two roundings.
    """
    from IPython.core.pylabtools import print_figure

    def rounded(number: re.Match[str]) -> str:
        return f"{float(number[0]) + 3.1e-5:.3f}"

    svg = print_figure(figure, "svg", metadata={"Date": None})  # type: ignore[no-untyped-call]
    places = r' (?:d|x|y)="[^"]*"|translate\([^)]*\)'
    return re.sub(places, lambda place: re.sub(r"-?\d+\.\d{4,}", rounded, place[0]), svg)


def axes_or_new(ax: Axes | None) -> Axes:
    if not isinstance(ax, Axes | None):
        raise TypeError(f"ax must be matplotlib axes, got {type(ax).__name__}")
    return plt.subplots()[1] if ax is None else ax


def draw(
    ax: Axes | None, x: FloatArray, curves: Iterable[tuple[str, FloatArray, Mapping[str, Any]]]
) -> Axes:
    """Draw curves over one axis, each with its own look, and its name as label."""
    ax = axes_or_new(ax)
    for name, values, style in curves:
        ax.plot(x, values, **{"label": name, "linewidth": 2, **style})
    return ax


def legend_above(ax: Axes, columns: int | None = None) -> None:
    columns = columns or len(ax.get_legend_handles_labels()[1])
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=columns, columnspacing=1)
