"""Entropy, cross-entropy and Kullback–Leibler divergence, exactly.

Derived in the chapter :doc:`What KL divergence measures </book/kl_divergence>`.
The first argument of every divergence is the distribution that the expectation is taken under.
"""

from __future__ import annotations

import math

import numpy as np

from kltutorial import _checks
from kltutorial._arrays import Array, floats, namespace, numbers
from kltutorial._logits import kl_of_logits
from kltutorial._numerics import exp_gap, log, log_ratio, quotient

__all__ = [
    "cross_entropy",
    "entropy",
    "kl_bernoulli",
    "kl_divergence",
    "kl_exponential",
    "kl_from_logits",
    "kl_multivariate_normal",
    "kl_normal",
]


def entropy(p: Array, *, axis: int = -1, base: float | None = None) -> Array:
    r"""Shannon entropy of categorical distributions, :math:`H(p) = -\sum_x p(x) \log p(x)`.

    Parameters
    ----------
    p : array_like
        Probabilities, any shape; each slice along `axis` is one distribution.
    axis : int
        The axis that runs over the outcomes; it is summed away.
    base : float, optional
        Base of the logarithm: 2 gives bits.  By default the result is in nats.

    Returns
    -------
    array
        Entropies, of the shape of `p` without `axis`; between 0 and log(number of outcomes).

    Raises
    ------
    ValueError
        If `p` is empty, negative, not finite or not normalised, or `base` is not a positive
        number other than 1.
    TypeError
        If `p` is not real numbers, `axis` not an integer, or `base` not a number.

    Examples
    --------
    >>> print(f"{entropy([0.5, 0.25, 0.25], base=2):.4f} bits")
    1.5000 bits

    References
    ----------
    Shannon (1948), "A mathematical theory of communication", section 6.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    _, p = _checks.distributions(axis, p=p)
    return _in_base(_code_length(p, p), base)


def cross_entropy(p: Array, q: Array, *, axis: int = -1, base: float | None = None) -> Array:
    r"""Cross-entropy :math:`H(p, q) = -\sum_x p(x) \log q(x)`.

    The expected code length, or loss, when outcomes come from `p` and are coded, or predicted,
    by `q`.  It is :math:`H(p) + \mathrm{KL}(p \| q)`.

    Parameters
    ----------
    p, q : array_like
        Probabilities that broadcast together; `p` is the distribution that is sampled.
    axis : int
        The axis that runs over the outcomes; it is summed away.
    base : float, optional
        Base of the logarithm: 2 gives bits.  By default the result is in nats.

    Returns
    -------
    array
        Cross-entropies; ``inf`` where `q` is 0 on an outcome that `p` produces.

    Raises
    ------
    ValueError
        If `p` or `q` is empty, negative, not finite or not normalised, if they do not
        broadcast, or if `base` is not a positive number other than 1.
    TypeError
        If `p` or `q` is not real numbers, `axis` not an integer, or `base` not a number.

    Examples
    --------
    >>> print(f"{cross_entropy([0.5, 0.5], [0.25, 0.75]):.4f} nats")
    0.8370 nats

    References
    ----------
    Cover and Thomas (2006), *Elements of Information Theory*, theorem 5.4.3.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    _, p, q = _checks.distributions(axis, p=p, q=q)
    return _in_base(_code_length(p, q), base)


