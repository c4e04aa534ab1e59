"""What this website adds to Jupyter Book: one Sphinx extension per concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

from website import node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

EXTENSIONS = [
    "address",
    "cards",
    "code",
    "colophon",
    "contents",
    "crawlers",
    "disclosure",
    "explorables",
    "figures",
    "head",
    "mathematics",
    "notebooks",
    "notfound",
    "pages",
    "previews",
    "search",
    "semantics",
]


def setup(app: Sphinx) -> dict[str, bool]:
    """Set them all up, after Node.js and its packages."""
    node.install()
    for name in EXTENSIONS:
        app.setup_extension(f"website.{name}")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
