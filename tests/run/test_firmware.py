"""--ram, --flash and --board: what a run says of its firmware, what it chooses by them, and what it says would fit."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from typer.testing import CliRunner
from width_nets import one_needs_eight_bits
from width_nets import samples as eight_channels

import intact
from intact.cli.app import app
from intact.deploy import boards
from intact.deploy.c import network as c_network
from intact.deploy.project import STACK
from intact.errors import ChildError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.ops.convolution import Conv2D
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.ops.shaping import Reshape
from intact.report.advice import next_steps
from intact.report.record import record
from intact.run import firmware_document
from intact.run.deploy import deploy
from intact.run.firmware import firmware
from intact.run.fit import fit
from intact.run.settings import Settings
from intact.run.what_fits import Compared, fewer_bits, peak, smaller_input
from intact.runtime import tflm
from intact.runtime.tools import ARM_COMPILER

pytestmark = pytest.mark.usefixtures("hasty")
no_compiler = pytest.mark.skipif(ARM_COMPILER.path is None, reason="no gcc-arm-none-eabi here")
no_tflm = pytest.mark.skipif(not tflm.available(), reason="no tflite-micro here")

SIDE = 24
#: What exists during the second convolution: 32 and 16 channels of the image.
AT_ONCE = SIDE * SIDE * (32 + 16)
WEIGHTS = 32 * 27 + 16 * 9 * 32


def net(side=SIDE):
    return draft(
        (side, side, 3),
        lambda d, x: d(Mean(), d(Conv2D(padding="same"), d(Conv2D(padding="same"), x, normal(32, 3, 3, 3), np.zeros(32)),
                                 normal(16, 3, 3, 32), np.zeros(16)), np.int32([1, 2])),
    )  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    return intact.data.arrays(np.random.default_rng(0).normal(0, 1, (40, SIDE, SIDE, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.tflite"
    path.write_bytes(tflite.write(net()))
    return path


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    path = tmp_path_factory.mktemp("three") / "three.tflite"
    path.write_bytes(tflite.write(one_needs_eight_bits()))
    return path


def run(model, samples, **options):
    return intact.quantize(model, samples, target="mcu", calibration_samples=10, **{"remedies": "none", **options})


def value(result, name):
    return result.reading(name).measurement.value


def finding(result, kind):
    (said,) = [f.message for f in result.findings if f.kind == kind]
    return said


@no_compiler
def test_a_run_for_microcontrollers_says_what_its_firmware_takes(model, samples, tmp_path):
    result = run(model, samples)
    assert value(result, "RAM") == AT_ONCE + STACK
    assert value(result, "flash") > WEIGHTS
    result.save(tmp_path / "model.tflite")
    made = deploy(tmp_path / "model.tflite", tmp_path / "firmware").document["compiled"]
    assert value(result, "flash") == made["code"] + made["constants"]
    same = ("macs", "activations", "ways", "timeline", "peak", "boards", "largest_constant", "stack_reserved")
    document = fit(tmp_path / "model.tflite").document
    assert {key: result.details["firmware"][key] for key in same} == {key: document[key] for key in same}
    assert result.details["firmware"]["limits"] == {"ram": None, "flash": None}
    assert result.criteria == ()


@no_compiler
def test_a_limit_on_ram_is_met_row_by_row(model, samples):
    ram = AT_ONCE // 2
    result = run(model, samples, ram=ram, flash="64K")
    assert [(j.criterion.text, j.status) for j in result.criteria] == [
        (f"RAM <= {ram:,} bytes", "pass"),
        ("flash <= 65,536 bytes", "pass"),
    ]
    assert value(result, "RAM") <= ram
    assert "row by row" in result.reading("RAM").measurement.how


@no_compiler
def test_what_lacks_ram_names_the_peak_and_an_input_that_would_fit(model, samples):
    result = run(model, samples, ram=7000, min_agreement=50, remedies="auto")
    assert [j.status for j in result.criteria] == ["fail"]
    assert result.candidates == ()  # no search among networks of which none fits
    said = finding(result, "does not fit")
    lacking = int(re.search(r"lacks ([\d,]+) bytes of RAM", said)[1].replace(",", ""))
    assert value(result, "RAM") - lacking == 7000
    assert f"{AT_ONCE:,} bytes" in said
    side, taken = re.search(r"an input of (\d+) x \1 it would take ([\d,]+) bytes of RAM", said).groups()
    built = firmware(Settings(target="mcu", ram=7000))
    other = run_at(int(side))
    assert built.ram_of(other) == int(taken.replace(",", "")) <= 7000
    assert built.ram_of(run_at(int(side) + 8)) > 7000


def run_at(side):
    """The same network for images of that side, quantized for itself."""
    data = intact.data.arrays(np.random.default_rng(0).normal(0, 1, (12, side, side, 3)).astype(np.float32))
    return intact.quantize(net(side), data, target="mcu", remedies="none", measure=False).graph


@no_compiler
def test_what_lacks_flash_names_widths_that_would_fit_and_what_they_lose(model, samples):
    plain = value(run(model, samples), "flash")
    flash = int(plain - WEIGHTS * 0.3)
    result = run(model, samples, flash=flash)
    said = finding(result, "does not fit")
    assert f"the firmware lacks {plain - flash:,.0f} bytes of flash" in said
    for width in ("int4 weights", "4-bit tables", "2-bit tables"):
        told = rf"{width} for the (?:2 largest layers|largest layer) take ([\d,]+) bytes of flash and lose: SQNR (\S+) dB"
        taken, true = re.search(told, said).groups()
        assert int(taken.replace(",", "")) <= flash
        assert float(true) > 0
    assert "a limit, such as --max-drop 1 or --min-agreement 99, finds widths for each layer that fit" in said


@no_compiler
def test_where_no_width_fits_no_limit_is_said_to_find_any(model, samples):
    said = finding(run(model, samples, flash=100), "does not fit")
    assert said.count("of flash still") == 3
    assert "finds widths" not in said


@no_compiler
def test_ram_that_the_stack_alone_takes_holds_no_network(model, samples):
    said = finding(run(model, samples, ram=STACK, flash=100), "does not fit")
    assert re.fullmatch(r"the firmware lacks [\d,]+ bytes of RAM and [\d,]+ bytes of flash; "
                        r"2,048 bytes of RAM are for the stack alone, so that nothing fits", said)  # fmt: skip


@no_compiler
def test_ram_for_weights_unpacked_is_said_and_counts_for_those_that_would_fit():
    rows = 4000  # of which four are unpacked at once
    graph = dense(rows)
    data = intact.data.arrays(np.random.default_rng(0).normal(0, 1, (40, rows)).astype(np.float32))
    plain = run(graph, data)
    ram, flash = int(value(plain, "RAM")), int(value(plain, "flash")) - 3 * rows // 4
    said = finding(run(graph, data, ram=ram, flash=flash), "does not fit")
    assert f"the firmware lacks {4 * rows:,} bytes of RAM still" in said
    assert " and lose: " not in said
    wide = finding(run(graph, data, scheme="w4a8", ram=ram, flash=flash), "does not fit")
    assert f"the firmware lacks {4 * rows:,} bytes of RAM; {4 * rows:,} bytes of RAM are for weights unpacked" in wide
    fits = run(graph, data, scheme="w4a8", ram=ram)
    assert value(fits, "RAM") == ram
    assert [j.status for j in fits.criteria] == ["pass"]


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("int16x8", "--scheme w4a8 or clusters4, or --scheme int8 with a limit such as --max-drop 1"),
        ("w4a8", "--scheme clusters3 or clusters2, or --scheme int8 with a limit such as --max-drop 1"),
        ("clusters2", "--scheme clusters1, or --scheme int8 with a limit such as --max-drop 1"),
        ("clusters1", "--scheme int8 with a limit such as --max-drop 1"),
    ],
)
def test_schemes_of_fewer_bits_than_the_run_had_are_named(scheme, said):
    assert fewer_bits(Settings(target="mcu", scheme=scheme)) == f"fewer bits take less: {said}"


def test_of_calls_that_follow_each_other_narrower_weights_are_measured_on_the_first():
    calls = replace(eight_channels(700).bind(intact.data.input_specs(one_needs_eight_bits()), None), in_order=True)
    exact = {"y": np.arange(700)}
    compared = Compared(calls, exact, {}, None, "reference").few()
    assert len(compared.report) == 500
    assert compared.exact["y"].tolist() == list(range(500))
    apart = Compared(replace(calls, in_order=False), exact, {}, None, "reference").few()
    assert apart.exact["y"][[0, -1]].tolist() == [0, 699]


@no_compiler
def test_under_a_limit_weights_get_fewer_bits_until_the_flash_holds_them(three):
    whole = run(three, eight_channels())
    flash = int(value(whole, "flash") - 1200)
    result = run(three, eight_channels(), flash=flash, min_agreement=60, time_budget=60, remedies="auto")
    assert value(result, "flash") <= flash
    assert {j.criterion.figure: j.status for j in result.criteria} == {"flash": "pass"}
    assert finding(result, "made to fit").startswith("at 8 bits the network does not fit: ")
    taken = next(c for c in result.candidates if c.name == result.taken)
    assert taken.misfit == ""
    assert "does not fit" not in {f.kind for f in result.findings}


@no_compiler
def test_a_study_is_judged_by_networks_written_for_its_limits(model, samples):
    ram = AT_ONCE // 2
    made = intact.study(model, samples, schemes="int8", targets="mcu", remedies="plain", accept=f"RAM <= {ram} B", repeats=1)
    assert made.decision["targets"]["mcu"]["taken"] is not None
    (row,) = made.rows
    assert [c["status"] for c in row["criteria"]] == ["pass"]


@no_compiler
def test_what_no_search_makes_fit_takes_fewer_channels(three):
    result = run(three, eight_channels(), flash=100, min_agreement=60, time_budget=60, remedies="auto")
    assert finding(result, "made to fit").endswith(" with the fewest bits that there are")
    assert re.fullmatch(
        r"the firmware lacks [\d,]+ bytes of flash; no fewer bits make it fit: fewer channels take less",
        finding(result, "does not fit"),
    )


@no_compiler
def test_criteria_on_memory_are_limits_of_the_search_as_well():
    settings = Settings(target="mcu", accept=("RAM <= 64 KiB", "flash < 1 KiB"), ram=1000, scheme="int8")
    assert settings.memory == (1000, 1023)
    assert [c.text for c in settings.criteria] == ["RAM <= 1,000 bytes", "RAM <= 64 KiB", "flash < 1 KiB"]


def test_a_board_stands_for_its_memory_and_what_is_typed_wins():
    board = boards.board("nano33ble")
    settings = Settings(target="mcu", board="Nano 33 BLE", ram=1000)
    assert settings.board == "nano33ble"
    assert settings.memory == (1000, board.flash)
    assert settings.board_notes == ()
    beyond = Settings(target="mcu", board="nano33ble", flash=8 << 20)
    assert beyond.board_notes == (f"--flash gives 8,388,608 bytes, and Nano 33 BLE has {board.flash:,}",)
    assert firmware(Settings(target="mcu", board="esp32s3")).core.name == "cortex-m4"  # its own compiler is not called
    assert firmware(Settings(target="mcu", board="pico")).core.name == "cortex-m0plus"


@no_tflm
def test_tensorflow_lite_micro_is_judged_by_its_own_arena_and_model(model, samples):
    result = run(model, samples, runtime="tflm", ram="64K", flash="64K")
    assert value(result, "RAM") == value(result, "TFLM arena") + STACK
    assert value(result, "flash without code") == len(result.model)
    ram, flash = result.criteria
    assert ram.status == "pass"
    assert flash.status == "inconclusive"
    assert "what the code takes was not measured" in flash.why
    beyond = run(model, samples, runtime="tflm", flash=len(result.model) - 1)
    assert [j.status for j in beyond.criteria] == ["fail"]


def test_without_tensorflow_lite_micro_what_is_lacking_is_called_an_estimate(model, samples, monkeypatch):
    monkeypatch.setattr("intact.runtime.tflm.available", lambda: False)
    result = run(model, samples, runtime="tflm", ram=AT_ONCE)
    assert [j.status for j in result.criteria] == ["inconclusive"]
    said = finding(result, "does not fit")
    assert re.search(r"lacks [\d,]+ bytes of RAM, by an upper estimate: pip install 'intact\[mcu\]' for what it takes;", said)
    assert "bytes of RAM (an upper estimate, not trained)" in said


def test_without_a_compiler_flash_is_not_judged_by_what_is_not_known(model, samples, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run(model, samples, flash="64K")
    (flash,) = result.criteria
    assert flash.status == "inconclusive"
    assert "code not counted" in flash.why
    assert WEIGHTS < value(result, "flash without code") < 65_536
    small = run(model, samples, flash=WEIGHTS)
    assert [j.status for j in small.criteria] == ["fail"]


def test_c_that_does_not_compile_here_is_said_and_nothing_is_lost(model, samples, monkeypatch):
    def fails(*_):
        raise ChildError("arm-none-eabi-gcc failed: an internal compiler error")

    monkeypatch.setattr("intact.deploy.firmware.sizes", fails)
    result = run(model, samples, flash="64K")
    assert [j.status for j in result.criteria] == ["inconclusive"]
    assert "an internal compiler error" in result.criteria[0].why
    assert result.details["firmware"]["compiled_for"] is None


def test_an_op_that_c_lacks_is_refused_before_any_work_where_memory_is_limited(model, samples, monkeypatch):
    rows = {kind: row for kind, row in c_network.ROWS.items() if kind != "MEAN"}
    monkeypatch.setattr(c_network, "ROWS", rows)
    monkeypatch.setattr(firmware_document, "ROWS", rows)
    with pytest.raises(UnsupportedError, match="cannot be written as C: there is no kernel for it; --runtime tflm"):
        run(model, samples, ram="64K")
    result = run(model, samples)
    assert "there is no kernel for it" in finding(result, "no firmware")
    assert "RAM" not in {r.measurement.name for r in result.readings}
    assert result.details["firmware"]["ways"] == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ram": 1000}, "--ram is for a microcontroller; type --target mcu as well"),
        ({"flash": 1000}, "--flash is for a microcontroller; type --target mcu as well"),
        ({"board": "pico"}, "--board is for a microcontroller; type --target mcu as well"),
        ({"runtime": "tflm"}, "--runtime tflm is for a microcontroller; type --target mcu as well"),
        ({"target": "mcu", "runtime": "both"}, "type --runtime c or --runtime tflm"),
        ({"target": "mcu", "runtime": "rust"}, "no runtime is called 'rust'"),
        ({"target": "mcu", "ram": 0}, "--ram 0 must be at least 1"),
        ({"target": "mcu", "board": "nano"}, "no board is called 'nano'; did you mean nano33ble"),
    ],
)
def test_options_that_cannot_be_say_what_to_type(options, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        Settings(**options)


def test_the_command_takes_sizes_as_deploy_does_and_fails_where_it_does_not_fit(model, samples, tmp_path):
    np.save(tmp_path / "x.npy", samples.bind(intact.data.input_specs(net()), None).batch(np.arange(30))[0]["x0"])
    words = [
        "quantize",
        model,
        "--data",
        tmp_path / "x.npy",
        "--target",
        "mcu",
        "--remedies",
        "none",
        "--calibration-samples",
        "8",
    ]

    def typed(*more):
        return CliRunner().invoke(app, [str(word) for word in (*words, *more)])

    done = typed("--out", tmp_path / "fits", "--ram", "64K", "--flash", "1M")
    assert done.exit_code == 0, done.output
    assert "RAM <= 65,536 bytes" in done.output
    job = json.loads((tmp_path / "fits" / "job.json").read_text())
    assert (job["settings"]["ram"], job["settings"]["flash"]) == (65_536, 1_048_576)
    done = typed("--out", tmp_path / "beyond", "--ram", "4K")
    assert done.exit_code == 1
    assert (tmp_path / "beyond" / "model.tflite").exists()
    assert "lacks" in done.output
    done = typed("--out", tmp_path / "least", "--ram", "least")
    assert done.exit_code == 2
    assert "--ram least is for intact deploy; type --ram 256K" in done.output
    done = typed("--out", tmp_path / "odd", "--flash", "a lot")
    assert "--flash 'a lot' is no size of a memory" in done.output


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: net(8), "no smaller input fits: fewer channels where it is largest take less"),
        (lambda: dense(16), "fewer channels where it is largest take less"),
        (lambda: flat(16), "the network is for 16 x 16 alone: one of a smaller input, or of fewer channels, takes less"),
    ],
    ids=["small", "no image", "one size"],
)
def test_where_no_smaller_input_helps_that_is_said(make, said):
    graph = make()
    shape = graph[graph.inputs[0]].shape[1:]
    data = intact.data.arrays(np.random.default_rng(0).normal(0, 1, (12, *shape)).astype(np.float32))
    integer = intact.quantize(graph, data, target="mcu", remedies="none", measure=False).graph
    assert smaller_input(integer, firmware(Settings(target="mcu", ram=1))) == said
    assert peak(integer).startswith("all computed at once, most exists during ")


def dense(inputs):
    return draft((inputs,), lambda d, x: d(FullyConnected(), x, normal(5, inputs), np.zeros(5)))


def flat(side):
    """Of a dense layer on all pixels."""
    size = side * side * 3
    return draft(
        (side, side, 3),
        lambda d, x: d(FullyConnected(), d(Reshape(), x, np.int32([-1, size])), normal(5, size), np.zeros(5)),
    )


@no_compiler
def test_a_page_says_next_what_would_fit(model, samples):
    result = run(model, samples, ram=7000)
    assert [f"the firmware lacks {value(result, 'RAM') - 7000:,.0f} bytes of RAM"] == [
        step.partition(";")[0] for step in next_steps(record(result), result.details)
    ]
