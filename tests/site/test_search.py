"""The search, asked what readers ask, on the web and from a file."""

from __future__ import annotations

import gzip
import re

import pytest
from playwright.sync_api import expect

from tests.site.built import HTML

SCRIPT = HTML / "_static" / "search" / "search.js"
#: What is asked, and the section that must be among the first, and how many these are.
QUERIES = [
    ("why is my KL negative", "faq.html#why-is-my-kl-negative", 1),
    ("Why is my KL negative?", "faq.html#why-is-my-kl-negative", 1),
    ("low_var_kl", "faq.html#what-is-low-var-kl-and-why-is-it-clamped-with-min-10", 1),
    (
        "kl_penalty",
        "faq.html#why-is-there-a-negative-kl-warning-even-with-kl-penalty-set-to-abs-or-full",
        1,
    ),
    ("use_kl_loss", "faq.html#use-kl-loss-or-use-kl-in-reward-and-is-the-kl-applied-twice", 1),
    ("grpo_loss", "api.html#grpo-loss", 1),
    ("TabularLM", "api.html#tabularlm", 1),
    ("follow_pen", "api.html#follow-penalty", 1),
    ("k3 estimator", "three_estimators.html#k3-add-something-whose-mean-is-zero", 3),
    ("variance of k3", "misconceptions.html#k3-has-less-variance-than-k1", 1),
    ("is k3 biased", "faq.html#k3-is-unbiased-why-is-its-gradient-wrong", 3),
    ("why is the gradient of k3 wrong", "faq.html#k3-is-unbiased-why-is-its-gradient-wrong", 1),
    ("forward vs reverse", "directions.html", 1),
    ("mode seeking", "glossary.html#mode-seeking", 3),
    ("mode covering", "directions.html#where-the-slogan-stops", 3),
    ("is KL symmetric", "misconceptions.html#kl-is-never-symmetric", 1),
    ("can KL be infinite", "kl_divergence.html#infinity", 1),
    ("bits or nats", "glossary.html#nat", 1),
    ("beta zero", "grpo.html#what-costs", 3),
    ("what is the KL term in GRPO", "intro.html", 3),
    ("dr grpo", "grpo.html#four-ways-to-average", 1),
    ("clip_ratio", "grpo.html#the-clip-an-incentive-not-a-wall", 3),
    (
        "my loss starts at zero",
        "faq.html#why-does-the-loss-start-at-zero-and-then-rise-is-grpo-broken",
        1,
    ),
    ("dpo", "alignment.html#dpo-the-same-optimum-from-pairs", 3),
    (
        "reward hacking",
        "misconceptions.html#a-penalty-on-the-divergence-prevents-reward-hacking",
        1,
    ),
    ("rao-blackwell", "sequences.html#the-noise-that-you-need-not-have", 3),
    (
        "normalizing temperatures",
        "faq.html#must-the-log-probabilities-be-divided-by-the-sampling-temperature",
        3,
    ),
    ("divergance of kullback leibler", "kl_divergence.html", 3),
    ("importance weght", "glossary.html#importance-weight", 1),
]


