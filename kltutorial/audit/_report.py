"""What an audit says: findings, the codes that they may have, and the reports that hold them."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Severity = Literal["wrong", "surprising", "note"]
SEVERITIES: tuple[Severity, ...] = ("wrong", "surprising", "note")

_K3 = "three_estimators.ipynb#k3-add-something-whose-mean-is-zero"
_K2 = "three_estimators.ipynb#k2-square-it"
_CHECK = "choosing.ipynb#check-an-implementation"
_OWN = "checking.ipynb#your-own-in-one-line"
_DIGITS = "choosing.ipynb#where-the-digits-go"
_OVERFLOW = "choosing.ipynb#when-the-exponential-overflows"
_CLAMP = "choosing.ipynb#a-clamp-that-lets-go"
_MASK = "choosing.ipynb#zero-times-nan"
_TABLE = "gradients.ipynb#the-table"
_STALE = "sequences.ipynb#stale-samples-two-kinds-of-weights"
_AVERAGE = "grpo.ipynb#four-ways-to-average"
_GRPO = "grpo.ipynb#as-printed"
_BATCH = "checking.ipynb#exercises"
_LEASH = "gradients.ipynb#why-it-runs-away"
_FLOOR = "choosing.ipynb#the-floor-of-bfloat16"
_CLIP = "grpo.ipynb#the-clip-an-incentive-not-a-wall"

# Of each code, what it means and where the book explains it.
_CODES: dict[str, tuple[str, str]] = {
    # The function can't be audited.
    "not-callable": ("what was given is not a function", _OWN),
    "wrong-arity": ("the function does not take the arguments that it is given", _OWN),
    "raises": ("the function raises an error", _OWN),
    "wrong-type": ("the function returns something else than real numbers", _OWN),
    "wrong-shape": ("the function does not return one number per sample", _OWN),
    # It is not a function of its arguments, sample by sample.
    "mutates-input": ("the function changes the arrays it is given", _OWN),
    "not-deterministic": ("the same input gives different output", _OWN),
    "batch-dependent": ("the penalty of a sample depends on the other samples", _BATCH),
    # What it is.
    "identified": ("which penalty it is, of which divergence, in which direction", _K3),
    "unknown-estimator": ("none of the penalties that the audit knows", _CHECK),
    "ratio-inverted": ("k3 with p/q in place of q/p", "checking.ipynb#the-ratio-upside-down"),
    "sign-flipped": ("a penalty with the sign reversed", "three_estimators.ipynb"),
    "wrong-scale": ("a penalty times a constant, as k2 without its half", _K2),
    "offset": ("a penalty plus a constant, as k3 without its −1", _K3),
    "probability-weighted": ("a term of the exact sum, used as if it were a sample", _CHECK),
    "weighted": ("the penalty is multiplied with an importance weight", _STALE),
    "straight-through": ("the value is of one penalty, the gradient of another", _TABLE),
    # The mean of its values.
    "value-biased": ("the mean is no KL divergence", _K2),
    "other-divergence": ("the mean is a divergence, but not KL(p||q)", "fdivergences.ipynb"),
    # Its gradient.
    "no-gradient": ("no gradient flows from the output to log p", _TABLE),
    "loss-no-force": ("as a loss, the expected gradient is zero", _TABLE),
    "loss-other-divergence": ("as a loss, the gradient is not that of KL(p||q)", _TABLE),
    "reward-other-divergence": ("in the reward, the gradient is not that of KL(p||q)", _LEASH),
    "off-policy-uncorrected": ("on stale samples, value or gradient are others", _STALE),
    # Far from zero, and near it.
    "clamp-biases": ("a clamp acts at ordinary log-ratios", _CLAMP),
    "clamp-saturates": ("a clamp acts at large log-ratios", _CLAMP),
    "clamp-zero-gradient": ("beyond the clamp the gradient is exactly zero", _CLAMP),
    "nan-value": ("the value is NaN", _OVERFLOW),
    "nan-gradient": ("the gradient is NaN", _OVERFLOW),
    "overflow": ("the value or its gradient is infinite", _OVERFLOW),
    "low-precision": ("it computes, or returns, less than float32, whatever it is given", _DIGITS),
    "precision-float32": ("digits lost near zero in float32", _DIGITS),
    "precision-bfloat16": ("digits lost near zero in bfloat16", _FLOOR),
    "mask-leak": ("masked NaN reach the value or the gradient", _MASK),
    "mask-ignored": ("masked samples are not left out", _MASK),
    # Whole losses.
    "implements": ("which GRPO loss it is", _GRPO),
    "policy-sign": ("the loss makes good answers less likely", _GRPO),
    "policy-differs": ("the policy term is not the clipped surrogate", _GRPO),
    "aggregation-differs": (
        "tokens are weighted as in no aggregation that the audit knows",
        _AVERAGE,
    ),
    "padded-length": ("tokens are averaged over the padding too", _AVERAGE),
    "clip-differs": ("the clip acts elsewhere than it should", _CLIP),
    "kl-differs": ("the penalty term is not β times that of the loss it was compared with", _GRPO),
}

AUDIT_CODES: Mapping[str, str] = MappingProxyType({code: row[0] for code, row in _CODES.items()})
"""What each code of a finding means."""


# What findings say, if it is more than what their code means; after a dot, in another case.
_MESSAGES = {
    "batch-dependent": "The penalty of a sample is {among:.4g} among others and {alone:.4g} alone.",
    "identified": "It is {known}.  Samples come from the first argument, p, and the mean is "
    "{mean}, {where}.",
    "ratio-inverted": "It is p/q - 1 - log(p/q): k3 with p/q in place of q/p.  At log p - log q = "
    "1 it is 0.7183, and k3 0.3679.  It would be right for samples of the second argument.",
    "value-biased": "The mean is {mean}, not KL(p||q): on one pair of policies the mean is "
    "{got:.4f}, and KL(p||q) {wanted:.4f}.",
    "loss-no-force": "As a loss its expected gradient is zero: it does not hold p near q.",
    "loss-other-divergence": "As a loss it has the gradient of {name}, not of KL(p||q).  On one "
    "pair of policies it {pulls} the pull of KL(p||q).",
    "reward-other-divergence": "In the reward it has the gradient of {name}, not of KL(p||q).  On "
    "one pair of policies it {pulls} the pull of KL(p||q).{remark}",
    "off-policy-uncorrected": "{fault}: on one pair of policies its mean is {on_policy:.4f} on "
    "samples of p and {off_policy:.4f} on those of b.",
    "off-policy-uncorrected.gradient": "As a loss on samples of another policy b its gradient is "
    "{there}, on samples of p {here}: it does not weight them with p/b.",
    "clamp-zero-gradient": "Its gradient is exactly 0 where {where}: the samples that drifted most "
    "are no longer pulled back.",
    "nan-gradient": "At log p - log q = {at:g} in float32 its value is {value:.4g} and its "
    "gradient NaN: an exponential has overflowed before it was clamped.",
    "overflow": "At log p - log q = {at:g} in float32 its value is {value:.4g} and its gradient "
    "{slope:.4g}.",
    "precision-float32": "In float32, at log p - log q = {at:.4g} it returns {got:.3g} and should "
    "return {exact:.3g}: {left:.0f} of 7 digits are left.",
    "precision-bfloat16": "In bfloat16, at log p - log q = {at:.4g} it returns {got:.3g} and "
    "should return {exact:.3g}: {left:.0f} of 3 digits are left.  The log-probabilities themselves "
    "were rounded.",
    "mask-leak": "NaN where the mask is False makes {what} NaN: 0 times NaN is NaN.  Replace what "
    "is masked before it is used.",
    "mask-ignored.penalty": "In the penalty, tokens count where the mask is False.",
    "implements": "It is grpo_loss with {options}.",
    "aggregation-differs": "With {lengths} tokens, a token of each sample counts {counts}.",
    "padded-length": "It divides by the padded length of the batch, so that what a token counts "
    "depends on the longest sample beside it.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes
    ----------
    code
        One of ``AUDIT_CODES``; they are stable.
    severity
        ``"wrong"``, ``"surprising"`` or ``"note"``.
    message
        One plain sentence or two, with the numbers that show it.
    link
        Page and section of the book that explain it.
    numbers
        Those numbers, by name.

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """

    code: str
    severity: Severity
    message: str
    link: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class Clamp:
    """Where a penalty stops following its formula, in x = log p - log q.

    Attributes
    ----------
    side
        ``"below"`` or ``"above"`` the threshold.
    at
        The threshold, a value of x in nats.
    value
        Of the penalty just beyond it.

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """

    side: Literal["below", "above"]
    at: float
    value: float

    def __str__(self) -> str:
        comparison = "<" if self.side == "below" else ">"
        return f"{self.value:.4g} where log p - log q {comparison} {self.at:.4g}"


