"""explorer.html in headless Chromium: its figures are Python's, it asks for nothing, and it does what it says."""

import base64
import gzip
import io
import itertools
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from nets import images, mobile
from run_documents import older

import intact
from intact.numbers.grids import Choice, figures_of, grids_of, groups_of
from intact.report import explorer
from intact.report.page import embedded, html_of, static

NAME = "</script><script>window.hacked = 1</script><img src=x onerror=hacked=1>\"'\n\x1b[31m\u202e\u2028"
ROOT = "[data-explorer]"


@pytest.fixture(scope="module")
def explored():
    """The small network, with a name on everything that ends scripts, quotes and lines."""
    found = intact.explore(mobile(), images(16))
    rows = {
        part: [{**row, "name": f"{NAME}{n}", "op": f"{row['op']} {NAME}"} for n, row in enumerate(found.document[part])]
        for part in ("ops", "tensors")
    }
    return replace(found, document={**found.document, **rows, "name": NAME, "against": NAME, "notes": [NAME]})


@pytest.fixture(scope="module")
def page_file(explored, tmp_path_factory):
    return explored.save(tmp_path_factory.mktemp("explorer") / "explorer.html")


@pytest.fixture(scope="module")
def page(browser, page_file):
    with browser.open(page_file) as (page, _):
        page.wait_for_selector(f"{ROOT}[data-ex-model]")
        yield page


def settled(page):
    """Wait until what was asked for last is shown, and the tensor's sums too."""
    ticket = page.evaluate("document.querySelector('[data-explorer]').explorer.state.ticket")
    page.wait_for_selector(f'{ROOT}[data-ex-shown="{ticket}"][data-ex-sums="{ticket}"]')


def choose(page, **options):
    """Set the page's controls as a user does."""
    for name, value in options.items():
        control = page.locator(f'[data-ex="{name}"]')
        if name in ("bits", "channel", "axis"):
            control.fill(str(value))
        else:
            control.select_option(value)
    settled(page)


def state(page, what):
    return page.evaluate(f"(() => {{ const {{ state }} = document.querySelector('{ROOT}').explorer; return {what}; }})()")


def assert_figures(ours, theirs):
    """Numbers of the page, by its names, are those of Python: integers, scales and sums bit for bit, dB to 1e-9."""
    names = {
        "near_zero": "nearZero",
        "mean_error": "meanError",
        "zero_point": "zeroPoint",
    }
    for name, value in asdict(theirs).items():
        got = ours[names.get(name, name)]
        wanted = list(value) if isinstance(value, tuple) else [value]
        got = list(got.values()) if isinstance(got, dict) else got if isinstance(value, tuple) else [got]
        # a whole number beyond 2**53 comes back as an int with digits of its own
        assert [float(x) if isinstance(x, int) else x for x in got] == wanted, name
    assert ours["sqnr"] == pytest.approx(theirs.sqnr, rel=1e-9)
    assert ours["used"] == theirs.used


DRAW = np.random.default_rng(5)
TENSORS = {
    "normal": (DRAW.normal(0, 0.1, (5, 3, 3, 4)).astype(np.float32), 0),
    "middle axis": (DRAW.standard_t(2, (3, 7, 6)).astype(np.float32), 1),
    "last axis": (DRAW.laplace(0, 3, (1, 3, 3, 6)).astype(np.float32), 3),
    "one side": (DRAW.exponential(1, (4, 50)).astype(np.float32), 0),
    "zeros in it": ((DRAW.normal(0, 1, (4, 30)) * (DRAW.random((4, 30)) > 0.9)).astype(np.float32), 0),
    "a channel of zeros": (np.concatenate([np.zeros((1, 9)), DRAW.normal(0, 2, (2, 9))]).astype(np.float32), 0),
    "ties": (np.float32([[-1.5, -0.5, 0.5, 1.5, 2.5, 127.0], [-3.5, 3.5, 7.0, -7.0, 0.5, 1.5]]), 0),
    "tiny and large": (np.float32([[1e-38, -2e-39, 1e-30, 0], [1e30, -3e37, 1e20, 1]]), 0),
    "one number": (np.float32([[0.7]]), 0),
    "all zeros": (np.zeros((2, 5), np.float32), 0),
    "more than are searched": (DRAW.normal(0, 1e-3, (1, 70_000)).astype(np.float32), 0),
}
CHOICES = [
    Choice(bits, symmetric, per_channel, ranges, levels, percent)
    for bits, symmetric, per_channel, (ranges, percent), levels in itertools.product(
        (2, 3, 4, 5, 6, 7, 8),
        (True, False),
        (True, False),
        (("minmax", 99.9), ("percentile", 99.0), ("percentile", 90.0), ("mse", 99.9)),
        ("linear", "kmeans"),
    )
]

