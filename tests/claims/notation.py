"""Notation."""

from __future__ import annotations

import math

from tests.claims import claim


@claim
def nat_in_bits() -> float:
    """Bits in a nat."""
    return 1 / math.log(2)
