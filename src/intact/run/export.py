"""The network of a run in another format, with a page beside it that says how to run it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, final

from intact import choices, files, reading
from intact.errors import ModelError, OptionError, OutputError, located
from intact.formats import onnx_out, pt2_out, tflite
from intact.installed import __version__
from intact.network.graph import Graph
from intact.numbers.affine import Index
from intact.planning.plan import Plan
from intact.planning.targets import target
from intact.planning.unrounded import unrounded
from intact.run.documents import read
from intact.run.result import Result
from intact.wording import counted

Activations: TypeAlias = Literal["int8", "uint8"]
#: Bytes of a network that is exported.
_LARGEST: Final = 2_000_000_000
#: The line that a page of ours begins with, so that nobody else's is written over.
_OURS: Final = "<!-- written by intact export -->"
_PAGE: Final = "README.md"
_IN_TENSORRT: Final = """TensorRT runs it by way of ONNX Runtime, on a machine with an NVIDIA GPU, TensorRT's libraries and
`onnxruntime-gpu` in place of `onnxruntime`: type `providers=["TensorrtExecutionProvider"]` below.
"""


@final
@dataclass(frozen=True, eq=False)
class _Source:
    """What is exported: the bytes of a run's model.tflite, the network in it, and the plan that it follows."""

    model: bytes
    graph: Graph
    plan: Plan


def export(
    run: Result | str | Path, to: str = "onnx", path: str | Path | None = None, *, activations: Activations | None = None
) -> Path:
    """Write the network of ``run``, a :class:`Result` or the folder of a finished run, in the format ``to``.

    ``path``: by default ``model.onnx`` or ``model.pt2`` in the run's folder. A README.md beside it has the lines that run it.
    ``activations``: "int8", or "uint8", whose zero points are 128 higher and which stands for the same numbers; by default what
    the run's target likes: ONNX Runtime's kernels on x86 take uint8, and PyTorch's nothing else.
    Raises UnsupportedError that names every op which the format has no form of, OptionError for a folder that holds no run.
    """
    if to not in _FORMATS:
        raise OptionError(f"no format is called {to!r}; type --to with one of: {', '.join(_FORMATS)}")
    if activations not in (None, "int8", "uint8"):
        raise OptionError(f"activations are int8 or uint8, and not {activations!r}; type --activations int8 or uint8")
    suffix, write, page = _FORMATS[to]
    out = _out(run, path, suffix)
    source = _source(run)
    files.write_bytes(out, write(source, activations))
    beside = _page_path(out)
    files.write_text(beside, f"{_OURS}\n{page(source, out.name)}")
    return out


def file_of(to: str) -> str:
    """How a run's folder calls the file of a format."""
    return f"model{_FORMATS[to][0]}"


def of_float(graph: Graph, to: str, model: bytes) -> bytes:
    """A float network, that of the .tflite ``model``, in the format ``to``."""
    return _FORMATS[to][1](_Source(model, graph, Plan("float32", "cpu", {}, {}, {})), None)


def page_of(path: Path) -> Path:
    """The page beside what was exported to ``path``."""
    return _page_path(path)


def _out(run: Result | str | Path, path: str | Path | None, suffix: str) -> Path:
    if path is None:
        if isinstance(run, Result):
            raise OptionError(f"a result lies in no folder; give the path to write, such as model{suffix}")
        return Path(run) / f"model{suffix}"
    out = Path(path)
    if out.suffix.lower() != suffix:
        raise OptionError(f"--out {out.name!r} does not end in {suffix}; type --out with a file such as model{suffix}")
    if out.is_dir():
        raise OutputError(f"{out} is a folder; type --out with a file such as {out.name}/model{suffix}")
    return out


def _source(run: Result | str | Path) -> _Source:
    if isinstance(run, Result):
        return _Source(run.model, tflite.read(run.model), run.plan)
    folder = Path(run)
    if read(folder).is_study:
        raise OptionError(f"{folder} is a study; export one of its runs, which lie in {folder / 'runs'}")
    with located(str(folder / "model.tflite")):
        model = reading.content(folder / "model.tflite", ModelError, _LARGEST)
        graph = tflite.read(model)
    with located(str(folder / "plan.json")):
        plan = Plan.from_json(choices.plan(folder / "plan.json"))
    return _Source(model, graph, plan)


def _page_path(out: Path) -> Path:
    """README.md in the same folder, unless there is one that somebody else wrote, or that is of another export."""
    page = out.with_name(_PAGE)
    ours = f"{_OURS}\n# {out.name}\n".encode()
    if page.exists() and not (page.is_file() and page.read_bytes()[: len(ours)] == ours):
        return out.with_name(f"{out.name}.{_PAGE}")
    return page


