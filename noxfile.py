"""Whether what users install works where they install it: ``make matrix``.

The sdist and, from it, the wheel are built once.  The wheel goes into an empty environment for
each supported Python, with the oldest and with the newest versions of its dependencies.  There
run the tests that the sdist carries, the examples of the docstrings, all notebooks and mypy.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
# In their pinned versions; all else, the figures' libraries too, is as new as the rest allows.
TOOLS = re.findall(
    r"^(?:array-api-strict|hypothesis|jax|mpmath|mypy|nbval|pytest|pytest-xdist)==\S+",
    (ROOT / "requirements.txt").read_text("utf-8"),
    flags=re.MULTILINE,
)
COLUMNS = ("Python", "NumPy", "tests", "notebooks", "mypy")
RESULTS: list[list[str]] = []

nox.options.error_on_missing_interpreters = True


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it; both hold what they should."""
    session.install("build==1.6.1", "check-wheel-contents==0.6.3", "twine==7.0.0")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST), silent=True)
    session.run("twine", "check", "--strict", *map(str, DIST.iterdir()))
    session.run("check-wheel-contents", "--package", "kltutorial", str(DIST))


@nox.session(python=nox.project.python_versions(PROJECT))
@nox.parametrize("versions", ["oldest", "newest"])
def installed(session: nox.Session, versions: str) -> None:
    """Test the wheel in an empty environment."""
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    python = str(session.python)
    RESULTS.append([python])
    oldest = lower_bounds(python) if versions == "oldest" else []
    session.install("--only-binary=:all:", str(wheel), *oldest)
    session.run("python", "-m", "kltutorial.audit", "kltutorial:k3")  # it needs nothing else
    session.install("--only-binary=:all:", f"{wheel}[plot,progress]", *oldest, *TOOLS, "scipy")

    shutil.unpack_archive(sdist, session.create_tmp(), filter="data")
    session.chdir(Path(session.create_tmp()) / sdist.name.removesuffix(".tar.gz"))
    shutil.rmtree("kltutorial")  # what is tested is what was installed
    numpy = "import numpy; print(numpy.__version__)"
    RESULTS[-1].append(str(session.run("python", "-c", numpy, silent=True)).strip())
    tests = ["--doctest-modules", "--pyargs", "kltutorial", "tests"]
    RESULTS[-1].append(passed(session, *tests))
    notebooks = map(str, sorted(ROOT.glob("book/*.ipynb")))
    RESULTS[-1].append(passed(session, "--nbval-lax", "--dist", "loadscope", *notebooks))
    if versions == "newest":  # which has the types of NumPy that mypy is to read
        session.run("mypy", "--package", "kltutorial", "--python-version", python)
        RESULTS[-1].append("strict")


@nox.session(venv_backend="none")
def table(session: nox.Session) -> None:
    """Print what passed where."""
    for row in [COLUMNS, ["---"] * len(COLUMNS), *RESULTS]:
        cells = [*row, *["–"] * len(COLUMNS)][: len(COLUMNS)]
        print("| " + " | ".join(cell.ljust(9) for cell in cells) + " |")


def lower_bounds(python: str) -> list[str]:
    """Return the oldest version that pyproject.toml allows of each dependency."""
    needs = map(Requirement, PROJECT["project"]["dependencies"])
    wanted = [n for n in needs if not n.marker or n.marker.evaluate({"python_version": python})]
    return [f"{need.name}{need.specifier}".replace(">=", "==") for need in wanted]


def passed(session: nox.Session, *arguments: str) -> str:
    """Run pytest and return how many tests passed; that none was skipped is part of it."""
    session.run("pytest", "--quiet", "--numprocesses", "auto", "--junitxml=tests.xml", *arguments)
    suite = ElementTree.parse("tests.xml").find("testsuite")
    assert suite is not None
    if int(suite.attrib["skipped"]):
        session.error("no test may be skipped")
    return suite.attrib["tests"]
