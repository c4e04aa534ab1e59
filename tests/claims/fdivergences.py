"""f-divergences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from mpmath import mp
from scipy import optimize
from scipy.special import log_softmax, rel_entr

import kltutorial as kl
from tests.claims import claim, claim_each

# The family as sums over outcomes, from the definitions of the notation page.
SUMS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "kl": lambda p, q: rel_entr(p, q).sum(),
    "reverse-kl": lambda p, q: rel_entr(q, p).sum(),
    "jensen-shannon": lambda p, q: sum(rel_entr(x, (p + q) / 2).sum() / 2 for x in (p, q)),
    "squared-hellinger": lambda p, q: 1 - np.sqrt(p * q).sum(),
    "total-variation": lambda p, q: np.abs(p - q).sum() / 2,
    "chi2": lambda p, q: (p**2 / q).sum() - 1,
    "neyman-chi2": lambda p, q: (q**2 / p).sum() - 1,
}
# Generators in plain mathematics.
F: dict[str, Callable] = {
    "kl": lambda u: u * mp.log(u) - u + 1,
    "reverse-kl": lambda u: u - 1 - mp.log(u),
    "jensen-shannon": lambda u: (u * mp.log(u) - (u + 1) * mp.log((u + 1) / 2)) / 2,
    "squared-hellinger": lambda u: (mp.sqrt(u) - 1) ** 2 / 2,
    "total-variation": lambda u: abs(u - 1) / 2,
    "chi2": lambda u: (u - 1) ** 2,
    "neyman-chi2": lambda u: (u - 1) ** 2 / u,
}
NAMES = tuple(SUMS)
PAIRS = np.random.default_rng(0).dirichlet(np.ones(4), size=(100, 2))
# Three outcomes, of which the first two are merged.
FINE = np.array([0.01, 0.01, 0.98]), np.array([0.05, 0.40, 0.55])
COARSE = np.array([0.02, 0.98]), np.array([0.45, 0.55])


def mean_k2(p: np.ndarray, q: np.ndarray) -> float:
    return p @ np.log(p / q) ** 2 / 2


def example() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that the policy and the reference of the running example give to each text."""
    policy, reference = kl.example_pair()
    sequences = policy.sequences()
    p, q = (np.exp(lm.log_prob(sequences).sum(axis=1)) for lm in (policy, reference))
    return p, q


def walk(t: float) -> tuple[np.ndarray, np.ndarray]:
    """The distribution a fraction t of the way from the reference to the policy, and the former."""
    p, q = example()
    step = q ** (1 - t) * p**t
    return step / step.sum(), q


@claim_each(name=NAMES)
def curvature(name: str) -> float:
    """Second derivative of the generator at one, by second differences."""
    with mp.workdps(60):
        seconds = []
        for step in (mp.mpf("1e-15"), mp.mpf("1e-18")):
            seconds.append(
                (F[name](1 + step) - 2 * F[name](mp.mpf(1)) + F[name](1 - step)) / step**2
            )
        return math.inf if seconds[1] > 100 * seconds[0] else round(float(seconds[1]), 9)


@claim_each(name=NAMES)
def largest(name: str) -> float:
    """f(u)/u far out plus f near zero: what distributions without a common outcome are apart."""
    with mp.workdps(60):
        near, far = (
            (F[name](1 / u) + F[name](u) / u) for u in (mp.mpf(10) ** 20, mp.mpf(10) ** 40)
        )
    return math.inf if far > 1.5 * near else round(float(far), 9)


@claim
def symmetric_members() -> str:
    """Members that do not change when p and q are swapped, over a hundred random pairs."""
    titles = {
        "kl": "KL",
        "reverse-kl": "reverse KL",
        "jensen-shannon": "Jensen–Shannon",
        "squared-hellinger": "squared Hellinger",
        "total-variation": "total variation",
        "chi2": "χ²",
        "neyman-chi2": "Neyman's χ²",
    }
    found = [
        titles[name]
        for name, divergence in SUMS.items()
        if all(math.isclose(divergence(p, q), divergence(q, p), rel_tol=1e-9) for p, q in PAIRS)
    ]
    return f"{', '.join(found[:-1])} and {found[-1]}"


