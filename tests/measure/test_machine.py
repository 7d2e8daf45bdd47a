"""The processor beside every latency, and why an integer file is slower than float."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from nets import mobile
from plans import planned

from intact.errors import UnsupportedError
from intact.measure import figures, machine, op_times
from intact.measure.machine import Cpu, cpu, parse
from intact.measure.measurement import Measurement
from intact.planning.integer_graph import emit
from intact.planning.targets import target
from intact.runtime.devices import Android
from intact.runtime.litert import Description
from intact.runtime.phone import Phone
from intact.runtime.places import HERE

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu {}\n\nprocessor\t: 1\nmodel name\t: Another\n"


@pytest.mark.parametrize(
    ("text", "said", "dot"),
    [
        (X86.format("avx2 avx512f avx512_vnni"), "Some CPU @ 2.0GHz (AVX512-VNNI)", True),
        (X86.format("avx2 avx_vnni"), "Some CPU @ 2.0GHz (AVX-VNNI)", True),
        (X86.format("avx2"), "Some CPU @ 2.0GHz (AVX2, no VNNI)", False),
        (X86.format("avx2 avx512f"), "Some CPU @ 2.0GHz (AVX-512, no VNNI)", False),
        ("Model\t: Raspberry Pi 5\nFeatures\t: fp asimd asimddp\n", "Raspberry Pi 5 (DotProd)", True),
        ("Model\t: Raspberry Pi 4\nFeatures\t: fp asimd\n", "Raspberry Pi 4 (NEON)", False),
    ],
)
def test_what_the_system_says(text, said, dot):
    found = parse(text)
    assert (str(found), found.dot_products) == (said, dot)


def test_this_machine_has_a_name():
    assert cpu().name
    assert parse("").name


def times(ratio):
    return (figures.Reading("difference", Measurement("speed-up", ratio, "x", 0.95 * ratio, 1.05 * ratio, "", 40)),)


def slower(monkeypatch, ratio, outside, *, processor=None, device="cpu", took=None, timer=HERE, parts=None):
    made = {"float": Description((), (), 1, ()), "quantized": Description((), (), parts or len(outside) + 1, outside)}
    monkeypatch.setattr(figures.litert, "describe", lambda path, **_: made[path.stem])
    monkeypatch.setattr(figures, "cpu", lambda *_: processor or Cpu("Some CPU", "AVX512-VNNI", True))
    paths = {name: Path(f"{name}.tflite") for name in made}
    monkeypatch.setattr(figures, "alone_ms", lambda ops, **_: {name: ms for name, ms in (took or {}).items() if name in ops})
    return figures.slower(times(ratio), paths, target(device), mobile(), emit(mobile(), planned(mobile())), timer)


def test_the_ops_that_left_the_delegate_are_told(monkeypatch):
    (found,) = slower(monkeypatch, 0.5, ("PRELU", "PRELU", "NEG"))
    assert found.kind == "slower than float"
    assert found.message == (
        "the integer file takes 2.00 times as long as float on Some CPU (AVX512-VNNI): XNNPACK leaves 2 PRELU, 1 NEG to slower "
        "kernels: 4 parts instead of 1"
    )


def test_parts_are_told_where_there_are_more_of_them(monkeypatch):
    (found,) = slower(monkeypatch, 0.5, ("SOFTMAX",), parts=1)
    assert found.message.endswith("XNNPACK leaves 1 SOFTMAX to slower kernels")


def test_a_processor_without_dot_products_is_told(monkeypatch):
    (found,) = slower(monkeypatch, 0.55, (), processor=Cpu("Old CPU", "AVX2", False))
    assert "on Old CPU (AVX2, no VNNI): this processor has no instructions for dot products of bytes" in found.message


@pytest.mark.parametrize(("ratio", "device"), [(1.5, "cpu"), (0.97, "cpu"), (0.5, "mcu")])
def test_nothing_is_said_of_what_is_not_surely_slower_or_of_stand_in_kernels(monkeypatch, ratio, device):
    assert slower(monkeypatch, ratio, ("PRELU",), device=device) == ()


def test_what_the_slow_ops_take_by_themselves_is_told(monkeypatch):
    conv, pool = (next(op for op in mobile().ops if op.kind.name == kind) for kind in ("DEPTHWISE_CONV_2D", "MEAN"))
    took = {mobile().label(conv): 0.25, mobile().label(pool): 1.5}
    (found,) = slower(monkeypatch, 0.5, ("MEAN", "DEPTHWISE_CONV_2D"), took=took)
    first, second = mobile().label(pool), mobile().label(conv)
    assert found.message.endswith(f"each timed alone: {first} 1.5 ms (float 1.5), {second} 0.25 ms (float 0.25)")


def test_of_a_device_that_only_times_it_is_told_whose_runtime_left_them(monkeypatch):
    phone = Phone(Android("phone", "serial", "benchmark_model"))
    (found,) = slower(monkeypatch, 0.5, ("MEAN",), took={mobile().label(mobile().ops[-1]): 1.0}, timer=phone)
    assert found.message.endswith("XNNPACK leaves 1 MEAN to slower kernels: 2 parts instead of 1 in LiteRT on this machine")


def test_ops_by_themselves_are_timed_in_the_runtime():
    graph = emit(mobile(), planned(mobile()))
    costliest = op_times.largest(graph, (), 2)
    assert [op.kind.name for op in costliest] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    (mean,) = op_times.largest(graph, ("MEAN",), 5)
    found = op_times.alone_ms({"conv": (graph, costliest[0]), "mean": (graph, mean)})
    assert sorted(found) == ["conv", "mean"]
    assert all(0 < ms < 100 for ms in found.values())


def test_an_op_that_cannot_be_cut_out_has_no_time(monkeypatch):
    def refuse(_):
        raise UnsupportedError("no")

    graph = emit(mobile(), planned(mobile()))
    monkeypatch.setattr(op_times.tflite, "write", refuse)
    assert op_times.alone_ms({"conv": (graph, graph.ops[0])}) == {}


def test_the_machine_is_told_with_each_runtime_that_is_missing(monkeypatch):
    def version(package):
        if package == "tflite-micro":
            raise PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(machine, "version", version)
    monkeypatch.setattr(machine, "_GOVERNOR", Path("/nowhere"))
    found = machine.document()
    assert found["runtimes"] == {"LiteRT": "1.0", "TFLM": None}
    assert found["missing"] == {"TFLM": "the package tflite-micro is not installed; type: pip install 'intact[mcu]'"}
    assert found["governor"] is None
    assert found["cores"] >= 1
    assert found["cpu"] == str(machine.cpu())
    assert found["versions"].keys() == {"intact", "torch", "numpy", "ai-edge-litert", "python"}
    json.dumps(found)


def test_the_governor_and_the_flags_of_vectors_are_told(monkeypatch, tmp_path):
    (tmp_path / "governor").write_text("powersave\n")
    monkeypatch.setattr(machine, "_GOVERNOR", tmp_path / "governor")
    assert machine.document()["governor"] == "powersave"
    assert {flag for flag in ("fpu", "avx2", "avx512_vnni", "asimddp", "sse") if machine._VECTORS.search(flag)} == {
        "avx2",
        "avx512_vnni",
        "asimddp",
    }
