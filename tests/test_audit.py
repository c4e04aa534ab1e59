"""The audit against functions whose faults are known, and against functions that have none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kltutorial as kl
from kltutorial.audit import _calls, _match, _report
from kltutorial.audit.__main__ import main

KL, REVERSE = "KL(p||q)", "KL(q||p)"
MASKED = {"logp": "logp", "logq": "logq", "mask": "mask"}
STALE = {"logp": "logp", "logq": "logq", "logb": "logb"}


def k3(logp, logq):
    return np.exp(logq - logp) - 1 - (logq - logp)


def inverted(logp, logq):
    return np.exp(logp - logq) - 1 - (logp - logq)


def clamped(logp, logq):
    x = np.clip(logq - logp, -20, 20)
    return np.clip(np.exp(x) - 1 - x, -10, 10)


def ratio_clipped(logp, logq):
    r = np.clip(np.exp(logq - logp), 0.8, 1.2)
    return r - 1 - np.log(r)


def writes_into_its_input(logp, logq):
    logp -= logq
    return logp


class Noisy:
    rng = np.random.default_rng(0)

    def __call__(self, logp, logq):
        return logp - logq + 1e-3 * self.rng.normal(size=logp.shape)


def raises(logp, logq):
    raise RuntimeError("no reference")


def leaks(logp, logq, mask):
    return k3(logp, logq) * mask


def masked(logp, logq, mask):
    x = np.where(mask, logq - logp, 0)
    return np.exp(x) - 1 - x


def weighted(logp, logq, logb):
    return np.exp(logp - logb) * k3(logp, logq)


def nan_far_away(logp, logq):
    x = logp - logq
    return np.where(np.abs(x) > 80, np.nan, x)


# What is wrong: the function, what it is used for, and the code that must say so.
FAULTS = {
    "ratio inverted": (inverted, None, "ratio-inverted"),
    "arguments exchanged": (lambda p, q: q - p, None, "sign-flipped"),
    "k3 negated": (lambda p, q: -k3(p, q), None, "sign-flipped"),
    "k2 without its half": (lambda p, q: (p - q) ** 2, None, "wrong-scale"),
    "k1 in bits": (lambda p, q: (p - q) / np.log(2), None, "wrong-scale"),
    "k3 without its -1": (lambda p, q: np.exp(q - p) - (q - p), None, "offset"),
    "k1 clamped at 0": (lambda p, q: np.maximum(p - q, 0), None, "clamp-biases"),
    "clipped ratio in k3": (ratio_clipped, None, "clamp-biases"),
    "term of the exact sum": (lambda p, q: np.exp(p) * (p - q), None, "probability-weighted"),
    "that of the other side": (lambda p, q: np.exp(q) * (q - p), None, "probability-weighted"),
    "mean of the batch taken off": (lambda p, q: p - q - np.mean(p - q), None, "batch-dependent"),
    "square root": (lambda p, q: np.sqrt(np.abs(p - q)), None, "value-biased"),
    "|k1| as a value": (lambda p, q: np.abs(p - q), "value", "value-biased"),
    "k1 as a loss": (kl.k1, "loss", "loss-no-force"),
    "-k2 as a loss": (lambda p, q: -kl.k2(p, q), "loss", "loss-other-divergence"),
    "k3 in the reward": (kl.k3, "reward", "reward-other-divergence"),
    "k2 in the reward": (kl.k2, "reward", "reward-other-divergence"),
    "NaN far away": (nan_far_away, None, "nan-value"),
    "k3 with the sign of its logarithm": (
        lambda p, q: np.exp(q - p) - 1 + (q - p),
        None,
        "sign-flipped",
    ),
    "k3 without its logarithm": (lambda p, q: np.exp(q - p) - 1, None, "value-biased"),
    "probabilities expected": (lambda p, q: np.log(p / q), None, "value-biased"),
    "half precision": (lambda p, q: k3(p.astype("e"), q.astype("e")), None, "low-precision"),
    "mean returned": (lambda p, q: np.mean(p - q), None, "wrong-shape"),
    "sum over tokens returned": (lambda p, q: np.sum(p - q, axis=-1), None, "wrong-shape"),
    "input overwritten": (writes_into_its_input, None, "mutates-input"),
    "random": (Noisy(), None, "not-deterministic"),
    "error": (raises, None, "raises"),
    "three arguments": (lambda p, q, mask: p - q, None, "wrong-arity"),
    "no numbers": (lambda p, q: p > q, None, "wrong-type"),
    "two things returned": (lambda p, q: (p - q, [1]), None, "wrong-type"),
    "nothing returned": (lambda p, q: None, None, "wrong-type"),
    "exits": (lambda p, q: sys.exit(0), None, "raises"),
    "half returned": (lambda p, q: k3(p, q).astype("e"), None, "low-precision"),
}

# What is right: the function, its other arguments, and what it may be used for.
CORRECT = {
    "k1": (kl.k1, None, ("value", "reward")),
    "k2": (kl.k2, None, ("value", "loss")),
    "k3": (kl.k3, None, ("value", "loss")),
    "k3 in the textbook form": (k3, None, ("value", "loss")),
    "k3 with expm1": (lambda p, q: np.expm1(q - p) - (q - p), None, ("value", "loss")),
    "k3 of the difference": (lambda p, q: np.exp(-(p - q)) + (p - q) - 1, None, ("value",)),
    "k3 in float32": (lambda p, q: k3(p.astype("f"), q.astype("f")), None, ("value", "loss")),
    "float32 returned": (lambda p, q: k3(p, q).astype("f"), None, ("value", "loss")),
    "reference first": (lambda logq, logp: k3(logp, logq), None, ("value", "loss")),
    "keywords only": (lambda *, logp, logq: k3(logp, logq), None, ("value", "loss")),
    "k3 clamped at 10": (clamped, None, ("value", "loss")),
    "k1 clamped at 10": (lambda p, q: np.clip(p - q, -10, 10), None, ("value", "reward")),
    "masked": (masked, MASKED, ("value", "loss")),
    "importance weight": (weighted, STALE, ("value", "loss")),
    "KL(q||p) from samples of p": (lambda p, q: np.exp(q - p) * (q - p), None, ("value",)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_seeded_fault_is_found_and_called_wrong(name):
    function, use, code = FAULTS[name]
    report = kl.audit_kl(function, use=use)
    assert code in report.wrong
    assert not report.ok


@pytest.mark.parametrize("name", CORRECT)
def test_nothing_is_wrong_with_a_correct_variant(name):
    function, arguments, uses = CORRECT[name]
    for use in (None, *uses):
        report = kl.audit_kl(function, arguments=arguments, use=use)
        assert report.wrong == ()
        assert report.ok


# Of each estimator: what its mean is, its gradient as a loss, in the reward, on stale samples.
FACTS = {
    "k1": (kl.k1, KL, "0", KL, "-KL(b||p)"),
    "k2": (kl.k2, "E[k2]", KL, f"E[k2] - {KL}", None),
    "k3": (kl.k3, KL, REVERSE, f"{KL} - {REVERSE}", None),
    "abs": (lambda p, q: np.abs(p - q), "E[|k1|]", "2 TV(p,q)", "E[|k1|] - 2 TV(p,q)", None),
    "k3_inverted": (
        inverted,
        f"chi2(p||q) - {KL}",
        "chi2(p||q)/2",
        f"chi2(p||q)/2 - {KL}",
        None,
    ),
    "-k1": (lambda p, q: q - p, f"-{KL}", "0", f"-{KL}", "KL(b||p)"),
    "2 k2": (lambda p, q: (p - q) ** 2, "2 E[k2]", f"2 {KL}", f"2 E[k2] - 2 {KL}", None),
    "k3 + 1": (
        lambda p, q: np.exp(q - p) - (q - p),
        f"{KL} + 1",
        REVERSE,
        f"{KL} - {REVERSE}",
        None,
    ),
    "1.5 k3": (
        lambda p, q: 1.5 * kl.k3(p, q),
        f"1.5 {KL}",
        f"1.5 {REVERSE}",
        f"1.5 {KL} - 1.5 {REVERSE}",
        None,
    ),
    "r - 1": (lambda p, q: np.exp(q - p) - 1, "0", None, None, None),
    "p/q - 1": (lambda p, q: np.exp(p - q) - 1, "chi2(p||q)", None, None, None),
    "r log r": (lambda p, q: np.exp(q - p) * (q - p), REVERSE, None, None, None),
    "p k1": (lambda p, q: np.exp(p) * (p - q), None, None, None, None),
}


@pytest.mark.parametrize("estimator", FACTS)
def test_facts_about_known_penalties(estimator):
    function, value, loss, reward, stale = FACTS[estimator]
    report = kl.audit_kl(function)
    assert report.estimator == estimator
    assert report.value_of == value
    assert report.backend == "numpy"
    if loss is not None:
        assert report.loss_gradient_of == loss
        assert report.reward_gradient_of == reward
        assert report.off_policy_gradient_of == stale


@given(
    st.sampled_from(["k1", "k2", "k3", "abs", "k3_inverted"]),
    st.floats(0.05, 20) | st.floats(-20, -0.05),
    st.floats(2.5, 60),
    st.floats(2.5, 60),
)
@settings(max_examples=40)
def test_scale_and_clamps_are_recovered(name, scale, below, above):
    def penalty(logp, logq):
        return scale * _match.KNOWN[name][0](np.clip(logp - logq, -below, above), 0 * logq)

    report = kl.audit_kl(penalty)
    assert report.estimator == _match.sum_of([(scale, name)])
    found = {clamp.side: clamp.at for clamp in report.clamps}
    assert found == pytest.approx({"below": -below, "above": above}, abs=1e-3)


@settings(max_examples=25)
@given(st.floats(0.15, 1.5), st.floats(0.15, 1.5))
def test_a_clamp_at_ordinary_ratios_does_not_hide_the_penalty(below, above):
    report = kl.audit_kl(lambda p, q: k3(np.clip(p - q, -below, above), 0))
    assert report.estimator == "k3"
    assert "clamp-biases" in report.codes
    found = {clamp.side: clamp.at for clamp in report.clamps}
    assert found == pytest.approx({"below": -below, "above": above}, abs=1e-3)


def named(text: str, p, q) -> float:
    """The number that a name in a report stands for, from the definitions."""
    x = np.log(p / q)
    terms = {
        "KL(p||q)": p @ x,
        "KL(q||p)": -(q @ x),
        "chi2(p||q)": ((p - q) ** 2 / q).sum(),
        "TV(p,q)": np.abs(p - q).sum() / 2,
        "E[k2]": p @ x**2 / 2,
        "E[|k1|]": p @ np.abs(x),
    }
    for name, number in terms.items():
        text = text.replace(name, f"*{number}")
    return eval(re.sub(r"(^|[-+ ])\*", r"\g<1>1*", text.replace(" *", "*").replace("-*", "-1*")))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "abs", "k3_inverted", "-k1", "2 k2"])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_report_names_is_what_other_policies_have_too(estimator, seed):
    function, value, loss, reward, _ = FACTS[estimator]
    z, log_q = np.random.default_rng(seed).normal(size=(2, 4))
    q = np.exp(log_q) / np.exp(log_q).sum()

    def softmax(z):
        return np.exp(z) / np.exp(z).sum()

    def gradient(objective):
        steps = 1e-5 * np.eye(4)
        return np.array([(objective(z + h) - objective(z - h)) / 2e-5 for h in steps])

    p = softmax(z)
    penalty = function(np.log(p), np.log(q))
    assert p @ penalty == pytest.approx(named(value, p, q), abs=1e-9)
    as_loss = gradient(lambda z: p @ function(np.log(softmax(z)), np.log(q)))
    in_reward = gradient(lambda z: p @ (penalty * np.log(softmax(z))))
    for got, name in ((as_loss, loss), (in_reward, reward)):
        wanted = gradient(lambda z, name=name: named(name, softmax(z), q))
        np.testing.assert_allclose(got, wanted, atol=1e-8)


def test_the_policies_are_unlike_in_every_way():
    x = np.log(_match.P / _match.Q)
    assert np.abs(x).max() < _match.ORDINARY
    assert np.abs(x).min() > 0.1
    for distribution in (_match.P, _match.Q, _match.B):
        np.testing.assert_allclose(distribution.sum(axis=1), 1)
    values = _match.value_basis()
    for a in values:
        for b in values:
            ratios = values[a] / values[b]
            assert a == b or np.ptp(ratios) > 5e-3 * np.abs(ratios).max()


@pytest.mark.parametrize(
    ("function", "clamps"),
    [
        (clamped, [("below", -2.6109, 10.0), ("above", 11.0, 10.0)]),
        (
            lambda p, q: k3(np.clip(p - q, -20, 15), 0),
            [("below", -20.0, np.exp(20) - 21), ("above", 15.0, 14.0)],
        ),
        (lambda p, q: np.clip(p - q, -5, 10), [
            ("below", -5.0, -5.0), ("above", 10.0, 10.0),
        ]),
        (lambda p, q: np.where(p - q < -10, 0, k3(p, q)), [("below", -10.0, 0.0)]),
        (
            lambda p, q: np.where(p - q > 4, 2 * (p - q), p - q),
            [("above", 4.0, 8.0)],
        ),
        (kl.k3, []),
    ],
)  # fmt: skip
def test_clamps_are_found_with_their_thresholds(function, clamps):
    report = kl.audit_kl(function)
    assert [c.side for c in report.clamps] == [c[0] for c in clamps]
    for got, (_, at, value) in zip(report.clamps, clamps, strict=True):
        assert got.at == pytest.approx(at, abs=1e-3)
        assert got.value == pytest.approx(value, rel=1e-3, abs=0)


def test_a_clamp_that_lets_go_is_surprising_unless_no_gradient_is_wanted():
    for use, severity in {None: "surprising", "loss": "surprising", "value": "note"}.items():
        (found,) = (f for f in kl.audit_kl(clamped, use=use).findings if "zero-gr" in f.code)
        assert found.severity == severity
        assert "13.61" in found.message
        assert found.numbers["at"] == pytest.approx(-2.6109)


def test_the_use_decides_how_grave_a_gradient_is():
    def severity(function, code, use):
        return {f.code: f.severity for f in kl.audit_kl(function, use=use).findings}[code]

    assert severity(kl.k1, "loss-no-force", None) == "note"
    assert severity(kl.k3, "loss-other-divergence", "loss") == "surprising"
    assert severity(kl.k3, "reward-other-divergence", None) == "note"
    assert severity(kl.k3, "overflow", "loss") == "surprising"
    assert severity(kl.k2, "value-biased", None) == "note"
    assert severity(kl.k2, "value-biased", "value") == "surprising"
    assert severity(FAULTS["square root"][0], "value-biased", "loss") == "note"
    assert severity(FAULTS["square root"][0], "loss-other-divergence", "loss") == "wrong"


def test_weights_are_seen_in_values_and_slopes():
    report = kl.audit_kl(weighted, arguments=STALE)
    assert (report.estimator, report.weight) == ("k3", "ratio")
    assert report.loss_gradient_of == report.off_policy_gradient_of == KL
    assert report.off_policy_reward_gradient_of == report.reward_gradient_of
    report = kl.audit_kl(lambda p, q, b: np.exp(p - b) * kl.k1(p, q), arguments={
        "p": "logp", "q": "logq", "b": "logb",
    })  # fmt: skip
    assert (report.estimator, report.weight, report.loss_gradient_of) == ("k1", "ratio", KL)
    unused = kl.audit_kl(
        lambda p, q, b: kl.k2(p, q), arguments={"p": "logp", "q": "logq", "b": "logb"}
    )
    assert unused.weight is None


def inverted_weight(logp, logq, logb):
    return np.exp(logb - logp) * k3(logp, logq)


def unused_weight(logp, logq, logb):
    return k3(logp, logq)


@pytest.mark.parametrize("function", [inverted_weight, unused_weight])
def test_a_weight_that_is_none_is_wrong(function):
    report = kl.audit_kl(function, arguments=STALE)
    (found,) = (f for f in report.findings if f.code == "off-policy-uncorrected")
    assert found.severity == "wrong"
    assert found.numbers["on_policy"] != pytest.approx(found.numbers["off_policy"], rel=0.01, abs=0)


@pytest.mark.parametrize(
    ("use", "severity"), [(None, "surprising"), ("loss", "note"), ("value", "wrong")]
)
def test_a_value_that_is_not_weighted_is_told_from_a_gradient_that_is_not(use, severity):
    def only_the_gradient(logp, logq, logb):  # what follows the gradient does not move with p
        return np.exp(logp - logb) * (logp - logq - 1) + 1 + (logb - logq) ** 2

    report = kl.audit_kl(only_the_gradient, arguments=STALE, use=use)
    assert report.loss_gradient_of == report.off_policy_gradient_of == KL
    (found,) = (f for f in report.findings if f.code == "off-policy-uncorrected")
    assert found.severity == severity
    assert "its value is not" in found.message


def test_lost_digits_are_not_less_than_none():
    report = kl.audit_kl(k3)
    assert any("0 of 7 digits" in finding.message for finding in report.findings)
    assert "-0 of 7" not in str(report)


def test_float64_inside_is_no_overflow():
    report = kl.audit_kl(lambda p, q: k3(p.astype("d"), q.astype("d")))
    assert [f.code for f in report.findings if f.severity != "note"] == []


def test_whole_numbers_are_not_taken_for_low_precision():
    codes = kl.audit_kl(lambda p, q: np.round(k3(p, q))).codes
    assert "unknown-estimator" in codes
    assert "low-precision" not in codes


def test_factors_are_as_exact_as_the_function():
    report = kl.audit_kl(lambda p, q: k3(p.astype("e"), q.astype("e")))
    assert (report.value_of, report.loss_gradient_of) == (KL, REVERSE)


def test_a_penalty_that_is_nearly_a_known_one_is_unknown():
    report = kl.audit_kl(lambda p, q: kl.k2(p, q) + 0.01 * (p - q) ** 3)
    assert (report.estimator, report.clamps) == (None, ())
    (found,) = (f for f in report.findings if f.code == "unknown-estimator")
    assert found.severity == "surprising"


@pytest.mark.parametrize("value", [0.0, 3.0, np.inf, np.nan])
def test_a_constant_is_no_penalty(value):
    report = kl.audit_kl(lambda p, q: np.full_like(p, value))
    assert report.estimator is None
    assert not report.ok


def test_precision_is_judged_at_the_numbers_the_function_was_given():
    (found,) = (f for f in kl.audit_kl(k3).findings if f.code == "precision-float32")
    assert found.numbers["digits_lost"] == pytest.approx(-np.log10(2.0**-24), rel=1e-3, abs=0)
    assert found.numbers["exact"] == pytest.approx(kl.k3(found.numbers["at"], 0.0))
    assert "precision-float32" not in kl.audit_kl(kl.k3).codes
    assert "precision-bfloat16" in kl.audit_kl(kl.k3).codes  # the input was rounded


def test_numpy_has_no_bfloat16_and_rounding_stands_for_it():
    x = np.array([1.0, -1.7, 1.00390625, 1.01171875, np.inf, 0.0])
    assert _calls.rounded(x, 8).tolist() == [1.0, -1.703125, 1.0, 1.015625, np.inf, 0.0]
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    assert (_calls.rounded(values, 24) == values.astype("f")).all()
    assert (_calls.rounded(values, 11) == values.astype("e"))[np.abs(values) > 1e-4].all()


def test_a_negative_value_of_a_penalty_that_has_none_is_shown():
    (found,) = (
        f
        for f in kl.audit_kl(lambda p, q: np.exp(q - p) - (q - p) - 1).findings
        if f.code == "precision-float32"
    )
    assert found.numbers["got"] <= 0 < found.numbers["exact"]


def test_masks():
    report = kl.audit_kl(leaks, arguments=MASKED)
    assert "mask-leak" in report.codes
    assert "mask-leak" not in kl.audit_kl(masked, arguments=MASKED).codes
    ignored = kl.audit_kl(lambda logp, logq, mask: logp - logq, arguments=MASKED)
    assert "mask-ignored" in ignored.codes
    averaged = kl.audit_kl(lambda **a: masked(**a) / np.mean(a["mask"]), arguments=MASKED)
    assert averaged.wrong == ("batch-dependent",)


def test_refusing_what_is_masked_is_surprising_and_not_an_error_of_its_own():
    def penalty(logp, logq, mask):
        return np.where(mask, kl.k3(logp, logq), 0)

    def loss(logp, logp_old, logp_ref, advantages, mask):
        term = np.where(mask, kl.k3(logp, logp_ref), 0).sum(axis=1) / mask.sum(axis=1)
        return kl.grpo_loss(logp, logp_old, logp_ref, advantages, mask, beta=0).loss + term.mean()

    for report in (kl.audit_kl(penalty, arguments=MASKED), kl.audit_grpo_loss(loss)):
        (found,) = (f for f in report.findings if f.code == "mask-leak")
        assert (found.severity, report.ok) == ("surprising", True)
        assert "must be finite" in found.message


def test_arguments_by_other_names_and_with_constants():
    def penalty(ref_logprob, logprob, kind, scale=2.0):
        return scale * getattr(kl, kind)(logprob, ref_logprob)

    arguments = {"logprob": "logp", "ref_logprob": "logq", "kind": "k3", "scale": np.ones((1, 1))}
    assert kl.audit_kl(penalty, arguments=arguments).estimator == "k3"
    del arguments["kind"]
    assert kl.audit_kl(penalty, arguments=arguments).codes == ("wrong-arity",)


def test_a_function_without_a_signature_is_called_all_the_same():
    assert kl.audit_kl(np.subtract).estimator == "k1"
    assert kl.audit_kl(dict.fromkeys).backend is None
    assert kl.audit_kl(min).codes == ("raises",)


def test_what_can_not_be_called_is_a_finding():
    report = kl.audit_kl(3)
    assert report.codes == ("not-callable",)
    assert (report.backend, report.estimator, report.value_of) == (None, None, None)
    assert "int" in str(report)


def test_an_error_at_one_place_does_not_hide_the_rest():
    def strict(logp, logq):
        if np.abs(logp - logq).max() > 200 or logp.dtype == np.float32:
            raise ValueError("too far")
        return logp - logq

    report = kl.audit_kl(strict)
    assert report.estimator == "k1"
    assert "raises" in report.codes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"use": "metric"}, ValueError, "^use must"),
        ({"backend": "jax"}, ValueError, "^backend must"),
        ({"arguments": ["logp"]}, TypeError, "^arguments must be a mapping"),
        ({"arguments": {"a": "logp"}}, ValueError, "'logq'"),
    ],
)
def test_bad_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        kl.audit_kl(kl.k3, **options)


class Tensor(np.ndarray):
    """Stands for what NumPy functions can't work on."""

    def detach(self):
        return self


