"""The page of a run and of a study: it stands alone, says the same without scripts, and means nothing by any name."""

import base64
import gzip
import hashlib
import itertools
import json
import re
import time
from html import unescape
from statistics import median

import pytest
from run_documents import HOSTILE, details, hostile, older, renamed, result, study

from intact.report.page import NOTICES, Section, embedded, html_of, static
from intact.wording import quantity, shown

WIDTHS = (380, 768, 1280)
#: Charts of a run with all that a run can have.
CHARTS = 12


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "run": html_of(result(), details()),
        "older": html_of(older()),
        "hostile": html_of(*hostile()),
        "study": html_of(study()),
        "hostile study": html_of(renamed(study())),
    }
    for name, page in made.items():
        (folder / f"{name}.html").write_text(page)
    return {name: folder / f"{name}.html" for name in made}


def drawn(page):
    page.wait_for_selector("html[data-drawn=yes]", state="attached")


def column(page, table, n):
    return page.locator(f"{table} tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{n}].dataset.value)")


def test_a_page_is_one_file_of_less_than_two_megabytes_made_at_once():
    began = time.process_time()
    page = html_of(result(), details())
    assert time.process_time() - began < 5
    assert len(page.encode()) < 2_000_000
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form|audio|video|source)\b|\ssrc=\"(?!data:image/)", page)
    assert not re.search(r"""\bon[a-z]+=["']|\sstyle=["']""", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_a_page_is_ascii_and_has_the_notices_of_what_is_packed_in_it():
    page = html_of(*hostile())
    assert page.isascii()
    assert "\u202e" not in unescape(page)
    for name in NOTICES:
        assert static(name) in page
        assert "--" not in static(name)  # it stands in a comment


@pytest.mark.parametrize("name", ["start.js", "page.css", "explorer.css", "explorer_page.css"])
def test_what_stands_in_a_page_as_it_is_is_ascii(name):
    assert static(name).isascii()  # no reference to a character means anything in a script or a style


def test_a_name_beyond_reading_is_its_ops():
    more = details()
    (row, *_) = (t for t in more["tensors"] if t["role"] == "activation" and t["op"])
    long = f"{'torch.nn.modules.container.Sequential_0/' * 9}Conv2d_0"
    row["name"] = long
    more["memory"]["buffers"][0] |= {"name": long, "tensor": row["id"]}
    page = html_of(result(), more)
    assert long not in page
    assert "its op stands for it" in page
    for part in ("tensors", "memory"):
        assert row["op"] in unescape(re.search(f'<section id="{part}">.*?</section>', page, re.DOTALL)[0])
    assert "its op stands for it" not in html_of(result(), details())


def test_ops_are_numbered_in_the_table_of_memory_as_in_its_chart():
    more = details()
    part = re.search('<section id="memory">.*?</section>', html_of(result(), more), re.DOTALL)[0]
    spans = [(b["first"], b["last"]) for b in more["memory"]["buffers"]]
    told = re.findall(r'<td class="n" data-value="\d+">([\d,]+)</td>', part)
    assert [tuple(map(int, pair)) for pair in zip(told[1::3], told[2::3], strict=True)] == [(a + 1, b + 1) for a, b in spans]
    assert min(a for a, _ in spans) == 0  # the first op, which the chart calls 1


def test_a_browser_without_what_unpacks_says_so(browser, pages):
    script = "delete window.DecompressionStream"
    held = browser.chromium.new_context()
    try:
        held.add_init_script(script)
        page = held.new_page()
        page.goto(pages["run"].as_uri())
        assert page.locator("#old-browser").is_visible()
        assert page.locator("#ops tbody tr").count() == len(details()["ops"])
    finally:
        held.close()


def test_details_of_many_ops_stay_within_two_megabytes():
    assert len(html_of(result(), details(many=8)).encode()) < 2_000_000


def test_the_policy_lets_run_what_the_page_holds_and_nothing_else():
    page = html_of(result(), details())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert {rules["base-uri"], rules["form-action"]} == {"'none'"}
    allowed = rules["script-src"].split()
    held = re.findall('<script type="text/plain" data-packed="run">(.*?)</script>', page)
    (starter,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    texts = [*(gzip.decompress(base64.b64decode(text)) for text in held), starter.encode()]
    assert allowed == [f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in texts]
    assert all(word.startswith("'sha256-") for word in (*allowed, *rules["style-src"].split()))


def test_the_first_screen_is_there_without_scripts(browser, pages):
    with browser.open(pages["run"], java_script_enabled=False) as (page, _):
        assert page.locator("h1").inner_text().startswith("Rejected: 1 of 4 criteria is not met")
        assert page.locator(".five tbody tr").count() == 5
        assert page.locator(".criteria tbody tr:not(.why)").all_inner_texts()[1].split() == [
            "size",
            "ratio",
            ">=",
            "4",
            "✓",
            "met",
            "6.48x",
            "smaller",
        ]
        assert "classifier" in page.locator(".worst li").first.inner_text()
        assert page.locator(".next li").count() >= 3
        assert page.locator("#ops tbody tr").count() == len(details()["ops"])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "charts"), [("run", CHARTS), ("older", 0), ("study", 2), ("hostile", CHARTS)])
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_window(browser, pages, name, charts, width):
    with browser.open(pages[name], width) as (page, _):
        drawn(page)
        assert page.locator(".plot svg[role=img][aria-label]").count() == charts
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", ["hostile", "hostile study"])
def test_a_name_shows_its_characters_and_means_nothing(browser, pages, name):
    with browser.open(pages[name]) as (page, _):
        drawn(page)
        assert page.evaluate("window.broken") is None
        assert page.locator("img:not([src^='data:image/png;base64,'])").count() == 0
        assert page.locator("script:not([type])").count() == 5
        seen = page.locator("body").inner_text()
        assert shown(HOSTILE) in seen
        assert not set("\x1b\u202e\u2028\x00") & set(page.content())


