"""Estimators of single samples."""

import numpy as np

from kltutorial import k1, k2, k3
from tests.backends.checks import Case

LOGP = np.array([[-0.5, -1.25, -3.0], [-0.125, -2.0, -7.0]])
LOGQ = np.array([[-0.75, -1.0, -3.0], [-1.5, -0.0625, -40.0]])  # one is equal, one far off

CASES = {
    "k1": Case(k1, {"logp": LOGP, "logq": LOGQ}, differentiable=("logp", "logq")),
    "k2": Case(k2, {"logp": LOGP, "logq": LOGQ}, differentiable=("logp", "logq")),
    "k3": Case(k3, {"logp": LOGP, "logq": LOGQ}, differentiable=("logp", "logq")),
    "k1, excluded": Case(k1, {"logp": np.array([-1.0]), "logq": np.array([-np.inf])}),
    "k3, excluded": Case(k3, {"logp": np.array([-1.0]), "logq": np.array([-np.inf])}),
}