class FakeTorch(_calls.NumPy):
    name = "torch"
    kind = "PyTorch tensors"

    def array(self, value, dtype):
        return super().array(value, dtype).view(Tensor)

    def numpy(self, value):
        return np.asarray(value)


@pytest.fixture
def torch(monkeypatch):
    monkeypatch.setattr(_calls, "find_spec", lambda name: name)
    monkeypatch.setitem(_calls.BACKENDS, "torch", FakeTorch)


def for_tensors(logp, logq):
    return logp.detach() - logq


def annotated(logp: Tensor, logq: Tensor):
    return logp - logq


@pytest.mark.usefixtures("torch")
def test_a_function_of_tensors_is_given_tensors():
    assert kl.audit_kl(for_tensors).backend == "torch"
    assert kl.audit_kl(annotated).backend == "torch"
    assert kl.audit_kl(partial(annotated)).backend == "torch"
    assert kl.audit_kl(annotated, backend="numpy").backend == "numpy"
    assert kl.audit_kl(kl.k1).backend == "numpy"
    assert kl.audit_kl(kl.k1, backend="torch").backend == "torch"
    (found,) = kl.audit_kl(raises).findings
    assert found.message == "On NumPy arrays it raises RuntimeError: no reference"
    # What a function does on tensors counts where it is made for them.
    assert kl.audit_kl(lambda p, q: (p.detach() - q).mean()).codes == ("wrong-shape",)


