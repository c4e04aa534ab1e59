"""Errors of the package's numbers against mpmath: `python -m tests.accuracy` prints the worst.

Each row is judged over a grid with arguments that are nearly equal, far apart, and as small and
as large as floats are.  Elementary forms are counted in units of the result's last place, sums
as relative errors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

import kltutorial as kl
from tests.strategies import exactly, ulps

LARGEST, SMALLEST = np.finfo(float).max, np.finfo(float).tiny


@dataclass(frozen=True)
class Row:
    """A function, what it should return, and arguments to try; each of them is one case."""

    got: Callable[..., Any]
    exact: Callable[..., Any]
    grid: Callable[[], Iterable[tuple[Any, ...]]]
    unit: str = "ulp"
    bound: float = 8
    digits: int = 80

    def worst(self) -> tuple[float, int]:
        """Return the largest error, and the number of cases that it was taken over."""
        error = {"ulp": ulps, "relative": relative}[self.unit]
        errors = []
        with mpmath.workdps(self.digits):
            for arguments in self.grid():
                numbers = [exactly(x) if np.ndim(x) else mpf(float(x)) for x in arguments]
                got, exact = float(self.got(*arguments)), self.exact(*numbers)
                if got == exact or (abs(got) == np.inf and got * exact > LARGEST):
                    errors.append(0.0)
                else:
                    errors.append(error(np.float64(got), exact))
        return max(errors), len(errors)


def relative(got: float, exact: mpf) -> float:
    """Return the relative error; below the smallest normal number no digits are promised."""
    return float(abs(mpf(float(got)) - exact) / max(abs(exact), mpf(SMALLEST)))


# --- grids ---------------------------------------------------------------------------------------

SIZES = [5e-324, 3e-320, 2.3e-308, 1e-300, 1e-150, 1e-17, 1e-5, 0.3, 1.0, 7.0, 1e9, 1e150, 1e300]
NEAR = [2.0**-52, 1e-14, 1e-9, 1e-6, 1e-3, 0.1, 0.3, 0.49, 0.51, 0.6, 0.64, 1.5, 1.7, 1.8, 6.0, 9.0]


def pairs(largest: float = LARGEST) -> list[tuple[float, float]]:
    """Two positive numbers up to `largest`: all sizes, all distances, and both orders."""
    rng = np.random.default_rng(0)
    low, high = np.log(5e-324), np.log(largest)
    a = np.exp(rng.uniform(low, high, 300)).clip(5e-324, largest)
    b = (a * np.exp(rng.normal(size=300) * 10.0 ** rng.uniform(-12, 2, 300))).clip(5e-324, largest)
    given = [size for size in SIZES if size <= largest]
    near = [(x, min(x * (1 + d), largest)) for x, d in itertools.product(given, NEAR)]
    found = near + list(itertools.product(given, given)) + list(zip(a, b, strict=True))
    return found + [(y, x) for x, y in near]


def ratios() -> list[tuple[float]]:
    """Ratios of all sizes, and near 1."""
    # Twice the largest number is none.
    return sorted(
        {(x,) for pair in pairs(LARGEST / 2) for x in pair} | {(1 - d,) for d in NEAR[:9]}
    )


def normals() -> Iterable[tuple[float, ...]]:
    for s, t in pairs():
        yield 0.0, s, 0.0, t
        yield s, t, t, s
    for distance, scale in itertools.product(NEAR, SIZES[2:-2]):
        yield 3 * scale, scale, 3 * scale * (1 + distance), scale * (1 + distance)
        yield 3 * scale, scale * (1 + distance), 3 * scale, scale
    yield 1.5e308, 1e308, -1.5e308, 1e308


def coins() -> Iterable[tuple[float, float]]:
    unit = pairs(1.0)
    yield from unit
    yield from ((1 - p, 1 - q) for p, q in unit)
    yield from ((1 - p, q) for p, q in unit)
    yield from itertools.product([0.0, 1.0], [1e-300, 0.3, 1 - 2.0**-53])


def distributions() -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for distance, seed in itertools.product([1e-12, 1e-9, 1e-6, 1e-3, 0.1, 1.0, 10.0], range(4)):
        rng = np.random.default_rng(seed)
        logits = rng.normal(size=20) * 4.0**seed
        weights = np.exp([logits, logits + distance * rng.normal(size=20)])
        yield tuple(weights / weights.sum(axis=1, keepdims=True))
    weights = np.random.default_rng(9).exponential(size=(2, 2000))
    yield tuple(weights / weights.sum(axis=1, keepdims=True))
    # What the rare outcome adds is all there is, or it is hardly anything.
    for p, q in pairs(2.0**-54):
        yield np.array([p, 1.0]), np.array([q, 1.0])
        yield np.array([p, 1.0]), np.array([1.0, q])


def normal_vectors() -> Iterable[tuple[np.ndarray, ...]]:
    for seed, condition in itertools.product(range(60), [1, 1e2, 1e4]):
        rng = np.random.default_rng(seed)
        size = 2 + seed % 4
        distance = [None, 1e-8, 1e-4, 0.1][seed // 4 % 4]

        def covariance() -> np.ndarray:
            turn, _ = np.linalg.qr(rng.normal(size=(size, size)))  # noqa: B023
            cov = turn @ np.diag(np.geomspace(1, condition, size)) @ turn.T  # noqa: B023
            return (cov + cov.T) / 2

        cov_q, (m, n) = covariance(), rng.normal(size=(2, size))
        if distance is None:
            yield m, covariance(), n, cov_q
        else:
            root, noise = np.linalg.cholesky(cov_q), rng.normal(size=(size, size)) / 8
            cov_p = cov_q + distance * root @ (noise + noise.T) @ root.T
            yield n + distance * root @ m, (cov_p + cov_p.T) / 2, n, cov_q


# --- what is exact -------------------------------------------------------------------------------


def kl_term(p: mpf, q: mpf) -> mpf:
    if p and not q:
        return mpmath.inf
    return (p * mpmath.log(p / q) if p else 0) - p + q


def gap(r: mpf) -> mpf:
    return r - 1 - mpmath.log(r)


def normal(m: mpf, s: mpf, n: mpf, t: mpf) -> mpf:
    return (gap((s / t) ** 2) + ((m - n) / t) ** 2) / 2


def normal_vector(m: list[mpf], cov_p: list[mpf], n: list[mpf], cov_q: list[mpf]) -> mpf:
    d = len(m)
    a, b = (mpmath.matrix(d, d) for _ in range(2))
    for i, j in itertools.product(range(d), range(d)):
        a[i, j], b[i, j] = cov_p[i * d + j], cov_q[i * d + j]
    inverse, step = mpmath.inverse(b), mpmath.matrix(m) - mpmath.matrix(n)
    ratio = inverse * a
    log_det = mpmath.log(mpmath.det(b) / mpmath.det(a))
    trace = mpmath.fsum(ratio[i, i] for i in range(d))
    return (trace - d + log_det + (step.T * inverse * step)[0]) / 2


def alpha_term(p: mpf, q: mpf, alpha: mpf) -> mpf:
    if p == q:
        return mpf(0)
    if alpha in (0, 1):
        return kl_term(p, q) if alpha else kl_term(q, p)
    return (p**alpha * q ** (1 - alpha) - q - alpha * (p - q)) / (alpha * (alpha - 1))


def alpha_slope(u: mpf, alpha: mpf) -> mpf:
    return (u ** (alpha - 1) - 1) / (alpha - 1) if alpha != 1 else mpmath.log(u)


def summed(term: Callable[[mpf, mpf], mpf]) -> Callable[[list[mpf], list[mpf]], mpf]:
    return lambda p, q: mpmath.fsum(map(term, p, q))


MEMBERS: dict[str, tuple[Callable[[mpf, mpf], mpf], Callable[[mpf], mpf]]] = {
    "kl": (kl_term, mpmath.log),
    "reverse_kl": (lambda p, q: kl_term(q, p), lambda u: 1 - 1 / u),
    "jensen_shannon": (
        lambda p, q: (kl_term(p, (p + q) / 2) + kl_term(q, (p + q) / 2)) / 2,
        lambda u: mpmath.log(2 * u / (1 + u)) / 2,
    ),
    "squared_hellinger": (
        lambda p, q: (mpmath.sqrt(p) - mpmath.sqrt(q)) ** 2 / 2,
        lambda u: (1 - 1 / mpmath.sqrt(u)) / 2,
    ),
    "total_variation": (lambda p, q: abs(p - q) / 2, lambda u: mpmath.sign(u - 1) / 2),
    "chi2": (lambda p, q: (p - q) ** 2 / q, lambda u: 2 * (u - 1)),
    "neyman_chi2": (lambda p, q: (p - q) ** 2 / p, lambda u: 1 - 1 / u**2),
}
# Of these 1 - α is exact.  Of others it is rounded, which costs half of |log u| times an ulp.
ALPHAS = [-2.5, -1.0, -(2.0**-10), 0.0, 2.0**-30, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0]


def members() -> dict[str, Row]:
    """Rows of the f-divergences: the sums, the generators and their derivatives."""
    rows = {}
    for name, (term, slope) in MEMBERS.items():
        member = kl.F_DIVERGENCES[name]
        rows[f"f_divergence, {name}"] = sums(
            lambda p, q, name=name: kl.f_divergence(p, q, name), summed(term)
        )
        rows[f"{name}.f"] = Row(member.f, lambda u, term=term: term(u, mpf(1)), ratios)
        rows[f"{name}.df"] = Row(member.df, slope, ratios)
    for alpha in ALPHAS:
        member = kl.alpha_divergence(alpha)
        rows[f"f_divergence, α = {alpha:.3g}"] = sums(
            lambda p, q, member=member: kl.f_divergence(p, q, member),
            summed(lambda p, q, alpha=alpha: alpha_term(p, q, mpf(alpha))),
        )
        rows[f"α = {alpha:.3g}, f"] = Row(
            member.f, lambda u, alpha=alpha: alpha_term(u, mpf(1), mpf(alpha)), ratios
        )
        rows[f"α = {alpha:.3g}, df"] = Row(
            member.df, lambda u, alpha=alpha: alpha_slope(u, mpf(alpha)), ratios
        )
    return rows


def sums(got: Callable[..., Any], exact: Callable[..., Any]) -> Row:
    return Row(got, exact, distributions, "relative", 1e-13)


ROWS = {
    "entropy": sums(
        lambda p, q: kl.entropy(p), lambda p, q: -mpmath.fsum(x * mpmath.log(x) for x in p)
    ),
    "cross_entropy": sums(kl.cross_entropy, summed(lambda p, q: -p * mpmath.log(q))),
    "kl_divergence": sums(kl.kl_divergence, summed(kl_term)),
    "kl_normal": Row(kl.kl_normal, normal, normals, digits=700),
    "kl_exponential": Row(kl.kl_exponential, lambda a, b: gap(b / a), pairs),
    "kl_bernoulli": Row(
        kl.kl_bernoulli, lambda p, q: kl_term(p, q) + kl_term(1 - p, 1 - q), coins, digits=700
    ),
    "kl_multivariate_normal": Row(
        kl.kl_multivariate_normal, normal_vector, normal_vectors, "relative", 1e-12
    ),
    **members(),
}


if __name__ == "__main__":
    print(f"{'function':34}{'cases':>6}  {'worst error':>18}  {'bound':>7}")
    for name, row in ROWS.items():
        worst, cases = row.worst()
        print(f"{name:34}{cases:6}  {worst:9.2g} {row.unit:8}  {row.bound:7.2g}")
