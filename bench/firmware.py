"""Networks as C on microcontrollers: memory, code, instructions, and whether every bit is right.

    python bench/firmware.py [--samples 2000] [--emulated 50] [--only ResNet8,VWW] [--scheme int16x8]
    python bench/firmware.py --float [--only ResNet8,VWW]

Needs gcc-arm-none-eabi and qemu-system-arm. Each network is compiled for this machine too, run on --samples (CIFAR-10 where it
fits, else numbers over the input's range), and compared element by element with the simulator's arithmetic of TensorFlow Lite
Micro; under QEMU on --emulated, on Cortex-M3, M4, M7 and M55. Instructions are those a multiply-accumulate.
Exit code 1: an element differs, or an aim is missed: VWW in 36,864 bytes by rows; at most 2, 4 and 4 instructions on M4 for
ResNet8, VWW and KWS, and 5, 8 and 8 in portable C; 82,000 bytes of flash for ResNet8, whose weights alone are 77,360. These are
of int8; with --scheme int16x8 the float networks are quantized, and only exactness is asked for. MobileNetV2-96 is the shared
network on 96 x 96 pixels.
With --float another table instead: int8 beside the same network in float32, one sample on Cortex-M3 and M4. Exit code 1: int8
differs, or float32 is off by more than 1e-4 of the largest output.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import intact
from common import cifar10, model
from intact.data import input_specs
from intact.deploy.c.network import CNetwork, Text, write
from intact.deploy.cores import core
from intact.deploy.emulate import Sizes, emulate, sizes
from intact.deploy.project import Budget, Vectors, files_of
from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.shapes import infer, macs
from intact.numbers.affine import limits
from intact.progress import silent
from intact.run import fit_float
from intact.run.vectors import vectors as calls
from intact.simulate.exact import IntegerProgram

#: Instructions a multiply-accumulate on M4 and in portable C, at most.
AIMS = {"ResNet8": (2.0, 5.0), "VWW": (4.0, 8.0), "KWS": (4.0, 8.0)}
STRIPED = {"VWW": 36_864}
FLASH = {"ResNet8": 82_000}
CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55")
GIVEN = {"ResNet8": "resnet8_cifar10_int8", "VWW": "vww_96_int8", "KWS": "kws_int8", "AD": "ad01_int8"}
LARGE = "MobileNetV2-96"
#: What networks are made of that are no int8 files, and the pixels of those that take CIFAR-10.
FLOAT = {"ResNet8": "resnet8_cifar10.tflite", "VWW": "vww_96_float.tflite", "AD": "ad01_float.tflite"}
MADE = {"MobileNetV2": "mobilenet_v2_cifar10.tflite", "MobileNetV3-Small": "mobilenet_v3_small_cifar10.tflite"}
PIXELS = {"ResNet8": (0.0, 255.0), **dict.fromkeys(MADE, (-1.0, 1.0))}


@dataclass(frozen=True)
class Network:
    """An integer network and what its pixels are, where it takes CIFAR-10."""

    name: str
    graph: Graph
    pixels: tuple[float, float] | None


def networks(only: str = "", scheme: str = "int8") -> Iterator[Network]:
    """Those of the names in ``only``, comma by comma; all where it is empty. In int8 some are files as they are given."""
    wanted = only.split(",") if only else [*GIVEN, *FLOAT, *MADE, LARGE]
    given, made = (GIVEN, MADE) if scheme == "int8" else ({}, FLOAT | MADE)
    for name, stem in ((name, stem) for name, stem in given.items() if name in wanted):
        yield Network(name, tflite.read(model(f"{stem}.tflite").read_bytes()), PIXELS.get(name))
    for name, file in ((name, file) for name, file in made.items() if name in wanted):
        yield Network(name, quantized(model(file), PIXELS.get(name), scheme), PIXELS.get(name))
    if LARGE in wanted:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "large.tflite"
            path.write_bytes(at_96(model(MADE["MobileNetV2"])))
            yield Network(LARGE, quantized(path, (-1.0, 1.0), scheme), (-1.0, 1.0))


def quantized(path: Path, pixels: tuple[float, float] | None, scheme: str) -> Graph:
    """A float network as ``mcu`` runs it, on CIFAR-10 or on noise."""
    graph = tflite.read(path.read_bytes())
    if pixels is None:
        noise = np.random.default_rng(0).normal(size=(100, *graph[graph.inputs[0]].shape[1:]))
        data = intact.data.arrays(noise.astype(np.float32))
    else:
        data = intact.data.folder(cifar10("train"), pixels=pixels)
    options = {"target": "mcu", "scheme": scheme, "remedies": (), "calibration_samples": 100, "measure": False}
    return tflite.read(intact.quantize(path, data, **options).model)


def at_96(path: Path) -> bytes:
    """MobileNetV2 for CIFAR-10 on 96 x 96 pixels, with the strides of the paper: two more windows skip pixels."""
    graph = tflite.read(path.read_bytes())
    windows = [n for n, op in enumerate(graph.ops) if op.kind.name in {"CONV_2D", "DEPTHWISE_CONV_2D"}]
    skips = {windows[0], windows[4]}
    ops = tuple(replace(op, kind=replace(op.kind, stride=(2, 2))) if n in skips else op for n, op in enumerate(graph.ops))
    (first,) = graph.inputs
    large = {**graph.tensors, first: replace(graph[first], shape=(None, 96, 96, 3))}
    changed = replace(graph, ops=ops, tensors=large)
    shapes = infer(changed, recorded=False)
    made = {i: replace(large[i], shape=(None, *shapes[i][1:])) for op in ops for i in op.outputs}
    return tflite.write(replace(changed, tensors={**large, **made}))


def vectors(network: Network, count: int) -> Vectors:
    program, graph = IntegerProgram(network.graph, "tflm"), network.graph
    if network.pixels is None:
        draw = np.random.default_rng(0)
        ports = [(limits(graph[i].format.dtype), graph[i]) for i in graph.inputs]
        given = [draw.integers(low, high + 1, (count, *t.shape[1:]), t.format.dtype) for (low, high), t in ports]
    else:
        samples = intact.data.folder(cifar10("test"), pixels=network.pixels).bind(input_specs(graph), None).spread(count)
        given = [program.stored(graph.inputs[0], samples.batch(np.arange(len(samples)))[0][graph.input_names[0]]).numpy()]
    made = [program(dict(zip(graph.input_names, [x[n : n + 100] for x in given], strict=True))) for n in range(0, count, 100)]
    outputs = tuple(np.concatenate([np.asarray(part[name]) for part in made]) for name in graph.output_names)
    return Vectors(tuple(given), outputs, "")


def on_this_machine(net: CNetwork, given: Vectors) -> int:
    """Samples whose every element is right, of the C compiled here."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files_of(net, core("m4"), Budget(1 << 22, 1 << 22), given.first(1)).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
        body = f'#include "{net.prefix}.h"\n#include <stdio.h>\nint main(void) {{ {net.prefix}_init(); for (;;) {{\n'
        for port in net.ports:
            call = "fread" if port.side == "input" else "fwrite"
            stream = "stdin" if port.side == "input" else "stdout"
            if port.side == "output" and port.n == 0:
                body += f"{net.prefix}_run();\n"
            moved = f"{call}({net.prefix}_{port.side}_{port.n}(), sizeof({port.type}), {port.count}, {stream}) != {port.count}"
            body += f"if ({moved}) return 0;\n"
        (folder / "main.c").write_text(body + "} }\n")
        subprocess.run(["cc", "-O2", "-std=c99", f"{net.prefix}.c", "main.c", "-o", "run"], cwd=folder, check=True)
        blob = b"".join(x[n].tobytes() for n in range(len(given)) for x in given.inputs)
        made = subprocess.run([str(folder / "run")], input=blob, capture_output=True, check=True).stdout
    exact = b"".join(y[n].tobytes() for n in range(len(given)) for y in given.outputs)
    shape = (len(given), -1)
    return int((np.frombuffer(made, np.uint8).reshape(shape) == np.frombuffer(exact, np.uint8).reshape(shape)).all(1).sum())


