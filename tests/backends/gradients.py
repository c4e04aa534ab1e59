"""Gradients of divergences and of sampled penalties."""

import numpy as np

from kltutorial import (
    FDivergence,
    expected_gradient,
    gradient_noise,
    kl_gradient,
    sample_gradients,
)
from tests.backends.checks import Case

P_LOGITS = np.array([[0.5, -1.0, 0.25], [3.0, 0.0, -2.0]])
Q_LOGITS = np.array([0.0, 0.75, -0.5])
B_LOGITS = np.array([0.25, 0.0, 1.0])
LOGITS = {"p_logits": P_LOGITS, "q_logits": Q_LOGITS}
SAMPLED = LOGITS | {"behaviour_logits": B_LOGITS}

PEARSON = FDivergence("pearson", lambda u: (u - 1) ** 2 / 2, lambda u: u - 1)

CASES = {
    "kl_gradient, of a function": Case(
        kl_gradient, LOGITS, {"divergence": PEARSON}, ("p_logits", "q_logits")
    )
} | {
    f"{function.__name__}, {', '.join(map(str, use))}": Case(
        function,
        SAMPLED if use[2] else LOGITS,
        dict(zip(("estimator", "placement", "weight"), use, strict=True)),
        tuple(SAMPLED if use[2] else LOGITS),
    )
    for function in (sample_gradients, expected_gradient, gradient_noise)
    for use in (
        ("k1", "loss", "ratio"),
        ("k2", "loss", None),
        ("k3", "reward", "detached"),
        ("k3", "loss", None),
        ("abs", "reward", None),
        ("k3_inverted", "loss", "ratio"),
    )
}
