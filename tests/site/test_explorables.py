"""The figures that can be touched: their numbers, and every way to touch them."""

from __future__ import annotations

import json
import re
from importlib import import_module

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.claims import load
from tests.site.built import AXE, HTML, ROOT

STATIC = HTML / "_static" / "explorables"
#: For each explorable, tests/site/explorables/NAME.py has its PAGE, a GRID of settings, and what
#: is `expected` of each, and what the caption may `conclude` from them.
ORACLES = {
    source.stem: import_module(f"tests.site.explorables.{source.stem}")
    for source in sorted((ROOT / "website" / "explorables").glob("*.js"))
    if source.stem not in {"loader", "shared"}
}
WIDTHS = [1280, 1024, 768, 430, 390, 360, 320]


class Driver:
    """An explorable on an open page."""

    def __init__(self, page, name):
        self.page, self.name = page, name
        self.place = page.locator(f"#{name}")

    def open(self, origin, query=""):
        address = f"{origin}/{ORACLES[self.name].PAGE}{query}#{self.name}"
        self.page.goto(address, wait_until="domcontentloaded")
        return self.ready()

    def ready(self):
        self.page.wait_for_function("place => place.explorable", arg=self.place.element_handle())
        return self

    def reset(self):
        self.place.get_by_role("button", name="Reset").click()
        return self

    @property
    def settings(self):
        return self.place.evaluate("place => place.explorable.settings")

    def set(self, settings):
        self.place.evaluate("(place, settings) => place.explorable.set(settings)", settings)

    def compute(self, **settings):
        """Return the numbers for some settings, the others as they are at first."""
        return self.place.evaluate(
            """({explorable}, settings) =>
                explorable.declaration.compute({...explorable.defaults, ...settings})""",
            settings,
        )

    def sliders(self):
        """Return all sliders, each after the name of its setting."""
        ranges = self.place.locator("input[type=range]").all()
        named = [(each.get_attribute("id").removeprefix("setting-"), each) for each in ranges]
        return named + [(names[0], handle) for names, handle in self.handles()]

    def handles(self):
        """Return the sliders within the drawing, each after its one or two settings."""
        handles = self.place.locator("[role=slider]").all()
        return [(each.get_attribute("data-setting").split(), each) for each in handles]


@pytest.fixture(scope="module", params=ORACLES)
def opened(browser, origin, request):
    trouble = []
    # Tall, and without scrolling smoothly, so that nothing moves away from the mouse.
    size = {"width": 1280, "height": 1400}
    page = browser.new_page(viewport=size, has_touch=True, reduced_motion="reduce")
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield Driver(page, request.param).open(origin)
    page.close()
    assert trouble == []


@pytest.fixture
def driver(opened):
    return opened.reset()


@pytest.fixture(params=ORACLES)
def name(request):
    return request.param


def test_numbers_are_those_of_the_package(driver):
    oracle = ORACLES[driver.name]
    found = driver.place.evaluate(
        """(place, grid) => JSON.stringify(grid.map(settings => {
            place.explorable.set(settings);
            return [place.explorable.settings, place.explorable.numbers];
        }), (_, value) => value === Infinity ? "inf" : value)""",
        oracle.GRID,
    )
    for asked, (settings, numbers) in zip(oracle.GRID, json.loads(found), strict=True):
        assert settings.items() >= asked.items()
        expected = oracle.expected(**settings)
        assert numbers.keys() == expected.keys()
        for key, value in expected.items():
            # Together no more than 1e-9, of the value or of one.
            tolerance = {"rtol": 5e-10, "atol": 5e-10, "err_msg": f"{settings}, {key}"}
            np.testing.assert_allclose(np.array(numbers[key], float), value, **tolerance)


def test_captions_quote_claims(driver):
    caption = driver.place.locator(".explorable-caption").inner_text()
    claims, quoted = load(), getattr(ORACLES[driver.name], "QUOTED", {})
    known = {f"{claims[name]():.{digits}f}" for name, digits in quoted.items()}
    assert {*re.findall(r"\d+\.\d+", caption)} == known


def test_captions_conclude_what_is_so(driver):
    ORACLES[driver.name].conclude(driver.compute)


