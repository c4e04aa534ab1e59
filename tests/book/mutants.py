"""Would the notebooks notice a wrong formula?  ``python -m tests.book.mutants``.

Changes one operator, sign, constant, function or order of arguments in a formula of the package,
re-executes the notebooks that use it, and says whether their outputs change (strict nbval).
A formula is what stands in a line that some notebook executes; checks of input, shapes and axes
are none.  The mutants are a sample, the same one for the same seed, as many for each chapter.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import coverage
from IPython.core.interactiveshell import InteractiveShell

import kltutorial  # noqa: F401 - before lines are recorded: importing it is not using it

ROOT = Path(__file__).parents[2]
# The module that a chapter derives, and the chapter; what all share is that of the first k3.
CHAPTERS = {
    "divergences": "kl_divergence",
    "_logits": "kl_divergence",
    "directions": "directions",
    "estimators": "three_estimators",
    "_numerics": "three_estimators",
    "fdivergences": "fdivergences",
    "alignment": "alignment",
    "grpo": "grpo",
    "gradients": "gradients",
    "sequences": "sequences",
}
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
FUNCTIONS = {
    "exp": "expm1", "expm1": "exp", "log": "log1p", "log1p": "log", "sqrt": "abs", "abs": "square",
    "sum": "mean", "mean": "sum", "max": "min", "min": "max", "minimum": "maximum",
    "maximum": "minimum", "cumsum": "cumprod", "sign": "abs", "arctanh": "tanh",
    "exp_gap": "half_square", "half_square": "exp_gap",
}  # fmt: skip
SYMMETRIC = {"add", "logaddexp", "max", "maximum", "min", "minimum", "multiply"}
NO_FORMULA = (ast.Raise, ast.Subscript, ast.JoinedStr, ast.keyword, ast.withitem, ast.arguments)
HOUSEKEEPING = {
    "as_bool_array", "as_float_array", "broadcast_to", "eye", "full", "full_like", "in_blocks",
    "isinstance", "moveaxis", "range", "reshape", "zeros", "ones",
}  # fmt: skip


class Mutant(NamedTuple):
    module: str
    line: int
    code: str
    notebooks: tuple[str, ...]


def formulas(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of expressions that compute something."""
    for node in ast.iter_child_nodes(tree):
        guard = isinstance(node, ast.If) and any(isinstance(each, ast.Raise) for each in node.body)
        called = getattr(node, "func", None)
        name = getattr(called, "attr", getattr(called, "id", ""))
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        checks = getattr(getattr(called, "value", None), "id", "") == "_checks"
        if guard or text or checks or name in HOUSEKEEPING or isinstance(node, NO_FORMULA):
            continue
        if isinstance(node, ast.AnnAssign):
            yield from formulas(ast.Module([node.value], []) if node.value else ast.Module())
            continue
        yield node
        # Where a series ends is a matter of digits, not of the formula, and what `where` puts in
        # the place of an entry that is not used is of none: no constants there.
        fillers = node.args if isinstance(node, ast.Call) and name == "where" else ()
        yield from (
            each
            for each in formulas(node)
            if not isinstance(each, ast.Constant)
            or not (isinstance(node, ast.Compare) or any(each is filler for filler in fillers))
        )


def changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield what can be made wrong about a node: the name of a field, and its other value."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        yield "op", OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield "ops", [OPERATORS[type(node.ops[0])](), *node.ops[1:]]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "op", ast.UAdd()
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "value", node.value + 1
    elif isinstance(node, ast.Attribute | ast.Name):
        field = "attr" if isinstance(node, ast.Attribute) else "id"
        if getattr(node, field) in FUNCTIONS:
            yield field, FUNCTIONS[getattr(node, field)]
    elif isinstance(node, ast.Call) and len(node.args) == 2:
        first, second = node.args
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if ast.dump(first) != ast.dump(second) and name not in SYMMETRIC:
            yield "args", [second, first]


