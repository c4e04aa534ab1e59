"""What docutils and MyST-NB write, in HTML that screen readers read as it is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html5 import HTML5Translator


def setup(app: Sphinx) -> None:
    """Write these nodes in our own way."""
    app.add_node(nodes.citation, override=True, html=(_citation, _end_of_citation))
    app.add_node(HideCodeCellNode, override=True, html=(_hidden, depart_HideCellInput))


def _citation(translator: HTML5Translator, citation: nodes.citation) -> None:
    # The role that docutils gives, doc-biblioentry, is deprecated, and no item of a list.
    translator.body.append(translator.starttag(citation, "div", CLASS="citation"))


def _end_of_citation(translator: HTML5Translator, citation: nodes.citation) -> None:
    translator.body.append("</div>\n")


def _hidden(translator: HTML5Translator, cell: HideCodeCellNode) -> None:
    # The title is what is seen, and one of two: MyST-NB's label is neither.
    classes = " ".join(cell["classes"])
    translator.body.append(
        f'<details class="admonition hide {classes}"><summary>'
        f'<p class="collapsed admonition-title">{cell["prompt_show"]}</p>'
        f'<p class="expanded admonition-title">{cell["prompt_hide"]}</p></summary>'
    )
