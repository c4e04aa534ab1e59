"""What a finished page loads, and what it allows to be loaded.

The theme links a dozen style sheets and as many scripts, which delay the first paint, and draws
its icons by half a megabyte of script.  Whatever a theme links, the finished pages share one
style sheet, without the rules that no page uses, and one script, which waits until the page is
read; and a policy within each page forbids what is not of this site.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from website import build, fonts, node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Elements of a page, each with the white space before it.
LINK = re.compile(r'\s*<link\b[^>]*\brel="(stylesheet|preload)"[^>]*>')
SCRIPT = re.compile(r"\s*<script\b([^>]*)>(.*?)</script>", re.DOTALL)
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
HANDLER = re.compile(r'<[a-z][^>]*\son[a-z]+="([^"]*)"')
ADDRESS = re.compile(r'\b(?:href|src)="([^"?]+)')
EARLY = node.HERE / "early.js"
POLICY = [
    "default-src 'none'",
    "style-src 'self' 'unsafe-inline'",  # MathML says by style what is no attribute any more
    "img-src 'self' data:",
    "font-src data:",
    "connect-src 'self'",  # to read robots.txt, by which Lighthouse judges a page
    "form-action 'self'",
    "base-uri 'none'",
]


def setup(app: Sphinx) -> None:
    """Finish the pages when all else is done, each of them once."""
    app.connect("html-page-context", _forget_the_name_of_the_page, priority=999)
    app.connect("builder-inited", _start_over)
    build.when_written(app, _finish, priority=999)


def _forget_the_name_of_the_page(app: Sphinx, *event: Any) -> None:
    """Drop a script that is another on each page, for a switch of versions that we don't have."""
    scripts = event[2]["script_files"]
    scripts[:] = [script for script in scripts if "pagename" not in str(vars(script))]


def _start_over(app: Sphinx) -> None:
    """Have all pages written again, since none can be finished a second time."""
    for page in _written(Path(app.outdir)):
        page.unlink()


def _written(root: Path) -> list[Path]:
    # In an order that no disk decides: the first page says that of what all pages share.
    return sorted(path for path in root.rglob("*.html") if "_static" not in path.parts)


def _finish(app: Sphinx) -> None:
    root = Path(app.outdir).resolve()
    pages = [Page(path, root) for path in _written(root)]
    pages = [page for page in pages if any(page.sheets())]  # the root only leads to the first
    shared = set.intersection(*({*page.sheets(), *page.scripts()} for page in pages))
    sheets = [sheet for sheet in pages[0].sheets() if sheet in shared]
    scripts = [script for script in pages[0].scripts() if script in shared]
    versions = _merge(root, sheets, scripts, [page.text for page in pages])
    for page in pages:
        page.path.write_text(page.finished(shared, versions), "utf-8")


class Page:
    """A page, and what it links by the path from the root of the site."""

    def __init__(self, path: Path, root: Path):
        self.path, self.root = path, root
        self.text = path.read_text("utf-8")
        self.up = "../" * (len(path.relative_to(root).parts) - 1)

    def sheets(self) -> Iterator[str]:
        """Yield the style sheets."""
        for link in LINK.finditer(self.text):
            if link[1] == "stylesheet":
                yield self._linked(link[0])

    def scripts(self) -> Iterator[str]:
        """Yield what may wait: scripts that are linked, and in the head what follows them."""
        linked = False
        for script in SCRIPT.finditer(self.text):
            linked = linked or "src=" in script[1]
            if "src=" in script[1] or (linked and script.start() < self.text.index("</head>")):
                yield self._identity(script)

    def finished(self, shared: set[str], versions: dict[str, str]) -> str:
        """Return the page with one style sheet, one script, and a policy."""
        text = LINK.sub(lambda link: self._kept(link, shared), self.text)
        text = SCRIPT.sub(lambda script: self._waiting(script, shared), text)
        head, end, body = text.partition("</head>")
        head = VIEWPORT.sub("", head, count=len(VIEWPORT.findall(head)) - 1)
        assets = [
            f'<link rel="stylesheet" href="{self.up}_static/site.css?v={versions["css"]}" />',
            f"<script>{{{EARLY.read_text('utf-8')}}}</script>",
            f'<script defer src="{self.up}_static/site.js?v={versions["js"]}"></script>',
        ]
        head, defer, rest = head.partition("<script defer")
        head = "\n  ".join([head.rstrip(), *assets, defer + rest])
        # Without a script the colours of code are those of the light page.
        return _with_policy(
            (head + end + body).replace('data-theme="auto"', 'data-theme="light"', 1)
        )

    def _linked(self, element: str) -> str:
        address = ADDRESS.search(element)
        assert address, element
        path = self.path.parent / address[1]
        return path.resolve().relative_to(self.root).as_posix()

    def _identity(self, script: re.Match[str]) -> str:
        return self._linked(script[0]) if "src=" in script[1] else script[2]

    def _kept(self, link: re.Match[str], shared: set[str]) -> str:
        own = link[1] == "stylesheet" and self._linked(link[0]) not in shared
        return link[0] if own else ""

    def _waiting(self, script: re.Match[str], shared: set[str]) -> str:
        if self._identity(script) in shared:
            return ""
        if "src=" not in script[1] or "defer" in script[1]:
            return script[0]
        return script[0].replace("<script", "<script defer", 1)


def _merge(root: Path, sheets: list[str], scripts: list[str], pages: list[str]) -> dict[str, str]:
    """Write the style sheet and the script of all pages, and return a version of each."""
    static = root / "_static"
    used = [path.read_text("utf-8") for path in static.rglob("*.js") if "vendor" not in path.parts]
    asked = {
        "folder": str(root),
        "sheets": sheets,
        "scripts": [
            (root / script).read_text("utf-8") if script.endswith(".js") else script
            for script in scripts
            if "fontawesome" not in script
        ],
        "content": [{"raw": text, "extension": "html"} for text in pages]
        + [{"raw": text, "extension": "js"} for text in used],
    }
    versions = {}
    merged = json.loads(node.run("merge.mjs", stdin=json.dumps(asked)))
    merged["css"] = fonts.embed_icons(merged["css"], static)
    for suffix, text in merged.items():
        (static / f"site.{suffix}").write_text(text, "utf-8")
        versions[suffix] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return versions


def _with_policy(page: str) -> str:
    """Return the page with a policy that allows what is of this site, and its own short scripts."""
    scripts = {text for attributes, text in SCRIPT.findall(page) if "src=" not in attributes}
    scripts |= {unescape(handler) for handler in HANDLER.findall(page)}
    digests = " ".join(sorted(map(_digest, scripts)))
    policy = "; ".join([*POLICY, f"script-src 'self' 'unsafe-hashes' {digests}"])
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    charset = '<meta charset="utf-8" />'
    return page.replace(charset, f"{charset}\n    {meta}", 1)


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
