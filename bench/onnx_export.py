"""What intact export writes, in ONNX Runtime and OpenVINO, beside LiteRT, ONNX Runtime's quantize_static and NNCF.

python bench/onnx_export.py [--count 10000] [--networks v3 v2 resnet8] [--nncf-python PATH]

One network after the other: the share of equal integers by op kind, ONNX Runtime against LiteRT, every activation shown; then
for every file accuracy on the same images with its paired drop below float, the share of the same classes as the .tflite's, and
latency (batch 1, one thread, blocks that take turns). Exit code 1 if a bound is missed: the same class as LiteRT on 99 % of
the images, the paired interval of our drop between the two within 0.5 points, at most 1.02 x the time of the faster file of
quantize_static, and not significantly worse than it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import intact
import runs
from cifar import MOBILENET_V2, MOBILENET_V3, RESNET8, Network, calibration_pictures, pictures
from common import say_machine
from intact.formats import onnx_out, tflite
from intact.measure.latency import speedup
from intact.numbers.affine import Affine
from intact.runtime import litert
from intact.runtime.runtimes import Kernels
from intact.simulate.exact import exposed

NETWORKS = {"v3": MOBILENET_V3, "v2": MOBILENET_V2, "resnet8": RESNET8}
TARGETS = ("cpu", "openvino", "tensorrt")
SHOWN = 100
PEERS = ("quantize_static U8S8", "quantize_static S8S8")


class Reader(CalibrationDataReader):
    """Samples one by one, channels first."""

    def __init__(self, name: str, samples: np.ndarray) -> None:
        self._given = ({name: np.ascontiguousarray(x[None].transpose(0, 3, 1, 2))} for x in samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._given, None)


def quantized(network: Network, samples: np.ndarray, target: str, out: Path) -> tuple[Path, Path]:
    """Our int8 .tflite for ``target`` and what is exported of it."""
    data = intact.data.arrays(network.images(samples))
    result = intact.quantize(network.path, data, target=target, scheme="int8", measure=False)
    return result.save(out / f"{target}.tflite"), intact.export(result, "onnx", out / f"{target}.onnx")


def static(model: Path, samples: np.ndarray, out: Path) -> dict[str, Path]:
    """Files of ONNX Runtime's own quantization of the same float network, per channel, after its preprocessing."""
    prepared = out / "prepared.onnx"
    quant_pre_process(str(model), str(prepared))
    name = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    made = {}
    for title, dtype in zip(PEERS, (QuantType.QUInt8, QuantType.QInt8), strict=True):
        made[title] = out / f"{dtype.name}.onnx"
        reader = Reader(name, samples)
        quantize_static(
            str(prepared), str(made[title]), reader, per_channel=True, activation_type=dtype, weight_type=QuantType.QInt8
        )
    return made


def nncf(python: str, model: Path, samples: np.ndarray, out: Path) -> Path:
    """NNCF's file of the same float network."""
    np.savez(out / "samples.npz", samples=samples)
    worker = Path(__file__).with_name("nncf_onnx_peer.py")
    subprocess.run([python, str(worker), str(model), str(out / "samples.npz"), str(out / "nncf.onnx")], check=True)
    return out / "nncf.onnx"


def equal_integers(model: Path, images: np.ndarray, out: Path) -> dict[str, tuple[int, int, int]]:
    """By op kind: equal numbers, all numbers, and the most steps apart, with every activation shown in both runtimes."""
    graph = exposed(tflite.read(model.read_bytes()))
    (out / "shown.tflite").write_bytes(tflite.write(graph))
    (out / "shown.onnx").write_bytes(onnx_out.write(graph, onnx_out.Spelling(activations="uint8")))
    (name,) = graph.input_names
    mine = litert.run(out / "shown.onnx", {name: images}, kernels="onnxruntime")
    theirs = litert.run(out / "shown.tflite", {name: images})
    found: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for op in graph.ops:
        for i in op.outputs:
            fmt = graph[i].format
            if isinstance(fmt, Affine) and i in graph.outputs:
                steps = np.abs(np.rint((mine[f"t{i}"].astype(np.float64) - theirs[f"t{i}"]) / fmt.scale[0]))
                found[op.kind.name].append((int((steps == 0).sum()), steps.size, int(steps.max())))
    return {
        kind: (sum(e for e, _, _ in rows), sum(n for _, n, _ in rows), max(m for _, _, m in rows))
        for kind, rows in found.items()
    }


def classes(path: Path, images: np.ndarray, kernels: Kernels) -> np.ndarray:
    """Top-1 class of each image."""
    port = litert.describe(path, kernels=kernels).inputs[0].name
    return next(iter(litert.run(path, {port: images}, kernels=kernels).values())).reshape(len(images), -1).argmax(1)


