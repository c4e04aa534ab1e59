"""Advantages, and the loss with each of its choices."""

import numpy as np

from kltutorial import group_advantages, grpo_loss
from tests.backends.checks import Case

REWARDS = {"rewards": np.array([[1.0, 0.0, 0.5, 0.25], [3.0, -1.0, 2.0, 0.0]])}
EQUAL = {"rewards": np.array([[1.0, 0.0], [0.1, 0.1]])}

MASK = np.array([[True, True, False], [True, True, True]])
BATCH = {
    "logp": np.array([[-0.5, -1.25, np.nan], [-0.125, -2.0, -3.0]]),
    "logp_old": np.array([[-0.75, -1.0, 0.0], [-0.5, -2.0625, -2.5]]),
    "logp_ref": np.array([[-1.0, -1.25, np.inf], [-0.5, -1.5, -3.5]]),
    "advantages": np.array([1.0, -0.75]),
    "mask": MASK,
}
ACTIVE = ("logp", "logp_old", "logp_ref", "advantages")


def loss(changes: dict[str, object] | None = None, **keywords: object) -> Case:
    return Case(grpo_loss, BATCH | (changes or {}), {"beta": 0.125} | keywords, ACTIVE)


CASES = {
    "group_advantages": Case(group_advantages, REWARDS, differentiable=("rewards",)),
    "group_advantages, not normalized": Case(
        group_advantages, REWARDS, {"normalize_std": False}, ("rewards",)
    ),
    "group_advantages, equal rewards": Case(group_advantages, EQUAL, {"ddof": 1, "eps": 0}),
    "grpo_loss": loss(),
    "grpo_loss, k1": loss(kl="k1", clip=(0.2, 0.3)),
    "grpo_loss, k2, mean of tokens": loss(kl="k2", aggregation="bnpo"),
    "grpo_loss, weighted": loss(weight_kl=True, aggregation="dapo"),
    "grpo_loss, part of a batch": loss(aggregation="dapo", total_tokens=12),
    "grpo_loss, sum": loss(aggregation="dr_grpo", max_length=8),
    "grpo_loss, no reference": Case(
        grpo_loss, BATCH | {"logp_ref": None}, {"beta": 0.0}, ("logp", "advantages")
    ),
    # Of two log-probabilities that are one argument, one is held fixed: no slope of numbers.
    "grpo_loss, fresh samples": Case(grpo_loss, BATCH | {"logp_old": None}, {"beta": 0.5}),
}
