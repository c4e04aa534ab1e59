"""Figures: what is drawn is the data that was given."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("agg")

import matplotlib.pyplot as plt

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