def bench(network: Network, count: int, python: str, out: Path) -> list[str]:  # a table's columns
    calibration = calibration_pictures()
    values, labels = pictures("test")
    picked = np.sort(np.random.default_rng(0).choice(len(values), count, replace=False))
    images, labels, samples = network.images(values[picked]), labels[picked], network.images(calibration)
    ours = {target: quantized(network, calibration, target, out) for target in TARGETS}
    floats = out / "float.onnx"
    floats.write_bytes(onnx_out.write(intact.load(network.path)))
    print(f"\n### {network.title}\n\n| op kind | equal integers | at most, steps |\n|---|---|---|")
    for kind, (equal, size, most) in sorted(equal_integers(ours["cpu"][0], images[:SHOWN], out).items()):
        print(f"| {kind} | {100 * equal / size:.3f} % of {size:,} | {most} |", flush=True)
    rows: dict[str, tuple[Path, Kernels]] = {
        "float in LiteRT": (network.path, "default"),
        "int8 in LiteRT": (ours["cpu"][0], "default"),
        "float in ONNX Runtime": (floats, "onnxruntime"),
        "cpu in ONNX Runtime": (ours["cpu"][1], "onnxruntime"),
        "openvino in ONNX Runtime": (ours["openvino"][1], "onnxruntime"),
        "tensorrt in ONNX Runtime": (ours["tensorrt"][1], "onnxruntime"),
        **{f"{title} in ONNX Runtime": (path, "onnxruntime") for title, path in static(floats, samples, out).items()},
        "float in OpenVINO": (floats, "openvino"),
        "cpu in OpenVINO": (ours["cpu"][1], "openvino"),
        "openvino in OpenVINO": (ours["openvino"][1], "openvino"),
    }
    if python:
        made = nncf(python, floats, samples, out)
        rows |= {"NNCF in OpenVINO": (made, "openvino"), "NNCF in ONNX Runtime": (made, "onnxruntime")}
    found = {name: classes(path, images, kernels) for name, (path, kernels) in rows.items()}
    times = litert.latency(
        {name: path for name, (path, _) in rows.items()},
        kernels={name: kernels for name, (_, kernels) in rows.items()},
        rounds=20,
        max_seconds=180,
    )
    return _told(network, rows, found, labels, {name: t.samples_ms for name, t in times.items()})


def _told(
    network: Network,
    rows: dict[str, tuple[Path, Kernels]],
    found: dict[str, np.ndarray],
    labels: np.ndarray,
    times: dict[str, tuple[float, ...]],
) -> list[str]:
    """The table, and the bounds that are missed."""
    best = min((f"{peer} in ONNX Runtime" for peer in PEERS), key=lambda name: np.median(times[name]))
    print(
        "\n| file | accuracy | drop below float | same class as int8 in LiteRT | bytes | ms | time / quantize_static's best |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, (path, _) in rows.items():
        drop = runs.paired_difference(found["float in LiteRT"] == labels, found[name] == labels)
        same = 100 * (found[name] == found["int8 in LiteRT"]).mean()
        ratio = speedup(times[best], times[name], "")
        took = f"{np.median(times[name]):.3f} | {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
        lost = f"{drop.value:.2f} [{drop.low:.2f}, {drop.high:.2f}]"
        accuracy = 100 * (found[name] == labels).mean()
        print(f"| {name} | {accuracy:.2f} | {lost} | {same:.2f} % | {path.stat().st_size:,} | {took} |", flush=True)
    mine = "cpu in ONNX Runtime"
    between = runs.paired_difference(found["int8 in LiteRT"] == labels, found[mine] == labels)
    gain = runs.paired_difference(found[mine] == labels, found[best] == labels)
    print(f"\nours less quantize_static's best, points: {gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]", flush=True)
    bounds = {
        "the same class as LiteRT on 99 %": (found[mine] == found["int8 in LiteRT"]).mean() >= 0.99,
        "paired drop below LiteRT's within 0.5": max(abs(between.low), abs(between.high)) <= 0.5,
        "at most 1.02 x the time of quantize_static": np.median(times[mine]) <= 1.02 * np.median(times[best]),
        "not worse than quantize_static": gain.high >= 0,
    }
    return [f"{network.title}: {bound}" for bound, met in bounds.items() if not met]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="test images")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--nncf-python", default="", help="an interpreter with nncf, onnx and onnxruntime")
    options = parser.parse_args()
    say_machine()
    missed: list[str] = []
    for name in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            missed += bench(NETWORKS[name], options.count, options.nncf_python, Path(folder))
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()
