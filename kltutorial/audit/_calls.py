"""Calling functions that somebody else wrote, on NumPy arrays or on PyTorch tensors."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kltutorial import _checks
from kltutorial.audit._report import Report

Array = NDArray[Any]
Arrays = Mapping[str, Any]
Arguments = Mapping[Any, object]  # of each parameter, by its name or place, what it takes
Backend = Literal["numpy", "torch"]


class Refused(Exception):
    """What was found out about a function when it was called."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NumPy:
    """Arrays go in as they are; slopes are finite differences."""

    name = "numpy"
    kind = "NumPy arrays"

    def array(self, value: Array, dtype: str) -> Any:
        """Return a copy of `value`; bfloat16 is float32 that has been rounded to it."""
        return rounded(value, 8).astype("float32") if dtype == "bfloat16" else value.astype(dtype)

    def numpy(self, value: Any) -> Array:
        """Return what a function gave back, as an array of whatever type."""
        return np.asarray(value)

    def slopes(self, subject: Subject, arrays: Arrays, dtype: str) -> Array:
        """Return the derivative of each output in its own log p."""
        logp, step = arrays["logp"], subject.step

        def along(direction: Array | float) -> Array:
            # Always in float64: in less, a difference over a step is rounding and little else.
            return derivative(
                lambda by: subject.values({**arrays, "logp": logp + by * direction}), step
            )

        if subject.read is None:
            return along(1.0)
        entries = np.eye(logp.size).reshape(-1, *logp.shape)
        return np.reshape([along(entry) for entry in entries], logp.shape)


class Torch:  # pragma: no cover - tested in tests/peers, where PyTorch is
    """Arrays go in as tensors; slopes are those of autograd."""

    name = "torch"
    kind = "PyTorch tensors"

    def __init__(self) -> None:
        self._torch = import_module("torch")

    def array(self, value: Array, dtype: str) -> Any:
        """Return `value` as a tensor."""
        return self._torch.tensor(value, dtype=getattr(self._torch, dtype))

    def numpy(self, value: Any) -> Array:
        """Return what a function gave back, as an array of whatever type."""
        floating = isinstance(value, self._torch.Tensor) and value.is_floating_point()
        return np.asarray(value.detach().cpu().double() if floating else value)

    def slopes(self, subject: Subject, arrays: Arrays, dtype: str) -> Array:
        """Return the derivative of each output in its own log p."""
        inputs = subject.inputs(arrays, dtype)
        leaf = inputs["logp"].requires_grad_()
        with self._torch.enable_grad():
            # A function that writes into its input may do so on a copy that is not a leaf.
            output = subject.run({**inputs, "logp": leaf.clone()})
            if getattr(output, "requires_grad", False):
                with subject.refusing():
                    output.sum().backward()
        return np.zeros(leaf.shape) if leaf.grad is None else self.numpy(leaf.grad)


BACKENDS: dict[str, Callable[[], NumPy | Torch]] = {"numpy": NumPy, "torch": Torch}


@dataclass
class Subject:
    """A function under audit: how it is called, and how its answer is read.

    Attributes
    ----------
    function
        What is called.
    arguments
        Of each of its parameters, the name of the array that it takes, or a constant.
    backend
        What it runs on.
    read
        What is taken of its answer, a single number.  None: one number per sample.
    step
        By how much log p is changed for finite differences.
    """

    function: Callable[..., Any]
    arguments: Arguments
    backend: NumPy | Torch
    read: Callable[[Any], Any] | None = None
    step: float = 1e-3

    def inputs(self, arrays: Arrays, dtype: str = "float64") -> dict[str, Any]:
        """Return fresh copies of the arrays, in the library of the function."""
        return {
            name: self.backend.array(value, "bool" if value.dtype == np.bool_ else dtype)
            if isinstance(value, np.ndarray)
            else value
            for name, value in arrays.items()
        }

    def run(self, inputs: Arrays) -> Any:
        """Return what the function returns; what it raises becomes a finding."""
        ordered, named = bind(self.arguments, inputs)
        with self.refusing():
            answer = self.function(*ordered, **named)
        return self.read(answer) if self.read else answer

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Keep warnings to ourselves, and make an error a finding."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                yield
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise Refused("raises", f"On {self.backend.kind} it raises {said}") from error

    def values(self, arrays: Arrays, dtype: str = "float64") -> Array:
        """Return the checked answer, in float64."""
        returned = self.run(self.inputs(arrays, dtype))
        try:
            answer = self.backend.numpy(returned)
        except (TypeError, ValueError, RuntimeError):  # a tuple of unlike arrays, for instance
            answer = np.array(None)
        if answer.dtype.kind not in "fiu":
            kind = f"{type(returned).__name__} of {answer.dtype}"
            raise Refused("wrong-type", f"It returns {kind}, not an array of real numbers.")
        wanted = arrays["logp"].shape if self.read is None else ()
        if answer.shape != wanted and (self.read is None or answer.size != 1):
            got = f"It returns shape {answer.shape}, and should return {wanted}."
            raise Refused("wrong-shape", got)
        return answer.astype(np.float64).reshape(wanted)

    def slopes(self, arrays: Arrays, dtype: str = "float64") -> Array:
        """Return the derivative of each output in its own log p, in float64."""
        return self.backend.slopes(self, arrays, dtype)


def look(report: Report, *aspects: Callable[[], None]) -> None:
    """Look at all aspects, also where the function refuses one."""
    for aspect in aspects:
        try:
            aspect()
        except Refused as refused:
            report.add(refused.code, "wrong", message=str(refused))


