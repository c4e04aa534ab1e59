"""Three estimators."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from mpmath import mp
from scipy import integrate, optimize, stats
from scipy.special import rel_entr

import kltutorial as kl
from tests.claims import claim, claim_each

# The estimators as functions of the log-ratio x = log r = log q - log p.
K: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "k1": lambda x: -x,
    "k2": lambda x: x**2 / 2,
    "k3": lambda x: np.exp(x) - 1 - x,
}
SHIFT = {"near": 0.1, "far": 1.0}


def shifted_normals(name: str, shift: float) -> tuple[float, float]:
    """Mean and standard deviation of an estimator for N(0, 1) and N(shift, 1), by integration."""

    def moment(power: int) -> float:
        def integrand(x: float) -> float:
            log_r = stats.norm.logpdf(x, shift) - stats.norm.logpdf(x)
            return stats.norm.pdf(x) * K[name](log_r) ** power

        return integrate.quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-12, limit=500)[0]

    mean = moment(1)
    return mean, math.sqrt(moment(2) - mean**2)


def enumerate_moments(name: str, p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of an estimator under the categorical distribution p."""
    values = K[name](np.log(q / p))
    mean = p @ values
    return mean, math.sqrt(p @ (values - mean) ** 2)


def gap(divergence: float, name: str) -> float:
    """Variance of the estimator less that of k1, for normals of this divergence."""
    m = 2 * divergence
    return {"k2": m**2 / 2 + m**3 / 4, "k3": math.exp(m) - 1 - m}[name] - m


@claim
def k1_bias() -> str:
    """Mean of k1 over random pairs of distributions on five outcomes, against the divergence."""
    pairs = np.random.default_rng(0).dirichlet(np.ones(5), size=(1000, 2))
    off = [enumerate_moments("k1", p, q)[0] - rel_entr(p, q).sum() for p, q in pairs]
    return "unbiased" if np.abs(off).max() < 1e-12 else "biased"


@claim
def k2_bias_word() -> str:
    """Mean of k2 against the divergence, for normals a step apart."""
    return "unbiased" if math.isclose(shifted_normals("k2", 1)[0], 0.5) else "biased"


@claim
def k1_negative_far() -> float:
    """Chance that k1 is negative, for normals a step apart: q gives the sample more than p."""
    return stats.norm.cdf(-1 / 2)


@claim
def k1_negative_near() -> float:
    """The same for normals a tenth of a step apart."""
    return stats.norm.cdf(-0.1 / 2)


@claim
def samples_k1_near() -> int:
    """Samples that bring the standard error of k1 down to a tenth of the near divergence."""
    mean, sd = shifted_normals("k1", 0.1)
    return math.ceil(round((sd / (0.1 * mean)) ** 2, 6))


@claim
def samples_k3_near() -> int:
    """The same for k3."""
    mean, sd = shifted_normals("k3", 0.1)
    return math.ceil(round((sd / (0.1 * mean)) ** 2, 6))


@claim
def k2_no_f_divergence() -> str:
    """Mean of k2 when two outcomes are merged: no f-divergence may grow by that."""
    p, q = np.array([0.01, 0.01, 0.98]), np.array([0.05, 0.40, 0.55])
    fine, _ = enumerate_moments("k2", p, q)
    coarse, _ = enumerate_moments("k2", np.array([0.02, 0.98]), np.array([0.45, 0.55]))
    assert rel_entr([0.02, 0.98], [0.45, 0.55]).sum() < rel_entr(p, q).sum()  # KL obeys
    return "nor an f-divergence" if coarse > fine else "perhaps an f-divergence"


@claim
def k3_sign() -> str:
    """Smallest value of k3 in the package, over log-ratios from -80 to 80 in both precisions."""
    size = np.concatenate([[0], np.geomspace(1e-18, 80, 100_000)])
    lowest = min(
        kl.k3(-x, np.zeros_like(x)).min()
        for x in (sign * size.astype(kind) for sign in (-1, 1) for kind in (np.float32, float))
    )
    return "never negative" if lowest >= 0 else "sometimes negative"


@claim
def k3_ulp() -> str:
    """Largest error of k3 in single precision, in units in the last place, near equality."""
    x = np.random.default_rng(0).uniform(-2, 2, 2000).astype(np.float32)
    got = kl.k3(-x, np.zeros_like(x))
    with mp.workdps(40):
        exact = [mp.expm1(mp.mpf(float(v))) - mp.mpf(float(v)) for v in x]
        errors = [
            abs(mp.mpf(float(g)) - e) / mp.mpf(float(np.spacing(np.float32(float(e)))))
            for g, e in zip(got, exact, strict=True)
        ]
    return "four" if max(errors) <= 4 else f"{float(max(errors)):.1f}"


