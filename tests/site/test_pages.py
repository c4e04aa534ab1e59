"""Each page in a real browser: what it asks for, weighs and shows, and who can read it."""

from __future__ import annotations

import pytest

from tests.site.built import AXE, PAGES
from tests.site.visit import visiting

DESKTOP = {"width": 1280, "height": 800}
PHONES = [{"width": 390, "height": 800}, {"width": 320, "height": 800}]
BUDGET = 300_000  # bytes, before the reader does anything

LOADED = """() => [...performance.getEntriesByType("navigation"),
    ...performance.getEntriesByType("resource")].reduce((sum, each) => sum + each.transferSize, 0)
"""
# What there is to say about a page with all its images loaded and all that is closed opened.
LOOK = r"""async () => {
    document.querySelectorAll("details").forEach(each => each.open = true);
    const images = [...document.images];
    images.forEach(image => image.loading = "eager");
    await Promise.allSettled(images.map(image => image.decode()));
    const text = document.querySelector("main").cloneNode(true);
    text.querySelectorAll("pre, code, script, math").forEach(each => each.remove());
    const titles = [...document.querySelectorAll("article section section > :is(h2, h3)")];
    return {
        theme: document.documentElement.dataset.theme,
        badFormulas: [...document.querySelectorAll("merror")].map(each => each.textContent),
        emptyFormulas: [...document.querySelectorAll("div.math")]
            .filter(each => !each.querySelector("math")).map(each => each.outerHTML),
        rawFormulas: text.textContent.match(/\\[([].*|\$\$.*/g) ?? [],
        brokenImages: images.filter(image => !image.naturalWidth).map(image => image.src),
        imagesWithoutAlt: images.filter(image => !image.alt.trim()).map(image => image.src),
        imagesWithoutSize: images.filter(image => !image.getAttribute("height")).map(i => i.src),
        titlesWithoutLink: titles.filter(each => !each.querySelector("a.headerlink"))
            .map(each => each.textContent),
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
# The theme's sidebars slide when the width changes, and how long is the machine's affair. Sizes
# are looked at when a frame is drawn: only then does what scrolls become a stop of the tab key.
SETTLED = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    await Promise.allSettled(document.getAnimations()
        .filter(each => each instanceof CSSTransition).map(each => each.finished));
    await frame();
    await frame();
}"""
# All rules of axe for WCAG 2.2 AA and best practices.
VIOLATIONS = """async () => {
    const tags = ["2a", "2aa", "21a", "21aa", "22aa"].map(level => `wcag${level}`);
    const {violations} = await axe.run({runOnly: [...tags, "best-practice"]});
    return violations.map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 150)}`);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_page(browser, origin, path, scheme):
    with visiting(browser, f"{origin}/{path}", viewport=PHONES[0], color_scheme=scheme) as (
        page,
        trouble,
    ):
        page.wait_for_timeout(100)
        loaded, shifts = page.evaluate(LOADED), page.evaluate("window.shifts")
        seen = page.evaluate(LOOK)
        page.evaluate(AXE.read_text("utf-8"))
        overflowing, violations = [], []
        for viewport in [*PHONES, DESKTOP]:
            page.set_viewport_size(viewport)
            overflowing += page.evaluate(OVERFLOWING)
        # Colours are all that the dark page can add, and they are the same on a phone.
        for viewport in [DESKTOP] if scheme == "dark" else [DESKTOP, PHONES[-1]]:
            page.set_viewport_size(viewport)
            page.evaluate(SETTLED)
            violations += page.evaluate(VIOLATIONS)

    assert trouble == []
    assert 0 < loaded < BUDGET
    assert sum(shifts) < 0.01
    assert seen.pop("theme") == scheme
    assert {what: found for what, found in seen.items() if found} == {}
    assert overflowing == []
    assert violations == []