def kl_divergence(p: Array, q: Array, *, axis: int = -1, base: float | None = None) -> Array:
    r"""Kullback–Leibler divergence :math:`\mathrm{KL}(p \| q) = \sum_x p \log (p / q)`.

    The sum is formed from the terms :math:`p \log(p/q) - p + q`, none of which is negative, so
    that two distributions a billionth apart still give all their digits; the textbook sum
    returns rounding noise there.  The two differ by :math:`\sum q - \sum p`, which is rounding.

    Parameters
    ----------
    p, q : array_like
        Probabilities that broadcast together; `p` is the distribution that is sampled.
    axis : int
        The axis that runs over the outcomes; it is summed away.
    base : float, optional
        Base of the logarithm: 2 gives bits.  By default the result is in nats.

    Returns
    -------
    array
        Divergences in [0, inf]; ``inf`` exactly where `q` is 0 on an outcome that `p` produces.

    Raises
    ------
    ValueError
        If `p` or `q` is empty, negative, not finite or not normalised, if they do not
        broadcast, or if `base` is not a positive number other than 1.
    TypeError
        If `p` or `q` is not real numbers, `axis` not an integer, or `base` not a number.

    Examples
    --------
    >>> print(f"{kl_divergence([0.5, 0.5], [0.25, 0.75]):.4f} nats")
    0.1438 nats
    >>> print(kl_divergence([0.5, 0.5], [1.0, 0.0]), kl_divergence([1.0, 0.0], [0.5, 0.5]).round(4))
    inf 0.6931

    References
    ----------
    Kullback and Leibler (1951), "On information and sufficiency", section 2.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    xp, p, q = _checks.distributions(axis, p=p, q=q)
    return _in_base(xp.sum(_pointwise_kl(p, q), axis=-1), base)


def kl_from_logits(p_logits: Array, q_logits: Array, *, axis: int = -1) -> Array:
    r"""KL divergence of two softmax distributions, from their logits.

    Accurate where ``softmax`` followed by the textbook sum is not: for logits of any size, and
    for logits that nearly agree.

    Parameters
    ----------
    p_logits, q_logits : array_like
        Unnormalised log-probabilities that broadcast together; ``-inf`` marks an outcome of
        probability 0.  The expectation is taken under the softmax of `p_logits`.
    axis : int
        The axis that runs over the outcomes; it is summed away.

    Returns
    -------
    array
        Divergences in nats, in [0, inf]; ``inf`` where `q_logits` is ``-inf`` on an outcome
        that `p_logits` allows.

    Raises
    ------
    ValueError
        If an argument is empty or holds NaN or ``+inf``, if a distribution has no outcome left,
        or if the outcomes do not match or the other axes do not broadcast.
    TypeError
        If an argument is not real numbers, or `axis` not an integer.

    Examples
    --------
    >>> print(f"{kl_from_logits([0.0, 0.0], [1000.0, 1000.0 + np.log(3)]):.4f} nats")
    0.1438 nats

    References
    ----------
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    a, b = numbers(p_logits=p_logits, q_logits=q_logits)
    for name, array in (("p_logits", a), ("q_logits", b)):
        _checks.axis_of(name, array, axis)
        _checks.non_empty(name, array)
    return kl_of_logits(*_checks.same_outcomes(axis, p_logits=a, q_logits=b))


