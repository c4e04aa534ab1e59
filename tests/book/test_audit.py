"""Reports of the audit lead into the book, and the chapter's example is a test that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kltutorial.audit import _report

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("link", sorted({link for _, link in _report._CODES.values()}))
def test_links_lead_to_sections_that_exist(link):
    page, _, section = link.partition("#")
    path = BOOK / page
    cells = json.loads(path.read_text("utf-8"))["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    sections = {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose, flags=re.M)}
    assert section == "" or section in sections


def test_the_example_of_the_book_is_a_test(tmp_path):
    cells = json.loads((BOOK / "checking.ipynb").read_text("utf-8"))["cells"]
    (source,) = (cell["source"] for cell in cells if "def test_" in "".join(cell["source"]))
    example = "import kltutorial as kl\n\n" + "".join(source)
    outcomes = {}
    for name in ("k1", "k2"):
        path = tmp_path / f"test_{name}.py"
        path.write_text(example.replace("kl.k2", f"kl.{name}"), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
        outcomes[name] = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert outcomes["k2"].returncode == 0, outcomes["k2"].stdout
    assert outcomes["k1"].returncode == 1
    assert "wrong: loss-no-force" in outcomes["k1"].stdout
