"""Figures that keep their place while the page loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.images import get_image_size
from sphinx.writers.html5 import HTML5Translator

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Write images with their size."""
    html = (_visit, HTML5Translator.depart_image)
    app.add_node(nodes.image, override=True, html=html)


def _visit(translator: HTML5Translator, image: nodes.image) -> None:
    # As attributes, since as styles the two would fix the shape on a narrow screen.
    size = get_image_size(str(Path(translator.builder.srcdir) / image["uri"]))
    HTML5Translator.visit_image(translator, image)
    if size:
        width, height = size
        attributes = f'<img width="{width}" height="{height}" '
        translator.body[-1] = translator.body[-1].replace("<img ", attributes, 1)
