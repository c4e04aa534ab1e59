"""The page at the root of the site, which leads to the first of the book, from a disk too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from website import address, build, contents, head

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Write it when the pages are written."""
    build.when_written(app, _write)


def _write(app: Sphinx) -> None:
    first = app.config.root_doc
    context = {
        "about": "\n".join(head.about(app, first)),
        "book": app.config.html_title,
        "first": f"{first}.html",
        "icon": Path(app.config.html_favicon).name,
        "site": address.site(app),
        "title": contents.title(app, first),
    }
    text = app.builder.templates.render("root.html", context)
    (Path(app.outdir) / "index.html").write_text(f"{text}\n", "utf-8")
