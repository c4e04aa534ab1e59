"""The built site, page by page, in a real browser."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tests.site.built import HTML

PAGES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if "_static" not in path.parts and path != HTML / "index.html"
)
PHONES = [390, 320]

# What there is to say about a page once its mathematics is set and its images are loaded.
LOOK = r"""async () => {
    await window.MathJax?.startup.promise;
    const images = [...document.images];
    images.forEach(image => image.loading = "eager");
    await Promise.allSettled(images.map(image => image.decode()));
    const text = document.querySelector("main").cloneNode(true);
    text.querySelectorAll("pre, code, script, mjx-container").forEach(node => node.remove());
    return {
        theme: document.documentElement.dataset.theme,
        formulas: document.querySelectorAll(".math").length,
        typeset: document.querySelectorAll("mjx-container").length,
        badFormulas: [...document.querySelectorAll("mjx-merror")].map(node => node.textContent),
        rawFormulas: text.textContent.match(/\\[([].*|\$\$.*/g) ?? [],
        brokenImages: images.filter(image => !image.naturalWidth).map(image => image.src),
        imagesWithoutAlt: images.filter(image => !image.alt.trim()).map(image => image.src),
    };
}"""
# What makes the page scroll sideways.  A table, a formula or code may, within itself.
OVERFLOWING = """() => {
    const text = document.querySelector("article") ?? document.querySelector("main");
    const around = [];
    for (let node = text; node; node = node.parentElement) around.push(node);
    if (around.every(node => node.scrollWidth <= node.clientWidth)) return [];
    const scrolls = node => node !== text &&
        (getComputedStyle(node).overflowX !== "visible" || scrolls(node.parentElement));
    return [...text.querySelectorAll("*")]
        .filter(node => node.getBoundingClientRect().right > innerWidth)
        .filter(node => !scrolls(node.parentElement))
        .map(node => node.outerHTML.slice(0, 100));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_page(browser, origin, path, scheme):
    trouble = []
    page = browser.new_page(color_scheme=scheme)
    page.on("console", lambda message: message.type == "error" and trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
    page.on("request", lambda request: trouble.append(request.url) if elsewhere(request.url) else 0)

    def elsewhere(url):
        return not url.startswith((f"{origin}/", "data:", "blob:"))

    page.goto(f"{origin}/{path}")
    seen = page.evaluate(LOOK)
    overflowing = {}
    for width in PHONES:
        page.set_viewport_size({"width": width, "height": 800})
        overflowing[width] = page.evaluate(OVERFLOWING)
    page.close()

    assert trouble == []
    assert seen.pop("typeset") >= seen.pop("formulas")
    assert seen.pop("theme") == scheme
    assert {what: found for what, found in seen.items() if found} == {}
    assert overflowing == {width: [] for width in PHONES}


def test_root_leads_to_the_introduction(browser, origin):
    page = browser.new_page()
    page.goto(origin)
    page.wait_for_url(f"{origin}/book/intro.html")
    page.close()


def test_reader_can_switch_between_light_and_dark(browser, origin):
    page = browser.new_page()
    page.goto(f"{origin}/book/intro.html")
    themes = set()
    for _ in range(3):  # light, dark, and what the system says
        page.locator(".theme-switch-button:visible").click()
        themes.add(page.evaluate("document.documentElement.dataset.theme"))
    page.close()
    assert themes == {"light", "dark"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_cheat_sheet_prints_on_one_page(browser, origin, paper, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{origin}/book/cheatsheet.html")
    page.evaluate("window.MathJax?.startup.promise")
    printed = page.pdf(format=paper)
    page.goto(f"{origin}/book/faq.html")
    longer = page.pdf(format=paper)
    page.close()
    assert pages(printed) == 1
    assert pages(longer) > 1  # so they are counted, and not found to be one


def pages(pdf):
    """Count the pages of a PDF, whose objects Chromium does not compress."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


class Anchors(HTMLParser):
    """The ids and the links of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids.add(attributes.get("id"))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])


anchors = cache(Anchors)


@pytest.mark.parametrize("path", PAGES)
def test_links_within_the_site_lead_somewhere(path):
    assert [link for link in anchors(HTML / path).links if not leads_somewhere(path, link)] == []


def leads_somewhere(path, link):
    url = urlsplit(urljoin(path, link))
    if url.scheme or url.netloc:
        return True
    target = HTML / unquote(url.path).removeprefix("/")
    if not url.fragment or target.suffix != ".html":
        return target.exists()
    return target.exists() and unquote(url.fragment) in anchors(target).ids
