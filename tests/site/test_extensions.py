"""The website's own Sphinx extensions, piece by piece, on pages made up for the purpose."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from io import BytesIO
from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from fontTools.ttLib import TTFont
from pygments import highlight
from pygments.lexers import PythonLexer

from website import assets, build, code, disclosure, fonts, mathematics, node, notfound

PAGE = """\
<!DOCTYPE html>
<html lang="en" data-theme="auto">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="first" />
    <title>Made up</title>
    <script>early()</script>
    <link href="../_static/a.css?digest=1" rel="stylesheet" />
    <link rel="preload" as="script" href="../_static/a.js" />
    <link href="../_static/own.css" rel="stylesheet" />
    <link rel="icon" href="../_static/favicon.svg" />
    <script src="../_static/fontawesome.js"></script>
    <script src="../_static/a.js"></script>
    <script>shared()</script>
    <script src="../_static/own.js"></script>
    <meta name="viewport" content="last" />
  </head>
  <body>
    <button onclick="say(&quot;it&quot;)">Say it</button>
    <script>where_it_stands()</script>
    <script src="../_static/b.js"></script>
  </body>
</html>
"""
SHARED = {"_static/a.css", "_static/a.js", "shared()", "_static/b.js", "_static/fontawesome.js"}


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "book" / "made_up.html"
    path.parent.mkdir()
    path.write_text(PAGE, "utf-8")
    return assets.Page(path, tmp_path)


def test_a_page_knows_what_it_loads_from_the_root_of_the_site(page):
    assert list(page.sheets()) == ["_static/a.css", "_static/own.css"]
    assert set(page.scripts()) == SHARED - {"_static/a.css"} | {"_static/own.js"}


def test_a_finished_page_loads_what_all_share_in_one_file_and_then_its_own(page):
    text = page.finished(SHARED, {"css": "1", "js": "2"})
    assert re.findall(r'<link .*?href="(.*?)"', text) == [
        "../_static/own.css",
        "../_static/favicon.svg",
        "../_static/site.css?v=1",
    ]
    assert re.findall(r'<script (\w*) ?src="(.*?)"', text) == [
        ("defer", "../_static/site.js?v=2"),
        ("defer", "../_static/own.js"),
    ]


def test_a_finished_page_has_one_viewport_and_is_light_without_a_script(page):
    text = page.finished(SHARED, {"css": "1", "js": "2"})
    assert re.findall('name="viewport" content="(.*?)"', text) == ["last"]
    assert '<html lang="en" data-theme="light">' in text


def test_the_policy_allows_the_short_scripts_of_the_page_and_no_other(page):
    text = page.finished(SHARED, {"css": "1", "js": "2"})
    scripts = [
        *re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL),
        *map(unescape, re.findall(r'onclick="(.*?)"', text)),
    ]
    assert {"early()", "where_it_stands()", 'say("it")'} < set(scripts)
    assert "shared()" not in scripts
    wanted = {f"sha256-{digest(script)}" for script in scripts}
    assert set(re.findall(r"'(sha256-.*?)'", text)) == wanted


def digest(script):
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def test_a_build_starts_over_with_the_pages_alone(page):
    kept = page.root / "_static" / "macros.html"
    kept.parent.mkdir()
    kept.touch()
    assets._start_over(SimpleNamespace(outdir=page.root))
    assert not page.path.exists()
    assert kept.exists()


@pytest.mark.parametrize(
    ("written_as", "exception", "acts"),
    [("html", None, True), ("html", ValueError(), False), ("latex", None, False)],
)
def test_what_waits_for_the_pages_does_without_after_an_error(written_as, exception, acts):
    seen = []
    app = SimpleNamespace(
        builder=SimpleNamespace(format=written_as),
        connect=lambda event, finish, priority: finish(app, exception),
    )
    build.when_written(app, seen.append)
    assert seen == [app] * acts


def disclosed(*classes):
    document = new_document("made up", get_default_settings(Parser))
    link = nodes.reference("", "", nodes.Text("the exercise"), refuri="#it")
    title = nodes.title("", "", nodes.Text("Solution to "), link)
    admonition = nodes.admonition("", title, nodes.paragraph("", "Yes."), ids=["answer"])
    admonition["classes"] = list(classes)
    document += admonition
    disclosure._Disclosures(document).run()
    return document


def test_a_closed_admonition_is_a_disclosure_whose_title_only_opens_it():
    document = disclosed("solution", "dropdown")
    html = "".join(part.astext() for part in document.findall(lambda part: not part.children))
    assert html == (
        '<details class="solution dropdown admonition" id="answer">'
        '<summary class="admonition-title">Solution to the exercise</summary>Yes.</details>'
    )
    assert not list(document.findall(nodes.reference))


def test_other_admonitions_stay_what_they_are():
    document = disclosed("solution")
    assert isinstance(document[0], nodes.admonition)
    assert list(document.findall(nodes.reference))


def test_a_font_is_cut_to_the_letters_and_keeps_the_measures_of_mathematics():
    source = fonts.address(mathematics.FONT, map(ord, "∑π語"))
    packed = base64.b64decode(source.removeprefix("data:font/woff2;base64,"))
    with TTFont(BytesIO(packed)) as font:
        assert set(map(chr, font.getBestCmap())) == set("∑π")
        assert "MATH" in font
    assert source == fonts.address(mathematics.FONT, map(ord, "∑π語"))


def test_a_font_without_the_letters_is_none():
    assert fonts.address(mathematics.FONT, [ord("語")]) == ""


def test_a_formula_is_held_to_the_sign_that_follows_it_and_no_other():
    document = new_document("made up", get_default_settings(Parser))
    comma, formula = nodes.Text(", "), nodes.math("", "x")
    document += nodes.paragraph("", "", nodes.emphasis("", "a"), comma, formula, comma.copy())
    mathematics._Joined(document).run()
    assert document.astext() == "a, x, "
    assert [held.astext() for held in document.findall(nodes.inline)] == ["x,"]


def test_a_formula_that_cannot_be_typeset_is_named():
    with pytest.raises(RuntimeError, match=r"in \\frac\{1\}\{2"):
        node.run("typeset.mjs", stdin=r'[{"tex": "x", "display": false}, {"tex": "\\frac{1}{2"}]')


def test_code_has_colours_for_words_and_text_alone():
    html = highlight("if x + 1: 'yes'", PythonLexer(), code._Formatter())
    assert re.findall(r'<span class="\w+">(.*?)</span>', html) == ["if", "'yes'"]


@pytest.mark.parametrize(
    ("link", "turned"),
    [
        ('href="book/a.html#b"', 'href="/kl/book/a.html#b"'),
        ('src="_static/a.js"', 'src="/kl/_static/a.js"'),
        ('data-content_root="./"', 'data-content_root="/kl/"'),
        ('href="#main"', 'href="#main"'),
        ('href="/elsewhere"', 'href="/elsewhere"'),
        ('href="https://example.org"', 'href="https://example.org"'),
    ],
)
def test_links_of_the_page_for_lost_readers_start_at_the_root(tmp_path, link, turned):
    file = tmp_path / "404.html"
    script = "<script>write('<a href=\"a.html\">')</script>"
    file.write_text(f"<p {link}>{script}<p {link}>", "utf-8")
    config = SimpleNamespace(html_baseurl="https://example.org/kl/")
    notfound._from_the_root(SimpleNamespace(outdir=tmp_path, config=config))
    assert file.read_text("utf-8") == f"<p {turned}>{script}<p {turned}>"
