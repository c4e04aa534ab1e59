"""What the concerns share of a build: when its pages are written, and where files go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def when_written(app: Sphinx, act: Callable[[Sphinx], None], *, priority: int = 500) -> None:
    """Act when all pages are written as HTML; what has a lower priority acts first."""

    def finish(app: Sphinx, exception: Exception | None) -> None:
        if not exception and app.builder.format == "html":
            act(app)

    app.connect("build-finished", finish, priority=priority)


def static(app: Sphinx, name: str = "") -> Path:
    """Return the folder for files that pages load, or one of this name within it."""
    folder = Path(app.outdir).resolve() / "_static" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
