"""Notebooks to take away: each says how to get the package, and can be opened elsewhere.

Binder opens those of the repository, and installs what `.binder/` lists.  Colab installs nothing
by itself, so it opens those that readers download, from the branch to which the workflow that
publishes the site pushes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from website import address, build

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BRANCH = "notebooks"
IDENTITY = "get-the-package"
INSTALL = """\
from importlib.util import find_spec

if not find_spec("kltutorial"):  # on Colab, for example
    %pip install --quiet "kltutorial[plot] @ git+{repository}"\
"""
EXPLAIN = """\
This notebook computes with the package `kltutorial`, which comes with the book.
`make lab`, in a copy of the book's files, opens it with all that it needs.\
"""


def setup(app: Sphinx) -> None:
    """Complete the notebooks that readers download, and link to where they run."""
    app.connect("html-page-context", _add_buttons, priority=502)  # beside those of the theme
    build.when_written(app, _complete)


def _complete(app: Sphinx) -> None:
    for page in app.env.found_docs:
        source = Path(app.env.doc2path(page))
        if source.suffix == ".ipynb":
            notebook = nbformat.read(source, as_version=4)
            notebook.cells.insert(1, _first_cell(address.repository(app)))
            nbformat.write(notebook, Path(app.outdir) / "_sources" / f"{page}.ipynb")


def _first_cell(repository: str) -> NotebookNode:
    if not repository:
        return new_markdown_cell(EXPLAIN, id=IDENTITY)
    return new_code_cell(INSTALL.format(repository=repository), id=IDENTITY)


def _add_buttons(
    app: Sphinx, page: str, template: str, context: dict[str, Any], *event: Any
) -> None:
    repository = address.repository(app)
    if not repository or context.get("page_source_suffix") != ".ipynb":
        return
    services = {"Binder": _binder(repository, page)}
    if urlsplit(repository).netloc == "github.com":
        path = urlsplit(repository).path
        services["Colab"] = (
            f"https://colab.research.google.com/github{path}/blob/{BRANCH}/{page}.ipynb"
        )
    links = [
        {"type": "link", "text": f"Run on {name}", "url": url} for name, url in services.items()
    ]
    group = {"type": "group", "tooltip": "Run this notebook", "icon": "fas fa-rocket"}
    context["header_buttons"].insert(0, {**group, "buttons": links, "label": "launch-buttons"})


def _binder(repository: str, page: str) -> str:
    host, path = urlsplit(repository).netloc, urlsplit(repository).path
    place = f"gh{path}" if host == "github.com" else f"git/{quote(repository, safe='')}"
    return f"https://mybinder.org/v2/{place}/HEAD?urlpath=lab/tree/{page}.ipynb"