def test_a_hostile_thumbnail_is_left_out():
    more = details()
    more["changed"]["shown"] = more["changed"]["shown"][:3]
    for sample, thumbnail in zip(
        more["changed"]["shown"],
        ("javascript:alert(1)", 'data:image/png;base64,AA" onerror="x', "https://a.b/c.png"),
        strict=True,
    ):
        sample["thumbnail"] = thumbnail
    page = html_of(result(), more)
    assert "<img" not in page
    assert page.count('class="none"') == 3


def test_data_cannot_end_its_element():
    data = {"</script><!--": ["\u2028\u2029&<>"]}
    text = embedded(data)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"</script><!--": ["\\u2028\\u2029&<>"]}  # as they are shown


def test_tables_sort_by_number_with_what_is_empty_last(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        header = page.locator("#ops thead th").nth(3)
        assert header.get_attribute("aria-sort") is None
        for order, sign in (("descending", -1), ("ascending", 1)):
            header.locator("button").click()
            assert header.get_attribute("aria-sort") == order
            values = [value for value in column(page, "#ops table", 3) if value]
            assert values == sorted(values, key=lambda value: sign * float(value))
            assert column(page, "#ops table", 3)[len(values) :] == [""] * (len(details()["ops"]) - len(values))
        page.locator("#ops thead th").nth(0).locator("button").click()
        assert page.locator("#ops thead th[aria-sort]").count() == 1
        infinite = page.locator("#ops thead th").nth(5)
        infinite.locator("button").click()
        assert column(page, "#ops table", 5)[0] == "Infinity"


def test_a_long_table_unfolds(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        rows = page.locator("#ops tbody tr:visible")
        button = page.locator("#ops button.unfold")
        button.wait_for(state="attached")  # it comes with the script, after the first paint
        assert rows.count() == 15
        assert button.get_attribute("aria-expanded") == "false"
        button.click()
        assert rows.count() == len(details()["ops"])
        assert button.get_attribute("aria-expanded") == "true"


def test_a_tensor_is_chosen_and_its_histogram_told_as_a_table(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        drawn(page)
        chart = page.locator("[data-chart=histogram] svg")
        page.select_option("#tensor", label="features.3.depthwise/weight")
        assert chart.get_attribute("aria-label") == "Histogram of features.3.depthwise/weight, float and integer"
        assert "16 levels" in page.locator("#tensors p.note").first.text_content()
        page.locator("details[data-table=histogram] summary").click()
        tensor = next(t for t in details()["tensors"] if t["name"] == "features.3.depthwise/weight")
        counts = list(zip(tensor["histogram"]["float"], tensor["histogram"]["integer"], strict=True))
        cells = page.locator("details[data-table=histogram] tbody tr").evaluate_all(
            "rows => rows.map(row => [2, 3].map(n => Number(row.cells[n].textContent.replace(/,/g, ''))))"
        )
        assert cells == [list(pair) for pair in counts if any(pair)]
        before = chart.evaluate("svg => svg.outerHTML")
        page.locator("#log").uncheck()
        assert chart.evaluate("svg => svg.outerHTML") != before


def test_bars_show_what_is_chosen(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        drawn(page)
        for label in ("share of the noise", "SQNR in the runtime", "time alone"):
            page.get_by_label(label, exact=True).check()
            assert page.locator("[data-chart=ops] svg").get_attribute("aria-label") == f"{label} of every op"


def test_all_of_it_is_reached_by_keyboard(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        drawn(page)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the verdict"
        assert page.locator(".skip").bounding_box()["x"] >= 0
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href], button, select, summary, input[type=checkbox], [tabindex=\"0\"]')]"
            ".filter(e => e.checkVisibility()).length"
        )
        reached = page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0 && e.ariaLabel)")
        assert reached
        seen = {"a"}
        for _ in range(wanted + 2):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("document.activeElement.tagName.toLowerCase()"))
        assert {"a", "button", "select", "summary", "input", "div"} <= seen
        header = page.locator("#ops thead th").nth(2)
        header.locator("button").focus()
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "descending"


def luminance(color):
    parts = [int(x) / 255 for x in re.findall(r"\d+", color)[:3]]
    return sum(
        w * (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4)
        for w, x in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, pages, scheme):
    with browser.open(pages["run"], color_scheme=scheme) as (page, _):
        paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert (paper < 0.1) == (scheme == "dark")
        for selector in ("body", ".note", ".mark.pass", ".mark.fail", ".mark.inconclusive", ".alarm, a[href='#ops']", ".how"):
            ink = luminance(page.locator(selector).first.evaluate("e => getComputedStyle(e).color"))
            light, dark = max(ink, paper), min(ink, paper)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, selector


def test_on_paper_the_acceptance_has_a_page_of_its_own(browser, pages):
    with browser.open(pages["run"], color_scheme="dark") as (page, _):
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
        assert page.locator(".signatures tbody tr").count() == 3
        assert page.locator("#acceptance").evaluate("e => getComputedStyle(e).breakBefore") == "page"
        page.wait_for_selector("#ops button.unfold", state="attached")  # scripts run, and have not drawn all
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")
        assert page.locator(".plot svg").count() == CHARTS  # all of them, seen or not


def test_an_older_run_says_what_it_lacks():
    page = unescape(html_of(older()))
    assert "no criterion was given" in page
    assert "This run kept no details" in page
    assert 'id="ops"' not in page


def test_a_limit_without_criteria_is_the_verdict():
    document = {**older(), "verdict": result()["verdict"]}
    assert "accepted-with-limitation" in html_of(document)


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("Accepted: both criteria are met.", "Both criteria are met."),
        ("Accepted with limitation: both criteria are met.", "Both criteria are met."),
        ("Accepted with limitation. Accepted: all are met.", "All are met."),
        ("what an older version said", "What an older version said"),
    ],
)
def test_what_was_decided_is_said_once(why, said):
    judged = {"status": "accepted with limitation", "why": why, "limitations": ["one"], "alternatives": [], "deliverables": []}
    page = html_of({**result(), "acceptance": judged})
    (text,) = re.findall('<p class="status [^>]*>(.*?)</p>', page)
    assert text == f"<strong>Accepted with limitation.</strong> {said}"


