"""The shared PyTorch networks by way of ONNX and as they are: ops, float outputs, accuracy, size, time to read.

python bench/onnx_in.py [--images 2000]   exit code 1 where a route loses: more ops, float outputs apart by 1e-5 of their spread
from ONNX Runtime's, accuracy apart by 0.5 points in float or 1.0 in int8, sizes apart by 1 %
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import intact
from cifar import MOBILENET_V2, MOBILENET_V3, Network, calibration_pictures, pictures
from common import model, say_machine
from intact.formats import tflite
from intact.simulate.engine import Program

ROUTES = ("ONNX, dynamo", "ONNX, TorchScript", ".pt2")


def exported(source: Path, out: Path, *, dynamo: bool) -> Path:
    """The program as ONNX."""
    module = torch.export.load(source).module(check_guards=False)
    module.train = module.eval = lambda *_: module  # the older exporter switches modes, which a program has none of
    more = {"dynamo": True, "external_data": False, "verbose": False} if dynamo else {"dynamo": False, "opset_version": 17}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(module, (torch.zeros(1, 3, 32, 32),), str(out), **more)
        logging.disable(logging.NOTSET)
    return out


def gap(path: Path, graph: intact.Graph, x: np.ndarray) -> float:
    """The largest difference from ONNX Runtime, of the outputs' spread."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    wanted = np.concatenate([session.run(None, {port.name: one[None].transpose(0, 3, 1, 2)})[0] for one in x])
    (found,) = Program(intact.clean(graph))({graph.input_names[0]: x}).values()
    return float(np.abs(found.numpy() - wanted).max() / np.ptp(wanted))


def row(network: Network, route: str, folder: Path, count: int) -> tuple[int, float, float, float, int]:
    """Prints a line; ops, gap, both accuracies and the size."""
    source = model(str(network.torch))
    path = source if route == ".pt2" else exported(source, folder / "net.onnx", dynamo=route.endswith("dynamo"))
    start = time.perf_counter()
    graph = intact.load(path)
    seconds = time.perf_counter() - start
    x, y = pictures("test")
    apart = 0.0 if route == ".pt2" else gap(path, graph, network.images(x[:32]))
    report = intact.data.arrays(network.images(x[:count]), y[:count])
    result = intact.quantize(path, intact.data.arrays(network.images(calibration_pictures())), evaluation=report, remedies=())
    values = [
        next(r.measurement.value for r in result.readings if r.of == of and r.measurement.name == "top-1 accuracy")
        for of in ("float", "quantized")
    ]
    ops, size = len(intact.clean(graph).ops), len(tflite.write(result.graph))
    as_float, as_int8 = (f"{value:.2f} %" for value in values)
    print(
        f"| {network.title} | {route} | {ops} | {apart:.1e} | {as_float} | {as_int8} | {size:,} | {seconds:.1f} |", flush=True
    )
    return ops, apart, values[0], values[1], size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    say_machine()
    print("| network | by | ops | from ONNX Runtime | float | int8 | int8 bytes | s to read |")
    print("|---|---|---|---|---|---|---|---|")
    missed = False
    for network in (MOBILENET_V2, MOBILENET_V3):
        with tempfile.TemporaryDirectory() as folder:
            *onnx, torch_own = (row(network, route, Path(folder), count) for route in ROUTES)
        for ops, apart, as_float, as_int8, size in onnx:
            missed |= ops > torch_own[0] or apart > 1e-5 or abs(as_float - torch_own[2]) > 0.5
            missed |= abs(as_int8 - torch_own[3]) > 1.0 or abs(size / torch_own[4] - 1) > 0.01
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
