"""Checks of input, shared by the public functions.

Every check raises an error that names the argument; none changes a value.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__: list[str] = []

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]


def as_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """`value` as an array; raise if its rows differ in length."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array, got rows that differ") from None


def as_float_array(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating array: float32 and float64 are kept, integers become float64."""
    array = as_array(name, value)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.dtype == np.float16:  # too coarse for a logarithm: 3 digits
        array = array.astype(np.float32)
    return array


def integer(name: str, value: object) -> int:
    """`value` as an int; raise unless it is an integer."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:  # an array of several numbers has an __index__, too
        pass
    raise TypeError(f"{name} must be an integer, got {type(value).__name__}")


def real(name: str, value: object) -> float:
    """`value` as a float; raise unless it is one real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be within the range of floats") from None


def finite_real(name: str, value: object) -> float:
    """`value` as a float; raise unless it is one finite real number."""
    number = real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value}")
    return number


def positive_integer(name: str, value: object) -> int:
    """`value` as an int; raise unless it is an integer above zero."""
    number = integer(name, value)
    if number < 1:
        raise ValueError(f"{name} must be positive, got {number}")
    return number


def positive_real(name: str, value: object) -> float:
    """`value` as a float; raise unless it is one finite real number above zero."""
    number = real(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return number


def boolean(name: str, value: object) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {type(value).__name__}")


def text(name: str, value: object) -> None:
    """Raise unless `value` is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")


def choice(name: str, value: object, *allowed: str | None) -> None:
    """Raise unless `value` is one of the names that are allowed."""
    if not isinstance(value, str | NoneType) or value not in allowed:
        names = ", ".join(map(repr, allowed[:-1]))
        raise ValueError(f"{name} must be {names} or {allowed[-1]!r}, got {value!r}")


def generator(name: str, value: object) -> None:
    """Raise unless `value` is a random generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} must be a numpy.random.Generator, got {type(value).__name__}")


def function(name: str, value: object) -> None:
    """Raise unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {type(value).__name__}")


def non_empty(name: str, array: NDArray[Any]) -> None:
    """Raise if `array` has no entries."""
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")


def no_nan(name: str, array: FloatArray) -> None:
    """Raise if `array` holds a NaN."""
    if np.isnan(array).any():
        raise ValueError(f"{name} must not contain NaN")


def finite(name: str, array: FloatArray) -> None:
    """Raise if `array` holds a NaN or an infinity."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")


def real_array(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating array; raise if it is empty or an entry is not finite."""
    array = as_float_array(name, value)
    non_empty(name, array)
    finite(name, array)
    return array


def positive(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating array; raise unless every entry is finite and above zero."""
    array = real_array(name, value)
    if (array <= 0).any():
        raise ValueError(f"{name} must be positive, got {array.min():g}")
    return array


def unit_interval(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating array; raise unless every entry is in [0, 1]."""
    array = real_array(name, value)
    if (array < 0).any() or (array > 1).any():
        raise ValueError(f"{name} must be in [0, 1], got {array.min():g} to {array.max():g}")
    return array


def axis_of(name: str, array: NDArray[Any], axis: int) -> None:
    """Raise unless `axis` is an axis of `array`."""
    integer("axis", axis)
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis {axis} is out of range for {name} with shape {array.shape}")


def probabilities(name: str, value: ArrayLike, axis: int) -> FloatArray:
    """`value` as an array of distributions along `axis`; raise unless it is one."""
    array = as_float_array(name, value)
    axis_of(name, array, axis)
    non_empty(name, array)
    finite(name, array)
    if (array < 0).any():
        raise ValueError(f"{name} must be non-negative, got {array.min():g}")
    total = array.sum(axis=axis, dtype=np.float64)
    size = array.shape[axis]
    given = np.asarray(value).dtype  # float16 has been widened, but sums to 1 as float16 does
    eps = np.finfo(given if given.kind == "f" else array.dtype).eps
    tolerance = max(1e-6, math.sqrt(size) * float(eps))
    worst = float(np.abs(total - 1).max())
    if worst > tolerance:
        raise ValueError(
            f"{name} must sum to 1 along axis {axis}: a sum is off by {worst:.3g}, "
            f"more than {tolerance:.3g}; divide by the sum if it is meant to be a distribution"
        )
    return array


def logits(name: str, value: ArrayLike, axis: int) -> FloatArray:
    """`value` as logits along `axis`; raise on NaN, +inf, or a slice with no outcome left."""
    array = as_float_array(name, value)
    axis_of(name, array, axis)
    non_empty(name, array)
    no_nan(name, array)
    top = array.max(axis=axis)
    if (top == np.inf).any():
        raise ValueError(f"{name} must not contain +inf")
    if (top == -np.inf).any():
        raise ValueError(f"{name} must allow some outcome: a slice along axis {axis} is all -inf")
    return array


def covariance(name: str, value: ArrayLike, size: int) -> tuple[FloatArray, FloatArray]:
    """`value` as a covariance of shape (size, size), and its Cholesky factor."""
    array = as_float_array(name, value)
    if array.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)}, got {array.shape}")
    finite(name, array)
    scale = np.sqrt(np.abs(np.outer(array.diagonal(), array.diagonal())))
    tolerance = max(1e-10, 64 * float(np.finfo(array.dtype).eps))
    if (np.abs(array - array.T) > tolerance * scale).any():
        raise ValueError(f"{name} must be symmetric")
    try:
        return array, np.linalg.cholesky(array)
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} must be positive definite") from None


def same_shape(name_a: str, a: NDArray[Any], name_b: str, b: NDArray[Any]) -> None:
    """Raise unless the two arrays have one shape."""
    if a.shape != b.shape:
        raise ValueError(
            f"{name_a} and {name_b} must have the same shape, got {a.shape} and {b.shape}"
        )


def broadcast(names: str, *arrays: NDArray[Any]) -> tuple[int, ...]:
    """Return the common shape of the arrays; raise if there is none."""
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{names} must broadcast together, got shapes {shapes}") from None


def distribution_pair(p: ArrayLike, q: ArrayLike, axis: int) -> tuple[FloatArray, FloatArray]:
    """Two checked distributions over the same outcomes, with `axis` moved last."""
    p, q = probabilities("p", p, axis), probabilities("q", q, axis)
    return same_outcomes("p", p, "q", q, axis)


def same_outcomes(
    name_a: str, a: FloatArray, name_b: str, b: FloatArray, axis: int
) -> tuple[FloatArray, FloatArray]:
    """Return both arrays with `axis` moved last; raise unless it is as long in both."""
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(
            f"{name_a} and {name_b} must have the same outcomes along axis {axis}, "
            f"got {a.shape[axis]} and {b.shape[axis]}"
        )
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    broadcast(f"{name_a} and {name_b}", a, b)
    return a, b