def _misbehaves(subject: Subject, report: Report, arrays: Arrays) -> bool:
    """See whether the function writes into its input, and whether it is one at all."""
    inputs, before = subject.inputs(arrays), subject.inputs(arrays)
    subject.run(inputs)
    for name in arrays:
        if not same(subject.backend.numpy(inputs[name]), subject.backend.numpy(before[name])):
            report.add("mutates-input", "wrong", message=f"It writes into the array {name}.")
    random = not same(subject.values(arrays), subject.values(arrays))
    if random:
        report.add("not-deterministic", "wrong")
    return random


def see_leaks(subject: Subject, report: Report, dirty: Arrays, *what: str) -> None:
    """See whether NaN where the mask is False get into value or gradient, or are refused."""
    try:
        results = subject.values(dirty), subject.slopes(dirty)
    except Refused as refused:
        said = f"NaN where the mask is False: {refused}"
        report.add("mask-leak", "surprising", message=said)
        return
    for name, result in zip(what, results, strict=True):
        if np.isnan(result).any():
            report.add("mask-leak", "surprising", what=name)


def begin(
    report: Report,
    function: Any,
    arguments: Arguments,
    backend: str | None,
    probe: Arrays,
    read: Callable[[Any], Any] | None = None,
) -> Subject | None:
    """Return what is to be looked at; None, and a finding, if that can't be done."""
    _checks.choice("backend", backend, None, *BACKENDS)
    report.name = getattr(function, "__qualname__", type(function).__name__)
    try:
        subject = _connect(function, arguments, backend, probe, read)
        report.backend = subject.backend.name
        return None if _misbehaves(subject, report, probe) else subject
    except Refused as refused:
        report.add(refused.code, "wrong", message=str(refused))
        return None


def _connect(
    function: Any,
    arguments: Arguments,
    backend: str | None,
    probe: Arrays,
    read: Callable[[Any], Any] | None,
) -> Subject:
    """Return the subject, on the first library on which the function answers to `probe`."""
    if not callable(function):
        raise Refused("not-callable", f"It is no function, but {type(function).__name__}.")
    ordered, named = bind(arguments, probe)
    try:
        if signature := _signature(function):
            signature.bind(*ordered, **named)
    except TypeError as error:
        raise Refused("wrong-arity", f"It takes {signature}: {error}.") from None
    names = [backend or "numpy"]
    if backend is None and find_spec("torch"):
        # On arrays a function of tensors may run, and never show what it detaches.
        names = ["torch", "numpy"] if _speaks_of_tensors(function) else ["numpy", "torch"]
    failures = []
    for name in names:
        subject = Subject(function, arguments, BACKENDS[name](), read)
        try:
            subject.values(probe)
            if name != names[-1]:  # NumPy's functions take tensors, but not to differentiate
                subject.slopes(probe)
            return subject
        except Refused as refused:
            failures.append(refused)
    # A function for PyTorch fails on NumPy arrays; what it does on tensors counts.
    raise next((each for each in failures if each.code != "raises"), failures[0])


def taken_by(
    function: object, arguments: object, arrays: tuple[str, ...], numbers: Iterable[str] = ()
) -> Arguments:
    """Return what each parameter takes: as the arguments say, or else as its signature does."""
    if arguments is None:
        return _by_signature(function, arrays, numbers)
    if not isinstance(arguments, Mapping):
        raise TypeError(f"arguments must be a mapping, got {type(arguments).__name__}")
    for name in arrays:
        if name not in words(arguments):
            raise ValueError(f"arguments must say which parameter is {name!r}")
    return arguments


def _by_signature(function: object, arrays: tuple[str, ...], numbers: Iterable[str]) -> Arguments:
    """Return what parameters take: arrays by their name, or else in order; numbers by name."""
    signature = _signature(function)
    named = {
        name
        for name, each in (signature.parameters.items() if signature else ())
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    # What a functools.partial has been given already is not given again.
    free = named - set(getattr(function, "keywords", ()))
    places = arrays if named.issuperset(arrays) else range(len(arrays))
    return {**dict(zip(places, arrays, strict=True)), **{n: n for n in numbers if n in free}}


def bind(arguments: Arguments, inputs: Arrays) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments."""
    taken = {
        to: inputs[what] if isinstance(what, str) and what in inputs else what
        for to, what in arguments.items()
    }
    ordered = [value for to, value in taken.items() if isinstance(to, int)]
    return ordered, {to: value for to, value in taken.items() if isinstance(to, str)}


def words(arguments: Arguments) -> set[str]:
    """Return what parameters take that is text: the name of an array, or a constant."""
    return {value for value in arguments.values() if isinstance(value, str)}


@np.errstate(all="ignore")
def derivative(function: Callable[[float], Array], step: float) -> Array:
    """Return the derivative of a function at zero, by differences of fourth order."""
    far_below, below, above, far_above = (function(k * step) for k in (-2, -1, 1, 2))
    slope = (8 * (above - below) - (far_above - far_below)) / (12 * step)
    # Where the values are infinite, so is the slope, and not inf - inf.
    return np.where(np.isnan(slope) & np.isinf(above), np.inf, slope)


def rounded(value: Array, bits: int) -> Array:
    """Return `value` with so many bits of its mantissa: 24 for float32, 11 or 8 for half of it."""
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)


def same(a: Array, b: Array) -> bool:
    """Return whether two arrays are equal, NaN included."""
    return bool(np.array_equal(a, b, equal_nan=True))


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # no function, or one written in C
        return None


def _speaks_of_tensors(function: object) -> bool:
    """Return whether a function is annotated with tensors, or its module imports PyTorch."""
    module = sys.modules.get(getattr(getattr(function, "func", function), "__module__", ""))
    return "Tensor" in str(_signature(function)) or any(
        inspect.ismodule(each) and each.__name__.partition(".")[0] == "torch"
        for each in (vars(module).values() if module else ())
    )
