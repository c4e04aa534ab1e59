"""Random inputs for the property tests, and errors measured against mpmath."""

import mpmath
import numpy as np
from hypothesis import strategies as st

ESTIMATORS = ["k1", "k2", "k3", "optimal"]

seeds = st.integers(0, 2**32 - 1)


@st.composite
def distributions(draw, size, *, zeros=True):
    """One categorical distribution; with `zeros`, some outcomes may be impossible."""
    weight = st.integers(0 if zeros else 1, 1000)
    weights = draw(st.lists(weight, min_size=size, max_size=size).filter(any))
    return np.array(weights) / sum(weights)


@st.composite
def distribution_pairs(draw, *, zeros=True):
    size = draw(st.integers(2, 6))
    return draw(distributions(size, zeros=zeros)), draw(distributions(size, zeros=zeros))


def exactly(values):
    """The floats of an array as mpmath numbers, without rounding."""
    return [mpmath.mpf(float(value)) for value in np.ravel(values)]


def relative_error(got, exact):
    return float(abs(mpmath.mpf(float(got)) - exact) / abs(exact))


def ulps(got, exact):
    """Distance of a float from an exact value, in units of the float's last place."""
    return float(abs(mpmath.mpf(float(got)) - exact) / mpmath.mpf(float(np.spacing(np.abs(got)))))
