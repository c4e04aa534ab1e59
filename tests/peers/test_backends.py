"""The calls of tests/backends with PyTorch tensors, on the CPU and, where there is one, a GPU."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.backends import CASES
from tests.backends.checks import Backend, check_estimate, check_gradient, check_mixed, check_values


def tensor(device, array, dtype):
    return torch.as_tensor(array).to(device, getattr(torch, dtype))


def to_numpy(tensor):
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def gradients(function, tensors):
    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    found = torch.autograd.grad(function(**leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


BACKENDS = [
    Backend(
        device,
        partial(tensor, device),
        to_numpy,
        ("float16", "bfloat16", "float32", "float64"),
        gradients,
    )
    for device in ("cpu", "cuda")
    if device == "cpu" or torch.cuda.is_available()
]


@pytest.fixture(autouse=True)
def no_conversion(monkeypatch):
    """Make it an error to turn a tensor into a NumPy array in passing."""

    def refuse(self, *arguments, **keywords):
        raise AssertionError("a tensor was converted to NumPy")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)


def test_a_conversion_is_seen():
    with pytest.raises(AssertionError, match="converted to NumPy"):
        np.exp(torch.zeros(2))


def test_the_example_of_the_api_page_finds_the_gradient():
    page = (Path(__file__).parents[2] / "book" / "api.md").read_text("utf-8")
    names = {}
    exec(re.search(r"```python\n# PyTorch\n(.*?)```", page, flags=re.DOTALL)[1], names)
    wanted = -torch.expm1(torch.tensor([-0.5, 0.25])) / 2
    torch.testing.assert_close(names["logp"].grad, wanted)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_numpy_arrays_beside_tensors(name, backend):
    check_mixed(CASES[name], backend, "float32")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(backend, dtype) for backend in BACKENDS for dtype in backend.dtypes],
    ids=str,
)
def test_values(name, backend, dtype):
    check_values(CASES[name], backend, dtype)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.differentiable])
@pytest.mark.parametrize("backend", BACKENDS, ids=str)
def test_gradient(name, backend):
    check_gradient(CASES[name], backend)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "optimal"])
@pytest.mark.parametrize(
    ("backend", "dtype"),
    [(backend, dtype) for backend in BACKENDS for dtype in backend.dtypes],
    ids=str,
)
def test_estimates(backend, dtype, estimator, masked):
    check_estimate(backend, dtype, estimator, masked=masked)