@pytest.mark.skipif(_calls.find_spec("torch") is not None, reason="PyTorch is installed")
def test_pytorch_that_is_not_installed_is_an_error_only_if_it_is_asked_for():
    assert kl.audit_kl(for_tensors).codes == ("raises",)
    with pytest.raises(ImportError, match="torch"):
        kl.audit_kl(kl.k3, backend="torch")


def test_a_function_through_which_no_gradient_flows(monkeypatch):
    monkeypatch.setattr(
        _calls.NumPy, "slopes", lambda backend, subject, arrays, dtype: 0 * arrays["logp"]
    )
    for use, severity in {"loss": "wrong", None: "note"}.items():
        findings = {f.code: f.severity for f in kl.audit_kl(kl.k3, use=use).findings}
        assert findings["no-gradient"] == severity


@pytest.mark.parametrize(
    ("slope", "weight"), [(lambda x: x, "straight-through"), (lambda x: x**2, None)]
)
def test_a_slope_that_is_not_that_of_the_value(monkeypatch, slope, weight):
    def slopes(backend, subject, arrays, dtype):
        return slope(arrays["logp"] - arrays["logq"])

    monkeypatch.setattr(_calls.NumPy, "slopes", slopes)
    report = kl.audit_kl(kl.k1)
    assert report.weight == weight
    assert ("straight-through" in report.codes) == (weight is not None)
    assert (report.loss_gradient_of == KL) == (weight is not None)


