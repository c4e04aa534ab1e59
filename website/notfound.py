"""The page for addresses that lead nowhere, which a server shows at any depth.

So its links start at the root of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from website import address, build, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = "404"
# A relative address, but for one within the page, in a tag: what scripts write stays, since the
# policy of the page allows them letter by letter.
SCRIPT = re.compile(r"(<script\b[^>]*>)(.*?)(?=</script>)", re.DOTALL)
RELATIVE = re.compile(r'\b(href|src|action|data-content_root)="(?:\./)?(?![#/]|[a-z]+:)')


def setup(app: Sphinx) -> None:
    """Write the page, and turn its links when all else is done."""
    app.connect("html-collect-pages", _page)
    app.connect("html-page-context", _without_address)
    build.when_written(app, _from_the_root, priority=1000)


def _page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    yield PAGE, {"title": "Page not found", "body": _body(app)}, "page.html"


def _body(app: Sphinx) -> str:
    (_, first), *parts = contents.parts(app).items()
    lists = "".join(f"<li>{escape(part)}{_list(app, pages)}</li>" for part, pages in parts)
    return (
        "<section><h1>Page not found</h1>"
        "<p>There is nothing at this address: the page may have moved, or the link may have "
        "lost a letter. Search the book, or pick a page.</p>"
        '<form role="search" action="search.html" class="bd-search d-flex border-0 ps-0">'
        '<input type="search" name="q" class="form-control" required="required" '
        'aria-label="Search this book" placeholder="Search this book" />'
        '<button type="submit" class="btn btn-primary">Search</button></form>'
        f"<h2>Contents</h2>{_list(app, first)}<ul>{lists}</ul></section>"
    )


def _list(app: Sphinx, pages: list[str]) -> str:
    entries = (f'<a href="{page}.html">{escape(contents.title(app, page))}</a>' for page in pages)
    return f"<ul>{''.join(f'<li>{entry}</li>' for entry in entries)}</ul>"


def _without_address(
    app: Sphinx, page: str, template: str, context: dict[str, Any], *event: Any
) -> None:
    if page == PAGE:
        context["pageurl"] = None


def _from_the_root(app: Sphinx) -> None:
    file = Path(app.outdir) / f"{PAGE}.html"
    pieces = SCRIPT.split(file.read_text("utf-8"))
    # Text and opening tags have links; every third piece is a script.
    pieces = [
        piece if index % 3 == 2 else RELATIVE.sub(rf'\1="{address.root_path(app)}', piece)
        for index, piece in enumerate(pieces)
    ]
    file.write_text("".join(pieces), "utf-8")
