"""The built site in a real browser: without scripts, from a file, on paper, by keyboard."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from playwright.sync_api import expect

from tests.site.built import HTML, PAGES
from tests.site.server import serving
from tests.site.visit import visiting

BOOK = [path for path in PAGES if path.startswith("book/")]


@pytest.mark.parametrize("path", [*BOOK, "search.html"])
def test_page_from_a_file(browser, path):
    with visiting(browser, (HTML / path).as_uri()) as (page, trouble):
        assert page.locator("h1").count() >= 1
    assert trouble == []


@pytest.mark.parametrize("path", BOOK)
def test_page_without_scripts(browser, origin, path):
    with visiting(browser, f"{origin}/{path}", java_script_enabled=False) as (page, trouble):
        formulas = page.locator("article :not(details:not([open]) *) > math")
        widths = formulas.evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
        assert page.locator("article math").count() == (HTML / path).read_text("utf-8").count(
            "<math"
        )
        assert all(widths)
        assert page.locator("article div.math:not(:has(math))").count() == 0
        assert page.locator("button >> visible=true").count() == 0
    assert trouble == []


def test_pages_under_another_path(browser):
    with serving(HTML.parent) as address:
        for path in ["book/grpo.html", "search.html?q=low_var_kl", "book/claims.html"]:
            with visiting(browser, f"{address}/html/{path}") as (_, trouble):
                assert trouble == []


@pytest.mark.parametrize("path", PAGES)
def test_policy_allows_no_script_but_those_of_the_site(path):
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy" content="([^"]*)"', (HTML / path).read_text("utf-8")
    )
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == "'none'"
    for source in rules["script-src"].split():
        assert re.fullmatch(r"'self'|'unsafe-hashes'|'sha256-[\w+/]{43}='", source)


def test_policy_is_enforced(browser, origin):
    with visiting(browser, f"{origin}/book/grpo.html") as (page, trouble):
        assert trouble == []
        page.evaluate("""() => {
            setTimeout("window.taken = true");
            const script = document.createElement("script");
            script.textContent = "window.taken = true";
            document.head.append(script);
            new Image().src = "https://example.org/pixel.png";
        }""")
        page.wait_for_timeout(100)
        assert page.evaluate("window.taken") is None
    assert len([said for said in trouble if "violates" in said]) >= 3


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


def test_page_can_be_read_by_keyboard(browser, origin):
    with visiting(browser, f"{origin}/book/grpo.html") as (page, trouble):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        solution = page.locator("details.solution").first
        solution.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(solution).to_have_attribute("open", "")
    assert trouble == []


@pytest.mark.parametrize("where", ["http", "file"])
@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("claims.html#grpo-advantage-rare", "def grpo_advantage_rare"),
        ("bibliography.html#", "DeepSeekMath"),
        ("glossary.html#advantage", "better"),
        ("api.html#grpo-loss", "Loss of GRPO"),
    ],
)
def test_link_shows_what_it_leads_to(browser, origin, link, shown, where):
    address = f"{origin}/book/grpo.html" if where == "http" else (HTML / "book/grpo.html").as_uri()
    with visiting(browser, address) as (page, trouble):
        place = page.locator(f"article a[href*='{link}']").first
        place.focus()
        box = page.get_by_role("tooltip")
        expect(box).to_contain_text(shown)
        page.keyboard.press("Escape")
        expect(box).to_have_count(0)
        place.blur()
        place.hover()
        expect(box).to_contain_text(shown)
    assert trouble == []


# Some pages are what the others lead to.
@pytest.mark.parametrize("path", sorted({*BOOK} - {"book/claims.html", "book/api.html"}))
def test_links_to_terms_sources_and_claims_have_a_preview(path):
    kinds = re.compile(r"^(glossary|bibliography|claims)\.html#")
    wanted = {link for link in anchors(HTML / path).links if kinds.match(link)}
    script = HTML / "_static" / "previews" / f"{Path(path).stem}.js"
    known = set(re.findall(r'"([\w.]+\.html#[^"]*)":', script.read_text("utf-8")))
    assert wanted - known == set()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_links_within_a_page_lead_there_at_once(browser, origin, motion):
    with visiting(browser, f"{origin}/book/grpo.html", reduced_motion=motion) as (page, _):
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_paper_has_the_text_alone(browser, origin):
    with visiting(browser, f"{origin}/book/three_estimators.html") as (page, _):
        page.emulate_media(media="print")
        around = ".bd-sidebar, .bd-header-article, .prev-next-footer, article button"
        assert page.locator(f":is({around}) >> visible=true").count() == 0
        expect(page.locator("article")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white_and_nothing_on_it_is_closed(browser, origin, scheme):
    state = """[document.documentElement.dataset.theme,
        document.querySelectorAll("details:not([open])").length]"""
    address = f"{origin}/book/three_estimators.html"
    with visiting(browser, address, color_scheme=scheme) as (page, trouble):
        before = page.evaluate(state)
        page.evaluate(f"addEventListener('beforeprint', () => window.printed = {state})")
        page.pdf()
        assert page.evaluate("window.printed") == ["light", 0]
        assert page.evaluate(state) == before
    assert before[0] == scheme
    assert before[1] > 0
    assert trouble == []


def test_claims_wear_their_tick_in_forced_colours(browser, origin):
    with visiting(browser, f"{origin}/book/grpo.html", forced_colors="active") as (page, _):
        claim = page.locator("article a[href*='claims.html#']").first
        assert claim.evaluate("e => getComputedStyle(e, '::after').content").startswith('"✓"')


def test_contents_can_be_reached_on_a_phone_without_scripts(browser, origin):
    phone = {"width": 390, "height": 800}
    address = f"{origin}/book/grpo.html"
    with visiting(browser, address, viewport=phone, java_script_enabled=False) as (page, _):
        link = page.get_by_role("link", name="Cheat sheet").first
        link.scroll_into_view_if_needed()
        link.click()
        page.wait_for_url("**/cheatsheet.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_cheat_sheet_prints_on_one_page(browser, origin, paper, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{origin}/book/cheatsheet.html")
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
