"""Mutants of .tflite files: of their bytes, and of what the bytes say."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from harness import Kind
from mutations import few, other_bytes, seeds_folder
from op_cases import CASES, graph_of

from intact.data import Samples, partition, samples_from
from intact.data.spec import input_specs
from intact.formats.tflite import read, write
from intact.measure import cost
from intact.measure.memory import peak
from intact.measure.metrics import bound
from intact.measure.size import size
from intact.measure.split import split
from intact.network.arena import activation_memory
from intact.network.graph import Graph
from intact.network.verify import verify
from intact.planning.plan import describe
from intact.progress import silent
from intact.run.as_planned import mend_and_plan
from intact.run.folder import RunFolder
from intact.run.prepared import prepare
from intact.run.settings import Settings

TESTS: Final = Path(__file__).parents[2]
#: Files up to this many bytes are seeds as they are; of larger ones pieces of a few ops.
_SMALL: Final = 1 << 16
_PIECE: Final = 6
HOSTILE: Final = (0, 1, 2, 3, -1, -2, 7, 255, 2**15, 2**16, 2**20, 2**30, 2**31 - 1, -(2**31), 2**31, 2**32 - 1)
_INTS: Final = (schema.TensorType.INT32, schema.TensorType.INT64)
_NARROW: Final = {schema.TensorType.INT8: 1, schema.TensorType.FLOAT16: 2, schema.TensorType.INT64: 8}
_BUILTINS: Final = [code for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")]
_TYPES: Final = [code for name, code in vars(schema.TensorType).items() if not name.startswith("_")]


# ---- seeds --------------------------------------------------------------------------------------------------------------


@cache
def seeds() -> Sequence[Path]:
    """Every .tflite of the tests, one of each op kind, and what developers' shared models consist of."""
    found = sorted(TESTS.glob("*/*.tflite"))
    shared = Path(os.environ.get("INTACT_SHARED", TESTS.parents[1] / "shared"))
    found += sorted(shared.glob("models/*.tflite")) + sorted(shared.glob("cases/*/*.tflite"))
    folder = seeds_folder("tflite")
    small = [path for path in found if path.stat().st_size <= _SMALL]
    for n, case in enumerate(CASES):
        small.append(folder / f"case{n}.tflite")
        small[-1].write_bytes(write(graph_of(case)))
    for path in found:
        if path not in small:
            for n, piece in enumerate(_pieces(path.read_bytes())):
                small.append(folder / f"{path.stem}{n}.tflite")
                small[-1].write_bytes(piece)
    return small


def _pieces(data: bytes) -> list[bytes]:
    """Stretches of a few ops each of a large file, as files of their own; those that are small."""
    whole = schema.Model.GetRootAs(data, 0)
    count = whole.Subgraphs(0).OperatorsLength()
    made = (_piece(schema.ModelT.InitFromObj(whole), start) for start in range(0, count, _PIECE))
    return [piece for piece in made if len(piece) <= _SMALL]


def _piece(model: Any, start: int) -> bytes:
    graph = model.subgraphs[0]
    graph.operators = graph.operators[start : start + _PIECE]
    makes = {int(i) for op in graph.operators for i in op.outputs}
    reads = [int(i) for op in graph.operators for i in op.inputs if i >= 0]
    used = sorted(makes | set(reads))
    place = {old: new for new, old in enumerate(used)}
    graph.tensors = [graph.tensors[i] for i in used]
    for op in graph.operators:
        op.inputs, op.outputs = ([place.get(int(i), -1) for i in ids] for ids in (op.inputs, op.outputs))
    model.buffers = [schema.BufferT(), *(model.buffers[t.buffer] for t in graph.tensors)]
    for n, t in enumerate(graph.tensors):
        t.buffer = n + 1
    held = {n for n, t in enumerate(graph.tensors) if _holds(model, t)}
    read_here = {int(i) for op in graph.operators for i in op.inputs}
    graph.inputs = [place[i] for i in dict.fromkeys(reads) if i not in makes and place[i] not in held]
    graph.outputs = [place[i] for i in sorted(makes) if place[i] not in read_here]
    model.signatureDefs, model.metadata = [], []
    return _packed(model)


