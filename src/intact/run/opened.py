"""Any model as a file that a runtime takes, with the graph that is in it: what looks at files looks at all kinds of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from intact.data import Data
from intact.errors import OptionError, located
from intact.formats import onnx_out, pt2, pt2_out, recognize, tflite
from intact.formats.load import example_for, may_leave_sizes_open, to_float_tflite
from intact.network.graph import Graph
from intact.run.result import Result
from intact.runtime import litert, runtimes
from intact.runtime.runtimes import Kernels
from intact.runtime.scripts.keras_export import InputShape


@final
@dataclass(frozen=True, eq=False)
class Opened:
    """A model: what messages call it, the file that runs, and the network in it as the runtime has it.

    ``kernels``: None for those of the target. ``is_quantized``: whether the file holds integers for real numbers.
    """

    name: str
    path: Path
    graph: Graph = field(repr=False)
    kernels: Kernels | None = None
    is_quantized: bool = False


def opened(
    sources: Sequence[object],
    folder: Path,
    input_shape: InputShape | None = None,
    data: Data | None = None,
    runtime: str | None = None,
) -> tuple[Opened, ...]:
    """Each of ``sources``: a .tflite, called as it likes, is taken as it is, and anything else is converted into ``folder``.

    An .onnx file is taken as it is too, by ONNX Runtime, and by PyTorch a .pt2 that ``intact export`` wrote; ``runtime`` names
    another (TensorFlow Lite Micro for a .tflite), for all files that it reads, or "litert", for which an .onnx is converted, as
    it is with ``input_shape``.
    ``input_shape`` is for Keras and ONNX models, ``data`` for torch modules, which are traced on it. Scales that
    contradict kernels are let through: the runtime is the judge.
    """
    if input_shape is not None and not any(may_leave_sizes_open(source) for source in sources):
        raise OptionError("--input-shape is for Keras and ONNX models that leave sizes open; leave it out")
    if runtime is not None:
        _check_runtime(sources, runtime)
    elif input_shape is not None:
        runtime = "litert"
    names = _names(sources)
    made = []
    for number, (source, name) in enumerate(zip(sources, names, strict=True)):
        path = folder / f"{number}" / f"{Path(name).name}.tflite"
        source = source.model if isinstance(source, Result) else source  # noqa: PLW2901  # what is in it
        if (kernels := _own_kernels(source, runtime)) is not None:
            made.append(_in_its_runtime(Path(str(source)), name, kernels, path.with_suffix("")))
            continue
        if isinstance(source, (str, Path)) and recognize.is_tflite(Path(source)):
            with located(name):
                path = recognize.check_tflite(Path(source))
        else:
            path.parent.mkdir()
            example = None if data is None else example_for(source, data.examples)
            to_float_tflite(source, path, example, input_shape=input_shape if may_leave_sizes_open(source) else None)
        with located(name):
            graph = tflite.read(path.read_bytes(), kernels=False)
        made.append(Opened(name, path, graph, is_quantized=graph.is_quantized))
    return tuple(made)


def _own_kernels(source: object, runtime: str | None) -> Kernels | None:
    """The kernels of a runtime that reads the file as it is; None for LiteRT, which reads what it is made."""
    path = Path(source) if isinstance(source, (str, Path)) else Path()
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        default = "onnxruntime"
    elif suffix == ".pt2":
        default = "pytorch" if path.is_file() and pt2_out.is_ours(path) else "litert"
    elif suffix == ".tflite":
        default = "litert"
    else:
        return None
    found = runtimes.runtime(runtime or default)
    return None if found.is_own or suffix not in found.reads else next(iter(found.kernels))


def _check_runtime(sources: Sequence[object], name: str) -> None:
    found = runtimes.runtime(name)
    suffixes = [Path(source).suffix.lower() for source in sources if isinstance(source, (str, Path))]
    if not found.is_own and found.reads.isdisjoint(suffixes):
        endings = " or ".join(sorted(found.reads))
        raise OptionError(f"--runtime {name} runs {endings} files, and there is none; give one, or leave --runtime out")


def _in_its_runtime(path: Path, name: str, kernels: Kernels, copy: Path) -> Opened:
    with located(name):
        path = recognize.check(path)
        if path.suffix.lower() == ".pt2":
            copy.parent.mkdir(exist_ok=True)
            pt2.checked_copy(path, copy)
            path = copy
        found = litert.describe(path, kernels=kernels)
        for port in found.inputs:
            if any(size < 0 for size in port.shape[1:]):
                raise OptionError(
                    f"input {port.name!r} leaves sizes open; type --input-shape, with which it is converted for LiteRT"
                )
    return Opened(name, path, onnx_out.shell(found), kernels, bool(found.about.get("quantized")))


def _names(sources: Sequence[object]) -> tuple[str, ...]:
    """Names of files, classes of what is no file; whole paths where two are called alike, numbered where even these are."""
    whole = [str(s) if isinstance(s, (str, Path)) else type(s).__name__ for s in sources]
    short = [Path(name).name for name in whole]
    numbered = [f"{name} ({n})" for n, name in enumerate(short, start=1)]
    return next(tuple(names) for names in (short, whole, numbered) if len(set(names)) == len(names))
