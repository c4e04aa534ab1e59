"""What every notebook of the book keeps to, and that each of these checks can fail."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import kltutorial

BOOK = Path(__file__).parents[2] / "book"
# nbformat.read would repair what it reads, double ids for example.
NOTEBOOKS = {p.stem: nbformat.v4.reads(p.read_text("utf-8")) for p in sorted(BOOK.glob("*.ipynb"))}
MAX_LINES, MEDIAN_LINES, MIN_ALT = 25, 5, 40

Notebook = Cell = nbformat.NotebookNode
Problems = Iterator[str]


def code_cells(notebook: Notebook) -> list[Cell]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: Cell) -> list[str]:
    return cell.metadata.get("tags", [])


def execution(notebook: Notebook) -> Problems:
    """Every code cell was executed, once, from top to bottom."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}"


def outputs(notebook: Notebook) -> Problems:
    """Nothing failed unless it was meant to, and nothing warned."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                yield f"{cell.id} failed: {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":
                yield f"{cell.id} wrote to stderr: {output.text}"


def figures(notebook: Notebook) -> Problems:
    """Every figure has a caption, and a text that stands in for it."""
    for cell in code_cells(notebook):
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        if not any(kind.startswith("image/") for kind in kinds):
            continue
        about = cell.metadata.get("mystnb", {})
        caption = about.get("figure", {}).get("caption", "").strip()
        alt = about.get("image", {}).get("alt", "").strip()
        if not caption:
            yield f"{cell.id}: no caption"
        if len(alt) < MIN_ALT:
            yield f"{cell.id}: alt text of {len(alt)} characters, {MIN_ALT} are wanted"
        if alt and alt == caption:
            yield f"{cell.id}: the alt text repeats the caption"


def lengths(notebook: Notebook) -> Problems:
    """Cells are short enough to be read between two paragraphs."""
    lines = {cell.id: len(cell.source.splitlines()) for cell in code_cells(notebook)}
    yield from (f"{cell}: {n} lines" for cell, n in lines.items() if n > MAX_LINES)
    if lines and median(lines.values()) > MEDIAN_LINES:
        yield f"the median cell has {median(lines.values())} lines"


def metadata(notebook: Notebook) -> Problems:
    """Nothing that differs from one machine or one run to the next is stored."""
    if "version" in notebook.metadata.get("language_info", {}):
        yield "the Python version is stored"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    for cell in notebook.cells:
        if "execution" in cell.metadata:
            yield f"{cell.id}: timing is stored"
    ids = Counter(cell.id for cell in notebook.cells)
    yield from (f"{cell}: {n} cells have this id" for cell, n in ids.items() if n > 1)


def compared(notebook: Notebook) -> Problems:
    """A cell whose output is not compared says why."""
    for cell in code_cells(notebook):
        marks = [tag for tag in tags(cell) if tag.lower().startswith("nbval-")]
        marks += re.findall(r"^\s*#\s*(NBVAL_\w+)", cell.source, flags=re.MULTILINE)
        if marks and not cell.metadata.get("reason"):
            yield f"{cell.id}: {marks} without a reason in the cell's metadata"


CHECKS = [execution, outputs, figures, lengths, metadata, compared]


def functions(notebook: Notebook) -> Iterator[tuple[str, bool]]:
    """Yield the name of each function defined, and whether its cell is a derivation."""
    for cell in code_cells(notebook):
        # IPython's own syntax starts a line with one of these.
        lines = ["" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, "derivation" in tags(cell)


def duplicates(notebooks: dict[str, Notebook]) -> Problems:
    """A function is shown once, where it is derived; after that it is imported."""
    seen: dict[str, str] = {}
    for title, notebook in notebooks.items():
        for name, derived in functions(notebook):
            if name in kltutorial.__all__ and not derived:
                yield f"{title}: {name} is in kltutorial: import it"
            if seen.setdefault(name, title) != title:
                yield f"{title}: {name} is also defined in {seen[name]}"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name, check):
    assert list(check(NOTEBOOKS[name])) == []


def test_book_has_notebooks_without_duplicates():
    assert NOTEBOOKS
    assert list(duplicates(NOTEBOOKS)) == []


# From here on: every check can fail.


def book(*cells: Cell, **metadata: object) -> Notebook:
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), start=1):
        cell.execution_count = cell.execution_count or count
    # Not new_notebook, which would object to some of the bad ones.
    kernel = {"kernelspec": {"name": "python3"}}
    return nbformat.from_dict({"cells": list(cells), "metadata": {**kernel, **metadata}})


def figure(caption: str, alt: str) -> Cell:
    return new_code_cell(
        outputs=[new_output("display_data", data={"image/svg+xml": "<svg/>"})],
        metadata={"mystnb": {"figure": {"caption": caption}, "image": {"alt": alt}}},
    )


ALT = "A curve that falls to zero where the two distributions agree and rises on both sides."
FAILED = new_output("error", ename="ValueError", evalue="no", traceback=[])
LONG = "\n".join(["x = 1"] * (MAX_LINES + 1))

GOOD = book(
    new_markdown_cell("# KL divergence"),
    new_code_cell("print(1)", outputs=[new_output("stream", text="1\n")]),
    new_code_cell("1 / 0", outputs=[FAILED], metadata={"tags": ["raises-exception"]}),
    new_code_cell("# NBVAL_SKIP\nlist_gpus()", metadata={"reason": "differs between machines"}),
    figure("Both agree at one.", ALT),
    language_info={"name": "python"},
)
BAD = {
    "out of order": (execution, book(new_code_cell(execution_count=2))),
    "not executed": (execution, new_notebook(cells=[new_code_cell()])),
    "error": (outputs, book(new_code_cell(outputs=[FAILED]))),
    "stderr": (outputs, book(new_code_cell(outputs=[new_output("stream", name="stderr")]))),
    "no caption": (figures, book(figure("", ALT))),
    "no alt": (figures, book(figure("Both agree at one.", ""))),
    "short alt": (figures, book(figure("Both agree at one.", "A curve."))),
    "alt is caption": (figures, book(figure(ALT, ALT))),
    "long cell": (lengths, book(new_code_cell(LONG), *[new_code_cell("1") for _ in range(2)])),
    "long cells": (lengths, book(new_code_cell("\n".join(["1"] * (MEDIAN_LINES + 1))))),
    "python version": (metadata, book(language_info={"version": "3.11.7"})),
    "other kernel": (metadata, book(kernelspec={"name": "my-env"})),
    "timing": (metadata, book(new_code_cell(metadata={"execution": {}}))),
    "same id": (metadata, book(new_code_cell(id="a"), new_code_cell(id="a"))),
    "nbval comment": (compared, book(new_code_cell("# NBVAL_IGNORE_OUTPUT\n1"))),
    "nbval tag": (compared, book(new_code_cell(metadata={"tags": ["nbval-skip"]}))),
}


@pytest.mark.parametrize("check", CHECKS)
def test_good_notebook_passes(check):
    assert list(check(GOOD)) == []


@pytest.mark.parametrize(("check", "notebook"), BAD.values(), ids=BAD)
def test_bad_notebook_fails(check, notebook):
    assert len(list(check(notebook))) == 1


def test_duplicated_functions_fail():
    name = kltutorial.__all__[0]
    once = book(new_code_cell(f"def {name}(): ...", metadata={"tags": ["derivation"]}))
    plain = book(new_code_cell(f"%pip\ndef {name}(): ..."))
    other = book(new_code_cell("def helper(): ..."))
    assert list(duplicates({"a": once, "b": other})) == []
    assert len(list(duplicates({"a": plain}))) == 1
    assert len(list(duplicates({"a": other, "b": other}))) == 1