@claim
def alpha_members() -> str:
    """What the α-divergence is at 2, 1, ½, 0 and -1, over a hundred random pairs."""
    multiples = {
        "half of χ²": ("chi2", 1 / 2),
        "KL(p ‖ q)": ("kl", 1),
        "four times squared Hellinger": ("squared-hellinger", 4),
        "KL(q ‖ p)": ("reverse-kl", 1),
        "half of Neyman's χ²": ("neyman-chi2", 1 / 2),
    }

    def alpha_divergence(alpha: float, p: np.ndarray, q: np.ndarray) -> float:
        a = alpha + 1e-7 if alpha in (0, 1) else alpha  # there the formula has its limits
        return ((p**a * q ** (1 - a)).sum() - 1) / (a * (a - 1))

    found = []
    for alpha in (2, 1, 0.5, 0, -1):
        for title, (name, factor) in multiples.items():
            pairs = [(alpha_divergence(alpha, p, q), factor * SUMS[name](p, q)) for p, q in PAIRS]
            if all(math.isclose(got, wanted, rel_tol=1e-4) for got, wanted in pairs):
                found.append(title)
    return ", ".join(found)


@claim
def truncated_total_variation() -> float:
    """Total variation of the cat's model and one that excludes its last token."""
    p, q = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 8]), np.array([0.4, 0.3, 0.3, 0])
    return np.maximum(p - q, 0).sum()


@claim
def k1_k3_same() -> str:
    """Sums of both generators, and of both estimators under p, against the divergence."""
    off = 0.0
    for p, q in PAIRS:
        u, r, exact = p / q, q / p, rel_entr(p, q).sum()
        plain, flat = u * np.log(u), u * np.log(u) - u + 1
        values = [q @ plain, q @ flat, p @ -np.log(r), p @ (r - 1 - np.log(r))]
        assert np.allclose(plain / u, -np.log(r))
        assert np.allclose(flat / u, r - 1 - np.log(r))
        off = max(off, *(abs(value / exact - 1) for value in values))
    return "same" if off < 1e-9 else "different"


@claim
def minus_log_direction() -> str:
    """Which divergence the mean of -log(p/q) over q is."""
    for name, divergence in (("KL(p ‖ q)", SUMS["kl"]), ("KL(q ‖ p)", SUMS["reverse-kl"])):
        if all(math.isclose(q @ -np.log(p / q), divergence(p, q), rel_tol=1e-9) for p, q in PAIRS):
            return name
    return "neither"


@claim
def k3_bregman() -> str:
    """Height of -log at r above its tangent at 1, against k3, in sixty digits."""
    with mp.workdps(60):
        gaps = []
        for r in (mp.mpf(n) / 7 for n in range(1, 70)):
            tangent = -mp.log(1) + mp.diff(lambda x: -mp.log(x), 1) * (r - 1)
            gaps.append(abs((-mp.log(r) - tangent) - (r - 1 - mp.log(r))))
        return "exactly" if max(gaps) < 1e-15 else "nearly"


@claim
def counts_textbook() -> float:
    """Σ x log(x/y) for the counts (1, 1) and (2, 2)."""
    return rel_entr([1, 1], [2, 2]).sum()


@claim
def counts_gap() -> float:
    """Height of Σ v log v at (1, 1) above its tangent at (2, 2)."""

    def height(v: np.ndarray) -> float:
        return float((v * np.log(v)).sum())

    x, y, step = np.ones(2), np.full(2, 2.0), 1e-6
    slope = [(height(y + step * e) - height(y - step * e)) / (2 * step) for e in np.eye(2)]
    return height(x) - height(y) - np.dot(slope, x - y)


@claim
def squared_distance_merge() -> str:
    """Squared distance before and after merging the first two of three outcomes."""
    fine, coarse = (((p - q) ** 2).sum() for p, q in (FINE, COARSE))
    return "can raise" if coarse > fine else "does not raise"


@claim
def k2_concave() -> str:
    """Second derivative of ½ u log² u below 1/e, which is where it changes sign."""
    with mp.workdps(40):

        def second(u: mp.mpf) -> mp.mpf:
            return mp.diff(lambda x: x * mp.log(x) ** 2 / 2, u, 2)

        below = [second(share / mp.e) for share in mp.linspace("0.02", "0.98", 25)]
        above = [second(factor / mp.e) for factor in mp.linspace("1.02", 9, 25)]
    assert min(above) > 0
    return "negative" if max(below) < 0 else "not always negative"