def long_named(document):
    """``document`` with a name of 180 characters for what is quantized."""
    long = "mobilenet_v2_with_a_long_stem_that_nobody_breaks_" * 4
    return json.loads(re.sub(r"mobilenet(?=[ ._])\S*?(?=[ \"])", long, json.dumps(document)))


@pytest.mark.parametrize("made", [result, study])
def test_a_long_name_without_a_break_widens_nothing(browser, tmp_path, made):
    path = tmp_path / "page.html"
    path.write_text(html_of(long_named(made())))
    assert "nobody_breaks_mobilenet" in path.read_text()
    with browser.open(path, 380) as (page, _):
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        heads = page.locator("h1, .kicker, #rows tbody th, #decision tbody th")
        assert max(heads.evaluate_all("all => all.map(e => e.offsetWidth)")) <= 380


@pytest.mark.parametrize("made", [result, study])
def test_what_stands_beside_a_long_name_keeps_half_of_a_narrow_page(browser, tmp_path, made):
    document = made()
    figures = [f for row in document.get("rows", ()) for f in row["figures"].values()] or document["measurements"]
    for number, figure in enumerate(figures):
        figure["how"] = f"another for each: {number}"  # so that each says whose it is, after its name
    path = tmp_path / "page.html"
    path.write_text(html_of(document))
    with browser.open(path, 380) as (page, _):
        drawn(page)
        page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert min(page.locator("dd").evaluate_all("all => all.map(e => e.offsetWidth)")) >= 180


