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


def shifted_normals(name: str, shift: float, std: float = 1) -> tuple[float, float]:
    """Mean and deviation of an estimator for N(0, 1) and N(shift, std²), by integration."""

    def moment(power: int) -> float:
        def integrand(x: float) -> float:
            log_r = stats.norm.logpdf(x, shift, std) - stats.norm.logpdf(x)
            return stats.norm.pdf(x) * K[name](log_r) ** power

        return integrate.quad(integrand, -14, 14, epsabs=1e-13, epsrel=1e-12, limit=500)[0]

    mean = moment(1)
    return mean, math.sqrt(moment(2) - mean**2)


def enumerate_moments(name: str, p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of an estimator under the categorical distribution p."""
    values = K[name](np.log(q / p))
    mean = p @ values
    return mean, math.sqrt(p @ (values - mean) ** 2)


def random_pairs() -> list[np.ndarray]:
    """A thousand pairs of distributions on five outcomes, near and far."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5), size=(2, 1000))
    share = rng.random((1000, 1))
    return list(np.stack([p, share * p + (1 - share) * q], axis=1))


def gap(divergence: float, name: str) -> float:
    """Deviation of the estimator less that of k1, for shifted normals of this divergence."""
    shift = math.sqrt(2 * divergence)
    return shifted_normals(name, shift)[1] - shifted_normals("k1", shift)[1]


@claim
def k1_bias() -> str:
    """Mean of the package's k1 over random pairs of distributions, against the divergence."""
    off = [p @ kl.k1(np.log(p), np.log(q)) - rel_entr(p, q).sum() for p, q in random_pairs()]
    return "unbiased" if np.abs(off).max() < 1e-12 else "biased"


@claim
def k1_relative_noise() -> str:
    """Deviation of k1 over the divergence, at several shifts."""
    shifts = np.array([0.05, 0.1, 0.5, 1, 2])
    noise = [shifted_normals("k1", shift)[1] / (shift**2 / 2) for shift in shifts]
    return "√(2/KL)" if np.allclose(noise, np.sqrt(2 / (shifts**2 / 2))) else "another law"


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
    return "can make it grow" if coarse > fine else "lowers it here"


@claim
def k2_second_order() -> str:
    """Mean of k2 over the divergence as q approaches p along random directions."""
    worst = []
    for step in (1e-2, 1e-3):
        pairs = [(p, p + step * (q - p)) for p, q in random_pairs()]
        ratios = [
            enumerate_moments("k2", p, q)[0] / enumerate_moments("k3", p, q)[0] for p, q in pairs
        ]
        worst.append(np.median(np.abs(np.array(ratios) - 1)))
    return "to second order" if worst[0] < 0.01 and worst[1] < 0.2 * worst[0] else "not so"


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
    """Largest error of k3 in units in the last place, both precisions, both signs."""
    size, worst = np.geomspace(1e-12, 60, 1000), 0.0
    for x in (sign * size.astype(kind) for sign in (-1, 1) for kind in (np.float32, float)):
        got = kl.k3(-x, np.zeros_like(x))
        with mp.workdps(60):
            exact = [mp.expm1(mp.mpf(float(v))) - mp.mpf(float(v)) for v in x]
            errors = [
                float(abs(mp.mpf(float(g)) - e)) / np.spacing(x.dtype.type(float(e)))
                for g, e in zip(got, exact, strict=True)
            ]
        worst = max(worst, *errors)
    return "four" if worst <= 4 else f"{worst:.1f}"


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
def normal_closed_forms() -> str:
    """The table's formulas for bias and variance against integration, at several shifts."""
    worst = 0.0
    for shift in (0.05, 0.1, 0.5, 1, 1.5):
        m = shift**2
        table = {
            "k1": (0, m),
            "k2": (m**2 / 8, m**2 / 2 + m**3 / 4),
            "k3": (0, math.exp(m) - 1 - m),
        }
        for name, (bias, variance) in table.items():
            mean, sd = shifted_normals(name, shift)
            worst = max(worst, abs(mean - m / 2 - bias) / m, abs(sd**2 / variance - 1))
    return "eight digits" if worst < 1e-8 else f"{-math.log10(worst):.0f} digits"


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
def widest_error_bar() -> str:
    """Relative error bars of the simulated deviations, k3 far against the others."""
    draws, widths = np.random.default_rng(0).normal(size=(100, 10_000)), {}
    for pair, shift in SHIFT.items():
        for name, k in K.items():
            sd = k(shift * draws - shift**2 / 2).std(axis=1, ddof=1)
            widths[pair, name] = sd.std(ddof=1) / sd.mean()
    return "widest" if max(widths, key=widths.get) == ("far", "k3") else "not the widest"


@claim
def parabola_law() -> str:
    """Which of k1 and k3 has less variance, against λ* = J/χ², over random pairs."""
    agree = [
        (enumerate_moments("k3", p, q)[1] < enumerate_moments("k1", p, q)[1])
        == ((rel_entr(p, q) + rel_entr(q, p)).sum() / ((q - p) ** 2 / p).sum() > 0.5)
        for p, q in random_pairs()
    ]
    return "exactly when" if all(agree) else "mostly when"


@claim
def noise_floor() -> str:
    """Deviations of k2 and k3 over the divergence, for normals a hundredth of a step apart."""
    noise = [shifted_normals(name, 0.01)[1] / 0.00005 for name in ("k2", "k3")]
    return "√2" if np.allclose(noise, math.sqrt(2), rtol=1e-3) else "elsewhere"


@claim
def k3_crossover() -> float:
    """Divergence at which k3 and k1 have the same variance, for shifted normals."""
    return optimize.brentq(gap, 0.1, 2, args=("k3",), xtol=1e-9)


@claim
def k3_crossover_shift() -> float:
    """The same as a distance of the means; there the best weight is one half."""
    shift = math.sqrt(2 * k3_crossover())
    assert math.isclose(shift**2 / math.expm1(shift**2), 1 / 2, rel_tol=1e-6)
    return shift


@claim
def k2_crossover() -> float:
    """Divergence at which k2 and k1 have the same variance: (√5 - 1) / 2."""
    crossing = optimize.brentq(gap, 0.1, 2, args=("k2",), xtol=1e-9)
    assert math.isclose(crossing, (math.sqrt(5) - 1) / 2, rel_tol=1e-6)
    return crossing


@claim
def optimal_below_k3() -> str:
    """Deviation with the package's best weight against that of k3, over many shifts."""
    best = [kl.shifted_normal_moments(s, estimator="optimal").std for s in (0.05, 0.5, 1, 2)]
    plain = [shifted_normals("k3", shift)[1] for shift in (0.05, 0.5, 1, 2)]
    return "lower" if all(b < p for b, p in zip(best, plain, strict=True)) else "not lower"


@claim
def k1_beats_k3_far() -> str:
    """k1 against k3 beyond the crossover."""
    return "quieter" if all(gap(d, "k3") > 0 for d in (0.63, 0.7, 1, 2, 3)) else "noisier"


@claim
def k1_quietest() -> str:
    """k1 against k2 and k3 beyond both crossings."""
    beyond = [gap(d, name) > 0 for d in (0.63, 0.7, 1, 2, 3) for name in ("k2", "k3")]
    return "quietest" if all(beyond) else "not the quietest"


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

    assert second_moment(1.99) < 20 < second_moment(2.01)
    return shifted_normals("k1", 0, math.sqrt(2))[0]


@claim
def wide_kl() -> float:
    """Divergence of N(0, 1) from N(0, 4)."""
    return shifted_normals("k1", 0, 2)[0]


@claim
def runs_below() -> str:
    """Share of the figure's forty runs whose k3 is below the truth most of the way."""
    x = np.random.default_rng(0).normal(size=(1000, 10_000))[:40]
    values = K["k3"](stats.norm.logpdf(x, 0, 2) - stats.norm.logpdf(x))
    below = np.cumsum(values, axis=1) / np.arange(1, 10_001) < wide_kl()
    return "Most" if np.mean(below[:, 9:].mean(axis=1) > 0.5) > 0.5 else "Few"


@claim
def gap_alarm() -> float:
    """Share of the thousand runs in which the mean of r - 1 is two standard errors off zero."""
    x = np.random.default_rng(0).normal(size=(1000, 10_000))
    excess = np.expm1(stats.norm.logpdf(x, 0, 2) - stats.norm.logpdf(x))
    return np.mean(np.abs(excess.mean(axis=1)) > 2 * excess.std(axis=1, ddof=1) / 100)


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
def zipf_largest_ratio() -> int:
    """Largest ratio r there, to the nearest whole number."""
    sharp, zipf = zipf_pair(0.5)
    return round((zipf / sharp).max())


@claim
def zipf_tail_share() -> float:
    """Share of k3's variance that the rarer half of the vocabulary makes."""
    sharp, zipf = zipf_pair(0.5)
    values = K["k3"](np.log(zipf / sharp))
    parts = sharp * (values - sharp @ values) ** 2
    return parts[25_000:].sum() / parts.sum()


RARE, COMMON = np.array([1 - 1e-9, 1e-9]), np.array([0.999, 0.001])


@claim
def rare_kl() -> float:
    """Divergence of coins that give the rare side 1e-9 and 0.001."""
    return rel_entr(RARE, COMMON).sum()


@claim
def rare_k3_sd() -> float:
    """Standard deviation of k3 there."""
    return enumerate_moments("k3", RARE, COMMON)[1]


@claim
def unequal_forward() -> float:
    """Mean of k1, and of k3, over samples of N(0, 1) when q is N(1, 2²)."""
    mean = shifted_normals("k1", 1, 2)[0]
    assert math.isclose(mean, shifted_normals("k3", 1, 2)[0])
    return mean


@claim
def unequal_swapped() -> float:
    """Divergence of N(1, 2²) from N(0, 1), by integration."""
    wide, narrow = stats.norm(1, 2), stats.norm(0, 1)
    return integrate.quad(lambda x: wide.pdf(x) * (wide.logpdf(x) - narrow.logpdf(x)), -25, 27)[0]


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


def coin_cumulants(a: float, b: float) -> tuple[float, float, float]:
    """Terms of the series for the relative bias: KL/2, third and fourth cumulant."""
    p, q = np.array([a, 1 - a]), np.array([b, 1 - b])
    ell = np.log(p / q)
    true = p @ ell
    second, third, fourth = (p @ (ell - true) ** power for power in (2, 3, 4))
    terms = true / 2, third / 6 / true, -(fourth - 3 * second**2) / 24 / true
    assert abs(sum(terms) - coin_bias(a, b)) < 0.03  # what the later terms make
    return terms


@claim
def k2_skewness_coin_low() -> float:
    """Share of the third cumulant in the first bias."""
    return coin_cumulants(0.9, 0.8)[1]


@claim
def k2_skewness_coin_high() -> float:
    """Share of the third cumulant in the second, which the fourth reduces."""
    _, third, fourth = coin_cumulants(0.9, 0.97)
    assert fourth < 0
    return third


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
    right = [
        math.isclose(mean, true, rel_tol=0.05)
        for mean in means
        for true in (top_p_kl(), top_p_policy_kl())
    ]
    return "one of" if any(right) else "neither"


@claim
def top_p_policy_kl() -> float:
    """Divergence of the untruncated policy from the reference."""
    return rel_entr(*zipf_pair(0.8)).sum()


@claim
def support_identity() -> str:
    """Mean of k3 where p lacks one of q's five outcomes, over random pairs."""
    off = []
    for p, q in random_pairs():
        p = p[:4] / p[:4].sum()
        off.append(
            enumerate_moments("k3", p, q[:4])[0] - rel_entr(p, q[:4]).sum() - q[:4].sum() + 1
        )
    return "In general" if np.abs(off).max() < 1e-12 else "Sometimes"


@claim
def negative_mean() -> float:
    """Chance that the mean of a hundred k1 of the near pair is negative."""
    mean, sd = shifted_normals("k1", 0.1)
    return stats.norm.cdf(-mean / (sd / 10))


@claim
def ruin_ratio() -> int:
    """Deviation of k3 over that of k1 for coins that give the rare side 1e-6 and 0.1."""
    p, q = np.array([1 - 1e-6, 1e-6]), np.array([0.9, 0.1])
    return round(enumerate_moments("k3", p, q)[1] / enumerate_moments("k1", p, q)[1])


def exercise_values(name: str) -> np.ndarray:
    """Values of an estimator on the exercise's ten thousand samples."""
    sharp, zipf = zipf_pair(0.5)
    ids = np.random.default_rng(0).choice(len(sharp), size=10_000, p=zipf**2 / np.sum(zipf**2))
    return K[name](np.log(zipf[ids] / sharp[ids]))


@claim
def optimal_exercise_ratio() -> int:
    """Error bar of k3 over that of k1 there, to the nearest whole number."""
    return round(exercise_values("k3").std() / exercise_values("k1").std())


@claim
def optimal_exercise_error() -> float:
    """How far k3's mean is from the truth there."""
    return abs(exercise_values("k3").mean() - zipf_kl())