#: All figures of every group of a tensor for several choices, by the page's own arithmetic.
COMPUTED = """([values, shape, axis, choices]) => choices.map((choice) => {
  const N = IntactNumbers, groups = N.groupsOf(Float32Array.from(values), shape, axis, choice);
  const sorted = (k) => N.inOrder(groups[k]), grids = N.gridsOf(groups, choice, sorted);
  return groups.map((x, k) => {
    const f = N.figuresOf(x, grids[k], choice, sorted(k));
    for (const name of ["histogram", "errors", "occupancy", "levels"]) f[name] = Array.from(f[name]);
    return f;
  });
})"""


def said(choice):
    return {"perChannel" if name == "per_channel" else name: value for name, value in asdict(choice).items()}


@pytest.mark.parametrize("name", TENSORS)
def test_the_browser_computes_what_python_computes(page, name):
    values, axis = TENSORS[name]
    choices = CHOICES[list(TENSORS).index(name) :: 11]  # each choice with one of the tensors
    given = [values.reshape(-1).astype(float).tolist(), list(values.shape), axis, [said(choice) for choice in choices]]
    for choice, found in zip(choices, page.evaluate(COMPUTED, given), strict=True):
        groups = groups_of(values, axis, choice)
        grids = grids_of(groups, choice)
        assert len(found) == len(groups)
        for ours, x, grid in zip(found, groups, grids, strict=True):
            assert_figures(ours, figures_of(x, grid, choice))
            assert ours["levels"] == grid.levels.astype(float).tolist()
            points = np.float32([point[0] for point in ours["scatter"]])
            assert [point[1] for point in ours["scatter"]] == grid.rounded(points).astype(float).tolist()


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({"bits": 8, "symmetric": "symmetric", "granularity": "channel"}, Choice()),
        ({"bits": 4, "symmetric": "asymmetric"}, Choice(4, symmetric=False)),
        ({"bits": 3, "ranges": "mse", "channel": 2}, Choice(3, symmetric=False, ranges="mse")),
        ({"granularity": "tensor", "ranges": "percentile", "percent": "99"}, Choice(3, False, False, "percentile", percent=99)),
        ({"levels": "kmeans", "ranges": "minmax"}, Choice(3, False, False, levels="kmeans")),
    ],
)
def test_what_is_chosen_is_what_python_gives(page, explored, options, choice):
    choose(page, tensor="1", **options)
    channel = int(page.locator('[data-ex="channel"]').input_value())
    theirs = explored.tensor(1, choice)
    assert_figures(state(page, "state.figures"), theirs[min(channel, len(theirs) - 1)])
    for name in ("signal", "noise", "bytes", "count"):
        assert state(page, f"state.result.sums.{name}") == sum(getattr(f, name) for f in theirs)
    page.wait_for_selector(f'{ROOT}[data-ex-model="{state(page, "state.modelTicket") or 0}"]')
    page.wait_for_timeout(300)  # the model is counted a moment later
    page.wait_for_selector(f'{ROOT}[data-ex-model="{state(page, "state.modelTicket")}"]')
    whole = explored.model(choice)
    assert state(page, "state.model.after") == whole["bytes"]
    assert state(page, "state.model.before") == whole["float_bytes"]
    assert state(page, "state.model.sqnr") == pytest.approx(whole["sqnr"], rel=1e-9)
    assert state(page, "state.model.worst") == whole["worst"]
    rows = {row["id"]: row["sqnr"] for row in state(page, "state.model.rows")}
    assert rows == pytest.approx({row["id"]: row["sqnr"] for row in whole["tensors"]}, rel=1e-9)


