"""The notebook gate has teeth: a wrong package makes strict nbval fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What goes wrong: the chapter that notices, the module, its right line and a wrong one.
FAULTS = {
    "sign of k1": (
        "three_estimators",
        "estimators",
        "return -_log_r(logp, logq)",
        "return _log_r(logp, logq)",
    ),
    "no half in k2": ("three_estimators", "_numerics", "return x * x / 2", "return x * x"),
    "ratio of k3 inverted": (
        "three_estimators",
        "estimators",
        "return exp_gap(_log_r(logp, logq))",
        "return exp_gap(-_log_r(logp, logq))",
    ),
    "k3 by subtraction": (
        "three_estimators",
        "_numerics",
        "return f.divide(f.multiply(x, s, out=spare), denominator, out=out)",
        "return f.subtract(f.divide(2 * x, denominator, out=out), x, out=out)",
    ),
    "tokens taken as independent": (
        "three_estimators",
        "estimators",
        "if self._clusters is None:\n            return self.std",
        "if True:\n            return self.std",
    ),
    "variance where the deviation belongs": (
        "three_estimators",
        "estimators",
        "float(np.sqrt(variance))",
        "float(variance)",
    ),
    "arguments of the divergence swapped": (
        "kl_divergence",
        "divergences",
        "xp.sum(_pointwise_kl(p, q), axis=-1)",
        "xp.sum(_pointwise_kl(q, p), axis=-1)",
    ),
    "wrong base": ("kl_divergence", "divergences", "math.log(base)", "math.log10(base)"),
    "no half in the normal": (
        "kl_divergence",
        "divergences",
        "distance * (distance / 2)",
        "distance * distance",
    ),
    "prefixes from the reference": (
        "kl_divergence",
        "sequences",
        "joint = reach[:, None] * np.exp(p)",
        "joint = reach[:, None] * np.exp(q)",
    ),
    "reverse KL not reversed": (
        "fdivergences",
        "fdivergences",
        "return _pointwise_kl(q, p)",
        "return _pointwise_kl(p, q)",
    ),
    "no half in the squared Hellinger distance": (
        "fdivergences",
        "fdivergences",
        "difference * difference, p + q) / 2",
        "difference * difference, p + q)",
    ),
    "half of the Jensen–Shannon divergence": (
        "fdivergences",
        "fdivergences",
        "_pointwise_kl(2 * q, p + q, p - q)",
        "0",
    ),
    "Bregman tangent at the wrong point": (
        "fdivergences",
        "fdivergences",
        '("grad_phi", grad_phi, y)',
        '("grad_phi", grad_phi, x)',
    ),
    "sign of the forward divergence": (
        "directions",
        "directions",
        "kl = mean_of(lambda x: _evaluate(log_density, x)) + _normal_entropy(std)",
        "kl = -mean_of(lambda x: _evaluate(log_density, x)) - _normal_entropy(std)",
    ),
    "variance where the deviation belongs, in a fit": (
        "directions",
        "directions",
        "std = math.sqrt(mean_of(lambda x: (x - mean) ** 2))",
        "std = mean_of(lambda x: (x - mean) ** 2)",
    ),
    "ascent on the loss": ("directions", "directions", "step = -axes @", "step = axes @"),
    "entropy of the normal left out": (
        "directions",
        "directions",
        "return float(-moments[0] - _normal_entropy(std))",
        "return float(-moments[0])",
    ),
    "a figure's curve": (
        "kl_divergence",
        "plotting/divergences",
        "r, np.log(r), color",
        "r, np.log2(r), color",
    ),
    "tilt in the wrong unit": (
        "alignment",
        "alignment",
        "reward - best, 0.0) / beta",
        "reward - best, 0.0) * beta",
    ),
    "frontier in the other direction": (
        "alignment",
        "alignment",
        "return kl_divergence(policies, ref), ",
        "return kl_divergence(ref, policies), ",
    ),
    "chosen and rejected swapped": (
        "alignment",
        "alignment",
        "zeros_like(margin), -margin)",
        "zeros_like(margin), margin)",
    ),
    "reference of the rejected answer with the wrong sign": (
        "alignment",
        "alignment",
        "(rejected - ref_rejected)",
        "(rejected + ref_rejected)",
    ),
    "worst of n": (
        "alignment",
        "alignment",
        'times = _checks.real("n",',
        'reward, times = -reward, _checks.real("n",',
    ),
    "half of the bound forgotten": (
        "alignment",
        "alignment",
        "return math.log(n) - (n - 1) / n",
        "return math.log(n)",
    ),
    "the clip on the wrong side": ("grpo", "grpo", "xp.minimum(", "xp.maximum("),
    "ratio of the penalty inverted": (
        "grpo",
        "grpo",
        'PENALTIES[kl](_log_probs("logp_ref", ref, keep) - logp)',
        'PENALTIES[kl](logp - _log_probs("logp_ref", ref, keep))',
    ),
    "lengths ignored": (
        "grpo",
        "grpo",
        "1 / (samples * lengths)[:, None]",
        "1 / lengths.sum()",
    ),
    "the future left out": (
        "sequences",
        "sequences",
        "        if future:\n",
        "        if False:\n",
    ),
    "prefixes of the gradient all alike": (
        "sequences",
        "sequences",
        "gradient = reach[:, None] * chance *",
        "gradient = chance *",
    ),
    "KL-to-go of the next token only": (
        "sequences",
        "sequences",
        "after = after + (np.exp(p)",
        "after = after + 0 * (np.exp(p)",
    ),
    "token divergence reversed": (
        "sequences",
        "sequences",
        "kl_from_logits(p, q)[context]",
        "kl_from_logits(q, p)[context]",
    ),
    "discount ignored": ("sequences", "sequences", "discount * sums[-1]", "sums[-1]"),
    "answers that go on after their end": (
        "sequences",
        "sequences",
        "joint[:, self.eos] = 0.0",
        "joint[:, self.eos] *= 1.0",
    ),
    "weight forgotten": ("grpo", "grpo", "if weight_kl:\n        ", "if False:\n        "),
    "gradient of the logit for that of the log-probability": (
        "gradients",
        "gradients",
        "return terms - p * namespace(terms).sum(terms, axis=-1, keepdims=True)",
        "return terms",
    ),
    "live ratio detached": (
        "gradients",
        "gradients",
        'both if weight == "ratio" else slope',
        "slope",
    ),
    "penalty in the reward differentiated": (
        "gradients",
        "gradients",
        '(value if placement == "reward" else differentiated)',
        "differentiated",
    ),
    "stale samples not weighted": (
        "gradients",
        "gradients",
        "coefficient if weight is None else namespace(logp).exp(logp - logb) * coefficient",
        "coefficient",
    ),
    "ratio inverted in the slope of k3": (
        "gradients",
        "gradients",
        "lambda x: -_expm1(-x), lambda x: x",
        "lambda x: _expm1(x), lambda x: x",
    ),
    "ascent on the penalty": (
        "gradients",
        "gradients",
        "path[step] - step_size",
        "path[step] + step_size",
    ),
    "digits of k3 lost near equality": (
        "choosing",
        "_numerics",
        "return f.divide(f.multiply(x, s, out=spare), denominator, out=out)",
        "return f.subtract(f.divide(2 * x, denominator, out=out), x, out=out)",
    ),
    "no half in k2, under a check": ("choosing", "_numerics", "return x * x / 2", "return x * x"),
    "ratio inverted, under a check": (
        "choosing",
        "estimators",
        "return exp_gap(_log_r(logp, logq))",
        "return exp_gap(-_log_r(logp, logq))",
    ),
    "divergence of the sampler swapped": (
        "choosing",
        "divergences",
        "xp.sum(_pointwise_kl(p, q), axis=-1)",
        "xp.sum(_pointwise_kl(q, p), axis=-1)",
    ),
    "the clamp marked elsewhere": (
        "choosing",
        "plotting/choosing",
        "ax.axvline(cut,",
        "ax.axvline(-cut,",
    ),
    "ratio upside down not known to the audit": (
        "checking",
        "audit/_match",
        '"k3_inverted": (lambda p, q: k3(q, p)',
        '"k3_inverted": (lambda p, q: k3(p, q)',
    ),
    "reward audited as a loss": (
        "checking",
        "audit/_kl",
        "self._follows(P, self.values)",
        "self._follows(P, self.slopes)",
    ),
    "stale samples audited as fresh": (
        "checking",
        "audit/_kl",
        "(B * self.stale).sum(axis=1)",
        "(P * self.stale).sum(axis=1)",
    ),
    "threshold of a clamp upside down": (
        "checking",
        "audit/_kl",
        "{math.exp(-clamp.at):.4g}",
        "{math.exp(clamp.at):.4g}",
    ),
    "padding of the penalty not looked at": (
        "checking",
        "audit/_grpo",
        'counts[~batch["mask"]]',
        "np.zeros(1)",
    ),
    "cost of a tilt from the other side": (
        "does_it_help",
        "divergences",
        "xp.sum(_pointwise_kl(p, q), axis=-1)",
        "xp.sum(_pointwise_kl(q, p), axis=-1)",
    ),
    "engines compared in bits": (
        "does_it_help",
        "_logits",
        "f.where(excluded, math.inf, kl)",
        "f.where(excluded, math.inf, kl / math.log(2))",
    ),
    "mismatch without its error": (
        "does_it_help",
        "estimators",
        "return self.std / self.n**0.5",
        "return self.std",
    ),
    "cost and gain exchanged in a figure": (
        "does_it_help",
        "plotting/does_it_help",
        "draw(ax, divergence, [(name, values, style)])",
        "draw(ax, values, [(name, divergence, style)])",
    ),
}


def run_notebook(folder: Path, chapter: str) -> subprocess.CompletedProcess[str]:
    """Run strict nbval on a chapter with the package that lies in `folder`."""
    notebook = shutil.copy(ROOT / "book" / f"{chapter}.ipynb", folder)
    # Other plugins, which are loaded by default, would take a quarter of the time.
    options = ["--disable-plugin-autoload", "-p", "nbval.plugin", "-p", "no:cacheprovider"]
    options += ["--nbval", "--nbval-current-env", "--maxfail=1", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, "--rootdir", folder, notebook],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package."""
    shutil.copytree(ROOT / "kltutorial", tmp_path / "kltutorial")
    return tmp_path


@pytest.mark.parametrize("chapter", sorted({chapter for chapter, *_ in FAULTS.values()}))
def test_an_unchanged_copy_passes(package: Path, chapter: str) -> None:
    run = run_notebook(package, chapter)
    assert run.returncode == pytest.ExitCode.OK, run.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(package: Path, fault: str) -> None:
    chapter, module, right, wrong = FAULTS[fault]
    path = package / "kltutorial" / f"{module}.py"
    source = path.read_text("utf-8")
    assert source.count(right) == 1, f"{module}.py must have {right!r} once"
    path.write_text(source.replace(right, wrong), "utf-8")
    run = run_notebook(package, chapter)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    assert "1 failed" in run.stdout
