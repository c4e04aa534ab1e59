"""Explorables: figures to be touched, each a script that a page loads when it comes into view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from website import build, node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "explorables"


def setup(app: Sphinx) -> None:
    """Bundle them, and let the pages that have one load it."""
    app.connect("builder-inited", _bundle)
    app.connect("html-page-context", _load)


def _bundle(app: Sphinx) -> None:
    node.run("explorables.mjs", str(build.static(app, FOLDER)))


def _load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if 'class="explorable"' in context.get("body", ""):
        app.add_css_file(f"{FOLDER}/explorables.css")
        app.add_js_file(f"{FOLDER}/loader.js", loading_method="defer")
