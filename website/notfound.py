"""The page for addresses that lead nowhere, which a server shows at any depth.

So its links start at the root of the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    build.when_written(app, _from_the_root, priority=1000)


def _page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    parts = {
        part: [(page, contents.title(app, page)) for page in pages]
        for part, pages in contents.parts(app).items()
    }
    context = {"title": "Page not found", "parts": parts, "pageurl": None}
    yield PAGE, context, f"{PAGE}.html"


def _from_the_root(app: Sphinx) -> None:
    file = Path(app.outdir) / f"{PAGE}.html"
    pieces = SCRIPT.split(file.read_text("utf-8"))
    # Text and opening tags have links; every third piece is a script.
    pieces = [
        piece if index % 3 == 2 else RELATIVE.sub(rf'\1="{address.root_path(app)}', piece)
        for index, piece in enumerate(pieces)
    ]
    file.write_text("".join(pieces), "utf-8")
