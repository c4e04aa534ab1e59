"""The built site behind an address, and a browser to look at it."""

from __future__ import annotations

import pytest
from playwright.sync_api import sync_playwright

from tests.site import chromium
from tests.site.built import HTML
from tests.site.server import serving


@pytest.fixture(scope="session")
def origin():
    with serving(HTML) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    path = chromium.find()
    assert path, chromium.MISSING
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=chromium.ARGUMENTS)
        yield browser
        browser.close()
