"""Where the built site is, and what it consists of."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
if not (HTML / "index.html").exists():
    raise FileNotFoundError("There is no site to test in _build/html: run `make book` first.")

PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if "_static" not in path.parts and path != HTML / "index.html"
)
AXE = ROOT / "website" / "node_modules" / "axe-core" / "axe.min.js"
