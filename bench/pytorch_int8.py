"""MobileNetV3-Small in PyTorch on x86: Intact's int8, torchao's own PT2E model, and FX graph mode with FBGEMM.

python bench/pytorch_int8.py [--count 10000] [--no-compile]

All are made of the same float network (.pt2) with the same 500 calibration images. Accuracy with its paired drop below float is
of torch's operators, op by op; times are of what torch's compiler makes (batch 1, one thread, blocks that take turns), those of
FX graph mode of its quantized modules, which nothing compiles. ``lowered``: convolutions and dense layers that run as int8
kernels, by the compiler's own count. Needs torchao (the extra pytorch-int8) and a C++ compiler. Exit code 1 if our drop exceeds
0.3 points, or our time above 1.05 x torchao's.
"""

from __future__ import annotations

import argparse
import operator
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.ao.quantization import QConfig, QConfigMapping, get_default_qconfig
from torch.ao.quantization.observer import HistogramObserver, default_per_channel_weight_observer
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import intact
import runs
from cifar import MOBILENET_V3, Network, calibration_pictures, pictures
from common import model, say_machine
from intact.measure.latency import speedup
from intact.runtime import litert
from intact.runtime.runtimes import Kernels

BATCH, MANY = 50, 32
MOST_DROP, MOST_TIME = 0.3, 1.05
#: What the compiler is told, in a process of its own: it counts what it lowers.
COUNT = """
import os, sys
os.environ.update(TORCHINDUCTOR_FREEZING="1", TORCHINDUCTOR_COMPILE_THREADS="1")
import torch, torch.ao.quantization.fx._decomposed
from torch._dynamo.utils import counters
torch.set_num_threads(1)
network = torch.export.load(sys.argv[1]).module(check_guards=False)
with torch.no_grad():
    torch.compile(network, dynamic=False)(torch.zeros(1, 3, 32, 32).to(memory_format=torch.channels_last))
found = counters["inductor"]
print(found["qconv_weight_prepack_matcher_count"], found["qlinear_weight_prepack_matcher_count"])
"""


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def ours(network: Network, calibration: np.ndarray, target: str, out: Path) -> tuple[Path, Path]:
    """Our int8 .tflite for ``target`` and the .pt2 of it."""
    data = intact.data.arrays(network.images(calibration))
    result = intact.quantize(network.path, data, target=target, scheme="int8", measure=False)
    return result.save(out / f"{target}.tflite"), intact.export(result, "pytorch", out / f"{target}.pt2")