def test_a_detached_weight(monkeypatch):
    def slopes(backend, subject, arrays, dtype):
        weight = np.exp(arrays["logp"] - arrays.get("logb", arrays["logp"]))
        return weight * (arrays["logp"] - arrays["logq"])

    monkeypatch.setattr(_calls.NumPy, "slopes", slopes)
    report = kl.audit_kl(lambda logp, logq, logb: np.exp(logp - logb) * kl.k2(logp, logq),
                         arguments=STALE)  # fmt: skip
    assert report.weight == "detached"
    assert report.loss_gradient_of == report.off_policy_gradient_of == KL
    assert "weighted" in report.codes


def test_a_nan_gradient_behind_a_finite_value(monkeypatch):
    def slopes(backend, subject, arrays, dtype):
        x = arrays["logp"] - arrays["logq"]
        return np.where(x < -90, np.nan, -np.expm1(-x))

    monkeypatch.setattr(_calls.NumPy, "slopes", slopes)
    for use, severity in {None: "wrong", "loss": "wrong", "value": "note"}.items():
        findings = {f.code: f.severity for f in kl.audit_kl(clamped, use=use).findings}
        assert findings["nan-gradient"] == severity


# ---------------------------------------------------------------------------------------------
# The report


def test_the_report_as_text_table_and_json():
    report = kl.audit_kl(inverted)
    text = str(report)
    assert "wrong: ratio-inverted" in text
    assert "samples from" in text
    assert "see checking.ipynb#the-ratio-upside-down" in text
    page = report._repr_html_()
    assert page.count("<table") == page.count("</table>") == 1
    assert page.count("<tr>") == 1 + len(report.rows()) + len(report.findings)
    assert "<th " in page
    assert "&lt;lambda&gt;" in kl.audit_kl(lambda: 0)._repr_html_()
    assert "chi2(p||q) - KL(p||q)" in page
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["estimator"] == "k3_inverted"
    assert plain["ok"] is False
    assert {"code", "severity", "message", "numbers", "link"} == set(plain["findings"][0])
    assert plain["extremes"][5][1] == "inf"


