"""What KL divergence measures."""

from __future__ import annotations

import math

import numpy as np
from mpmath import mp
from scipy import integrate, optimize, stats
from scipy.special import rel_entr

import kltutorial as kl
from tests.claims import claim

P = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 8])
Q = np.full(4, 1 / 4)
SURE = np.array([0.85, 0.05, 0.05, 0.05])
TOP_THREE = np.array([0.4, 0.3, 0.3, 0.0])


def coin(a: float, b: float) -> float:
    return float(rel_entr([a, 1 - a], [b, 1 - b]).sum())


def samples_needed(divergence: float, error: float = 0.05) -> int:
    """Smallest n at which the likelihood-ratio test of two shifted normals errs so rarely."""
    shift = math.sqrt(2 * divergence)
    return next(n for n in range(1, 100_000) if stats.norm.cdf(-math.sqrt(n) * shift / 2) <= error)


@claim
def kl_cat_nats() -> float:
    """Divergence of the cat's two models, in nats."""
    return sum(p * math.log(p / q) for p, q in zip(P, Q, strict=True))


@claim
def kl_cat_bits() -> float:
    """The same in bits; both directions have it."""
    there, back = rel_entr(P, Q).sum() / math.log(2), rel_entr(Q, P).sum() / math.log(2)
    assert math.isclose(there, back)
    return there


@claim
def textbook_term_sign() -> str:
    """Terms p log(p/q) of the two tokens that are likelier under q."""
    terms = rel_entr(P, Q)[2:]
    return "negative" if (terms < 0).all() else "not all negative"


@claim
def shifted_terms_sign() -> str:
    """Terms p log(p/q) - p + q, for the cat and for many random pairs."""
    pairs = np.random.default_rng(0).dirichlet(np.ones(4), size=(10_000, 2))
    smallest = min((rel_entr(p, q) - p + q).min() for p, q in [(P, Q), *pairs])
    return "every term is at least zero" if smallest >= -1e-16 else "some term is negative"


