"""The documentation builds as a site without a broken link, every page has its place in it, and it needs no network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import intact
from test_architecture import WINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(module, reason="mkdocs-material or mkdocstrings is not installed (the extra docs)")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    ran = subprocess.run(
        build, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


class Asked(HTMLParser):
    """What a browser fetches by itself for a page: everything but what links lead to."""

    def __init__(self, text):
        super().__init__()
        self.urls = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.urls += [found[name] for name in ("src", "srcset", "poster", "data") if found.get(name)]
        if tag == "link":
            self.urls.append(found["href"])


def elsewhere(text):
    return [url for url in Asked(text).urls if re.match(r"(\w+:)?//", url)]


def test_what_loads_from_another_host_is_found():
    links = '<a href="https://a.b/c">c</a><script src="x.js"></script>'
    assert elsewhere(links) == []
    assert elsewhere(links + '<script src="//a.b/x.js"></script><link href="https://a.b/x.css">') == [
        "//a.b/x.js",
        "https://a.b/x.css",
    ]


def test_pages_load_nothing_from_other_hosts(site):
    assert {path.name: found for path in site.rglob("*.html") if (found := elsewhere(path.read_text()))} == {}
    for path in site.rglob("*.css"):
        assert not re.findall(r"(?:@import|url\()\s*['\"]?(?:\w+:)?//", path.read_text()), path


def test_every_page_is_in_the_navigation(site):
    text = (site / "index.html").read_text()
    linked = set(re.findall(r'<a href="([\w/]+\.html)" class="md-nav__link', text)) | {"index.html"}
    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")}
    assert pages | {f"examples/{path.parent.name}.html" for path in ROOT.glob("examples/*/README.md")} <= linked


def test_the_reference_has_every_public_name(site):
    page = (site / "reference.html").read_text()
    documented = set(re.findall(r'id="intact\.([\w.]+)"', page))
    assert {name for name in intact.__all__ if name not in ("__version__", "data")} <= documented
    assert {f"data.{name}" for name in ("arrays", "folder", "samples_from")} <= documented
    assert not re.findall(r":(?:func|class|mod|meth):", page)


def test_search_works_from_disk(site, browser):
    with browser.open(site / "index.html") as (page, _):
        page.click(".md-search__input")
        page.keyboard.type("equalize")
        page.wait_for_selector(".md-search-result__item")
        assert "remedies" in page.locator(".md-search-result__list").inner_text().lower()


def test_the_page_of_the_design_has_the_map_of_imports():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "design.md").read_text(), re.MULTILINE)
    said = {name: set(re.findall(r"`(\w+)`", others)) for name, others in rows}
    assert said == {name or "intact": others for name, others in WINGS.items()}
