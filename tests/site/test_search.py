"""The search, asked what readers ask, on the web and from a file."""

from __future__ import annotations

import gzip
import re

import pytest
from playwright.sync_api import expect

from tests.site.built import HTML, ROOT

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
    ("unbaised", "misconceptions.html#an-unbiased-estimate-is-the-right-loss", 3),
    ("why is there a minus 1 in the KL", "intro.html#why-it-looks-like-that", 1),
    ("-1", "three_estimators.html#k3-add-something-whose-mean-is-zero", 3),
    ("how many samples do I need", "kl_divergence.html#what-a-tenth-of-a-nat-means", 3),
    ("do I need the reference model", "faq.html#can-i-leave-the-kl-term-out", 3),
    ("which estimator should I use", "choosing.html#the-decision-table", 3),
    (
        "vLLM mismatch",
        "faq.html#why-do-training-and-inference-disagree-and-more-so-over-time",
        1,
    ),
    ("pi_ref", "glossary.html#reference", 1),
    ("confidence interval", "three_estimators.html#error-bars-for-sequences", 3),
    ("how big should beta be", "faq.html#which-beta-should-i-use", 1),
    ("is GRPO on-policy", "glossary.html#on-policy", 3),
    ("should I clip k3", "choosing.html#a-clamp-that-lets-go", 3),
    (
        "should KL go in the reward or in the loss",
        "faq.html#use-kl-loss-or-use-kl-in-reward-and-is-the-kl-applied-twice",
        3,
    ),
    (
        "can I reuse old rollouts",
        "faq.html#the-samples-come-from-the-old-policy-does-the-kl-need-importance-sampling",
        3,
    ),
    ("does length normalisation matter", "sequences.html#lengths", 3),
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
    links = page.locator(".search-sections a")
    addresses = links.evaluate_all("(all) => all.map((link) => link.getAttribute('href'))")
    return [address.removeprefix("book/") for address in addresses]


@pytest.mark.parametrize("searching", ["http"], indirect=True)
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


def test_result_shows_a_sentence_with_its_formulas_legible(searching):
    ask(searching, "minus 1 generators")
    shown = searching.locator(".search-sections li p").all_inner_texts()
    assert any("u log u − u + 1" in text for text in shown)
    assert " · " not in shown[0]


def test_words_of_readers_lead_to_sections_that_exist():
    aliases = (ROOT / "website" / "search" / "aliases.js").read_text("utf-8")
    addresses = re.findall(r'"(book/\w+\.html)#(.+)":', aliases)
    assert addresses
    for page, section in addresses:
        assert f'id="{section}"' in (HTML / page).read_text("utf-8")


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


@pytest.fixture
def dialog(browser, origin):
    """The search dialog of a page, opened while a link of the text had the focus."""
    page = browser.new_page()
    page.goto(f"{origin}/book/grpo.html")
    page.locator("article a.reference").first.focus()
    page.keyboard.press("Control+k")
    yield page.get_by_role("dialog", name="Search")
    page.close()


def test_dialog_says_what_to_press(dialog):
    expect(dialog.get_by_role("searchbox")).to_have_accessible_description(
        "Enter shows the results"
    )
    expect(dialog.get_by_text("Enter shows the results")).to_be_visible()


def test_dialog_keeps_the_focus(dialog):
    for key in ["Tab", "Tab", "Tab", "Shift+Tab"]:
        dialog.page.keyboard.press(key)
        assert dialog.evaluate(
            "(it) => [document.body, it.querySelector('input')].includes(document.activeElement)"
        )


@pytest.mark.parametrize("within", [True, False], ids=["in the field", "beside the field"])
@pytest.mark.parametrize("how", ["Escape", "Control+k", "click"])
def test_closed_dialog_gives_the_focus_back(dialog, within, how):
    page = dialog.page
    if not within:
        dialog.get_by_text("Enter shows the results").click()
    if how == "click":
        page.mouse.click(5, 5)
    else:
        page.keyboard.press(how)
    expect(dialog).to_be_hidden()
    expect(page.locator("article a.reference").first).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("article :focus")).to_have_count(1)


@pytest.mark.parametrize("where", ["search.html", "book/grpo.html"])
def test_icon_and_ring_fit_the_field(browser, origin, where):
    page = browser.new_page()
    page.goto(f"{origin}/{where}")
    page.keyboard.press("Control+k")
    form = page.locator("form.bd-search:visible")
    field, icon = form.locator("input").bounding_box(), form.locator("i").bounding_box()
    padding = form.locator("input").evaluate("(it) => parseFloat(getComputedStyle(it).paddingLeft)")
    assert field["x"] < icon["x"]
    assert icon["x"] + icon["width"] < field["x"] + padding
    assert field["y"] < icon["y"] < icon["y"] + icon["height"] < field["y"] + field["height"]
    assert field["x"] - form.bounding_box()["x"] <= 1  # the border
    page.close()


def test_page_with_a_field_of_its_own_needs_no_dialog(browser, origin):
    page = browser.new_page()
    page.goto(f"{origin}/404.html")
    page.keyboard.press("Control+k")
    expect(field(page)).to_be_focused()
    page.close()


@pytest.mark.parametrize("is_phone", [True, False])
def test_keys_are_shown_to_those_who_have_them(browser, origin, is_phone):
    page = browser.new_page(has_touch=is_phone, is_mobile=is_phone)
    page.goto(f"{origin}/search.html")
    keys = page.locator(".bd-search-container kbd")
    expect(keys.first).to_be_visible(visible=not is_phone)
    page.close()


def test_page_without_scripts_says_where_to_look(browser, origin):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{origin}/search.html")
    expect(page.locator("form.bd-search:visible")).to_have_count(0)
    expect(page.locator(".bd-search-container noscript p")).to_be_visible()
    links = page.locator(".bd-search-container a:visible")
    assert links.all_inner_texts() == ["questions", "glossary", "introduction"]
    page.close()


def test_pages_do_not_load_what_only_the_search_needs():
    pages = {page.name: page.read_text("utf-8") for page in HTML.rglob("*.html")}
    assert [name for name, text in pages.items() if SCRIPT.name in text] == ["search.html"]


def test_search_is_small():
    assert len(gzip.compress(SCRIPT.read_bytes())) < 120_000


def test_what_many_sections_say_alike_is_left_out():
    line = "Where to draw; by default, a new figure."
    assert (HTML / "book" / "api.html").read_text("utf-8").count(line) > 5
    assert line not in SCRIPT.read_text("utf-8")


@pytest.mark.parametrize("name", ["searchtools.js", "language_data.js", "searchindex.js"])
def test_search_of_sphinx_is_gone(name):
    assert list(HTML.rglob(name)) == []