def test_what_is_written_is_the_number_rounded(driver):
    for settings in ORACLES[driver.name].GRID[::7]:
        driver.set(settings)
        written = driver.place.locator("data").evaluate_all(
            "all => all.map(each => [each.value, each.textContent])"
        )
        numbers = driver.place.evaluate("place => place.explorable.numbers")
        assert written
        for value, text in written:
            assert float(value) in numbers.values()
            digits, power, _ = text.partition(".")[2].partition("e")
            rounded = f"{float(value) + 0.0:.{len(digits)}{power or 'f'}}"
            rounded = rounded.replace("inf", "∞").replace("e+0", "e+")
            assert text.replace("−", "-") == rounded


def test_every_slider_obeys_the_keyboard(driver):
    before = driver.settings
    for name, slider in driver.sliders():
        driver.set(before)
        slider.focus()
        slider.press("ArrowLeft")
        middle = driver.settings
        slider.press("ArrowRight")
        assert middle[name] < before[name]
        assert middle | {name: before[name]} == before
        assert driver.settings == before
        slider.press("Home")
        lowest = driver.settings[name]
        slider.press("PageUp")
        assert lowest < driver.settings[name]
        assert slider.evaluate("slider => slider === document.activeElement")
    for names, handle in driver.handles():
        driver.set(before)
        handle.press("ArrowUp")
        after = driver.settings
        assert after[names[-1]] > before[names[-1]]
        assert after | {names[-1]: before[names[-1]]} == before


def test_every_handle_follows_the_mouse(driver):
    before = driver.settings
    for names, handle in driver.handles():
        driver.set(before)
        x, y = middle(handle)
        driver.page.mouse.move(x, y)
        driver.page.mouse.down()
        driver.page.mouse.move(x - 20, y - 20, steps=3)
        driver.page.mouse.up()
        after = driver.settings
        changed = {name for name in before if after[name] != before[name]}
        assert changed == {*names}
        driver.page.mouse.move(x, y)  # let go
        assert driver.settings == after


def test_every_handle_follows_a_finger_and_the_page_still_scrolls(driver):
    send = finger(driver.page)
    before = driver.settings
    for names, handle in driver.handles():
        driver.set(before)
        x, y = middle(handle)
        send("touchStart", {"x": x, "y": y})
        send("touchMove", {"x": x - 20, "y": y - 20})
        send("touchMove", {"x": x - 30, "y": y - 30})
        send("touchEnd")
        assert all(driver.settings[name] != before[name] for name in names)
        assert min(handle.bounding_box()[side] for side in ("width", "height")) >= 24
        assert handle.evaluate(TOUCH_ACTION) == "none"
    assert driver.place.locator("svg[role=group]").evaluate(TOUCH_ACTION) == "auto"


def test_a_finger_that_scrolls_changes_no_slider(driver):
    send = finger(driver.page)
    before = driver.settings
    for slider in driver.place.locator("input[type=range]").all():
        for share in (0.1, 0.9):
            slider.scroll_into_view_if_needed()
            box, above = slider.bounding_box(), driver.page.evaluate("scrollY")
            x, y = box["x"] + share * box["width"], box["y"] + box["height"] / 2
            send("touchStart", {"x": x, "y": y})
            for way in range(10, 101, 10):
                send("touchMove", {"x": x, "y": y - way})
            send("touchEnd")
            driver.page.wait_for_function("above => scrollY > above", arg=above)
            assert driver.settings == before


def finger(page):
    """Return what a finger does: a kind of touch, and where."""
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*points]})

    return send


TOUCH_ACTION = "element => getComputedStyle(element).touchAction"


def middle(handle):
    box = handle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_range_can_be_stepped_through_without_motion(driver):
    for button in driver.place.get_by_role("button", name="Step").all():
        driver.reset()
        steps = []
        for _ in range(12):
            button.click()
            steps.append(driver.settings["step"])
        assert steps == [*range(20, 201, 20), 20, 40]


def test_every_button_of_a_sample_changes_the_numbers(driver):
    for name in ("Draw again", "Sample anew"):
        for button in driver.place.get_by_role("button", name=name).all():
            before = driver.place.evaluate("place => place.explorable.numbers")
            button.click()
            assert driver.place.evaluate("place => place.explorable.numbers") != before


def test_no_low_line_is_shown(driver):
    driver.set(ORACLES[driver.name].GRID[0])
    assert "_" not in driver.place.text_content()


