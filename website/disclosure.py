"""Solutions and other admonitions that are closed at first, as the browser's own `<details>`.

They need no script, move nothing when the page loads, and open when a link or a search within
the page leads into them.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Register the transform."""
    app.add_post_transform(_Disclosures)


class _Disclosures(SphinxPostTransform):
    default_priority = 950  # when all else is resolved
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for closed in list(self.document.findall(_is_closed)):
            title, *content = closed.children
            classes = " ".join(dict.fromkeys([*closed["classes"], "admonition"]))
            identity = f' id="{escape(closed["ids"][0])}"' if closed["ids"] else ""
            summary = nodes.inline("", "", *title.children)
            for link in list(summary.findall(nodes.reference)):
                link.parent.replace(link, link.children)  # a click there opens, whatever is hit
            place = closed.parent.index(closed)
            closed.parent[place : place + 1] = [
                _html(f'<details class="{classes}"{identity}><summary class="admonition-title">'),
                summary,
                _html("</summary>"),
                *content,
                _html("</details>"),
            ]


def _is_closed(element: nodes.Node) -> bool:
    return isinstance(element, nodes.Element) and "dropdown" in element.get("classes", [])


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")
