"""What a function that takes arrays of any library must do with them, on one call after another.

NumPy's answer is the reference; that it is right is tested elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import array_api_compat
import numpy as np

from kltutorial import GRPOLoss


@dataclass(frozen=True)
class Case:
    """A call of a public function.

    Floating arguments are in float64, and hold numbers that are exact in bfloat16 where that
    decides whether they are valid (the probabilities of `distributions` sum to 1).
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]  # arrays; what is none is passed on as it is
    keywords: dict[str, Any] = field(default_factory=dict)
    differentiable: tuple[str, ...] = ()  # names of arguments
    distributions: tuple[str, ...] = ()  # those of which the last axis sums to 1
    traced: bool = True

    def __call__(self, **arguments: Any) -> list[Any]:
        """Return the arrays that the function returns, with some arguments in place of its own."""
        result = self.function(**(self.arguments | arguments), **self.keywords)
        if isinstance(result, GRPOLoss):
            return [result.loss, result.policy_loss, result.kl_loss, result.kl, result.clip_fraction]
        return list(result) if isinstance(result, tuple) else [result]

    def objective(self, **arguments: Any) -> Any:
        """Return one number that depends on every entry that a gradient flows through."""
        results = self(**arguments)
        if self.function.__name__ == "grpo_loss":
            results = results[:3]  # the others are for the log
        total = 0.0
        for result in results:
            xp = _namespace(result)
            for i, entry in enumerate(xp.unstack(xp.reshape(result, (-1,)))):
                total = total + float(np.cos(1 + i)) * entry
        return total


@dataclass(frozen=True)
class Backend:
    """A library of arrays, on one device."""

    name: str
    asarray: Callable[[np.ndarray, str], Any]
    numpy: Callable[[Any], np.ndarray] = np.asarray
    dtypes: tuple[str, ...] = ("float32", "float64")
    gradients: Callable[[Callable[..., Any], dict[str, Any]], dict[str, Any]] | None = None
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    precision: Callable[[str], AbstractContextManager[Any]] = lambda dtype: nullcontext()

    def __repr__(self) -> str:
        return self.name

    def arguments(self, case: Case, dtype: str) -> dict[str, Any]:
        """Return the arguments of a case as arrays of this library."""
        return {
            name: self.asarray(value, dtype if value.dtype == np.float64 else str(value.dtype))
            if isinstance(value, np.ndarray)
            else value
            for name, value in case.arguments.items()
        }


def _namespace(array: Any) -> Any:
    return np if isinstance(array, np.ndarray | np.generic) else array_api_compat.array_namespace(array)


def _reference(case: Case, backend: Backend, arguments: dict[str, Any]) -> list[np.ndarray]:
    """Return NumPy's results for what the arguments hold after they were rounded."""
    rounded = {
        name: backend.numpy(value) if hasattr(value, "dtype") else value
        for name, value in arguments.items()
    }
    return [np.asarray(result) for result in case(**rounded)]


def _assert_close(got: np.ndarray, wanted: np.ndarray, arguments: dict[str, Any]) -> None:
    """Two orders of the same few operations differ by a few roundings of the largest number."""
    sizes = [np.abs(a[np.isfinite(a)]).max(initial=1) for a in (wanted, *arguments.values())]
    eps = np.finfo(wanted.dtype).eps
    np.testing.assert_allclose(got, wanted, rtol=16 * eps, atol=16 * eps * max(sizes))


def check_values(case: Case, backend: Backend, dtype: str) -> None:
    """The library, the device and the precision are kept, and the numbers are NumPy's."""
    with backend.precision(dtype):
        arguments = backend.arguments(case, dtype)
        arrays = [value for value in arguments.values() if hasattr(value, "dtype")]
        wide = {"float16": "float32", "bfloat16": "float32"}.get(dtype, dtype)
        numbers = {
            name: backend.numpy(value).astype(wide)
            for name, value in arguments.items()
            if hasattr(value, "dtype") and not str(value.dtype).endswith("bool")
        }
        wanted = _reference(case, backend, backend.arguments(case, dtype) | numbers)
        got = case(**arguments)
        assert len(got) == len(wanted)
        for array, numpy in zip(got, wanted, strict=True):
            assert _namespace(array) is _namespace(arrays[0])
            assert array_api_compat.device(array) == array_api_compat.device(arrays[0])
            assert str(array.dtype).split(".")[-1] == str(numpy.dtype) == wide
            assert tuple(array.shape) == numpy.shape
            _assert_close(backend.numpy(array), numpy, numbers)


def check_compiled(case: Case, backend: Backend, dtype: str) -> None:
    """What is compiled gives what is run step by step."""
    assert backend.compiled is not None
    with backend.precision(dtype):
        arguments = backend.arguments(case, dtype)
        arrays = {name: value for name, value in arguments.items() if hasattr(value, "dtype")}
        numbers = {name: backend.numpy(value).astype(float) for name, value in arrays.items()}
        wanted = case(**arguments)
        got = backend.compiled(lambda **arrays: case(**(arguments | arrays)))(**arrays)
        for array, eager in zip(got, wanted, strict=True):
            assert array.dtype == eager.dtype
            _assert_close(backend.numpy(array), backend.numpy(eager), numbers)


def check_gradient(case: Case, backend: Backend) -> None:
    """The gradient is finite, and along a few directions it is NumPy's slope."""
    assert backend.gradients is not None
    with backend.precision("float64"):
        arguments = backend.arguments(case, "float64")
        active = {name: arguments[name] for name in case.differentiable}
        found = backend.gradients(
            lambda **values: case.objective(**(arguments | values)),
            active,
        )
        gradients = {name: backend.numpy(gradient) for name, gradient in found.items()}
    for seed, (name, gradient) in enumerate(gradients.items()):
        assert np.isfinite(gradient).all(), name
        x = case.arguments[name]
        direction = np.random.default_rng(seed).normal(size=x.shape)
        if name in case.distributions:  # stay on the simplex
            direction = x * (direction - (x * direction).sum(axis=-1, keepdims=True))
        wanted = _slope(lambda step: case.objective(**{name: x + step * direction}))
        # Of the formula for `_slope`: h**4 = 1e-12 times a fifth derivative, and eps / h = 2e-13.
        assert abs(np.sum(gradient * direction) - wanted) <= 1e-9 * max(1, abs(wanted)), name


def _slope(function: Callable[[float], float], h: float = 2.0**-10) -> float:
    """Return the derivative at 0, from four values."""
    near, far = (function(s * h) - function(-s * h) for s in (1, 2))
    return (8 * near - far) / (12 * h)