def _holds(model: Any, t: Any) -> bool:
    data = model.buffers[t.buffer].data
    return data is not None and len(data) > 0


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# ---- mutants ------------------------------------------------------------------------------------------------------------


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    """A mutant of what the file says, two times in three, else of its bytes."""
    data, out = seed.read_bytes(), folder / "mutant.tflite"
    changed = None if draw.random() < 1 / 3 else another_structure(data, draw)
    out.write_bytes(other_bytes(data, draw, words=True) if changed is None else changed)
    return out


def another_structure(data: bytes, draw: random.Random) -> bytes | None:
    """None where what the file says cannot be taken apart, or no longer be put together."""
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        for _ in range(few(draw)):
            draw.choice(_CHANGES)(model, draw)
        return _packed(model)
    except Exception:  # the schema's own code raises whatever it likes for hostile files and values
        return None


def _graph(model: Any, draw: random.Random) -> Any:
    return model.subgraphs[0] if draw.random() < 0.8 else draw.choice(model.subgraphs)


def _any_field(model: Any, draw: random.Random) -> None:
    """Any number, list or text anywhere below the model."""
    places = list(_fields(model))
    owner, name = draw.choice(places)
    setattr(owner, name, _other(getattr(owner, name), draw))


def _fields(owner: Any) -> list[tuple[Any, str]]:
    found = []
    for name, value in vars(owner).items():
        found.append((owner, name))
        for part in value if isinstance(value, list) else [value]:
            if hasattr(part, "Pack") and not isinstance(part, schema.BufferT):
                found += _fields(part)
    return found


