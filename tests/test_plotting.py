"""Figures: what is drawn is the data that was given."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

import matplotlib.pyplot as plt

import kltutorial
from kltutorial import plotting


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        yield
    plt.close("all")


def lines(ax):
    """Return the drawn lines by label."""
    return {line.get_label(): line for line in ax.lines}


def test_inequality_draws_both_sides_and_fills_the_gap():
    r = np.linspace(0.1, 3, 50)
    ax = plotting.plot_inequality(r)
    upper, lower = ax.lines[:2]
    np.testing.assert_array_equal(upper.get_ydata(), r - 1)
    np.testing.assert_array_equal(lower.get_ydata(), np.log(r))
    assert len(ax.collections) == 1


def test_terms_are_the_heights_of_the_bars():
    ax = plotting.plot_terms([0.3, -0.1], [0.1, 0.2], ["a", "b"])
    assert [bar.get_height() for bar in ax.patches] == [0.3, -0.1, 0.1, 0.2]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["a", "b"]


def test_evidence_climbs_along_slope_times_samples():
    paths = np.cumsum(np.ones((3, 5)), axis=1)
    ax = plotting.plot_evidence(paths, slope=0.5, threshold=2.0)
    assert len(ax.lines) == 3 + 2
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), paths[0])
    np.testing.assert_allclose(lines(ax)["KL × samples"].get_ydata(), 0.5 * np.arange(1, 6))
    assert set(lines(ax)["odds of 20 to 1"].get_ydata()) == {2.0}


def test_each_estimator_has_a_colour_and_a_line_style_of_its_own():
    values = {name: np.arange(3.0) + k for k, name in enumerate(["k1", "k2", "k3"])}
    drawn = lines(plotting.plot_penalties(np.arange(3.0), values))
    for name, value in values.items():
        np.testing.assert_array_equal(drawn[name].get_ydata(), value)
    styles = {(drawn[name].get_color(), drawn[name].get_linestyle()) for name in values}
    assert len(styles) == len({style for _, style in styles}) == 3


def test_relative_deviation_marks_the_crossings():
    kl = np.geomspace(0.1, 10, 5)
    ax = plotting.plot_relative_deviation(
        kl, {"k1": 1 / kl, "optimal": 0.5 / kl}, {"k3 = k1": (0.628, 1.78)}
    )
    np.testing.assert_array_equal(lines(ax)["k1"].get_ydata(), 1 / kl)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines[2:]] == [(0.628, 1.78)]
    assert [text.get_text() for text in ax.texts] == ["k3 = k1 at 0.628"]


def test_relative_deviation_without_crossings_has_no_note():
    ax = plotting.plot_relative_deviation([0.1, 1], {"k1": [2, 1]}, {})
    assert not list(ax.texts)


def test_parabola_marks_the_lowest_point():
    weights = np.linspace(0, 1, 11)
    ax = plotting.plot_variance_parabola(weights, {"a": (weights - 0.3) ** 2})
    curve, dot = ax.lines[:2]
    np.testing.assert_array_equal(curve.get_xdata(), weights)
    assert dot.get_xdata()[0] == pytest.approx(0.3)
    assert {text.get_text() for text in ax.texts} == {"k1", "k3"}


def test_running_means_are_drawn_run_by_run_with_the_truth():
    means = np.array([[1.0, 0.5], [0.2, 0.3]])
    ax = plotting.plot_running_means([10, 100], means, truth=0.4)
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines[:2]], means)
    assert set(lines(ax)["true divergence"].get_ydata()) == {0.4}


def test_each_divergence_has_a_colour_and_a_line_style_of_its_own():
    names = [*kltutorial.F_DIVERGENCES, "k2"]
    values = {name: np.arange(1.0, 4.0) + k for k, name in enumerate(names)}
    for function in (plotting.plot_generators, plotting.plot_local_divergences):
        ax = function(np.arange(1.0, 4.0), values)
        drawn = [line for line in ax.lines if not line.get_label().startswith("_")]
        np.testing.assert_array_equal([line.get_ydata() for line in drawn], [*values.values()])
        looks = {(line.get_color(), line.get_linestyle()) for line in drawn}
        assert len(looks) == len({line.get_label() for line in drawn}) == len(names)
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_chords_join_the_ends_and_the_arrow_ends_on_the_curve():
    u = np.linspace(0, 1, 5)
    ax = plotting.plot_chords(u, {"k2": u**2}, {"k2": [[0.0, 0.25, 1.0], [0.0, 0.0625, 1.0]]})
    curve, chord, turn = ax.lines
    np.testing.assert_array_equal(curve.get_ydata(), u**2)
    np.testing.assert_array_equal(chord.get_xydata(), [[0, 0], [1, 1]])
    assert set(turn.get_xdata()) == {1 / np.e}
    arrow, _ = ax.texts
    assert (arrow.xy, arrow.xyann) == ((0.25, 0.0625), (0.25, 0.25))


@pytest.mark.parametrize(
    ("function", "data"),
    [
        (plotting.plot_inequality, ([0.5, 1.0, 2.0],)),
        (plotting.plot_terms, ([0.1], [0.2], ["a"])),
        (plotting.plot_evidence, ([[0.1, 0.2]], 0.1, 1.0)),
        (plotting.plot_penalties, ([0.0, 1.0], {"k1": [0.0, -1.0]})),
        (plotting.plot_relative_deviation, ([0.1, 1.0], {"k1": [2.0, 1.0]}, {})),
        (plotting.plot_variance_parabola, ([0.0, 1.0], {"a": [1.0, 0.5]})),
        (plotting.plot_running_means, ([1, 2], [[0.1, 0.2]], 0.1)),
        (plotting.plot_clip, ([0.0, 1.0], {"a": [0.0, 1.0]})),
        (plotting.plot_training, ([0, 1], {"a": [[0.0, 1.0]]}, "reward")),
        (plotting.plot_logged, ([0, 1], {"a": [0.0, 1.0]}, {"a": [0.0, 1.0]})),
        (plotting.plot_fits, ([0.0, 1.0], [0.5, 0.5], {"a": [0.4, 0.6]})),
        (
            plotting.plot_loss_surface,
            ([0.0, 1.0], [1.0, 2.0], [[0.1, 0.9], [2.0, 3.0]], [(0, 1, 0.1)]),
        ),
        (plotting.plot_branches, ([1.0, 2.0], {"a": [0.1, 0.2]}, {})),
        (plotting.plot_descent, ([0, 1], {"forward": [1.0, 0.1]})),
        (plotting.plot_generators, ([0.5, 1.0], {"kl": [0.2, 0.0]})),
        (plotting.plot_chords, ([0, 1], {"kl": [1, 0]}, {"kl": [[0, 0.5, 1], [1, 0.2, 0]]})),
        (plotting.plot_local_divergences, ([0.1, 1.0], {"k2": [0.01, 1.0]})),
    ],
)
def test_every_figure_labels_its_axes_and_draws_where_it_is_told(function, data):
    ax = plt.subplots()[1]
    assert function(*data, ax=ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert len(plt.get_fignums()) == 1


def test_book_style_makes_svg_reproducible():
    plotting.use_book_style()
    assert mpl.rcParams["svg.hashsalt"] == "kltutorial"


def test_fits_are_drawn_over_the_target_with_their_names():
    x = np.array([0.0, 1.0, 2.0])
    ax = plotting.plot_fits(x, [0.1, 0.3, 0.1], {"a": [0.2, 0.2, 0.6], "b": [0.1, 0.2, 0.1]})
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["a"].get_ydata(), [0.2, 0.2, 0.6])
    assert drawn["a"].get_linestyle() != drawn["b"].get_linestyle()
    assert len(ax.collections) == 1
    assert {text.get_text(): text.xy for text in ax.texts} == {
        "target": (1.0, 0.3),
        "a": (2.0, 0.6),
        "b": (1.0, 0.2),
    }
    assert ax.get_ylim()[1] > 0.6


def test_surface_marks_the_best_minima_with_discs_and_the_others_with_rings():
    mean, std = np.linspace(-2, 2, 9), np.geomspace(0.5, 8, 7)
    loss = mean**2 + np.log(std)[:, None] ** 2 + 0.1
    ax = plotting.plot_loss_surface(mean, std, loss, [(0, 1, 0.1), (1, 2, 0.1), (0, 4, 0.9)])
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [
        (0, 1),
        (1, 2),
        (0, 4),
    ]
    assert [line.get_fillstyle() for line in ax.lines] == ["full", "full", "none"]
    assert [text.get_text() for text in ax.texts] == ["0.100", "0.100", "0.900"]
    levels = ax.collections[0].levels
    assert {0.14, 0.94} <= {round(float(level), 9) for level in levels}


def test_branches_mark_where_one_begins_and_where_it_wins():
    d = np.array([1.0, 2.0, 3.0])
    branches = {"centre": [0.1, 0.4, 0.9], "side": [np.nan, 0.6, 0.7]}
    ax = plotting.plot_branches(d, branches, {"appears": (2.0, 0.6), "wins": (2.5, 0.65)})
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["side"].get_ydata(), branches["side"])
    assert drawn["centre"].get_linestyle() != drawn["side"].get_linestyle()
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines[2:]] == [
        (2.0, 0.6),
        (2.5, 0.65),
    ]
    assert [text.get_text() for text in ax.texts] == ["appears 2.00", "wins 2.50"]


def test_descent_is_drawn_on_a_logarithmic_axis():
    ax = plotting.plot_descent([0, 1], {"forward": [1.0, 0.1], "reverse": [1.0, 0.5]})
    drawn = lines(ax)
    np.testing.assert_array_equal(drawn["reverse"].get_ydata(), [1.0, 0.5])
    assert drawn["forward"].get_linestyle() != drawn["reverse"].get_linestyle()
    assert ax.get_yscale() == "log"


def test_clip_draws_every_series_in_its_own_style():
    ratio = np.linspace(0, 2, 5)
    gains = {"a": np.minimum(ratio, 1.2), "b": -ratio, "c": ratio}
    drawn = lines(plotting.plot_clip(ratio, gains))
    for name, gain in gains.items():
        np.testing.assert_array_equal(drawn[name].get_ydata(), gain)
    assert len({(drawn[n].get_color(), drawn[n].get_linestyle()) for n in gains}) == 3


def test_training_draws_the_mean_and_the_range_of_the_runs():
    runs = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 5.0]])
    ax = plotting.plot_training([0, 5, 10], {"β = 0": runs}, "reward")
    np.testing.assert_array_equal(lines(ax)["β = 0"].get_ydata(), [0.5, 1, 3.5])
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} >= {(0, 0), (0, 1), (10, 2), (10, 5)}
    assert ax.get_ylabel() == "reward"


def test_logged_values_are_dots_on_the_colour_of_the_exact_line():
    exact, logged = {"a": [0.0, 1.0], "b": [0.0, 2.0]}, {"a": [0.1, 0.9], "b": [0.2, 1.5]}
    drawn = lines(plotting.plot_logged([0, 5], exact, logged))
    for name in exact:
        line, dots = drawn[f"{name}, exact"], drawn[f"{name}, logged k3"]
        np.testing.assert_array_equal(line.get_ydata(), exact[name])
        np.testing.assert_array_equal(dots.get_ydata(), logged[name])
        assert line.get_color() == dots.get_color()
        assert dots.get_linestyle() == "None"
    assert drawn["a, logged k3"].get_marker() != drawn["b, logged k3"].get_marker()
