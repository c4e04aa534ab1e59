"""What NumPy arrays and PyTorch tensors have in common, under one name.

Functions written with the names that both libraries take from the Python array API standard
(``exp``, ``where``, ``clip``, ``sum`` ...) work on either, and PyTorch differentiates them.
PyTorch is never imported here: who passes a tensor has done so.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from kltutorial import _checks

__all__: list[str] = []

Array = Any  # numpy.ndarray or torch.Tensor


def namespace(array: object) -> Any:
    """Return the module whose functions work on `array`: torch for a tensor, else NumPy."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def detach(array: Array) -> Array:
    """Return `array` without the operations that made it, so that no gradient flows through."""
    return array.detach() if hasattr(array, "detach") else array


def as_float_array(name: str, value: Any, like: Array = None) -> Array:
    """`value` as a floating array of the library of `like`, or of its own."""
    xp = namespace(value if like is None else like)
    if xp is np:
        return _checks.as_float_array(name, detach(value))
    if not isinstance(value, xp.Tensor):
        value = _checks.as_float_array(name, value)
        return xp.as_tensor(value, dtype=like.dtype, device=like.device)
    if value.dtype in (xp.float16, xp.bfloat16):  # too coarse for a logarithm: 3 digits
        value = value.to(xp.float32)
    if value.dtype not in (xp.float32, xp.float64):
        raise TypeError(f"{name} must be floating point, got dtype {value.dtype}")
    return value


def as_bool_array(name: str, value: Any, like: Array) -> Array:
    """`value` as a boolean array of the library of `like`."""
    xp = namespace(like)
    value = _checks.as_array(name, value) if xp is np else xp.as_tensor(value, device=like.device)
    if value.dtype != (np.bool_ if xp is np else xp.bool):
        raise TypeError(f"{name} must be boolean, got dtype {value.dtype}")
    return value