def _other(value: Any, draw: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return draw.choice((*HOSTILE, value + 1, value - 1, -value))
        case float():
            return draw.choice((0.0, -1.0, float("nan"), float("inf"), 1e-45, 1e38, value * 2))
        case bytes():
            return draw.choice((b"", b"\xff\xfe", b"a" * 300, b"\x1b[31m", b"x"))
        case None:
            return None
    if isinstance(value, np.ndarray):
        return _other_numbers(value, draw)
    if not isinstance(value, list):
        return None
    made = list(value)
    match draw.randrange(5):
        case 0:
            return []
        case 1 if made:
            made.pop(draw.randrange(len(made)))
        case 2 if made:
            made.insert(draw.randrange(len(made)), draw.choice(made))
        case 3 if len(made) > 1:
            draw.shuffle(made)
        case _ if made:
            at = draw.randrange(len(made))
            made[at] = _other(made[at], draw) if isinstance(made[at], (int, float, bytes)) else draw.choice(made)
    return made


def _other_numbers(values: np.ndarray, draw: random.Random) -> np.ndarray:
    if draw.random() < 0.3 or not values.size:
        rows = draw.choice((values[:-1], np.append(values, values[:1]), values[:0], values[::-1]))
        return np.ascontiguousarray(rows)
    made = values.copy()
    at = draw.randrange(values.size)
    if made.dtype.kind == "f":
        made[at] = _other(float(made[at]), draw)
    else:
        limits = np.iinfo(made.dtype)
        made[at] = max(limits.min, min(limits.max, _other(int(made[at]), draw)))
    return made


def _operand(model: Any, draw: random.Random) -> None:
    """An op reads or makes another tensor, or one more, or none."""
    graph = _graph(model, draw)
    op = draw.choice(graph.operators)
    name = draw.choice(("inputs", "inputs", "outputs"))
    ids = [int(i) for i in getattr(op, name)]
    match draw.randrange(4):
        case 0 if ids:
            ids.pop(draw.randrange(len(ids)))
        case 1:
            ids.insert(draw.randrange(len(ids) + 1), draw.choice((-1, draw.randrange(len(graph.tensors)))))
        case _ if ids:
            ids[draw.randrange(len(ids))] = draw.choice((-1, *[draw.randrange(len(graph.tensors)) for _ in range(4)]))
    setattr(op, name, ids)


def _ops(model: Any, draw: random.Random) -> None:
    """Ops swapped, dropped, doubled or of another kind."""
    graph = _graph(model, draw)
    at, other = (draw.randrange(len(graph.operators)) for _ in range(2))
    match draw.randrange(5):
        case 0:
            graph.operators[at], graph.operators[other] = graph.operators[other], graph.operators[at]
        case 1:
            graph.operators.pop(at)
        case 2:
            graph.operators.insert(other, graph.operators[at])
        case _:
            op, code = graph.operators[at], schema.OperatorCodeT()
            code.builtinCode, code.version = draw.choice(_BUILTINS), 1
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            model.operatorCodes.append(code)
            op.opcodeIndex = len(model.operatorCodes) - 1
            if draw.random() < 0.8:
                op.builtinOptions, op.builtinOptionsType = None, 0


def _option(model: Any, draw: random.Random) -> None:
    """One option of one op."""
    options = [op.builtinOptions for graph in model.subgraphs for op in graph.operators if op.builtinOptions is not None]
    owner = draw.choice(options)
    name = draw.choice(list(vars(owner)))
    setattr(owner, name, _other(getattr(owner, name), draw))


def _shape(model: Any, draw: random.Random) -> None:
    """One axis of one tensor, whose constant grows or shrinks with it where that is little."""
    graph = _graph(model, draw)
    t = draw.choice(graph.tensors)
    shape = [int(n) for n in t.shape] if t.shape is not None else []
    match draw.randrange(4):
        case 0 if shape:
            shape.pop(draw.randrange(len(shape)))
        case 1:
            shape.insert(draw.randrange(len(shape) + 1), draw.choice((0, 1, 2)))
        case _ if shape:
            shape[draw.randrange(len(shape))] = draw.choice((0, 1, 2, 5, 2**10, 2**15, 2**20, 2**30, 2**31 - 1))
    t.shape = shape
    _fit(model, t)


def _fit(model: Any, t: Any) -> None:
    """Give a constant as many bytes as its shape and type ask for, unless they are many."""
    buffer = model.buffers[t.buffer]
    needed = int(np.prod([int(n) for n in t.shape], dtype=np.float64)) * _NARROW.get(t.type, 4)
    if _holds(model, t) and 0 <= needed <= 1 << 20:
        made = schema.BufferT()
        made.data = np.resize(np.asarray(buffer.data, np.uint8), needed)
        model.buffers.append(made)
        t.buffer = len(model.buffers) - 1


def _type(model: Any, draw: random.Random) -> None:
    """A tensor holds numbers of another type."""
    t = draw.choice(_graph(model, draw).tensors)
    t.type = draw.choice((schema.TensorType.FLOAT32, schema.TensorType.INT32, schema.TensorType.BOOL, *_TYPES))
    if draw.random() < 0.5:
        _fit(model, t)


def _whole_numbers(model: Any, draw: random.Random) -> None:
    """One number of a constant that says a shape, an axis or a count."""
    found = [t for graph in model.subgraphs for t in graph.tensors if t.type in _INTS and _holds(model, t)]
    t = draw.choice(found)
    dtype = np.int32 if t.type == schema.TensorType.INT32 else np.int64
    values = np.frombuffer(np.asarray(model.buffers[t.buffer].data, np.uint8).tobytes(), dtype).copy()
    values[draw.randrange(values.size)] = np.int64(draw.choice(HOSTILE)).astype(dtype)
    model.buffers[t.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def _constness(model: Any, draw: random.Random) -> None:
    """A constant becomes an activation, or an activation, or an input, a constant."""
    t = draw.choice(_graph(model, draw).tensors)
    if _holds(model, t):
        t.buffer = 0
        return
    made = schema.BufferT()
    made.data = np.zeros(int(min(np.prod([int(n) for n in t.shape], dtype=np.float64), 1 << 18)) * 4, np.uint8)
    model.buffers.append(made)
    t.buffer = len(model.buffers) - 1


def _numbers(model: Any, draw: random.Random) -> None:
    """A tensor's scales, zero points or axis."""
    t = draw.choice(_graph(model, draw).tensors)
    if t.quantization is None or draw.random() < 0.2:
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale, t.quantization.zeroPoint = np.asarray([0.5], np.float32), np.asarray([0], np.int64)
    name = draw.choice(("scale", "zeroPoint", "quantizedDimension"))
    setattr(t.quantization, name, _other(getattr(t.quantization, name), draw))


def _ends(model: Any, draw: random.Random) -> None:
    """What a graph takes and gives: other tensors, the same twice, none; or names that are the same."""
    graph = _graph(model, draw)
    match draw.randrange(4):
        case 0:
            name = draw.choice(("inputs", "outputs"))
            ids = [int(i) for i in getattr(graph, name)]
            ids.insert(draw.randrange(len(ids) + 1), draw.randrange(len(graph.tensors)))
            setattr(graph, name, ids)
        case 1:
            name = draw.choice(("inputs", "outputs"))
            setattr(graph, name, _other(list(map(int, getattr(graph, name))), draw))
        case 2:
            draw.choice(graph.tensors).name = draw.choice(graph.tensors).name
        case 3:
            graph.outputs = [int(i) for op in graph.operators for i in op.outputs]


def _signature(model: Any, draw: random.Random) -> None:
    """A signature names other tensors, or the same one twice."""
    graph = model.subgraphs[0]
    if not model.signatureDefs:
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = b"serving_default", 0
        made.inputs, made.outputs = ([_named(f"{n}", i) for n, i in enumerate(ids)] for ids in (graph.inputs, graph.outputs))
        model.signatureDefs = [made]
    signature = draw.choice(model.signatureDefs)
    pairs = draw.choice((signature.inputs, signature.outputs))
    match draw.randrange(3):
        case 0 if pairs:
            draw.choice(pairs).tensorIndex = draw.randrange(len(graph.tensors))
        case 1 if pairs:
            draw.choice(pairs).name = draw.choice(pairs).name
        case _ if pairs:
            pairs.append(draw.choice(pairs)) if draw.random() < 0.5 else pairs.pop()


def _named(name: str, i: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), int(i)
    return made


_CHANGES: Final = (
    _any_field,
    _any_field,
    _operand,
    _operand,
    _ops,
    _option,
    _shape,
    _shape,
    _type,
    _whole_numbers,
    _whole_numbers,
    _constness,
    _numbers,
    _ends,
    _signature,
)


# ---- what is done with them ---------------------------------------------------------------------------------------------

#: Of so many mutants one is calibrated and planned in integers.
_CALIBRATED: Final = 4
_COUNT: Final = 4
#: Bytes of activations beyond which a mutant is not calibrated: it takes what it takes.
_ALIVE: Final = 1 << 25
#: What NumPy has no type for.
_HELD: Final = {"int4": "int8"}
#: Numbers in a sample, beyond which a mutant is not calibrated.
_SAMPLED: Final = 1 << 16


def take(path: Path) -> None:
    """What ``intact inspect`` does with the file, and for what it accepts what ``intact quantize`` does before any runtime."""
    graph = read(path, kernels=False)
    for name, i in (*zip(graph.input_names, graph.inputs, strict=True), *zip(graph.output_names, graph.outputs, strict=True)):
        f"{name!r} {list(graph[i].shape)} {describe(graph[i].format)}"
    cost.costs(graph)
    for op in graph.ops:
        graph.called(op)
    assert sum(split(path.read_bytes()).values()) == path.stat().st_size
    for figure in (size(graph, path.stat().st_size), cost.parameters(graph), cost.macs(graph), peak(graph)):
        f"{figure}"
    verify(graph)
    draw = random.Random(path.read_bytes()[:4096])
    settings = Settings(scheme=draw.choice(("float16", "dynamic", "int8", "w4a8")), target=draw.choice(("cpu", "cpu", "mcu")))
    _planned(prepare(graph, settings), settings, draw, path.parent)


def _planned(graph: Graph, settings: Settings, draw: random.Random, folder: Path) -> None:
    is_integer = settings.request().scheme.is_integer
    if is_integer and (draw.randrange(_CALIBRATED) or any(op.kind.unknown for op in graph.ops)):
        return
    samples = _samples(graph)
    if samples is None or (is_integer and activation_memory(graph).live_bytes > _ALIVE):
        return
    network = mend_and_plan(graph, settings, samples, RunFolder(folder), silent).network.integer()
    write(network)


def _samples(graph: Graph) -> Samples | None:
    """A few random samples that fit; None where they would be large."""
    specs = input_specs(graph)
    if sum(prod(spec.sample) for spec in specs) > _SAMPLED:
        return None
    draw = np.random.default_rng(0)
    given = {s.name: draw.normal(size=(_COUNT, *s.sample)).astype(_HELD.get(s.dtype, s.dtype)) for s in specs}
    data = bound(samples_from(given), graph, None)
    return partition(data, None, 0, _COUNT, in_order=bool(graph.states)).calibration


KIND: Final = Kind("tflite", seeds, mutate, take)
