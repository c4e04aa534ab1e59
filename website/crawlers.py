"""What search engines read first: robots.txt, and a map of the site once its address is known."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from website import address, build, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> None:
    """Write both when the pages are written."""
    build.when_written(app, _write)


def _write(app: Sphinx) -> None:
    root = Path(app.outdir)
    (root / "robots.txt").write_text(_robots(app), "utf-8")
    if address.site(app):
        (root / "sitemap.xml").write_text(_map(app), "utf-8")


def _robots(app: Sphinx) -> str:
    place = f"\nSitemap: {address.site(app)}sitemap.xml\n" if address.site(app) else ""
    return f"User-agent: *\nAllow: /\n{place}"


def _map(app: Sphinx) -> str:
    places = "\n".join(
        f"  <url><loc>{escape(address.site(app))}{page}.html</loc></url>"
        for page in contents.pages(app)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{places}\n</urlset>\n"
    )
