"""Calls of every public function that takes arrays of any library, by their names.

The library is of no matter to a case: tests/test_backends.py and tests/peers/test_backends.py
make the same calls with arrays of many.
"""

from tests.backends import (
    alignment,
    divergences,
    estimators,
    fdivergences,
    gradients,
    grpo,
    sequences,
)

MODULES = (alignment, divergences, estimators, fdivergences, gradients, grpo, sequences)
CASES = {name: case for module in MODULES for name, case in module.CASES.items()}
