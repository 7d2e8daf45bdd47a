"""A graph, in integers or not, as an ONNX model: QuantizeLinear and DequantizeLinear around every op on integers.

The integers, scales and zero points are those of the graph. Inputs and outputs are real numbers where ours stand for such;
images have their channels first, in the model and at its inputs and outputs, where convolutions take them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

import numpy as np

from intact.errors import IntactError, MissingExtraError, UnsupportedError, located
from intact.formats.onnx_out.build import FIRST, Builder, Constant, Node, Order, Value
from intact.formats.onnx_out.call import Call, Values, plain
from intact.formats.onnx_out.table import IMAGES, PASSING, ROWS
from intact.formats.refusals import check, collected
from intact.network.graph import Graph, Op
from intact.numbers.affine import Affine

#: The entry of the model's metadata that says how inputs and outputs lie: for each, our axis at each of its axes.
ORDERS: Final = "intact_orders"
#: What a batch that is open is called.
_BATCH: Final = "n"
#: Versions of the file format that go with the opsets.
_IR: Final = 10


@final
@dataclass(frozen=True)
class Spelling:
    """How a runtime likes the same integers: ``bias`` as int32 or real numbers; ``activations`` as int8, or as uint8 whose
    zero points are 128 higher."""

    bias: Literal["int32", "float32"] = "int32"
    activations: Literal["int8", "uint8"] = "int8"


def write(graph: Graph, spelling: Spelling = Spelling(), metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an ONNX model that onnx's checker finds sound.

    Raises UnsupportedError that names all ops which ONNX has no form of, MissingExtraError without the package onnx.
    """
    is_complex = any(t.format.dtype.startswith("complex") for t in graph.tensors.values())
    check(graph, ROWS, "ONNX", ["complex numbers"] if is_complex else ())
    writer = _Writer(_in_types_of(graph), spelling)
    return _packed(writer, dict(metadata or {}) | {ORDERS: json.dumps(writer.orders)})


def orders(graph: Graph) -> dict[str, Order]:
    """Which axis of ours lies at each axis of the inputs, by name."""
    return {name: _order(graph, i) for name, i in zip(graph.input_names, graph.inputs, strict=True)}


def _order(graph: Graph, i: int) -> Order:
    rank = len(graph[i].shape)
    return FIRST if rank == 4 and _is_image(graph, i) else plain(rank)


def _in_types_of(graph: Graph) -> Graph:
    """The graph with int2 as int4: ONNX has int2 from opset 25 on alone, which runtimes do not take yet."""
    narrow = [(i, t, t.format) for i, t in graph.tensors.items() if isinstance(t.format, Affine) and t.format.dtype == "int2"]
    wider = {i: replace(t, format=replace(fmt, dtype="int4")) for i, t, fmt in narrow}
    return replace(graph, tensors={**graph.tensors, **wider}) if wider else graph


@final
class _Writer:
    """One graph on its way into an ONNX model."""

    def __init__(self, graph: Graph, spelling: Spelling) -> None:
        self.graph = graph
        self.build = Builder(shift=128 if spelling.activations == "uint8" else 0)
        self.values = Values(graph, self.build, spelling.bias == "float32", _aliases(graph), padded(graph), _rows(graph))
        self.orders: dict[str, Order] = {}
        self.inputs, self.outputs = list[tuple[str, int, Order]](), list[tuple[str, int, Order]]()
        for name in graph.output_names:
            self.build.unique(name)
        for name, i in zip(graph.input_names, graph.inputs, strict=True):
            self._enter(name, i)
        errors: list[IntactError] = []
        skipped = {*self.values.aliases, *self.values.padded}
        for op in graph.ops:
            if op.output not in skipped:
                self._op(op, errors)
        if errors:
            raise collected(errors, "ONNX")
        for name, i in zip(graph.output_names, graph.outputs, strict=True):
            self._leave(name, i)

    def _enter(self, name: str, i: int) -> None:
        t = self.graph[i]
        order = _order(self.graph, i)
        name = self.build.unique(name)
        self.inputs.append((name, i, order))
        self.orders[name] = order
        self.build.called = t.name
        self.values.put(i, Value(self.values.rounded(name, t), order))

    def _op(self, op: Op, errors: list[IntactError]) -> None:
        self.build.called = self.graph[op.output].name
        call = Call(op, self.values)
        try:
            with located(self.graph.label(op)):
                made = ROWS[op.kind.name](call)
        except UnsupportedError as error:
            errors.append(error)
            made = [Value("", plain(len(self.graph[i].shape))) for i in op.outputs]  # to find what else there is
        for i, value in zip(op.outputs, made, strict=False):
            self.build.called = self.graph[i].name
            self.values.put(i, Value(self.values.rounded(value.name, self.graph[i]), value.order))

    def _leave(self, name: str, i: int) -> None:
        order = self.values.order(i)
        order = order if order == FIRST else plain(len(order))
        made = self.values.name(i, order)
        self.build.nodes.append(Node("Identity", (made,), (name,), f"Identity {name}", {}))
        self.outputs.append((name, i, order))
        self.orders[name] = order


def _aliases(graph: Graph) -> dict[int, int]:
    """What DEQUANTIZE makes of constants, by its id: they are written where they are read, as the reader wants them laid."""
    made = {op.output: op.reads[0] for op in graph.ops if op.kind.name == "DEQUANTIZE" and graph[op.reads[0]].is_constant}
    return {i: source for i, source in made.items() if i not in graph.outputs}


