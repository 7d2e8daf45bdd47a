"""intact deploy: a project that builds with make alone, what it takes, and what is refused in words."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from firmware_nets import two_convolutions
from integer_cases import Builder
from typer.testing import CliRunner

from intact.cli.app import app
from intact.deploy.bytes import parsed
from intact.errors import ChildError, MissingToolError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.network.graph import Graph
from intact.ops import KINDS
from intact.run import deploy as deploying
from intact.run.deploy import deploy
from intact.run.fit import fit
from intact.run.vectors import integer_network, vectors
from intact.runtime.tools import ARM_COMPILER, EMULATOR, Tool

no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)
no_make = pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no make and C compiler here")


def typed(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Two convolutions, a mean, a dense layer and a softmax over 12 x 12 x 3 pixels."""
    b = Builder(np.random.default_rng(0))
    x = first = b.flow(12, 12, 3)
    for name in ("first", "second"):
        made = KINDS["CONV_2D"](padding="same", activation="relu")
        b.op(made, x, *b.weights(x, (8, 3, 3, b.tensors[x].shape[3]), 0), out=b.format(0.1, 0.3), name=name)
        x = b.ops[-1].output
    b.op(KINDS["MEAN"](), x, b.ints(1, 2))
    x = b.ops[-1].output
    b.op(KINDS["FULLY_CONNECTED"](), x, *b.weights(x, (5, 8), 0), out=b.format(0.05, 0.1))
    b.op(KINDS["SOFTMAX"](), b.ops[-1].output)
    graph = b.graph()
    path = tmp_path_factory.mktemp("a model") / "a net.tflite"
    path.write_bytes(tflite.write(Graph(graph.tensors, graph.ops, (first,), (graph.ops[-1].output,))))
    return path


@no_make
def test_the_project_builds_and_proves_itself_without_python(model, tmp_path):
    folder = tmp_path / "firm ware"
    made = deploy(model, folder)
    ran = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("5 of 5 exact\n")
    assert made.document == json.loads((folder / "deploy.json").read_text())
    assert made.document["arena"] == 2304  # both activations of 12 x 12 x 8 bytes, and nothing else at that time
    spoilt = (
        (folder / "vectors.h")
        .read_text()
        .replace("vector_output_0[VECTORS][5] = {\n{\n", "vector_output_0[VECTORS][5] = {\n{\n1")
    )
    (folder / "vectors.h").write_text(spoilt)
    again = subprocess.run(["make"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode != 0
    assert "4 of 5 exact" in again.stdout


@no_make
@pytest.mark.parametrize(("compiler", "main"), [(["cc", "-std=c99", "-pedantic"], "main.c"), (["g++"], "main.cc")])
def test_two_networks_are_exact_in_one_program_of_c_or_cplusplus(model, tmp_path, compiler, main):
    """Two networks of the same kinds of ops and other sizes, called in turn: neither disturbs the other."""
    other = tmp_path / "other.tflite"
    other.write_bytes(tflite.write(two_convolutions(9)))
    lines = ['#include "one/one.h"', '#include "two/two.h"', "#include <string.h>", "int main(void) {", "int wrong = 0;"]
    checks = ["one_init(); two_init();"]
    for name, path in (("one", model), ("two", other)):
        deploy(path, tmp_path / name, name=name)
        given = vectors(integer_network(path, "deploy")[1], None, 3)
        for what, numbers in (("x", given.inputs[0]), ("y", given.outputs[0])):
            rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in numbers.reshape(3, -1).tolist())
            lines.append(f"static const signed char {name}_{what}[3][{numbers[0].size}] = {{{rows}}};")
    for n in range(3):
        checks += [f"memcpy({net}_input_0(), {net}_x[{n}], sizeof {net}_x[{n}]);" for net in ("one", "two")]
        checks += ["one_run(); two_run();"]
        checks += [f"wrong += memcmp({net}_output_0(), {net}_y[{n}], sizeof {net}_y[{n}]) != 0;" for net in ("one", "two")]
    (tmp_path / main).write_text("\n".join([*lines, *checks, "return wrong; }", ""]))
    for command in (
        ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "one/one.c", "two/two.c"],
        [*compiler, "-Wall", "-Wextra", "-Werror", main, "one.o", "two.o", "-o", "both"],
        ["./both"],
    ):
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr


@no_arm
@pytest.mark.parametrize("cpu", ["cortex-m3", "m4", "cortex-m7", "m55"])
def test_an_emulated_core_gives_every_bit(model, tmp_path, cpu):
    made = deploy(model, tmp_path / "out", cpu=cpu, ram=16 << 10, flash=64 << 10, verify=True, samples=3)
    ran = made.document["emulated"]
    assert (ran["exact"], ran["samples"]) == (3, 3)
    assert 1 < ran["instructions_per_mac"] < 20
    assert 0 < ran["stack"] < 2048
    assert made.is_exact


@no_arm
def test_a_wrong_number_is_seen_on_the_core(model, tmp_path, monkeypatch):
    vectors = deploying._vectors

    def spoilt(*arguments):
        made = vectors(*arguments)
        made.outputs[0][1].flat[2] ^= 1
        return made

    monkeypatch.setattr(deploying, "_vectors", spoilt)
    made = deploy(model, tmp_path / "out", verify=True, samples=3)
    assert made.document["emulated"]["exact"] == 2
    assert not made.is_exact


@no_arm
def test_what_does_not_fit_the_flash_says_by_how_much(model, tmp_path):
    with pytest.raises(UnsupportedError, match=r"of flash, [\d,]+ bytes more than there are"):
        deploy(model, tmp_path / "out", flash=2000)
    assert not (tmp_path / "out").exists()


