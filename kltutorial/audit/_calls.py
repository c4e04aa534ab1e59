"""Calling functions that somebody else wrote, on NumPy arrays or on PyTorch tensors."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from kltutorial import _checks
from kltutorial._checks import FloatArray
from kltutorial.audit._report import Finding, Severity, in_order

Backend = Literal["numpy", "torch"]
Arrays = Mapping[str, Any]


class Refused(Exception):
    """What was found out about a function when it was called."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NumPy:
    """Arrays go in as they are; slopes are finite differences."""

    name: Backend = "numpy"

    def array(self, value: FloatArray, dtype: str) -> Any:
        """Return a copy of `value`; bfloat16 is float32 that has been rounded to it."""
        if value.dtype == np.bool_:
            return value.copy()
        return to_bfloat16(value) if dtype == "bfloat16" else value.astype(dtype)

    def numpy(self, value: Any) -> Any:
        """Return what a function gave back, as an array of whatever type."""
        if hasattr(value, "detach"):
            raise Refused("wrong-type", "On NumPy arrays it returns a tensor.")
        return np.asarray(value)

    def slopes(self, subject: Subject, arrays: Arrays, dtype: str, step: float) -> FloatArray:
        """Return the derivative of each output in its own log p."""

        def slope(direction: FloatArray | float) -> FloatArray:
            # Always in float64: in less, a difference over a step is rounding and little else.
            far_below, below, above, far_above = (
                subject.values({**arrays, "logp": arrays["logp"] + steps * step * direction})
                for steps in (-2, -1, 1, 2)
            )
            with np.errstate(all="ignore"):
                slope = (8 * (above - below) - (far_above - far_below)) / (12 * step)
            # Where the values are infinite, so is the slope, and not inf - inf.
            return np.where(np.isnan(slope) & np.isinf(above), np.inf, slope)

        if subject.per_sample:
            return slope(1.0)
        entries = np.eye(arrays["logp"].size).reshape(-1, *arrays["logp"].shape)
        return np.array([slope(entry) for entry in entries]).reshape(arrays["logp"].shape)

    def carries_gradient(self, subject: Subject, arrays: Arrays) -> bool:
        """Return whether the output can be differentiated: here it is by differences."""
        return True


class Torch:  # pragma: no cover - tested in tests/peers, where PyTorch is
    """Arrays go in as tensors; slopes are those of autograd."""

    name: Backend = "torch"

    def __init__(self) -> None:
        self._torch = importlib.import_module("torch")

    def array(self, value: FloatArray, dtype: str) -> Any:
        """Return `value` as a tensor."""
        tensor = self._torch.tensor(value)
        return tensor if value.dtype == np.bool_ else tensor.to(getattr(self._torch, dtype))

    def numpy(self, value: Any) -> Any:
        """Return what a function gave back, as an array of whatever type."""
        if not isinstance(value, self._torch.Tensor):
            return np.asarray(value)
        value = value.detach().cpu()
        narrow = value.dtype in (self._torch.bfloat16, self._torch.float16)
        return (value.float() if narrow else value).numpy()

    def slopes(self, subject: Subject, arrays: Arrays, dtype: str, step: float) -> FloatArray:
        """Return the derivative of each output in its own log p."""
        tensors = {name: self.array(array, dtype) for name, array in arrays.items()}
        leaf = tensors["logp"].requires_grad_()
        with self._torch.enable_grad():
            # A function that writes into its input may do so on a copy that is not a leaf.
            output = subject.read(subject.call({**tensors, "logp": leaf.clone()}))
            if getattr(output, "requires_grad", False):
                try:
                    output.sum().backward()
                except RuntimeError as error:
                    raise Refused("raises", f"Differentiated, it raises: {error}") from error
        if leaf.grad is None:
            return np.zeros(leaf.shape)
        return leaf.grad.double().numpy()

    def carries_gradient(self, subject: Subject, arrays: Arrays) -> bool:
        """Return whether the output can be differentiated."""
        tensors = {name: self.array(array, "float64") for name, array in arrays.items()}
        tensors["logp"] = tensors["logp"].requires_grad_().clone()
        with self._torch.enable_grad():
            output = subject.read(subject.call(tensors))
        return bool(getattr(output, "requires_grad", False))


