"""Does the penalty help?"""

from __future__ import annotations

import math

import numpy as np
from scipy import integrate, optimize
from scipy.special import log_softmax, logsumexp, rel_entr, softmax

from tests.claims import claim, claim_each


def bent(mean_z: float, mean_square: float) -> float:
    """Mean of the gold reward z − z²/4, from the first two moments of z."""
    return mean_z - mean_square / 4


def tilted_normal(strength: float) -> tuple[float, float, float]:
    """Divergence, mean and mean square of a standard normal, tilted by exp(strength · z)."""

    def integral(function) -> float:
        def integrand(z: float) -> float:
            return function(z) * math.exp(strength * z - (strength**2 + z**2) / 2)

        return integrate.quad(integrand, strength - 12, strength + 12, epsabs=1e-13)[0]

    mass, mean, square = (integral(lambda z, k=k: z**k) for k in range(3))
    divergence = strength * mean / mass - strength**2 / 2 - math.log(mass / math.sqrt(2 * math.pi))
    return divergence, mean / mass, square / mass


def bent_gain(strength: float) -> float:
    return bent(*tilted_normal(strength)[1:]) - bent(*tilted_normal(0)[1:])


@claim
def goodhart_peak() -> float:
    """Divergence of the tilt with the most of the bent gold reward."""
    best = optimize.minimize_scalar(lambda s: -bent_gain(s), bounds=(0.1, 6), method="bounded")
    return tilted_normal(best.x)[0]


@claim
def goodhart_gone() -> float:
    """Divergence at which the tilt has no more of it than the reference."""
    return tilted_normal(optimize.brentq(bent_gain, 1, 6))[0]


@claim
def goodhart_noise() -> str:
    """Share of the proxy's gain that is gold, for normal gold and error of equal variance."""
    x = np.linspace(-9, 9, 181)
    gold, error = np.meshgrid(x, x, indexing="ij")
    for strength in (0.1, 1, 2, 4):
        tilt = softmax(strength * (gold + error) - gold**2 - error**2, axis=None)
        if not math.isclose((tilt * gold).sum() / (tilt * (gold + error)).sum(), 0.5):
            return "does something else to"
    return "halves"


def after_nats(beta: float, natural: bool, nats: float = 1) -> tuple[float, float]:
    """Proxy and gain in bent gold when a gradient flow from the reference has spent so much."""
    z = np.linspace(-8, 12, 401)
    log_ref = log_softmax(-(z**2) / 2)

    def policy(log_ratio):
        return softmax(log_ref + log_ratio)

    def flow(_, log_ratio):
        pi = policy(log_ratio)
        advantage = z - beta * log_softmax(log_ref + log_ratio) + beta * log_ref
        advantage -= pi @ advantage
        return advantage if natural else pi * advantage

    def spent(_, log_ratio):
        pi = policy(log_ratio)
        return pi @ (log_softmax(log_ref + log_ratio) - log_ref) - nats

    spent.terminal = True
    run = integrate.solve_ivp(flow, (0, 1e7), np.zeros(401), events=spent, rtol=1e-8, atol=1e-8)
    pi, ref = policy(run.y_events[0][0]), np.exp(log_ref)
    return pi @ z, bent(pi @ z, pi @ z**2) - bent(ref @ z, ref @ z**2)


@claim
def goodhart_natural() -> str:
    """Proxy and gold at one nat along the natural gradient, without and with a penalty."""
    same = np.allclose(after_nats(0, True), after_nats(0.5, True), atol=1e-5)
    on_tilt = np.allclose(after_nats(0, True), [math.sqrt(2), bent_gain(math.sqrt(2))], atol=1e-5)
    return "no difference" if same and on_tilt else "a difference"


PRICES = {"free": 0, "half": 0.5}


@claim_each(reward=("proxy", "gold"), price=tuple(PRICES))
def goodhart_plain(reward: str, price: str) -> float:
    """The same along the plain gradient of a softmax."""
    return dict(zip(("proxy", "gold"), after_nats(PRICES[price], False), strict=True))[reward]


@claim
def goodhart_gap() -> str:
    """Proxy less gold at one nat along the plain gradient, as the penalty comes in."""
    free, priced = (np.subtract(*after_nats(beta, False)) for beta in PRICES.values())
    return "widens" if priced > free else "narrows"


@claim
def goodhart_plain_far() -> float:
    """Gold at four nats along the plain gradient, without a penalty."""
    return after_nats(0, False, 4)[1]


@claim
def goodhart_plain_end() -> float:
    """Gold where the plain gradient ends with β = 1/2: at the tilt, by two nats and no more."""
    z = np.linspace(-8, 12, 401)
    ref, tilt = softmax(-(z**2) / 2), softmax(-(z**2) / 2 + 2 * z)
    assert math.isclose(rel_entr(tilt, ref).sum(), 2, abs_tol=1e-6)
    return bent(tilt @ z, tilt @ z**2) - bent(ref @ z, ref @ z**2)


