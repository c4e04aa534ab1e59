"""What stands below every page: the version of the package, and where to report an error."""

from __future__ import annotations

from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from website import address, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SECTION = "found-an-error"


def setup(app: Sphinx) -> None:
    """Add to the footer of every page."""
    app.connect("html-page-context", _add)


def _add(app: Sphinx, page: str, template: str, context: dict[str, Any], *event: Any) -> None:
    link = f'<a href="{escape(_where_to_report(app, page, context))}">Found an error?</a>'
    context["theme_extra_footer"] = f"<p>kltutorial {version('kltutorial')} · {link}</p>"


def _where_to_report(app: Sphinx, page: str, context: dict[str, Any]) -> str:
    if not address.repository(app):
        return f"{context['pathto'](app.config.root_doc).rstrip('#')}#{SECTION}"
    title = context.get("title", page.title())
    if page in app.env.titles:
        title = contents.title(app, page)
    return f"{address.repository(app)}/issues/new?{urlencode({'title': f'{title}: '})}"