@claim
def textbook_negative() -> str:
    """Sums of p log(p/q) over many pairs a billionth apart, in double precision."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=1000)
    step = 1e-9 * rng.normal(size=p.shape)
    q = p + step - step.mean(axis=1, keepdims=True)
    sums = (p * np.log(p / q)).sum(axis=1)
    return "may come out negative" if (sums < 0).any() else "is never negative"


@claim
def kl_near_equal_digits() -> int:
    """Digits to which the package has the divergence of two distributions a billionth apart."""
    near = P + 1e-9 * np.array([1, -1, 1, -1])
    with mp.workdps(60):
        terms = [
            mp.mpf(float(p)) * mp.log(mp.mpf(float(p)) / mp.mpf(float(q)))
            - mp.mpf(float(p)) + mp.mpf(float(q))
            for p, q in zip(P, near, strict=True)
        ]  # fmt: skip
        exact = mp.fsum(terms)
        error = abs(mp.mpf(float(kl.kl_divergence(P, near))) / exact - 1)
    return math.floor(-math.log10(max(error, 1e-15)))


@claim
def entropy_cat_bits() -> float:
    """Entropy of p in bits."""
    return stats.entropy(P, base=2)


@claim
def cross_entropy_cat_bits() -> float:
    """Mean length of tokens from p in the code for q: two bits for each of four tokens."""
    return P @ -np.log2(Q)


@claim
def kl_sure_first() -> float:
    """KL(sure || q), in nats."""
    return rel_entr(SURE, Q).sum()


@claim
def kl_sure_second() -> float:
    """KL(q || sure), in nats."""
    return rel_entr(Q, SURE).sum()


@claim
def kl_coins_symmetric() -> float:
    """Divergence of coins with chances 0.3 and 0.7; the same in both directions."""
    assert math.isclose(coin(0.3, 0.7), coin(0.7, 0.3))
    return coin(0.3, 0.7)


def integral(p: stats.rv_continuous, q: stats.rv_continuous, low: float, high: float) -> float:
    """KL(p || q) of two densities, by integration from `low` to `high`."""
    return integrate.quad(
        lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, epsabs=1e-13, limit=500
    )[0]


def directions(p: stats.rv_continuous, q: stats.rv_continuous) -> str:
    there, back = integral(p, q, -20, 20), integral(q, p, -20, 20)
    return "agree" if math.isclose(there, back) else "differ"


@claim
def kl_normals_equal() -> str:
    """Divergences of N(0, 1) and N(1, 1) in the two directions."""
    return directions(stats.norm(0, 1), stats.norm(1, 1))


@claim
def kl_normals_unequal() -> str:
    """Divergences of N(0, 1) and N(1, 2²) in the two directions."""
    return directions(stats.norm(0, 1), stats.norm(1, 2))


@claim
def triangle_direct() -> float:
    """Divergence of a coin of chance 0.5 from one of chance 0.1."""
    return coin(0.5, 0.1)


@claim
def triangle_detour() -> float:
    """The same by way of a coin of chance 0.25: less, so KL breaks the triangle inequality."""
    detour = coin(0.5, 0.25) + coin(0.25, 0.1)
    assert detour < coin(0.5, 0.1)
    return detour


@claim
def kl_truncated_q() -> float:
    """KL(p || q) where q excludes a token that p produces."""
    return rel_entr(P, TOP_THREE).sum()


@claim
def kl_truncated_p() -> float:
    """The other direction, which is finite."""
    return rel_entr(TOP_THREE, P).sum()


@claim
def floor_step() -> float:
    """What a thousandfold smaller floor in place of the zero adds to the sum, in nats."""
    at = [rel_entr(P, np.maximum(TOP_THREE, floor)).sum() for floor in (1e-3, 1e-6, 1e-9)]
    assert math.isclose(at[1] - at[0], at[2] - at[1])
    return at[1] - at[0]


@claim
def odds_in_nats() -> float:
    """Odds of twenty to one, in nats."""
    return math.log(20)


@claim
def samples_to_odds() -> int:
    """Samples after which the expected evidence, 0.1 nats each, reaches twenty to one."""
    return math.ceil(math.log(20) / 0.1)


def first_crossings() -> np.ndarray:
    """Samples after which each path of the figure first reaches odds of twenty to one."""
    x = np.random.default_rng(0).normal(size=(12, 100))
    ratios = stats.norm.logpdf(x) - stats.norm.logpdf(x, math.sqrt(0.2))
    crossed = np.cumsum(ratios, axis=1) >= math.log(20)
    assert crossed.any(axis=1).all()
    return crossed.argmax(axis=1) + 1


@claim
def quickest_path() -> int:
    """Samples that the luckiest of the dozen experiments needs for odds of twenty to one."""
    return int(first_crossings().min())


@claim
def slowest_path() -> int:
    """Samples that the unluckiest needs."""
    return int(first_crossings().max())


@claim
def likelihood_ratio_error() -> str:
    """Errors of the likelihood-ratio test of 0.1 nats, twenty samples a time, against Φ."""
    shift, runs = math.sqrt(0.2), 100_000
    x = np.random.default_rng(0).normal(size=(runs, 20))
    errors = ((x - shift) ** 2 - x**2).sum(axis=1) < 0
    expected = stats.norm.cdf(-math.sqrt(20 * 0.1 / 2))
    distance = abs(errors.mean() - expected) / math.sqrt(expected * (1 - expected) / runs)
    return "exact" if distance < 3 else "approximate"


@claim
def samples_rare() -> int:
    """Tosses that tell a coin of chance 0.01 from one so rare that the divergence is 0.1 nats.

    Among the likelihood-ratio tests, the first n with one that errs at most one time in twenty
    on either side: it decides for p if there are at least k successes.
    """
    rare = optimize.brentq(lambda b: coin(0.01, b) - 0.1, 1e-12, 1e-3)

    def works(n: int) -> bool:
        k = np.arange(n + 1)
        misses, alarms = stats.binom.cdf(k - 1, n, 0.01), stats.binom.sf(k - 1, n, rare)
        return bool(((misses <= 0.05) & (alarms <= 0.05)).any())

    return next(n for n in range(1, 10_000) if works(n))


@claim
def samples_tenth() -> int:
    """Samples for an error of one in twenty at 0.1 nats."""
    return samples_needed(0.1)


@claim
def samples_hundredth() -> int:
    """Samples for an error of one in twenty at 0.01 nats."""
    return samples_needed(0.01)


@claim
def samples_one() -> int:
    """Samples for an error of one in twenty at 1 nat."""
    return samples_needed(1)


@claim
def samples_rule() -> float:
    """Samples times divergence at which the test of two shifted normals errs one time in twenty."""
    root = optimize.brentq(lambda s: stats.norm.cdf(-math.sqrt(s / 2)) - 0.05, 1, 20)
    return root


@claim
def example_sequences() -> int:
    """Sequences of five tokens from a vocabulary of four, all of them counted."""
    policy, _ = kl.example_pair()
    return len({tuple(row) for row in policy.sequences()})


def example_terms() -> tuple[np.ndarray, np.ndarray]:
    """Chance and log-ratio of every sequence of the example pair."""
    policy, reference = kl.example_pair()
    log_p, log_q = (model.log_prob(policy.sequences()).sum(axis=1) for model in (policy, reference))
    return np.exp(log_p), log_p - log_q


@claim
def example_kl() -> float:
    """Divergence of the example policy from its reference, over all sequences."""
    chance, log_ratio = example_terms()
    assert math.isclose(chance.sum(), 1)
    return chance @ log_ratio


@claim
def example_kl_per_token() -> float:
    """Mean divergence of the next token, over the five positions."""
    policy, reference = kl.example_pair()
    log_p, log_q = (model.log_prob(policy.sequences()) for model in (policy, reference))
    return (np.exp(log_p.sum(axis=1)) @ (log_p - log_q)).mean()


@claim
def chain_rule() -> str:
    """Divergence of the sequences against expected divergences of the next tokens."""
    policy, reference = kl.example_pair()
    rows = policy.sequences()
    log_p, log_q = policy.log_prob(rows), reference.log_prob(rows)
    chance, total = np.exp(log_p.sum(axis=1)), 0.0
    for t in range(5):
        for prefix in np.unique(rows[:, :t], axis=0):
            here = (rows[:, :t] == prefix).all(axis=1)
            first = [np.flatnonzero(here & (rows[:, t] == token))[0] for token in range(4)]
            total += (
                chance[here].sum()
                * rel_entr(np.exp(log_p[first, t]), np.exp(log_q[first, t])).sum()
            )
    return "the same number" if math.isclose(total, example_kl()) else "another number"


@claim
def example_samples() -> int:
    """Sequences that the rule asks for to tell the policy from its reference."""
    return round(samples_rule() / example_kl())


def decide_right(n: int) -> float:
    """Smaller share of runs in which n sequences favour the model that wrote them."""
    policy, reference = kl.example_pair()
    shares = []
    for writer, other in ((policy, reference), (reference, policy)):
        rows = writer.sample(20_000 * n, np.random.default_rng(0))
        ratios = (writer.log_prob(rows) - other.log_prob(rows)).sum(axis=1)
        shares.append(np.mean(ratios.reshape(-1, n).sum(axis=1) > 0))
    return min(shares)


@claim
def example_samples_enough() -> str:
    """Whether the sequences that the rule asks for decide right nineteen times in twenty."""
    return "enough" if decide_right(example_samples()) >= 0.95 else "too few"


@claim
def closed_forms() -> str:
    """Largest relative error of the package's closed forms against sums and integrals."""
    pairs = [
        (kl.kl_bernoulli(0.2, 0.7), coin(0.2, 0.7)),
        (
            kl.kl_exponential(2, 3),
            integral(stats.expon(scale=1 / 2), stats.expon(scale=1 / 3), 0, 30),
        ),
        (kl.kl_normal(0, 1, 1, 2), integral(stats.norm(0, 1), stats.norm(1, 2), -15, 15)),
        (kl.kl_from_logits(np.log(P), np.log(SURE)), rel_entr(P, SURE).sum()),
    ]
    p = stats.multivariate_normal([0, 0], [[1, 0.5], [0.5, 2]])
    q = stats.multivariate_normal([1, 0], [[2, 0.3], [0.3, 1]])
    grid = np.linspace(-14, 14, 1401)
    points = np.stack(np.meshgrid(grid, grid), axis=-1)
    summed = (p.pdf(points) * (p.logpdf(points) - q.logpdf(points))).sum() * (
        grid[1] - grid[0]
    ) ** 2
    pairs.append((kl.kl_multivariate_normal(p.mean, p.cov, q.mean, q.cov), summed))
    worst = max(abs(value / oracle - 1) for value, oracle in pairs)
    return "ten digits" if worst < 1e-10 else f"{-math.log10(worst):.0f} digits"


