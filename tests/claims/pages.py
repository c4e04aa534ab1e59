"""What the pages of the book say: their claims, and the numerals that are not claims."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from mdit_py_plugins.myst_role import myst_role_plugin

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?:book/)?claims\.md#(.+)")

_MARKDOWN = (
    MarkdownIt("commonmark")
    .enable("table")
    .use(dollarmath_plugin, double_inline=True)
    .use(myst_role_plugin)
    .use(myst_block_plugin)
)
# Directives whose body is prose; of the others nothing is read.
_PROSE = re.compile(r"\{(admonition|note|tip|warning|important|exercise\S*|solution\S*|prf:\S+)\}")
_NOT_PROSE = re.compile(r"\{(eval-rst|bibliography|tableofcontents)\}")

# Digits that state no result: names (k3, float32, GPT-2), years, and references by number.
_HARMLESS = re.compile(
    r"[^\W\d_][\w-]*\d[\w.]*|\b(?:19|20)\d\d\b|\b(?:[Ee]xercise|[Ee]quations?|[Ss]ections?|Python|NumPy)"
    r" \d+(?:(?:[.–-]| and | to )\d+)*"
)
_DECIMAL = re.compile(r"\d*\.\d+|\d+")
_RELATION = re.compile(r"(=|\\approx|\\le|\\ge|\\to|<|>)\s*-?\d*\.\d")
_ASSIGNMENT = re.compile(
    r"(?:^|[\s,(])(?:[A-Za-z]|\\[a-z]+)(?:_\w|_\{\w+\})?(?:\^2)?\s*=\s*-?\d*\.\d"
)


@dataclass(frozen=True)
class Statement:
    """One claim as printed: its page, its words and the name that it links to."""

    page: str
    text: str
    name: str


def paths() -> list[Path]:
    """Return every page that is written by hand: README, and the book but for generated pages."""
    generated = {"claims.md", "trainers.md", "api.md"}
    book = sorted([*(ROOT / "book").glob("*.md"), *(ROOT / "book").glob("*.ipynb")])
    return [ROOT / "README.md", *(path for path in book if path.name not in generated)]


def sources(path: Path) -> list[str]:
    """Return the Markdown of a page: its text, cells and captions."""
    if path.suffix == ".md":
        return [path.read_text("utf-8")]
    cells = json.loads(path.read_text("utf-8"))["cells"]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    figures = [cell["metadata"]["mystnb"]["figure"] for cell in cells if _is_figure(cell)]
    return prose + [figure["caption"] for figure in figures]


def alternative_texts(path: Path) -> list[str]:
    """Return the texts that stand for the figures of a notebook where they can't be seen."""
    if path.suffix == ".md":
        return []
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [cell["metadata"]["mystnb"]["image"]["alt"] for cell in cells if _is_figure(cell)]


def statements(path: Path) -> list[Statement]:
    """Return the claims of a page, in order."""
    page = path.relative_to(ROOT).as_posix()
    return [
        Statement(page, text, match[1])
        for source in sources(path)
        for text, target in _links(_inline(source))
        if (match := LINK.fullmatch(target))
    ]


def unmarked(source: str) -> list[str]:
    """Return the places in a Markdown text where a numeral states a result without a link."""
    return [place for tokens in _inline(source) for place in _unmarked_in(tokens)]


def _is_figure(cell: dict) -> bool:
    return "figure" in cell["metadata"].get("mystnb", {})


def _inline(source: str) -> Iterator[list[Token]]:
    """Yield the inline content of each block, directives included."""
    for token in _MARKDOWN.parse(source):
        directive = token.info if token.type == "fence" and token.info.startswith("{") else ""
        if token.type == "inline":
            yield token.children or []
        elif token.type.startswith("math") or directive.startswith("{math}"):
            yield [Token("math_block", "", 0, content=token.content)]
        elif _PROSE.match(directive):
            yield from _inline(directive.partition("}")[2])
            yield from _inline(re.sub(r"^:[\w-]+:.*\n", "", token.content, flags=re.M))
        elif directive and not _NOT_PROSE.match(directive):
            raise ValueError(f"is the body of {directive} prose? say so in {__file__}")


def _links(blocks: Iterator[list[Token]]) -> Iterator[tuple[str, str]]:
    for tokens in blocks:
        for i, token in enumerate(tokens):
            if token.type == "link_open":
                close = next(j for j in range(i, len(tokens)) if tokens[j].type == "link_close")
                text = "".join(inner.content for inner in tokens[i:close])
                yield text, str(token.attrs["href"])


def _unmarked_in(tokens: list[Token]) -> Iterator[str]:
    in_link = False
    for token in tokens:
        if token.type in ("link_open", "link_close"):
            in_link = token.type == "link_open"
        elif in_link:
            continue
        elif (token.type == "text" and re.search(r"\d", _HARMLESS.sub("", token.content))) or (
            token.type.startswith("math") and _states_a_result(token.content)
        ):
            yield token.content


def _states_a_result(formula: str) -> bool:
    """Whether a formula holds a number that must have been computed, not chosen."""
    if any(len(number.replace(".", "").strip("0")) > 2 for number in _DECIMAL.findall(formula)):
        return True
    return len(_RELATION.findall(formula)) > len(_ASSIGNMENT.findall(formula))
