"""Lighthouse: a page on a phone with slow 4G.  As a script, a table of all pages.

Beside them stands a chapter of this book as Jupyter Book builds it when it is told nothing else;
what it asks of other servers counts only where these can be reached.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.site import chromium
from tests.site.built import HTML, PAGES, ROOT
from tests.site.server import serving
from website import node

TABLE = ROOT / "_build" / "lighthouse.md"
STOCK = "sequences"  # a chapter with formulas, figures and code, and no explorable
COLUMNS = {
    "performance": lambda page: page["scores"]["performance"],
    "accessibility": lambda page: page["scores"]["accessibility"],
    "best practices": lambda page: page["scores"]["best-practices"],
    "SEO": lambda page: page["scores"]["seo"],
    "first paint, s": lambda page: f"{page['firstPaint']:.2f}",
    "largest paint, s": lambda page: f"{page['largestPaint']:.2f}",
    "blocked, ms": lambda page: round(page["blocked"]),
    "shift": lambda page: f"{page['shift']:.3f}",
    "kB": lambda page: round(page["bytes"] / 1000),
}


def measure(folder: Path, paths: list[str]) -> dict[str, dict]:
    """Return what Lighthouse says of the pages of a folder."""
    with serving(folder) as origin:
        report = node.run("lighthouse.mjs", chromium.find(), *(f"{origin}/{p}" for p in paths))
    return dict(zip(paths, json.loads(report).values(), strict=True))


def stock(folder: Path) -> dict[str, dict]:
    """Build a chapter with no configuration, and measure it."""
    shutil.copy(ROOT / "book" / f"{STOCK}.ipynb", folder / f"{STOCK}.ipynb")
    shutil.copy(ROOT / "book" / "references.bib", folder)
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: {STOCK}\n")
    (folder / "_config.yml").write_text("bibtex_bibfiles: [references.bib]\n")
    program = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([program, "build", folder], check=True, capture_output=True)
    return measure(folder / "_build" / "html", [f"{STOCK}.html"])


def row(name: str, page: dict) -> str:
    """Return a row of the table."""
    return f"| {name} | " + " | ".join(str(column(page)) for column in COLUMNS.values()) + " |"


def main() -> None:
    """Measure all pages, and write and print the table."""
    lines = []

    def add(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    add(f"| page | {' | '.join(COLUMNS)} |")
    add("|---" * (len(COLUMNS) + 1) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name, page in stock(Path(folder)).items():
            add(row(f"stock Jupyter Book: {name}", page))
    for path in PAGES:
        for name, page in measure(HTML, [path]).items():
            add(row(name, page))
    TABLE.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"wrote {TABLE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