def test_on_paper_it_is_a_line_with_the_address(driver):
    driver.page.emulate_media(media="print")
    line = driver.place.evaluate("place => getComputedStyle(place, '::after').content")
    assert driver.place.inner_text() == ""
    assert driver.place.bounding_box()["height"] < 60
    driver.page.emulate_media(media="screen")
    assert line.startswith('"Interactive figure: http')
    assert line.endswith(f'#{driver.name}"')


def test_settings_are_in_the_address(driver):
    driver.page.wait_for_function("() => !location.search")
    driver.set(ORACLES[driver.name].GRID[-1])
    driver.page.wait_for_function("() => location.search")
    settings = driver.settings
    driver.page.reload(wait_until="domcontentloaded")
    assert driver.ready().settings == settings  # and it was in view without scrolling


def test_what_is_no_setting_is_ignored(origin, driver):
    defaults = driver.settings
    query = "&".join(f"{name}=<b>" for name in defaults)
    assert driver.open(origin, f"?{query}").settings == defaults
    for slider in driver.place.locator("input[type=range]").all():
        name, highest = slider.evaluate("slider => [slider.id.slice(8), Number(slider.max)]")
        driver.set({name: 1e9})
        assert driver.settings[name] == highest


def test_a_change_is_said_aloud_once_it_is_over(driver):
    drawing, status = driver.place.locator("svg[role=group]"), driver.place.get_by_role("status")
    before, first = drawing.get_attribute("aria-label"), ORACLES[driver.name].GRID[0]
    expect(status).to_have_text(before)
    driver.set(first)
    after = drawing.get_attribute("aria-label")
    assert after != before
    assert status.inner_text() == before
    expect(status).to_have_text(after)


def test_it_is_loaded_when_it_comes_near_and_nothing_moves(browser, origin, name):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    driver = Driver(page, name)

    def heights():
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            yield driver.place.bounding_box()["height"]

    page.goto(f"{origin}/{ORACLES[name].PAGE}", wait_until="domcontentloaded")
    empty = [*heights()]
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not [url for url in asked if url.endswith(("shared.js", f"/{name}.js"))]
    driver.place.scroll_into_view_if_needed()
    driver.ready()
    assert [*heights()] == empty
    page.close()


def test_little_of_the_room_kept_for_it_stays_blank(driver):
    size = driver.page.viewport_size
    blank = {}
    for width in WIDTHS:
        driver.page.set_viewport_size(size | {"width": width})
        blank[width] = driver.place.evaluate(
            "place => place.clientHeight - place.firstElementChild.offsetHeight"
        )
    driver.page.set_viewport_size(size)
    assert max(blank.values()) < 48, blank


def test_it_is_accessible(driver):
    driver.page.evaluate(AXE.read_text("utf-8"))
    for theme in ("dark", "light"):
        driver.page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        found = driver.place.evaluate("place => axe.run(place)")
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


def test_its_letters_are_legible_on_a_phone(driver):
    size = driver.page.viewport_size
    for width in WIDTHS:
        driver.page.set_viewport_size(size | {"width": width})
        driver.page.wait_for_timeout(50)
        for settings in [{}, *ORACLES[driver.name].GRID[::9]]:
            driver.set(settings)
            letters = driver.place.evaluate(LETTERS)
            assert letters
            assert [each for each in letters if each[1] < 11 or not each[2]] == []
    driver.page.set_viewport_size(size)


# What is written in the drawing, how large, and whether all of it is within.
LETTERS = """place => [...place.querySelectorAll(".explorable-figure text")].map(text => {
    const [own, svg] = [text, text.ownerSVGElement].map(each => each.getBoundingClientRect());
    const within = own.left >= svg.left - 1 && own.right <= svg.right + 1;
    return [text.textContent, parseFloat(getComputedStyle(text).fontSize), within];
})"""


def test_without_scripts_there_is_no_empty_box(browser, origin, name):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{origin}/{ORACLES[name].PAGE}", wait_until="domcontentloaded")
        assert page.locator(f"#{name}").bounding_box()["height"] == 0


def test_scripts_are_small():
    sizes = {path.stem: path.stat().st_size for path in STATIC.glob("*.js")}
    assert sizes.keys() == {"loader", "shared", *ORACLES}
    shared = sizes.pop("shared")
    assert shared < 80_000  # with D3, once for all pages
    assert max(sizes.values()) < 20_000
