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

from website import build, node

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = "previews"
LINK = re.compile(r'href="([^"#]*[^"/]\.html#[^"]+)"')  # to another page
HEADINGS = ["h1", "h2", "h3", "h4"]


def setup(app: Sphinx) -> None:
    """Bundle the box, let all pages load it, and collect what it shows."""
    app.add_js_file(f"{FOLDER}/loader.js")
    app.add_css_file(f"{FOLDER}/box.css")
    app.connect("builder-inited", _bundle)
    build.when_written(app, _collect)


def _bundle(app: Sphinx) -> None:
    node.run("previews.mjs", str(build.static(app, FOLDER)))


def _collect(app: Sphinx) -> None:
    """Write, for each page, the previews of its links by their addresses."""
    for page in app.env.found_docs:
        path = Path(app.outdir) / f"{page}.html"
        links = set(LINK.findall(path.read_text("utf-8").partition("<article")[2]))
        shown = {href: _preview(path, unescape(href)) for href in sorted(links)}
        previews = {href: preview for href, preview in shown.items() if preview}
        script = f"const previews = {json.dumps(previews, ensure_ascii=False)};"
        (build.static(app, FOLDER) / f"{path.stem}.js").write_text(script, "utf-8")


@cache
def _places(path: Path) -> dict[str, Tag]:
    """Return the elements of a page that have an id, by it."""
    places = BeautifulSoup(path.read_text("utf-8"), "html.parser").find_all(id=True)
    return {str(place["id"]): place for place in places}


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
    parts: list[Tag | None] = [place]
    section = place if place.name == "section" else place.find_parent("section")
    if place.name == "dt":
        parts = [place, place.find_next_sibling("dd")]
    elif section and (place.name == "span" or place is section):
        # A heading, what is said first, and the first formula, code or summary.
        first = section.select_one(":scope > p, dl.py > dt")
        then = section.select_one(":scope > div.math, div.highlight, dl.py > dd > p")
        parts = [section.find(HEADINGS), first, then]
    return [part for part in parts if part]


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