@pytest.fixture(scope="module", params=["http", "file"])
def searching(browser, origin, request):
    """A search page, which must have nothing to complain of in the end."""
    site = origin if request.param == "http" else HTML.as_uri()
    trouble = []
    page = browser.new_page()
    page.on("console", lambda message: message.type == "error" and trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(f"{site}/search.html")
    yield page
    page.close()
    assert trouble == []


def field(page):
    return page.get_by_role("main").get_by_role("searchbox")


def ask(page, query):
    """Enter the query, and return where its results lead."""
    field(page).fill(query)
    field(page).press("Enter")
    links = page.locator(".search-sections a").all()
    return [link.get_attribute("href").removeprefix("book/") for link in links]


@pytest.mark.parametrize(("query", "wanted", "among"), QUERIES)
def test_question_finds_its_section(searching, query, wanted, among):
    assert wanted in ask(searching, query)[:among]


def test_results_follow_what_is_typed(searching):
    ask(searching, "entropy")
    field(searching).fill("")
    expect(searching.locator(".search-sections li")).to_have_count(0)
    field(searching).press_sequentially("low_va")
    expect(searching.locator(".search-sections li").first).to_contain_text("What is low_var_kl")
    expect(searching.get_by_role("status")).to_have_text(re.compile(r"\d+ sections"))


def test_search_asks_nothing(searching):
    asked = []
    searching.on("request", lambda request: asked.append(request.url))
    assert ask(searching, "why is my KL negative")
    # With each new address Chromium looks at the icon again.
    assert [url for url in asked if not url.endswith("/favicon.svg")] == []


def test_claims_come_last(searching):
    found = ask(searching, "bits or nats")
    claims = [address.startswith("claims.html") for address in found]
    assert any(claims)
    assert claims == sorted(claims)


def test_result_shows_page_section_and_the_words_in_their_sentence(searching):
    ask(searching, "low_var_kl clamped")
    first = searching.locator(".search-sections li").first
    assert first.locator("a").inner_text().startswith("Questions › What is low_var_kl")
    assert {"low_var_kl", "clamped"} <= set(first.locator("mark").all_inner_texts())
    assert "clamped" in first.locator("p").inner_text()


def test_result_leads_to_its_section(searching):
    ask(searching, "why is my KL negative")
    searching.locator(".search-sections a").first.click()
    searching.wait_for_url("**/book/faq.html#why-is-my-kl-negative")
    expect(searching.locator(":target > h3")).to_be_in_viewport()
    searching.go_back()
    expect(field(searching)).to_have_value("why is my KL negative")
    expect(searching.locator(".search-sections li")).not_to_have_count(0)


def test_search_needs_no_mouse(searching):
    searching.goto(searching.url.split("?")[0])
    expect(field(searching)).to_be_focused()
    searching.keyboard.type("bits or nats")
    searching.keyboard.press("Enter")
    expect(searching.locator(".search-sections a").first).to_be_focused()
    searching.keyboard.press("Enter")
    searching.wait_for_url("**/book/glossary.html#nat")
    searching.go_back()


def test_word_that_is_nowhere_is_named(searching):
    assert ask(searching, "xylophone") == []
    expect(searching.get_by_role("status")).to_have_text(
        "No section has “xylophone”. Try other words."
    )
    elsewhere = searching.locator(".search-elsewhere a")
    assert [link.inner_text() for link in elsewhere.all()] == [
        "questions",
        "glossary",
        "introduction",
    ]


def test_word_that_is_misspelt_is_taken_for_another(searching):
    assert ask(searching, "divergance")
    expect(searching.get_by_role("status")).to_contain_text(
        "none with “divergance”. Did you mean “divergence”?"
    )


@pytest.mark.parametrize("query", ["", "the", "?", "<img src=x onerror=alert(1)>", "__proto__"])
def test_query_may_be_anything(searching, query):
    ask(searching, query)
    expect(field(searching)).to_have_value(query)
    assert searching.locator(".search-sections img").count() == 0


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("how", ["keys", "button"])
def test_dialog_leads_to_the_results(browser, origin, scheme, how):
    site = origin if scheme == "http" else HTML.as_uri()
    page = browser.new_page()
    page.goto(f"{site}/book/grpo.html")
    if how == "keys":
        page.keyboard.press("Control+k")
    else:
        page.get_by_role("button", name="Search").first.click()
    page.locator(".search-button__wrapper.show input").fill("low_var_kl")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=low_var_kl*")
    expect(page.locator(".search-sections li").first).to_contain_text("What is low_var_kl")
    page.close()


def test_page_without_scripts_says_where_to_look(browser, origin):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{origin}/search.html")
    expect(page.locator(".bd-search-container noscript p")).to_be_visible()
    expect(page.locator(".search-elsewhere a").first).to_be_visible()
    page.close()


def test_pages_do_not_load_what_only_the_search_needs():
    pages = {page.name: page.read_text("utf-8") for page in HTML.rglob("*.html")}
    assert [name for name, text in pages.items() if SCRIPT.name in text] == ["search.html"]


def test_search_is_small():
    assert len(gzip.compress(SCRIPT.read_bytes())) < 120_000


@pytest.mark.parametrize("name", ["searchtools.js", "language_data.js", "searchindex.js"])
def test_search_of_sphinx_is_gone(name):
    assert list(HTML.rglob(name)) == []