class Subject:
    """A function under audit: how it is called, and how its answer is read.

    Parameters
    ----------
    function
        What is called.
    arguments
        Of each of its parameters, the array that it takes, or a constant.  None: it takes the
        arrays as positional arguments, in the order in which they come.
    backend
        What it runs on.
    read
        What is taken of its answer.
    per_sample
        Whether the answer must have the shape of the arrays, and not of a single number.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, object] | None,
        backend: NumPy | Torch,
        *,
        read: Callable[[Any], Any] = lambda answer: answer,
        per_sample: bool = True,
    ) -> None:
        self._function = function
        self._arguments = arguments
        self.backend = backend
        self.read = read
        self.per_sample = per_sample

    def bound(self, arrays: Arrays) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and keyword arguments for the function."""
        if self._arguments is None:
            return tuple(arrays.values()), {}
        return (), {
            name: arrays[role] if isinstance(role, str) and role in arrays else role
            for name, role in self._arguments.items()
        }

    def call(self, arrays: Arrays) -> Any:
        """Return what the function returns; what it raises becomes a finding."""
        positional, named = self.bound(arrays)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return self._function(*positional, **named)
        except (Exception, SystemExit) as error:
            kind = {"numpy": "NumPy arrays", "torch": "PyTorch tensors"}[self.backend.name]
            said = f": {error}" if str(error) else ""
            raise Refused("raises", f"On {kind} it raises {type(error).__name__}{said}") from error

    def inputs(self, arrays: Arrays, dtype: str = "float64") -> dict[str, Any]:
        """Return fresh copies of the arrays, in the library of the function."""
        return {name: self.backend.array(array, dtype) for name, array in arrays.items()}

    def values(self, arrays: Arrays, dtype: str = "float64") -> FloatArray:
        """Return the checked answer, in float64."""
        returned = self.read(self.call(self.inputs(arrays, dtype)))
        try:
            answer = self.backend.numpy(returned)
        except (TypeError, ValueError, RuntimeError):  # a tuple of unlike arrays, for instance
            answer = np.array(None)
        if answer.dtype.kind not in "fiu":
            kind = f"{type(returned).__name__} of {answer.dtype}"
            raise Refused("wrong-type", f"It returns {kind}, not an array of real numbers.")
        shape = arrays["logp"].shape if self.per_sample else ()
        if answer.shape != shape and (self.per_sample or answer.size != 1):
            what = "one number per sample" if self.per_sample else "one number"
            hint = " Give the audit the penalty before it is summed or averaged."
            raise Refused(
                "wrong-shape",
                f"It returns shape {answer.shape} for log-probabilities of shape "
                f"{arrays['logp'].shape}, and should return {what}.{hint * self.per_sample}",
            )
        return answer.astype(np.float64).reshape(shape)

    def slopes(self, arrays: Arrays, dtype: str = "float64", *, step: float = 1e-3) -> FloatArray:
        """Return the derivative of each output in its own log p, in float64."""
        return self.backend.slopes(self, arrays, dtype, step)

    def carries_gradient(self, arrays: Arrays) -> bool:
        """Return whether the output can be differentiated."""
        return self.backend.carries_gradient(self, arrays)


class Inquiry:
    """What is found out about a subject, aspect by aspect.

    After a finding with one of the `last` codes nothing else could be relied on.
    """

    last = frozenset({"not-deterministic"})

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.findings: list[Finding] = []

    @property
    def codes(self) -> set[str]:
        """Codes of what has been found so far."""
        return {finding.code for finding in self.findings}

    def add(self, code: str, severity: Severity, message: str, **numbers: float) -> None:
        """Add a finding, unless there is one of this kind."""
        if code not in self.codes:
            self.findings.append(Finding(code, severity, message, numbers))

    def look(self, *aspects: Callable[[], None]) -> tuple[Finding, ...]:
        """Look at all aspects, also where the function refuses one; return what was found."""
        for aspect in aspects:
            try:
                aspect()
            except Refused as refused:
                self.add(refused.code, "wrong", str(refused))
            if self.codes & self.last:
                break
        return in_order(self.findings)


