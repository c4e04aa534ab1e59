"""A search over the sections of the book, in the reader's browser.

Sphinx's own knows words and pages.  A question is answered by a section: this one lists the
sections with what they say, in one script that asks nothing of a server.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from html import unescape
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx import addnodes

from website import build, mathematics, node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "search"
NAME = re.compile(r"[A-Za-z]\w*[_\dA-Z]\w*")  # others are words, and mean too much
# In MathML: a name as a subscript, space, a name, and what stands between two terms.
SUBSCRIPT = re.compile(r"<msub><mi>(.)</mi><mtext>(\w+)</mtext></msub>")
SPACE = re.compile("<mspace[^>]*>|\u2061")
APART = re.compile(r"<(mi|mo)\b[^>]*>([^\W\d_]{2,}|[-+−=<>≠≤≥≈∝‖←→]|&[lg]t;)</\1>")
# Formulas that are not read from left to right: ½ would be 12.
LAYOUT = re.compile(r"<m(?:frac|sqrt|root|sup|subsup|under|over|underover|table)\b")
DIALOG = ["dialog.css", "dialog.js"]  # for all pages, as they are
TITLES_ONLY = {"book/claims"}  # what a claim says is where it is made
CODE = (nodes.literal_block, nodes.doctest_block, addnodes.desc_signature)
UNREAD = (*CODE, nodes.math_block, nodes.label, nodes.raw, nodes.Invisible)
# What Sphinx copies for its own search.
SPHINX = ["searchtools.js", "language_data.js"]


def setup(app: Sphinx) -> None:
    """Replace Sphinx's search."""
    app.connect("builder-inited", _do_without_the_other)
    app.add_css_file(f"{FOLDER}/dialog.css")
    app.add_js_file(f"{FOLDER}/dialog.js")
    app.connect("html-collect-pages", _write)
    app.connect("html-page-context", _load)
    build.when_written(app, _clean)


def _do_without_the_other(app: Sphinx) -> None:
    app.builder.search = False  # type: ignore[attr-defined]


def _write(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Write the script with its style, and have the page written that loads them."""
    folder = build.static(app, FOLDER)
    for name in DIALOG:
        shutil.copy(node.HERE / FOLDER / name, folder)
    sections = list(_sections(app))
    _drop_common_lines(sections)
    node.run("search.mjs", str(folder / "search.js"), stdin=json.dumps(sections))
    yield "search", {}, "search.html"


def _drop_common_lines(sections: list[dict[str, str]]) -> None:
    """Leave out what many sections say alike: it leads to none of them."""
    texts = [section.get("text", "").splitlines() for section in sections]
    count = Counter(line for lines in texts for line in lines)
    for section, lines in zip(sections, texts, strict=True):
        if lines:
            section["text"] = "\n".join(line for line in lines if count[line] <= 5)


def _load(app: Sphinx, page: str, *event: Any) -> None:
    if page == "search":
        app.add_css_file(f"{FOLDER}/search.css")
        app.add_js_file(f"{FOLDER}/search.js", loading_method="defer")


def _clean(app: Sphinx) -> None:
    for name in SPHINX:
        (build.static(app) / name).unlink(missing_ok=True)


def _sections(app: Sphinx) -> Iterator[dict[str, str]]:
    """Yield all sections of all pages, in the order of the pages' names."""
    for page in sorted(app.env.found_docs):
        doctree = app.env.get_and_resolve_doctree(page, app.builder)
        address = app.builder.get_relative_uri("search", page)
        for section in doctree.findall(_is_section):
            title, *content = section.children
            top = isinstance(section.parent, nodes.document)
            yield {
                "page": app.env.titles[page].astext(),
                "title": _lines(app, title.children),
                "address": address if top else f"{address}#{section['ids'][0]}",
                **({} if page in TITLES_ONLY else _content(app, content)),
            }


def _is_section(element: nodes.Node) -> bool:
    # Exercises and theorems are sections to docutils, without a title.
    return isinstance(element, nodes.section) and isinstance(element.children[0], nodes.title)


def _content(app: Sphinx, content: list[nodes.Node]) -> dict[str, str]:
    own = [element for element in content if not _is_section(element)]
    blocks = [block.astext() for element in own for block in element.findall(_is_code)]
    names = set(NAME.findall(" ".join(blocks)))
    return {"text": _lines(app, own), "code": " ".join(sorted(names))}


def _is_code(element: nodes.Node) -> bool:
    return isinstance(element, CODE)


def _lines(app: Sphinx, elements: Iterable[nodes.Node]) -> str:
    lines = "".join(_text(app, element) for element in elements).splitlines()
    # Once each: the bibliography, resolved a second time, has every entry twice.
    return "\n".join(filter(None, dict.fromkeys(" ".join(line.split()) for line in lines)))


def _text(app: Sphinx, element: nodes.Node) -> str:
    """Return what the element says, a line for each block of text."""
    if isinstance(element, nodes.Text):
        return element.astext().replace("\n", " ")
    if isinstance(element, nodes.math):
        return _formula(mathematics.mathml(app.env, element))
    if isinstance(element, UNREAD):
        return ""
    if isinstance(element, nodes.row):
        cells = (" ".join(_text(app, cell).split()) for cell in element.children)
        return " · ".join(filter(None, cells)) + "\n"
    is_output = element.get("nb_element") == "cell_code_output"
    within = element.findall(nodes.caption) if is_output else element.children
    text = "".join(_text(app, child) for child in within)
    return text if isinstance(element, nodes.Inline) else f"{text}\n"


def _formula(mathml: str) -> str:
    if LAYOUT.search(mathml):
        return "…"
    apart = APART.sub(r" \2 ", SPACE.sub(" ", SUBSCRIPT.sub(r"\1_\2", mathml)))
    text = unescape(re.sub("<[^>]*>", "", apart)).strip()
    tight = re.sub(r"(?<=\w)\s+(?=\()|(?<=\()\s+|\s+(?=[),])", "", text)
    return unicodedata.normalize("NFKC", tight)