@dataclass(repr=False)
class Report:
    """What reports have in common."""

    name: str = ""
    backend: str | None = None
    findings: list[Finding] = field(default_factory=list)

    def add(self, key: str, severity: Severity, **facts: Any) -> None:
        """Add a finding, unless there is one of this kind, and keep the grave ones first.

        `key` is its code, or its code in a case that has a message of its own; so does `message`.
        """
        code = key.partition(".")[0]
        meaning, link = _CODES[code]
        numbers = {name: float(fact) for name, fact in facts.items() if isinstance(fact, float)}
        shown = "; ".join(f"{name} {number:.4g}" for name, number in numbers.items())
        default = f"{meaning[0].upper()}{meaning[1:]}{f' ({shown})' * bool(shown)}."
        said = facts.get("message") or _MESSAGES.get(key, default).format(**facts)
        if code not in self.codes:
            self.findings.append(Finding(code, severity, said, link, numbers))
            self.findings.sort(key=lambda found: SEVERITIES.index(found.severity))

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings, in their order."""
        return tuple(each.code for each in self.findings)

    @property
    def wrong(self) -> tuple[str, ...]:
        """Codes of what is wrong."""
        return tuple(each.code for each in self.findings if each.severity == "wrong")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    def rows(self) -> list[tuple[str, str]]:
        """Return the facts of a report on a function that could be run: name and text."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the report as it is written to JSON; infinities and NaN become strings."""
        written = json.dumps(asdict(self) | {"ok": self.ok})
        return json.loads(written, parse_constant=lambda constant: str(float(constant)))

    def __repr__(self) -> str:
        facts = self.rows() if self.backend else []
        width = max((len(name) for name, _ in facts), default=0)
        lines = [f"{self.name} ({self.backend or 'not run'})"]
        lines += [f"  {name:<{width}}  {text}" for name, text in facts]
        for found in self.findings:
            lines += [f"{found.severity}: {found.code}"]
            lines += textwrap.wrap(found.message, 88, initial_indent="  ", subsequent_indent="  ")
            lines += [f"  see {found.link}"] if found.severity != "note" else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [
            (html.escape(name).replace("  ", "&emsp;").replace(" ", "&nbsp;"), html.escape(text))
            for name, text in [
                ("function", str(self).partition("\n")[0]),
                *(self.rows() if self.backend else []),
            ]
        ]
        # The section is text: a link would lead nowhere on the website, where pages are HTML.
        cells += [
            (
                f"{each.severity}<br>{each.code}",
                f"{html.escape(each.message)}<br><i>{each.link}</i>",
            )
            for each in self.findings
        ]
        # Notebooks would set text to the right.  The class is that of pandas, which websites
        # know how to show on a dark page.
        left = 'style="text-align: left; vertical-align: top"'
        lines = [f"<tr><th {left}>{name}</th><td {left}>{text}</td></tr>" for name, text in cells]
        return f'<table class="dataframe">{"".join(lines)}</table>'