def log_tail(tail: str, top: int) -> np.ndarray:
    """Log-probabilities of the errors 0, …, top."""
    e = np.arange(top + 1.0)
    return log_softmax(-(e**2) / 2 if tail == "light" else -4 * np.log1p(e))


TOPS = {"light": 36, "heavy": 10**6}


@claim_each(tail=tuple(TOPS), what=("gain", "kl"))
def goodhart(tail: str, what: str) -> float:
    """Gain and cost of giving a share of all answers, one over the root of M, the error M."""
    top = TOPS[tail]
    log_ref, share = log_tail(tail, top), top**-0.5
    ref = np.exp(log_ref)
    if what == "gain":
        return share * (top - ref @ np.arange(top + 1))
    last = (1 - share) * ref[-1] + share
    return (1 - share) * math.log(1 - share) * (1 - ref[-1]) + last * (math.log(last) - log_ref[-1])


def false_reward(beta: float, top: int) -> tuple[float, float, float]:
    """Divergence and gain of the best policy for a light tail, and of moving mass in a heavy one.

    The share that is moved to the error `top` is the one of the same divergence.
    """
    e, log_ref = np.arange(37), log_tail("light", 36)
    best = softmax(log_ref + e / beta)
    divergence = rel_entr(best, np.exp(log_ref)).sum()
    heavy = np.exp(log_tail("heavy", top))
    last = heavy[-1]

    def excess(share: float) -> float:
        moved = (1 - share) * last + share
        rest = (1 - share) * (1 - last) * math.log(1 - share)
        return rest + moved * math.log(moved / last) - divergence

    share = optimize.brentq(excess, 1e-9, 0.9)
    return divergence, (best - np.exp(log_ref)) @ e, share * (top - heavy @ np.arange(top + 1))


@claim
def goodhart_cross() -> float:
    """Divergence from which the heavy tail, reaching to a hundred, gains more than the light."""
    beta = optimize.brentq(lambda b: np.subtract(*false_reward(b, 100)[1:]), 0.5, 10)
    return false_reward(beta, 100)[0]


@claim
def goodhart_more() -> str:
    """Gain for the same divergence up to two nats, with heavy tails to a hundred and further."""
    for beta in np.geomspace(0.42, 3.5, 30):
        gains = [false_reward(beta, top) for top in (100, 1000, 10**4)]
        light, heavy = gains[0][1], [gain[2] for gain in gains]
        if not light < heavy[0] < heavy[1] < heavy[2]:
            return "less"
    return "gain more"


def mean_error(beta: float, top: int, tail: str = "heavy") -> float:
    """Mean error of the optimum, above the reference's."""
    e, log_ref = np.arange(top + 1.0), log_tail(tail, top)
    return (softmax(log_ref + e / beta) - np.exp(log_ref)) @ e


@claim
def goodhart_light_price() -> float:
    """Error of the optimum at a price of one, with the light tail."""
    return mean_error(1, 36, "light")


@claim
def goodhart_price_sixty() -> float:
    """Error of the optimum at a price of sixty, for M of a thousand."""
    return mean_error(60, 1000)


@claim
def goodhart_price_thirty() -> float:
    """The same at thirty."""
    return mean_error(30, 1000)


@claim
def goodhart_gold() -> str:
    """Gain in an independent standard normal gold reward when its sum with the error is tilted."""
    gold, error = np.meshgrid(np.linspace(-9, 9, 181), np.arange(1001.0), indexing="ij")
    for beta in (30, 50, 60):
        tilt = softmax(log_tail("heavy", 1000) - gold**2 / 2 + (gold + error) / beta, axis=None)
        if not math.isclose((tilt * gold).sum(), 1 / beta, rel_tol=1e-9):
            return "something else"
    return "exactly 1/β"


@claim_each(top=("thousand", "ten_thousand"))
def goodhart_leap(top: str) -> float:
    """Price at which the mean error is half of the greatest."""
    top = {"thousand": 1000, "ten_thousand": 10**4}[top]
    return optimize.brentq(lambda beta: mean_error(beta, top) - top / 2, top / 50, top / 10)


