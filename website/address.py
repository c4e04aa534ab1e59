"""Where the site and its repository are, if that is known.

`_config.yml` says it, by `html.baseurl` and `repository.url`, or else the environment, so that a
workflow that publishes the site can fill in where it does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


def setup(app: Sphinx) -> None:
    """Complete the configuration before anything reads it."""
    app.connect("config-inited", _complete, priority=100)


def site(app: Sphinx) -> str:
    """Return the address of the site, with a slash at its end, or nothing."""
    return app.config.html_baseurl


def root_path(app: Sphinx) -> str:
    """Return the path to the site on its server."""
    return urlsplit(site(app)).path or "/"


def repository(app: Sphinx) -> str:
    """Return the address of the repository, without a slash at its end, or nothing."""
    return app.config.html_theme_options.get("repository_url", "")


def _complete(app: Sphinx, config: Config) -> None:
    url = config.html_baseurl or os.environ.get("SITE_URL", "")
    config.html_baseurl = url and url.rstrip("/") + "/"
    options = config.html_theme_options
    url = options.get("repository_url") or os.environ.get("SITE_REPOSITORY", "")
    options["repository_url"] = url.rstrip("/").removesuffix(".git")
