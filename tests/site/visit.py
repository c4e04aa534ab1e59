"""A visit to a page, and what the page complains of."""

from __future__ import annotations

import re
from contextlib import contextmanager

SHIFTS = """
    window.shifts = [];
    new PerformanceObserver(list => window.shifts.push(...list.getEntries().map(e => e.value)))
        .observe({type: "layout-shift", buffered: true});
"""


@contextmanager
def visiting(browser, address, **context):
    """Open a page, and list what it complains of and asks from elsewhere."""
    trouble = []
    page = browser.new_page(**context)
    home = re.match(r"\w+://[^/]*/", address)[0]
    page.on("console", lambda said: said.type in ("error", "warning") and trouble.append(said.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
    page.on(
        "request",
        lambda request: request.url.startswith((home, "data:")) or trouble.append(request.url),
    )
    page.add_init_script(SHIFTS)
    page.goto(address)
    yield page, trouble
    page.close()