def _about(source: _Source) -> dict[str, str]:
    plan = source.plan
    return {
        "intact_version": __version__,
        "intact_scheme": plan.scheme,
        "intact_target": plan.target,
        "intact_model_sha256": hashlib.sha256(source.model).hexdigest(),
    }


# ---- ONNX ------------------------------------------------------------------------------------------------------------


def _to_onnx(source: _Source, activations: Activations | None) -> bytes:
    device = target(source.plan.target)
    spelling = onnx_out.Spelling(device.onnx_bias, activations or device.onnx_activations)
    return onnx_out.write(source.graph, spelling, _about(source))


def _onnx_page(source: _Source, name: str) -> str:
    plan, graph = source.plan, source.graph
    orders = onnx_out.orders(graph)
    feeds = ", ".join(f"{given!r}: {_zeros(graph, i, orders[given])}" for given, i in _inputs(graph))
    first = [given for given, order in orders.items() if order == onnx_out.FIRST]
    images = f"\nImages have their channels first: {', '.join(map(repr, first))}.\n" if first else ""
    return f"""# {name}

The network of model.tflite in scheme {plan.scheme}, planned for the target {plan.target}, with the same integers.
{_IN_TENSORRT if plan.target == "tensorrt" else ""}ONNX Runtime runs it (`pip install onnxruntime`):

```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession({name!r}, providers=["CPUExecutionProvider"])
print(session.run(None, {{{feeds}}}))
```

OpenVINO runs it too (`pip install openvino`):

```python
import numpy, openvino
network = openvino.compile_model({name!r}, "CPU")
print(network({{{feeds}}}))
```

Inputs and outputs are real numbers, as the float network has them.
{images}
`intact evaluate {name} --data …` measures it, and `intact benchmark {name} --against model.tflite` times it.
"""


def _inputs(graph: Graph) -> tuple[tuple[str, int], ...]:
    return tuple(zip(graph.input_names, graph.inputs, strict=True))


def _zeros(graph: Graph, i: int, order: tuple[int, ...], library: str = "numpy") -> str:
    t = graph[i]
    shape = tuple(t.shape[axis] or 1 for axis in order)
    dtype = t.format.dtype if isinstance(t.format, Index) else "float32"
    return f"{library}.zeros({shape}, dtype={library}.{dtype})"


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def _in_torch(source: _Source) -> tuple[Graph, int]:
    """The network that is exported, and how many of its sums are not rounded as model.tflite rounds them."""
    return unrounded(source.graph) if target(source.plan.target).unrounded else (source.graph, 0)


def _to_pytorch(source: _Source, activations: Activations | None) -> bytes:
    if activations == "int8":
        raise OptionError("PyTorch's kernels on x86 take uint8 activations, the same numbers; leave --activations out")
    return pt2_out.write(_in_torch(source)[0], _about(source))


def _pytorch_page(source: _Source, name: str) -> str:
    plan, graph = source.plan, source.graph
    orders = pt2_out.orders_of(graph)
    feeds = ", ".join(_zeros(graph, i, orders[i], "torch") for i in graph.inputs)
    first = [given for given, i in _inputs(graph) if orders[i] == pt2_out.FIRST]
    images = f"\nImages have their channels first: {', '.join(map(repr, first))}.\n" if first else ""
    count = _in_torch(source)[1]
    unlike = (
        f"The sums of {counted(count, 'op')} are read as real numbers alone, and not rounded as model.tflite rounds them.\n"
        if count
        else ""
    )
    return f"""# {name}

The network of model.tflite in scheme {plan.scheme}, planned for the target {plan.target}, with the same integers.
{unlike}PyTorch runs it (`pip install torch numpy`), op by op:

```python
import torch, torch.ao.quantization.fx._decomposed
network = torch.export.load({name!r}).module()
print(network({feeds}))
```

or compiled, in integer kernels on x86, with a C++ compiler (`apt-get install g++`) and half a minute for each batch size:

```python
torch._inductor.config.freezing = True
with torch.no_grad():
    print(torch.compile(network)({feeds}))
```

Inputs and outputs are real numbers, as the float network has them.
{images}
`intact evaluate {name} --data …` measures it, and `intact benchmark {name} --against model.tflite` times it;
`--runtime pytorch-eager` runs it op by op.
"""


#: By what --to says: the ending of the file, what writes it, and what writes the page beside it.
_FORMATS: Final[Mapping[str, tuple[str, Callable[[_Source, Activations | None], bytes], Callable[[_Source, str], str]]]] = {
    "onnx": (".onnx", _to_onnx, _onnx_page),
    "pytorch": (".pt2", _to_pytorch, _pytorch_page),
}