@dataclass(repr=False)
class AuditReport(Report):
    """What :func:`audit_kl` returns; it shows itself as text, or in a notebook as a table.

    Divergences have the names ``"KL(p||q)"``, ``"KL(q||p)"``, ``"chi2(p||q)"``, ``"chi2(q||p)"``,
    ``"TV(p,q)"``, ``"JS(p,q)"``, ``"H2(p,q)"`` (squared Hellinger), ``"E[k2]"``, ``"E[|k1|]"``
    and, off-policy, ``"KL(b||p)"``; with a factor ``"2 TV(p,q)"``, ``"chi2(p||q)/2"`` or
    ``"-KL(p||q)"``; two of them ``"KL(p||q) - KL(q||p)"``; a value may hold ``"1"``.  ``"0"`` is
    zero everywhere, and None means none of these.

    Attributes
    ----------
    name, backend
        The function, and what it was run on: ``"numpy"``, ``"torch"`` or None.
    use
        What it was judged for: ``"value"``, ``"loss"``, ``"reward"`` or None.
    estimator
        ``"k1"``, ``"k2"``, ``"k3"``, ``"abs"``, ``"k3_inverted"``, ``"r - 1"``, ``"p/q - 1"`` or
        ``"r log r"``, with a factor as ``"-k1"`` or ``"2 k2"``, a constant as ``"k3 + 1"``, or a
        weight as ``"p k1"``; None for a function that is none of these.
    clamps
        Where it stops following that formula.
    weight
        ``"ratio"`` (differentiated along, or with the same gradient), ``"detached"`` (an
        importance weight that is held fixed), ``"straight-through"`` (gradient of k2 whatever
        the value), or None.
    value_of
        What the mean over samples of p is.
    loss_gradient_of
        The divergence whose gradient the penalty has on average when it is differentiated.
    reward_gradient_of
        The same where it is subtracted from the reward.
    off_policy_gradient_of
        That of the loss where the samples come from a third distribution b.
    off_policy_reward_gradient_of
        That in the reward on such samples, without another weight than its own.
    extremes
        At ±20, ±50, ±100 nats: x = log p - log q, value in float32, slope in log p.
    findings
        In the order wrong, surprising, note.

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """

    use: str | None = None
    estimator: str | None = None
    clamps: tuple[Clamp, ...] = ()
    weight: str | None = None
    value_of: str | None = None
    loss_gradient_of: str | None = None
    reward_gradient_of: str | None = None
    off_policy_gradient_of: str | None = None
    off_policy_reward_gradient_of: str | None = None
    extremes: tuple[tuple[float, float, float], ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return the facts of the report: name and text."""
        none = "none that is known"
        weighted = "" if self.weight is None else f", weight: {self.weight}"
        rows = [
            ("penalty", (self.estimator or none) + weighted),
            ("samples from", "the first argument, p"),
            ("mean", self.value_of or none),
            ("gradient as a loss", self.loss_gradient_of or none),
            ("  on samples of b", self.off_policy_gradient_of or none),
            ("gradient in the reward", self.reward_gradient_of or none),
            ("  on samples of b", self.off_policy_reward_gradient_of or none),
        ]
        rows += [("clamp", str(clamp)) for clamp in self.clamps]
        return rows + [
            (f"log p - log q = {x:g}", f"value {value:.4g}, slope {slope:.4g}")
            for x, value, slope in self.extremes
        ]


@dataclass(repr=False)
class GRPOAuditReport(Report):
    """What :func:`audit_grpo_loss` returns; it shows itself as text, or in a notebook as a table.

    Attributes
    ----------
    name, backend
        The function, and what it was run on: ``"numpy"``, ``"torch"`` or None.
    aggregation
        ``"grpo"``, ``"bnpo"``, ``"dapo"`` or ``"dr_grpo"``; ``"bnpo"`` on one batch is also
        ``"dapo"``.  None for another one.
    kl
        The penalty of a token, ``"k1"``, ``"k2"``, ``"k3"`` or another of those that
        :class:`AuditReport` lists; None where there is none, or it is not known.
    weight_kl
        Whether it is multiplied by the ratio; None where that is not known.
    beta
        What the penalty is multiplied with; NaN where that is not known.
    matches
        Whether loss and gradient agree with :func:`grpo_loss` on all batches.
    findings
        In the order wrong, surprising, note.

    References
    ----------
    Derived in :doc:`Check your own </book/checking>`.
    """

    aggregation: str | None = None
    kl: str | None = None
    weight_kl: bool | None = None
    beta: float = math.nan
    matches: bool = False

    def rows(self) -> list[tuple[str, str]]:
        """Return the facts of the report: name and text."""
        return [
            ("aggregation", self.aggregation or "none that is known"),
            ("penalty", f"{self.beta:.4g} times {self.kl}" if self.kl else "none that is known"),
            ("weighted", "not known" if self.weight_kl is None else str(self.weight_kl)),
            ("is grpo_loss", str(self.matches)),
        ]