@claim
def kl_unit_invariance() -> float:
    """Divergence of N(0, 1) from N(0.5, 1.5²), in either unit."""
    metres, millimetres = (
        integral(stats.norm(0, unit), stats.norm(0.5 * unit, 1.5 * unit), -12 * unit, 12 * unit)
        for unit in (1, 1000)
    )
    assert math.isclose(metres, millimetres)
    return metres


@claim
def data_processing() -> str:
    """Divergences of many random pairs after two of five outcomes are merged."""
    p, q = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 10_000))
    fine = rel_entr(p, q).sum(axis=1)
    p, q = (np.column_stack([x[:, 0] + x[:, 1], x[:, 2:]]) for x in (p, q))
    return "only lower it" if (rel_entr(p, q).sum(axis=1) <= fine + 1e-12).all() else "raise it"


@claim
def temperature_limit() -> float:
    """KL(p_T || p) as T → 0, approached at T = 0.01."""
    cold = P**100 / (P**100).sum()
    assert math.isclose(rel_entr(cold, P).sum(), -math.log(P[0]))
    assert rel_entr(P, cold).sum() > 30
    return rel_entr(cold, P).sum()


@claim
def perplexity_ratio() -> float:
    """Perplexity of q on tokens from p, divided by that of p."""
    return math.exp(-P @ np.log(Q)) / math.exp(-P @ np.log(P))


@claim
def merge_roof_moon() -> str:
    """Divergence after roof and moon, which p and q split alike, are merged."""
    merged = rel_entr([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]).sum()
    return "stays the same" if math.isclose(merged, rel_entr(P, Q).sum()) else "changes"


@claim
def merge_mat_moon() -> float:
    """Divergence after mat and moon are merged."""
    merged = rel_entr([0.625, 0.25, 0.125], [0.5, 0.25, 0.25]).sum()
    assert merged < rel_entr(P, Q).sum()
    return merged
