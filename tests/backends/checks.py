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

from kltutorial import GRPOLoss, estimate_kl


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

    def __call__(self, **arguments: Any) -> list[Any]:
        """Return the arrays that the function returns, with some arguments in place of its own."""
        result = self.function(**(self.arguments | arguments), **self.keywords)
        if isinstance(result, GRPOLoss):
            return [
                result.loss,
                result.policy_loss,
                result.kl_loss,
                result.kl,
                result.clip_fraction,
            ]
        return list(result) if isinstance(result, tuple) else [result]

    def objective(self, **arguments: Any) -> Any:
        """Return one number that depends on every entry that a gradient flows through."""
        results = self(**arguments)
        if self.function.__name__ == "grpo_loss":
            results = results[:3]  # the others are for the log
        total = 0.0
        for result in results:
            xp = _namespace(result)
            flat = xp.reshape(result, (-1,))
            total = total + xp.sum(flat * xp.cos(xp.cumulative_sum(xp.ones_like(flat))))
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
            for name, value in case.arguments.items()
            if isinstance(value, np.ndarray)
        }


def _namespace(array: Any) -> Any:
    return (
        np
        if isinstance(array, np.ndarray | np.generic)
        else array_api_compat.array_namespace(array)
    )


def _wide(array: np.ndarray) -> np.ndarray:
    """Return numbers of 16 bits in 32."""
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _assert_close(got: np.ndarray, wanted: np.ndarray, arguments: dict[str, Any]) -> None:
    """Two orders of the same few operations differ by a few roundings of the largest number."""
    numbers = [array.astype(float) for array in (wanted, *arguments.values())]
    size = max(np.abs(array[np.isfinite(array)]).max(initial=1) for array in numbers)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=16 * np.finfo(wanted.dtype).eps * size)


def check_values(case: Case, backend: Backend, dtype: str) -> None:
    """The library, the device and the precision are kept, and the numbers are NumPy's."""
    with backend.precision(dtype):
        arguments = backend.arguments(case, dtype)
        got = case(**arguments)
        rounded = {name: _wide(backend.numpy(value)) for name, value in arguments.items()}
        wanted = [np.asarray(result) for result in case(**rounded)]
        like = next(iter(arguments.values()))
        for array, numpy in zip(got, wanted, strict=True):
            assert _namespace(array) is _namespace(like)
            assert array_api_compat.device(array) == array_api_compat.device(like)
            assert str(array.dtype).split(".")[-1] == str(numpy.dtype)
            assert numpy.dtype == ("float64" if dtype == "float64" else "float32")
            assert tuple(array.shape) == numpy.shape
            _assert_close(backend.numpy(array), numpy, rounded)


def check_mixed(case: Case, backend: Backend, dtype: str) -> None:
    """NumPy arrays beside one array of the library take its library, its type and its device."""
    for name, value in backend.arguments(case, dtype).items():
        if case.arguments[name].dtype == bool:
            continue
        for array in case(**{name: value}):
            assert _namespace(array) is _namespace(value), name
            assert (array.dtype, array.device) == (value.dtype, value.device), name


def check_compiled(case: Case, backend: Backend, dtype: str) -> None:
    """What is compiled gives what is run step by step."""
    assert backend.compiled is not None
    with backend.precision(dtype):
        arguments = backend.arguments(case, dtype)
        numbers = {name: backend.numpy(value) for name, value in arguments.items()}
        compiled = backend.compiled(lambda arrays: case(**arrays))
        for array, eager in zip(compiled(arguments), case(**arguments), strict=True):
            assert array.dtype == eager.dtype
            _assert_close(backend.numpy(array), backend.numpy(eager), numbers)


def check_gradient(case: Case, backend: Backend) -> None:
    """The gradient is finite, and along a few directions it is NumPy's slope."""
    assert backend.gradients is not None
    with backend.precision("float64"):
        arguments = backend.arguments(case, "float64")
        active = {name: arguments[name] for name in case.differentiable}
        found = backend.gradients(lambda **arrays: case.objective(**(arguments | arrays)), active)
        gradients = {name: backend.numpy(gradient) for name, gradient in found.items()}
    for seed, (name, gradient) in enumerate(gradients.items()):
        assert np.isfinite(gradient).all(), name
        # Short, so that the fifth derivative along it is small.
        direction = np.random.default_rng(seed).normal(size=gradient.shape) / 8
        if name in case.distributions:  # stay on the simplex
            p = case.arguments[name]
            direction = p * (direction - (p * direction).sum(axis=-1, keepdims=True))
        wanted = _slope(case, name, direction)
        # Of the formula for the slope: h**4 = 1e-12 times a fifth derivative, eps / h = 2e-13.
        assert abs(np.sum(gradient * direction) - wanted) <= 1e-9 * max(1, abs(wanted)), name


def _slope(case: Case, name: str, direction: np.ndarray, h: float = 2.0**-10) -> float:
    """Return the derivative of the objective along a direction, from four values."""

    def objective(step: float) -> float:
        return case.objective(**{name: case.arguments[name] + step * direction})

    near, far = (objective(step) - objective(-step) for step in (h, 2 * h))
    return (8 * near - far) / (12 * h)


def check_estimate(backend: Backend, dtype: str, estimator: str, *, masked: bool) -> None:
    """Estimates are Python numbers, and those of NumPy; what is masked is not read."""
    rng = np.random.default_rng(0)
    logp = -rng.exponential(2, (30, 70))
    mask = np.arange(70) < rng.integers(1, 71, 30)[:, None] if masked else None
    logq = logp + 0.3 * rng.normal(size=logp.shape)
    with backend.precision(dtype):
        p, q = backend.asarray(logp, dtype), backend.asarray(logq, dtype)
        keep = None if mask is None else backend.asarray(mask, "bool")
        exact = [_wide(backend.numpy(x)) for x in (p, q)]
        if mask is not None:
            spoilt = np.where(mask, backend.numpy(q), np.nan)
            q = backend.asarray(spoilt, dtype)
        got = estimate_kl(p, q, estimator=estimator, where=keep)
    wanted = estimate_kl(*exact, estimator=estimator, where=mask)
    # JAX adds up in float32 unless it is told otherwise.
    eps = np.finfo(np.float32 if backend.name == "jax" and dtype != "float64" else float).eps
    for a, b in ((got.mean, wanted.mean), (got.std_error, wanted.std_error)):
        assert type(a) is float
        assert abs(a - b) <= 64 * eps * max(1, abs(b))
    assert (got.n, repr(got)) == (wanted.n, repr(wanted))