def connect(
    function: object,
    arguments: Mapping[str, object] | None,
    backend: Backend | None,
    probe: Arrays,
    **options: Any,
) -> Subject:
    """Return the subject, on the first library on which the function answers to `probe`."""
    if not callable(function):
        raise Refused("not-callable", f"It is no function, but {type(function).__name__}.")
    if backend == "torch" and not torch_is_there():
        raise ValueError("backend='torch' needs PyTorch, which is not installed")
    names: list[str] = [backend or "numpy"]
    if backend is None and torch_is_there():
        # On arrays a function of tensors may run, and never show what it detaches.
        names = ["torch", "numpy"] if _speaks_of_tensors(function) else ["numpy", "torch"]
    failures: list[Refused] = []
    for name in names:
        subject = Subject(function, arguments, _BACKENDS[name](), **options)
        _check_arity(subject, function, probe)
        try:
            subject.values(probe)
            if name != names[-1]:  # NumPy's functions take tensors, but not to differentiate
                subject.slopes(probe)
            return subject
        except Refused as refused:
            failures.append(refused)
            # A function for PyTorch fails on NumPy arrays; what it does on tensors counts.
            if refused.code not in ("raises", "wrong-type"):
                break
    for failure in reversed(failures):
        if failure.code != "raises":
            raise failure
    hint = "" if torch_is_there() else ".  If it is written for PyTorch, install PyTorch."
    raise Refused("raises", ".  ".join(map(str, failures)) + hint)


def check_options(arguments: object, backend: object, arrays: tuple[str, ...]) -> None:
    """Refuse an unknown backend, and arguments that are no mapping or miss one of the arrays."""
    _checks.choice("backend", backend, None, "numpy", "torch")
    if arguments is None:
        return
    if not isinstance(arguments, Mapping):
        raise TypeError(f"arguments must be a mapping, got {type(arguments).__name__}")
    missing = [name for name in arrays if name not in words(arguments)]
    if missing:
        raise ValueError(f"arguments must say which parameter is {missing[0]!r}")


def torch_is_there() -> bool:
    """Return whether PyTorch could be imported."""
    return importlib.util.find_spec("torch") is not None


def to_bfloat16(value: FloatArray) -> FloatArray:
    """Return `value` rounded to bfloat16, the upper half of a float32, as float32."""
    bits = value.astype(np.float32).view(np.uint32)
    to_even = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + to_even) & np.uint32(0xFFFF0000)).view(np.float32)


def is_half(value: FloatArray) -> bool:
    """Return whether float16, or bfloat16, holds all values as they are."""
    with np.errstate(over="ignore"):
        return same(value, value.astype(np.float16)) or same(value, to_bfloat16(value))


def misbehaviour(subject: Subject, arrays: Arrays) -> Iterator[tuple[str, str]]:
    """Find out whether the function writes into its input, and whether it is one at all."""
    inputs = subject.inputs(arrays)
    before = {name: subject.backend.numpy(array).copy() for name, array in inputs.items()}
    subject.call(inputs)
    for name, array in inputs.items():
        if not same(subject.backend.numpy(array), before[name]):
            yield "mutates-input", f"It writes into the array {name} that it is given."
    if not same(subject.values(arrays), subject.values(arrays)):
        yield "not-deterministic", "Called twice with the same input it returns different values."


def words(arguments: Mapping[str, object]) -> tuple[str, ...]:
    """Return what parameters take that is text: the name of an array, or a constant."""
    return tuple(value for value in arguments.values() if isinstance(value, str))


def same(a: FloatArray, b: FloatArray) -> bool:
    """Return whether two arrays are equal, NaN included."""
    return bool(np.array_equal(a, b, equal_nan=True))


_BACKENDS: dict[str, Callable[[], NumPy | Torch]] = {"numpy": NumPy, "torch": Torch}


def _speaks_of_tensors(function: Callable[..., Any]) -> bool:
    """Return whether a function is annotated with tensors, or its module imports PyTorch."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    function = function if hasattr(function, "__globals__") else type(function).__call__
    annotations = getattr(function, "__annotations__", {})
    names = getattr(function, "__globals__", {}).values()
    return any("Tensor" in str(annotation) for annotation in annotations.values()) or any(
        inspect.ismodule(value) and value.__name__.partition(".")[0] == "torch" for value in names
    )


def _check_arity(subject: Subject, function: Callable[..., Any], probe: Arrays) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have none
        return
    positional, named = subject.bound(probe)
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        given = ", ".join([*(() if named else probe), *named])
        raise Refused(
            "wrong-arity", f"It takes {signature} and was given ({given}): {error}."
        ) from None
