"""What a page says of itself to search engines, to browsers, and to those who share it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from website import address, cards, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# The browser's own frame has the colour of the page.
COLOURS = [
    '<meta name="theme-color" content="#ffffff" media="(prefers-color-scheme: light)" />',
    '<meta name="theme-color" content="#121212" media="(prefers-color-scheme: dark)" />',
]


def setup(app: Sphinx) -> None:
    """Add to the head of every page."""
    app.connect("html-page-context", _add)


def about(app: Sphinx, page: str) -> list[str]:
    """Return the description of a page, and its card where the site has an address."""
    description = contents.description(app, page)
    found = [f'<meta name="description" content="{escape(description)}" />']
    if address.site(app) and page in app.env.found_docs:
        title = contents.title(app, page)
        card = {
            "og:type": "website" if page == app.config.root_doc else "article",
            "og:site_name": app.config.html_title,
            "og:title": title,
            "og:description": description,
            "og:url": f"{address.site(app)}{page}.html",
            "og:image": f"{address.site(app)}{cards.path(page)}",
            "og:image:width": cards.WIDTH,
            "og:image:height": cards.HEIGHT,
            "og:image:alt": title,
        }
        found += [
            f'<meta property="{name}" content="{escape(str(content))}" />'
            for name, content in card.items()
        ]
        found.append('<meta name="twitter:card" content="summary_large_image" />')
    return found


def _add(app: Sphinx, page: str, template: str, context: dict[str, Any], *event: Any) -> None:
    more = [*about(app, page), *COLOURS]
    context["metatags"] = "\n    ".join([context.get("metatags", ""), *more, ""])
