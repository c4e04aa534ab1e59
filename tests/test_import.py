"""What `import kltutorial` loads, and that what it does not is found all the same."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import kltutorial


def loaded_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(output.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import kltutorial", "from kltutorial import k3, estimate_kl"]
)
def test_what_is_seldom_used_is_not_imported(statement):
    heavy = {"audit", "plotting", "sequences", "directions"}
    heavy = {f"kltutorial.{module}" for module in heavy}
    heavy |= {"matplotlib", "seaborn", "scipy", "torch", "jax", "tqdm", "statistics"}
    heavy |= {"concurrent.futures", "array_api_compat.numpy"}
    assert loaded_after(statement) & heavy == set()


def test_every_public_name_is_that_of_its_module():
    modules = [import_module(f"kltutorial.{name}") for name in kltutorial._MODULES]
    names = [name for module in modules for name in module.__all__]
    assert kltutorial.__all__ == names
    assert len(set(names)) == len(names)
    for module in modules:
        for name in module.__all__:
            assert getattr(kltutorial, name) is getattr(module, name)
    assert set(names) <= set(dir(kltutorial))


def test_a_public_name_is_the_same_at_every_look():
    vars(kltutorial).pop("k3", None)
    assert kltutorial.k3 is kltutorial.k3 is import_module("kltutorial.estimators").k3


def test_a_star_imports_every_public_name():
    namespace = {}
    exec("from kltutorial import *", namespace)
    assert set(kltutorial.__all__) <= set(namespace)


def test_modules_are_found_and_what_does_not_exist_is_not():
    assert {"kltutorial.plotting", "kltutorial.audit"} <= loaded_after(
        "import kltutorial; kltutorial.plotting; kltutorial.audit"
    )
    with pytest.raises(AttributeError, match=r"^module 'kltutorial' has no attribute 'k4'"):
        _ = kltutorial.k4