def padded(graph: Graph) -> dict[int, tuple[int, tuple[int, ...]]]:
    """What PAD makes of images for convolutions alone, which pad with the same zeros: the id that it pads, and how."""
    readers, found = graph.consumers(), dict[int, tuple[int, tuple[int, ...]]]()
    for op in graph.ops:
        pads = graph[op.inputs[1]].data if op.kind.name == "PAD" and op.inputs[1] is not None else None
        if pads is None or pads.shape != (4, 2) or pads[[0, 3]].any() or op.output in graph.outputs:
            continue
        alone = [r.kind.name in {"CONV_2D", "DEPTHWISE_CONV_2D"} and r.inputs.index(op.output) == 0 for r in readers[op.output]]
        same = graph[op.output].format == graph[op.reads[0]].format
        if same and all(alone) and all(getattr(r.kind, "padding", "") == "valid" for r in readers[op.output]):
            (top, bottom), (left, right) = pads[1:3].tolist()
            found[op.output] = op.reads[0], (top, left, bottom, right)
    return found


def _rows(graph: Graph) -> dict[int, tuple[int, int, int]]:
    """What RESHAPE makes rows of images for dense layers with constant weights alone: (h, w, c), by its id."""
    readers, found, aliases = graph.consumers(), dict[int, tuple[int, int, int]](), _aliases(graph)
    for op in graph.ops:
        if op.kind.name != "RESHAPE" or op.output in graph.outputs or len(graph[op.reads[0]].shape) != 4:
            continue
        n, *sizes = graph[op.reads[0]].shape
        h, w, c = (size or 0 for size in sizes)
        dense = [
            reader.kind.name == "FULLY_CONNECTED"
            and reader.inputs.index(op.output) == 0
            and graph[aliases.get(reader.reads[1], reader.reads[1])].is_constant
            for reader in readers[op.output]
        ]
        if graph[op.output].shape == (n, h * w * c) and dense and all(dense) and _comes_first(graph, op.reads[0]):
            found[op.output] = h, w, c
    return found


def _comes_first(graph: Graph, i: int) -> bool:
    """Whether tensor ``i`` is an image that lies channels first, as an op for images made it."""
    makers, at = graph.producers(), i
    while (op := makers.get(at)) is not None and op.kind.name in PASSING:
        at = next((read for read in op.reads if not graph[read].is_constant), -1)
    return at in makers and makers[at].kind.name in IMAGES


def _is_image(graph: Graph, i: int) -> bool:
    """Whether tensor ``i`` reaches an op that takes images channels first, through ops that leave axes where they are."""
    readers, waiting, seen = graph.consumers(), [i], set[int]()
    while waiting:
        at = waiting.pop()
        for op in readers[at]:
            if op.kind.name in IMAGES or (op.kind.name == "MEAN" and len(graph[at].shape) == 4):
                return True
            if op.kind.name in PASSING:
                waiting += [out for out in op.outputs if out not in seen]
                seen.update(op.outputs)
    return False


# ---- as onnx's own classes -----------------------------------------------------------------------------------------------


def _packed(writer: _Writer, metadata: Mapping[str, str]) -> bytes:
    try:
        import onnx  # noqa: PLC0415
        from onnx import checker, helper  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("Writing an ONNX model", "onnx") from error
    nodes = writer.build.finished()
    used = {name for node in nodes for name in node.inputs}
    network = helper.make_graph(
        [_node(helper, onnx, node) for node in nodes],
        "intact",
        [_port(helper, onnx, writer.graph, port) for port in writer.inputs],
        [_port(helper, onnx, writer.graph, port) for port in writer.outputs],
        [_tensor(onnx, held) for held in writer.build.constants.values() if held.name in used],
    )
    opset = helper.make_opsetid("", writer.build.opset)
    model = helper.make_model(network, producer_name="intact", opset_imports=[opset], ir_version=_IR)
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model, full_check=True)
    made: bytes = model.SerializeToString()
    return made


def _node(helper: Any, onnx: Any, node: Node) -> Any:
    types = {name: _type(onnx, str(value)) if name == "to" else value for name, value in node.attributes.items()}
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **types)


def _type(onnx: Any, dtype: str) -> int:
    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
    return int(onnx.TensorProto.DataType.Value(name))


def _tensor(onnx: Any, held: Constant) -> Any:
    made = onnx.TensorProto(name=held.name, data_type=_type(onnx, held.dtype), dims=held.data.shape)
    if held.dtype == "int4":
        low = np.pad(held.data.reshape(-1).view(np.uint8) & 15, (0, held.data.size % 2))
        made.raw_data = (low[::2] | low[1::2] << 4).tobytes()
    else:
        made.raw_data = held.data.astype(held.data.dtype.newbyteorder("<")).tobytes()
    return made


def _port(helper: Any, onnx: Any, graph: Graph, port: tuple[str, int, Order]) -> Any:
    name, i, order = port
    t = graph[i]
    dtype = "float32" if isinstance(t.format, Affine) else t.format.dtype
    shape = [_BATCH if t.shape[axis] is None else t.shape[axis] for axis in order]
    return helper.make_tensor_value_info(name, _type(onnx, dtype), shape)