def test_charts_say_sizes_and_times_as_tables_do(browser, pages):
    with browser.open(pages["run"]) as (page, _):
        drawn(page)
        said = page.locator("[data-chart=latency] svg").text_content() + page.locator("[data-chart=sizes] svg").text_content()
        for blocks in (details()["latency"][side] for side in ("float", "quantized")):
            assert quantity(median(ms for ms in blocks if isinstance(ms, float)), "ms") in said
        for size in details()["sizes"].values():
            assert quantity(size, "bytes") in said
        ticks = page.locator("[data-chart=memory] svg [aria-label='x-axis tick label'] text").all_text_contents()
        assert all(tick.isdecimal() for tick in ticks)
        ranges = page.locator("[data-chart=ranges] svg").text_content()
        assert not any(t["name"] in ranges for t in details()["tensors"] if t["role"] == "bias")


def of_few_values():
    """A run of a network of two layers that makes values: no loss at all, in no unit, microseconds, ranges of six decades."""
    document, held = result(), details()
    for candidate in document["candidates"]:
        candidate["loss"] |= {"name": "iou drop", "unit": "", "value": 0.0, "low": 0.0, "high": 0.0}
        candidate["latency_ms"] /= 1000
    for side in ("float", "quantized"):
        held["latency"][side] = [ms / 1000 if isinstance(ms, float) else ms for ms in held["latency"][side]]
    tensors = [tensor for tensor in held["tensors"] if tensor["role"] not in {"weight", "bias"}][:2]
    for tensor in tensors:
        tensor |= {"low": -1e5, "high": 2e5, "grid_low": -2e5, "grid_high": 2e5}
    held["tensors"] = tensors
    return document, held


def test_charts_of_a_network_of_few_values_can_be_read_on_a_phone(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(html_of(*of_few_values()))
    with browser.open(path, 380) as (page, _):
        drawn(page)
        for name in ("front-bytes", "front-ms"):
            chart = page.locator(f"[data-chart={name}] svg")
            assert chart.locator("[aria-label='y-axis label']").text_content() == "↑ iou drop"
            assert chart.locator("[aria-label='y-axis tick label'] text").all_text_contents() == ["0"]
        for name in ("front-ms", "latency"):
            ticks = page.locator(f"[data-chart={name}] svg [aria-label='x-axis tick label'] text").all_text_contents()
            assert ticks
            assert all(tick.endswith(" µs") for tick in ticks)
        for name, axis in (("ranges", "x"), ("ranges", "y"), ("latency", "x"), ("front-ms", "x")):
            boxes = page.locator(f"[data-chart={name}] svg [aria-label='{axis}-axis tick label'] text").evaluate_all(
                "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])"
            )
            assert len(boxes) > 1
            ends = sorted(box[:2] if axis == "x" else box[2:] for box in boxes)
            assert all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(ends)), (name, ends)


