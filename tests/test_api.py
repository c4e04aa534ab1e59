"""Package and book point at each other."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

import kltutorial
from kltutorial import plotting

BOOK = Path(__file__).parents[1] / "book"
FUNCTIONS = {name: getattr(kltutorial, name) for name in kltutorial.__all__}  # and classes


def anchor(name: str) -> str:
    return f"api.md#{name.lower()}"


def test_the_api_page_lists_every_public_name_once():
    listed = re.findall(r"^### (\w+)$", (BOOK / "api.md").read_text("utf-8"), flags=re.M)
    assert sorted(listed) == sorted([*kltutorial.__all__, *plotting.__all__])


@pytest.mark.parametrize("name", sorted(name for name in FUNCTIONS if callable(FUNCTIONS[name])))
def test_every_docstring_has_an_example_and_names_its_chapter(name):
    text = inspect.getdoc(FUNCTIONS[name])
    chapters = re.findall(r":doc:`[^<]+</book/(\w+)>`", text)
    assert chapters
    assert all((BOOK / f"{chapter}.ipynb").exists() for chapter in chapters)
    if inspect.isfunction(FUNCTIONS[name]):
        assert ">>> " in text


@pytest.mark.parametrize("path", sorted(BOOK.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_chapter_links_the_functions_it_uses(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    used = set(re.findall(r"\bkl\.(\w+)", code)) & set(FUNCTIONS)
    assert used
    assert {name for name in used if anchor(name) not in prose} == set()