def kl_normal(mean_p: Array, std_p: Array, mean_q: Array, std_q: Array) -> Array:
    r"""KL divergence of two normal distributions, :math:`\mathrm{KL}(p \| q)`.

    With :math:`v = \sigma_p^2 / \sigma_q^2` it is
    :math:`\tfrac12 (v - 1 - \log v) + (\mu_p - \mu_q)^2 / (2 \sigma_q^2)`.

    Parameters
    ----------
    mean_p, std_p : array_like
        Mean and standard deviation of the distribution that is sampled.
    mean_q, std_q : array_like
        Mean and standard deviation of the other one.  All four broadcast together.

    Returns
    -------
    array
        Divergences in nats.

    Raises
    ------
    ValueError
        If an argument is empty, a mean is not finite, a standard deviation is not positive and
        finite, or the shapes do not broadcast.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> print(f"{kl_normal(0, 1, 1, 1):.4f} nats")
    0.5000 nats

    References
    ----------
    Kullback (1959), *Information Theory and Statistics*, chapter 9.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    xp, mean_p, std_p, mean_q, std_q = floats(
        mean_p=mean_p, std_p=std_p, mean_q=mean_q, std_q=std_q
    )
    _checks.filled("mean_p", mean_p)
    _checks.filled("mean_q", mean_q)
    _checks.positive("std_p", std_p)
    _checks.positive("std_q", std_q)
    _checks.broadcast("mean_p, std_p, mean_q and std_q", mean_p, std_p, mean_q, std_q)
    with np.errstate(over="ignore", under="ignore"):
        difference = mean_p - mean_q
        halved = (mean_p / 2 - mean_q / 2) / std_q  # where the difference overflows
        distance = xp.where(xp.isfinite(difference), difference / std_q, 2 * halved)
        return _ratio_gap(std_p, std_q, 2) / 2 + distance * (distance / 2)


def kl_bernoulli(p: Array, q: Array) -> Array:
    r"""KL divergence of two coins, :math:`p \log\frac pq + (1-p) \log\frac{1-p}{1-q}`.

    Parameters
    ----------
    p, q : array_like
        Probabilities of success that broadcast together; the coin `p` is the one that is tossed.

    Returns
    -------
    array
        Divergences in nats; ``inf`` where `q` excludes an outcome that `p` produces.

    Raises
    ------
    ValueError
        If an argument is empty, a probability is outside [0, 1] or not a number, or the shapes
        do not broadcast.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> print(f"{kl_bernoulli(0.9, 0.8):.4f} nats")
    0.0367 nats

    References
    ----------
    Cover and Thomas (2006), *Elements of Information Theory*, example 2.3.1.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    _, p, q = floats(p=p, q=q)
    _checks.unit_interval("p", p)
    _checks.unit_interval("q", q)
    _checks.broadcast("p and q", p, q)
    # Of 1 - q and 1 - p the difference is p - q, which the two roundings would blur.
    return _pointwise_kl(p, q) + _pointwise_kl(1 - p, 1 - q, p - q)


