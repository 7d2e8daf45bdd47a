"""Networks as C beside TensorFlow Lite Micro itself: whether every element of every output is the same.

    python bench/firmware_tflm.py [--samples 2000] [--only ResNet8,VWW]

Needs tflite-micro (the extra mcu) and a C compiler. The samples are those of bench/firmware.py. TensorFlow Lite Micro runs them
in its child process; the C, with all activations at once and with the least by rows, on this machine.
Exit code 1: an element differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from firmware import Network, networks, on_this_machine, vectors
from intact.deploy.c.network import Text, write
from intact.deploy.project import Vectors
from intact.formats import tflite
from intact.runtime import tflm

#: Samples that one child process runs.
_AT_ONCE = 100
#: Bytes of an arena in which nothing is short, beside twice the least.
_AMPLE = 1 << 20


def by_tflm(network: Network, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What TensorFlow Lite Micro makes of ``inputs``, [n, ...]: every output, [n, ...]."""
    graph, parts = network.graph, list[tuple[np.ndarray, ...]]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(tflite.write(graph))
        size = 2 * tflm.arena(path, _AMPLE).bytes + _AMPLE
        for n in range(0, len(inputs[0]), _AT_ONCE):
            parts.append(tflm.run(path, [x[n : n + _AT_ONCE] for x in inputs], len(graph.outputs), size))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    missed = list[str]()
    print("| network | samples | elements each | C at once | C by rows |")
    print("|---|---|---|---|---|", flush=True)
    for network in networks(options.only):
        given, title = vectors(network, options.samples), Text("net", network.name)
        micro = Vectors(given.inputs, by_tflm(network, given.inputs), "")
        ways = {"at once": write(network.graph, title), "by rows": write(network.graph, title, 0)}
        same = {way: on_this_machine(net, micro) for way, net in ways.items()}
        missed += [f"{network.name} {way}: {n} of {len(micro)} the same" for way, n in same.items() if n != len(micro)]
        elements = sum(y[0].size for y in micro.outputs)
        counts = " | ".join(f"{n:,} of {len(micro):,}" for n in same.values())
        print(f"| {network.name} | {len(micro):,} | {elements:,} | {counts} |", flush=True)
    sys.exit("\n".join(["missed:", *missed]) if missed else 0)


if __name__ == "__main__":
    main()
