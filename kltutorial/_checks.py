"""Checks of input, shared by the public functions.

Every check raises an error that names the argument; none changes a value.  While arrays are
traced, as under ``jax.jit``, their numbers are unknown, and only shapes and types are checked.
"""

from __future__ import annotations

import math
import operator
from numbers import Real
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kltutorial._arrays import Array, fails, floats, is_traced, namespace, widest

__all__: list[str] = []

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

_COARSE = {"float16": 2**-10, "bfloat16": 2**-7}  # distance of 1 from the next number


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


def as_float_array(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating NumPy array: float32 and float64 are kept, integers become float64."""
    xp, array = floats(**{name: value})
    if xp is not np:
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    return array


def real_array(name: str, value: ArrayLike) -> FloatArray:
    """`value` as a floating NumPy array; raise if it is empty or an entry is not finite."""
    array = as_float_array(name, value)
    filled(name, array)
    return array


def shape(array: Array) -> tuple[int, ...]:
    """Return the shape of `array` as a tuple, which prints alike in every library."""
    return tuple(array.shape)


def untraced(name: str, array: Array) -> None:
    """Raise if the numbers of `array` are not known yet, as under ``jax.jit`` and ``jax.grad``."""
    if is_traced(array):
        raise TypeError(
            f"{name} must not be traced by JAX: what returns Python numbers "
            "can't be compiled or differentiated"
        )


def non_empty(name: str, array: Array) -> None:
    """Raise if `array` has no entries."""
    if 0 in array.shape:
        raise ValueError(f"{name} must not be empty, got shape {shape(array)}")


def no_nan(name: str, array: Array) -> None:
    """Raise if `array` holds a NaN."""
    xp = namespace(array)
    if fails(~xp.any(xp.isnan(array))):
        raise ValueError(f"{name} must not contain NaN")


def finite(name: str, array: Array) -> None:
    """Raise if `array` holds a NaN or an infinity."""
    xp = namespace(array)
    if fails(xp.all(xp.isfinite(array))):
        raise ValueError(f"{name} must be finite")


def below_infinity(name: str, array: Array) -> None:
    """Raise if `array` holds a NaN or +inf."""
    no_nan(name, array)
    if fails(namespace(array).all(array < math.inf)):
        raise ValueError(f"{name} must not contain +inf")


def filled(name: str, array: Array) -> None:
    """Raise if `array` is empty or an entry is not finite."""
    non_empty(name, array)
    finite(name, array)


def positive(name: str, array: Array) -> None:
    """Raise unless `array` has entries, and all are finite and above zero."""
    filled(name, array)
    xp = namespace(array)
    if fails(xp.all(array > 0)):
        raise ValueError(f"{name} must be positive, got {float(xp.min(array)):g}")


def non_negative(name: str, array: Array) -> None:
    """Raise unless `array` has entries, and all are finite and not below zero."""
    filled(name, array)
    xp = namespace(array)
    if fails(xp.all(array >= 0)):
        raise ValueError(f"{name} must be non-negative, got {float(xp.min(array)):g}")


def unit_interval(name: str, array: Array) -> None:
    """Raise unless `array` has entries, and all are in [0, 1]."""
    filled(name, array)
    xp = namespace(array)
    if fails(xp.all((array >= 0) & (array <= 1))):
        low, high = float(xp.min(array)), float(xp.max(array))
        raise ValueError(f"{name} must be in [0, 1], got {low:g} to {high:g}")


def axis_of(name: str, array: Array, axis: int) -> None:
    """Raise unless `axis` is an axis of `array`."""
    integer("axis", axis)
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis {axis} is out of range for {name} with shape {shape(array)}")


def same_shape(name_a: str, a: Array, name_b: str, b: Array) -> None:
    """Raise unless the two arrays have one shape."""
    if a.shape != b.shape:
        raise ValueError(
            f"{name_a} and {name_b} must have the same shape, got {shape(a)} and {shape(b)}"
        )


def broadcast(names: str, *arrays: Array) -> tuple[int, ...]:
    """Return the common shape of the arrays; raise if there is none."""
    try:
        return np.broadcast_shapes(*(shape(array) for array in arrays))
    except ValueError:
        shapes = ", ".join(str(shape(array)) for array in arrays)
        raise ValueError(f"{names} must broadcast together, got shapes {shapes}") from None


def distributions(axis: int, **values: Any) -> tuple[Any, ...]:
    """Return the namespace, and distributions over the same outcomes, with `axis` moved last."""
    xp, *arrays = floats(**values)
    for (name, value), array in zip(values.items(), arrays, strict=True):
        axis_of(name, array, axis)
        non_negative(name, array)
        # What had 16 bits has been widened, but sums to 1 as before.
        given = str(getattr(value, "dtype", "")).split(".")[-1]
        eps = _COARSE.get(given, xp.finfo(array.dtype).eps)
        tolerance = max(1e-6, math.sqrt(array.shape[axis]) * float(eps))
        total = xp.sum(array, axis=axis, dtype=widest(xp))
        worst = xp.max(xp.abs(total - 1))
        if fails(worst <= tolerance):
            raise ValueError(
                f"{name} must sum to 1 along axis {axis}: a sum is off by {float(worst):.3g}, "
                f"more than {tolerance:.3g}; divide by the sum if it is meant to be a distribution"
            )
    return xp, *same_outcomes(axis, **dict(zip(values, arrays, strict=True)))


def logits(axis: int, **values: Any) -> tuple[Any, ...]:
    """Return the namespace, and logits of the same outcomes, with `axis` moved last."""
    xp, *arrays = floats(**values)
    for name, array in zip(values, arrays, strict=True):
        axis_of(name, array, axis)
        non_empty(name, array)
        top = xp.max(array, axis=axis)  # NaN where one is
        below_infinity(name, top)
        if fails(xp.all(top > -math.inf)):
            raise ValueError(
                f"{name} must allow some outcome: a slice along axis {axis} is all -inf"
            )
    return xp, *same_outcomes(axis, **dict(zip(values, arrays, strict=True)))


def same_outcomes(axis: int, **arrays: Array) -> list[Array]:
    """Return the arrays with `axis` moved last; raise unless it is as long in all of them."""
    names, sizes = " and ".join(arrays), [array.shape[axis] for array in arrays.values()]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"{names} must have the same outcomes along axis {axis}, "
            f"got {' and '.join(map(str, sizes))}"
        )
    moved = [namespace(array).moveaxis(array, axis, -1) for array in arrays.values()]
    broadcast(names, *moved)
    return moved


def covariance(name: str, array: Array, size: int) -> Array:
    """Return the Cholesky factor of a covariance; raise unless its shape is (size, size)."""
    xp = namespace(array)
    if array.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)}, got {shape(array)}")
    finite(name, array)
    diagonal = xp.linalg.diagonal(array)
    scale = xp.sqrt(xp.abs(diagonal[:, None] * diagonal))
    tolerance = max(1e-10, 64 * float(xp.finfo(array.dtype).eps))
    if fails(xp.all(xp.abs(array - array.T) <= tolerance * scale)):
        raise ValueError(f"{name} must be symmetric")
    try:
        root = xp.linalg.cholesky(array)
    except (np.linalg.LinAlgError, RuntimeError):  # PyTorch's error is a RuntimeError
        root = array * math.nan
    if fails(xp.all(xp.isfinite(root))):  # JAX returns NaN
        raise ValueError(f"{name} must be positive definite")
    return root
