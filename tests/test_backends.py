"""The same calls with arrays of NumPy, of the array API standard alone, and of JAX."""

from __future__ import annotations

import array_api_strict
import jax
import numpy as np
import pytest

import kltutorial
from kltutorial import estimators
from tests.backends import CASES
from tests.backends.checks import (
    Backend,
    check_compiled,
    check_estimate,
    check_gradient,
    check_mixed,
    check_values,
)
from tests.test_bad_input import RECORDS

NUMPY = Backend("numpy", lambda array, dtype: array.astype(dtype), dtypes=("float16", "float64"))

# A device on which nothing is turned into a NumPy array without being asked to.
DEVICE = array_api_strict.Device("device1")
STRICT = Backend(
    "strict",
    lambda array, dtype: array_api_strict.asarray(
        array, dtype=getattr(array_api_strict, dtype), device=DEVICE
    ),
    lambda array: np.asarray(array.to_device(array_api_strict.Device("CPU_DEVICE"))),
)

JAX = Backend(
    "jax",
    lambda array, dtype: jax.numpy.asarray(array, dtype=dtype),
    dtypes=("bfloat16", "float64"),  # 16 bits become 32
    gradients=lambda function, arrays: jax.jit(jax.grad(lambda values: function(**values)))(arrays),
    compiled=jax.jit,
    precision=lambda dtype: jax.enable_x64(dtype == "float64"),
)

# What takes any array and returns Python numbers.
NUMBERS = {"best_of_n_kl", "estimate_kl", "estimate_kl_chunks", "optimal_control_variate"}

# What computes with NumPy alone: searches, simulations, tables, moments and audits.
NUMPY_ONLY = {
    "NormalMixture",
    "TabularLM",
    "audit_grpo_loss",
    "audit_kl",
    "best_of_n_kl_bound",
    "estimator_moments",
    "example_pair",
    "follow_penalty",
    "forward_fit",
    "kl_from_normal",
    "leash_example",
    "reverse_fit",
    "sequence_kl_gradient",
    "shifted_normal_moments",
}


of_every_backend = pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        pytest.param(backend, dtype, marks=[pytest.mark.jax] if backend is JAX else [])
        for backend in (NUMPY, STRICT, JAX)
        for dtype in backend.dtypes
    ],
    ids=str,
)


@pytest.mark.parametrize("name", CASES)
@of_every_backend
def test_values(name, backend, dtype):
    check_values(CASES[name], backend, dtype)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "optimal"])
@of_every_backend
def test_estimates(backend, dtype, estimator, masked):
    check_estimate(backend, dtype, estimator, masked=masked)


@pytest.mark.jax
@pytest.mark.parametrize("name", CASES)
def test_compiled_by_jax(name):
    check_compiled(CASES[name], JAX, "float32")


@pytest.mark.jax
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.differentiable])
def test_gradient_of_jax(name):
    check_gradient(CASES[name], JAX)


@pytest.mark.parametrize("name", CASES)
def test_numpy_arrays_beside_another(name):
    check_mixed(CASES[name], STRICT, "float32")


def calls_of_numbers(p, q):
    """Calls with p and q, which are distributions and log-probabilities alike, by name."""
    return {
        "best_of_n_kl": lambda: kltutorial.best_of_n_kl(p, q, 2),
        "estimate_kl": lambda: kltutorial.estimate_kl(p, q).mean,
        "estimate_kl_chunks": lambda: kltutorial.estimate_kl_chunks([(p, q)]).mean,
        "optimal_control_variate": lambda: kltutorial.optimal_control_variate(p, q),
    }


@pytest.mark.parametrize("backend", [STRICT, pytest.param(JAX, marks=pytest.mark.jax)], ids=str)
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_numbers_of_python_from_any_array(name, backend):
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.125, 0.5, 0.375])
    wanted = calls_of_numbers(p, q)[name]()
    for first, second in ((1, 1), (0, 1), (1, 0)):
        pair = [backend.asarray(x, "float32") if own else x for x, own in ((p, first), (q, second))]
        got = calls_of_numbers(*pair)[name]()
        assert type(got) is float
        assert got == pytest.approx(wanted, rel=1e-6, abs=0)


@pytest.mark.jax
@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("transformed", [jax.jit, jax.grad])
def test_what_returns_numbers_of_python_says_that_it_is_not_traced(name, transformed):
    p = jax.numpy.asarray([0.5, 0.25, 0.25])
    with pytest.raises(TypeError, match=r"^(chunks\[0\]: )?(logp|ref) must not be traced by JAX"):
        transformed(lambda x: calls_of_numbers(x, p)[name]())(p)
    with pytest.raises(
        TypeError, match=r"^(chunks\[0\]: )?(logq|reward) must not be traced by JAX"
    ):
        transformed(lambda x: calls_of_numbers(p, x)[name]())(p)


@pytest.mark.jax
def test_independent_samples_of_jax_are_not_copied(monkeypatch):
    def live():
        return sum(array.nbytes for array in jax.live_arrays())

    seen = []
    columns = estimators._columns
    monkeypatch.setattr(estimators, "_columns", lambda *a: (seen.append(live()), columns(*a))[1])
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    logp = jax.numpy.zeros(2_000_000)
    before = live()
    kltutorial.estimate_kl(logp, logp)
    assert max(seen) - before < 16 * 4 * estimators.BLOCK < logp.nbytes


def test_every_public_function_has_a_case_or_returns_numbers_or_is_for_numpy_alone():
    cases = {case.function.__name__ for case in CASES.values()}
    public = {name for name in kltutorial.__all__ if callable(getattr(kltutorial, name))}
    public -= {record.__name__ for record in RECORDS}
    assert sorted([*cases, *NUMBERS, *NUMPY_ONLY]) == sorted(public)
