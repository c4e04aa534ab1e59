"""Code with colours for words, comments and text alone.

Marks on each sign and number are most of the elements of a long page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygments.formatters import HtmlFormatter
from pygments.token import Name, Number, Operator, Punctuation, Whitespace
from sphinx.highlighting import PygmentsBridge

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PLAIN = {Name, Operator, Punctuation, Whitespace}


def setup(app: Sphinx) -> None:
    """Highlight with fewer marks."""
    PygmentsBridge.html_formatter = _Formatter


class _Formatter(HtmlFormatter):  # type: ignore[misc]
    def _get_css_classes(self, kind: Any) -> str:
        plain = kind in PLAIN or kind in Number
        return "" if plain else super()._get_css_classes(kind)
