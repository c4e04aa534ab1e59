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
    x = np.linspace(-12, 12, 481)
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


def conclude(compute):
    """Hold the numbers to the caption."""
    widths = (0.4, 1, 2.25)
    for mean_p, std_p, mean_q, std_q in product((-3,), widths, (-3, 3), widths):
        normals = {"mean_p": mean_p, "std_p": std_p, "mean_q": mean_q, "std_q": std_q}
        for direction, shifted in product(("pq", "qp"), (False, True)):
            found = compute(**normals, direction=direction, shifted=shifted)
            area = np.trapezoid(found["integrand"], found["x"])
            np.testing.assert_allclose(area, found[f"kl_{direction}"], rtol=0.01, atol=1e-4)
            assert not shifted or min(found["integrand"]) >= 0