def against_float(network: Network) -> Iterator[str]:
    """Prints a row for each core of what int8 and float32 take for one sample; says what is not right."""
    data = None if network.pixels is None else intact.data.folder(cifar10("test"), pixels=network.pixels)
    title, given = Text("net", network.name), calls(network.graph, data, 1)
    found = fit_float.comparison(network.graph, title, write(network.graph, title), given, silent)
    yield from (f"{network.name}: {sentence}" for sentence in found["lacking"])
    for row in found["cores"]:
        both, cells = (row["integer"], row["float"]), list[str]()
        wrong = (one for one in both if not one["right"] and "does not fit" not in one["lacking"])
        yield from (f"{network.name} {row['core']}: {one['lacking'] or 'not right'}" for one in wrong)
        for key, spelled in (("code", ",d"), ("constants", ",d"), ("ram", ",d"), ("instructions_per_mac", ".2f")):
            cells.append(", ".join("-" if one[key] is None else format(one[key], spelled) for one in both))
        ratios = ", ".join("-" if ratio is None else f"{ratio:.2f}" for ratio in row["ratios"].values())
        off = "-" if row["float"]["error"] is None else f"{row['float']['error']:.0e}"
        core = row["core"].removeprefix("cortex-").upper()
        print(f"| {network.name} | {core} | {' | '.join(cells)} | {ratios} | {off} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--emulated", type=int, default=50)
    parser.add_argument("--only", default="")
    parser.add_argument("--scheme", default="int8", choices=("int8", "int16x8"))
    parser.add_argument("--float", action="store_true")
    options = parser.parse_args()
    missed = list[str]()
    if options.float:
        print("| network | core | code: int8, float | constants | RAM | instructions | float / int8 of the four | off by |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        missed += [said for network in networks(options.only) for said in against_float(network)]
        sys.exit("\n".join(["missed:", *missed]) if missed else 0)
    aims, flash, by_rows = (AIMS, FLASH, STRIPED) if options.scheme == "int8" else ({}, {}, {})
    print("| network | arena, bytes | least, by rows | code, constants on M4 | instructions: M4, portable, by rows | exact |")
    print("|---|---|---|---|---|---|", flush=True)
    for network in networks(options.only, options.scheme):
        given, title = vectors(network, options.samples), Text("net", network.name)
        at_once, least = write(network.graph, title), write(network.graph, title, 0)
        made: Sizes = sizes(at_once, core("m4"))
        exact = [on_this_machine(net, given) for net in (at_once, least)]
        missed += [f"{network.name}: {n} of {options.samples} here" for n in exact if n != options.samples]
        prices, few = dict[str, float](), given.first(options.emulated)
        ways = [(name, at_once, name, False) for name in CORES]
        for way, net, on, portable in (*ways, ("portable", at_once, "m4", True), ("by rows", least, "m4", False)):
            try:
                ran = emulate(net, core(on), Budget(core(on).ram, core(on).flash), few, portable=portable)
            except UnsupportedError as error:
                missed += [] if "does not fit" in str(error) else [f"{network.name}: {error}"]
                continue
            prices[way] = ran.instructions / macs(network.graph)
            missed += [] if ran.same == ran.count else [f"{network.name} {way}: {ran.same} of {ran.count} exact"]
        for way, most in zip(("cortex-m4", "portable"), aims.get(network.name, ()), strict=False):
            missed += [] if prices[way] <= most else [f"{network.name} {way}: {prices[way]:.2f} instructions, aim {most}"]
        size = made.code + made.constants
        missed += [] if size <= flash.get(network.name, size) else [f"{network.name}: {size:,} bytes of flash"]
        missed += [] if least.arena <= by_rows.get(network.name, least.arena) else [f"{network.name}: {least.arena:,} by rows"]
        shown = ", ".join(f"{prices[way]:.2f}" if way in prices else "-" for way in ("cortex-m4", "portable", "by rows"))
        on = ", ".join(f"{name.removeprefix('cortex-').upper()} {prices[name]:.2f}" for name in CORES if name in prices)
        print(
            f"| {network.name} | {at_once.arena:,} | {least.arena:,} | {made.code:,}, {made.constants:,} | {shown} | "
            f"{min(exact)} of {options.samples} here; {options.emulated} each on {on} |",
            flush=True,
        )
    sys.exit("\n".join(["missed:", *missed]) if missed else 0)


if __name__ == "__main__":
    main()
