"""int4 and int2 weights beside real activations: bytes, and what is left of weights and outputs, beside LiteRT Quantizer.

python bench/hybrid_weights.py [--networks ad01]

Intact is as it comes, and plain. LiteRT Quantizer's files are of its dynamic recipes on the same float file: min-max, and where
every layer has a scale a channel OCTAV and GPTQ for FULLY_CONNECTED. Convolutions stay int8 beside int2, where LiteRT computes
nothing but not-a-number with int2 ones. What learns has 2,000 of CIFAR-10's training images, or other vectors; its GPTQ 200 of
them. Each file runs in LiteRT's default kernels, one thread, in turns. SQNR of weights: power of the float weights of all ops
over that of what rounding did to them, and what remedies moved. SQNR of outputs: of 500 of CIFAR-10's test images, or of 500
vectors of normal numbers where there is no data (ad01).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

import intact
from cifar import MOBILENET_V3, RESNET8, Network, pictures
from common import model, say_machine
from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, dequantize_array
from intact.runtime import litert
from peers import signature_inputs, with_signature

SCHEMES = ("dynamic", "dynamic-w4", "dynamic-w4-g32", "dynamic-w4-g128", "dynamic-w2")
#: LiteRT Quantizer's granularity and bits for each.
RECIPES: Mapping[str, tuple[str, int]] = {
    "dynamic": ("CHANNELWISE", 8),
    "dynamic-w4": ("CHANNELWISE", 4),
    "dynamic-w4-g32": ("BLOCKWISE_32", 4),
    "dynamic-w4-g128": ("BLOCKWISE_128", 4),
    "dynamic-w2": ("CHANNELWISE", 2),
}
#: How its weights are chosen, by how it is named; the last two are for dense layers of few bits.
ALGORITHMS = {"": "min_max_uniform_quantize", " OCTAV": "OCTAV", " GPTQ": "GPTQ"}
CALIBRATED = 200
COUNT = 500
LEARNED = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help="only networks whose title holds this text")
    asked = parser.parse_args()
    say_machine()
    print("| network | scheme | by | file, bytes | SQNR of weights, dB | SQNR of outputs, dB | ms |\n" + "|---" * 7 + "|")
    for title, path, samples in (n for n in networks() if asked.networks in n[0]):
        with tempfile.TemporaryDirectory() as folder:
            compare(title, path, *samples(), Path(folder))


def networks() -> list[tuple[str, Path, Callable[[], tuple[np.ndarray, np.ndarray]]]]:
    """Titles, files, and what makes the samples of each: to be measured on, and to learn from."""

    def noise() -> tuple[np.ndarray, np.ndarray]:
        made = np.random.default_rng(0).normal(size=(COUNT + LEARNED, 640)).astype(np.float32)
        return made[:COUNT], made[COUNT:]

    def images(network: Network) -> tuple[np.ndarray, np.ndarray]:
        return network.images(pictures("test")[0][:: 10_000 // COUNT]), network.images(pictures("train")[0][:LEARNED])

    of_images = [(network.title, network.path, partial(images, network)) for network in (MOBILENET_V3, RESNET8)]
    return [("ad01", model("ad01_float.tflite"), noise), *of_images]


def compare(title: str, path: Path, samples: np.ndarray, learned: np.ndarray, folder: Path) -> None:
    again = folder / "float.tflite"  # LiteRT Quantizer leaves ad01 as it is unless the file is written anew
    again.write_bytes(tflite.write(tflite.read(path), named=True))
    files = {("float", ""): again}
    for scheme in SCHEMES:
        made = {"Intact": ours(again, scheme, learned, "auto"), "Intact, plain": ours(again, scheme, learned, "none")}
        for name in ALGORITHMS if scheme in {"dynamic-w4", "dynamic-w2"} else ("",):
            made[f"LiteRT Quantizer{name}"] = theirs(again, scheme, ALGORITHMS[name], learned)
        for by, content in made.items():
            files[scheme, by] = folder / f"{scheme}-{by}.tflite"
            files[scheme, by].write_bytes(content)
    exact, wanted = tflite.read(again), run(again, samples)
    times = litert.latency(
        {" ".join(name): file for name, file in files.items()}, rounds=20, block_seconds=0.05, max_seconds=30
    )
    for (scheme, by), file in files.items():
        lost = "" if not by else f"{of_weights(exact, tflite.read(file)):.1f}"
        off = "" if not by else f"{decibels(wanted, run(file, samples) - wanted):.1f}"
        ms = np.median(times[f"{scheme} {by}"].samples_ms)
        print(f"| {title} | {scheme} | {by} | {file.stat().st_size:,} | {lost} | {off} | {ms:.3f} |", flush=True)


def ours(path: Path, scheme: str, learned: np.ndarray, remedies: str) -> bytes:
    return intact.quantize(path, intact.data.arrays(learned), scheme=scheme, remedies=remedies, measure=False).model


def theirs(path: Path, scheme: str, algorithm: str, learned: np.ndarray) -> bytes:
    """In blocks, but for the layers whose inputs are no whole blocks, at which it would stop: these per channel."""
    from litert_quantizer import qtyping, quantizer  # noqa: PLC0415 - slow to import

    granularity, bits = RECIPES[scheme]
    made, kinds = quantizer.Quantizer(str(with_signature(path))), qtyping.TFLOperationName
    made.add_dynamic_config(regex=".*", operation_name=kinds.DEPTHWISE_CONV_2D, num_bits=8)
    made.add_dynamic_config(regex=".*", operation_name=kinds.CONV_2D, num_bits=8 if bits == 2 else bits)
    made.add_dynamic_config(regex=".*", operation_name=kinds.FULLY_CONNECTED, num_bits=bits, algorithm_key=algorithm)
    if granularity != "CHANNELWISE":
        for name in in_whole_blocks(path, int(granularity.removeprefix("BLOCKWISE_"))):
            made.add_dynamic_config(
                regex=f"^{re.escape(name)}",
                operation_name=kinds.FULLY_CONNECTED,
                num_bits=bits,
                granularity=qtyping.QuantGranularity[granularity],
            )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints sizes and times
        known = made.calibrate(signature_inputs(path, learned[:CALIBRATED])) if made.need_calibration else None
        return bytes(made.quantize(known).quantized_model)


def in_whole_blocks(path: Path, size: int) -> list[str]:
    """The outputs of the dense layers whose inputs are."""
    graph = tflite.read(path)
    found = [one for op in graph.ops if (one := weighted(graph, op)) is not None]
    return [graph[one.op.output].name for one in found if len(one.values.shape) == 2 and one.values.shape[1] % size == 0]


def run(path: Path, samples: np.ndarray) -> np.ndarray:
    (name,) = (port.name for port in litert.describe(path).inputs)
    (made,) = litert.run(path, {name: samples}).values()
    return made.astype(np.float64)


def of_weights(exact: Graph, made: Graph) -> float:
    """Both in the order of their ops."""
    pairs = list(zip(weights_of(exact), weights_of(made), strict=True))
    signal = np.concatenate([w.reshape(-1) for w, _ in pairs])
    return decibels(signal, np.concatenate([(v.reshape(w.shape) - w).reshape(-1) for w, v in pairs]))


def weights_of(graph: Graph) -> list[np.ndarray]:
    makers = graph.producers()
    found = []
    for op in graph.ops:
        if (one := weighted(graph, op)) is None:
            continue
        t = one.weight if one.is_constant else graph[makers[one.weight.id].reads[0]]
        data = np.asarray(t.data)
        found.append((dequantize_array(data, t.format) if isinstance(t.format, Affine) else data).astype(np.float64))
    return found


def decibels(signal: np.ndarray, noise: np.ndarray) -> float:
    return float(10 * np.log10(np.square(signal).sum() / np.square(noise).sum()))


if __name__ == "__main__":
    main()
