"""The page of intact fit, and the same part in a run's page: every number of the document, and nothing that a name could do."""

import copy
import json

import pytest
from firmware_nets import two_convolutions
from run_documents import HOSTILE, details, result
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.formats import tflite
from intact.report.checked import DETAILS, parsed
from intact.report.page import html_of
from intact.run.fit import Fit, fit


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "net.tflite"
    path.write_bytes(tflite.write(two_convolutions(60)))
    return path


@pytest.fixture(scope="module")
def found(model):
    return fit(model)


def part_of(document):
    """What a run keeps of it."""
    names = ("macs", "lacking", "activations", "stack_reserved", "ways", "compiled_for", "timeline", "peak", "boards")
    return {"runtime": "c", "limits": {"ram": 40_000, "flash": None}, **{name: document[name] for name in names}}


def opened(browser, tmp_path, page):
    path = tmp_path / "page.html"
    path.write_text(page)
    return browser.open(path)


def rows(page, label):
    """The texts of the cells of the table that is called so, row by row."""
    cells = f"[aria-label='{label}'] tbody tr"
    return [
        row.split("\t")
        for row in page.locator(cells).evaluate_all("all => all.map((r) => [...r.cells].map((c) => c.textContent).join('\\t'))")
    ]


def test_the_page_has_every_number_of_the_document(browser, found, tmp_path):
    d = found.document
    with opened(browser, tmp_path, intact.report(found)) as (page, _):
        memory = rows(page, "Memory and flash")
        for cells, (how, way) in zip(memory, d["ways"].items(), strict=True):
            assert cells[0].startswith(how)
            assert cells[1] == f"{way['arena'] + way['scratch'] + d['stack_reserved']:,}"
            assert cells[2:4] == [f"{way['arena']:,}", f"{way['scratch']:,}"]
            assert cells[5] == f"{way['constants']:,}"
        assert [[t["name"], f"{t['bytes']:,}"] for t in d["peak"]["tensors"]] == [
            row[:2] for row in rows(page, "Tensors at the peak")
        ]
        assert [f"{row['bytes']:,}" for row in d["timeline"]] == [row[1] for row in rows(page, "Timeline")]
        assert [b["said"] for b in d["boards"]] == [row[-1] for row in rows(page, "Boards")]
        assert page.locator("[data-chart=firmware] svg rect").count() == len(d["timeline"])
        holding = sum(b["said"].startswith("fits") for b in d["boards"])
        least = min(way["arena"] + way["scratch"] for way in d["ways"].values()) + d["stack_reserved"]
        said = f"{holding} of {len(d['boards'])} boards hold it; it takes {least:,} bytes of RAM at least."
        assert page.locator("h1").inner_text() == said


def test_a_board_that_was_named_heads_the_page(browser, model, tmp_path):
    with opened(browser, tmp_path, intact.report(fit(model, board="nano33ble"))) as (page, _):
        assert page.locator("h1").inner_text() == "Nano 33 BLE: fits at once."


def test_a_run_shows_the_same_part_with_its_limits(browser, found, tmp_path):
    held = {**details(), "firmware": part_of(found.document)}
    checked = parsed(json.dumps(held).encode(), held["schema"], DETAILS)
    with opened(browser, tmp_path, html_of(result(), checked)) as (page, _):
        part = page.locator("#firmware")
        assert "Limits: 40,000 of RAM, for C." in part.text_content()
        part.scroll_into_view_if_needed()
        page.wait_for_selector("[data-chart=firmware] svg")
        assert page.locator("nav a[href='#firmware']").count() == 1
        room = page.locator("[data-chart=firmware] svg text").all_text_contents()
        assert f"room for activations {(40_000 - found.document['stack_reserved']) / 1000:.1f} KB" in " ".join(room)
    with opened(browser, tmp_path, html_of(result(), details())) as (page, _):
        assert page.locator("#firmware").count() == 0


def test_names_of_strangers_stay_text(browser, found, tmp_path):
    d = copy.deepcopy(dict(found.document))
    d["model"]["name"] = d["peak"]["op"] = d["peak"]["tensors"][0]["name"] = d["timeline"][0]["op"] = HOSTILE
    d["lacking"] = [HOSTILE]
    d["emulated"] = {"core": HOSTILE, "exact": False, "instructions": 7, "instructions_per_mac": 1.5, "stack": 3}
    with opened(browser, tmp_path, intact.report(Fit(d))) as (page, _):
        assert page.evaluate("window.broken") is None
        assert "NOT exact" in page.locator("#firmware").inner_text()


def test_what_c_lacks_has_a_page_too(browser, found, tmp_path):
    d = {**found.document, "ways": {}, "compiled_for": None, "lacking": ["TOPK_V2 'top': there is no kernel for it"]}
    with opened(browser, tmp_path, intact.report(Fit(d))) as (page, _):
        assert page.locator("h1").inner_text() == "There is no C of it, so that nobody can say which boards hold it."
        assert "TOPK_V2 'top'" in page.locator("#firmware").inner_text()


def test_vela_and_float_are_told_where_they_were_asked_for(browser, found, tmp_path):
    of = {"instructions": 10, "ram": 5, "constants": 6, "code": 7, "lacking": ""}
    core = {"core": "cortex-m3", "has_floats": False, "integer": of, "float": {**of, "instructions": 600, "lacking": "slow"}}
    estimate = {
        "npu": "ethos-u55-128",
        "failed": None,
        "cycles": {"total": 2_208},
        "inferences_per_second": 2264.2,
        "clock": 5e8,
    }
    estimate |= {"used": {"sram": 74_480, "on_chip_flash": 1_000, "off_chip_flash": 76_000}, "by_op": {"CONV_2D 'a'": 2_208}}
    estimate |= {"ops": 30, "macs": 7, "cpu": [{"op": "TOPK_V2 'top'", "why": "not there"}]}
    d = {
        **found.document,
        "float": {"lacking": [], "cores": [{**core, "ratios": {"instructions": 60.0}}]},
        "npu": {"source": "estimate by Vela 5.2.0, nothing ran", "memory_mode": "Shared_Sram", "ops": 31,
                "estimates": [estimate, {"npu": "ethos-u65-256", "failed": "it hung"}]},
    }  # fmt: skip
    with opened(browser, tmp_path, intact.report(Fit(d))) as (page, _):
        assert rows(page, "Integers and float32")[1][2:] == ["600", "5", "6", "7", "60 x the instructions"]
        assert rows(page, "Ethos-U") == [
            ["ethos-u55-128", "2,208", "2264", "500", "74,480", "77,000", "30 of 31", "7"],
            ["ethos-u65-256", "no estimate: it hung"],
        ]
        assert rows(page, "Cycles on ethos-u55-128") == [["CONV_2D 'a'", "2,208"]]
        said = page.locator("#firmware").inner_text()
        assert "Estimate by Vela 5.2.0, nothing ran" in said
        assert "cortex-m3, floats in software, float: slow" in said


def test_the_command_writes_the_page(model, tmp_path):
    done = CliRunner().invoke(app, ["fit", str(model), "--out", str(tmp_path / "a page.html")])
    assert done.exit_code == 0, done.output
    assert "net.tflite as firmware" in (tmp_path / "a page.html").read_text()
