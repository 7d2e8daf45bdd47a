"""A run for microcontrollers writes the packed file beside the expanded one, and says what both are."""

import importlib.util

import numpy as np
import pytest
from drafts import draft, normal

import intact
from intact.formats import tflite
from intact.ops.convolution import Conv2D
from intact.ops.reduction import Mean
from intact.report.figures import five
from intact.report.record import record

pytestmark = pytest.mark.usefixtures("hasty")


def net():
    return draft(
        (8, 8, 3),
        lambda d, x: d(Mean(), d(Conv2D(padding="same"), d(Conv2D(padding="same"), x, normal(32, 3, 3, 3), np.zeros(32)),
                                 normal(16, 3, 3, 32), np.zeros(16)), np.int32([1, 2])),
    )  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    return intact.data.arrays(np.random.default_rng(0).normal(0, 1, (60, 8, 8, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.tflite"
    path.write_bytes(tflite.write(net()))
    return path


@pytest.mark.parametrize("scheme", ["clusters3", "w3a8", "clusters2-float"])
def test_the_packed_file_is_smaller_and_gives_the_same(model, samples, scheme, tmp_path):
    result = intact.quantize(model, samples, scheme=scheme, target="mcu", calibration_samples=20, remedies="none")
    assert 0 < len(result.packed) < len(result.model)
    kinds = {f.kind for f in result.findings}
    assert "packed" in kinds
    assert "packed differs" not in kinds
    figures = {r.measurement.name: r.measurement.value for r in result.readings}
    assert figures["packed file size"] == len(result.packed)
    assert figures["packed indices ratio"] == pytest.approx(32 / {"w3a8": 3, "clusters3": 3}.get(scheme, 2), rel=1e-3)
    if importlib.util.find_spec("tflite_micro") is not None:
        assert figures["packed equals expanded"] == 100
        assert figures["TFLM arena, packed"] > 0
    assert [row["count"] for row in result.details["weights"]] == [32 * 27, 16 * 9 * 32]
    before = next(r.measurement.value for r in result.readings if (r.of, r.measurement.name) == ("float", "file size"))
    size = next(row for row in five(record(result)) if "size" in row.name)  # the device's file, not the expanded one
    assert (size.name, size.change) == ("packed size", f"{before / len(result.packed):.2f}x smaller")
    folder = result.save_run(tmp_path / "run")
    assert (folder / "packed.tflite").read_bytes() == result.packed
    assert tflite.read(result.packed).ops != ()


def test_on_cpu_the_file_is_expanded_and_says_so(model, samples):
    result = intact.quantize(model, samples, scheme="clusters4", calibration_samples=20, remedies="none")
    assert result.packed == b""
    (said,) = [f.message for f in result.findings if f.kind == "stored expanded"]
    assert "stored as int8 in this file, 5,472 bytes" in said
    assert "type --target mcu" in said


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("w4a8-g16", "as int8, in steps of their channel, and holds 5,472 bytes of weights that would be 2,912"),
        ("w12a8", "in float, with activations rounded to int8 between, and holds 21,888 bytes of weights that would be 8,208"),
    ],
)
def test_what_no_runtime_stores_is_run_for_study_and_says_so(model, samples, scheme, said):
    result = intact.quantize(model, samples, scheme=scheme, calibration_samples=20, remedies="none")
    (found,) = [f.message for f in result.findings if f.kind == "study only"]
    assert f"{scheme} is study only: no runtime has kernels for such weights beside 8-bit activations" in found
    assert said in found
    assert len(result.model) > 0
    assert {"weight SQNR", "bytes of weights in theory"} <= {r.measurement.name for r in result.readings}
    again = intact.quantize(model, samples, calibration_samples=20, plan=result.plan)
    assert again.model == result.model


def test_int8_has_neither(model, samples):
    result = intact.quantize(model, samples, target="mcu", calibration_samples=20, remedies="none")
    assert result.packed == b""
    assert not {"packed", "stored expanded"} & {f.kind for f in result.findings}
    assert "weight SQNR" not in {r.measurement.name for r in result.readings}


def test_what_is_too_small_to_pack_is_not_sent_to_the_target_that_it_has(samples):
    """27 weights are 6.75 bytes of indices and a table, beside which some 256 bytes of names and tables would stand."""
    small = draft((8, 8, 3), lambda d, x: d(Conv2D(padding="same"), x, normal(1, 3, 3, 3), np.zeros(1)))
    for target in ("mcu", "cpu"):
        result = intact.quantize(
            tflite.write(small), samples, scheme="clusters2", target=target, remedies="none", details=False
        )
        (said,) = [f.message for f in result.findings if f.kind == "stored expanded"]
        assert (result.packed, "--target mcu" in said, "more than packing saves" in said) == (b"", False, True)
