"""Where the built site is."""

from __future__ import annotations

from pathlib import Path

HTML = Path(__file__).parents[2] / "_build" / "html"
if not (HTML / "index.html").exists():
    raise FileNotFoundError("There is no site to test in _build/html: run `make book` first.")
