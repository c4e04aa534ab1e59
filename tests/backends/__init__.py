"""Calls of every public function that takes arrays of any library, by their names.

The library is of no matter to a case: tests/test_backends.py and tests/peers/test_backends.py
make the same calls with arrays of many.
"""

from tests.backends import alignment, estimators, gradients, grpo, sequences

CASES = alignment.CASES | estimators.CASES | gradients.CASES | grpo.CASES | sequences.CASES
