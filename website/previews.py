"""Previews of what links lead to: a term, a citation, a function, a section, a claim's test."""

from __future__ import annotations

import json
import re
from copy import copy
from functools import cache
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from website import node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "previews"
LINK = re.compile(r'href="([^"#]*[^"/]\.html#[^"]+)"')  # to another page
HEADINGS = ["h1", "h2", "h3", "h4"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Bundle the box, let all pages load it, and collect what it shows."""
    app.add_js_file(f"{FOLDER}/loader.js")
    app.add_css_file(f"{FOLDER}/box.css")
    app.connect("builder-inited", _bundle)
    app.connect("build-finished", _collect)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _bundle(app: Sphinx) -> None:
    folder = Path(app.outdir) / "_static" / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    node.run("previews.mjs", str(folder.resolve()))


def _collect(app: Sphinx, exception: Exception | None) -> None:
    """Write, for each page, the previews of its links by their addresses."""
    if exception or app.builder.format != "html":
        return
    root = Path(app.outdir)
    for page in app.env.found_docs:
        path = root / f"{page}.html"
        links = set(LINK.findall(path.read_text("utf-8").partition("<article")[2]))
        shown = {href: _preview(path, unescape(href)) for href in sorted(links)}
        previews = {href: preview for href, preview in shown.items() if preview}
        script = f"const previews = {json.dumps(previews, ensure_ascii=False)};"
        (root / "_static" / FOLDER / f"{path.stem}.js").write_text(script, "utf-8")


@cache
def _places(path: Path) -> dict[str, Tag]:
    """Return the elements of a page that have an id, by it."""
    places = BeautifulSoup(path.read_text("utf-8"), "html.parser").find_all(id=True)
    return {place["id"]: place for place in places}


@cache
def _preview(page: Path, href: str) -> str:
    """Return what a link of the page leads to, if that is worth a preview."""
    address = urlsplit(href)
    target = page.parent / address.path
    if address.netloc or not target.exists():
        return ""
    place = _places(target.resolve()).get(unquote(address.fragment))
    return "".join(map(_plain, _parts(place))) if place else ""


def _parts(place: Tag) -> list[Tag]:
    """Return the elements that say what is at a place."""
    if place.name == "dt":
        return [place, place.find_next_sibling("dd")]
    section = place if place.name == "section" else place.find_parent("section")
    if place.name == "span" or place is section:
        # A heading, what is said first, and the first formula, code or summary.
        first = section.select_one(":scope > p, dl.py > dt")
        then = section.select_one(":scope > div.math, div.highlight, dl.py > dd > p")
        return [part for part in (section.find(HEADINGS), first, then) if part]
    return [place]


def _plain(part: Tag) -> str:
    """Return an element as HTML without links, buttons and ids, which the page has already."""
    part = copy(part)
    for unwanted in part.select(".headerlink, .viewcode-link, button"):
        unwanted.decompose()
    for element in [part, *part.find_all(True)]:
        del element["id"]
        if element.name == "a":
            element.unwrap()
        elif element.name in ("dt", "dd", *HEADINGS):
            element.name = "div" if element.name == "dd" else "p"
    return str(part)
