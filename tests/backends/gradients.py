"""Gradients of divergences and of sampled penalties."""

import numpy as np

from kltutorial import (
    F_DIVERGENCES,
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
    f"kl_gradient, {getattr(divergence, 'name', divergence)}": Case(
        kl_gradient, LOGITS, {"divergence": divergence}, ("p_logits", "q_logits")
    )
    for divergence in (*F_DIVERGENCES, PEARSON)
} | {
    f"{function.__name__}, {', '.join(map(str, use))}": Case(
        function,
        SAMPLED if use[2] else LOGITS,
        dict(zip(("estimator", "placement", "weight"), use, strict=True)),
        tuple(SAMPLED if use[2] else LOGITS),
    )
    for function, *uses in (
        (sample_gradients, ("k1", "loss", "ratio"), ("k2", "loss", None)),
        (expected_gradient, ("k3", "reward", "detached"), ("abs", "reward", None)),
        (gradient_noise, ("k3", "loss", None), ("k3_inverted", "loss", "ratio")),
    )
    for use in uses
}
