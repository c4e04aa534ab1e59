"""Write the claims page of the book: ``python -m tests.claims``."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from types import ModuleType

from tests.claims import body, load
from tests.claims.pages import ROOT, Statement, paths, statements

PAGE = ROOT / "book" / "claims.md"

HEAD = """\
---
tocdepth: 2
---

# Claims

Every result that these pages print as a number is computed again by a test.
So are their statements on direction, bias, variance and gradient.
Such a claim is a link that wears a small tick; it leads here, to the code that was run.
The test reads the value from the page and compares it, digit by digit, with what the code returns.
A claim without a test fails, and so does a test without a claim, or a result that is not marked.
`make check` runs them all.
"""


def title(page: str) -> str:
    """Return the first heading of a page."""
    path = ROOT / page
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    return next(line[2:] for line in text.splitlines() if line.startswith("# "))


def render() -> str:
    """Return the claims page."""
    printed: dict[str, list[Statement]] = {}
    for path in paths():
        for statement in statements(path):
            printed.setdefault(statement.name, []).append(statement)
    parts = [HEAD]
    previous = None
    for name, claim in load().items():
        function = body(claim)
        if previous is None or function.__module__ != previous.__module__:
            module = inspect.getmodule(function)
            parts.append(f"## {module.__doc__.strip().rstrip('.')}\n")
            parts.append(f"Shared by the claims below:\n\n```python\n{shared(module)}\n```\n")
        parts.append(f"### {name}\n\nPrinted: {places(printed.get(name, []))}.\n")
        if function is not previous:
            code = re.sub(r"\A@claim.*\n", "", inspect.getsource(function)).rstrip()
            parts.append(f"```python\n{code}\n```\n")
            first = name
        else:
            parts.append(f"By the code of [{first}](#{first}), for another case.\n")
        previous = function
    return "\n".join(parts)


def places(found: list[Statement]) -> str:
    """Return what is printed, and on which pages."""
    pages = {
        text: {s.page: None for s in found if s.text == text} for text in (s.text for s in found)
    }
    return "; ".join(
        f"*{text}* in " + ", ".join(f"[{title(page)}]({link(page)})" for page in where)
        for text, where in pages.items()
    )


def shared(module: ModuleType) -> str:
    """Return what a module of claims defines besides them."""
    source = inspect.getsource(module)
    pieces = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
            continue
        text = ast.get_source_segment(source, node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            decorators = [f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list]
            if any(decorator.startswith("@claim") for decorator in decorators):
                continue
            text = f"\n\n{''.join(decorators)}{text}\n\n"
        pieces.append(text)
    return re.sub(r"\n{3,}", "\n\n\n", "\n".join(pieces)).strip()


def link(page: str) -> str:
    """Return the address of a page, seen from the claims page."""
    return Path(page).name if page.startswith("book/") else f"../{page}"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
