"""Explorables: figures to be touched, each a script that a page loads when it comes into view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from website import node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "explorables"


def setup(app: Sphinx) -> dict[str, bool]:
    """Bundle them, and let the pages that have one load it."""
    app.connect("builder-inited", _bundle)
    app.connect("html-page-context", _load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _bundle(app: Sphinx) -> None:
    folder = Path(app.outdir) / "_static" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    node.run("explorables.mjs", str(folder.resolve()))


def _load(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if "data-explorable=" in context.get("body", ""):
        app.add_css_file(f"{FOLDER}/explorables.css")
        app.add_js_file(f"{FOLDER}/loader.js", loading_method="defer")
