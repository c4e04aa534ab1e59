"""The book for language models: llms.txt lists its pages, and llms-full.txt has their text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from website import address, build, contents

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Program text for the most part, and longer than all the others together.
LEFT_OUT = {"book/claims", "book/api", "book/bibliography"}


def setup(app: Sphinx) -> None:
    """Write both when the pages are written."""
    build.when_written(app, _write)


def _write(app: Sphinx) -> None:
    root = Path(app.outdir)
    (root / "llms.txt").write_text(_list(app), "utf-8")
    (root / "llms-full.txt").write_text(_text(app), "utf-8")


def _list(app: Sphinx) -> str:
    """Return the contents of the site as https://llmstxt.org wants it."""
    site = address.site(app)
    lines = [f"# {app.config.html_title}", "", f"> {app.config.summary}", ""]
    lines += [f"All chapters in one file, with their code and what it prints: {site}llms-full.txt"]
    for part, pages in contents.parts(app).items():
        lines += ["", f"## {part or 'Introduction'}", ""]
        for page in pages:
            link = f"[{contents.title(app, page)}]({site}{page}.html)"
            lines.append(f"- {link}: {contents.description(app, page)}")
    return "\n".join(lines) + "\n"


def _text(app: Sphinx) -> str:
    """Return the text of the pages in Markdown, one after the other."""
    sources = (Path(app.env.doc2path(page)) for page in contents.pages(app) if page not in LEFT_OUT)
    return "\n\n".join(map(_markdown, sources)) + "\n"


def _markdown(source: Path) -> str:
    text = source.read_text("utf-8")
    if source.suffix != ".ipynb":
        return text.strip()
    return "\n\n".join(part for cell in json.loads(text)["cells"] for part in _cell(cell))


def _cell(cell: dict[str, Any]) -> list[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")
    printed = "".join(map(_printed, cell["outputs"])).rstrip()
    found = [f"```python\n{text}\n```"]
    found += [f"```\n{printed}\n```"] if printed else []
    found += [f"*Figure: {caption.strip()}*"] if caption else []
    return found


def _printed(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return f"{output['ename']}: {output['evalue']}\n"
    data = output.get("data", {})
    shown = "" if any(kind.startswith("image/") for kind in data) else data.get("text/plain", "")
    return "".join(output.get("text", shown)) + ("\n" if shown else "")