def kl_exponential(rate_p: Array, rate_q: Array) -> Array:
    r"""KL divergence of two exponential distributions, :math:`s - 1 - \log s`.

    Here :math:`s` is `rate_q` / `rate_p`: the divergence of two exponentials is the function
    that, on a probability ratio, is called k3.

    Parameters
    ----------
    rate_p, rate_q : array_like
        Rates (1 / mean) that broadcast together; samples come from the first.

    Returns
    -------
    array
        Divergences in nats.

    Raises
    ------
    ValueError
        If an argument is empty, a rate is not positive and finite, or the shapes do not
        broadcast.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> print(f"{kl_exponential(1, 2):.4f} nats")
    0.3069 nats

    References
    ----------
    Nielsen and Nock (2010), "Entropies and cross-entropies of exponential families".
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    _, rate_p, rate_q = floats(rate_p=rate_p, rate_q=rate_q)
    _checks.positive("rate_p", rate_p)
    _checks.positive("rate_q", rate_q)
    _checks.broadcast("rate_p and rate_q", rate_p, rate_q)
    return _ratio_gap(rate_q, rate_p, 1)


def kl_multivariate_normal(mean_p: Array, cov_p: Array, mean_q: Array, cov_q: Array) -> Array:
    r"""KL divergence of two multivariate normal distributions.

    With :math:`\lambda_i` the eigenvalues of :math:`\Sigma_q^{-1} \Sigma_p` it is
    :math:`\tfrac12 \sum_i (\lambda_i - 1 - \log \lambda_i)` plus half the squared
    Mahalanobis distance of the means under :math:`\Sigma_q`.

    Parameters
    ----------
    mean_p, cov_p : array_like
        Mean, shape (d,), and covariance, shape (d, d), of the distribution that is sampled.
    mean_q, cov_q : array_like
        Mean and covariance of the other one, of the same shapes.

    Returns
    -------
    array
        The divergence in nats.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite, or a covariance is not symmetric and
        positive definite.
    TypeError
        If an argument is not real numbers.

    Examples
    --------
    >>> print(f"{kl_multivariate_normal([0, 0], np.eye(2), [1, 0], 2 * np.eye(2)):.4f} nats")
    0.4431 nats

    References
    ----------
    Kullback (1959), *Information Theory and Statistics*, chapter 9.
    Derived in :doc:`What KL divergence measures </book/kl_divergence>`.
    """
    xp, mean_p, cov_p, mean_q, cov_q = floats(
        mean_p=mean_p, cov_p=cov_p, mean_q=mean_q, cov_q=cov_q
    )
    if mean_p.ndim != 1 or mean_p.shape[0] == 0:
        raise ValueError(f"mean_p must have shape (d,), got {_checks.shape(mean_p)}")
    _checks.same_shape("mean_p", mean_p, "mean_q", mean_q)
    _checks.finite("mean_p", mean_p)
    _checks.finite("mean_q", mean_q)
    root_p = _checks.covariance("cov_p", cov_p, mean_p.shape[0])
    root_q = _checks.covariance("cov_q", cov_q, mean_q.shape[0])
    # Eigenvalues less 1, from the difference of the covariances: near-equal ones keep digits.
    half = xp.linalg.solve(root_q, cov_p - cov_q)
    excess = xp.linalg.eigvalsh(xp.linalg.solve(root_q, half.T))
    near = xp.max(xp.abs(excess)) < 0.5
    diagonals = xp.linalg.diagonal(root_p), xp.linalg.diagonal(root_q)
    shape = xp.where(
        near, exp_gap(xp.log1p(xp.where(near, excess, 0.0))), excess - 2 * log_ratio(*diagonals)
    )
    distance = xp.linalg.solve(root_q, mean_p - mean_q)
    return xp.sum(shape + distance * distance) / 2


def _ratio_gap(a: Array, b: Array, power: int) -> Array:
    """Return r - 1 - log r of the ratio r = (a/b)**power."""
    xp = namespace(a, b)
    log_r = power * log_ratio(a, b)
    near = xp.abs(log_r) < 1
    with np.errstate(over="ignore", under="ignore"):
        far = quotient(a, b) ** power - 1 - log_r
    return +xp.where(near, exp_gap(xp.where(near, log_r, 0.0)), far)  # + makes 0-d a number


def _pointwise_kl(p: Array, q: Array, difference: Array | None = None) -> Array:
    """Return p log(p/q) - p + q of each pair; `difference` is q - p, if it is known better."""
    xp = namespace(p, q)
    possible = p > 0  # elsewhere log_ratio gets what does no harm to a gradient
    log_r = log_ratio(xp.where(possible, q, 1.0), xp.where(possible, p, 1.0), difference)
    return _kl_terms(p, q, log_r)


def _kl_terms(p: Array, q: Array, log_r: Array) -> Array:
    """Return the terms q - p - p log(q/p), none of which is negative; 0 log 0 = 0."""
    xp = namespace(p, q)
    with np.errstate(all="ignore"):
        # Where q/p is large, e^x could overflow although q does not, and nothing cancels.
        large = log_r > 1
        gap = exp_gap(xp.where(large, 0.0, log_r))
        return xp.where(p > 0, xp.where(large, q - p * (1 + log_r), p * gap), q)


def _code_length(p: Array, q: Array) -> Array:
    """Return the expectation of -log q under `p`, with 0 log 0 = 0."""
    xp = namespace(p, q)
    return 0.0 - xp.sum(p * log(xp.where((p > 0) | (q > 0), q, 1.0)), axis=-1)


def _in_base(nats: Array, base: float | None) -> Array:
    if base is None:
        return nats
    base = _checks.real("base", base)
    if not (0 < base < math.inf) or base == 1:
        raise ValueError(f"base must be positive, finite and not 1, got {base}")
    return nats / math.log(base)
