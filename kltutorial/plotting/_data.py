"""Checks of what figures are given.  Each returns what it has checked, as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial._checks import FloatArray

S = TypeVar("S")
T = TypeVar("T")


def along(name: str, values: ArrayLike, *, above: float = -math.inf) -> FloatArray:
    """Return the numbers along an axis: finite, in one dimension, all `above` a limit."""
    array = _checks.as_float_array(name, values)
    _checks.filled(name, array)
    if array.ndim != 1 or array.min() <= above:
        raise ValueError(f"{name} must be numbers above {above:g}, in one dimension, got {array}")
    return array


def heights(*shape: int | None) -> Callable[[str, ArrayLike], FloatArray]:
    """Return the check of what is drawn over an axis; NaN leaves a gap, None is any length."""

    def check(name: str, values: ArrayLike) -> FloatArray:
        array = _checks.as_float_array(name, values)
        _checks.non_empty(name, array)
        expected = tuple(n or m for n, m in zip(shape, array.shape, strict=False))
        if array.ndim != len(shape) or array.shape != expected:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
        return array

    return check


def coordinates(name: str, values: Any) -> tuple[FloatArray, FloatArray]:
    """Return x and y of points."""
    if not isinstance(values, Sequence | np.ndarray) or len(values) != 2:
        raise ValueError(f"{name} must be a pair of coordinates, got {values!r}")
    x, y = (_checks.as_float_array(name, value) for value in values)
    _checks.filled(name, x)
    _checks.filled(name, y)
    _checks.same_shape(f"{name}[0]", x, f"{name}[1]", y)
    return x, y


def point(name: str, values: Any) -> tuple[float, float]:
    """Return x and y of one point."""
    x, y = coordinates(name, values)
    if x.ndim:
        raise ValueError(f"{name} must be a pair of numbers, got {values!r}")
    return float(x), float(y)


def named(
    argument: str,
    values: Mapping[str, Any],
    check: Callable[[str, Any], T],
    styles: Mapping[str, S] | Sequence[S],
) -> list[tuple[str, T, S]]:
    """Return name, checked value and look of each; looks go by name, or one after the other."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{argument} must map names to values, got {type(values).__name__}")
    if len(values) > len(styles):
        raise ValueError(f"{argument} must hold at most {len(styles)}, got {len(values)}")
    result = []
    for number, (name, value) in enumerate(values.items()):
        if isinstance(styles, Mapping):
            _checks.choice(f"a name in {argument}", name, *styles)
            style = styles[name]
        else:
            _checks.text(f"a name in {argument}", name)
            style = styles[number]
        result.append((name, check(f"{argument}[{name!r}]", value), style))
    return result


def texts(argument: str, values: Sequence[str]) -> None:
    """Raise unless `values` are strings."""
    if not isinstance(values, Sequence):
        raise TypeError(f"{argument} must be a sequence of strings, got {type(values).__name__}")
    for value in values:
        _checks.text(f"each of {argument}", value)
