"""What is in the book: its pages by parts, and a description of each page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from docutils import nodes

from website import mathematics

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

LONGEST = 160  # characters that a search engine shows
SENTENCES = re.compile(rf".{{60,{LONGEST - 1}}}[.?!](?= )")
CLAUSES = re.compile(rf".{{60,{LONGEST - 2}}}(?=[,;:] )")
SIGNS = {"msub": "_", "msup": "^", "mfrac": "/"}


def setup(app: Sphinx) -> None:
    """Describe the pages once their formulas are typeset."""
    app.add_config_value("summary", "", "html", str)
    app.connect("env-updated", _describe, priority=600)


def parts(app: Sphinx) -> dict[str, list[str]]:
    """Return the names of the pages of each part; those of the first page come without a title."""
    contents = app.config.external_site_map
    found = {"": [contents.root.docname]}
    for part in contents.root.subtrees:
        found[part.caption] = [str(page) for page in part.items]
    return found


def pages(app: Sphinx) -> list[str]:
    """Return the names of all pages, in the order in which they are read."""
    return [page for part in parts(app).values() for page in part]


def title(app: Sphinx, page: str) -> str:
    """Return the title of a page."""
    return app.env.titles[page].astext()


def description(app: Sphinx, page: str) -> str:
    """Return what a page is about, in at most LONGEST characters."""
    return app.env.descriptions.get(page) or app.config.summary  # type: ignore[attr-defined]


def _describe(app: Sphinx, env: BuildEnvironment) -> None:
    described = env.found_docs - {app.config.root_doc}  # that one has the summary
    env.descriptions = {page: _opening(env, page) for page in described}  # type: ignore[attr-defined]


def _opening(env: BuildEnvironment, page: str) -> str:
    """Return the first sentences of a page, or as much of the first as there is room for."""
    paragraphs = env.get_doctree(page).findall(nodes.paragraph)
    paragraph = next(paragraphs, nodes.paragraph()).deepcopy()
    for formula in list(paragraph.findall(nodes.math)):
        spoken = _spoken(ElementTree.fromstring(mathematics.mathml(env, formula)))
        formula.parent.replace(formula, nodes.Text(spoken))
    text = " ".join(paragraph.astext().split())
    if len(text) <= LONGEST:
        return text
    if sentences := SENTENCES.match(text):
        return sentences[0]
    clauses = CLAUSES.match(text)
    return f"{clauses[0] if clauses else text[: LONGEST - 2].rsplit(' ', 1)[0]} …"


def _spoken(formula: ElementTree.Element) -> str:
    """Return a formula as a line of text."""
    if formula.tag == "mspace":
        return " "
    within = [formula.text or "", *map(_spoken, formula)]
    return SIGNS.get(formula.tag, "").join(filter(None, within))
