"""Files for programs that read the site: robots.txt, a site map, llms.txt; and its front door."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from website import address, build, contents, head

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Program text for the most part, and longer than all the others together.
LEFT_OUT = {"book/claims", "book/api", "book/bibliography"}


def setup(app: Sphinx) -> None:
    """Write them when the pages are written."""
    build.when_written(app, _write)


def _write(app: Sphinx) -> None:
    files = {
        "index.html": _door(app),
        "robots.txt": _robots(app),
        "llms.txt": _list(app),
        "llms-full.txt": _text(app),
    }
    if address.site(app):
        files["sitemap.xml"] = _map(app)
    for name, text in files.items():
        (Path(app.outdir) / name).write_text(text, "utf-8")


def _pages(app: Sphinx) -> list[str]:
    return [page for pages in contents.parts(app).values() for page in pages]


def _door(app: Sphinx) -> str:
    """Return the page at the root, which leads to the first, from a disk too."""
    first = f"{app.config.root_doc}.html"
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<meta charset="utf-8" />',
        f"<title>{escape(app.config.html_title)}</title>",
        *head.about(app, app.config.root_doc),
        f'<link rel="icon" href="_static/{Path(app.config.html_favicon).name}" />',
        f'<meta http-equiv="refresh" content="0; url={first}" />',
        f'<p><a href="{first}">{escape(contents.title(app, app.config.root_doc))}</a></p>',
        "</html>",
    ]
    if address.site(app):
        lines.insert(-3, f'<link rel="canonical" href="{address.site(app)}{first}" />')
    return "\n".join(lines) + "\n"


def _robots(app: Sphinx) -> str:
    place = f"\nSitemap: {address.site(app)}sitemap.xml\n" if address.site(app) else ""
    return f"User-agent: *\nAllow: /\n{place}"


def _map(app: Sphinx) -> str:
    places = "\n".join(
        f"  <url><loc>{escape(address.site(app))}{page}.html</loc></url>" for page in _pages(app)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{places}\n</urlset>\n"
    )


def _list(app: Sphinx) -> str:
    """Return the contents of the site as https://llmstxt.org wants it."""
    site = address.site(app)
    lines = [f"# {app.config.html_title}", "", f"> {app.config.summary}", ""]
    lines += [f"All chapters in one file, with their code and what it prints: {site}llms-full.txt"]
    for part, pages in contents.parts(app).items():
        lines += ["", f"## {part or 'Introduction'}", ""]
        for page in pages:
            link = f"[{contents.title(app, page)}]({site}{page}.html)"
            lines.append(f"- {link}: {contents.description(app, page)}")
    return "\n".join(lines) + "\n"


def _text(app: Sphinx) -> str:
    """Return the text of the pages in Markdown, one after the other."""
    sources = (Path(app.env.doc2path(page)) for page in _pages(app) if page not in LEFT_OUT)
    return "\n\n".join(map(_markdown, sources)) + "\n"


def _markdown(source: Path) -> str:
    text = source.read_text("utf-8")
    if source.suffix != ".ipynb":
        return text.strip()
    return "\n\n".join(part for cell in json.loads(text)["cells"] for part in _cell(cell))


def _cell(cell: dict[str, Any]) -> list[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")
    printed = "".join(map(_printed, cell["outputs"])).rstrip()
    found = [f"```python\n{text}\n```"]
    found += [f"```\n{printed}\n```"] if printed else []
    found += [f"*Figure: {caption.strip()}*"] if caption else []
    return found


def _printed(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}\n"
    data = output.get("data", {})
    shown = "" if any(kind.startswith("image/") for kind in data) else data.get("text/plain", "")
    return "".join(output.get("text", shown)) + ("\n" if shown else "")
