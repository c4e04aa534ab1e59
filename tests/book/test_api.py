"""Package and book point at each other."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest

import kltutorial
from kltutorial import plotting
from tests.backends import CASES
from tests.test_backends import NUMBERS, NUMPY_ONLY
from tests.test_bad_input import RECORDS

BOOK = Path(__file__).parents[2] / "book"
API = (BOOK / "api.md").read_text("utf-8")
MODULES = [
    module
    for name, module in inspect.getmembers(kltutorial, inspect.ismodule)
    if not name.startswith("_")
]
WITHOUT_INPUT = {"example_pair", "leash_example"}
FUNCTIONS = {name: getattr(kltutorial, name) for name in kltutorial.__all__}  # and classes


def anchor(name: str) -> str:
    return f"api.md#{name.lower()}"


def source(path: Path, kind: str) -> str:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)


def test_the_api_page_lists_every_public_name_once():
    listed = re.findall(r"^### (\w+)$", API, flags=re.M)
    assert sorted(listed) == sorted([*kltutorial.__all__, *plotting.__all__])


def test_a_section_of_the_api_page_is_a_module():
    sections = [re.findall(r"^### (\w+)$", text, flags=re.M) for text in API.split("\n## ")[1:]]
    assert sections.pop(0) == []  # on arrays
    assert sorted(map(sorted, sections)) == sorted(sorted(module.__all__) for module in MODULES)


def test_the_table_of_arrays_has_every_function_in_the_row_that_its_tests_say():
    section = API.split("## Arrays\n")[1].split("\n## ")[0]
    rows = [re.findall(r"\[`(\w+)`\]\(#(\w+)\)", row) for row in section.split("\n|")[3:]]
    assert all(target == name.lower() for row in rows for name, target in row)
    functions = {case.function.__name__ for case in CASES.values()}
    listed = [sorted(name for name, _ in row) for row in rows]
    assert listed == [sorted(names) for names in (functions, NUMBERS, NUMPY_ONLY)]


def test_the_example_with_jax_finds_the_gradient():
    names = {}
    exec(re.search(r"```python\n# JAX\n(.*?)```", API, flags=re.DOTALL)[1], names)
    np.testing.assert_allclose(names["slope"], -np.expm1([-0.5, 0.25]) / 2, rtol=1e-6)


@pytest.mark.parametrize("path", sorted(BOOK.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_api_page_says_which_chapter_draws_which_figures(path):
    drawn = set(re.findall(r"plotting\.(plot_\w+)\(", source(path, "code")))
    row = re.search(rf"^\|.*\({path.name}\) \| (.+) \|$", API, flags=re.M)
    assert drawn == set(re.findall(r"\(#(\w+)\)", row[1] if row else ""))


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
    used = set(re.findall(r"\bkl\.(\w+)", source(path, "code"))) & set(FUNCTIONS)
    assert used
    prose = source(path, "markdown")
    assert {name for name in used if anchor(name) not in prose} == set()


def test_every_public_callable_with_an_input_occurs_in_a_property_test():
    public = {name for name in kltutorial.__all__ if callable(getattr(kltutorial, name))}
    public -= WITHOUT_INPUT | {record.__name__ for record in RECORDS}
    for value in (getattr(kltutorial, name) for name in kltutorial.__all__):
        if inspect.isclass(value):
            public |= {
                key for key, method in vars(value).items() if key[0] != "_" and callable(method)
            }
    used = set()
    for path in Path(__file__).parents[1].glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            decorators = getattr(node, "decorator_list", ())
            if any(ast.unparse(each).startswith("given(") for each in decorators):
                used |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
                used |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    assert public - used == set()
