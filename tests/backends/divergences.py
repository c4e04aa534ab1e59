"""Entropies and divergences of distributions, of logits, and in closed form."""

from functools import wraps

import numpy as np

from kltutorial import (
    cross_entropy,
    entropy,
    kl_bernoulli,
    kl_divergence,
    kl_exponential,
    kl_from_logits,
    kl_multivariate_normal,
    kl_normal,
)
from tests.backends.checks import Case

P = np.array([[0.5, 0.25, 0.25, 0.0], [0.25, 0.25, 0.25, 0.25]])
Q = np.array([[0.25, 0.125, 0.5, 0.125], [0.0625, 0.4375, 0.25, 0.25]])
PAIR = {"p": P, "q": Q}
EQUAL = {"p": Q, "q": Q}
EXCLUDES = {"p": P, "q": np.array([0.5, 0.25, 0.0, 0.25])}
LOGITS = {
    "p_logits": np.array([[0.5, -1.0, 0.25, 3.0], [0.0, 2.0, -2.0, 0.0]]),
    "q_logits": np.array([[0.0, 0.75, -0.5, 2.0], [0.25, 2.0, -40.0, 0.0]]),
}
MASKED = {
    "p_logits": np.array([0.5, -np.inf, 0.25, -np.inf]),
    "q_logits": np.array([0.0, 0.75, -0.5, -np.inf]),
}
NORMAL = {
    "mean_p": np.array([0.0, 1.0, -1.0]),
    "std_p": np.array([1.0, 0.5, 2.0]),
    "mean_q": np.array([[0.25], [1.0]]),
    "std_q": np.array([1.0, 1.5, 2.5]),
}
VECTORS = {
    "mean_p": np.array([0.0, 1.0]),
    "cov_p": np.array([[2.0, 0.5], [0.5, 1.0]]),
    "mean_q": np.array([0.5, -1.0]),
    "cov_q": np.array([[1.0, -0.25], [-0.25, 3.0]]),
}
NEAR = VECTORS | {"cov_q": np.array([[2.0, 0.5], [0.5, 1.25]])}


@wraps(kl_multivariate_normal)
def of_roots(mean_p, cov_p, mean_q, cov_q):
    """Take square roots of the covariances, which may change in any direction."""
    return kl_multivariate_normal(mean_p, cov_p @ cov_p.T, mean_q, cov_q @ cov_q.T)


CASES = {
    "entropy": Case(entropy, {"p": P}, {}, ("p",), ("p",)),
    "entropy, base 2, axis 0": Case(entropy, {"p": P.T}, {"base": 2, "axis": 0}),
    "cross_entropy": Case(cross_entropy, PAIR, {}, ("p", "q"), ("p", "q")),
    "cross_entropy, excluded": Case(cross_entropy, EXCLUDES),
    "kl_divergence": Case(kl_divergence, PAIR, {}, ("p", "q"), ("p", "q")),
    "kl_divergence, equal": Case(kl_divergence, EQUAL, {}, ("p", "q"), ("p", "q")),
    "kl_divergence, excluded": Case(kl_divergence, EXCLUDES, {"base": 10.0}),
    "kl_from_logits": Case(kl_from_logits, LOGITS, {}, ("p_logits", "q_logits")),
    "kl_from_logits, excluded": Case(kl_from_logits, MASKED),
    "kl_normal": Case(kl_normal, NORMAL, {}, tuple(NORMAL)),
    "kl_bernoulli": Case(
        kl_bernoulli,
        {"p": np.array([0.5, 0.25, 0.75]), "q": np.array([[0.5], [0.625]])},
        {},
        ("p", "q"),
    ),
    "kl_bernoulli, certain": Case(
        kl_bernoulli, {"p": np.array([0.0, 0.5, 1.0]), "q": np.array([[0.0], [0.5], [1.0]])}
    ),
    "kl_exponential": Case(
        kl_exponential,
        {"rate_p": np.array([1.0, 0.25, 3.0]), "rate_q": np.array([[1.0], [0.5]])},
        {},
        ("rate_p", "rate_q"),
    ),
    "kl_multivariate_normal": Case(kl_multivariate_normal, VECTORS, {}, ("mean_p", "mean_q")),
    "kl_multivariate_normal, near": Case(kl_multivariate_normal, NEAR, {}, ("mean_p", "mean_q")),
    "kl_multivariate_normal, of roots": Case(of_roots, VECTORS, {}, ("cov_p", "cov_q")),
}