def mutants(module: str, lines: dict[str, set[int]]) -> list[Mutant]:
    """Return all mutants of the lines of a module that notebooks execute."""
    source = (ROOT / "kltutorial" / f"{module}.py").read_text("utf-8")
    tree = ast.parse(source)
    result = []
    for node in [*formulas(tree)]:
        line = getattr(node, "lineno", 0)
        notebooks = [name for name, executed in lines.items() if line in executed]
        notebooks.sort(key=lambda name: name != CHAPTERS[module])  # its own chapter first
        for field, value in changes(node) if notebooks else ():
            before = getattr(node, field)
            setattr(node, field, value)
            code = ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
            setattr(node, field, before)
            result.append(Mutant(module, line, code, tuple(notebooks)))
    return result


def is_killed(mutant: Mutant) -> bool:
    """Whether a notebook notices the mutant, in a copy of the package."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "kltutorial"
        shutil.copytree(ROOT / "kltutorial", package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / f"{mutant.module}.py").write_text(mutant.code, "utf-8")
        return not all(survives(package, notebook) for notebook in mutant.notebooks)


def survives(package: Path, notebook: str) -> bool:
    """Whether a notebook prints what it should with this copy of the package."""
    environment = os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "--disable-plugin-autoload", "-p", "nbval.plugin"]
    command += ["--nbval", "--nbval-cell-timeout=60", "-x", "-q", f"book/{notebook}.ipynb"]
    return not subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode


def executed_lines(notebook: str) -> dict[str, set[int]]:
    """Return the lines of each module that a notebook executes; in a process of its own."""
    cells = json.loads((ROOT / "book" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    recorder = coverage.Coverage(source=[str(ROOT / "kltutorial")], data_file=None)
    shell = InteractiveShell.instance()
    with recorder.collect(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        for cell in cells:
            if cell["cell_type"] == "code":
                shell.run_cell("".join(cell["source"])).raise_error()
    seen = recorder.get_data()
    return {
        module: set(seen.lines(str(ROOT / "kltutorial" / f"{module}.py")) or ())
        for module in CHAPTERS
    }


def sample(per_chapter: dict[str, list[Mutant]], number: int, seed: int) -> list[Mutant]:
    """Return a number of mutants, in turn from each chapter."""
    rng = random.Random(seed)
    shuffled = [rng.sample(each, len(each)) for each in per_chapter.values()]
    turns = [mutant for turn in zip_longest(*shuffled) for mutant in turn if mutant]
    return turns[:number]


def main() -> None:
    """Print which mutants survive, and how many are killed for each chapter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    notebooks = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        lines = dict(zip(notebooks, pool.map(executed_lines, notebooks, 1), strict=True))
    per_chapter: dict[str, list[Mutant]] = {}
    for module, chapter in CHAPTERS.items():
        executed = {notebook: lines[notebook][module] for notebook in notebooks}
        per_chapter.setdefault(chapter, []).extend(mutants(module, executed))
    results: dict[str, list[bool]] = {chapter: [] for chapter in per_chapter}
    chosen = sample(per_chapter, options.number, options.seed)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for mutant, killed in zip(chosen, threads.map(is_killed, chosen), strict=True):
            results[CHAPTERS[mutant.module]].append(killed)
            print("killed  " if killed else "SURVIVED", f"{mutant.module}.py:{mutant.line}")
            code = (ROOT / "kltutorial" / f"{mutant.module}.py").read_text("utf-8")
            before = ast.unparse(ast.parse(code)).splitlines()
            for change in difflib.unified_diff(before, mutant.code.splitlines(), n=0, lineterm=""):
                if change[0] in "+-" and change[:3] not in ("+++", "---"):
                    print("    ", change, flush=True)
    for chapter, outcomes in results.items():
        possible = len(per_chapter[chapter])
        print(f"{chapter:20} {sum(outcomes):4} of {len(outcomes)}, of {possible} possible")
    everything = [killed for outcomes in results.values() for killed in outcomes]
    print(f"{'in all':20} {sum(everything):4} of {len(everything)}")


if __name__ == "__main__":
    main()
