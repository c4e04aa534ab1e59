"""Forward and reverse KL."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import integrate, optimize, stats
from scipy.special import entr, log_softmax, rel_entr

from tests.claims import claim

LOG_TWO = math.log(2)
P = np.array([0.5, 0.3, 0.2, 0.0])
LEAKY = np.array([0.2, 0.2, 0.1, 0.5])
JOINT = np.array([0.4, 0.3, 0.2, 0.1]) * [0.1, 0.2, 0.4, 0.9]
GUESS = np.array([0.7, 0.1, 0.1, 0.1])
REF, GAP = np.array([0.6, 0.3, 0.1]), np.array([1.0, 1.1, 0.0])
MODES, FIRST = np.array([0.48, 0.02, 0.02, 0.48]), np.array([0.97, 0.01, 0.01, 0.01])


def log_target(x: float, d: float, weight: float = 0.5) -> float:
    """Log-density of the mixture: bumps of variance one at -d and, of this weight, at d."""
    left, right = stats.norm.logpdf(x, [-d, d]) + np.log([1 - weight, weight])
    return float(np.logaddexp(left, right))


def mean(function: Callable[[float], float], m: float, s: float) -> float:
    """Mean under N(m, s²), by adaptive quadrature that is told of the crease at zero."""
    low, high = m - 9 * s, m + 9 * s
    breaks = sorted({min(max(x, low), high) for x in (-0.5, 0, 0.5, m - s, m, m + s)})
    options = {"epsabs": 1e-11, "epsrel": 1e-11, "limit": 400, "points": breaks}

    def integrand(x: float) -> float:
        z = (x - m) / s
        return math.exp(-z * z / 2) / (s * math.sqrt(2 * math.pi)) * function(x)

    return integrate.quad(integrand, low, high, **options)[0]


def reverse_loss(m: float, s: float, d: float, weight: float = 0.5) -> float:
    """KL(N(m, s²) || target)."""
    return -stats.norm(0, s).entropy() - mean(lambda x: log_target(x, d, weight), m, s)


def unlevel(m: float, s: float, d: float) -> list[float]:
    """What is zero where the loss is level: mean slope, and mean curvature against -1/s².

    For two equal bumps the slope of the log-density is d tanh(dx) - x.
    """
    slope = mean(lambda x: d * math.tanh(d * x), m, s) - m
    curvature = mean(lambda x: d * d * (1 - math.tanh(d * x) ** 2), m, s) - 1
    return [slope, 1 + s * s * curvature]


@cache
def centre(d: float) -> float:
    """Standard deviation of the fit across both bumps."""
    return optimize.brentq(lambda s: unlevel(0, s, d)[1], 1, math.hypot(1, d) + 1)


@cache
def aside(d: float) -> tuple[float, float]:
    """Mean and standard deviation of the fit on one bump."""
    m, s = optimize.fsolve(lambda v: unlevel(*v, d), (d, 1.02), xtol=1e-12)
    assert m > 1
    return m, s


def target_moment(power: int, weight: float = 0.5, d: float = 4) -> float:
    def integrand(x: float) -> float:
        return x**power * math.exp(log_target(x, d, weight))

    return integrate.quad(integrand, -d - 12, d + 12, points=[-d, 0, d], epsabs=1e-12)[0]


def forward_loss(m: float, s: float, d: float) -> float:
    """KL(target || N(m, s²))."""

    def integrand(x: float) -> float:
        log_p = log_target(x, d)
        return math.exp(log_p) * (log_p - stats.norm.logpdf(x, m, s))

    return integrate.quad(integrand, -d - 12, d + 12, points=[-d, 0, d], epsabs=1e-12)[0]


@claim
def forward_std() -> float:
    """Standard deviation of the bumps at ±4; no other normal has a smaller forward divergence."""
    std = math.sqrt(target_moment(2))
    best = optimize.minimize(lambda v: forward_loss(v[0], math.exp(v[1]), 4), (0.5, 1.0))
    assert math.isclose(math.exp(best.x[1]), std, rel_tol=1e-4)
    assert math.isclose(std, math.sqrt(1 + 4**2))
    return std


@claim
def forward_kl() -> float:
    """Forward divergence that is left."""
    return forward_loss(0, math.sqrt(17), 4)


@claim
def valley_mass_model() -> float:
    """Mass of the forward fit within two of the centre."""
    return 2 * stats.norm.cdf(2 / math.sqrt(17)) - 1


@claim
def valley_mass_target() -> float:
    """Mass of the target there."""
    return stats.norm.cdf(2, 4) - stats.norm.cdf(-2, 4)


@claim
def side_mean() -> float:
    """Mean of the reverse fit on the right bump, at d = 4."""
    return aside(4)[0]


@claim
def side_std() -> float:
    """Its standard deviation."""
    return aside(4)[1]


@claim
def side_kl() -> float:
    """Its reverse divergence; the mirrored fit has the same."""
    m, s = aside(4)
    assert math.isclose(reverse_loss(m, s, 4), reverse_loss(-m, s, 4))
    return reverse_loss(m, s, 4)


@claim
def side_short_of_log_two() -> float:
    """By how much that is less than log 2."""
    return LOG_TWO - side_kl()


@claim
def centre_kl() -> float:
    """Reverse divergence of the fit across both bumps, at d = 4."""
    return reverse_loss(0, centre(4), 4)


@cache
def birth() -> tuple[float, float]:
    """Mean of the first side optimum, and the separation at which it appears.

    On the curve of level points each mean belongs to one separation; its lowest point is sought.
    """

    def separation(m: float) -> float:
        return optimize.fsolve(lambda v: unlevel(m, *v), (1.25, 2.42), xtol=1e-12)[1]

    lowest = optimize.minimize_scalar(separation, (2.0, 2.15, 2.3), tol=1e-8)
    return lowest.x, lowest.fun


@claim
def side_appears() -> float:
    """Separation at which an optimum appears on each side."""
    return birth()[1]


@claim
def side_wins() -> float:
    """Separation at which it has the same divergence as the optimum in the centre."""

    def excess(d: float) -> float:
        return reverse_loss(*aside(d), d) - reverse_loss(0, centre(d), d)

    crossing = optimize.brentq(excess, 2.6, 3.2, xtol=1e-9)
    assert excess(2.6) > 0 > excess(3.2)
    return crossing


@claim
def side_wins_distance() -> float:
    """Distance of the bumps there, in standard deviations of a bump."""
    return 2 * side_wins()


@claim
def near_reverse_std() -> float:
    """Standard deviation of the best reverse fit at d = 2: no normal off the centre is better."""
    best = reverse_loss(0, centre(2), 2)
    others = [(m, s) for m in (0.2, 0.6, 1, 1.5, 2, 2.5) for s in (0.8, 1, 1.2, 1.5, 2, 2.3)]
    assert all(reverse_loss(m, s, 2) > best for m, s in others)
    return centre(2)


@claim
def near_forward_std() -> float:
    """Standard deviation of the forward fit at d = 2."""
    return math.sqrt(target_moment(2, d=2))


@claim
def centre_stays() -> str:
    """Second differences of the loss at the level point in the centre, for d from 0.5 to 8."""
    for d in (0.5, 1, 2, 2.4, 2.8, 4, 6, 8):
        s = centre(d)
        steps = [(0.05 * s, 0), (0, 0.05 * s), (0.05 * s, 0.05 * s), (0.05 * s, -0.05 * s)]
        here = reverse_loss(0, s, d)
        for m, ds in steps:
            there = reverse_loss(m, s + ds, d) + reverse_loss(-m, s - ds, d)
            if there <= 2 * here:
                return "saddle point"
    return "local minimum"


@claim
def leak_total() -> float:
    """Forward divergence of the model that leaks."""
    inside = LEAKY[:3] / LEAKY[:3].sum()
    total = rel_entr(P, LEAKY).sum()
    assert math.isclose(total, rel_entr(P[:3], inside).sum() - math.log(LEAKY[:3].sum()))
    return total


@claim
def leak_price() -> float:
    """What the leak adds, wherever the leaked half goes."""
    inside = rel_entr(P[:3], LEAKY[:3] / LEAKY[:3].sum()).sum()
    elsewhere = rel_entr([*P[:3], 0, 0], [*LEAKY[:3], 0.1, 0.4]).sum()
    assert math.isclose(elsewhere, leak_total())
    return elsewhere - inside


@claim
def leak_hundredth() -> float:
    """Divergence from a model that is right but for a leak of one hundredth."""
    return rel_entr(P, [0.99 * P[0], 0.99 * P[1], 0.99 * P[2], 0.01]).sum()


def agreement(differences: np.ndarray) -> str:
    largest = np.abs(differences).max()
    return "twelve digits" if largest < 1e-12 else f"{-math.log10(largest):.0f} digits"


@claim
def classification_is_forward() -> str:
    """Cross-entropy less divergence, per example: the entropy of the labels, soft or hard."""
    rng = np.random.default_rng(0)
    log_model = log_softmax(rng.normal(size=(100, 4)), axis=1)
    labels = np.concatenate([np.eye(4)[np.arange(50) % 4], rng.dirichlet(np.ones(4), size=50)])
    loss = -(labels * log_model).sum(axis=1)
    excess = loss - rel_entr(labels, np.exp(log_model)).sum(axis=1)
    return agreement(excess - entr(labels).sum(axis=1))


@claim
def regression_is_forward() -> str:
    """Divergence less squared error over 2σ², both by integration, for four predictions."""
    tau, sigma, x = 0.3, 1.0, np.arange(5)

    def difference(g: float, f: float) -> float:
        data, model = stats.norm(g, tau), stats.norm(f, sigma)

        def integrand(y: float) -> float:
            loss = data.logpdf(y) - model.logpdf(y) - (y - f) ** 2 / (2 * sigma**2)
            return data.pdf(y) * loss

        return integrate.quad(integrand, g - 11 * tau, g + 11 * tau, epsabs=1e-14, points=[g])[0]

    rows = [[difference(math.sin(k), slope * k) for k in x] for slope in (-1, 0, 0.5, 2)]
    return agreement(np.array(rows) - rows[0][0])


@claim
def elbo_gap() -> float:
    """Log Z less the evidence lower bound."""
    return math.log(JOINT.sum()) - GUESS @ (np.log(JOINT) - np.log(GUESS))


@claim
def elbo_direction() -> str:
    """Which divergence of guess and posterior that is."""
    posterior = JOINT / JOINT.sum()
    values = {
        "reverse": rel_entr(GUESS, posterior).sum(),
        "forward": rel_entr(posterior, GUESS).sum(),
    }
    return " and ".join(name for name, value in values.items() if math.isclose(value, elbo_gap()))


def tilt(ref: np.ndarray, reward: np.ndarray, beta: float) -> tuple[np.ndarray, float]:
    """Policy that maximises mean reward - β KL(policy || ref), and the sum that normalises it."""
    weights = ref * np.exp(reward / beta)
    return weights / weights.sum(), weights.sum()


@claim
def rl_is_reverse() -> str:
    """The objective against β log Z - β KL(policy || best), for many random problems."""
    rng = np.random.default_rng(0)
    off = []
    for _ in range(200):
        policy, ref = rng.dirichlet(np.ones(5), size=2)
        reward, beta = rng.normal(size=5), rng.uniform(0.2, 2)
        best, z = tilt(ref, reward, beta)
        objective = policy @ reward - beta * rel_entr(policy, ref).sum()
        off.append(objective - beta * math.log(z) + beta * rel_entr(policy, best).sum())
    return agreement(np.array(off))


@claim
def weighted_is_forward() -> str:
    """What the weighted likelihood is, up to terms in which the policy does not appear."""
    best, z = tilt(REF, GAP, 0.5)
    policies = np.random.default_rng(0).dirichlet(np.ones(3), size=50)
    likelihood = np.array([REF * np.exp(GAP / 0.5) @ np.log(policy) for policy in policies])
    names = {
        "forward KL": [rel_entr(best, policy).sum() for policy in policies],
        "reverse KL": [rel_entr(policy, best).sum() for policy in policies],
    }
    constant = {name: np.ptp(likelihood / z + divergence) for name, divergence in names.items()}
    return next(name for name, spread in constant.items() if spread < 1e-12)


@cache
def wait(direction: str) -> int:
    """Steps of size one until half of the divergence is gone; the target must be reached."""

    def loss(logits: np.ndarray) -> float:
        q = np.exp(log_softmax(logits))
        first, second = (MODES, q) if direction == "forward" else (q, MODES)
        return rel_entr(first, second).sum()

    logits, losses = np.log(FIRST), []
    for _ in range(400):
        losses.append(loss(logits))
        steps = 1e-6 * np.eye(4)
        slope = np.array([loss(logits + e) - loss(logits - e) for e in steps]) / 2e-6
        logits = logits - slope
    assert np.allclose(np.exp(log_softmax(logits)), MODES, atol=1e-4)
    return int(np.argmax(np.array(losses) < losses[0] / 2))


@claim
def reverse_wait() -> int:
    """Gradient steps that halve the reverse divergence."""
    return wait("reverse")


@claim
def forward_wait() -> int:
    """Gradient steps that halve the forward divergence."""
    return wait("forward")


@claim
def tie_keeps_odds() -> str:
    """Odds of two answers of equal reward in the best policy, from β = 0.01 to 10."""
    betas = np.geomspace(0.01, 10, 50)
    odds = [best[0] / best[1] for best, _ in (tilt(REF, np.array([0, 0, -1]), b) for b in betas)]
    return "every β" if np.allclose(odds, REF[0] / REF[1], rtol=1e-12) else "some β"


@claim
def gap_loser() -> float:
    """What a reward lower by a tenth leaves of the likelier answer at β = 0.01, third included."""
    best, _ = tilt(REF, GAP - 1.1, 0.01)
    return 1 - best[1]


def unequal(m: float, start: float) -> float:
    best = optimize.minimize(
        lambda v: reverse_loss(v[0], math.exp(v[1]), 4, 0.2),
        (start, 0),
        method="Nelder-Mead",
        options={"fatol": 1e-8},
    )
    assert abs(best.x[0] - m) < 0.05
    return best.fun


@claim
def unequal_large() -> float:
    """Reverse divergence of the fit on the bump of weight 0.8."""
    assert math.isclose(target_moment(1, 0.2), -2.4)
    return unequal(-4, -4.2)


@claim
def unequal_small() -> float:
    """The same on the bump of weight 0.2."""
    return unequal(4, 4.2)


@claim
def new_angeles() -> str:
    """Share of impossible texts in the best independent model, by a search over both chances."""

    def loss(v: np.ndarray) -> float:
        a, b = 1 / (1 + np.exp(-v))
        return rel_entr([0.5, 0, 0, 0.5], np.outer([a, 1 - a], [b, 1 - b]).ravel()).sum()

    best = optimize.minimize(loss, (0.7, -0.4), tol=1e-12)
    assert math.isclose(best.fun, LOG_TWO)
    a, b = 1 / (1 + np.exp(-best.x))
    return "half" if math.isclose(a * (1 - b) + (1 - a) * b, 0.5, rel_tol=1e-5) else "another share"


def mean_field_loss(v: float) -> float:
    """KL(independent pair of variance v || pair of correlation 0.9)."""
    cov = np.array([[1, 0.9], [0.9, 1]])
    return (
        np.trace(np.linalg.inv(cov)) * v - 2 + math.log(np.linalg.det(cov)) - 2 * math.log(v)
    ) / 2


@claim
def mean_field_factor() -> float:
    """True variance over that of the reverse fit."""
    return 1 / optimize.minimize_scalar(mean_field_loss, (0.1, 0.2, 0.5), tol=1e-10).x


@claim
def mean_field_kl() -> float:
    """Divergence that is left, the same in both directions."""
    forward = -math.log(np.linalg.det([[1, 0.9], [0.9, 1]])) / 2
    assert math.isclose(mean_field_loss(1 - 0.9**2), forward)
    return forward