def test_in_a_notebook_a_report_is_a_table_and_in_a_terminal_text():
    report = kl.audit_kl(inverted)
    assert repr(report) == str(report)
    assert max(map(len, str(report).splitlines())) <= 90


def test_the_pull_of_a_gradient_has_a_direction():
    def message(use):
        return {f.code: f.message for f in kl.audit_kl(kl.k3, use=use).findings}

    assert "pushes p away from q, with 0.12 times" in message("reward")["reward-other-divergence"]
    assert "it has 1.12 times the pull" in message("loss")["loss-other-divergence"]


def test_no_gradient_is_zero_in_words():
    (found,) = (f for f in kl.audit_kl(kl.k1).findings if f.code == "off-policy-uncorrected")
    assert "that of -KL(b||p), on samples of p zero" in found.message


def test_no_digits_left_is_none_and_not_minus_none():
    report = kl.audit_kl(lambda p, q: k3(p.astype("e"), q.astype("e")))
    assert ": 0 of 7 digits" in str(report).replace("\n ", "")


def test_findings_come_in_the_order_of_their_severity():
    severities = [f.severity for f in kl.audit_kl(inverted).findings]
    assert severities == sorted(severities, key=["wrong", "surprising", "note"].index)


def test_a_report_says_which_argument_the_samples_come_from():
    (found,) = (f for f in kl.audit_kl(kl.k3).findings if f.code == "identified")
    assert "Samples come from the first argument, p" in found.message
    assert "KL(first || second)" in found.message


def test_every_code_is_given_somewhere_and_every_one_given_is_documented():
    source = "".join(
        path.read_text("utf-8") for path in Path(_report.__file__).parent.glob("_[kgc]*.py")
    )
    # Codes have hyphens; those without are listed in the report's own module.
    given = set(re.findall(r'"([a-z]+(?:-[a-z0-9]+)+)"', source))
    given |= {"raises", "identified", "offset", "weighted", "overflow", "implements"}
    given |= {"precision-float32", "precision-bfloat16"}
    assert given == set(kl.AUDIT_CODES)


def test_abstract_report_has_no_rows():
    with pytest.raises(NotImplementedError):
        _report.Report("f", None, ()).rows()


# ---------------------------------------------------------------------------------------------
# The command line


