"""intact fit --npu: Vela's estimates, what stays on the CPU and why, and a Vela that dies, hangs or talks nonsense."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from firmware_nets import two_convolutions
from integer_cases import Builder
from typer.testing import CliRunner

from intact.cli.app import app
from intact.deploy.npu import estimate
from intact.deploy.npus import MEMORY, NPUS, npus
from intact.errors import ChildError, MissingExtraError, OptionError
from intact.formats import tflite
from intact.network.graph import Graph, Op, State, Tensor
from intact.network.shapes import macs
from intact.numbers.affine import Affine, Float
from intact.ops import KINDS
from intact.run.fit import fit
from intact.runtime import vela

no_vela = pytest.mark.skipif(vela.version() is None, reason="ethos-u-vela is not installed (the extra npu)")
U55 = NPUS["ethos-u55-128"]


def chain(*kinds, shape=(8, 8, 4)):
    """Ops behind each other over an int8 input; a kind is given as what adds it to a Builder, and what it reads."""
    b = Builder(np.random.default_rng(0))
    x = first = b.flow(*shape)
    for add in kinds:
        add(b, x)
        x = b.ops[-1].output
    graph = b.graph()
    return Graph(graph.tensors, graph.ops, (first,), (x,))


def conv(dtype="int8"):
    def add(b, x):
        kind = KINDS["CONV_2D"](padding="same")
        weights = b.weights(x, (4, 3, 3, b.tensors[x].shape[3]), 0, dtype=dtype)
        b.op(kind, x, *weights, out=b.format(0.1, 0.3), name=f"{len(b.ops)}")

    return add


def enlarged(times):
    def add(b, x):
        _, high, wide, channels = b.tensors[x].shape
        weights, bias = b.weights(x, (4, 3, 3, channels), 0)
        made = KINDS["TRANSPOSE_CONV"](stride=(times, times), padding="same")
        b.op(made, b.ints(1, times * high, times * wide, 4), weights, x, bias)

    return add


def normalized(b, x):
    b.op(KINDS["L2_NORMALIZATION"](), x, name=f"{len(b.ops)}")


def vela_itself(path, npu, folder):
    """The summary that Vela writes when it is started as its users start it."""
    subprocess.run(
        [
            *(sys.executable, "-m", "ethosu.vela", path, "--output-dir", folder, "--config", "Arm/vela.ini"),
            *("--accelerator-config", npu.key, "--system-config", npu.system, "--memory-mode", MEMORY),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with next(folder.glob("*summary*.csv")).open() as file:
        return next(csv.DictReader(file))


# ---- names --------------------------------------------------------------------------------------------------------------


def test_an_npu_goes_by_its_key_its_family_or_all_in_any_spelling():
    assert [npu.key for npu in npus(["Ethos-U55 128", "u65"])] == ["ethos-u55-128", "ethos-u65-256", "ethos-u65-512"]
    assert npus(["all"]) == tuple(NPUS.values())
    assert npus(["u55-32", "ethos_u55_32"]) == (NPUS["ethos-u55-32"],)
    assert [npu.macs for npu in npus(["u85"])] == [128, 256, 512, 1024, 2048]


@pytest.mark.parametrize(("name", "near"), [("ethos-u55-127", "ethos-u55-12"), ("u56", "ethos-u5"), ("u85-4096", "ethos-u85")])
def test_an_npu_that_there_is_not_is_refused_with_the_nearest(name, near):
    with pytest.raises(OptionError, match=rf"no NPU is called '{name}'; did you mean .*{near}"):
        npus([name])


def test_a_name_like_no_other_is_refused_with_all():
    with pytest.raises(OptionError, match=r"no NPU is called ''; type --npu with all or one of: ethos-u55-32, .*u85-2048$"):
        npus([""])


@no_vela
def test_the_rows_are_those_of_vela():
    said = [
        subprocess.run([sys.executable, "-m", "ethosu.vela", *words], check=True, capture_output=True, text=True).stdout
        for words in (["--help"], ["--list-configs", "Arm/vela.ini"])
    ]
    assert set(re.search(r"--accelerator-config \{(.*?)\}", said[0])[1].split(",")) == NPUS.keys()
    assert {f"System_Config.{npu.system}" for npu in NPUS.values()} | {f"Memory_Mode.{MEMORY}"} <= set(said[1].split())


# ---- estimates ----------------------------------------------------------------------------------------------------------


@no_vela
@pytest.mark.parametrize("key", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-512"])
def test_the_figures_are_those_of_vela_for_the_file_itself(tmp_path, key):
    graph, npu = two_convolutions(), NPUS[key]
    (tmp_path / "net.tflite").write_bytes(tflite.write(graph))
    made, said = estimate(graph, npu), vela_itself(tmp_path / "net.tflite", npu, tmp_path)
    assert made.cycles["total"] == int(said["cycles_total"]) > 0
    assert made.cycles["off_chip_flash"] == int(said["cycles_off_chip_flash_access"])
    assert made.used["sram"] == float(said["sram_memory_used"]) * 1024
    assert made.used["off_chip_flash"] == float(said["off_chip_flash_memory_used"]) * 1024
    assert made.per_second == pytest.approx(float(said["inferences_per_second"]))
    assert made.clock == 500_000_000
    assert (made.ops, made.macs, made.cpu) == (5, macs(graph), ())
    assert sum(made.by_op.values()) == made.cycles["total"]
    assert made.by_op.keys() <= {graph.label(op) for op in graph.ops}


@no_vela
def test_an_op_that_stays_on_the_cpu_is_named_with_its_reason():
    graph = chain(conv(), normalized, conv())
    made = estimate(graph, U55)
    assert made.ops == 2
    assert made.macs == macs(graph) == 2 * 8 * 8 * 4 * 36
    (fallback,) = made.cpu
    assert fallback.op == graph.label(graph.ops[1])
    assert fallback.why == "Unsupported opType"
    assert made.per_second == 500e6 / made.cycles["total"]


@no_vela
def test_multiply_accumulates_on_the_cpu_do_not_count():
    """A transposed convolution by strides of 4 is beyond it; by strides of 2 it is not, and so counts."""
    assert estimate(chain(enlarged(2), normalized), U55).macs == 8 * 8 * 4 * 36
    made = estimate(chain(conv(), enlarged(4)), U55)
    assert (made.ops, made.macs) == (1, 8 * 8 * 4 * 36)
    assert made.cpu[0].why.startswith("stride out of range: (4,4); Stride values WxH must be")


@no_vela
def test_where_all_is_on_the_cpu_there_is_no_speed(tmp_path):
    graph = chain(normalized)
    made = estimate(graph, U55)
    assert (made.ops, made.macs, made.per_second, made.cycles["total"]) == (0, 0, None, 0)
    (tmp_path / "net.tflite").write_bytes(tflite.write(graph))
    found = fit(tmp_path / "net.tflite", npu="u55-128")
    assert json.loads(json.dumps(found.document["npu"], allow_nan=False))["estimates"][0]["inferences_per_second"] is None
    assert next(line for line in found.lines if "ethos-u55-128" in line).split()[5:8] == ["-", "0", "0"]


@no_vela
def test_names_of_strangers_lead_to_the_right_op():
    graph = chain(conv(), normalized, conv(), normalized)
    evil = {
        i: replace(t, name="a'\nWarning (supported operators) operator: X, ofm: '#1#'\nReason: ha\x1b[2J")
        for i, t in graph.tensors.items()
    }
    made = estimate(replace(graph, tensors=evil), U55)
    assert [f.why for f in made.cpu] == ["Unsupported opType"] * 2
    assert made.ops == 2


@no_vela
def test_a_tensor_in_a_reason_has_its_own_name():
    b = Builder(np.random.default_rng(0))
    b.op(KINDS["DEQUANTIZE"](), b.flow(4, 4), out=Float())
    b.op(KINDS["QUANTIZE"](), b.ops[-1].output)
    graph = b.graph()
    made = estimate(replace(graph, outputs=graph.outputs[-1:]), U55)
    assert "Float32 ('t1'); Feature-map dataTypes" in made.cpu[1].why


@no_vela
def test_a_state_is_kept_by_the_cpu_and_hides_no_op():
    """A running sum of what is normalized: ADD runs there, L2_NORMALIZATION and the state do not."""
    fmt = Affine((0.1,), (3,))
    tensors = {n: Tensor(n, f"t{n}", (None, 6), fmt) for n in range(3)}
    tensors[3] = Tensor(3, "t3", (None, 6), Affine((1 / 128,), (0,)))
    kept = State("sum", 1, 2, np.zeros((1, 6), np.float32))
    ops = (Op(KINDS["L2_NORMALIZATION"](), (0,), (3,)), Op(KINDS["ADD"](), (3, 1), (2,)))
    made = estimate(Graph(tensors, ops, (0,), (2,), states=(kept,)), U55)
    assert (made.ops, set(made.by_op)) == (1, {"ADD 't2'"})
    assert [f.op for f in made.cpu] == ["L2_NORMALIZATION 't3'", "the state 'sum'"]
    assert "READ_VARIABLE" in made.cpu[1].why


@no_vela
def test_a_state_that_holds_an_input_of_the_call_before_is_no_output():
    fmt = Affine((0.1,), (3,))
    tensors = {n: Tensor(n, f"t{n}", (None, 6), fmt) for n in range(3)}
    kept = State("before", 1, 0, np.zeros((1, 6), np.float32))
    made = estimate(Graph(tensors, (Op(KINDS["ADD"](), (0, 1), (2,)),), (0,), (2,), states=(kept,)), U55)
    assert (made.ops, [f.op for f in made.cpu]) == (1, ["the state 'before'"])


# ---- a Vela that fails --------------------------------------------------------------------------------------------------


@no_vela
def test_what_is_known_to_end_it_is_said():
    with pytest.raises(
        ChildError, match=r"Vela died of SIGFPE.*it takes no int4 weights: type intact quantize with --scheme int8"
    ):
        estimate(chain(conv(dtype="int4")), U55)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts another package before Vela's, whose main program is given."""

    def put(body):
        folder = tmp_path / "fake"
        (folder / "ethosu" / "vela").mkdir(parents=True)
        (folder / "ethosu" / "__init__.py").touch()
        (folder / "ethosu" / "vela" / "__init__.py").touch()
        (folder / "ethosu" / "vela" / "__main__.py").write_text(body)
        (folder / "ethos_u_vela-9.9.dist-info").mkdir()
        (folder / "ethos_u_vela-9.9.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: ethos-u-vela\nVersion: 9.9\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.syspath_prepend(folder)

    return put


TABLES = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--output-dir") + 1])
print("CPU operators = {cpu} (1.0%)")
(out / "n_summary_x.csv").write_text({summary!r})
(out / "n_per-layer.csv").write_text({layers!r})
"""


def tables(summary, layers, cpu=0):
    return TABLES.format(summary=summary, layers=layers, cpu=cpu)


NAMES = "core_clock,cycles_total,cycles_npu,cycles_sram_access,cycles_dram_access,cycles_on_chip_flash_access,"
NAMES += "cycles_off_chip_flash_access,sram_memory_used,dram_memory_used,on_chip_flash_memory_used,off_chip_flash_memory_used\n"
GOOD = NAMES + "1e6,250,200,100,0,0,50,2,0,0,1.5\n"
LAYERS = "Original Operator,Target,Op Cycles,Name\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"^Vela died of SIGSEGV"),
        ("raise IndexError('Strides exceed storage')", r"^Vela ended with status 1 .*IndexError: Strides exceed storage"),
        (
            "raise RuntimeError(\"Compilation failed: Error: CONV_2D '#6#' is odd\\n - so and so\\nFailed to parse\")",
            r"^Vela ended with status 1 .*RuntimeError: Compilation failed: Error: CONV_2D .*'t6'.* is odd",
        ),
        ("print('no idea')", r"^Vela ended and wrote none of its tables"),
        (tables(summary=GOOD, layers=LAYERS + "Add,NPU,250,#3#\n", cpu=2), r"has 0 ops on the CPU, and it counts 2$"),
        (tables(summary=GOOD, layers=LAYERS + "Add,NPU,249,#3#\n"), r"has 249 cycles, and it counts 250$"),
        (tables(summary="\xff,,\n1\n", layers="a\nb\n"), r"an op on None, which is neither CPU nor NPU"),
        (tables(summary=GOOD, layers=LAYERS + "Add,TPU,250,#3#\n"), r"an op on 'TPU', which is neither CPU nor NPU"),
        (
            tables(summary=GOOD.replace("250", "nan"), layers=LAYERS + "Add,NPU,250,#3#\n"),
            r"tables have no number as 'cycles_total'",
        ),
        (tables(summary=GOOD.replace("core", "cor"), layers=LAYERS + "Add,NPU,250,#3#\n"), r"no number as 'core_clock'"),
        (
            tables(summary=GOOD.replace("1.5", "-1"), layers=LAYERS + "Add,NPU,250,#3#\n"),
            r"no number as 'off_chip_flash_mem",
        ),
    ],
)
def test_a_failure_is_one_sentence(fake, body, says):
    fake(body)
    with pytest.raises(ChildError, match=says):
        estimate(two_convolutions(), U55)


def test_one_that_hangs_is_ended(fake, monkeypatch):
    fake("import time; time.sleep(600)")
    monkeypatch.setattr(vela, "_SECONDS", 1.0)
    with pytest.raises(ChildError, match=r"Vela .*1 second"):
        estimate(two_convolutions(), U55)


def test_its_tables_are_read_as_they_stand(fake):
    i = two_convolutions().ops[1].output
    last = two_convolutions().ops[-1].output
    rows = (
        *(f"Conv2D,CPU,0,#{i}#", f"Conv2D,CPU,0,#{i}#", "ReadVariable,CPU,0,v", "Add,NPU,50,?"),
        *(f"Softmax,NPU,150,#{last}#_softmax_0", f"Softmax,NPU,50,#{last}#"),
    )
    fake(tables(summary=GOOD, layers=LAYERS + "\n".join(rows) + "\n", cpu=3))
    graph = two_convolutions()
    made = estimate(graph, U55)
    assert [f.op for f in made.cpu] == [graph.label(graph.ops[1]), "ReadVariable 'v'"]
    assert {f.why for f in made.cpu} == {"Vela gives no reason"}
    assert made.ops == 4
    assert made.per_second == 4000
    assert made.cycles == {"total": 250, "npu": 200, "sram": 100, "dram": 0, "on_chip_flash": 0, "off_chip_flash": 50}
    assert made.used == {"sram": 2048, "dram": 0, "on_chip_flash": 0, "off_chip_flash": 1536}
    assert made.by_op == {"?": 50, graph.label(graph.ops[-1]): 200}


def test_what_else_was_found_stays_where_vela_fails(fake, tmp_path):
    fake("raise SystemExit('a licence is missing')")
    (tmp_path / "net.tflite").write_bytes(tflite.write(two_convolutions()))
    found = fit(tmp_path / "net.tflite", npu=["u65"])
    section = found.document["npu"]
    assert section["source"] == "estimate by Vela 9.9, nothing ran"
    assert [e["npu"] for e in section["estimates"]] == ["ethos-u65-256", "ethos-u65-512"]
    assert all("a licence is missing" in e["failed"] for e in section["estimates"])
    assert found.document["activations"] == 2304
    assert not found.is_estimated
    assert any(line.startswith("  ethos-u65-512: no estimate: Vela ended with status 1") for line in found.lines)
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "net.tflite"), "--npu", "u65-256", "--quiet"])
    assert done.exit_code == 1


def test_without_vela_the_line_that_installs_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(vela, "version", lambda: None)
    (tmp_path / "net.tflite").write_bytes(tflite.write(two_convolutions()))
    with pytest.raises(MissingExtraError, match=r"Ethos-U needs packages .* type: pip install 'intact\[npu\]'"):
        fit(tmp_path / "net.tflite", npu="u55-128")
    assert fit(tmp_path / "net.tflite").document["npu"] is None


# ---- the report ---------------------------------------------------------------------------------------------------------


@no_vela
def test_the_command_says_it_is_an_estimate_and_what_was_assumed(tmp_path):
    (tmp_path / "net.tflite").write_bytes(tflite.write(chain(conv(), normalized, conv())))
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "net.tflite"), "--npu", "u55-128", "--npu", "u85-256"])
    assert done.exit_code == 0, done.output
    at = done.output.index(f"Ethos-U, estimate by Vela {vela.version()}, nothing ran: memory mode Shared_Sram")
    said = done.output[at:]
    assert re.search(r"ethos-u55-128 .* at 500 MHz .* 2 of 3 +100 % +Ethos_U55_High_End_Embedded\n", said)
    assert re.search(r"  on the CPU: L2_NORMALIZATION '.*': Unsupported opType\n", said)
    assert said.count("on the CPU:") == 1
    document = json.loads(CliRunner().invoke(app, ["fit", str(tmp_path / "net.tflite"), "--npu", "u55-128", "--json"]).stdout)
    (row,) = document["npu"]["estimates"]
    assert document["npu"]["measured"] is False
    assert (row["npu"], row["macs_a_cycle"], row["ops"]) == ("ethos-u55-128", 128, 2)
    most = max(row["by_op"], key=row["by_op"].get)
    assert f"  most cycles of ethos-u55-128: {row['by_op'][most]:,} {most}, " in said
    assert row["cpu"] == [{"op": document["timeline"][1]["op"], "why": "Unsupported opType"}]


@no_vela
def test_what_stays_on_the_cpu_beside_some_alone_is_said_so(tmp_path):
    """REVERSE_V2: the U55 lacks it, the U85 has it."""
    graph = chain(conv(), lambda b, x: b.op(KINDS["REVERSE_V2"](), x, b.ints(1)))
    (tmp_path / "net.tflite").write_bytes(tflite.write(graph))
    lines = fit(tmp_path / "net.tflite", npu=["u55-64", "u85-128"]).lines
    (line,) = [line for line in lines if "on the CPU beside" in line]
    assert line.startswith(f"  on the CPU beside ethos-u55-64: {graph.label(graph.ops[1])}: Unsupported reverse mask.; ")


def test_a_wrong_name_is_refused_before_anything(tmp_path):
    (tmp_path / "net.tflite").write_bytes(tflite.write(two_convolutions()))
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "net.tflite"), "--npu", "u55-129"])
    assert done.exit_code == 2
    assert "did you mean" in done.output
