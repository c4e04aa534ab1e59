"""What the built site says to servers, search engines and readers who share it.

The site that `make book` builds knows neither its address nor its repository; a second one, which
is built here, knows both.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urljoin, urlsplit
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from PIL import Image

import kltutorial
from tests.site.built import HTML as PLAIN
from tests.site.built import ROOT
from website import address, contents, notebooks

URL, REPOSITORY = "https://example.org/kl/", "https://github.com/example/kl"
BOOK = [f"{page}.html" for page in re.findall(r"book/\w+", (ROOT / "_toc.yml").read_text("utf-8"))]
EVERY = [*BOOK, "search.html", "404.html"]
# Of themselves these say nothing on where they lead.
VAGUE = {"", "click here", "click this", "go", "here", "learn more", "more", "read more", "this"}


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as the workflow that publishes it does."""
    folder = tmp_path_factory.mktemp("published")
    program = Path(sys.executable).with_name("jupyter-book")
    known = {"SITE_URL": URL.rstrip("/"), "SITE_REPOSITORY": REPOSITORY}
    run = subprocess.run(
        [program, "build", ROOT, "--path-output", folder, "-W", "-n"],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return folder / "_build" / "html"


@pytest.fixture(params=["plain", "published"])
def site(request: pytest.FixtureRequest) -> Path:
    """Return one site, then the other."""
    return PLAIN if request.param == "plain" else request.getfixturevalue("published")


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of its links."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.links: list[list[str]] = []
        self.open = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "a":
            self.open = True
            self.links.append([dict(attrs).get("href", ""), ""])

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag != "a"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.links[-1][1] += data

    def find(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        """Return the attributes of the elements that have those that are wanted."""
        return [
            found
            for name, found in self.elements
            if name == tag and wanted.items() <= found.items()
        ]

    def meta(self, name: str) -> str | None:
        """Return the content of the one element of this name, if there is one."""
        found = self.find("meta", name=name) + self.find("meta", property=name)
        assert len(found) <= 1
        return found[0]["content"] if found else None


page = cache(Page)


@pytest.mark.parametrize("path", [*EVERY, "index.html"])
def test_every_page_says_what_it_is_about(site: Path, path: str) -> None:
    description = page(site / path).meta("description")
    assert 40 <= len(description) <= contents.LONGEST
    assert not re.search(r"[$\\{}<>]", description)


def test_no_two_chapters_are_about_the_same() -> None:
    described = [page(PLAIN / path).meta("description") for path in BOOK]
    assert len(set(described)) == len(BOOK)


@pytest.mark.parametrize("path", EVERY)
def test_links_say_where_they_lead(site: Path, path: str) -> None:
    links = [(to, " ".join(text.split())) for to, text in page(site / path).links]
    assert [to for to, text in links if text.lower() in VAGUE and to] == []


@pytest.mark.parametrize("path", [*EVERY, "index.html"])
def test_pages_have_a_language_and_one_title(site: Path, path: str) -> None:
    assert page(site / path).find("html")[0]["lang"] == "en"
    assert (site / path).read_text("utf-8").count("<title>") == 1


@pytest.mark.parametrize("path", [*EVERY, "index.html"])
def test_without_an_address_no_page_claims_one(path: str) -> None:
    assert page(PLAIN / path).find("link", rel="canonical") == []
    assert page(PLAIN / path).meta("og:url") is None
    assert page(PLAIN / path).meta("og:image") is None


@pytest.mark.parametrize("path", BOOK)
def test_with_an_address_pages_say_which_is_theirs(published: Path, path: str) -> None:
    seen = page(published / path)
    assert [link["href"] for link in seen.find("link", rel="canonical")] == [URL + path]
    assert seen.meta("og:url") == URL + path
    assert seen.meta("og:description") == seen.meta("description")
    assert seen.meta("og:title")
    assert seen.meta("twitter:card") == "summary_large_image"


@pytest.mark.parametrize("path", BOOK)
def test_the_card_of_a_page_has_a_picture(published: Path, path: str) -> None:
    seen = page(published / path)
    with Image.open(published / seen.meta("og:image").removeprefix(URL)) as picture:
        size = seen.meta("og:image:width"), seen.meta("og:image:height")
        assert tuple(map(str, picture.size)) == size
        assert picture.convert("L").getextrema() < (100, 255)  # something dark on white


def test_the_root_leads_to_the_first_page(site: Path) -> None:
    seen = page(site / "index.html")
    assert seen.find("meta", **{"http-equiv": "refresh"})[0]["content"] == f"0; url={BOOK[0]}"
    assert [to for to, _ in seen.links] == [BOOK[0]]


def test_the_root_and_the_first_page_count_as_one(published: Path) -> None:
    canonical = page(published / "index.html").find("link", rel="canonical")
    assert [link["href"] for link in canonical] == [URL + BOOK[0]]


def test_robots_may_read_everything(site: Path) -> None:
    lines = (site / "robots.txt").read_text("utf-8").splitlines()
    known = {"User-agent: *", "Allow: /", ""}
    assert {"User-agent: *", "Allow: /"} <= set(lines)
    assert set(lines) - known == (set() if site == PLAIN else {f"Sitemap: {URL}sitemap.xml"})


def test_the_site_map_has_every_page_of_the_book(published: Path) -> None:
    found = ElementTree.parse(published / "sitemap.xml").getroot()
    space = {"s": "http://www.sitemaps.org/schemas/sitemap/0.9"}
    assert [place.text for place in found.findall("s:url/s:loc", space)] == [URL + p for p in BOOK]
    assert not (PLAIN / "sitemap.xml").exists()


def test_the_list_for_language_models_has_every_page_of_the_book(site: Path) -> None:
    text = (site / "llms.txt").read_text("utf-8")
    base = "" if site == PLAIN else URL
    listed = dict(re.findall(r"^- \[.+\]\((.+?)\): (.+)$", text, flags=re.MULTILINE))
    assert listed == {base + path: page(site / path).meta("description") for path in BOOK}
    assert text.startswith("# ")
    assert f"{base}llms-full.txt" in text


def test_the_text_for_language_models_has_code_and_what_it_prints() -> None:
    text = (PLAIN / "llms-full.txt").read_text("utf-8")
    chapter = nbformat.read(ROOT / "book" / "grpo.ipynb", as_version=4)
    assert [cell.id for cell in chapter.cells if cell.source not in text] == []
    printed = [
        out.text for cell in chapter.cells for out in cell.get("outputs", []) if "text" in out
    ]
    assert printed
    assert [lines for lines in printed if lines.rstrip() not in text] == []
    assert "<svg" not in text


def test_links_of_the_page_for_lost_readers_hold_at_any_depth(site: Path) -> None:
    base = "/" if site == PLAIN else urlsplit(URL).path
    attributes = [found for _, found in page(site / "404.html").elements]
    links = [
        found[name]
        for found in attributes
        for name in ("href", "src", "action", "data-content_root")
        if name in found and not found[name].startswith(("#", "https:"))
    ]
    assert [link for link in links if not link.startswith(base)] == []
    files = [urlsplit(link).path.removeprefix(base) for link in links]
    assert [file for file in files if not (site / file).exists()] == []
    assert {base + path for path in BOOK} <= set(links)
    assert page(site / "404.html").find("form", action=f"{base}search.html")


def footer(path: Path) -> str:
    return re.search(r'<div class="extra_footer">(.*?)</div>', path.read_text("utf-8"), re.DOTALL)[
        1
    ]


@pytest.mark.parametrize("path", EVERY)
def test_every_page_has_the_version_of_the_package(site: Path, path: str) -> None:
    assert f"kltutorial {kltutorial.__version__} " in footer(site / path)


@pytest.mark.parametrize("path", BOOK)
def test_every_page_says_where_to_report_an_error(path: str) -> None:
    link = re.search(r'href="(.*?)"', footer(PLAIN / path))[1]
    to = urlsplit(urljoin(path, link))
    assert to.path == BOOK[0]
    assert f'id="{to.fragment}"' in (PLAIN / to.path).read_text("utf-8")


@pytest.mark.parametrize("path", EVERY)
def test_a_repository_has_a_form_for_errors_that_names_the_page(published: Path, path: str) -> None:
    url, query = re.search(r'href="(.*?)\?(.*?)"', footer(published / path)).groups()
    assert url == f"{REPOSITORY}/issues/new"
    title = page(published / path).meta("og:title") or {"404.html": "Page not found"}.get(
        path, "Search"
    )
    assert parse_qs(query) == {"title": [f"{title}: "]}


def launches(path: Path) -> list[str]:
    return [to for to, _ in page(path).links if re.match("https://(mybinder|colab)", to)]


@pytest.mark.parametrize("path", BOOK)
def test_notebooks_can_be_launched_once_there_is_a_repository(published: Path, path: str) -> None:
    source = Path(path).with_suffix(".ipynb")
    binder = f"https://mybinder.org/v2/gh/example/kl/HEAD?urlpath=lab/tree/{source}"
    colab = f"https://colab.research.google.com/github/example/kl/blob/notebooks/{source}"
    assert launches(PLAIN / path) == []
    assert launches(published / path) == ([binder, colab] if (ROOT / source).exists() else [])


def downloads(site: Path) -> Iterator[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        copy = site / "_sources" / "book" / path.name
        yield nbformat.read(path, as_version=4), nbformat.read(copy, as_version=4)


def test_downloaded_notebooks_say_how_to_get_the_package(site: Path) -> None:
    how = (
        "make lab"
        if site == PLAIN
        else f'%pip install --quiet "kltutorial[plot] @ git+{REPOSITORY}"'
    )
    for ours, theirs in downloads(site):
        added = theirs.cells.pop(1)
        assert how in added.source
        assert theirs == ours


def test_the_cell_that_installs_the_package_leaves_an_installed_one_alone(published: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    ran = []
    shell.register_magic_function(ran.append, magic_name="pip")
    cell = next(downloads(published))[1].cells[1].source
    shell.run_cell(cell).raise_error()
    assert ran == []
    shell.run_cell(cell.replace('"kltutorial"', '"kltutorial_missing"', 1)).raise_error()
    assert len(ran) == 1


def test_binder_installs_the_package_in_the_versions_of_the_book() -> None:
    wanted = (ROOT / ".binder" / "requirements.txt").read_text("utf-8").splitlines()
    assert {"-c ../requirements.txt", ".[plot]"} <= set(wanted)
    python = (ROOT / ".binder" / "runtime.txt").read_text("utf-8").strip()
    assert python == "python-3.11"


def configured(url: str, repository: str) -> tuple[str, str]:
    config = SimpleNamespace(html_baseurl=url, html_theme_options={"repository_url": repository})
    address._complete(None, config)
    return config.html_baseurl, config.html_theme_options["repository_url"]


def test_the_configuration_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SITE_URL", "SITE_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    assert configured("", "") == ("", "")
    assert configured("https://a.org/b", "https://github.com/a/b.git") == (
        "https://a.org/b/",
        "https://github.com/a/b",
    )
    monkeypatch.setenv("SITE_URL", URL)
    monkeypatch.setenv("SITE_REPOSITORY", f"{REPOSITORY}/")
    assert configured("", "") == (URL, REPOSITORY)
    assert configured("https://a.org/", "https://github.com/a/b")[0] == "https://a.org/"


def test_the_workflow_sets_what_the_site_reads_and_may_do_no_more_than_it_must() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    given = next(step["env"] for step in jobs["build"]["steps"] if step.get("run") == "make book")
    assert set(given) == {"SITE_URL", "SITE_REPOSITORY"}
    writes = {
        name: {k for k, v in job.get("permissions", {}).items() if v == "write"}
        for name, job in jobs.items()
    }
    assert writes == {
        "gates": set(),
        "build": set(),
        "deploy": {"pages", "id-token"},
        "notebooks": {"contents"},
    }
    assert f"origin {notebooks.BRANCH}" in jobs["notebooks"]["steps"][-1]["run"]
