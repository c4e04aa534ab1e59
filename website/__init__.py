"""What this website adds to Jupyter Book: one module per concern, each with its own `setup`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from website import node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CONCERNS = [
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
    for name in CONCERNS:
        import_module(f"website.{name}").setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
