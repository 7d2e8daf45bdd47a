"""intact fit: what a network takes and which boards hold it; intact deploy --board; and what is refused in words."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from firmware_nets import two_convolutions
from integer_cases import Builder
from nets import mobile
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import MissingToolError, ModelError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.numbers.affine import Index
from intact.ops import KINDS
from intact.run import fit as fitting
from intact.run.deploy import deploy
from intact.run.fit import fit
from intact.runtime.tools import ARM_COMPILER, EMULATOR

no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)
no_make = pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no make and C compiler here")


def typed(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("a model") / "a net.tflite"
    path.write_bytes(tflite.write(two_convolutions()))
    return path


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """57,600 bytes during its second convolution of 60 x 60: more than a Blue Pill has at once, and less by rows."""
    path = tmp_path_factory.mktemp("wide") / "wide.tflite"
    path.write_bytes(tflite.write(two_convolutions(60)))
    return path


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """TOPK_V2, which C lacks: 27 bytes in, 12 and 48 out."""
    b = Builder(np.random.default_rng(0))
    b.op(KINDS["TOPK_V2"](), b.flow(3, 9), b.ints(4, shape=()), second=Index())
    path = tmp_path_factory.mktemp("lacking") / "top.tflite"
    path.write_bytes(tflite.write(b.graph()))
    return path


def row(document, key):
    return next(b for b in document["boards"] if b["board"] == key)


def test_what_a_small_network_takes(model):
    made = fit(model)
    d = made.document
    assert d["activations"] == d["ways"]["at once"]["arena"] == 2304
    assert d["ways"]["row by row"]["arena"] < 2304
    assert d["macs"] == 144 * 8 * 27 + 144 * 8 * 72 + 8 * 5
    assert [op["bytes"] for op in d["timeline"]] == [1584, 2304, 1160, 13, 10]
    assert (d["peak"]["at"], d["peak"]["bytes"]) == (1, 2304)
    assert [t["bytes"] for t in d["peak"]["tensors"]] == [1152, 1152]
    assert d["largest_constant"]["bytes"] == 8 * 3 * 3 * 8
    assert {b["fits"] for b in d["boards"]} == {"at once"}
    assert d["emulated"] is None
    assert not d["edge_tpu"]["measured"]
    assert len(d["edge_tpu"]["runs"]) == 5
    assert made.fits is None
    assert json.loads(json.dumps(made.to_json())) == d
    assert "  <- peak" in next(line for line in made.lines if line.lstrip().startswith("2,304  █"))


def test_the_bar_of_an_op_is_its_share_of_the_peak(model):
    bars = [line.count("█") for line in fit(model).lines if "█" in line]
    assert bars == [22, 32, 17, 1, 1]  # 32 x 1,584 / 2,304 is 22, 32 x 1,160 / 2,304 is 16.1, and a part is a whole one


def test_a_named_board_holds_it_or_not(model, tmp_path):
    large = tmp_path / "large.tflite"
    large.write_bytes(tflite.write(two_convolutions(200)))
    assert fit(model, board="Blue Pill").fits is True
    made = fit(large, board="bluepill")
    assert made.fits is False
    found = row(made.document, "bluepill")
    # what the second convolution makes over what the first reads is 320,000 bytes, whatever runs by rows
    assert found["missing"]["ram"] >= 320_000 + 2048 - 20_480
    assert found["missing"]["ram"] == made.document["ways"]["row by row"]["arena"] + 2048 - 20_480
    said = "\n".join(made.lines)
    assert f"Blue Pill: lacks {found['missing']['ram']:,} bytes of RAM" in said
    assert f"RAM: {made.document['peak']['op']} makes the peak" in said
    assert "boards that hold it: nano33ble" not in said


def test_a_board_that_holds_it_row_by_row_is_deployed_to(wide, tmp_path):
    found = fit(wide, board="nucleol476rg").document
    assert row(found, "nucleol476rg")["fits"] == "at once"
    assert row(found, "bluepill")["missing"]["ram"] == found["ways"]["row by row"]["arena"] + 2048 - 20_480
    small = tmp_path / "small.tflite"
    small.write_bytes(tflite.write(two_convolutions(40)))  # 25,600 bytes at once, and 12,800 of them are the last
    assert row(fit(small).document, "bluepill")["fits"] == "row by row"
    made = deploy(small, tmp_path / "out", board="bluepill")
    assert made.document["by_row"]
    assert made.document["arena"] + 2048 <= 20_480
    assert (made.document["board"], made.document["core"]) == ("bluepill", "cortex-m3")
    assert made.document["budget"] == {"ram": 20_480, "flash": 65_536}


def test_without_a_compiler_code_is_not_counted_and_that_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    made = fit(model)
    assert made.document["compiled_for"] is None
    assert made.document["ways"]["at once"]["code"] is None
    assert "apt-get install gcc-arm-none-eabi" in made.notes[0]
    assert any("code not compiled here" in line for line in made.lines)
    with pytest.raises(MissingToolError, match="apt-get install"):
        fit(model, instructions=True)


@no_arm
def test_instructions_are_those_of_one_emulated_sample(model):
    made = fit(model, instructions=True, data=np.random.default_rng(0).random((3, 12, 12, 3), np.float32))
    ran = made.document["emulated"]
    assert ran["exact"] is True
    assert 1 < ran["instructions_per_mac"] < 20
    assert made.document["compiled_for"] == "cortex-m4"
    assert made.document["ways"]["at once"]["code"] > 200


@no_arm
def test_instructions_are_those_of_the_way_that_the_board_needs(tmp_path, monkeypatch):
    ran = []
    emulate = fitting.emulate
    monkeypatch.setattr(fitting, "emulate", lambda net, *given: ran.append(net) or emulate(net, *given))
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(two_convolutions(40)))
    for name in ("bluepill", "pico"):
        assert fit(path, board=name, instructions=True).document["emulated"]["exact"]
    assert [bool(net.by_row) for net in ran] == [True, False]


def test_an_op_that_c_lacks_is_named_and_the_rest_is_said(lacking):
    made = fit(lacking, board="pico")
    d = made.document
    assert d["lacking"] == [f"{d['timeline'][0]['op']}: there is no kernel for it"]
    assert d["lacking"][0].startswith("TOPK_V2")
    assert d["ways"] == {}
    assert [op["bytes"] for op in d["timeline"]] == [27 + 12 + 48]
    assert {b["fits"] for b in d["boards"]} == {"unknown"}
    assert made.fits is False
    assert any(line.startswith("C lacks: TOPK_V2") for line in made.lines)
    assert "TOPK_V2 is not in the table" in d["edge_tpu"]["cpu"][0]["why"]
    with pytest.raises(UnsupportedError, match="no C of it to emulate: TOPK_V2"):
        fit(lacking, instructions=True)


def test_names_of_strangers_do_not_move_the_cursor(tmp_path):
    graph = two_convolutions()
    evil = {i: replace(t, name=f"a\x1b[2J\n{i}", origin=f"b\x1b[2J\n{i}") for i, t in graph.tensors.items()}
    path = tmp_path / "evil.tflite"
    path.write_bytes(tflite.write(replace(graph, tensors=evil)))
    made = fit(path, board="bluepill")
    assert not [line for line in made.lines if "\x1b" in line or "\n" in line]
    assert any("a\\x1b[2J" in line for line in made.lines)


def test_what_is_refused(model, tmp_path):
    flat = tmp_path / "float.tflite"
    flat.write_bytes(tflite.write(mobile()))
    with pytest.raises(ModelError, match="float network; type intact quantize with --target mcu, and fit"):
        fit(flat)
    with pytest.raises(OptionError, match="did you mean nano33ble"):
        fit(model, board="nano34ble")
    with pytest.raises(OptionError, match="add --instructions"):
        fit(model, data=np.zeros((1, 12, 12, 3), np.float32))
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        fit(tmp_path / "gone.tflite")


def test_the_command(model, lacking, tmp_path):
    done = typed("fit", model)
    assert done.exit_code == 0, done.output
    assert "RAM: 2,304 bytes of activations at once, and 2,048 of stack" in done.output
    assert json.loads(typed("fit", model, "--board", "pico", "--json").stdout)["board"] == "pico"
    assert typed("fit", lacking, "--board", "pico").exit_code == 1
    assert typed("fit", lacking).exit_code == 0
    for words, says in (
        ((model, "--board", "nano34ble"), "did you mean nano33ble"),
        ((model, "--data", tmp_path), "add --instructions"),
        ((model, "--board", "a\x1b[2Jb"), r"no board is called 'a\x1b[2Jb'"),
    ):
        refused = typed("fit", *words)
        assert refused.exit_code == 2
        assert says in refused.output


def test_fit_is_public():
    assert intact.fit is fit


# ---- intact deploy --board ----------------------------------------------------------------------------------------------


def test_deploy_says_what_contradicts_the_board(model, tmp_path):
    made = deploy(model, tmp_path / "out", board="nano33ble", ram=300_000)
    assert made.document["budget"] == {"ram": 300_000, "flash": 1_048_576}
    assert made.notes[0] == "--ram gives 300,000 bytes, and Nano 33 BLE has 262,144"
    done = typed("deploy", model, "--out", tmp_path / "other", "--board", "nano34ble")
    assert done.exit_code == 2
    assert "did you mean nano33ble" in done.output


@no_make
def test_a_core_that_is_no_cortex_m_gets_the_project_and_its_makers_compiler_is_named(model, tmp_path):
    folder = tmp_path / "out"
    made = deploy(model, folder, board="esp32s3")
    assert made.document["core"] == "xtensa-lx7"
    assert made.document["compiled"] is None
    assert "xtensa-esp32s3-elf-gcc" in made.notes[0]
    assert not (folder / "port").exists()
    assert "xtensa-esp32s3-elf-gcc" in (folder / "README.md").read_text()
    elf = subprocess.run(["make", "elf"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert elf.returncode != 0
    assert "xtensa-lx7 needs ESP-IDF's xtensa-esp32s3-elf-gcc: add network.c and network.h" in elf.stderr
    ran = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout.endswith("5 of 5 exact\n"), ran.stderr
    with pytest.raises(MissingToolError, match=r"xtensa-lx7 is compiled for by .*, which Intact does not call"):
        deploy(model, tmp_path / "verified", board="esp32s3", verify=True)
    assert not (tmp_path / "verified").exists()


@no_arm
@pytest.mark.parametrize("name", ["bluepill", "alife7"])  # less memory than the emulated machine has, and more
def test_a_board_is_emulated_within_the_machine(model, tmp_path, name):
    made = deploy(model, tmp_path / "out", board=name, verify=True, samples=1)
    assert made.document["emulated"]["exact"] == 1
    for page in ("Makefile", "README.md"):  # make emulate links what the board has, and the machine must have that
        assert ("make emulate" in (tmp_path / "out" / page).read_text()) == (name == "bluepill")