@claim
def k3_naive_float32() -> float:
    """exp(x) - x - 1 in single precision at x = 1e-4."""
    x = np.float32(1e-4)
    return float(np.exp(x) - x - np.float32(1))


@claim_each(pair=("near", "far"), name=("k1", "k2", "k3"), figure=("bias", "sd"))
def schulman(pair: str, name: str, figure: str) -> float:
    """Bias or standard deviation over the true divergence, N(0, 1) against N(0.1 or 1, 1)."""
    true = SHIFT[pair] ** 2 / 2
    mean, sd = shifted_normals(name, SHIFT[pair])
    return round(mean / true - 1, 9) if figure == "bias" else sd / true


@claim
def schulman_simulation() -> str:
    """Largest departure of the simulated tables from the exact ones, in standard errors."""
    draws = np.random.default_rng(0).normal(size=(100, 10_000))
    departures = []
    for shift in SHIFT.values():
        true = shift**2 / 2
        for name, k in K.items():
            values = k(shift * draws - true) / true
            mean, sd = shifted_normals(name, shift)
            for batches, exact in ((values.mean(1), mean), (values.std(1, ddof=1), sd)):
                departures.append(abs(batches.mean() - exact / true) / (batches.std(ddof=1) / 10))
    return "three" if max(departures) < 3 else f"{max(departures):.1f}"


@claim
def k3_crossover() -> float:
    """Divergence at which k3 and k1 have the same variance, for shifted normals."""
    return optimize.brentq(gap, 0.1, 2, args=("k3",))


@claim
def k3_crossover_shift() -> float:
    """The same as a distance of the means; there the best weight is one half."""
    shift = math.sqrt(2 * k3_crossover())
    assert math.isclose(shift**2 / math.expm1(shift**2), 1 / 2)
    return shift


@claim
def k2_crossover() -> float:
    """Divergence at which k2 and k1 have the same variance: (√5 - 1) / 2."""
    crossing = optimize.brentq(gap, 0.1, 2, args=("k2",))
    assert math.isclose(crossing, (math.sqrt(5) - 1) / 2)
    return crossing


@claim
def optimal_below_k3() -> str:
    """Best deviation against that of k3, from a shift of 0.05 to one of 3, by the parabola."""
    m = np.geomspace(0.05, 3, 100) ** 2
    best = m - m**2 / np.expm1(m)
    return "lower" if (best < np.expm1(m) - m).all() else "not lower"


@claim
def k1_beats_k3_far() -> str:
    """k1 against k3 beyond the crossover."""
    further = np.linspace(k3_crossover() + 0.01, 5)
    return "quieter" if all(gap(d, "k3") > 0 for d in further) else "noisier"


@claim
def k1_tail() -> str:
    """|k1| against k3 over log-ratios from -300 to 300: above it by one at most."""
    x = np.linspace(-300, 300, 1_000_001)
    return "never heavier-tailed" if (np.abs(x) <= K["k3"](x) + 1).all() else "heavier-tailed"


@claim
def infinite_variance_kl() -> float:
    """Divergence of N(0, 1) from N(0, 2), where the mean of r² first diverges."""

    def second_moment(variance: float) -> float:
        """Mean of r² up to |x| = 50: it stays as it is when the range grows, or it explodes."""
        rate = 1 / variance - 1 / 2  # r² p falls as exp(-rate x²)
        return integrate.quad(lambda x: math.exp(-rate * x * x), 0, 50)[0]

    assert second_moment(1.9) < 10 < second_moment(2.1)
    return (1 / 2 - 1 + math.log(2)) / 2


