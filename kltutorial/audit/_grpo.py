"""The audit of a whole GRPO loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kltutorial import _checks
from kltutorial._arrays import namespace
from kltutorial.audit import _calls, _match
from kltutorial.audit._calls import Array, Arrays, Backend, Subject
from kltutorial.audit._kl import PenaltyAudit
from kltutorial.audit._report import AuditReport, GRPOAuditReport
from kltutorial.grpo import grpo_loss

ARRAYS = ("logp", "logp_old", "logp_ref", "advantages", "mask")
_X = 0.7  # a log-ratio at which penalties differ
# What is said of a penalty by itself, and of one in a loss as well.
_OF_PENALTIES = {
    *("ratio-inverted", "sign-flipped", "offset", "no-gradient", "loss-no-force"),
    *("clamp-biases", "clamp-saturates"),
}


def audit_grpo_loss(
    fn: Callable[..., Any],
    *,
    arguments: Mapping[str, object] | None = None,
    beta: float = 0.5,
    clip: float | tuple[float, float] = 0.2,
    max_length: int = 7,
    backend: Backend | None = None,
) -> GRPOAuditReport:
    r"""Say which GRPO loss a function computes, or where it first differs from all of them.

    It is taken apart by calling it: without advantages only the penalty is left, with the policy
    as its own reference only the policy term.  The weights of the tokens, the clip and the
    penalty are read off, and the whole is then compared with :func:`grpo_loss`, in loss and in
    gradient, on batches that leave nothing out.

    Parameters
    ----------
    fn : callable
        Takes the five arrays ``logp``, ``logp_old``, ``logp_ref`` (samples, tokens),
        ``advantages`` (samples,) and ``mask`` (samples, tokens; boolean), under these names or in
        this order, and, if it has parameters of these names, ``beta``, ``clip`` and
        ``max_length``.  It returns the loss, or a tuple of which it is the first, or an object
        or mapping that has it as ``loss``.
    arguments : mapping of str, optional
        For another signature: what each parameter takes.  The eight names above stand for what
        they say; all else is a constant.
    beta : float
        Weight of the penalty that the function is given, if it can be given one.
    clip : float or (float, float)
        ε, or its lower and upper value, likewise.
    max_length : int
        Tokens that a sample may have, likewise.
    backend : {"numpy", "torch"}, optional
        By default PyTorch if `fn` can't do with NumPy arrays, or its module imports PyTorch, or
        it is annotated with tensors; else NumPy.

    Returns
    -------
    GRPOAuditReport
        With ``.matches``, ``.aggregation``, ``.kl``, ``.weight_kl``, ``.beta``, ``.findings``.

    Raises
    ------
    ValueError
        If `beta` or `clip` is not positive, `max_length` is below 5, `arguments` misses an array,
        or `backend` is unknown.
    TypeError
        If an argument has the wrong type.
    ImportError
        If `backend` is ``"torch"``, and PyTorch is not installed.

    Examples
    --------
    >>> from kltutorial import grpo_loss
    >>> def loss(logp, logp_old, logp_ref, advantages, mask):
    ...     return grpo_loss(logp, logp_old, logp_ref, advantages, mask,
    ...                      beta=0.04, aggregation="bnpo")
    >>> report = audit_grpo_loss(loss)
    >>> print(report.matches, report.aggregation, report.kl, f"{report.beta:.4g}")
    True bnpo k3 0.04

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """
    options: dict[str, Any] = {"beta": beta, "clip": clip, "max_length": max_length}
    _checks.positive_real("beta", beta)
    _checks.integer("max_length", max_length)
    # It raises what else there is to raise: a sample of this batch has five tokens.
    grpo_loss(**_batch(1), aggregation="dr_grpo", **options)
    taken = _calls.taken_by(fn, arguments, ARRAYS, options)
    given = {name: options[name] for name in _calls.words(taken) & set(options)}
    filled = {to: given.get(str(what), what) for to, what in taken.items()}
    report = GRPOAuditReport()
    subject = _calls.begin(report, fn, filled, backend, _batch(0), _loss_of)
    if subject:
        audit = _LossAudit(subject, report, given)
        _calls.look(report, audit.soundness)
        if not {"nan-value", "low-precision", "policy-differs", "raises"} & set(report.codes):
            _calls.look(report, audit.weights, audit.surrogate, audit.penalty)
            _calls.look(report, audit.whole, audit.masks)
    return report


def _loss_of(answer: Any) -> Any:
    """Return the loss, out of what losses are returned in."""
    if isinstance(answer, Mapping) and "loss" in answer:
        return answer["loss"]
    first = answer[0] if isinstance(answer, tuple | list) and answer else answer
    return getattr(answer, "loss", first)


def _batch(seed: int) -> dict[str, Any]:
    """Return a batch with ragged lengths, ratios on both sides of any clip, and both signs."""
    rng = np.random.default_rng(seed)
    size = (1, 1, 10)[seed]  # of the advantages: one that is limited shows
    samples, tokens = 3 + seed, 4 + seed % 2
    shape = samples, tokens
    logp = -rng.uniform(0.2, 3.0, shape)
    return {
        "logp": logp,
        "logp_old": logp + rng.uniform(-0.9, 0.9, shape),
        "logp_ref": logp + rng.uniform(-1.0, 1.0, shape),
        "advantages": size * rng.uniform(0.5, 1.5, samples) * (-1.0) ** np.arange(samples),
        "mask": np.arange(tokens) < tokens - np.arange(samples)[:, None] % tokens,
    }


def _token(advantage: float, stale: float = 0.0, x: float = 0.0) -> dict[str, Any]:
    """Return a batch of one token, with log ratio `stale` and log p - log q = x."""
    one = np.full((1, 1), -1.3)
    arrays = {"logp": one, "logp_old": one - stale, "logp_ref": one - x}
    return {**arrays, "advantages": np.array([float(advantage)]), "mask": np.array([[True]])}


def _policy_weights(subject: Subject, size: float = 1.0, seed: int = 0) -> Array:
    """Return what tokens count in the policy term: by the gradient at fresh samples."""
    batch = _batch(seed)
    batch |= {"logp_old": batch["logp"], "logp_ref": batch["logp"]}
    scores = size * batch["advantages"]
    # What there is of a penalty does not change with the sign of the advantages.
    plus, minus = (subject.slopes({**batch, "advantages": sign * scores}) for sign in (1, -1))
    return (minus - plus) / 2 / batch["advantages"][:, None]


def _reference(step: float, **options: Any) -> Subject:
    """Return `grpo_loss`, to be looked at as the function under audit is."""
    arguments = {name: name for name in ARRAYS} | options
    return Subject(grpo_loss, arguments, _calls.NumPy(), _loss_of, step)


def _close(a: ArrayLike, b: ArrayLike) -> bool:
    """Return whether numbers agree, as far as float32 allows."""
    return bool(np.allclose(a, b, rtol=1e-3, atol=5e-5))


class _LossAudit:
    """One run: each method takes one part of the loss, and notes what it finds.

    `given` are the beta, clip and max_length that the function is given, if it takes them.
    """

    def __init__(self, subject: Subject, report: GRPOAuditReport, given: dict[str, Any]) -> None:
        self.subject = subject
        self.report = report
        self.given = given
        self.options: dict[str, Any] = {}  # of grpo_loss, as they are found out
        self.tokens = np.zeros(())  # what they count in the policy term
        self.unit = 1.0  # what the token of a batch of one counts
        if subject.backend.name == "numpy":
            subject.step = 0.02  # which float32 resolves; at the kinks the reference errs alike

    def _loss(self, batch: Arrays) -> float:
        return float(self.subject.values(batch))

    def _wrong(self, key: str, **facts: Any) -> None:
        self.report.add(key, "wrong", **facts)

    def soundness(self) -> None:
        """See whether it computes exactly, and is linear in the advantages."""
        batches = [_batch(0), _batch(1), _batch(2), {**_batch(0), "advantages": np.zeros(3)}]
        losses = np.array([self._loss(batch) for batch in batches])
        if not np.isfinite(losses[:3]).all():
            self._wrong("nan-value")
        elif not np.isfinite(losses[3]):
            self._wrong("nan-value", message="Without advantages the loss is NaN.")
        if np.ptp(losses) > 0 and _match.is_half(losses):
            self._wrong("low-precision")
        once, twice = (_policy_weights(self.subject, size) for size in (1.0, 2.0))
        if not _close(twice, 2 * once):
            self._wrong("policy-differs", message="It normalises the advantages, or limits them.")

    def weights(self) -> None:
        """Read off what each token counts: which aggregation it is."""
        weights, mask = _policy_weights(self.subject), _batch(0)["mask"]
        if not _close(weights[~mask], 0):
            self._wrong("mask-ignored")
        self.tokens = np.where(mask, np.abs(weights), 0)
        if np.abs(weights).max() <= 1e-5:
            self._wrong("no-gradient", message="No gradient flows through the policy term.")
            return
        if weights.sum() < 0:
            self._wrong("policy-sign")
        for aggregation in ("grpo", "bnpo"):
            reference = _reference(self.subject.step, beta=0.0, aggregation=aggregation)
            if _close(self.tokens, _policy_weights(reference)):
                self.report.aggregation = self.options["aggregation"] = aggregation
                return
        # Shorter than the samples it can be no maximum: the sum is divided by less.
        each = self.tokens[mask]
        length = 1 / (len(mask) * max(float(each[0]), 1e-9))
        if not _close(each, each[0]) or abs(length - round(length)) > 1e-3 * length or length < 3.5:
            counts, lengths = _first_column(self.tokens), ", ".join(map(str, mask.sum(axis=1)))
            self._wrong("aggregation-differs", counts=counts, lengths=lengths)
            return
        other = _policy_weights(self.subject, seed=1)[0, 0]
        self.report.aggregation = "dr_grpo"
        self.options |= {"aggregation": "dr_grpo", "max_length": round(length)}
        if round(length) == mask.shape[1] and not _close(abs(other) * 4 * length, 1):
            self.options["max_length"] = None
            self.report.add("padded-length", "surprising")
        elif round(length) != self.given.get("max_length", round(length)):
            self._wrong(
                "aggregation-differs", message=f"It divides by {length:.0f} tokens per sample."
            )

    def surrogate(self) -> None:
        """Read off the policy term of one token, as a multiple of the advantage."""
        # By the pull on a fresh token, which a loss without a ratio has as well.
        one = float((self.subject.slopes(_token(0)) - self.subject.slopes(_token(1)))[0, 0])
        self.unit = abs(one) if abs(one) > 1e-5 else 1.0

        def term(stale: float, advantage: int) -> float:
            difference = self._loss(_token(0, stale)) - self._loss(_token(advantage, stale))
            return difference / advantage / math.copysign(self.unit, one)

        far = math.exp(3.0)
        up, down, free_up, free_down = term(3, 1), term(-3, -1), term(3, -1), term(-3, 1)
        counts = {"up": up, "down": down, "free_up": free_up, "free_down": free_down}
        if _close([up, free_up], [down, free_down]):
            self._wrong(
                "policy-differs", message="It does not depend on logp_old: there is no ratio."
            )
        elif not _close([free_up, free_down], [far, 1 / far]):
            self._wrong("policy-differs", **counts)
        elif _close(up, far) or _close(down, 1 / far):
            self._wrong("clip-differs", message="It does not clip the ratio, above or below.")
        else:
            low, high = round(1 - down, 4), round(up - 1, 4)
            self.options["clip"] = low, high
            if not _close((low, high), np.broadcast_to(self.given.get("clip", (low, high)), 2)):
                self._wrong("clip-differs", low=low, high=high)

    def penalty(self) -> None:
        """Audit the penalty of one token: there is nothing else without an advantage."""
        zero, far, old = (self._loss(_token(0, *at)) for at in ((0, 0), (0, _X), (_X, _X)))
        if zero == far:
            if old or "beta" in self.given:
                self._wrong("kl-differs", message="The penalty does not depend on logp_ref.")
            self.report.beta = 0.0 if zero == 0 else math.nan
            return
        roles = {name: name for name in ("logp", "logq", "logb")}
        found = AuditReport(use="loss")
        audit = PenaltyAudit(Subject(self._inside, roles, self.subject.backend), found)
        audit.expectations()
        audit.clamps()
        if audit.match is None:
            self._wrong("kl-differs", message="The penalty of a token is none that is known.")
            return
        for each in found.findings:
            if each.code in _OF_PENALTIES:
                self.report.add(each.code, each.severity, message=each.message, **each.numbers)
        beta = float(f"{abs(audit.match.scale):.8g}")  # a quotient of sums: not the last digits
        self.report.kl = "-" * (audit.match.scale < 0) + audit.match.penalty
        self.report.beta, self.report.weight_kl = beta, audit.is_weighted
        self.options |= {"kl": self.report.kl, "weight_kl": audit.is_weighted}
        if not _close(beta, self.given.get("beta", beta)):
            self._wrong("kl-differs", beta=beta)
        if found.weight != ("ratio" if audit.is_weighted else None):
            self.report.add("straight-through", "surprising")
        self._penalty_weights()

    def _inside(self, logp: Any, logq: Any, logb: Any) -> Any:
        """Return the penalty that is inside the loss, of each token as a batch of its own."""
        xp, rest = namespace(logp), self.subject.inputs(_token(0))
        flat = (xp.reshape(array, (-1, 1, 1)) for array in (logp, logq, logb))
        losses = [
            self.subject.run(rest | {"logp": p, "logp_ref": q, "logp_old": b})
            for p, q, b in zip(*flat, strict=True)
        ]
        return xp.stack(losses).reshape(logp.shape) / self.unit

    def _penalty_weights(self) -> None:
        """See whether the penalty is averaged as the policy term is."""
        slope = self.subject.slopes(_token(0, x=_X))[0, 0] / self.unit
        batch = _batch(0) | {"advantages": np.zeros(3)}
        batch |= {"logp_old": batch["logp"], "logp_ref": batch["logp"] - _X}
        counts = self.subject.slopes(batch)
        if not _close(counts[~batch["mask"]], 0):
            self._wrong("mask-ignored.penalty")
        elif self.report.aggregation and not _close(counts, slope * self.tokens):
            self._wrong(
                "aggregation-differs", message="The penalty has another than the policy term."
            )

    def whole(self) -> None:
        """Compare loss and gradient with those of the loss that the parts make up."""
        report = self.report
        if set(report.wrong) - {"loss-no-force"} or "straight-through" in report.codes:
            return
        if report.kl == "k2" and report.weight_kl:
            said = "The gradient of k2 times the ratio is that of E[k2]."
            self._wrong("loss-other-divergence", message=said)
            return
        if report.kl not in (None, "k1", "k2", "k3"):
            self._wrong(
                "kl-differs", message=f"The penalty is {report.kl}, which grpo_loss does not have."
            )
            return
        for batch in map(_batch, range(3)):
            options = {**self.options, "beta": report.beta}
            if options.get("max_length", 0) is None:
                options["max_length"] = batch["mask"].shape[1]
            reference = _reference(self.subject.step, **options)
            theirs, ours = self._loss(batch), float(reference.values(batch))
            bend = np.abs(self.subject.slopes(batch) - reference.slopes(batch)).max()
            if not (_close(theirs, ours) and bend <= 1e-3):
                self._wrong("policy-differs", theirs=theirs, ours=ours, bend=bend)
                return
        report.matches = True
        written = ", ".join(f"{name} {value}" for name, value in options.items())
        report.add("implements", "note", options=written)

    def masks(self) -> None:
        """See whether NaN that are masked reach the loss."""
        batch = _batch(0)
        for name in ("logp", "logp_old", "logp_ref"):
            batch[name] = np.where(batch["mask"], batch[name], np.nan)
        what = "the loss or its gradient"
        _calls.see_leaks(self.subject, self.report, batch, what, what)


def _first_column(weights: Array) -> str:
    return ", ".join(f"{row[0]:.4g}" for row in weights)
