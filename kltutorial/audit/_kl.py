"""The audit of a per-sample penalty."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from kltutorial import _checks
from kltutorial._checks import FloatArray
from kltutorial.audit._calls import (
    Backend,
    Inquiry,
    Refused,
    Subject,
    check_options,
    connect,
    misbehaviour,
    to_bfloat16,
    words,
)
from kltutorial.audit._match import (
    GRID,
    KNOWN,
    ORDINARY,
    B,
    Match,
    P,
    Q,
    closest,
    express,
    gradient_basis,
    identify,
    log_probs,
    mean_gradient,
    value_basis,
)
from kltutorial.audit._report import AuditReport, Finding, Severity
from kltutorial.gradients import _PENALTIES

Use = Literal["value", "loss", "reward"]
_BY_ORDER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME = inspect.Parameter.KEYWORD_ONLY
ROLES = ("logp", "logq", "logb", "mask")
_EXTREMES = np.array([-100.0, -50.0, -20.0, 20.0, 50.0, 100.0])
_SMALL = np.array([0.1, 0.01, 0.001, 0.0001])
_EPS = {"float32": 2.0**-24, "bfloat16": 2.0**-9}  # relative error of one rounding


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
        If `arguments` does not name both log-probabilities, `use` or `backend` is unknown, or
        PyTorch is asked for and not installed.
    TypeError
        If `arguments` is not a mapping.

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
    check_options(arguments, backend, ("logp", "logq"))
    name = getattr(fn, "__qualname__", type(fn).__name__)
    asked = ("logp", "logq") if arguments is None else words(arguments)
    roles = [role for role in ROLES if role in asked]
    try:
        probe = _with_roles({"logp": np.log(P), "logq": np.log(Q)}, roles)
        subject = connect(fn, arguments or _by_name(fn), backend, probe)
    except Refused as refused:
        finding = Finding(refused.code, "wrong", str(refused))
        return AuditReport(name, None, (finding,), use=use)
    return _PenaltyAudit(subject, roles, use).report(name)


def _by_name(fn: object) -> dict[str, object] | None:
    """Return the parameters of a function that has ``logp`` and ``logq``, in whatever order."""
    try:
        parameters = inspect.signature(fn).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no function, or one written in C
        return None
    named = {each.name for each in parameters if each.kind in (_BY_ORDER, _BY_NAME)}
    return {"logp": "logp", "logq": "logq"} if {"logp", "logq"} <= named else None


def _with_roles(arrays: dict[str, Any], roles: list[str]) -> dict[str, Any]:
    """Add what the function takes besides: samples of p itself, and all of them count."""
    defaults = {"logb": arrays["logp"], "mask": np.ones(arrays["logp"].shape, dtype=np.bool_)}
    return {role: (defaults | arrays)[role] for role in roles}


class _PenaltyAudit(Inquiry):
    """One run: each method looks at one aspect, and notes what it finds."""

    def __init__(self, subject: Subject, roles: list[str], use: Use | None) -> None:
        super().__init__(subject)
        self.roles = roles
        self.use = use
        self.facts: dict[str, Any] = {}
        self.match: Match | None = None
        self.tolerance = 1e-6
        self.step = 1e-3

    def report(self, name: str) -> AuditReport:
        """Look at everything."""
        findings = self.look(
            self._behaviour,
            self._alone,
            self._identity,
            self._value,
            self._gradients,
            self._clamps,
            self._extremes,
            self._precision,
            self._masks,
        )
        backend = self.subject.backend.name
        return AuditReport(name, backend, findings, use=self.use, **self.facts)

    def _arrays(self, logp: FloatArray, logq: FloatArray, **more: FloatArray) -> dict[str, Any]:
        return _with_roles({"logp": logp, "logq": logq, **more}, self.roles)

    def _values(self, logp: FloatArray, logq: FloatArray, **more: FloatArray) -> FloatArray:
        return self.subject.values(self._arrays(logp, logq, **more))

    def _slopes(self, logp: FloatArray, logq: FloatArray, **more: FloatArray) -> FloatArray:
        return self.subject.slopes(self._arrays(logp, logq, **more), step=self.step)

    def _behaviour(self) -> None:
        arrays = self._arrays(np.log(P), np.log(Q))
        for code, message in misbehaviour(self.subject, arrays):
            self.add(code, "wrong", message)

    def _alone(self) -> None:
        arrays = self._arrays(np.log(P), np.log(Q))
        once = self.subject.values(arrays)
        alone = self.subject.values({name: array[:1, :1] for name, array in arrays.items()})
        if not np.allclose(alone, once[:1, :1], rtol=1e-4, atol=1e-5, equal_nan=True):
            self.add(
                "batch-dependent",
                "wrong",
                f"The penalty of a sample is {once[0, 0]:.4g} among others and "
                f"{alone[0, 0]:.4g} alone.",
                together=float(once[0, 0]),
                alone=float(alone[0, 0]),
            )

    def _identity(self) -> None:
        self.match = match = identify(self._values)
        if match is None:
            values = self._values(*log_probs(GRID[None]).values())[0]
            name, distance = closest(values)
            self.facts["closest"] = name
            self.add(
                "unknown-estimator",
                "surprising",
                f"It is none of the penalties that the audit knows; the closest is {name}, from "
                f"which it differs by up to {distance:.3g} for |log p - log q| <= {ORDINARY:g}.",
                distance=distance,
            )
            return
        if not match.exact:  # it computes in float32, whatever it is given
            self.tolerance, self.step = 2e-3, 0.02
        if match.coarse:
            self.tolerance, self.step = 2e-2, 0.2
            self.add(
                "low-precision",
                "wrong",
                "It computes, or returns, less than float32, whatever it is given.",
            )
        self.facts["estimator"] = match.label
        self.facts["clamps"] = match.clamps
        if match.weighted_by:
            self.add(
                "probability-weighted",
                "wrong",
                f"Each sample is multiplied by its probability under {match.weighted_by}, as in "
                "an exact sum over all outcomes.  Samples of p have that weight already.",
            )
            return
        if match.penalty == "k3_inverted" and match.scale > 0:
            at = float(KNOWN["k3_inverted"][0](np.ones(1))[0])
            self.add(
                "ratio-inverted",
                "wrong",
                f"It is {KNOWN['k3_inverted'][1]}: k3 with p/q in place of q/p.  At log p - log q "
                f"= 1 it is {at:.4f}, and k3 {math.exp(-1):.4f}.  It would be right for samples "
                "of the second argument.",
                got=at,
                k3=math.exp(-1),
            )
        if match.scale < 0:
            self.add(
                "sign-flipped",
                "wrong",
                f"It is {match.label}, with the sign reversed: minimised, it drives p away from q. "
                "Either the two arguments are exchanged, or the sign is.",
                scale=match.scale,
            )
        elif abs(match.scale - 1) > 1e-4:
            bits = " The factor 1/log 2 makes it bits." if _is_bits(match.scale) else ""
            self.add(
                "wrong-scale",
                "wrong",
                f"It is {match.scale:.4g} times {match.penalty}, {KNOWN[match.penalty][1]}.{bits}",
                scale=match.scale,
            )
        if match.offset:
            self.add(
                "offset",
                "wrong",
                f"It is {match.label}: at log p = log q it returns {match.offset:.4g}, and should "
                "return 0.",
                offset=match.offset,
            )

    def _value(self) -> None:
        values = self._values(np.log(P), np.log(Q))
        means = (P * values).sum(axis=1)
        exact = value_basis()["KL(p||q)"]
        self.facts["value_of"] = name = express(means, value_basis(), self.tolerance)
        got, wanted = float(means[0]), float(exact[0])
        example = f"on one pair of policies the mean is {got:.4f}, and KL(p||q) {wanted:.4f}"
        mean = "no divergence that is known" if name is None else name
        known = self.facts.get("estimator") or "not a known penalty"
        formula = "" if self.match is None else f", {KNOWN[self.match.penalty][1]}"
        if self.match is not None and self.match.label != self.match.penalty:
            formula = ""
        where = "that is KL(first || second)" if name == "KL(p||q)" else "where q is the second"
        self.add(
            "identified",
            "note",
            f"It is {known}{formula}.  Samples come from the first argument, p, and the mean is "
            f"{mean}, {where}.",
            mean=got,
            kl=wanted,
        )
        if name == "KL(p||q)":
            return
        numbers = {"mean": got, "kl": wanted, "bias": got - wanted}
        if name == "-KL(p||q)":
            self.add(
                "sign-flipped", "wrong", f"The mean has the sign reversed: {example}.", **numbers
            )
        if name in ("KL(q||p)", "JS(p,q)", "H2(p,q)", "chi2(p||q)", "chi2(q||p)"):
            self.add(
                "other-divergence",
                "surprising",
                f"The mean is {name}, not KL(p||q): {example}.",
                **numbers,
            )
            return
        explained = self.codes & {"ratio-inverted", "sign-flipped", "wrong-scale", "offset"}
        severity: Severity = "wrong"
        if explained or self.use in ("loss", "reward"):
            severity = "note"
        elif name == "E[k2]":
            severity = "surprising" if self.use == "value" else "note"
        elif name == "E[|k1|]":
            severity = "wrong" if self.use == "value" else "surprising"
        self.add(
            "value-biased", severity, f"The mean is {mean}, not KL(p||q): {example}.", **numbers
        )

    def _gradients(self) -> None:
        logp, logq, logb = np.log(P), np.log(Q), np.log(B)
        slopes, values = self._slopes(logp, logq), self._values(logp, logq)
        stale = self._values(logp, logq, logb=logb)
        gradients = (
            mean_gradient(P, slopes),
            mean_gradient(P, values),
            mean_gradient(B, self._slopes(logp, logq, logb=logb)),
            mean_gradient(B, stale),
        )
        tolerance = self.tolerance
        loss, reward, off, off_reward = (
            express(gradient, gradient_basis(index > 1), tolerance)
            for index, gradient in enumerate(gradients)
        )
        pulls = [_pull(gradient) for gradient in gradients]
        self.facts |= {"loss_gradient_of": loss, "reward_gradient_of": reward}
        self.facts |= {"off_policy_gradient_of": off, "off_policy_reward_gradient_of": off_reward}
        self._weight(slopes)

        if not self.subject.carries_gradient(self._arrays(logp, logq)):
            self.add(
                "no-gradient",
                "wrong" if self.use == "loss" else "note",
                "No gradient flows from what it returns to log p: good for a value or a reward, "
                "without effect as a loss.",
            )
        elif loss == "0":
            self.add(
                "loss-no-force",
                "wrong" if self.use == "loss" else "note",
                "As a loss its expected gradient is zero: it does not hold p near q.",
                pull=pulls[0],
            )
        elif loss != "KL(p||q)":
            repels = loss is not None and loss.startswith("-")
            self.add(
                "loss-other-divergence",
                ("wrong" if repels or loss is None else "surprising")
                if self.use == "loss"
                else "note",
                f"As a loss it has the gradient of {_named(loss)}, not of KL(p||q).  "
                f"{_strength(pulls[0])}",
                pull=pulls[0],
            )
        if reward != "KL(p||q)":
            self.add(
                "reward-other-divergence",
                "wrong" if self.use == "reward" else "note",
                f"In the reward it has the gradient of {_named(reward)}, not of KL(p||q).  "
                f"{_strength(pulls[1])}"
                + ("  Near p = q the two forces cancel." if reward in _CANCELLING else ""),
                pull=pulls[1],
            )
        if "logb" in self.roles:
            here, there = (P * values).sum(axis=1), (B * stale).sum(axis=1)
            if np.abs(here - there).max() > 10 * tolerance:
                numbers = {"on_policy": float(here[0]), "off_policy": float(there[0])}
                means = (
                    f"on one pair of policies its mean is {here[0]:.4f} on samples of p and "
                    f"{there[0]:.4f} on those of b."
                )
                if off == loss == "KL(p||q)":
                    severity: dict[Use | None, Severity] = {None: "surprising", "loss": "note"}
                    self.add(
                        "off-policy-uncorrected",
                        severity.get(self.use, "wrong"),
                        f"Its gradient is weighted with p/b, and its value is not: {means}",
                        **numbers,
                    )
                else:
                    self.add(
                        "off-policy-uncorrected",
                        "wrong",
                        f"It takes log b, but does not weight with p/b: {means}",
                        **numbers,
                    )
        if off != loss:
            self.add(
                "off-policy-uncorrected",
                "note",
                f"As a loss on samples of another policy b its gradient is {_gradient_of(off)}, "
                f"on samples of p {_gradient_of(loss)}: it does not weight them with p/b.",
                on_policy=pulls[0],
                off_policy=pulls[2],
            )

    def _weight(self, slopes: FloatArray) -> None:
        """Find out how the penalty is weighted, from its slopes and its values off-policy."""
        match = self.match
        if match is None or match.weighted_by or match.penalty not in _PENALTIES:
            return
        logp, logq, logb = np.log(P), np.log(Q), np.log(B)
        x = logp - logq
        _, slope, both = (match.scale * f(x) for f in _PENALTIES[match.penalty])
        close = max(self.tolerance, 1e-5) * (1 + np.abs(slopes).max())

        def is_slope(candidate: FloatArray) -> bool:
            return bool(np.abs(slopes - candidate).max() <= close)

        weighted = "logb" in self.roles and np.allclose(
            self._values(logp, logq, logb=logb),
            np.exp(logp - logb) * self._values(logp, logq),
            rtol=max(self.tolerance, 1e-5),
            atol=close,
        )
        weight = None
        if is_slope(slope):
            weight = "detached" if weighted else None
        elif is_slope(both):
            weight = "ratio"
        elif is_slope(match.scale * x):
            weight = "straight-through"
        self.facts["weight"] = weight
        if weight == "straight-through":
            self.add(
                "straight-through",
                "note",
                f"Its value is that of {match.label}, its gradient that of k2: the one is put in "
                "the place of the other.",
            )
        elif weight == "ratio" and match.penalty == "k3":
            self.add(
                "weighted",
                "note",
                "On samples of p its gradient is that of k2: so it is where the weight p/b is "
                "differentiated along with k3, or the gradient of k2 put in the place of its own.",
            )
        elif weight is not None:
            how = "differentiated too" if weight == "ratio" else "held fixed"
            self.add("weighted", "note", f"It has the importance weight p/b, which is {how}.")

    def _clamps(self) -> None:
        for clamp in self.facts.get("clamps", ()):
            numbers = {"at": clamp.at, "value": clamp.value}
            ratio = f"q/p {'>' if clamp.side == 'below' else '<'} {_exp(-clamp.at)}"
            where = (
                f"log p - log q {'<' if clamp.side == 'below' else '>'} {clamp.at:.4g} ({ratio})"
            )
            if abs(clamp.at) < ORDINARY:
                self.add(
                    "clamp-biases",
                    "wrong",
                    f"It is {clamp.value:.4g} and no longer follows its formula where {where}, "
                    "which ordinary samples reach: the mean is biased.",
                    **numbers,
                )
                continue
            self.add(
                "clamp-saturates",
                "note",
                f"It does not follow its formula where {where}: there it is {clamp.value:.4g}.",
                **numbers,
            )
            beyond = np.array([[clamp.at + (-0.5 if clamp.side == "below" else 0.5)]])
            if self._slopes(*log_probs(beyond).values())[0, 0] == 0:
                self.add(
                    "clamp-zero-gradient",
                    "note" if self.use in ("value", "reward") else "surprising",
                    f"Its gradient is exactly 0 where {where}: the samples that drifted most are "
                    "no longer pulled back.",
                    **numbers,
                )

    def _extremes(self) -> None:
        arrays = self._arrays(*log_probs(_EXTREMES[None], -1.0).values())
        values = self.subject.values(arrays, "float32")[0]
        slopes = self.subject.slopes(arrays, "float32", step=self.step)[0] + 0.0  # no -0
        table = list(zip(_EXTREMES.tolist(), values.tolist(), slopes.tolist(), strict=True))
        self.facts["extremes"] = tuple(table)
        differentiable = self.use not in ("value", "reward")
        for x, value, slope in table:
            where = f"At log p - log q = {x:g} in float32"
            numbers = {"at": x, "value": value, "slope": slope}
            if math.isnan(value):
                self.add("nan-value", "wrong", f"{where} it is NaN.", **numbers)
            elif math.isnan(slope) and math.isfinite(value):
                self.add(
                    "nan-gradient",
                    "wrong" if differentiable else "note",
                    f"{where} its value is {value:.4g} and its gradient NaN: an exponential has "
                    "overflowed before it was clamped.",
                    **numbers,
                )
            elif math.isfinite(value) and self._formula(x) > max(3.5e38, 2 * value):
                self.add(
                    "overflow",
                    "surprising",
                    f"{where} it returns {value:.4g}, where its formula gives "
                    f"{self._formula(x):.4g}: what overflowed was replaced.",
                    **numbers,
                )
            elif not (math.isfinite(value) and math.isfinite(slope)):
                self.add(
                    "overflow",
                    "surprising" if self.use == "loss" else "note",
                    f"{where} its value is {value:.4g} and its gradient {slope:.4g}.",
                    **numbers,
                )

    def _formula(self, x: float) -> float:
        """Return what the penalty should be at x; 0 where that is not known, or it is clamped."""
        match = self.match
        sides = [clamp.side for clamp in self.facts.get("clamps", ())]
        if match is None or match.weighted_by or ("below" if x < 0 else "above") in sides:
            return 0.0
        return float(match(np.array([x]))[0])

    def _precision(self) -> None:
        rows = [*self._near_zero("float32"), *self._near_zero("bfloat16")]
        self.facts["precision"] = tuple(rows)
        for dtype in ("float32", "bfloat16"):
            lost = [
                (x, got, exact, abs(got - exact) / abs(exact))
                for kind, x, got, exact in rows
                if kind == dtype and exact and not abs(got - exact) <= 1e-4 * abs(exact)
            ]
            if not lost:
                continue
            x, got, exact, error = max(lost, key=lambda row: row[3])
            # The gradient is not subtracted from anything: only a value loses its digits.
            read = self.use in (None, "value")
            grave = read and dtype == "float32" and (error > 0.01 or math.isnan(error))
            digits = -math.log10(_EPS[dtype])
            left = min(max(0, -math.log10(max(error, _EPS[dtype]))), digits)
            sign = "  A penalty that can't be negative is." if got < 0 < exact and grave else ""
            why = "  The log-probabilities themselves were rounded." if dtype == "bfloat16" else ""
            self.add(
                f"precision-{dtype}",
                "surprising" if grave else "note",
                f"In {dtype}, at log p - log q = {x:.4g} it returns {got:.3g} and should return "
                f"{exact:.3g}: {left:.0f} of {digits:.0f} digits are left.{sign}{why}",
                at=x,
                got=got,
                exact=exact,
                relative_error=error,
                digits_lost=digits - left,
            )

    def _near_zero(self, dtype: str) -> list[tuple[str, float, float, float]]:
        """Return what the function gives near zero, and what it should give."""
        x = np.concatenate([_SMALL, -_SMALL])[None]
        logq = np.full_like(x, -1.0 if dtype == "float32" else -1.7)
        logp = logq + x
        if dtype == "float32":  # judged at the numbers that it was given
            logp = logp.astype(np.float32).astype(np.float64)
            x = logp - logq
        else:  # judged at the numbers before they were rounded
            rounded = self._arrays(to_bfloat16(logp), to_bfloat16(logq))
        got = self.subject.values(
            self._arrays(logp, logq) if dtype == "float32" else rounded, dtype
        )
        match = self.match
        follows = (
            match is not None
            and not match.weighted_by
            and not np.any([abs(clamp.at) < 0.2 for clamp in match.clamps])
        )
        exact = match(x) if match is not None and follows else self._values(logp, logq)
        return [
            (dtype, *row)
            for row in zip(x[0].tolist(), got[0].tolist(), exact[0].tolist(), strict=True)
        ]

    def _masks(self) -> None:
        if "mask" not in self.roles:
            return
        clean = self._arrays(np.log(P), np.log(Q))
        mask = np.ones(P.shape, dtype=np.bool_)
        mask[:, 3:] = False
        values = self.subject.values({**clean, "mask": mask})
        if np.any(values[~mask] != 0):
            self.add(
                "mask-ignored",
                "wrong",
                f"Where the mask is False it returns {values[~mask][0]:.4g}, and should return 0.",
                value=float(values[~mask][0]),
            )
        unmasked = self.subject.values(clean)
        if not np.allclose(values[mask], unmasked[mask], rtol=1e-4, atol=1e-5, equal_nan=True):
            self.add(
                "batch-dependent",
                "wrong",
                f"The penalty of a sample is {unmasked[0, 0]:.4g} where all count and "
                f"{values[0, 0]:.4g} where others are masked.",
                together=float(unmasked[0, 0]),
                masked=float(values[0, 0]),
            )
        dirty = {
            name: np.where(mask, array, np.nan) if name != "mask" else mask
            for name, array in clean.items()
        }
        try:
            leaked = np.isnan(self.subject.values(dirty))
            sloped = np.isnan(self.subject.slopes(dirty, step=self.step))
        except Refused as refused:
            self.add("mask-leak", "surprising", f"NaN where the mask is False: {refused}")
            return
        for what, where in (("value", leaked), ("gradient", sloped)):
            if where.any():
                self.add(
                    "mask-leak",
                    "surprising",
                    f"NaN where the mask is False makes its {what} NaN: 0 times NaN is NaN.  "
                    "Replace what is masked before it is used.",
                    entries=int(where.sum()),
                )


_CANCELLING = ("KL(p||q) - KL(q||p)", "E[k2] - KL(p||q)")


def _pull(gradient: FloatArray) -> float:
    """Return the part of the gradient along that of KL(p || q), on the first pair of policies."""
    wanted = gradient_basis(False)["KL(p||q)"][0]
    return float(gradient[0] @ wanted / (wanted @ wanted)) + 0.0


def _strength(pull: float) -> str:
    where = "On one pair of policies"
    if pull < 0:
        return f"{where} it pushes p away from q, with {-pull:.2g} times the pull of KL(p||q)."
    return f"{where} it has {pull:.3g} times the pull of KL(p||q)."


def _named(divergence: str | None) -> str:
    return "no divergence that is known" if divergence is None else divergence


def _gradient_of(divergence: str | None) -> str:
    return "zero" if divergence == "0" else f"that of {_named(divergence)}"


def _is_bits(scale: float) -> bool:
    return abs(scale - 1 / math.log(2)) < 1e-4


def _exp(x: float) -> str:
    return f"{math.exp(x):.4g}"
