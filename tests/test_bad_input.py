"""Malformed calls of every public function: each ends in the documented error.

`CALLS` holds one valid call of each.  One argument at a time is replaced by what is wrong for
its kind.  ``python -m tests.test_bad_input`` prints how many malformed calls that makes.
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import kltutorial as kl
from kltutorial import plotting

mpl.use("agg")

PACKAGE = str(Path(kl.__file__).parent)
T, V = TypeError, ValueError
Wrong = dict[str, tuple[object, type[Exception]]]  # by what is wrong: the value, and the error

# What a function returns is made by that function alone, and is not checked again.
RECORDS = {
    kl.AuditReport, kl.Clamp, kl.EstimatorMoments, kl.Finding, kl.GRPOAuditReport, kl.GRPOLoss,
    kl.KLEstimate, kl.NormalFit,
}  # fmt: skip

NAN, INF = float("nan"), float("inf")
MODEL = kl.TabularLM.random(2, 3, np.random.default_rng(0))
SHORT = kl.TabularLM.random(2, 2, np.random.default_rng(0))
WIDE = kl.TabularLM.random(3, 3, np.random.default_rng(0))
ENDING = kl.TabularLM.random(2, 3, np.random.default_rng(0), eos=1)
TARGET = kl.NormalMixture([-1.0, 1.0])
ESTIMATE = kl.estimate_kl([-1.0, -2.0], [-1.5, -1.0])


class Argument(NamedTuple):
    """A valid value, and what is wrong."""

    value: Any
    wrong: Wrong

    def but(self, *without: str, **more: tuple[object, type[Exception]]) -> Argument:
        kept = {label: case for label, case in self.wrong.items() if label not in without}
        assert len(kept) + len(without) == len(self.wrong), "a label to leave out is unknown"
        return Argument(self.value, {**kept, **more})


def with_first(values: Any, entry: float) -> np.ndarray:
    changed = np.array(values, dtype=float)
    changed.flat[0] = entry
    return changed


def array(values: Any) -> Argument:
    """Finite real numbers, of any shape."""
    values = np.asarray(values, dtype=float)
    return Argument(values, {
        "None": (None, T),
        "text": ("0.5", T),
        "texts": (["a", "b"], T),
        "bytes": (b"0.5", T),
        "object": (object(), T),
        "dict": ({"a": 0.5}, T),
        "set": ({0.5}, T),
        "function": (len, T),
        "bool": (np.ones(values.shape, dtype=bool), T),
        "complex": (values + 1j, T),
        "complex without imaginary part": (values + 0j, T),
        "dates": (np.zeros(values.shape, dtype="datetime64[s]"), T),
        "masked": (np.ma.array(values, mask=np.ones(values.shape, bool)), T),
        "numbers as objects": (values.astype(object), T),
        "None among numbers": ([0.5, None], T),
        "ragged": ([[0.5], [0.5, 0.5]], V),
        "empty": (np.empty((0, *values.shape[1:])), V),
        "NaN": (with_first(values, NAN), V),
        "+inf": (with_first(values, INF), V),
        "-inf": (with_first(values, -INF), V),
    })  # fmt: skip


def shaped(values: Any) -> Argument:
    """Finite real numbers whose shape has to fit."""
    values = np.asarray(values, dtype=float)
    return array(values).but(
        longer=(np.concatenate([values, values[:1]]), V), nested=(values[None, None, None], V)
    )


def probabilities(*values: float) -> Argument:
    return array(values).but(
        **{
            "a single number": (1.0, V),
            "negative": ([1.5, -0.5], V),
            "unnormalised": ([0.5, 0.6], V),
            "percent": ([50.0, 50.0], V),
            "zero": ([0.0, 0.0], V),
        }
    )


def paired(*values: float) -> Argument:
    return probabilities(*values).but(**{"more outcomes": ([0.2, 0.3, 0.5], V)})


def logits(*values: float) -> Argument:
    return array(values).but(
        **{"more outcomes": ([0.2, 0.3, 0.5], V), "no outcome": ([-INF, -INF], V)},
        number=(1.0, V),
    )


def log_probs(values: Any = (-1.0, -2.0)) -> Argument:
    return shaped(values)


def excluding(argument: Argument) -> Argument:
    """Log-probabilities or logits that may be -inf."""
    return argument.but("-inf")


def positive(values: Any) -> Argument:
    return array(values).but(
        zero=(with_first(values, 0.0), V), negative=(with_first(values, -1.0), V)
    )


def unmatched(argument: Argument) -> Argument:
    """Something that must broadcast with a vector of two."""
    return argument.but(**{"does not broadcast": ([0.5, 0.25, 0.25], V)})


def integer(value: int, *forbidden: int, optional: bool = False) -> Argument:
    wrong: Wrong = {
        "None": (None, T),
        "float": (float(value), T),
        "text": (str(value), T),
        "bool": (True, T),
        "complex": (complex(value), T),
        "list": ([value], T),
        "array": (np.array([value]), T),
        "numbers": (np.array([value, value]), T),
        "NaN": (NAN, T),
        "object": (object(), T),
    }
    wrong |= {f"{number}": (number, V) for number in forbidden}
    return Argument(value, wrong).but(*["None"] if optional else [])


def names(value: str) -> Argument:
    """One name, or several."""
    return name(value).but(
        "list",
        none=((), V),
        unknown_among_them=((value, "nonsense"), V),
        number_among_them=([value, 3], V),
        nested=([[value]], V),
        set=({value}, V),
    )


def number(value: float, *forbidden: float, optional: bool = False) -> Argument:
    wrong: Wrong = {
        "None": (None, T),
        "text": (str(value), T),
        "bool": (True, T),
        "complex": (complex(value), T),
        "list": ([value], T),
        "array": (np.array([value]), T),
        "object": (object(), T),
        "NaN": (NAN, V),
        "+inf": (INF, V),
        "-inf": (-INF, V),
        "too large for a float": (10**400, V),
    }
    wrong |= {f"{number:g}": (number, V) for number in forbidden}
    return Argument(value, wrong).but(*["None"] if optional else [])


def name(value: str | None, *, optional: bool = False) -> Argument:
    wrong: Wrong = {
        "None": (None, V),
        "unknown": ("nonsense", V),
        "empty": ("", V),
        "capitals": (str(value).upper() if value else "NONE", V),
        "number": (3, V),
        "bytes": (b"k1", V),
        "list": (["k1"], V),
        "array": (np.array(["k1", "k2"]), V),
        "object": (object(), V),
    }
    return Argument(value, wrong).but(*["None"] if optional else [])


def flag(value: bool) -> Argument:
    wrong: Wrong = {
        "None": (None, T),
        "text": ("no", T),
        "number": (2, T),
        "list": ([], T),
        "array": (np.array([True, False]), T),
    }
    return Argument(value, wrong)


def mask(values: Any, *, optional: bool = True) -> Argument:
    values = np.asarray(values)
    return Argument(values, {
        "None": (None, T),
        "integers": (values.astype(int), T),
        "floats": (values.astype(float), T),
        "text": ("yes", T),
        "object": (object(), T),
        "objects": (values.astype(object), T),
        "ragged": ([[True], [True, False]], V),
        "longer": (np.concatenate([values, values[:1]]), V),
        "nested": (values[None, None], V),
        "empty": (np.empty(0, dtype=bool), V),
    }).but(*["None"] if optional else [])  # fmt: skip


def generator(*, optional: bool = False) -> Argument:
    wrong: Wrong = {
        "None": (None, T),
        "seed": (0, T),
        "module": (np.random, T),
        "legacy": (np.random.RandomState(0), T),
        "class": (np.random.Generator, T),
        "text": ("rng", T),
    }
    if optional:  # together with another argument, or not at all
        wrong["None"] = (None, V)
    return Argument(np.random.default_rng(0), wrong)


def function(value: Callable[..., Any], **results: type[Exception]) -> Argument:
    """A function of an array; `results` are kinds of results that it may not have."""
    returned = {
        "text": "text",
        "nothing": None,
        "complex": np.array([1j, 1j]),
        "NaN": np.full(2, NAN),
        "ragged": [[0.5], [0.5, 0.5]],
        "shape": np.zeros((7, 7, 7)),
    }
    wrong: Wrong = {
        "None": (None, T),
        "number": (3, T),
        "list": ([value], T),
        "array": (np.ones(2), T),
    }
    for label, error in results.items():
        wrong[f"returns {label}"] = (lambda u, result=returned[label]: result, error)
    return Argument(value, wrong)


OTHERS = "another horizon", "another vocabulary", "another end"


def model(value: kl.TabularLM) -> Argument:
    return Argument(value, {
        "None": (None, T),
        "tables": (value.tables, T),
        "text": ("model", T),
        "class": (kl.TabularLM, T),
        "another horizon": (SHORT, V),
        "another vocabulary": (WIDE, V),
        "another end": (ENDING, V),
    })  # fmt: skip


def tokens() -> Argument:
    return Argument([[0, 1, 0]], {
        "None": (None, T),
        "floats": ([[0.0, 1.0, 0.0]], T),
        "text": ("010", T),
        "bool": ([[False, True, False]], T),
        "complex": ([[0j, 1j, 0j]], T),
        "objects": (np.array([[0, 1, 0]], dtype=object), T),
        "NaN": ([[NAN, 1.0, 0.0]], T),
        "ragged": ([[0, 1, 0], [0, 1]], V),
        "one sequence": ([0, 1, 0], V),
        "short": ([[0, 1]], V),
        "empty": (np.empty((0, 3), dtype=int), V),
        "negative": ([[0, -1, 0]], V),
        "too large": ([[0, 2, 0]], V),
    })  # fmt: skip


AXIS = integer(-1, 1, -2, 10**30)
BASE = number(2, 0, 1, -2, optional=True)
PAIR = {"p": paired(0.5, 0.5), "q": paired(0.25, 0.75)}
LOG_PAIR = {"logp": log_probs(), "logq": excluding(log_probs())}
LOGITS = {"p_logits": logits(0.0, 0.0), "q_logits": logits(0.0, 1.0)}
USE = {
    **LOGITS,
    "estimator": name("k1"),
    "placement": name("loss"),
    "weight": name(None, optional=True),
    "behaviour_logits": logits(0.5, 0.0).but("None"),
}
PROBLEM = {"ref": paired(0.5, 0.5), "reward": shaped([1.0, 0.0])}
SCALED = number(1.0, 0, -1)
TOKENS = [[-1.0, -2.0], [-0.5, -1.0]]
KEEP = [[True, True], [True, False]]


def chunk_cases() -> Argument:
    good = (np.array([-1.0, -2.0]), np.array([-1.5, -1.0]))
    return Argument([good], {
        "None": (None, T),
        "number": (3, T),
        "nothing": ([], V),
        "no pair": ([good[0]], V),
        "one array": ([(good[0],)], V),
        "four arrays": ([(*good, *good)], V),
        "text": ("chunks", V),
    })  # fmt: skip


def table_cases() -> Argument:
    good = [np.zeros((1, 2)), np.zeros((2, 2))]
    return Argument(good, {
        "None": (None, T),
        "number": (3, T),
        "text": ("tables", T),
        "nothing": ([], V),
        "NaN": ([np.full((1, 2), NAN)], V),
        "no token": ([np.full((1, 2), -INF)], V),
        "+inf": ([np.full((1, 2), INF)], V),
        "complex": ([np.zeros((1, 2), dtype=complex)], T),
        "vector": ([np.zeros(2)], V),
        "ragged": ([[[0.0], [0.0, 0.0]]], V),
        "contexts": ([good[0], np.zeros((3, 2))], V),
        "vocabulary": ([good[0], np.zeros((2, 3))], V),
    })  # fmt: skip


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Argument]]] = {
    # divergences
    "entropy": (kl.entropy, {"p": probabilities(0.5, 0.5), "axis": AXIS, "base": BASE}),
    "cross_entropy": (kl.cross_entropy, {**PAIR, "axis": AXIS, "base": BASE}),
    "kl_divergence": (kl.kl_divergence, {**PAIR, "axis": AXIS, "base": BASE}),
    "kl_from_logits": (
        kl.kl_from_logits,
        {**{key: excluding(value) for key, value in LOGITS.items()}, "axis": AXIS},
    ),
    "kl_normal": (
        kl.kl_normal,
        {
            "mean_p": unmatched(array([0.0, 1.0])),
            "std_p": unmatched(positive([1.0, 2.0])),
            "mean_q": unmatched(array([1.0, 1.0])),
            "std_q": unmatched(positive([1.0, 1.0])),
        },
    ),
    "kl_bernoulli": (
        kl.kl_bernoulli,
        {
            "p": unmatched(array([0.5, 0.4])).but(more=([1.1, 0.5], V), less=([-0.1, 0.5], V)),
            "q": unmatched(array([0.3, 0.4])).but(more=([1.1, 0.5], V), less=([-0.1, 0.5], V)),
        },
    ),
    "kl_exponential": (
        kl.kl_exponential,
        {"rate_p": unmatched(positive([1.0, 2.0])), "rate_q": unmatched(positive([2.0, 2.0]))},
    ),
    "kl_multivariate_normal": (
        kl.kl_multivariate_normal,
        {
            side: argument
            for name_ in ("p", "q")
            for side, argument in (
                (f"mean_{name_}", shaped([0.0, 1.0])),
                (
                    f"cov_{name_}",
                    shaped(np.eye(2)).but(
                        indefinite=(np.diag([1.0, -1.0]), V),
                        singular=(np.ones((2, 2)), V),
                        asymmetric=([[2.0, 1.0], [0.0, 2.0]], V),
                        diagonal=([1.0, 1.0], V),
                    ),
                ),
            )
        },
    ),
    # directions
    "NormalMixture": (
        kl.NormalMixture,
        {
            "means": array([0.0, 1.0]).but(
                number=(1.0, V), longer=([0.0, 1.0, 2.0], V), nested=([[0.0, 1.0]], V)
            ),
            "stds": positive([1.0, 2.0]).but(longer=([1.0, 2.0, 3.0], V)),
            "weights": paired(0.5, 0.5).but("None"),
        },
    ),
    "NormalMixture.log_density": (TARGET.log_density, {"x": array([0.0, 1.0])}),
    "forward_fit": (
        kl.forward_fit,
        {
            "log_density": function(
                TARGET.log_density, text=T, nothing=T, complex=T, NaN=V, shape=V
            ).but(unnormalised=(lambda x: -(x**2), V)),
            "bounds": array([-20.0, 20.0]).but(
                number=(1.0, V),
                reversed=((20.0, -20.0), V),
                nothing=((1.0, 1.0), V),
                three=((-1.0, 0.0, 1.0), V),
                elsewhere=((200.0, 300.0), V),
            ),
        },
    ),
    "kl_from_normal": (
        kl.kl_from_normal,
        {
            "mean": unmatched(array([0.0, 1.0])),
            "std": unmatched(positive([1.0, 2.0])),
            "log_density": function(
                TARGET.log_density, text=T, nothing=T, complex=T, NaN=V, shape=V
            ),
        },
    ),
    "reverse_fit": (
        kl.reverse_fit,
        {
            "log_density": function(
                TARGET.log_density, text=T, nothing=T, complex=T, NaN=V, shape=V
            ).but(
                infinite=(lambda x: np.where(x > 0, -x, -INF), V),
                increasing=(lambda x: x, V),
            ),
            "mean": number(0.0),
            "std": number(1.0, 0, -1),
        },
    ),
    # estimators
    **{
        name_: (getattr(kl, name_), LOG_PAIR) for name_ in ("k1", "k2", "k3")
    },
    "optimal_control_variate": (kl.optimal_control_variate, LOG_PAIR),
    "estimator_moments": (
        kl.estimator_moments,
        {
            "p": paired(0.5, 0.5).but(nested=([[0.5, 0.5]], V)),
            "q": paired(0.25, 0.75).but(nested=([[0.5, 0.5]], V), excluding=([0.0, 1.0], V)),
            "estimator": name("k1"),
        },
    ),
    "shifted_normal_moments": (
        kl.shifted_normal_moments,
        {
            "shift": number(1.0).but(**{"too large for a float": (10**400, T)}),
            "estimator": name("k1"),
        },
    ),
    "estimate_kl": (
        kl.estimate_kl,
        {
            "logp": log_probs(TOKENS).but(number=(1.0, V)),
            "logq": excluding(log_probs(TOKENS)),
            "estimator": names("k3"),
            "unit": name("token"),
            "where": mask(KEEP).but(
                none_kept=([[False, False], [False, False]], V),
                one_left_out=([[True, True], [False, False]], V),
            ),
            "progress": flag(False),
        },
    ),
    "estimate_kl_chunks": (
        kl.estimate_kl_chunks,
        {
            "chunks": chunk_cases(),
            "estimator": names("k3"),
            "unit": name("token"),
            "progress": flag(False),
        },
    ),
    "KLEstimate.interval": (ESTIMATE.interval, {"level": number(0.95, 0, 1, -0.5, 95)}),
    # f-divergences
    "FDivergence": (
        kl.FDivergence,
        {
            "name": Argument("mine", {"None": (None, T), "number": (3, T)}),
            "f": function(np.square),
            "df": function(np.square),
            "recession": number(1.0).but("NaN", "+inf", "-inf"),
            "curvature": number(1.0).but("NaN", "+inf", "-inf"),
            "symmetric": flag(False),
            "perspective": function(np.multiply).but("None"),
        },
    ),
    "f_divergence": (
        kl.f_divergence,
        {
            **PAIR,
            "f": function(
                lambda u: (u - 1) ** 2, text=T, nothing=T, complex=T, NaN=V, shape=V, ragged=V
            ).but(
                unknown=("nonsense", V),
                bytes=(b"kl", T),
                **{"not 0 at 1": (lambda u: u**2, V)},
            ),
            "axis": AXIS,
        },
    ),
    "alpha_divergence": (kl.alpha_divergence, {"alpha": number(0.5)}),
    "bregman_divergence": (
        kl.bregman_divergence,
        {
            "phi": function(np.square, text=T, nothing=T, complex=T, NaN=V, shape=V, ragged=V),
            "grad_phi": function(
                lambda x: 2 * x, text=T, nothing=T, complex=T, NaN=V, shape=V, ragged=V
            ),
            "x": unmatched(array([0.0, 1.0])),
            "y": unmatched(array([1.0, 1.0])),
        },
    ),
    # gradients
    "kl_gradient": (
        kl.kl_gradient,
        {
            **LOGITS,
            "divergence": Argument("kl", {
                "None": (None, T),
                "unknown": ("nonsense", V),
                "number": (3, T),
                "function": (np.square, T),
                "list": (["kl"], T),
                "array": (np.array(["kl", "kl"]), T),
            }),
        },
    ),
    **{
        name_: (getattr(kl, name_), USE)
        for name_ in ("sample_gradients", "expected_gradient", "gradient_noise")
    },
    "follow_penalty": (
        kl.follow_penalty,
        {
            **{key: value for key, value in USE.items() if key != "behaviour_logits"},
            "steps": integer(2, 0, -1),
            "step_size": SCALED,
            "batch_size": integer(3, 0, -1, optional=True).but(alone=(None, V)),
            "rng": generator(optional=True),
        },
    ),
    "leash_example": (kl.leash_example, {}),
    # grpo
    "group_advantages": (
        kl.group_advantages,
        {
            "rewards": array([[1.0, 0.0], [0.0, 0.0]]).but(
                number=(1.0, V), vector=([1.0, 0.0], V), single=([[1.0], [0.0]], V),
                nested=([[[1.0, 0.0]]], V),
            ),
            "normalize_std": flag(True),
            "ddof": integer(0, -1, 2),
            "eps": number(1e-4, -1),
        },
    ),
    "grpo_loss": (
        kl.grpo_loss,
        {
            "logp": shaped(TOKENS).but(number=(1.0, V), vector=([-1.0, -2.0], V)),
            "logp_old": shaped(TOKENS).but("None", number=(1.0, V)),
            "logp_ref": shaped(TOKENS).but("None", number=(1.0, V), missing=(None, V)),
            "advantages": shaped([1.0, -1.0]).but(number=(1.0, V)),
            "mask": mask(KEEP, optional=False).but(
                **{"a sample without tokens": ([[True, True], [False, False]], V)}
            ),
            "beta": number(0.1, -1),
            "clip": number(0.2, 0, -1).but(
                "list", "array", "+inf",
                three=((0.1, 0.2, 0.3), T), texts=(("a", "b"), T), negative=((0.1, -0.2), V),
                not_a_number=((0.1, NAN), V),
            ),
            "kl": name("k3"),
            "weight_kl": flag(False),
            "aggregation": name("dapo"),
            "max_length": Argument(None, {}),  # ignored, see below
            "total_tokens": number(3, 0, -1, optional=True),
        },
    ),
    # alignment
    "tilted_policy": (
        kl.tilted_policy,
        {"ref": paired(0.5, 0.5), "reward": unmatched(array([1.0, 0.0])), "beta": SCALED},
    ),
    "best_of_n": (kl.best_of_n, {**PROBLEM, "n": integer(2, 0, -1)}),
    "best_of_n_kl": (kl.best_of_n_kl, {**PROBLEM, "n": integer(2, 0, -1)}),
    "best_of_n_kl_bound": (kl.best_of_n_kl_bound, {"n": integer(2, 0, -1)}),
    "dpo_loss": (
        kl.dpo_loss,
        {
            **{
                prefix + side: log_probs()
                for prefix in ("logp_", "ref_logp_")
                for side in ("chosen", "rejected")
            },
            "beta": SCALED,
        },
    ),
    "reward_kl_frontier": (
        kl.reward_kl_frontier,
        {
            "ref": paired(0.5, 0.5).but(nested=([[0.5, 0.5]], V)),
            "reward": shaped([1.0, 0.0]),
            "betas": positive([1.0, 0.5]),
        },
    ),
    # sequences
    "TabularLM": (kl.TabularLM, {"tables": table_cases(), "eos": integer(1, 2, -1, optional=True)}),
    "TabularLM.random": (
        kl.TabularLM.random,
        {
            "vocabulary": integer(2, 0, -1),
            "horizon": integer(3, 0, -1),
            "rng": generator(),
            "order": integer(1, -1, optional=True),
            "eos": integer(1, 2, -1, optional=True),
        },
    ),
    "TabularLM.perturbed": (
        MODEL.perturbed, {"scale": number(0.5), "rng": generator()},
    ),
    "TabularLM.sample": (MODEL.sample, {"n": integer(2, 0, -1), "rng": generator()}),
    "TabularLM.log_prob": (MODEL.log_prob, {"tokens": tokens()}),
    "TabularLM.kl": (MODEL.kl, {"other": model(MODEL)}),
    "TabularLM.token_kl": (MODEL.token_kl, {"other": model(MODEL), "tokens": tokens()}),
    "TabularLM.kl_to_go": (MODEL.kl_to_go, {"other": model(MODEL)}),
    "TabularLM.sequences": (MODEL.sequences, {}),
    "example_pair": (kl.example_pair, {}),
    "sequence_kl_gradient": (
        kl.sequence_kl_gradient,
        {"policy": model(MODEL).but(*OTHERS), "other": model(MODEL), "future": flag(True)},
    ),
    "reward_to_go": (
        kl.reward_to_go,
        {
            "values": shaped([[1.0, 2.0], [3.0, 4.0]]).but(number=(1.0, V)),
            "mask": mask(np.ones((2, 2), dtype=bool)),
            "discount": number(0.5, -0.5, 1.5),
        },
    ),
}  # fmt: skip

_grpo_loss, _arguments = CALLS["grpo_loss"]
CALLS["grpo_loss, dr_grpo"] = (
    _grpo_loss,
    {key: Argument(each.value, {}) for key, each in _arguments.items()}
    | {
        "aggregation": Argument("dr_grpo", {}),
        "max_length": integer(2, 1, 0, -1, optional=True).but(missing=(None, V)),
    },
)


def parameter_names(function: Callable[..., Any]) -> Argument:
    good = {"logp": "logp", "logq": "logq"} if function is kl.audit_kl else None
    return Argument(good, {
        "number": (3, T),
        "text": ("logp", T),
        "list": (["logp", "logq"], T),
        "nothing": ({}, V),
        "one of them": ({"logp": "logp"}, V),
    })  # fmt: skip


CALLS["audit_kl"] = (
    kl.audit_kl,
    {
        "fn": Argument(kl.k1, {}),  # one that can't be audited is a finding, no error
        "arguments": parameter_names(kl.audit_kl),
        "use": name(None, optional=True),
        "backend": name("numpy").but("None"),
    },
)
CALLS["audit_grpo_loss"] = (
    kl.audit_grpo_loss,
    {
        "fn": Argument(lambda logp, logp_old, logp_ref, advantages, mask: logp.sum(), {}),
        "arguments": parameter_names(kl.audit_grpo_loss),
        "beta": SCALED,
        "clip": CALLS["grpo_loss"][1]["clip"],
        "max_length": integer(7, 4, -1),
        "backend": name("numpy").but("None"),
    },
)


# Figures: what is drawn along an axis, and by name over it.

X = [0.5, 1.0, 2.0]


def line(values: Any = X) -> Argument:
    """The numbers along an axis."""
    return shaped(values).but("longer", number=(1.0, V))


def height(values: Any = X, **more: tuple[object, type[Exception]]) -> Argument:
    """What is drawn over an axis; NaN and infinities leave a gap."""
    return shaped(values).but("NaN", "+inf", "-inf", number=(1.0, V), **more)


def series(*names: str, most: int = 9, value: Any = X, lookup: bool = False) -> Argument:
    """Values by name, each as long as the axis."""
    values = np.asarray(value)
    key = names[0]
    wrong: Wrong = {
        "None": (None, T),
        "number": (3, T),
        "array": (values, T),
        "list": ([values], T),
        "text": ("k1", T),
        "None inside": ({key: None}, T),
        "text inside": ({key: "text"}, T),
        "complex inside": ({key: values + 1j}, T),
        "objects inside": ({key: values.astype(object)}, T),
        "ragged inside": ({key: [[0.5], [0.5, 0.5]]}, V),
        "longer inside": ({key: np.append(values, [1.0])}, V),
        "empty inside": ({key: []}, V),
        "a number for a name": ({3: value}, V if lookup else T),
    }
    if lookup:
        wrong["unknown name"] = ({"nonsense": value}, V)
    if most < 9:
        wrong["too many"] = ({f"{i}": value for i in range(most + 1)}, V)
    return Argument(dict.fromkeys(names, value), wrong)


def text() -> Argument:
    return Argument("reward", {
        "None": (None, T), "number": (3, T), "list": (["reward"], T), "bytes": (b"reward", T),
    })  # fmt: skip


def texts(*values: str) -> Argument:
    return Argument(list(values), {
        "None": (None, T),
        "number": (3, T),
        "numbers": ([1] * len(values), T),
        "more": ([*values, "more"], V),
        "nothing": ([], V),
    })  # fmt: skip


def points(value: dict[str, tuple[float, float]], most: int = 9) -> Argument:
    wrong: Wrong = {
        "None": (None, T),
        "number": (3, T),
        "list": ([(1.0, 2.0)], T),
        "None inside": ({"a": None}, V),
        "text inside": ({"a": ("x", "y")}, T),
        "three": ({"a": (1.0, 2.0, 3.0)}, V),
        "one": ({"a": 1.0}, V),
        "NaN": ({"a": (NAN, 2.0)}, V),
        "a number for a name": ({3: (1.0, 2.0)}, T),
    }
    if most:
        wrong["too many"] = ({f"{i}": (1.0, 2.0) for i in range(most + 1)}, V)
    return Argument(value, wrong)


def curves(*names: str, most: int) -> Argument:
    """Pairs of coordinates by name."""
    good = ([0.1, 0.2], [0.3, 0.4])
    wrong: Wrong = {
        "None": (None, T),
        "number": (3, T),
        "list": ([good], T),
        "None inside": ({"a": None}, V),
        "texts inside": ({"a": (["x"], ["y"])}, T),
        "complex inside": ({"a": ([1j], [1.0])}, T),
        "lengths": ({"a": ([0.1, 0.2], [0.3])}, V),
        "three": ({"a": ([0.1], [0.2], [0.3])}, V),
        "empty": ({"a": ([], [])}, V),
        "NaN": ({"a": ([NAN, 0.1], [0.3, 0.4])}, V),
        "a number for a name": ({3: good}, T),
        "too many": ({f"{i}": good for i in range(most + 1)}, V),
    }
    return Argument(dict.fromkeys(names, good), wrong)


def pair_of_lines() -> Argument:
    return Argument(([0.0, 1.0], [0.0, 0.5]), {
        "None": (None, V),
        "number": (3, V),
        "texts": ((["a"], ["b"]), T),
        "complex": (([1j], [1.0]), T),
        "lengths": (([0.0, 1.0], [0.5]), V),
        "three": (([0.0], [1.0], [2.0]), V),
        "one": (([0.0, 1.0],), V),
        "empty": (([], []), V),
        "NaN": (([NAN, 1.0], [0.0, 1.0]), V),
    })  # fmt: skip


AX = Figure().add_subplot()
OVER_X = {"x": line()}
FIGURES: dict[str, dict[str, Argument]] = {
    "plot_frontier": {"frontier": pair_of_lines(), "policies": curves("a", most=5)},
    "plot_overoptimisation": {
        "divergence": line().but(negative=([-1.0, 0.0, 1.0], V)), "rewards": series("a", most=3),
    },
    "plot_clamp": {"log_r": line(), "curves": series("a", most=3), "cut": number(1.0)},
    "plot_fits": {"x": line(), "target": height(), "fits": series("a", most=3)},
    "plot_loss_surface": {
        "mean": line([0.0, 1.0]),
        "std": line([1.0, 2.0]).but(negative=([-1.0, 1.0], V), zero=([0.0, 1.0], V)),
        "loss": height([[0.1, 0.9], [2.0, 3.0]], vector=([0.1, 0.9], V)),
        "optima": Argument([(0, 1, 0.1)], {
            "None": (None, T),
            "number": (3, V),
            "nothing": ([], V),
            "pair": ([(0, 1)], V),
            "texts": ([("a", "b", "c")], T),
            "NaN": ([(0, 1, NAN)], V),
        }),
    },
    "plot_branches": {
        "separation": line(), "branches": series("a", most=3),
        "marks": points({"wins": (1.0, 0.5)}, most=2),
    },
    "plot_descent": {"steps": line(), "divergences": series("a", most=2)},
    "plot_inequality": {
        "r": line().but(zero=([0.0, 1.0], V), negative=([-1.0, 1.0], V)),
    },
    "plot_terms": {
        "textbook": line([0.3, -0.1]), "shifted": height([0.1, 0.2]), "names": texts("a", "b"),
    },
    "plot_evidence": {
        "paths": array([[0.1, 0.2], [0.2, 0.1]]).but(number=(1.0, V), vector=([0.1, 0.2], V)),
        "slope": number(0.1),
        "threshold": number(1.0),
    },
    "plot_against_kl": {"curves": curves("a", most=3), "quantity": text()},
    "plot_penalties": {"log_r": line(), "values": series("k1", lookup=True)},
    "plot_relative_deviation": {
        "kl": line(), "deviations": series("k1", lookup=True),
        "crossings": points({"k3 = k1": (0.6, 1.8)}),
    },
    "plot_variance_parabola": {"weights": line(), "variances": series("a", most=3)},
    "plot_running_means": {
        "n": line(),
        "means": height([X, X], vector=(X, V)).but("longer"),
        "truth": number(0.4, 0, -1),
    },
    "plot_generators": {"u": line(), "values": series("kl", lookup=True)},
    "plot_chords": {
        "u": line(), "curves": series("kl", lookup=True),
        "chords": Argument({"kl": [[0.5, 1.0, 2.0], [0.1, 0.0, 0.2]]}, {
            "None": (None, T),
            "number": (3, T),
            "another name": ({"k2": [[0.5, 1.0, 2.0], [0.1, 0.0, 0.2]]}, V),
            "two points": ({"kl": [[0.5, 1.0], [0.1, 0.0]]}, V),
            "texts": ({"kl": [["a"] * 3] * 2}, T),
            "NaN": ({"kl": [[0.5, NAN, 2.0], [0.1, 0.0, 0.2]]}, V),
        }),
    },
    "plot_local_divergences": {"steps": line(), "divergences": series("kl", lookup=True)},
    "plot_coefficients": {"log_ratio": line(), "coefficients": series("a", most=5)},
    "plot_leash": {
        "divergences": series("a", most=5).but("longer inside"),
    },
    "plot_pull": {"chance": line(), "pulls": series("a", most=2), "reference": number(0.5)},
    "plot_clip": {"ratio": line(), "gains": series("a", most=3)},
    "plot_training": {
        "steps": line(),
        "runs": series("a", most=3, value=[X, X]).but("longer inside", shorter=({"a": [[1.0]]}, V)),
        "quantity": text(),
    },
    "plot_logged": {
        "steps": line(),
        "exact": series("a", most=3),
        "logged": series("a").but(**{"another name": ({"b": X}, V)}),
    },
    "plot_tree": {
        "to_go": Argument([[0.5], [0.1, 0.2]], {
            "None": (None, V),
            "number": (3, V),
            "nothing": ([], V),
            "texts": ([["a"]], T),
            "NaN": ([[NAN], [0.1, 0.2]], V),
            "ragged": ([[0.5], [[0.1], [0.1, 0.2]]], V),
            "three of two": ([[0.5], [0.1, 0.2, 0.3]], V),
        }),
        "tokens": texts("a", "b").but("more", "nothing"),  # then to_go does not fit
    },
    "plot_growth": {
        "lengths": line().but(zero=([0.0, 1.0, 2.0], V)), "curves": series("a", most=3),
        "quantity": text(), "log": flag(False),
    },
    "use_book_style": {},
}  # fmt: skip
DRAWN_ON = Argument(AX, {"text": ("axes", T), "number": (3, T), "figure": (Figure(), T)})
for _name, _data in FIGURES.items():
    _where = {} if _name == "use_book_style" else {"ax": DRAWN_ON}
    CALLS[f"plotting.{_name}"] = (getattr(plotting, _name), {**_data, **_where})

ARGUMENTS = [(call, argument) for call, (_, arguments) in CALLS.items() for argument in arguments]


def public_callables() -> set[str]:
    """Return all functions and classes, and the methods of the classes that take arguments."""
    found = {f"plotting.{name}" for name in plotting.__all__}
    for name_ in kl.__all__:
        value = getattr(kl, name_)
        if inspect.isclass(value):
            methods = {
                f"{name_}.{key}"
                for key, method in vars(value).items()
                if not key.startswith("_") and callable(getattr(value, key))
                and len(inspect.signature(getattr(value, key)).parameters) > 1
            }  # fmt: skip
            found |= methods | ({name_} - {record.__name__ for record in RECORDS})
        elif callable(value):
            found.add(name_)
    return found


def test_every_public_callable_and_every_parameter_is_in_the_table():
    assert public_callables() <= set(CALLS)
    for function, arguments in CALLS.values():
        assert set(inspect.signature(function).parameters) == set(arguments)


def called(call: str, argument: str | None = None, value: object = None) -> object:
    AX.clear()
    function, arguments = CALLS[call]
    given = {key: each.value for key, each in arguments.items()}
    return function(**(given if argument is None else given | {argument: value}))


@pytest.mark.parametrize("call", [call for call in CALLS if call != "plotting.use_book_style"])
def test_the_call_that_is_to_be_malformed_is_valid(call):
    called(call)


@pytest.mark.parametrize(("call", "argument"), ARGUMENTS, ids=map(" - ".join, ARGUMENTS))
def test_malformed_calls_name_the_argument(call, argument):
    wrong = CALLS[call][1][argument].wrong
    faults = {label: fault(call, argument, *case) for label, case in wrong.items()}
    assert {label: found for label, found in faults.items() if found} == {}


def fault(call: str, argument: str, value: object, error: type[Exception]) -> str | None:
    """Return what a malformed call does instead of raising an error that names the argument."""
    try:
        return f"returns {called(call, argument, value)!r}"
    except Exception as raised:  # warnings are errors, too
        # ValueError has subclasses that nobody documented, UnicodeError for one.
        right = type(raised) is error and re.search(rf"\b{argument}\b", str(raised))
        within = traceback.extract_tb(raised.__traceback__)[-1].filename.startswith(PACKAGE)
        return None if right and within else f"raises {raised!r}"


def main() -> None:
    """Print the number of malformed calls of each function."""
    width = max(map(len, CALLS))
    counts = [
        (call, sum(len(each.wrong) for each in arguments.values()))
        for call, (_, arguments) in CALLS.items()
    ]
    for call, count in [*counts, ("in all", sum(count for _, count in counts))]:
        print(f"{call:{width}} {count:4}")


if __name__ == "__main__":
    main()
