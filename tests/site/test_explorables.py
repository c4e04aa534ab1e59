"""The figures that can be touched: their numbers, and every way to touch them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from tests.site.built import HTML

ROOT = Path(__file__).parents[2]
STATIC = HTML / "_static" / "explorables"
#: For each explorable, tests/site/explorables/NAME.py has its PAGE, a GRID of settings, and what
#: is `expected` of each.
ORACLES = {
    source.stem: import_module(f"tests.site.explorables.{source.stem}")
    for source in sorted((ROOT / "website" / "explorables").glob("*.js"))
    if source.stem not in {"loader", "shared"}
}
AXE = ROOT / "website" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = [1280, 768, 390, 320]


class Driver:
    """An explorable on an open page."""

    def __init__(self, page, name):
        self.page, self.name = page, name
        self.place = page.locator(f"[data-explorable={name}]")

    def open(self, origin, query=""):
        self.page.goto(f"{origin}/{ORACLES[self.name].PAGE}{query}#{self.name}")
        return self.scroll()

    def scroll(self):
        self.place.scroll_into_view_if_needed()
        self.page.wait_for_function("place => place.explorable", arg=self.place.element_handle())
        return self

    @property
    def settings(self):
        return self.place.evaluate("place => place.explorable.settings")

    def set(self, settings):
        self.place.evaluate("(place, settings) => place.explorable.set(settings)", settings)

    def reset(self):
        self.place.get_by_role("button", name="Reset").click()
        return self

    def sliders(self):
        """Return the sliders, and the setting of each: ranges, and handles in the drawing."""
        ranges = self.place.locator("input[type=range]").all()
        return [(each.get_attribute("id").removeprefix("setting-"), each) for each in ranges] + [
            (each.get_attribute("data-setting"), each) for each in self.handles()
        ]

    def handles(self):
        return self.place.locator("[role=slider]").all()


@pytest.fixture(scope="module", params=ORACLES)
def opened(browser, origin, request):
    trouble = []
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
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
        }))""",
        oracle.GRID,
    )
    for asked, (settings, numbers) in zip(oracle.GRID, json.loads(found), strict=True):
        assert settings.items() >= asked.items()
        expected = oracle.expected(**settings)
        assert numbers.keys() == expected.keys()
        for key, value in expected.items():
            error = np.abs(np.array(numbers[key], float) - value) / np.maximum(1, np.abs(value))
            assert np.max(error) < 1e-9, (settings, key)


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
            digits = len(text.partition(".")[2])
            assert text.replace("−", "-") == f"{float(value) + 0.0:.{digits}f}"


def test_every_slider_obeys_the_keyboard(driver):
    for name, slider in driver.sliders():
        driver.reset()
        before = driver.settings
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


def test_every_handle_follows_the_mouse(driver):
    for name, handle in zip_names(driver):
        driver.reset()
        before = driver.settings
        x, y = middle(handle)
        driver.page.mouse.move(x, y)
        driver.page.mouse.down()
        driver.page.mouse.move(x - 20, y - 20, steps=3)
        driver.page.mouse.up()
        after = driver.settings
        assert after[name] != before[name]
        assert after | {name: before[name]} == before
        driver.page.mouse.move(x, y)  # let go
        assert driver.settings == after


def test_every_handle_follows_a_finger_and_the_page_still_scrolls(browser, origin, name):
    with browser.new_context(has_touch=True, viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        driver = Driver(page, name).open(origin)
        touch = context.new_cdp_session(page)

        def send(kind, *points):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [*points]})

        for setting, handle in zip_names(driver):
            driver.reset()
            handle.scroll_into_view_if_needed()
            before = driver.settings
            x, y = middle(handle)
            send("touchStart", {"x": x, "y": y})
            send("touchMove", {"x": x - 10, "y": y - 10})
            send("touchMove", {"x": x - 20, "y": y - 20})
            send("touchEnd")
            assert driver.settings[setting] != before[setting]
            assert min(handle.bounding_box()[side] for side in ("width", "height")) >= 24
        assert driver.place.locator("svg[role=group]").evaluate(TOUCH_ACTION) == "auto"


TOUCH_ACTION = "element => getComputedStyle(element).touchAction"


def zip_names(driver):
    return [(handle.get_attribute("data-setting"), handle) for handle in driver.handles()]


def middle(handle):
    box = handle.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_settings_are_in_the_address(browser, origin, driver):
    driver.page.wait_for_function("!location.search")
    driver.set(ORACLES[driver.name].GRID[-1])
    driver.page.wait_for_function("location.search")
    shared = browser.new_page()
    shared.goto(driver.page.url)
    copy = Driver(shared, driver.name)
    shared.wait_for_function("place => place.explorable", arg=copy.place.element_handle())
    assert copy.settings == driver.settings  # and it was in view without scrolling
    shared.close()


def test_what_is_no_setting_is_ignored(browser, origin, driver):
    defaults = driver.settings
    page = browser.new_page()
    query = "&".join(f"{name}=<b>" for name in defaults)
    assert Driver(page, driver.name).open(origin, f"?{query}").settings == defaults
    for slider in driver.place.locator("input[type=range]").all():
        setting, highest = slider.evaluate("slider => [slider.id.slice(8), Number(slider.max)]")
        driver.set({setting: 1e9})
        assert driver.settings[setting] == highest
    page.close()


def test_a_change_is_said_aloud_once_it_is_over(driver):
    status = driver.place.get_by_role("status")
    driver.page.wait_for_timeout(700)
    before = status.inner_text()
    driver.set(ORACLES[driver.name].GRID[-1])
    assert status.inner_text() == before
    driver.page.wait_for_timeout(700)
    sentence = status.inner_text()
    assert sentence != before
    assert driver.place.locator("svg[role=group]").get_attribute("aria-label") == sentence


def test_it_is_loaded_when_it_comes_near_and_nothing_moves(browser, origin, name):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    driver = Driver(page, name)

    def heights():
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            yield driver.place.bounding_box()["height"]

    page.goto(f"{origin}/{ORACLES[name].PAGE}")
    empty = [*heights()]
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not [url for url in asked if url.endswith(("shared.js", f"/{name}.js"))]
    driver.scroll()
    assert [*heights()] == empty
    page.close()


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
        page.goto(f"{origin}/{ORACLES[name].PAGE}")
        assert page.locator(f"[data-explorable={name}]").bounding_box()["height"] == 0


def test_scripts_are_small():
    sizes = {path.stem: path.stat().st_size for path in STATIC.glob("*.js")}
    assert sizes.keys() == {"loader", "shared", *ORACLES}
    shared = sizes.pop("shared")
    assert shared < 80_000  # with D3, once for all pages
    assert max(sizes.values()) < 20_000
