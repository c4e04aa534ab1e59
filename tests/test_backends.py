"""The same calls with arrays of NumPy, of the array API standard alone, and of JAX."""

from __future__ import annotations

import array_api_strict
import jax
import numpy as np
import pytest

import kltutorial
from tests.backends import CASES
from tests.backends.checks import (
    Backend,
    check_compiled,
    check_estimate,
    check_gradient,
    check_values,
)

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

# What computes with NumPy alone (searches, simulations, tables, logs and code), and what
# returns Python numbers.
NUMPY_ONLY = {
    "AuditReport",
    "Clamp",
    "EstimatorMoments",
    "Finding",
    "GRPOAuditReport",
    "GRPOLoss",
    "KLEstimate",
    "NormalFit",
    "NormalMixture",
    "TabularLM",
    "audit_grpo_loss",
    "audit_kl",
    "best_of_n_kl",
    "best_of_n_kl_bound",
    "estimate_kl",
    "estimate_kl_chunks",
    "estimator_moments",
    "example_pair",
    "follow_penalty",
    "forward_fit",
    "kl_from_normal",
    "leash_example",
    "optimal_control_variate",
    "reverse_fit",
    "sequence_kl_gradient",
    "shifted_normal_moments",
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(backend, dtype) for backend in (NUMPY, STRICT, JAX) for dtype in backend.dtypes],
    ids=str,
)
def test_values(name, backend, dtype):
    check_values(CASES[name], backend, dtype)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "optimal"])
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(backend, dtype) for backend in (NUMPY, STRICT, JAX) for dtype in backend.dtypes],
    ids=str,
)
def test_estimates(backend, dtype, estimator, masked):
    check_estimate(backend, dtype, estimator, masked=masked)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.traced])
def test_compiled_by_jax(name):
    check_compiled(CASES[name], JAX, "float32")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.differentiable])
def test_gradient_of_jax(name):
    check_gradient(CASES[name], JAX)


def test_every_public_function_has_a_case_or_is_for_numpy_alone():
    cases = {case.function.__name__ for case in CASES.values()}
    public = {name for name in kltutorial.__all__ if callable(getattr(kltutorial, name))}
    assert cases.isdisjoint(NUMPY_ONLY)
    assert cases | NUMPY_ONLY == public
