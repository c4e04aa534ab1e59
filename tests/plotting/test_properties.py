"""Whatever is given to be drawn over an axis is on the axes, number by number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kltutorial import plotting
from tests.test_bad_input import AX, FIGURES, X

# An axis, and curves over it by name; what else there is stays as it is.
OVER_AN_AXIS = {
    name: (axis, curves)
    for name, (axis, curves, *_) in (
        (name, [*arguments]) for name, arguments in FIGURES.items() if len(arguments) > 1
    )
    if isinstance(FIGURES[name][curves].value, Mapping)
    and np.shape(FIGURES[name][axis].value) == (len(X),)
    and all(np.shape(each) == (len(X),) for each in FIGURES[name][curves].value.values())
}


def test_there_are_figures_over_an_axis():
    assert len(OVER_AN_AXIS) > 10


@pytest.mark.parametrize("name", sorted(OVER_AN_AXIS.keys() - {"plot_logged"}))
@settings(max_examples=25)
@given(st.data())
def test_curves_are_drawn_as_they_are_given(name, data):
    axis, curves = OVER_AN_AXIS[name]
    numbers = st.floats(0.01, 100)
    x = np.sort(data.draw(arrays.arrays(float, len(X), elements=numbers, unique=True)))
    y = data.draw(arrays.arrays(float, len(X), elements=numbers | st.just(np.nan)))
    given_ = {key: each.value for key, each in FIGURES[name].items()}
    labels = given_[curves]
    AX.clear()
    getattr(plotting, name)(**given_ | {axis: x, curves: dict.fromkeys(labels, y)}, ax=AX)
    drawn = [line.get_ydata() for line in AX.lines]
    assert sum(np.array_equal(values, y, equal_nan=True) for values in drawn) == len(labels)