@claim
def merge_kl_fine() -> float:
    """KL before the merger."""
    return SUMS["kl"](*FINE)


@claim
def merge_kl_coarse() -> float:
    """KL after it."""
    return SUMS["kl"](*COARSE)


@claim
def merge_k2_fine() -> float:
    """Mean of k2 before the merger."""
    return mean_k2(*FINE)


@claim
def merge_k2_coarse() -> float:
    """Mean of k2 after it."""
    return mean_k2(*COARSE)


@claim
def concave_sequences() -> int:
    """Texts of the running example with p/q below 1/e."""
    p, q = example()
    return int((p / q < 1 / math.e).sum())


@claim
def concave_mass() -> float:
    """What the reference gives to them."""
    p, q = example()
    return q[p / q < 1 / math.e].sum()


@claim
def fisher_information() -> float:
    """Fisher information of the walk at the reference: -E[second derivative of log π_t]."""
    p, q = example()
    step = 1e-3

    def log_mass(t: float) -> float:
        """The only part of log π_t that is not linear in t, with its sign turned."""
        return float(np.log((q ** (1 - t) * p**t).sum()))

    return (log_mass(step) - 2 * log_mass(0) + log_mass(-step)) / step**2


@claim
def smooth_agreement() -> str:
    """Digits to which the six smooth members over f''(1) agree, a thousandth of the way."""
    p, q = walk(0.001)
    u = [mp.mpf(float(a)) / mp.mpf(float(b)) for a, b in zip(p, q, strict=True)]
    with mp.workdps(40):
        values = [
            float(mp.fsum(mp.mpf(float(b)) * F[name](r) for b, r in zip(q, u, strict=True)))
            / curvature(name)
            for name in NAMES
            if name != "total-variation"
        ]
    digits = math.floor(-math.log10(max(values) / min(values) - 1))
    return {2: "two", 3: "three", 4: "four"}.get(digits, str(digits))


def slope(divergence: Callable[[np.ndarray, np.ndarray], float]) -> float:
    """Slope on logarithmic axes around a hundredth of the way."""
    near, far = divergence(*walk(0.005)), divergence(*walk(0.02))
    return math.log(far / near) / math.log(4)


@claim
def slope_smooth() -> float:
    """Slope of the smooth members and of the mean of k2: the one furthest from two."""
    smooth = [SUMS[name] for name in NAMES if name != "total-variation"] + [mean_k2]
    return max((slope(divergence) for divergence in smooth), key=lambda value: abs(value - 2))


@claim
def slope_total_variation() -> float:
    """Slope of total variation."""
    return slope(SUMS["total-variation"])


@claim
def walk_k2() -> float:
    """Mean of k2 over texts of the policy."""
    return mean_k2(*example())


@claim
def walk_reverse() -> float:
    """KL of the reference from the policy."""
    return SUMS["reverse-kl"](*example())


@claim
def walk_k2_nearer() -> str:
    """Whether the mean of k2 over the policy is nearer to KL(π ‖ ref), the one it is meant for."""
    p, q = example()
    right, wrong = abs(mean_k2(p, q) - SUMS["kl"](p, q)), abs(mean_k2(p, q) - SUMS["kl"](q, p))
    return "wrong" if wrong < right else "right"


@claim
def pinsker_tenth() -> float:
    """Largest total variation of coins whose divergence is a tenth of a nat, and the bound."""
    bound = math.sqrt(0.1 / 2)
    chances = np.linspace(0.001, 0.999, 999)

    def gap(a: float) -> float:
        return (
            optimize.brentq(lambda b: rel_entr([a, 1 - a], [b, 1 - b]).sum() - 0.1, a, 1 - 1e-12)
            - a
        )

    worst = max(gap(a) for a in chances if -math.log(a) > 0.1 and a < 0.9)
    assert 0.98 * bound < worst <= bound
    return bound


@claim
def pinsker_example() -> float:
    """Total variation of policy and reference: the event that tells them apart best."""
    p, q = example()
    return p[p > q].sum() - q[p > q].sum()


@claim
def pinsker_bound() -> float:
    """What Pinsker's inequality allows it to be."""
    return math.sqrt(SUMS["kl"](*example()) / 2)


