"""The documentation of other projects can link to ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kltutorial
from kltutorial import plotting
from tests.site.built import HTML

NAMES = [f"kltutorial.{name}" for name in kltutorial.__all__]
NAMES += [f"kltutorial.plotting.{name}" for name in plotting.__all__]
HOME = "https://example.org/kl/"


def build(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build somebody's page, which knows where we are."""
    mapping = {"kltutorial": (HOME, str(HTML / "objects.inv"))}
    conf = f"extensions = ['sphinx.ext.intersphinx']\nintersphinx_mapping = {mapping}\n"
    (folder / "conf.py").write_text(conf, "utf-8")
    (folder / "index.rst").write_text(f"Theirs\n======\n\n{text}\n", "utf-8")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", folder, folder / "html"]
    return subprocess.run(command, capture_output=True, text=True)


def test_every_public_name_can_be_linked(tmp_path: Path) -> None:
    roles = [":py:func:`kltutorial.k3`", *(f":py:obj:`{name}`" for name in NAMES)]
    run = build(tmp_path, "\n".join(f"* {role}" for role in roles))
    assert run.returncode == 0, run.stderr
    theirs = (tmp_path / "html" / "index.html").read_text("utf-8")
    ours = (HTML / "book" / "api.html").read_text("utf-8")
    for name in NAMES:
        assert f'href="{HOME}book/api.html#{name}"' in theirs
        assert f'id="{name}"' in ours


@pytest.mark.parametrize("name", ["kltutorial.k4", "kltutorial.estimators.k3"])
def test_other_names_are_not_found(tmp_path: Path, name: str) -> None:
    run = build(tmp_path, f":py:func:`{name}`")
    assert run.returncode == 1
    assert f"reference target not found: {name}" in run.stderr