def test_exit_status_zero_where_nothing_is_wrong(capsys):
    assert main(["kltutorial:k3"]) == 0
    assert capsys.readouterr().out.startswith("k3 (numpy)\n")


@pytest.fixture
def module(tmp_path, monkeypatch):
    source = """
import numpy as np
import kltutorial as kl
print("imported")

def penalty(logprob, ref, kind="k3"):
    print("called")
    return getattr(kl, kind)(logprob, ref)

class Losses:
    @staticmethod
    def inverted(logp, logq):
        return kl.k3(logq, logp)

def loss(logp, logp_old, logp_ref, advantages, mask, beta):
    return kl.grpo_loss(logp, logp_old, logp_ref, advantages, mask, beta=beta)
"""
    (tmp_path / "audited.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "audited"
    sys.modules.pop("audited", None)


def test_exit_status_one_where_something_is(module, capsys):
    assert main([f"{module}:Losses.inverted"]) == 1
    assert "ratio-inverted" in capsys.readouterr().out


def test_json_is_all_that_is_printed(module, capsys):
    arguments = "logprob=logp,ref=logq, kind=k1"
    assert main([f"{module}:penalty", "--args", arguments, "--use", "loss", "--json"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["estimator"] == "k1"
    assert report["use"] == "loss"
    assert report["ok"] is False
    assert {f["code"] for f in report["findings"]} <= set(kl.AUDIT_CODES)
    assert "called" in err


def test_a_whole_loss_on_the_command_line(module, capsys):
    assert main([f"{module}:loss", "--grpo"]) == 0
    assert "implements" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["kltutorial"],
        ["kltutorial:nothing"],
        ["no_such_module:f"],
        ["kltutorial:k3", "--use", "metric"],
        ["kltutorial:k3", "--args", "logp"],
        ["kltutorial:k3", "--args", "logp=logp"],
        ["kltutorial:k3", "--grpo", "--use", "loss"],
    ],
)
def test_exit_status_two_for_bad_usage(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["import sys; sys.exit(0)", "raise RuntimeError", "def f(:"])
def test_a_module_that_can_not_be_imported_is_bad_usage(source, tmp_path, monkeypatch, capsys):
    (tmp_path / "not_importable.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        main(["not_importable:f"])
    assert stopped.value.code == 2
    assert "not_importable:f can't be imported" in capsys.readouterr().err


def test_constants_are_python_where_they_can_be():
    from kltutorial.audit.__main__ import _arguments

    assert _arguments("a=logp, b=0.1,c=None,d=low_var_kl") == {
        "a": "logp",
        "b": 0.1,
        "c": None,
        "d": "low_var_kl",
    }
    assert _arguments("clip=(0.2, 0.3),names=['a,b'], c=d") == {
        "clip": (0.2, 0.3),
        "names": ["a,b"],
        "c": "d",
    }


def test_the_audit_is_loaded_when_it_is_used():
    code = """
import sys, kltutorial
loaded = [name for name in sys.modules if name.startswith("kltutorial.audit.")]
assert loaded == [], loaded
assert kltutorial.audit_kl is kltutorial.audit.audit_kl
for module in (kltutorial, kltutorial.audit):
    try:
        module.audit_nothing
    except AttributeError:
        continue
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_runs():
    command = [sys.executable, "-m", "kltutorial.audit", "kltutorial:k1", "--use", "reward"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "KL(p||q)" in done.stdout


# ---------------------------------------------------------------------------------------------
# Whole losses


def surrogate_of(ratio, a):
    return np.minimum(ratio * a, np.clip(ratio, 0.8, 1.2) * a)


def grpo(
    logp,
    logp_old,
    logp_ref,
    advantages,
    mask,
    *,
    penalty=k3,
    beta=0.04,
    average="grpo",
    sign=-1,
    clip=surrogate_of,
    ratio=lambda logp, old, mask: np.exp(logp - old),
    kl_average=None,
):
    """As a trainer may write it, with everything that can be written in another way."""

    def averaged(x, how):
        if how == "grpo":
            return ((x * mask).sum(axis=1) / mask.sum(axis=1)).mean()
        if how == "no mask":
            return x.mean()
        if how == "padded":
            return (x * mask).mean()
        divisor = {"bnpo": mask.sum(), "sum": 1, "samples": len(x), "twelve": 12 * len(x)}[how]
        return (x * mask).sum() / divisor

    surrogate = sign * clip(ratio(logp, logp_old, mask), advantages[:, None])
    term = penalty(logp, logp_ref)
    return averaged(surrogate, average) + beta * averaged(term, kl_average or average)


def by_sequence(logp, old, mask):
    mean = ((logp - old) * mask).sum(axis=1) / mask.sum(axis=1)
    return np.exp(mean)[:, None] * np.ones_like(logp)


def dual(ratio, a):
    clipped = surrogate_of(ratio, a)
    return np.where(a < 0, np.maximum(clipped, 3 * a), clipped)


LOSS_FAULTS = {
    "ratio inverted": ({"penalty": inverted}, "ratio-inverted"),
    "penalty negated": ({"penalty": lambda p, q: -k3(p, q)}, "sign-flipped"),
    "k1 as the penalty": ({"penalty": lambda p, q: p - q}, "loss-no-force"),
    "|k1| as the penalty": ({"penalty": lambda p, q: np.abs(p - q)}, "kl-differs"),
    "unknown penalty": ({"penalty": lambda p, q: np.sqrt(1 + (p - q) ** 2)}, "kl-differs"),
    "penalty off by one": ({"penalty": lambda p, q: np.exp(q - p) - (q - p)}, "offset"),
    "rewards bad answers": ({"sign": 1}, "policy-sign"),
    "ratio detached": ({"ratio": lambda p, old, mask: np.ones_like(p)}, "no-gradient"),
    "maximum": (
        {"clip": lambda ratio, a: np.maximum(ratio * a, np.clip(ratio, 0.8, 1.2) * a)},
        "policy-differs",
    ),
    "no clip": ({"clip": lambda ratio, a: ratio * a}, "clip-differs"),
    "clip below only": (
        {"clip": lambda ratio, a: np.minimum(ratio * a, np.maximum(ratio, 0.8) * a)},
        "clip-differs",
    ),
    "clip above only": (
        {"clip": lambda ratio, a: np.minimum(ratio * a, np.minimum(ratio, 1.2) * a)},
        "clip-differs",
    ),
    "advantages limited": (
        {"clip": lambda ratio, a: surrogate_of(ratio, np.clip(a, -5, 5))},
        "policy-differs",
    ),
    "no minimum": ({"clip": lambda ratio, a: np.clip(ratio, 0.8, 1.2) * a}, "policy-differs"),
    "dual clip": ({"clip": dual}, "policy-differs"),
    "ratio squared": ({"ratio": lambda p, old, mask: np.exp(2 * (p - old))}, "policy-differs"),
    "ratio of sequences": ({"ratio": by_sequence}, "policy-differs"),
    "sum of all": ({"average": "sum"}, "aggregation-differs"),
    "sum over tokens": ({"average": "samples"}, "aggregation-differs"),
    "two averages": ({"kl_average": "bnpo"}, "aggregation-differs"),
    "mask forgotten": ({"average": "no mask"}, "mask-ignored"),
    "mask forgotten in the penalty": ({"kl_average": "no mask"}, "mask-ignored"),
}


@pytest.mark.parametrize("name", LOSS_FAULTS)
def test_a_fault_in_a_loss_is_found(name):
    options, code = LOSS_FAULTS[name]
    report = kl.audit_grpo_loss(partial(grpo, **options), arguments=ARRAYS)
    assert code in report.wrong
    assert report.matches == (name == "k1 as the penalty")


ARRAYS = {name: name for name in ("logp", "logp_old", "logp_ref", "advantages", "mask")}


@pytest.mark.parametrize("aggregation", ["grpo", "bnpo", "dapo", "dr_grpo"])
@pytest.mark.parametrize(("penalty", "weight_kl"), [("k2", False), ("k3", False), ("k3", True)])
def test_each_form_of_the_loss_is_recognised(aggregation, penalty, weight_kl):
    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length):
        options = {"beta": beta, "clip": clip, "max_length": max_length, "kl": penalty}
        options |= {"aggregation": aggregation, "weight_kl": weight_kl}
        return kl.grpo_loss(logp, logp_old, logp_ref, advantages, mask, **options)

    report = kl.audit_grpo_loss(loss)
    assert report.codes == ("implements",)
    assert report.matches
    assert report.aggregation == ("bnpo" if aggregation == "dapo" else aggregation)
    assert (report.kl, report.weight_kl, report.beta) == (penalty, weight_kl, 0.5)
    assert "aggregation" in str(report)


@pytest.mark.parametrize(
    ("options", "aggregation", "beta"),
    [
        ({}, "grpo", 0.04),
        ({"average": "bnpo", "beta": 0.1}, "bnpo", 0.1),
        ({"average": "twelve"}, "dr_grpo", 0.04),
        ({"average": "padded"}, "dr_grpo", 0.04),
        ({"beta": 0.0}, "grpo", 0.0),
        ({"penalty": lambda p, q: (p - q) ** 2}, "grpo", 0.08),
        ({"penalty": clamped}, "grpo", 0.04),
    ],
)
def test_a_loss_with_numbers_of_its_own_is_recognised(options, aggregation, beta):
    report = kl.audit_grpo_loss(lambda *arrays: grpo(*arrays, **options))
    assert report.matches
    assert report.aggregation == aggregation
    assert report.beta == pytest.approx(beta)
    assert ("padded-length" in report.codes) == (options.get("average") == "padded")
    assert ("clamp-saturates" in report.codes) == (options.get("penalty") is clamped)
    assert "mask-leak" in report.codes  # it multiplies with the mask


@pytest.mark.parametrize("average", ["grpo", "bnpo", "twelve"])
@pytest.mark.parametrize("penalty", [kl.k2, kl.k3])
def test_a_loss_in_float32_is_recognised(average, penalty):
    def loss(logp, logp_old, logp_ref, advantages, mask):
        arrays = (array.astype("f") for array in (logp, logp_old, logp_ref, advantages))
        return grpo(*arrays, mask, average=average, penalty=penalty)

    for function in (loss, lambda *arrays: np.float32(grpo(*arrays, average=average))):
        report = kl.audit_grpo_loss(function)
        assert report.matches
        assert report.ok


def test_a_loss_in_less_than_float32_is_said_to_be_that_and_nothing_else():
    report = kl.audit_grpo_loss(lambda *arrays: np.float16(grpo(*arrays)))
    assert report.codes == report.wrong == ("low-precision",)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda o: {**o, "beta": 2 * o["beta"]}, "kl-differs"),
        (lambda o: {**o, "beta": 0.0}, "kl-differs"),
        (lambda o: {**o, "clip": o["clip"][::-1]}, "clip-differs"),
        (lambda o: {**o, "max_length": o["max_length"] + 4}, "aggregation-differs"),
        (lambda o: {**o, "kl": "k2", "weight_kl": True}, "raises"),
    ],
    ids=["beta", "no-beta", "clip", "length", "forbidden"],
)
def test_a_loss_that_ignores_what_it_is_given(change, code):
    def loss(logp, logp_old, logp_ref, advantages, mask, beta, clip, max_length):
        options = change({"beta": beta, "clip": clip, "max_length": max_length})
        arrays = (logp, logp_old, logp_ref, advantages, mask)
        return kl.grpo_loss(*arrays, aggregation="dr_grpo", **options)

    report = kl.audit_grpo_loss(loss, clip=(0.2, 0.3))
    assert code in report.codes
    assert not report.ok


def test_k2_times_the_ratio_is_not_a_kl():
    def loss(logp, logp_old, logp_ref, advantages, mask):
        arrays = (logp, logp_old, logp_ref, advantages, mask)
        none = kl.grpo_loss(*arrays, beta=0.0).loss
        term = np.exp(logp - logp_old) * (logp - logp_ref) ** 2 / 2
        return none + ((term * mask).sum(axis=1) / mask.sum(axis=1)).mean()

    report = kl.audit_grpo_loss(loss)
    assert "loss-other-divergence" in report.codes
    assert not report.ok


@pytest.mark.parametrize(
    ("slope", "code"), [(lambda x: 0 * x, "no-gradient"), (lambda x: x, "straight-through")]
)
def test_a_penalty_whose_slope_is_not_its_own(monkeypatch, slope, code):
    plain = _calls.NumPy.slopes

    def slopes(backend, subject, arrays, dtype):
        if "logq" in arrays:  # of the penalty alone
            return 0.04 * slope(arrays["logp"] - arrays["logq"])
        return plain(backend, subject, arrays, dtype)

    monkeypatch.setattr(_calls.NumPy, "slopes", slopes)
    report = kl.audit_grpo_loss(grpo, arguments=ARRAYS)
    assert code in report.codes
    assert not report.matches


def test_arrays_by_order_and_numbers_by_name():
    def loss(new, old, ref, a, keep, clip, beta=0.1):
        return kl.grpo_loss(new, old, ref, a, keep, beta=beta, clip=clip).loss

    report = kl.audit_grpo_loss(loss, beta=0.25, clip=(0.1, 0.4))
    assert report.matches
    assert report.beta == 0.25
    assert "(0.1, 0.4)" in report.findings[-1].message


def test_a_penalty_that_grpo_loss_does_not_have():
    report = kl.audit_grpo_loss(
        lambda *arrays: grpo(*arrays, penalty=lambda p, q: np.exp(q - p) * (q - p))
    )
    assert report.kl == "r log r"
    assert report.codes[:1] == ("kl-differs",)


def test_a_loss_that_is_no_function_of_its_arguments():
    def random(*arrays):
        arrays[0][:] = 0
        return grpo(*arrays) + Noisy.rng.normal()

    assert kl.audit_grpo_loss(random).codes == ("mutates-input", "not-deterministic")


def test_of_a_random_function_nothing_else_is_said():
    assert kl.audit_kl(Noisy()).codes == ("not-deterministic",)


def test_advantages_that_are_normalised_inside_are_said_to_be_and_nothing_else():
    def normalises(logp, logp_old, logp_ref, advantages, mask):
        scores = (advantages - advantages.mean()) / (advantages.std() + 1e-4)
        return grpo(logp, logp_old, logp_ref, scores, mask)

    report = kl.audit_grpo_loss(normalises)
    assert report.codes == ("policy-differs",)
    assert "normalises" in report.findings[0].message


def test_what_a_partial_was_given_already_is_not_given_again():
    def loss(logp, logp_old, logp_ref, advantages, mask, beta):
        return kl.grpo_loss(logp, logp_old, logp_ref, advantages, mask, beta=beta)

    report = kl.audit_grpo_loss(partial(loss, beta=0.07))
    assert (report.matches, report.beta) == (True, 0.07)


def test_what_a_loss_may_be_returned_in():
    for wrap in (lambda x: (x, {}), lambda x: {"loss": x}, lambda x: [x], lambda x: x.reshape(1)):
        report = kl.audit_grpo_loss(lambda *arrays, wrap=wrap: wrap(grpo(*arrays)))
        assert report.matches


def test_a_loss_that_can_not_be_audited_is_a_finding():
    def per_token(logp, logp_old, logp_ref, advantages, mask):
        return logp - logp_ref

    assert kl.audit_grpo_loss(None).codes == ("not-callable",)
    assert kl.audit_grpo_loss(per_token).codes == ("wrong-shape",)
    assert kl.audit_grpo_loss(lambda logp, mask: 0.0).codes == ("wrong-arity",)
    assert kl.audit_grpo_loss(min).codes == ("raises",)
    assert "not run" in str(kl.audit_grpo_loss(None))


def test_a_loss_that_normalises_its_advantages_is_nan_without_them():
    def loss(logp, logp_old, logp_ref, advantages, mask):
        return grpo(logp, logp_old, logp_ref, advantages / np.abs(advantages).sum(), mask)

    assert "nan-value" in kl.audit_grpo_loss(loss).codes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beta": 0.0}, ValueError, "^beta must"),
        ({"beta": "much"}, TypeError, "^beta must"),
        ({"clip": -1.0}, ValueError, "^clip must"),
        ({"max_length": 4}, ValueError, "^max_length must"),
        ({"backend": "jax"}, ValueError, "^backend must"),
        ({"arguments": 3}, TypeError, "^arguments must be a mapping"),
        ({"arguments": {"a": "logp"}}, ValueError, "'logp_old'"),
    ],
)
def test_bad_options_for_a_loss_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        kl.audit_grpo_loss(grpo, **options)


def reinforce(logp, logp_old, logp_ref, advantages, mask):
    token = -advantages[:, None] * logp + 0.04 * k3(logp, logp_ref)
    return np.where(mask, token, 0).sum() / mask.sum()


def test_a_loss_without_a_ratio_is_not_said_to_clip_it():
    report = kl.audit_grpo_loss(reinforce)
    (found,) = (f for f in report.findings if f.severity == "wrong")
    assert found.code == "policy-differs"
    assert "does not depend on logp_old" in found.message
    assert (report.kl, report.aggregation) == ("k3", "bnpo")
    assert report.beta == pytest.approx(0.04)


def test_a_penalty_towards_the_old_policy_is_seen_not_to_know_the_reference():
    def towards_old(logp, logp_old, logp_ref, advantages, mask):
        return grpo(logp, logp_old, logp_old, advantages, mask)

    def with_entropy_bonus(logp, logp_old, logp_ref, advantages, mask):
        return grpo(logp, logp_old, logp, advantages, mask) + 0.1 * (logp * mask).sum()

    for loss in (towards_old, with_entropy_bonus):
        report = kl.audit_grpo_loss(loss)
        assert any("does not depend on logp_ref" in f.message for f in report.findings)


def test_lost_digits_matter_where_the_value_is_read():
    severity = {
        use: next(f.severity for f in kl.audit_kl(k3, use=use).findings if "float32" in f.code)
        for use in ("value", "loss")
    }
    assert severity == {"value": "surprising", "loss": "note"}
