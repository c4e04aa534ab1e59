"""Find a Chromium; as a script, install one if there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

from playwright.sync_api import sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
# What keeps a Chromium without a screen, and perhaps run by root, from asking or calling out.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
MISSING = "The tests of the site need a Chromium: put one on PATH or its path into $CHROMIUM."


def find() -> str | None:
    """Return $CHROMIUM, the first Chromium on PATH that starts, or the one playwright keeps."""
    return next(filter(_starts, _candidates()), None)


def install() -> None:
    """Install one from Debian's packages where we may, else from playwright's downloads."""
    print("Installing a Chromium for the tests of the site ...", flush=True)
    if sys.platform == "linux" and os.geteuid() == 0 and shutil.which("apt-get"):
        apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        subprocess.run([*apt, "update"])
        subprocess.run(
            [*apt, "install", "--yes", "--no-install-recommends", "chromium"],
            stdout=subprocess.DEVNULL,
        )
    if find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])


def _candidates() -> Iterator[str | None]:
    yield os.environ.get("CHROMIUM")
    yield from map(shutil.which, NAMES)
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    yield own


def _starts(path: str | None) -> bool:
    # Ubuntu's chromium-browser is a stub that only says where to find the real one.
    if path is None or shutil.which(path) is None:
        return False
    return subprocess.run([path, "--version"], capture_output=True).returncode == 0


if __name__ == "__main__":
    if find() is None:
        install()
    sys.exit(None if find() else MISSING)
