"""What the files around the package promise."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import kltutorial

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT, TRANSITIVE = (
    [line for line in section.splitlines() if line and not line.startswith("#")]
    for section in re.split("# What .*", (ROOT / "requirements.txt").read_text("utf-8"))
)
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\w+(\.\w+)*)(\s+# (?P<reason>.+))?")
PINS = {
    canonicalize_name(pin["name"]): pin["version"]
    for pin in map(PIN.fullmatch, DIRECT + TRANSITIVE)
    if pin
}


def test_every_requirement_is_one_exact_pin():
    assert len(PINS) == len(DIRECT + TRANSITIVE)


def test_installed_versions_are_the_pinned_ones():
    assert {name: metadata.version(name) for name in PINS} == PINS


def test_pins_install_on_the_first_python_they_are_meant_for():
    needs = {name: metadata.metadata(name).get("Requires-Python", "") for name in PINS}
    assert {name: need for name, need in needs.items() if "3.11.0" not in SpecifierSet(need)} == {}


@pytest.mark.parametrize("line", DIRECT)
def test_direct_requirement_says_why_it_is_there(line):
    assert PIN.fullmatch(line)["reason"]


@pytest.mark.skipif(sys.platform != "linux", reason="the pins are those of Linux")
def test_pins_are_the_direct_requirements_and_all_they_pull_in():
    pulled_in: set[tuple[str, str]] = set()
    queue = [(canonicalize_name(PIN.fullmatch(line)["name"]), "") for line in DIRECT]
    while queue:
        if (item := queue.pop()) not in pulled_in:
            pulled_in.add(item)
            queue += needed_by(*item)
    assert {name for name, _ in pulled_in} == set(PINS)


def needed_by(name: str, extra: str) -> Iterator[tuple[str, str]]:
    for need in map(Requirement, metadata.requires(name) or []):
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            yield from ((canonicalize_name(need.name), extra) for extra in ["", *need.extras])


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    newest = re.search(
        r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M
    )
    assert kltutorial.__version__ == PROJECT["version"] == citation["version"] == newest[1]
    assert str(citation["date-released"]) == newest[2]


def test_the_supported_pythons_are_the_same_everywhere():
    names = [name.rpartition(" :: ")[2] for name in PROJECT["classifiers"]]
    pythons = [name for name in names if re.fullmatch(r"3\.\d+", name)]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    ready = next(step for step in workflow("gates")["matrix"]["steps"] if "with" in step)
    assert sorted(ready["with"]["python-version"].split()) == pythons
    said = f"Python {pythons[0]} to {pythons[-1]}"
    for file in ("Makefile", "README.md", "CHANGELOG.md"):
        assert said in (ROOT / file).read_text("utf-8")


def workflow(name: str) -> dict:
    return yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text("utf-8"))["jobs"]


def test_nothing_is_published_before_all_gates_pass():
    runs = {name: job["steps"][-1]["run"] for name, job in workflow("gates").items()}
    assert runs == {"test": ".ci/run", "matrix": "make matrix"}
    pages = workflow("pages")
    assert pages["gates"]["uses"] == "./.github/workflows/gates.yml"
    needs = {name: job.get("needs") for name, job in pages.items()}
    assert needs == {"gates": None, "build": "gates", "deploy": "build", "notebooks": "build"}


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_may_do_little_and_not_for_long(path):
    assert yaml.safe_load(path.read_text("utf-8"))["permissions"] == {"contents": "read"}
    jobs = workflow(path.stem).values()
    assert all(job["timeout-minutes"] <= 90 for job in jobs if "steps" in job)
    actions = [step["uses"] for job in jobs for step in job.get("steps", []) if "uses" in step]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"actions/[\w-]+@v\d+", action)] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_what_a_guide_names_is_there(name):
    text = (ROOT / name).read_text("utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    commands = re.findall(r"(?:^|`)make ([a-z ]+)", text, flags=re.M)
    assert commands
    assert set(" ".join(commands).split()) - set(targets) == set()
    paths = re.findall(r"`((?:book|kltutorial|tests|website|\.github)/[\w./*]+)`", text)
    links = re.findall(r"\]\((?!https?:|claims\.md#)([^)#]+)", text)
    assert paths
    assert [path for path in paths + links if not list(ROOT.glob(path))] == []


def test_the_tests_that_go_into_the_sdist_read_the_package_alone():
    alone = [ROOT / "tests", ROOT / "tests" / "plotting"]
    files = [path for folder in alone for path in folder.glob("*.py")]
    assert [path for path in files if "Path(__file__)" in path.read_text("utf-8")] == []


def test_every_page_is_in_the_table_of_contents():
    pages = {path.stem for path in (ROOT / "book").glob("*") if path.suffix in {".md", ".ipynb"}}
    assert pages == set(re.findall(r"book/(\w+)", (ROOT / "_toc.yml").read_text("utf-8")))


@pytest.mark.parametrize(
    "pattern",
    [
        r"(^|[^[:alnum:]_.])/(home|root|work|Users)/",
        r"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|index[-]url",
    ],
    ids=["paths", "registries"],
)
def test_no_file_names_a_place_that_only_one_machine_has(pattern):
    search = ["git", "grep", "--untracked", "-InE", pattern]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1, found.stdout + found.stderr


def test_the_example_of_the_readme_prints_what_it_says(capsys):
    text = (ROOT / "README.md").read_text("utf-8")
    code, output = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, flags=re.S).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == output


def test_the_glossary_is_in_alphabetical_order():
    terms = re.findall(r"^## (.+)$", (ROOT / "book" / "glossary.md").read_text("utf-8"), flags=re.M)
    assert terms == sorted(terms, key=str.casefold)