@claim
def goodhart_bound_difference() -> str:
    """What the bound leaves over, for random policies, rewards, references and prices."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        ref, policy = rng.dirichlet(np.ones(6), 2)
        reward, beta = rng.normal(size=6), rng.exponential()
        bound = beta * (rel_entr(policy, ref).sum() + np.log(ref @ np.exp(reward / beta)))
        best = ref * np.exp(reward / beta) / (ref @ np.exp(reward / beta))
        if not math.isclose(bound - policy @ reward, beta * rel_entr(policy, best).sum()):
            return "something else"
    return "β KL(π‖π*)"


@claim
def goodhart_bound_normal() -> float:
    """The best bound on a standard normal reward for half a nat; a tilt must reach it."""

    def bound(beta: float) -> float:
        strength = 1 / beta
        divergence, mean, _ = tilted_normal(strength)
        return beta * (0.5 + strength * mean - divergence)  # log Z is strength · mean − KL

    best = optimize.minimize_scalar(bound, bounds=(0.2, 5), method="bounded")
    divergence, mean, _ = tilted_normal(1 / best.x)
    assert math.isclose(mean, best.fun, rel_tol=1e-5)
    assert math.isclose(divergence, 0.5, rel_tol=1e-4)
    return best.fun


@claim
def goodhart_bound_heavy() -> float:
    """The same for the heavy tail with M of ten thousand."""
    e, log_ref = np.arange(10001.0), log_tail("heavy", 10**4)

    def bound(beta: float) -> float:
        return beta * (0.5 + logsumexp(log_ref + e / beta))

    return optimize.minimize_scalar(bound, bounds=(100, 1000), method="bounded").fun


ANSWERS = np.array([0.40, 0.02, 0.58])  # common, rare, wrong


def optimal_odds(reward: list[float], beta: float, direction: str) -> float:
    """Rare to common in the policy where the gradient of E[R] − β·penalty vanishes."""

    def gradient(free: np.ndarray, price: float) -> np.ndarray:
        log_pi = log_softmax([0, *free])
        pi = np.exp(log_pi)
        if direction == "reverse":
            advantage = reward - price * (log_pi - np.log(ANSWERS))
            return (pi * (advantage - pi @ advantage))[1:] / pi[1:]
        return (pi * (reward - pi @ reward) + price * (ANSWERS - pi))[1:]

    start = np.log(ANSWERS[1:] / ANSWERS[0])
    for price in np.geomspace(10, beta, 60):  # follow the optimum down from a high price
        start = optimize.root(gradient, start, (price,), tol=1e-13).x
    assert np.abs(gradient(start, beta)).max() < 1e-9
    return math.exp(start[0])


@claim
def collapse_tie() -> float:
    """Odds of two right answers at the optimum, the same for both directions and all prices."""
    found = [
        optimal_odds([1, 1, 0], beta, direction)
        for beta in (1, 0.1, 0.01)
        for direction in ("reverse", "forward")
    ]
    assert np.ptp(found) < 1e-6
    return found[0]


@claim_each(direction=("reverse", "forward"))
def collapse_gap(direction: str) -> float:
    """The same odds when the rare answer earns a tenth more, at β = 0.01."""
    return optimal_odds([1, 1.1, 0], 0.01, direction)


@claim
def collapse_order() -> str:
    """The direction that favours the better answer more at β = 0.1, if at 0.01 the other does."""
    odds = {
        beta: [optimal_odds([1, 1.1, 0], beta, way) for way in ("reverse", "forward")]
        for beta in (0.1, 0.01)
    }
    assert odds[0.01][0] > odds[0.01][1]
    return "the second" if odds[0.1][1] > odds[0.1][0] else "the first"


def plain_steps(beta: float, steps: int) -> float:
    """Common to rare after steps along the plain gradient."""
    logits = np.log(ANSWERS)
    for _ in range(steps):
        pi = softmax(logits)
        gain = np.array([1, 1, 0]) - beta * (log_softmax(logits) - np.log(ANSWERS))
        logits = logits + 0.5 * (np.diag(pi) - np.outer(pi, pi)) @ gain
    return math.exp(logits[0] - logits[1])


@claim
def collapse_free() -> float:
    """Odds of common to rare after two thousand steps without a penalty."""
    return plain_steps(0, 2000)


@claim
def collapse_priced() -> float:
    """The same with β = 0.3."""
    return plain_steps(0.3, 2000)


@claim
def collapse_even() -> float:
    """What the rare answer must earn more at β = 0.1 to become as likely as the common one."""

    def log_odds(extra: float) -> float:
        return math.log(optimal_odds([1, 1 + extra, 0], 0.1, "reverse"))

    return optimize.brentq(log_odds, 0.1, 1)


def engines(noise: float) -> tuple[float, float]:
    """Mean divergence of two engines, and mean square of their log-ratio."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(20_000, 50))
    disturbed = logits + noise * rng.normal(size=logits.shape)
    p, q = log_softmax(logits, axis=1), log_softmax(disturbed, axis=1)
    return (np.exp(p) * (p - q)).sum(axis=1).mean(), (np.exp(p) * (p - q) ** 2).sum(axis=1).mean()


@claim
def engines_kl() -> float:
    """Divergence of an engine from one whose logits are disturbed by a tenth."""
    return engines(0.1)[0]


@claim
def engines_half() -> float:
    """Half the mean square of their log-ratio."""
    return engines(0.1)[1] / 2


@claim
def engines_threshold() -> float:
    """Root mean square of the log-ratio when the divergence is 0.01 nats."""
    noise = optimize.brentq(lambda noise: engines(noise)[0] - 0.01, 0.1, 0.3)
    return math.sqrt(engines(noise)[1])
