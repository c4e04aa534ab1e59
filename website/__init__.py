"""What this website adds to Jupyter Book: one module per concern, each with its own `setup`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from website import node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CONCERNS = [
    # what is known of the site and of the book
    "address",
    "contents",
    # how the elements of a page are written
    "code",
    "disclosure",
    "figures",
    "mathematics",
    "semantics",
    # what a page has beside its text
    "head",
    "colophon",
    "notebooks",
    # what answers its reader
    "explorables",
    "previews",
    "search",
    # what is there beside the pages of the book
    "cards",
    "crawlers",
    "llms",
    "notfound",
    "root",
    # what a page loads: the last to be done, since it is read from the pages
    "assets",
]


def setup(app: Sphinx) -> dict[str, bool]:
    """Set them all up, after Node.js and its packages."""
    node.install()
    for name in CONCERNS:
        import_module(f"website.{name}").setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
