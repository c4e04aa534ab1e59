"""Claims against pages, in both directions."""

from __future__ import annotations

import math
import re

import pytest

from tests.claims import load
from tests.claims.__main__ import PAGE, render
from tests.claims.pages import Statement, alternative_texts, paths, sources, statements, unmarked

CLAIMS = load()
STATEMENTS = [statement for path in paths() for statement in statements(path)]
NUMERAL = re.compile(r"([-−+]?)((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.(\d+))?)\s*(%|nats|bits)?")


def agrees(printed: str, computed: object) -> bool:
    """Whether `printed` is `computed`, rounded to the digits that are printed, or its words."""
    if isinstance(computed, bool):
        raise TypeError("a claim must return a number or the words of its link, not a bool")
    if isinstance(computed, str):
        return printed == computed
    value = float(computed)
    if printed == "∞":
        return value == math.inf
    match = NUMERAL.fullmatch(printed)
    if match is None:
        return False
    sign, digits, decimals, unit = match.groups()
    scale = 0.01 if unit == "%" else 1.0
    number = float(digits.replace(",", "")) * (-1 if sign in ("-", "−") else 1)
    if decimals is None and unit != "%":  # a whole number is exact, so that 0 is not 0.4
        return math.isclose(value, number, rel_tol=1e-9, abs_tol=1e-9)
    half = 0.5 * 10.0 ** -len(decimals or "")
    # The last term lets a tie, such as 0.0025 printed as 0.003, survive binary rounding.
    return abs(value / scale - number) <= half * (1 + 1e-9)


@pytest.mark.parametrize(
    "statement", dict.fromkeys(STATEMENTS), ids=lambda s: f"{s.page}#{s.name}={s.text}"
)
def test_the_printed_value_is_the_computed_one(statement: Statement) -> None:
    assert statement.name in CLAIMS, f"{statement.page}: no test for #{statement.name}"
    computed = CLAIMS[statement.name]()
    assert agrees(statement.text, computed), (
        f"{statement.page} prints {statement.text!r}, computed is {computed!r}"
    )


def test_every_claim_is_printed_somewhere() -> None:
    assert sorted(set(CLAIMS) - {statement.name for statement in STATEMENTS}) == []


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_every_result_in_the_prose_is_a_claim(path) -> None:
    assert [place for source in sources(path) for place in unmarked(source)] == []


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_results_in_alternative_texts_are_claimed_on_the_same_page(path) -> None:
    claimed = {statement.text for statement in statements(path)}
    for text in alternative_texts(path):
        assert set(re.findall(r"\d*\.\d+", text)) <= claimed, text


def test_the_claims_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == render(), "run `make claims`"


@pytest.mark.parametrize(
    ("printed", "computed"),
    [
        ("0.628", 0.6282158),
        ("−17.5 %", -0.17510),
        ("1,024", 1024),
        ("∞", math.inf),
        ("lower", "lower"),
    ],
)
def test_agreement(printed: str, computed: object) -> None:
    assert agrees(printed, computed)


@pytest.mark.parametrize(
    ("printed", "computed"),
    [
        ("0.628", 0.6289),  # last digit
        ("17.5 %", -0.17510),  # sign
        ("17.5", 0.17510),  # unit
        ("1,024", 1023),
        ("0", 5e-9),  # whole numbers are exact
        ("2", 2.4),
        ("∞", 1e308),
        ("lower", "higher"),
        ("about one", 1.0),  # words for a number
    ],
)
def test_disagreement(printed: str, computed: object) -> None:
    assert not agrees(printed, computed)


@pytest.mark.parametrize(
    "prose",
    [
        "The crossover is at 0.628 nats.",
        "It needs 55 samples.",
        "| KL | 0.5 |\n|---|---|\n| a | 20 |",
        "```{admonition} A box\n:class: tip\nbias of 17 %\n```",
        r"so $\KL{p}{q} = 0.25$ nats",
        r"$\mu \approx 1.1$",
        "$$x = 1.1209$$",
        "```{math}\nx = 1.1209\n```",
        "## Only 2 are left",
    ],
)
def test_an_unmarked_result_is_found(prose: str) -> None:
    assert unmarked(prose)


@pytest.mark.parametrize(
    "prose",
    [
        "k3 in float32, as Schulman (2020) has it in equation 4.",
        "[0.628](claims.md#k3-crossover) nats, or [20](http://joschu.net/blog/kl-approx.html).",
        r"Take $\mu = 0.1$, $\mathcal N(0, 1)$ and $T = 0.5$ in `q = 0.628`.",
        "```{math}\nr = q / p\n```",
        "It needs NumPy 2, and Python 3.11 to 3.13.",
    ],
)
def test_what_states_no_result_is_left_alone(prose: str) -> None:
    assert unmarked(prose) == []