def test_the_peak_counts_an_op_that_is_written_over_what_it_reads_once(tmp_path):
    """A LOGISTIC of 400 bytes over its input, then one number: 400 exist and not 800, as the arena and intact fit have it."""
    b = Builder(np.random.default_rng(0))
    x = b.flow(400)
    b.op(KINDS["LOGISTIC"](), x)
    b.op(KINDS["REDUCE_MAX"](keep_dims=True), b.ops[-1].output, b.ints(1))
    graph = b.graph()
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(Graph(graph.tensors, graph.ops, (x,), (graph.ops[-1].output,))))
    made = deploy(path, tmp_path / "out")
    found = fit(path).document["peak"]
    assert made.document["peak"] == {"live_bytes": 401, "op": graph.label(graph.ops[1])}
    assert (found["bytes"], found["op"]) == (401, graph.label(graph.ops[1]))
    assert 401 <= made.document["arena"] < 416
    assert f"at once activations take 401, most at {graph.label(graph.ops[1])}" in made.lines[0]
    with pytest.raises(UnsupportedError, match=r"at once activations take 401, most at REDUCE_MAX"):
        deploy(path, tmp_path / "other", ram=2100)


def test_what_does_not_fit_the_memory_says_what_makes_the_peak(model, tmp_path):
    with pytest.raises(UnsupportedError, match=r"needs [\d,]+ bytes of RAM, [\d,]+ bytes more .* most at CONV_2D"):
        deploy(model, tmp_path / "out", ram=2100)


def test_without_a_compiler_all_is_written_and_said(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    made = deploy(model, tmp_path / "out")
    assert "apt-get install gcc-arm-none-eabi" in made.notes[0]
    assert made.document["compiled"] is None
    assert (tmp_path / "out" / "network.c").is_file()
    with pytest.raises(MissingToolError, match="apt-get install gcc-arm-none-eabi"):
        deploy(model, tmp_path / "other", verify=True)
    assert not (tmp_path / "other").exists()


def test_a_tool_that_hangs_is_ended_and_one_that_fails_is_quoted(tmp_path):
    with pytest.raises(ChildError, match=r"sleep was not done after 0\.2 seconds"):
        Tool("sleep", "").run(["60"], tmp_path, timeout=0.2)
    with pytest.raises(ChildError, match=r"sh failed: x\.c:1: error: no"):
        Tool("sh", "").run(["-c", "echo fine; echo x.c:1: error: no; exit 1"], tmp_path, timeout=20)


def test_a_folder_of_others_is_not_written_into(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match=r"holds 'thesis\.txt' and no firmware"):
        deploy(model, tmp_path, overwrite=True)
    deploy(model, tmp_path / "out")
    with pytest.raises(OptionError, match="add --overwrite"):
        deploy(model, tmp_path / "out")
    deploy(model, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("name", ["int", "9lives", "a-b", "class", "", "vectors", "naïve"])
def test_a_name_must_be_one_in_c(model, tmp_path, name):
    with pytest.raises(OptionError, match="is no name in C"):
        deploy(model, tmp_path / "out", name=name)


@pytest.mark.parametrize(("text", "size"), [("256K", 262144), ("1M", 1048576), ("1.5 MiB", 1572864), ("20480", 20480)])
def test_sizes_as_people_type_them(text, size):
    assert parsed(text, "--flash") == size


@pytest.mark.parametrize("text", ["", "K", "-1K", "12Q", "3G", "0", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(OptionError, match="type --ram 256K"):
        parsed(text, "--ram")


def test_least_is_as_little_as_can_be(model, tmp_path):
    assert parsed("least", "--ram") == 0
    made = deploy(model, tmp_path / "out", ram=0)
    assert made.document["arena"] < 2304
    assert made.document["by_row"]


def test_the_command_says_what_it_takes(model, tmp_path):
    done = typed("deploy", model, "--out", tmp_path / "out", "--ram", "16K", "--flash", "64K")
    assert done.exit_code == 0, done.output
    assert "RAM: 2,304 bytes of activations" in done.output
    other = typed("deploy", model, "--out", tmp_path / "other", "--cpu", "cortex-m99")
    assert other.exit_code == 2
    assert "type --cpu with one of: cortex-m0plus" in other.output


@pytest.mark.parametrize("samples", [0, -3])
def test_no_sample_proves_nothing(model, tmp_path, samples):
    with pytest.raises(OptionError, match="proves nothing; type --samples 50"):
        deploy(model, tmp_path / "out", verify=True, samples=samples)


@no_make
def test_samples_that_come_several_to_a_call_stay_together(tmp_path):
    """A dense layer with a batch of 4 that is fixed: one call takes all four."""
    b = Builder(np.random.default_rng(0))
    x = b.flow(40)
    b.op(KINDS["FULLY_CONNECTED"](), x, *b.weights(x, (7, 40), 0), out=b.format(0.05, 0.5))
    graph = b.graph()
    four = {i: replace(t, shape=(4, *t.shape[1:])) for i, t in graph.tensors.items() if t.shape[:1] == (None,)}
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(Graph({**graph.tensors, **four}, graph.ops, (x,), (graph.ops[-1].output,))))
    deploy(path, tmp_path / "out")
    ran = subprocess.run(["make"], cwd=tmp_path / "out", capture_output=True, text=True, timeout=120, check=False)
    assert ran.stdout.endswith("5 of 5 exact\n"), ran.stdout + ran.stderr