def of_any_batch(program: Path, samples: torch.Tensor, out: Path) -> Path:
    """The float program with its batch open: the shared one is of a single sample."""
    module = torch.export.load(program).module(check_guards=False)
    made = torch.export.export(module, (samples[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
    torch.export.save(made, out / "float.pt2")
    return out / "float.pt2"


def torchao(program: Path, samples: torch.Tensor, out: Path) -> Path:
    """torchao's PT2E model for x86, at its defaults."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # noqa: PLC0415  # says what it misses
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86  # noqa: PLC0415

    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    with torch.no_grad():
        prepared = prepare_pt2e(torch.export.load(program).module(check_guards=False), quantizer)
        for part in samples.split(BATCH):
            prepared(part)
        made = torch.export.export(
            convert_pt2e(prepared), (samples[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
    torch.export.save(made, out / "torchao.pt2")
    return out / "torchao.pt2"


# ---- FX graph mode ---------------------------------------------------------------------------------------------------


def _conv(given: list[Any]) -> nn.Module:
    weight, bias = given[0], given[1] if len(given) > 1 else None
    stride, padding, dilation, groups = [*given[2:], *([[1, 1], [0, 0], [1, 1], 1][len(given[2:]) :])]
    made = nn.Conv2d(
        weight.shape[1] * groups, weight.shape[0], weight.shape[2:], stride, padding, dilation, groups, bias is not None
    )
    made.weight = nn.Parameter(weight)
    if bias is not None:
        made.bias = nn.Parameter(bias)
    return made


def _norm(given: list[Any]) -> nn.Module:
    weight, bias, mean, variance, _, momentum, eps, *_ = given
    made = nn.BatchNorm2d(len(weight), eps, momentum)
    made.load_state_dict(
        {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance, "num_batches_tracked": torch.tensor(0)}
    )
    return made


def _dense(given: list[Any]) -> nn.Module:
    made = nn.Linear(given[0].shape[1], given[0].shape[0])
    made.weight, made.bias = nn.Parameter(given[0]), nn.Parameter(given[1])
    return made


#: What FX graph mode knows of what the exported program calls.
MODULES: Mapping[str, Callable[[list[Any]], nn.Module]] = {
    "aten.conv2d.default": _conv,
    "aten.batch_norm.default": _norm,
    "aten.linear.default": _dense,
    "aten.relu.default": lambda _: nn.ReLU(),
    "aten.hardswish.default": lambda _: nn.Hardswish(),
    "aten.hardsigmoid.default": lambda _: nn.Hardsigmoid(),
    "aten.softmax.int": lambda given: nn.Softmax(given[0]),
    "aten.dropout.default": lambda _: nn.Identity(),
}
FUNCTIONS = {"aten.add.Tensor": operator.add, "aten.mul.Tensor": operator.mul, "aten.mean.dim": torch.mean}


def as_modules(program: Path) -> fx.GraphModule:
    """The float network as modules that FX graph mode can fuse and quantize."""
    source = torch.export.load(program).module(check_guards=False)
    held, graph, made = dict(source.named_parameters()) | dict(source.named_buffers()), fx.Graph(), dict[fx.Node, Any]()
    modules = nn.Module()
    for node in source.graph.nodes:
        if node.op == "placeholder":
            made[node] = graph.placeholder("x")
        elif node.op == "get_attr":
            made[node] = held[node.target].detach()
        elif node.op == "output":
            graph.output(made[node.args[0][0]])
        elif str(node.target) in MODULES:
            given = [made[arg] if isinstance(arg, fx.Node) else arg for arg in node.args]
            modules.add_module(node.name, MODULES[str(node.target)](given[1:]))
            made[node] = graph.call_module(node.name, (given[0],))
        elif str(node.target) in FUNCTIONS:
            given = tuple(made[arg] if isinstance(arg, fx.Node) else arg for arg in node.args)
            made[node] = graph.call_function(FUNCTIONS[str(node.target)], given)
    return fx.GraphModule(modules, graph).eval()


def graph_mode(program: Path, samples: torch.Tensor, *, reduce_range: bool) -> nn.Module:
    """FX graph mode with FBGEMM: its default configuration has ``reduce_range``, activations of 7 bits."""
    torch.backends.quantized.engine = "fbgemm"
    config = (
        get_default_qconfig("fbgemm")
        if reduce_range
        else QConfig(HistogramObserver.with_args(reduce_range=False), default_per_channel_weight_observer)
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own, of its deprecation
        prepared = prepare_fx(as_modules(program), QConfigMapping().set_global(config), (samples[:1],))
        for part in samples.split(BATCH):
            prepared(part)
        return convert_fx(prepared)


def module_classes(network: nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([network(part).numpy().argmax(1) for part in images.split(BATCH)])


def module_ms(network: nn.Module, images: torch.Tensor) -> list[float]:
    """Milliseconds a call, one thread, a mean of ten each."""
    torch.set_num_threads(1)
    found = []
    with torch.no_grad():
        for _ in range(30):
            began = time.perf_counter()
            for _ in range(10):
                network(images)
            found.append((time.perf_counter() - began) * 100)
    return found


# ---- the table -------------------------------------------------------------------------------------------------------


def classes(path: Path, images: np.ndarray, kernels: Kernels) -> np.ndarray:
    port = litert.describe(path, kernels=kernels).inputs[0].name
    return next(iter(litert.run(path, {port: images}, kernels=kernels).values())).argmax(1)


def lowered(path: Path) -> str:
    made = subprocess.run([sys.executable, "-c", COUNT, str(path)], capture_output=True, text=True, check=True)
    convolutions, dense = made.stdout.split()[-2:]
    return f"{convolutions} + {dense}"


def gpu() -> str:
    """What a row for a GPU would need."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU here: its row is missing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="test images")
    parser.add_argument("--no-compile", action="store_true", help="accuracy alone")
    options = parser.parse_args()
    say_machine()
    network, calibration = MOBILENET_V3, calibration_pictures()
    program = model(str(network.torch))
    values, labels = pictures("test")
    picked = np.sort(np.random.default_rng(0).choice(len(values), options.count, replace=False))
    images, labels = network.images(values[picked]), labels[picked]
    samples = channels_first(network.images(calibration))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_bench(network, program, Path(folder), images, labels, samples, calibration, not options.no_compile))


def _bench(  # noqa: PLR0913, PLR0917  # a table's rows and columns
    network: Network,
    program: Path,
    out: Path,
    images: np.ndarray,
    labels: np.ndarray,
    samples: torch.Tensor,
    calibration: np.ndarray,
    compiles: bool,
) -> int:
    tflite, made = ours(network, calibration, "pytorch", out)
    _, cpu = ours(network, calibration, "cpu", out)
    files = {
        "float": of_any_batch(program, samples, out),
        "Intact int8, target pytorch": made,
        "Intact int8, target cpu": cpu,
        "torchao PT2E": torchao(program, samples, out),
    }
    found = {name: classes(path, images, "pytorch-eager") for name, path in files.items()}
    found["Intact int8, target pytorch, in LiteRT"] = classes(tflite, images, "default")
    modes = {
        "FX graph mode, FBGEMM, reduce_range": graph_mode(program, samples, reduce_range=True),
        "FX graph mode, FBGEMM": graph_mode(program, samples, reduce_range=False),
    }
    first = channels_first(images)
    found |= {name: module_classes(each, first) for name, each in modes.items()}
    print(f"| network | top-1 on {len(labels):,} | drop below float | same class as our .tflite in LiteRT |\n|---|---|---|---|")
    for name, said in found.items():
        drop = runs.paired_difference(found["float"] == labels, said == labels)
        same = 100 * (said == found["Intact int8, target pytorch, in LiteRT"]).mean()
        lost = f"{drop.value:.2f} [{drop.low:.2f}, {drop.high:.2f}]"
        print(f"| {name} | {100 * (said == labels).mean():.2f} | {lost} | {same:.2f} % |", flush=True)
    print(f"\nGPU: {gpu()}\n", flush=True)
    drop = runs.paired_difference(found["float"] == labels, found["Intact int8, target pytorch"] == labels).value
    missed = [f"a drop of {drop:.2f} points"] if drop > MOST_DROP else []
    if compiles:
        missed += _timed(files, tflite, modes, first[:MANY])
    print("missed: " + "; ".join(missed) if missed else "all bounds met")
    return int(bool(missed))


def _timed(files: Mapping[str, Path], tflite: Path, modes: Mapping[str, nn.Module], images: torch.Tensor) -> list[str]:
    """The table of times, and the bound that is missed."""
    eager, shipped = "float, op by op", "Intact int8, target pytorch, in LiteRT"
    paths = {**files, eager: files["float"], shipped: tflite}
    kernels: dict[str, Kernels] = dict.fromkeys(files, "pytorch") | {eager: "pytorch-eager", shipped: "default"}
    timed = litert.latency(paths, kernels=kernels, rounds=20, max_seconds=120, timeout=1800)
    times = {name: list(each.samples_ms) for name, each in timed.items()}
    times |= {name: module_ms(each, images[:1]) for name, each in modes.items()}
    print(
        "| network | ms, batch 1 | speed-up over float, op by op | over it compiled | time / torchao's | a second, batch 1 "
        f"| batch {MANY} | memory, MB | lowered |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, took in times.items():
        compared = [_ratio(took, times[other]) for other in (eager, "float")] + [_ratio(times["torchao PT2E"], took)]
        if name in paths:
            rates, peak = _of_file(paths[name], kernels[name])
        else:
            rates, peak = [1000 * n / np.median(module_ms(modes[name], images[:n])) for n in (1, MANY)], ""
        counted = lowered(files[name]) if name in files and name != "float" else ""
        told = [f"{np.median(took):.3f}", *(f"{n:.3f}" for n in compared), *(f"{n:,.0f}" for n in rates), peak, counted]
        print(f"| {name} | {' | '.join(told)} |", flush=True)
    ratio = np.median(times["Intact int8, target pytorch"]) / np.median(times["torchao PT2E"])
    return [f"{ratio:.3f} x the time of torchao's"] if ratio > MOST_TIME else []


def _ratio(new: list[float], old: list[float]) -> float:
    """How many times as fast the new is, by pairs of blocks."""
    pairs = min(len(new), len(old))
    return speedup(tuple(new[:pairs]), tuple(old[:pairs]), "").value


def _of_file(path: Path, kernels: Kernels) -> tuple[list[float], str]:
    """Samples a second at both batches, and memory, with what compiling takes of it."""
    batches = litert.throughput(path, kernels=kernels, batches=(1, MANY), timeout=1800)
    if missing := [each.reason for each in batches.values() if not each.samples]:
        raise SystemExit(f"{path.name}: {missing[0]}")
    peak = litert.memory(path, kernels=kernels, timeout=1800).peak
    return [float(np.median(each.samples)) for each in batches.values()], f"{(peak or 0) / 1e6:.0f}"


if __name__ == "__main__":
    main()