@pytest.mark.parametrize("n", [1, 4095, 4096, 50_000])
def test_numbers_are_put_in_order_as_the_browser_does(page, n):
    values = DRAW.standard_t(2, n).astype(np.float32)
    values[:: max(n // 7, 1)] = np.float32([0.0, -0.0, 1e-42, -1e-42, 3e38, -3e38, 1, -1])[: len(values[:: max(n // 7, 1)])]
    found = page.evaluate(
        """(values) => { const x = Float32Array.from(values), bits = (y) => Array.from(new Uint32Array(y.buffer));
          return [bits(IntactNumbers.inOrder(x)), bits(Float32Array.from(x).sort())]; }""",
        values.astype(float).tolist(),
    )
    assert found[0] == found[1]


def test_what_may_be_looked_at_next_is_unpacked_beforehand(page, explored):
    page.wait_for_timeout(500)
    held = {row["id"] for row in explored.document["tensors"] if row["role"] == "weight" and row["held"]}
    assert held <= set(page.evaluate(f"[...document.querySelector('{ROOT}').explorer.given[0]]"))


def test_names_are_text_and_nothing_else(page, page_file):
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert "window.hacked" in page.locator('[data-ex="tensor-about"]').text_content()
    text = page_file.read_text()
    assert "<script>window" not in text
    assert "</script><script>" not in text.replace("</script>\n<script", "")
    assert "\u2028" not in text
    assert "\u202e" not in text


def test_the_policy_lets_nothing_else_run(browser, page_file, tmp_path):
    text = page_file.read_text().replace(
        "</body>", "<script>window.hacked = 2</script><img src='https://example.org/a.png'></body>"
    )
    changed = tmp_path / "changed.html"
    changed.write_text(text)
    with browser.open(changed, faults=True) as (page, faults):
        page.wait_for_selector(f"{ROOT}[data-ex-shown]")
        assert page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in fault for fault in faults)


def test_every_chart_is_also_a_table(page):
    choose(page, tensor="1", levels="linear", granularity="channel", bits=4)
    figures = page.locator(".ex-charts figure:visible")
    assert figures.count() == 6
    for n in range(6):
        figure = figures.nth(n)
        assert figure.locator("svg").get_attribute("aria-label")
        figure.locator("summary").click()
        figure.locator("tbody tr").nth(7).wait_for()
    counted = page.locator('[data-ex="occupancy"] tbody tr td:last-child').all_text_contents()
    assert sum(map(int, counted)) == state(page, "state.figures.count")


def test_the_graph_is_walked_by_keyboard_and_opens_tensors(page):
    nodes = page.locator(".ex-node")
    assert nodes.count() == 6
    assert page.locator('.ex-node[tabindex="0"]').count() == 1
    nodes.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator('[data-ex="tensor"]').input_value() == "4"  # the depthwise weight
    assert page.locator('[data-ex="op"] h3').text_content().startswith("DEPTHWISE_CONV_2D")
    page.locator('[data-ex="op"] button', has_text="bias").click()
    settled(page)
    assert page.locator('[data-ex="tensor"]').input_value() == "5"
    page.keyboard.press("End")
    nodes.nth(0).click()
    settled(page)
    assert page.locator('[data-ex="tensor"]').input_value() == "1"


def test_colours_are_figures(page, explored):
    colour = page.locator('[data-ex="color"]')
    for name, field in (("noise", "noise_share"), ("time", "ms"), ("size", "bytes")):
        colour.select_option(name)
        heat = [
            int(node.evaluate("e => parseInt(e.style.getPropertyValue('--heat'))")) for node in page.locator(".ex-node").all()
        ]
        values = [op[field] or 0 for op in explored.document["ops"]]
        assert heat[int(np.argmax(values))] == 100
        order = np.argsort(values)
        assert (np.diff(np.array(heat)[order]) >= 0).all(), name


def test_activations_are_shown_as_estimated(page, explored):
    row = next(row for row in explored.document["tensors"] if row["role"] == "activation")
    choose(page, tensor=str(row["id"]), bits=4, symmetric="symmetric", levels="linear", ranges="minmax")
    assert "estimated from a histogram" in page.locator('[data-ex="tensor-about"]').text_content()
    assert state(page, "state.figures.bytes") == 4 + -(-row["count"] * 4 // 8)
    assert not page.locator('[data-ex="channel-field"]').is_visible()


def test_a_tensor_of_ones_own(page):
    values = np.asfortranarray(DRAW.normal(0, 1, (4, 6, 5)))
    upload(page, "mine.npy", saved(values))
    page.wait_for_selector("text=own tensor")
    settled(page)
    choose(page, bits=4, axis=1, symmetric="symmetric", granularity="channel", channel=3)
    choice = Choice(4)
    groups = groups_of(values, 1, choice)
    assert_figures(state(page, "state.figures"), figures_of(groups[3], grids_of(groups, choice)[3], choice))


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", "|i1", "<u2", ">i4", "<i8", "|b1"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_of_every_type_are_read(page, dtype, version):
    values = (DRAW.normal(0, 3, (3, 4)) > 0 if dtype == "|b1" else np.abs(DRAW.normal(0, 3, (3, 4)))).astype(dtype)
    upload(page, f"{dtype[1:]}{version[0]}{dtype[0] == '>'}.npy", saved(values, version))
    page.wait_for_selector(f"text={dtype[1:]}{version[0]}{dtype[0] == '>'}.npy own tensor")
    choose(page, granularity="tensor", bits=8)
    x = values.astype(np.float32).reshape(-1)
    choice = Choice(per_channel=False)
    assert_figures(state(page, "state.figures"), figures_of(x, grids_of([x], choice)[0], choice))


BROKEN = {
    "text": (b"hello world, this is no array", "no .npy file"),
    "cut in its header": (b"\x93NUMPY\x01\x00\xff\x00{'descr'", "ends within its header"),
    "version 9": (b"\x93NUMPY\x09\x00\x04\x00    ", "has version 9"),
    "no header": (b"\x93NUMPY\x01\x00\x04\x00    ", "cannot be understood"),
    "objects": (
        b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n     ",
        "type |O cannot be read",
    ),
    "too short": (
        b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }\n    abcd",
        "header says 36",
    ),
    "not finite": (None, "1 of its numbers are not finite"),
    "empty": (b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }\n    ", "is empty"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_array_is_a_sentence(page, name):
    data, words = BROKEN[name]
    upload(page, f"{name}.npy", saved(np.float32([1, np.nan])) if data is None else data)
    alert = page.locator('[data-ex="alert"]')
    alert.filter(has_text=words).wait_for()
    assert alert.text_content().endswith(".")
    choose(page, tensor="1")  # and the page goes on
    assert alert.text_content() == ""


def upload(page, name, data):
    page.set_input_files('[data-ex="file"]', {"name": name, "mimeType": "application/octet-stream", "buffer": data})


def saved(values, version=(1, 0)):
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version)
    return file.getvalue()


@pytest.mark.parametrize("width", [380, 800, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(browser, page_file, width, scheme):
    with browser.open(page_file, width=width, color_scheme=scheme) as (page, _):
        page.wait_for_selector(f"{ROOT}[data-ex-model]")
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ink, paper = page.locator(ROOT).evaluate(
            "(root) => { const style = getComputedStyle(root); return [style.color, style.backgroundColor]; }"
        )
        light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
        assert abs(light[0] - light[1]) > 500
        assert (light[0] < light[1]) == (scheme == "light")


def test_a_runs_details_are_shown_by_their_histograms(browser, tmp_path):
    x = np.append(DRAW.normal(0, 1, 50_000).clip(-4, 4), [-4, 4]).astype(np.float32)
    counts = np.histogram(x, 128, (-4, 4))[0].tolist()
    tensor = {
        "id": 3, "name": NAME, "role": "weight", "op": "CONV_2D 'a'", "shape": [8, 3], "dtype": "int8",
        "histogram": {"low": -4.0, "high": 4.0, "float": counts, "integer": counts},
    }  # fmt: skip
    op = {
        "op": "CONV_2D 'a'", "kind": "CONV_2D", "output": 9, "reads": [3], "shape": [1, 2], "bytes": 24, "ms": 1,
        "noise_share": "nan", "sqnr_runtime": "inf",
    }  # fmt: skip
    part = explorer.section({"ops": [op], "tensors": [tensor, {**tensor, "id": 4, "histogram": None}]})
    path = tmp_path / "details.html"
    path.write_text(html_of(older(), sections=(part,)))
    with browser.open(path) as (page, _):
        page.wait_for_selector(f"{ROOT}[data-ex-shown]")  # its scripts come after the first paint
        settled(page)
        found = state(page, "state.figures")
        assert found["deviation"] == pytest.approx(1, abs=0.02)
        page.locator('[data-ex="color"]').select_option("sqnr")
        assert page.locator('[data-ex="tensor"] option').count() == 1
        assert page.locator(".ex-value").all_text_contents() == ["infinite dB"]
        assert page.locator('[data-ex="color"] option:disabled').count() == 2  # no noise, no figure of the op alone
        exact = figures_of(x, grids_of([x], Choice())[0], Choice())
        assert found["sqnr"] == pytest.approx(exact.sqnr, abs=0.5)


def test_numbers_are_packed_as_they_are(explored):
    for values in explored.weights.values():
        planes = np.frombuffer(gzip.decompress(base64.b64decode(explorer.planes_of(values))), np.uint8).reshape(4, -1)
        assert planes.T.copy().view("<f4").tobytes() == values.astype("<f4").tobytes()


def test_the_document_ends_no_script():
    text = embedded({"a": "</script>&\u2028é"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script>&\\u2028é"}  # as names are shown


def test_mobilenet_fits_in_twelve_megabytes(shared):
    graph = intact.read_tflite((shared / "models" / "mobilenet_v2_cifar10.tflite").read_bytes())
    weights = [t.data for t in graph.constants() if t.is_float]
    assert sum(values.size for values in weights) > 2.2e6
    scripts = sum(len(static(name)) for name in ("d3.min.js", "plot.min.js", *explorer.SCRIPTS, *explorer.WORKER))
    assert sum(len(explorer.planes_of(values)) for values in weights) + scripts < 11.5e6