def test_a_figure_of_which_more_is_better_has_an_axis_of_its_own_range(browser, tmp_path):
    """97 to 100 % of agreement fill the chart, and its line is where nothing is lost; in dB there is no such line."""
    for name, unit, values, perfect in (
        ("agreement with float", "%", (97.0, 98.0, 99.0, 99.5, 98.5), True),
        ("SQNR", "dB", (30.0, 31.0, 35.0, 33.0, 32.0), False),
    ):
        document = study()
        for row, value in zip((row for row in document["rows"] if row["status"] == "done"), values, strict=True):
            held = {"value": value, "unit": unit, "low": value - 0.5, "high": value + 0.5}
            row["figures"] = {name: row["figures"]["accuracy drop"] | held, "file size": row["figures"]["file size"]}
        path = tmp_path / "page.html"
        path.write_text(html_of(document))
        with browser.open(path) as (page, _):
            drawn(page)
            chart = page.locator("[data-chart=front-bytes] svg")
            ticks = [float(each) for each in chart.locator("[aria-label='y-axis tick label'] text").all_text_contents()]
            assert min(values) - 1 <= ticks[0]
            assert ticks[-1] <= (100 if perfect else max(values) + 1)
            assert (100.0 in ticks) == perfect


def test_a_model_that_is_not_the_measured_one_is_told():
    files = [{"file": "model.tflite", "bytes": 3, "sha256": "0" * 64}]
    assert "model.tflite is not the file that was measured" in html_of(result(), None, files)
    files[0]["sha256"] = result()["model"]["sha256"]
    assert "is not the file that was measured" not in html_of(result(), None, files)


def test_a_thousand_classes_are_no_heat_map():
    many, more = 1000, details()
    more["classes"] |= {"names": [f"c{n}" for n in range(many)], "n": [2] * many, "float": [2] * many, "quantized": [1] * many}
    exact = [[2 if i == j else 0 for j in range(many)] for i in range(many)]
    made = [[1 if j in {i, (i + 1) % many} else 0 for j in range(many)] for i in range(many)]
    page = html_of(result(), {**more, "classes": {**more["classes"], "confusion_float": exact, "confusion_quantized": made}})
    assert len(page.encode()) < 2_000_000
    assert "confusion-float" not in page.split("<script")[0]
    assert "Taken for another more often" in page


def test_a_study_says_its_decision_and_every_variant(browser, pages):
    with browser.open(pages["study"]) as (page, _):
        assert page.locator("h1").inner_text().startswith("Take mobilenet int8 cpu: of 3 that pass every criterion")
        page.locator("#rows tbody tr").nth(4).wait_for()  # a count does not wait for scripts, which come after the first frame
        assert page.locator("#rows tbody tr").count() == 5
        assert "TensorFlow Lite Micro has no kernel" in page.locator("#rows").inner_text()
        page.locator("#matrices table").nth(3).wait_for()
        assert "Theirs, not measured here" in page.locator("#references").inner_text()


def test_a_study_says_on_which_side_it_is_better():
    more_is_better = study()
    for row in more_is_better["rows"]:
        figure = row["figures"].get("accuracy drop")
        if figure is None:
            continue
        row["figures"] = {name: f for name, f in row["figures"].items() if not name.endswith((" drop", " increase"))}
        row["figures"]["SQNR of steering"] = {**figure, "value": 20.0, "unit": "dB"}
    assert "Nearer to the lower left is better" in html_of(study())
    assert "Nearer to the upper left is better" in html_of(more_is_better)


def test_a_section_of_another_brings_its_scripts_and_its_data(browser, tmp_path):
    script = "document.getElementById('place').textContent = JSON.parse(document.getElementById('data-more').textContent).word"
    section = Section("more", "More", '<p id="place"></p>', (script,), ("#place { color: rgb(1, 2, 3); }",), {"word": "<b>"})
    path = tmp_path / "page.html"
    path.write_text(html_of(older(), sections=(section,)))
    with browser.open(path) as (page, _):
        page.wait_for_selector("#place:not(:empty)", state="attached")  # its script runs after those of the page
        assert page.locator("#place").text_content() == "<b>"
        assert page.locator("#place").evaluate("e => getComputedStyle(e).color") == "rgb(1, 2, 3)"
        assert page.locator("nav a[href='#more']").inner_text() == "More"
