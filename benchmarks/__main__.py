"""`make bench`: the package beside the formulas as people write them, in one run.

Both sides are timed in turn, and the shortest of several times counts, which other work on the
machine disturbs least.  The limit is one pass of `np.exp` over the elements, or of a copy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import kltutorial as kl

REPORT = Path(__file__).parents[1] / "_build" / "benchmarks.md"
TOKENS = 10_000_000
ROWS, VOCABULARY = 256, 151_936  # of Qwen's models


def seconds(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Shortest time of each function, all of them in turn."""
    times = []
    for _ in range(repeats):
        for function in functions:
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [min(times[i :: len(functions)]) for i in range(len(functions))]


def plain_formulas(logp: np.ndarray, logq: np.ndarray) -> list[tuple[float, float]]:
    logr = logq - logp
    results = []
    for k in (lambda: -logr, lambda: logr**2 / 2, lambda: np.exp(logr) - 1 - logr):
        values = k()
        results.append((values.mean(), values.std(ddof=1) / np.sqrt(values.size)))
    return results


def plain_masked(logp: np.ndarray, logq: np.ndarray, mask: np.ndarray) -> list[tuple]:
    logr = logq - logp
    lengths = mask.sum(axis=1)
    results = []
    for k in (lambda: -logr, lambda: logr**2 / 2, lambda: np.exp(logr) - 1 - logr):
        sums = (k() * mask).sum(axis=1)
        mean = sums.sum() / lengths.sum()
        error = (sums - mean * lengths).std(ddof=1) * np.sqrt(len(sums)) / lengths.sum()
        results.append((mean, error))
    return results


def ours(logp: np.ndarray, logq: np.ndarray, mask: np.ndarray | None = None) -> list[tuple]:
    estimates = kl.estimate_kl(logp, logq, estimator=("k1", "k2", "k3"), where=mask)
    return [(estimate.mean, estimate.std_error) for estimate in estimates]


def plain_logits(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logp, logq = torch.log_softmax(a, -1), torch.log_softmax(b, -1)
        return (logp.exp() * (logp - logq)).sum(-1)


def row(name: str, mine: float, other: float, limit: float, what: str) -> str:
    return (
        f"| {name} | {1e3 * mine:.0f} | {1e3 * other:.0f} | {other / mine:.1f} "
        f"| {mine / limit:.1f} × {what} |"
    )


def estimates() -> list[str]:
    rng = np.random.default_rng(0)
    lines = []
    logp = -rng.exponential(2, TOKENS)
    for spread in (1.0, 0.1, 0.003):
        logq = logp + spread * rng.standard_normal(TOKENS) - spread**2 / 2
        np.testing.assert_allclose(ours(logp, logq), plain_formulas(logp, logq), rtol=1e-6)
        mine, other, exp = seconds(
            lambda q=logq: ours(logp, q), lambda q=logq: plain_formulas(logp, q),
            lambda: np.exp(logp),
        )  # fmt: skip
        name = f"`estimate_kl`, k1, k2 and k3, 10⁷ samples, log r ~ {spread:g}"
        lines.append(row(name, mine, other, exp, "exp"))
    table = logp.reshape(20_000, 500), logq.reshape(20_000, 500)
    mask = np.arange(500) < rng.integers(1, 501, 20_000)[:, None]
    np.testing.assert_allclose(ours(*table, mask), plain_masked(*table, mask), rtol=1e-6)
    mine, other, exp = seconds(
        lambda: ours(*table, mask), lambda: plain_masked(*table, mask), lambda: np.exp(logp)
    )
    lines.append(row("the same, 20,000 × 500 tokens with a mask", mine, other, exp, "exp"))
    for dtype in (np.float64, np.float32):
        p, q = logp.astype(dtype), (logp + rng.standard_normal(TOKENS)).astype(dtype)
        mine, other, copy = seconds(
            lambda p=p, q=q: kl.k3(p, q),
            lambda p=p, q=q: np.exp(q - p) - 1 - (q - p),
            lambda p=p: p.copy(),
        )
        lines.append(row(f"`k3` of 10⁷ elements, {dtype.__name__}", mine, other, copy, "copy"))
    return lines


def logits() -> list[str]:
    rng = np.random.default_rng(0)
    lines = []
    a = rng.standard_normal((ROWS, VOCABULARY), dtype=np.float32)
    for name, weight, spread in (("unrelated", 0, 1), ("near", 1, 0.1)):
        b = weight * a + np.float32(spread) * rng.standard_normal(a.shape, dtype=np.float32)
        pair = torch.from_numpy(a), torch.from_numpy(b)
        np.testing.assert_allclose(kl.kl_from_logits(a, b), plain_logits(*pair), rtol=1e-3)
        mine, other, exp = seconds(
            lambda b=b: kl.kl_from_logits(a, b), lambda pair=pair: plain_logits(*pair),
            lambda: np.exp(a), repeats=3,
        )  # fmt: skip
        title = f"`kl_from_logits`, 256 × 151,936 float32, {name}; PyTorch's `log_softmax` pair"
        lines.append(row(title, mine, other, exp, "exp"))
    tracemalloc.start()
    kl.kl_from_logits(a, b)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return [*lines, "", f"Peak memory of `kl_from_logits` beyond its input: {peak:.0f} MiB."]


def imports() -> list[str]:
    def importing(statement: str) -> Callable[[], object]:
        code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
        command = [sys.executable, "-c", code]
        return lambda: times[statement].append(float(subprocess.check_output(command)))

    statements = ["import numpy", "import kltutorial", "from kltutorial import k3, estimate_kl"]
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    seconds(*map(importing, statements), repeats=15)
    best = {statement: min(times[statement]) for statement in statements}
    return [
        f"| `{statement}` | {1e3 * time:.0f} | {time / best['import numpy']:.2f} |"
        for statement, time in best.items()
    ]


def growth() -> list[str]:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for power in range(4, 9):
            n = 10**power
            files = [
                np.memmap(f"{folder}/{name}", np.float64, "w+", shape=n) for name in ("p", "q")
            ]
            rng = np.random.default_rng(0)
            for start in range(0, n, 10**6):
                x = rng.standard_normal(min(n, 10**6))
                files[0][start : start + x.size] = -(x**2) / 2
                files[1][start : start + x.size] = -((x - 0.3) ** 2) / 2
            repeats = max(3, 10**6 // n)
            (best,) = seconds(lambda files=files: kl.estimate_kl(*files), repeats=repeats)
            tracemalloc.start()
            kl.estimate_kl(*files)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            lines.append(f"| 10^{power} | {1e9 * best / n:.2f} | {peak:.1f} |")
    return lines


def report() -> list[str]:
    cores = torch.get_num_threads()
    return [
        f"Times in ms on {cores} cores, NumPy {np.__version__}, PyTorch {torch.__version__}.",
        "",
        "| What | kltutorial | plain | ratio | beside the limit |",
        "|---|---|---|---|---|",
        *estimates(),
        *logits(),
        "",
        "| Import | ms | beside NumPy |",
        "|---|---|---|",
        *imports(),
        "",
        "| Samples, from a file | ns for each, k3 | peak memory, MiB |",
        "|---|---|---|",
        *growth(),
    ]


if __name__ == "__main__":
    REPORT.parent.mkdir(exist_ok=True)
    text = "\n".join(report()) + "\n"
    REPORT.write_text(text, "utf-8")
    print(text)
