"""What lies below the verdict: text until the page has been seen, and there at once for whoever asks for it sooner."""

import re

import pytest
from run_documents import details, hostile, renamed, result, study

from intact.report import explorer
from intact.report.page import html_of

LATER = "noscript[data-later]"
#: A browser in which no frame is ever made, nor said to be seen, as where nobody sees the page.
UNSEEN = (
    "window.requestAnimationFrame = () => 0; PerformanceObserver.prototype.observe = () => undefined;"
    "performance.getEntriesByName = () => []"
)
#: The same before any time has passed.
BLIND = f"{UNSEEN}; window.setTimeout = () => 0"
#: A browser that makes frames and does not say when they are seen.
SILENT = "PerformanceObserver.prototype.observe = () => undefined; performance.getEntriesByName = () => []"
ENDING = "</noscript><img src=x>"
TABLES = "all => all.map(body => body.textContent)"


def run():
    return html_of(result(), details(), sections=(explorer.section(details()),))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("below")
    made = {
        "run": run(),
        "study": html_of(study()),
        "hostile": html_of(*hostile()),
        "ending": html_of(renamed(result(), ENDING), renamed(details(), ENDING)),
        "ending study": html_of(renamed(study(), ENDING)),
    }
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page)
    return {name: folder / f"{name}.html" for name in made}


def drawn(page):
    page.wait_for_selector("html[data-drawn=yes]", state="attached")


def in_sight(page, name):
    """Whether the section's head comes into the window; Playwright's own waiting needs frames, which pages here lack."""
    script = "name => document.getElementById(name) ? document.getElementById(name).getBoundingClientRect().top : -1"
    for _ in range(100):
        top = page.evaluate(script, name)
        if 0 <= top < 900:
            return True
        page.wait_for_timeout(50)
    return False


@pytest.mark.parametrize("name", ["run", "study", "hostile", "ending", "ending study"])
def test_all_of_a_page_is_there_without_scripts_too(browser, pages, name):
    found = {}
    for scripts in (True, False):
        with browser.open(pages[name], java_script_enabled=scripts) as (page, _):
            if scripts:
                drawn(page)
                page.locator("details[data-table] table").evaluate_all("all => all.forEach(table => table.remove())")
            parts = page.locator("main section[id]")
            places = page.locator("nav a").evaluate_all("all => all.map(a => a.hash.slice(1))")
            ids = parts.evaluate_all("all => all.map(e => e.id)")
            assert set(places) == {"verdict", *ids}
            found[scripts] = ids, page.locator("main section[id]:not(#explorer) tbody").evaluate_all(TABLES)
            if not scripts:
                assert all(part.is_visible() for part in parts.all())
                assert page.locator("main img[src=x]").count() == 0
    assert found[True] == found[False]


@pytest.mark.parametrize("name", ["run", "study", "hostile", "ending", "ending study"])
def test_no_name_ends_a_section(pages, name):
    text = re.sub("<script>.*?</script>", "", pages[name].read_text(), flags=re.DOTALL)
    sections = re.findall(r"<noscript data-later>.*?</noscript>", text, re.DOTALL)
    assert sections
    assert not any("<noscript" in section[1:] or "<img src=x" in section for section in sections)
    assert text.count("<noscript") == text.count("</noscript>") == len(sections) + 1


def test_paper_has_all_of_it_at_once(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        page.add_init_script(BLIND)
        page.goto(pages["run"].as_uri())
        assert page.locator("main section[id]").count() == 0
        page.pdf(format="A4")
        assert page.locator(LATER).count() == 0
        assert page.locator("main section[id]").count() == run().count("<section id=")


def test_a_link_leads_to_what_was_not_yet_there(browser, pages):
    with browser.open(pages["run"], reduced_motion="reduce") as (page, _):
        page.add_init_script(BLIND)
        page.goto(pages["run"].as_uri())
        assert page.locator("#figures").count() == 0
        page.locator("nav a[href='#figures']").press("Enter")
        assert in_sight(page, "figures")


def test_an_address_leads_into_the_page(browser, pages):
    with browser.open(pages["run"], reduced_motion="reduce") as (page, _):
        page.add_init_script(BLIND)
        page.goto("about:blank")  # else the address would only change within the page
        page.goto(f"{pages['run'].as_uri()}#figures")
        assert in_sight(page, "figures")


def test_a_page_that_is_loaded_anew_is_where_it_was(browser, pages):
    with browser.open(pages["run"], reduced_motion="reduce") as (page, _):
        drawn(page)
        page.evaluate("document.getElementById('figures').scrollIntoView()")
        page.add_init_script(BLIND)
        page.reload()
        assert page.locator(LATER).count() == 0
        assert in_sight(page, "figures")


def test_a_browser_that_does_not_say_what_is_seen_shows_all(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        page.add_init_script(SILENT)
        page.goto(pages["run"].as_uri())
        drawn(page)
        assert page.locator(LATER).count() == 0


def test_a_page_that_nobody_sees_is_whole_soon(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        page.add_init_script(UNSEEN)
        page.goto(pages["run"].as_uri())
        for _ in range(400):
            if page.locator(LATER).count() == 0:
                break
            page.wait_for_timeout(50)
        assert page.locator("main section[id]").count() == run().count("<section id=")


def test_a_page_saved_as_it_stands_works_once_more(browser, pages, tmp_path):
    path, counted = tmp_path / "saved.html", []
    with browser.open(pages["run"]) as (page, _):
        drawn(page)
        page.wait_for_selector("[data-explorer][data-ex-shown]", state="attached")
        path.write_text(page.content())
        counted.append([page.locator(each).count() for each in (".unfold", "#tensor option", ".plot svg[role=img]")])
    with browser.open(path, faults=True) as (page, faults):
        page.wait_for_selector("[data-explorer][data-ex-shown]", state="attached")
        counted.append([page.locator(each).count() for each in (".unfold", "#tensor option", ".plot svg[role=img]")])
        page.locator("#ops button.unfold").click()
        assert page.locator("#ops tbody tr:visible").count() == len(details()["ops"])
        page.locator("#ops thead button").first.click()
        assert page.locator("#ops thead th").first.get_attribute("aria-sort") == "ascending"
    assert counted[0] == counted[1]
    assert all("inline style" in fault for fault in faults)  # of the charts that were saved, which are drawn anew
