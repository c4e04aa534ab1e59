"""What densities.js must find."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.stats import norm

import kltutorial as kl

PAGE = "book/kl_divergence.html"
NAMES = ["mean_p", "std_p", "mean_q", "std_q", "direction", "shifted"]
VALUES = [[-3, 0.35], [0.4, 1, 2.25], [-1, 0.35], [0.4, 1, 1.05], ["pq", "qp"], [False, True]]
GRID = [dict(zip(NAMES, values, strict=True)) for values in product(*VALUES)]


def expected(mean_p, std_p, mean_q, std_q, direction, shifted):
    x = np.linspace(-10, 10, 401)
    logs = norm.logpdf(x, mean_p, std_p), norm.logpdf(x, mean_q, std_q)
    first, second = logs if direction == "pq" else logs[::-1]
    term = kl.k3 if shifted else kl.k1
    return {
        "kl_pq": kl.kl_normal(mean_p, std_p, mean_q, std_q),
        "kl_qp": kl.kl_normal(mean_q, std_q, mean_p, std_p),
        "x": x,
        "p": np.exp(logs[0]),
        "q": np.exp(logs[1]),
        "integrand": np.exp(first) * term(first, second),
    }
