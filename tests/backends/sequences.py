"""Sums over the tokens that are still to come."""

import numpy as np

from kltutorial import reward_to_go
from tests.backends.checks import Case

VALUES = np.array([[1.0, 2.0, -0.5], [0.25, 4.0, np.nan]])
MASK = np.array([[True, False, True], [True, True, False]])

CASES = {
    "reward_to_go": Case(reward_to_go, {"values": VALUES[0]}, {}, ("values",)),
    "reward_to_go, masked and discounted": Case(
        reward_to_go, {"values": VALUES, "mask": MASK}, {"discount": 0.5}, ("values",)
    ),
}