@claim
def variational_bad() -> float:
    """The bound for KL with a guess of the ratio that is off by a factor of e; it stays below."""
    p, q = example()
    noise = np.random.default_rng(0).normal(size=p.size)
    bounds = []
    for spread in (1, 0.3, 0.1, 0):
        guess = p / q * np.exp(spread * noise)
        bounds.append(p @ np.log(guess) - q @ (guess - 1))
    assert bounds == sorted(bounds)
    assert math.isclose(bounds[-1], SUMS["kl"](p, q))
    return bounds[0]


def best_policy(name: str) -> np.ndarray:
    """Policy that maximises reward less half the divergence, on the cat's tokens, by search."""
    ref, reward = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 8]), np.array([1, 0.5, 0, -2])

    def loss(logits: np.ndarray) -> float:
        policy = np.exp(log_softmax(np.append(0, logits)))
        return SUMS[name](policy, ref) / 2 - policy @ reward

    options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 20_000}
    found = optimize.minimize(loss, [-1.0, -2, -3], method="Nelder-Mead", options=options)
    return np.exp(log_softmax(np.append(0, found.x)))


@claim
def f_dpo_moon_kl() -> float:
    """Chance of the worst token under the best policy with KL."""
    return best_policy("kl")[3]


@claim
def f_dpo_moon_chi2() -> float:
    """The same with χ²: a search in logits comes as close to zero as it likes."""
    chance = best_policy("chi2")[3]
    assert chance < 1e-6
    return round(chance, 6)


def slope_at(name: str, u: float) -> float:
    with mp.workdps(60):
        return float(mp.diff(F[name], mp.mpf(u), h=mp.mpf(u) * mp.mpf("1e-12")))


@claim
def f_dpo_slope() -> float:
    """Derivative of the generator of χ² at zero."""
    return slope_at("chi2", 1e-12)


@claim
def f_dpo_excluded() -> str:
    """Members whose derivative at zero is finite: it does not grow from 1e-12 to 1e-24."""
    finite = [name for name in NAMES if slope_at(name, 1e-24) > slope_at(name, 1e-12) - 1]
    titles = {"total-variation": "total variation", "chi2": "χ²"}
    return " and ".join(titles.get(name, name) for name in finite)


@claim_each(name=("reverse-kl", "jensen-shannon"))
def f_dpo_ceiling(name: str) -> float:
    """Derivative of the generator at large ratios."""
    assert math.isclose(slope_at(name, 1e9), slope_at(name, 1e12), rel_tol=1e-6)
    return slope_at(name, 1e12)


def hellinger_sd(values: Callable[[np.ndarray], np.ndarray]) -> float:
    """Deviation of an estimator of squared Hellinger distance on the coins that ruin k3."""
    p, q = np.array([1 - 1e-6, 1e-6]), np.array([0.9, 0.1])
    x = values(q / p)
    mean = p @ x
    assert math.isclose(mean, SUMS["squared-hellinger"](p, q))
    return math.sqrt(p @ (x - mean) ** 2)


@claim
def hellinger_flat_sd() -> float:
    """The flat one, ½ (1 - √r)²."""
    return hellinger_sd(lambda r: (1 - np.sqrt(r)) ** 2 / 2)


@claim
def hellinger_tame_sd() -> float:
    """The one from a generator that is zero at zero, 1 - √r."""
    return hellinger_sd(lambda r: 1 - np.sqrt(r))


@claim
def k2_merge_factor() -> float:
    """Mean of k2 after merging over that before, in the exercise; KL falls."""
    fine = np.array([1e-8, 0.014, 0.986 - 1e-8]), np.array([0.086, 0.014, 0.9])
    coarse = np.array([0.014 + 1e-8, 0.986 - 1e-8]), np.array([0.1, 0.9])
    assert SUMS["kl"](*coarse) < SUMS["kl"](*fine)
    return mean_k2(*coarse) / mean_k2(*fine)


@claim
def pinsker_grid() -> float:
    """Smallest KL - 2 (a - b)² of coins on a grid."""
    chances = np.linspace(0.005, 0.995, 199)
    return min(
        rel_entr([a, 1 - a], [b, 1 - b]).sum() - 2 * (a - b) ** 2 for a in chances for b in chances
    )


@claim
def k2_rate() -> float:
    """Relative error of k2's mean over the root of KL, near equality."""
    p, q = walk(0.001)
    return (mean_k2(p, q) / kl.kl_divergence(p, q) - 1) / math.sqrt(kl.kl_divergence(p, q))