def wide_runs(name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and standard errors of a thousand runs, N(0, 1) against N(0, 4), and the truth."""
    x = np.random.default_rng(0).normal(size=(1000, 10_000))
    values = K[name](stats.norm.logpdf(x, 0, 2) - stats.norm.logpdf(x))
    errors = values.std(axis=1, ddof=1) / 100
    return values.mean(axis=1), errors, (1 / 4 - 1 + math.log(4)) / 2


def coverage(name: str) -> float:
    means, errors, true = wide_runs(name)
    return np.mean(np.abs(means - true) <= stats.norm.ppf(0.975) * errors)


@claim
def infinite_variance_below() -> float:
    """Share of runs in which k3's mean is below the truth."""
    means, _, true = wide_runs("k3")
    return np.mean(means < true)


@claim
def infinite_variance_coverage() -> float:
    """Share of runs in which k3's interval holds the truth."""
    return coverage("k3")


@claim
def k1_coverage() -> float:
    """Share of runs in which k1's interval holds the truth."""
    return coverage("k1")


@claim
def nominal_level() -> float:
    """Mass of a normal distribution within the interval's half-width of the mean."""
    low, high = kl.estimate_kl([0.0, 1.0], [0.0, 0.0]).interval()
    error = kl.estimate_kl([0.0, 1.0], [0.0, 0.0]).std_error
    return 2 * stats.norm.cdf((high - low) / 2 / error) - 1


@claim
def clustered_ratio() -> float:
    """Error bar by sequences over error bar by tokens, for the model with moods."""
    calm = [0.49, 0.49, 0.01, 0.01]
    excited, even = [0.01, 0.01, 0.78, 0.20], [0.01, 0.01, 0.49, 0.49]
    start = np.log([[0.25] * 4])
    policy = kl.TabularLM([start, *[np.log([calm, calm, excited, excited])] * 99])
    reference = kl.TabularLM([start, *[np.log([calm, calm, even, even])] * 99])
    tokens = policy.sample(400, np.random.default_rng(0))
    values = K["k3"](reference.log_prob(tokens) - policy.log_prob(tokens))
    by_sequence = values.mean(axis=1).std(ddof=1) / math.sqrt(400)
    return by_sequence / (values.std(ddof=1) / math.sqrt(values.size))


def zipf_pair(temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Zipf's law over 50,000 tokens, sharpened, and as it is."""
    zipf = 1 / np.arange(1.0, 50_001)
    sharp = zipf ** (1 / temperature)
    return sharp / sharp.sum(), zipf / zipf.sum()


@claim
def zipf_size() -> int:
    """Tokens in the vocabulary."""
    return zipf_pair(1)[0].size


@claim
def zipf_kl() -> float:
    """Divergence at temperature one half."""
    return rel_entr(*zipf_pair(0.5)).sum()


@claim
def zipf_k1_sd() -> float:
    """Standard deviation of k1 there."""
    return enumerate_moments("k1", *zipf_pair(0.5))[1]


@claim
def zipf_k3_sd() -> float:
    """Standard deviation of k3 there."""
    return enumerate_moments("k3", *zipf_pair(0.5))[1]


@claim
def zipf_largest_ratio() -> float:
    """Largest ratio r there."""
    sharp, zipf = zipf_pair(0.5)
    return (zipf / sharp).max()


def coin_bias(a: float, b: float) -> float:
    p, q = np.array([a, 1 - a]), np.array([b, 1 - b])
    return enumerate_moments("k2", p, q)[0] / rel_entr(p, q).sum() - 1


@claim
def k2_bias_coin_low() -> float:
    """Relative bias of k2 for coins of chance 0.9 and 0.8."""
    return coin_bias(0.9, 0.8)


@claim
def k2_bias_coin_high() -> float:
    """Relative bias of k2 for coins of chance 0.9 and 0.97."""
    return coin_bias(0.9, 0.97)


def top_p() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sampler truncated to top-p 0.95, the policy behind it, and the reference, where kept."""
    sharp, zipf = zipf_pair(0.8)
    kept = np.cumsum(sharp) < 0.95
    return sharp[kept] / sharp[kept].sum(), sharp[kept], zipf[kept]


@claim
def top_p_kl() -> float:
    """Divergence of the truncated sampler from the reference."""
    sampler, _, reference = top_p()
    return rel_entr(sampler, reference).sum()


@claim
def top_p_k3() -> float:
    """Mean of k3 over the sampler, with the sampler's own log-probabilities."""
    sampler, _, reference = top_p()
    mean = enumerate_moments("k3", sampler, reference)[0]
    assert math.isclose(mean, top_p_kl() + reference.sum() - 1)
    return mean


@claim
def top_p_untruncated() -> str:
    """Means of k1 and k3 over the sampler, with the untruncated policy's log-probabilities."""
    sampler, policy, reference = top_p()
    means = [sampler @ K[name](np.log(reference / policy)) for name in ("k1", "k3")]
    right = [math.isclose(mean, top_p_kl(), rel_tol=0.05) for mean in means]
    return {0: "neither", 1: "one", 2: "each"}[sum(right)]


@claim
def negative_mean() -> float:
    """Chance that the mean of a hundred k1 of the near pair is negative."""
    mean, sd = shifted_normals("k1", 0.1)
    return stats.norm.cdf(-mean / (sd / 10))


@claim
def ruin_ratio() -> float:
    """Deviation of k3 over that of k1 for coins that give the rare side 1e-6 and 0.1."""
    p, q = np.array([1 - 1e-6, 1e-6]), np.array([0.9, 0.1])
    return enumerate_moments("k3", p, q)[1] / enumerate_moments("k1", p, q)[1]


@claim
def optimal_exercise_ratio() -> float:
    """Error bar of k3 over that of k1 in the exercise's ten thousand samples."""
    sharp, zipf = zipf_pair(0.5)
    ids = np.random.default_rng(0).choice(len(sharp), size=10_000, p=zipf**2 / np.sum(zipf**2))
    log_r = np.log(zipf[ids] / sharp[ids])
    return K["k3"](log_r).std() / K["k1"](log_r).std()
