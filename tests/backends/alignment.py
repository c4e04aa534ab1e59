"""The tilted policy and what is measured on it, best-of-n, and the loss of DPO."""

import numpy as np

from kltutorial import best_of_n, dpo_loss, reward_kl_frontier, tilted_policy
from tests.backends.checks import Case

REF = np.array([0.5, 0.25, 0.125, 0.125])
EXCLUDES = np.array([[0.5, 0.25, 0.0, 0.25], [0.25, 0.25, 0.25, 0.25]])
REWARD = np.array([1.0, -0.5, 2.0, 0.25])
TIES = np.array([1.0, 2.0, 1.0, 0.5])

CASES = {
    "tilted_policy": Case(
        tilted_policy, {"ref": REF, "reward": REWARD}, {"beta": 0.5}, ("ref", "reward"), ("ref",)
    ),
    "tilted_policy, excluded": Case(
        tilted_policy,
        {"ref": EXCLUDES, "reward": REWARD},
        {"beta": 0.25},
        ("ref", "reward"),
        ("ref",),
    ),
    "dpo_loss": Case(
        dpo_loss,
        {
            "logp_chosen": np.array([-1.0, -2.0, -100.0]),
            "logp_rejected": np.array([-3.0, -2.0, -1.0]),
            "ref_logp_chosen": np.array([-2.0, -2.0, -2.0]),
            "ref_logp_rejected": np.array([-2.0, -2.0, -300.0]),
        },
        {"beta": 0.5},
        ("logp_chosen", "logp_rejected", "ref_logp_chosen", "ref_logp_rejected"),
    ),
    "best_of_n": Case(best_of_n, {"ref": REF, "reward": REWARD}, {"n": 3}, ("ref",), ("ref",)),
    "best_of_n, ties": Case(
        best_of_n, {"ref": EXCLUDES[0], "reward": TIES}, {"n": 16}, ("ref",), ("ref",)
    ),
    "reward_kl_frontier": Case(
        reward_kl_frontier,
        {"ref": REF, "reward": REWARD, "betas": np.array([[0.5], [4.0]])},
        {},
        ("ref", "reward", "betas"),
        ("ref",),
    ),
}
