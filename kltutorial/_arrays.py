"""Arrays of any library that follows the Python array API standard, under one set of names.

NumPy arrays, PyTorch tensors and JAX arrays keep their library, their device and their derivatives.
None of the libraries but NumPy is imported here: who passes its array has done so.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

__all__: list[str] = []

Array: TypeAlias = Any  # of any library


def namespace(*arrays: object) -> Any:
    """Return the module whose functions work on `arrays`: NumPy for lists and numbers."""
    # NumPy is a namespace of the standard itself; the wrapper of it is slow to import.
    others = [array for array in arrays if _is_foreign(array)]
    return array_namespace(*others) if others else np


def floats(**values: Any) -> tuple[Any, ...]:
    """Return the namespace of the values, then each as a floating array of it.

    Lists and NumPy arrays among arrays of another library get the type and the device of the
    first of those.  Integers become floats, and 16 bits 32: eight of a bfloat16's are too coarse
    for a logarithm.
    """
    foreign = {name: value for name, value in values.items() if _is_foreign(value)}
    try:
        xp = namespace(*foreign.values())
    except TypeError:
        raise TypeError(f"{', '.join(foreign)} must be arrays of one library") from None
    foreign = {name: _floating(xp, name, value) for name, value in foreign.items()}
    like = next(iter(foreign.values()), None)
    native = {
        name: _like(like, _floating(np, name, as_array(name, value)))
        for name, value in values.items()
        if name not in foreign
    }
    return xp, *((foreign | native)[name] for name in values)


def as_array(name: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as a NumPy array; raise if its rows differ in length, or it is masked."""
    if isinstance(value, np.ndarray) and hasattr(value, "mask"):  # np.ma, slow to import
        raise TypeError(f"{name} must not be a masked array: its mask would be lost")
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be a rectangular array, got rows that differ") from None


def numbers(**values: Any) -> tuple[Array, ...]:
    """Return the values as arrays of real numbers of one library, each in the type it has.

    What is an array of that library already is not copied.
    """
    arrays = {
        name: value if _is_foreign(value) else as_array(name, value)
        for name, value in values.items()
    }
    empty = {
        name: namespace(array).zeros(0, dtype=array.dtype, device=_device(array))
        for name, array in arrays.items()
    }
    xp, *types = floats(**empty)
    return tuple(
        array if xp is np or _is_foreign(array) else _like(dtype, array)
        for array, dtype in zip(arrays.values(), types, strict=True)
    )


def boolean(name: str, value: Any, like: Array) -> Array:
    """`value` as a boolean array of the library and the device of `like`."""
    if not _is_foreign(value):
        value = as_array(name, value)
        if value.dtype == np.bool and _is_foreign(like):
            return namespace(like).asarray(value, device=_device(like))
    if _is_foreign(value) and not _is_foreign(like):
        raise TypeError(
            f"{name} must be a NumPy array as the numbers are, got {type(value).__name__}"
        )
    if value.dtype != namespace(value).bool:
        raise TypeError(f"{name} must be boolean, got dtype {value.dtype}")
    return value


def widest(xp: Any) -> Any:
    """Return the floating type to add up in: float64, or what JAX has instead of it."""
    return xp.__array_namespace_info__().dtypes(kind="real floating").get("float64", xp.float32)


def detach(array: Array) -> Array:
    """Return `array` without the operations that made it, so that no gradient flows through."""
    if is_traced(array):
        return sys.modules["jax"].lax.stop_gradient(array)
    return array.detach() if hasattr(array, "detach") else array


def is_traced(array: object) -> bool:
    """Whether `array` stands for numbers that are not known yet, as under ``jax.jit``."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(array, jax.core.Tracer)


def fails(condition: Any) -> bool:
    """Whether a condition on numbers is known not to hold."""
    return not is_traced(condition) and not bool(condition)


def _is_foreign(value: object) -> bool:
    return not isinstance(value, np.ndarray | np.generic) and is_array_api_obj(value)


def _floating(xp: Any, name: str, array: Array) -> Array:
    if xp is np and array.dtype.kind not in "iuf":  # strings and objects: not of the standard
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    if xp.isdtype(array.dtype, "integral"):
        return xp.astype(array, xp.asarray(0.0).dtype)
    if not xp.isdtype(array.dtype, "real floating"):
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    narrow = getattr(array.dtype, "itemsize", 4) < 4
    return xp.astype(array, xp.float32) if narrow else array


def _like(like: Array | None, array: Array) -> Array:
    if like is None:
        return array
    return namespace(like).asarray(array, dtype=like.dtype, device=_device(like))


def _device(array: Array) -> Any:
    return None if is_traced(array) else device(array)  # a traced array is nowhere yet
