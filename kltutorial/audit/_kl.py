"""The audit of a per-sample penalty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from kltutorial import _checks
from kltutorial.audit import _calls, _match
from kltutorial.audit._calls import Array, Backend, Subject
from kltutorial.audit._match import KNOWN, LOG_B, LOG_P, LOG_Q, B, Match, P
from kltutorial.audit._report import AuditReport, Severity

Use = Literal["value", "loss", "reward"]
_EXTREMES = np.array([-100.0, -50.0, -20.0, 20.0, 50.0, 100.0])
_SMALL = np.array([0.1, 0.01, 0.001, 0.0001])


def audit_kl(
    fn: Callable[..., Any],
    *,
    arguments: Mapping[str, object] | None = None,
    use: Use | None = None,
    backend: Backend | None = None,
) -> AuditReport:
    r"""Say what a per-sample KL penalty really computes.

    Of which divergence its mean is the value, and of which its gradient, as a loss and in the
    reward, on samples of p and on stale ones; what happens far from zero and near it; which
    known penalty it is, and where it is clamped.  All by enumeration of small policies, without
    sampling noise; slopes are those of autograd for a PyTorch function, else finite differences.

    Parameters
    ----------
    fn : callable
        Takes ``logp`` and ``logq``, under these names or in this order, and returns one penalty
        per sample, in the shape of its arguments: log-probabilities, in nats, of samples of p.
        NumPy or PyTorch.  It is called some sixty times, on arrays of at most a few hundred
        numbers of shape (rows, columns); one of single numbers goes through ``np.vectorize``
        first.
    arguments : mapping of str, optional
        For another signature: what each parameter of `fn` takes, by its name.  ``"logp"``,
        ``"logq"``, ``"logb"`` (log-probabilities under the policy b that wrote the samples) and
        ``"mask"`` (True for what counts) stand for arrays; all else is a constant.
    use : {"value", "loss", "reward"}, optional
        What the penalty is meant for, which decides how grave a finding is: k1 has no force as a
        loss, and nothing but k1 is right in the reward.  By default, gradients are only notes.
    backend : {"numpy", "torch"}, optional
        By default PyTorch if `fn` can't do with NumPy arrays, or its module imports PyTorch, or
        it is annotated with tensors; else NumPy.

    Returns
    -------
    AuditReport
        With ``.estimator``, ``.value_of``, ``.loss_gradient_of``, ``.reward_gradient_of``,
        ``.findings`` and ``.ok``.  A function that can't be audited is a finding, no error.

    Raises
    ------
    ValueError
        If `arguments` does not name both log-probabilities, or `use` or `backend` is unknown.
    TypeError
        If `arguments` is not a mapping.
    ImportError
        If `backend` is ``"torch"``, and PyTorch is not installed.

    Examples
    --------
    >>> report = audit_kl(lambda logp, logq: np.exp(logp - logq) - 1 - (logp - logq))
    >>> print(report.estimator, "|", report.value_of, "|", report.loss_gradient_of)
    k3_inverted | chi2(p||q) - KL(p||q) | chi2(p||q)/2
    >>> [finding.code for finding in report.findings if finding.severity == "wrong"]
    ['ratio-inverted']

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """
    _checks.choice("use", use, None, "value", "loss", "reward")
    taken = _calls.taken_by(fn, arguments, ("logp", "logq"))
    report = AuditReport(use=use)
    subject = _calls.begin(report, fn, taken, backend, _arrays(LOG_P, LOG_Q))
    if subject:
        audit = PenaltyAudit(subject, report)
        _calls.look(report, audit.expectations, audit.clamps, audit.extremes)
        _calls.look(report, audit.precision, audit.masks)
    return report


def _arrays(logp: Array, logq: Array, **more: Array) -> dict[str, Array]:
    """Return all that a function may take; by default samples of p itself, which all count."""
    return {"logp": logp, "logq": logq, "logb": logp, "mask": np.ones(logp.shape, bool)} | more


class PenaltyAudit:
    """One run: its methods look at one aspect after another, and note what they find."""

    def __init__(self, subject: Subject, report: AuditReport) -> None:
        self.subject = subject
        self.report = report
        self.match: Match | None = None
        self.tolerance = 1e-6
        self.is_weighted = False

    def _values(self, logp: Array, logq: Array, dtype: str = "float64", **more: Array) -> Array:
        return self.subject.values(_arrays(logp, logq, **more), dtype)

    def _slopes(self, logp: Array, logq: Array, dtype: str = "float64", **more: Array) -> Array:
        return self.subject.slopes(_arrays(logp, logq, **more), dtype)

    def _takes(self, role: str) -> bool:
        return role in _calls.words(self.subject.arguments)

    def _for(self, *uses: str | None, severity: Severity = "wrong") -> Severity:
        """Return how grave it is that a penalty can't be used so."""
        return severity if self.report.use in uses else "note"

    def expectations(self) -> None:
        """Find out which penalty it is, what its mean is, and which gradients it has."""
        self.values = self._values(LOG_P, LOG_Q)
        among, alone = self.values[0, 0], self._values(LOG_P[:1, :1], LOG_Q[:1, :1])[0, 0]
        if not np.allclose(alone, among, rtol=1e-4, atol=1e-5, equal_nan=True):
            self.report.add("batch-dependent", "wrong", among=among, alone=alone)
        self._identity()
        self.slopes = self._slopes(LOG_P, LOG_Q)
        self.stale = self._values(LOG_P, LOG_Q, logb=LOG_B)
        self._value()
        self._gradients()
        self._stale_samples()
        self._weight()

    def _identity(self) -> None:
        """Find out which known penalty it is."""
        add = self.report.add
        self.match = match = _match.identify(self._values)
        if match is None:
            add("unknown-estimator", "surprising")
            return
        self.report.estimator, self.report.clamps = match.label, match.clamps
        if match.tolerance != _match.EXACT:  # it computes in float32, whatever it is given
            self.tolerance, self.subject.step = 2e-3, 0.02
        if match.tolerance == _match.COARSE:
            self.tolerance, self.subject.step = 2e-2, 0.2
            add("low-precision", "wrong")
        if match.penalty in _match.TERMS:
            add("probability-weighted", "wrong")
        elif match.scale < 0:
            add("sign-flipped", "wrong", scale=match.scale)
        elif match.penalty == "k3_inverted":
            add("ratio-inverted", "wrong")
        elif abs(match.scale - 1) > 1e-4:
            add("wrong-scale", "wrong", scale=match.scale)
        if match.offset:
            add("offset", "wrong", offset=match.offset)

    def _value(self) -> None:
        means, exact = (P * self.values).sum(axis=1), _match.value_basis()
        name = self.report.value_of = _match.express(means, exact, self.tolerance)
        known = self.report.estimator or "not a known penalty"
        known = f"{known}, {KNOWN[known][1]}" if known in KNOWN else known
        where = "that is KL(first || second)" if name == "KL(p||q)" else "where q is the second"
        facts = {"mean": _named(name), "got": means[0], "wanted": exact["KL(p||q)"][0]}
        self.report.add("identified", "note", known=known, where=where, **facts)
        if name == "-KL(p||q)":
            self.report.add("sign-flipped", "wrong")
        severity: Severity = "wrong"
        explained = {"ratio-inverted", "sign-flipped", "wrong-scale", "offset"}
        if explained & set(self.report.codes) or self.report.use in ("loss", "reward"):
            severity = "note"
        elif name == "E[k2]":
            severity = self._for("value", severity="surprising")
        elif name == "E[|k1|]" and self.report.use is None:
            severity = "surprising"
        if name in ("KL(q||p)", "JS(p,q)", "H2(p,q)", "chi2(p||q)", "chi2(q||p)"):
            self.report.add("other-divergence", "surprising", **facts)
        elif name != "KL(p||q)":
            self.report.add("value-biased", severity, **facts)

    def _gradients(self) -> None:
        """Find out which gradient it has on average, in the loss and in the reward."""
        loss, pull = self._follows(P, self.slopes)
        reward, push = self._follows(P, self.values)
        self.report.loss_gradient_of, self.report.reward_gradient_of = loss, reward
        if not self.slopes.any():
            self.report.add("no-gradient", self._for("loss"))
        elif loss == "0":
            self.report.add("loss-no-force", self._for("loss"))
        elif loss != "KL(p||q)":
            repels = loss is None or loss.startswith("-")
            severity = self._for("loss", severity="wrong" if repels else "surprising")
            self.report.add("loss-other-divergence", severity, name=_named(loss), pulls=pull)
        if reward != "KL(p||q)":
            cancel = reward in ("KL(p||q) - KL(q||p)", "E[k2] - KL(p||q)")
            facts = {"remark": "  Near p = q the two forces cancel." * cancel, "pulls": push}
            severity = self._for("reward")
            self.report.add("reward-other-divergence", severity, name=_named(reward), **facts)

    def _follows(self, samples: Array, coefficient: Array) -> tuple[str | None, str]:
        """Return of what a mean has the gradient, and how it pulls on the first pair."""
        gradient, basis = _match.mean_gradient(samples, coefficient), _match.gradient_basis()
        wanted = basis["KL(p||q)"][0]
        pull = gradient[0] @ wanted / (wanted @ wanted) + 0.0
        away = f"pushes p away from q, with {-pull:.2g} times"
        pulls = away if pull < 0 else f"has {pull:.3g} times"
        return _match.express(gradient, basis, self.tolerance), pulls

    def _stale_samples(self) -> None:
        off, _ = self._follows(B, self._slopes(LOG_P, LOG_Q, logb=LOG_B))
        self.report.off_policy_gradient_of = off
        self.report.off_policy_reward_gradient_of, _ = self._follows(B, self.stale)
        loss = self.report.loss_gradient_of
        here, there = (P * self.values).sum(axis=1), (B * self.stale).sum(axis=1)
        if self._takes("logb") and np.abs(here - there).max() > 10 * self.tolerance:
            fault = "It takes log b, but does not weight with p/b"
            severity: Severity = "wrong"
            if off == loss == "KL(p||q)":
                fault = "Its gradient is weighted with p/b, and its value is not"
                grave: dict[str | None, Severity] = {None: "surprising", "loss": "note"}
                severity = grave.get(self.report.use, "wrong")
            facts = {"fault": fault, "on_policy": here[0], "off_policy": there[0]}
            self.report.add("off-policy-uncorrected", severity, **facts)
        if off != loss:
            names = {"there": _named(off), "here": _named(loss)}
            that = {at: "zero" if name == "0" else f"that of {name}" for at, name in names.items()}
            self.report.add("off-policy-uncorrected.gradient", "note", **that)

    def _weight(self) -> None:
        """Find out how it is weighted, from its slopes and its values off-policy."""
        match = self.match
        if match is None or match.penalty not in ("k1", "k2", "k3", "abs", "k3_inverted"):
            return
        own = _calls.derivative(lambda step: match(LOG_P + step, LOG_Q), 1e-3)
        candidates = {
            "none": own,
            "ratio": match(LOG_P, LOG_Q) - match.offset + own,
            "straight-through": match.scale * (LOG_P - LOG_Q),
        }
        close = max(self.tolerance, 1e-5) * np.array([1, 1 + np.abs(self.slopes).max()])
        ratio = np.exp(LOG_P - LOG_B)
        self.is_weighted = np.allclose(self.stale, ratio * self.values, *close)
        same = (
            name for name, slope in candidates.items() if np.allclose(self.slopes, slope, *close)
        )
        weight = next(same, None)
        if weight == "none":
            weight = "detached" if self.is_weighted else None
        self.report.weight = weight
        if weight is not None:
            self.report.add("weighted" if weight != "straight-through" else weight, "note")

    def clamps(self) -> None:
        """Judge where it is clamped, and whether that stops the gradient."""
        for clamp in self.report.clamps:
            facts = {"at": clamp.at, "value": clamp.value}
            if abs(clamp.at) < _match.ORDINARY:
                self.report.add("clamp-biases", "wrong", **facts)
                continue
            self.report.add("clamp-saturates", "note", **facts)
            beyond = np.array([[clamp.at + math.copysign(0.5, clamp.at)]])
            if not self._slopes(*_match.log_probs(beyond)).any():
                sign, opposite = ("<", ">") if clamp.side == "below" else (">", "<")
                ratio = f"(q/p {opposite} {math.exp(-clamp.at):.4g})"
                where = f"log p - log q {sign} {clamp.at:.4g} {ratio}"
                severity = self._for(None, "loss", severity="surprising")
                self.report.add("clamp-zero-gradient", severity, where=where, **facts)

    def extremes(self) -> None:
        """See what it does at log-ratios where a batch may blow up."""
        arrays = _match.log_probs(_EXTREMES[None], -1.0)
        values = self._values(*arrays, "float32")[0].tolist()
        slopes = (self._slopes(*arrays, "float32")[0] + 0.0).tolist()  # no -0
        self.report.extremes = tuple(zip(_EXTREMES.tolist(), values, slopes, strict=True))
        for x, value, slope in self.report.extremes:
            facts = {"at": x, "value": value, "slope": slope}
            if math.isnan(value):
                self.report.add("nan-value", "wrong", **facts)
            elif math.isnan(slope) and math.isfinite(value):
                self.report.add("nan-gradient", self._for(None, "loss"), **facts)
            elif not (math.isfinite(value) and math.isfinite(slope)):
                severity = self._for("loss", severity="surprising")
                self.report.add("overflow", severity, **facts)

    def precision(self) -> None:
        """See how many digits are left near zero."""
        x = np.concatenate([_SMALL, -_SMALL])[None]
        # float32 is judged at the numbers that it is given, bfloat16 at those before.
        self._digits("float32", 24, _calls.rounded(x - 1.0, 24), np.full_like(x, -1.0))
        self._digits("bfloat16", 8, x - 1.7, np.full_like(x, -1.7))

    @np.errstate(all="ignore")
    def _digits(self, dtype: str, bits: int, logp: Array, logq: Array) -> None:
        match, exact = self.match, self._values(logp, logq)
        if match and all(abs(clamp.at) > 0.2 for clamp in match.clamps):
            exact = match(logp, logq)
        got = self._values(logp, logq, dtype)
        errors = np.where(exact == 0, 0.0, np.abs(got / exact - 1))
        worst = int(np.argmax(errors))
        arrays = {"at": logp - logq, "got": got, "exact": exact}
        facts: dict[str, Any] = {name: array.flat[worst] for name, array in arrays.items()}
        error = float(errors.flat[worst])
        # The gradient is not subtracted from anything: only a value loses its digits.
        read = self.report.use in (None, "value") and dtype == "float32"
        severity: Severity = "surprising" if read and not error <= 0.01 else "note"
        digits = bits * math.log10(2)
        left = min(max(0.0, -math.log10(max(error, 2.0**-bits))), digits)
        if not error <= 1e-4:
            facts |= {"left": left, "digits_lost": digits - left}
            self.report.add(f"precision-{dtype}", severity, **facts)

    def masks(self) -> None:
        """See what masked samples do, and NaN among them to value and gradient."""
        if not self._takes("mask"):
            return
        mask = np.tile([True, True, True, False, False], (len(P), 1))
        values = self._values(LOG_P, LOG_Q, mask=mask)
        if values[~mask].any():
            self.report.add("mask-ignored", "wrong", value=values[~mask][0])
        if not np.allclose(values[mask], self._values(LOG_P, LOG_Q)[mask], 1e-4, 1e-5):
            self.report.add(
                "batch-dependent", "wrong", message="What is masked changes what is not."
            )
        dirty = _arrays(*(np.where(mask, array, np.nan) for array in (LOG_P, LOG_Q)), mask=mask)
        _calls.see_leaks(self.subject, self.report, dirty, "its value", "its gradient")


def _named(divergence: str | None) -> str:
    return divergence or "no divergence that is known"
