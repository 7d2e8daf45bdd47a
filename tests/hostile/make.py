"""Writes the hostile files of this folder: python tests/hostile/make.py

Each is a small .tflite with one thing wrong, made through the schema alone or by changing bytes, as no writer of ours would.
``verdicts.json`` says how each must be refused; a test reads them all, and checks that this script still writes them.
"""

import struct
import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))

from raw_files import code, op_table, tensor  # noqa: E402  # the helpers are no package

FLOAT, INT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8
ZEROS = np.zeros((2, 4), np.float32)


def packed(*graphs, codes=(), buffers=()):
    model = schema.ModelT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, list(buffers), list(graphs), list(codes)
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def subgraph(tensors, ops, inputs, outputs):
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, ops, inputs, outputs
    return graph


def dense(change=lambda _graph, _buffers, _codes: None):
    """x [1, 4] times w [2, 4] is y [1, 2], with one ``change``."""
    buffers = [schema.BufferT()]
    tensors = [tensor("x", (1, 4)), tensor("w", (2, 4), data=ZEROS, buffers=buffers), tensor("y", (1, 2))]
    graph = subgraph(tensors, [op_table(0, [0, 1, -1], [2], schema.FullyConnectedOptionsT())], [0], [2])
    codes = [code("FULLY_CONNECTED")]
    change(graph, buffers, codes)
    return packed(graph, codes=codes, buffers=buffers)


def quantized(scale=(0.5,), zero_point=(0,), axis=0):
    """The weight as int8 with this quantization."""

    def change(graph, buffers, _codes):
        w = graph.tensors[1]
        w.type, buffers[1].data = INT8, np.zeros(8, np.uint8)
        w.quantization = schema.QuantizationParametersT()
        w.quantization.scale = np.array(scale, np.float32)
        w.quantization.zeroPoint = np.array(zero_point, np.int64)
        w.quantization.quantizedDimension = axis

    return dense(change)


def shaped(*shape, index=1):
    def change(graph, _buffers, _codes):
        graph.tensors[index].shape = list(shape)

    return dense(change)


def filled(count):
    def change(_graph, buffers, _codes):
        buffers[1].data = np.zeros(count, np.uint8)

    return dense(change)


def assigned(what, **values):
    """Fields of the op, the graph, or a tensor set to ``values``."""

    def change(graph, _buffers, codes):
        place = {"op": graph.operators[0], "graph": graph, "w": graph.tensors[1], "y": graph.tensors[2], "code": codes[0]}[what]
        for name, value in values.items():
            assert hasattr(place, name)
            setattr(place, name, value)

    return dense(change)


def options(made, union=None):
    def change(graph, _buffers, _codes):
        graph.operators[0].builtinOptions = made
        graph.operators[0].builtinOptionsType = getattr(schema.BuiltinOptions, union or type(made).__name__.removesuffix("T"))

    return dense(change)


def activation(number):
    made = schema.FullyConnectedOptionsT()
    made.fusedActivationFunction = number
    return options(made)


def sparsity(order=(0, 1), segments=(0, 1, 2), indices=(0, 3), size=2):
    """The weight stored sparse by rows."""

    def vector(values):
        made = schema.Int32VectorT()
        made.values = list(values)
        return made

    def change(graph, buffers, _codes):
        rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
        rows.denseSize, columns.format = size, schema.DimensionType.SPARSE_CSR
        columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
        columns.arraySegments, columns.arrayIndices = vector(segments), vector(indices)
        made = schema.SparsityParametersT()
        made.traversalOrder, made.dimMetadata = list(order), [rows, columns]
        graph.tensors[1].sparsity, buffers[1].data = made, np.zeros(8, np.uint8)

    return dense(change)


def two_ops(first, second):
    """Two RELUs that read and write (input, output) of the tensors x, a, b."""
    tensors = [tensor(name, (1, 4)) for name in "xab"]
    ops = [op_table(0, [i], [o]) for i, o in (first, second)]
    return packed(subgraph(tensors, ops, [0], [2]), codes=[code("RELU")], buffers=[schema.BufferT()])


def loop(limit, step, *, body=2, ends=True):
    """WHILE x < limit: x += step. Without ``ends`` the condition is a constant."""
    buffers = [schema.BufferT()]
    made = schema.WhileOptionsT()
    made.condSubgraphIndex, made.bodySubgraphIndex = 1, body
    main = subgraph([tensor("x", (1,), "int32"), tensor("y", (1,), "int32")], [op_table(0, [0], [1], made)], [0], [1])
    condition = [
        tensor("x", (1,), "int32"),
        tensor("limit", (1,), "int32", [limit], buffers=buffers),
        tensor("more", (1,), "bool"),
    ]
    less = [op_table(1, [0, 1] if ends else [1, 1], [2], schema.LessOptionsT())]
    sums = [tensor("x", (1,), "int32"), tensor("step", (1,), "int32", [step], buffers=buffers), tensor("z", (1,), "int32")]
    add = [op_table(2, [0, 1], [2], schema.AddOptionsT())]
    start = subgraph(main.tensors, main.operators, [], [1])
    start.tensors[0] = tensor("x", (1,), "int32", [0], buffers=buffers)
    graphs = (start, subgraph(condition, less, [0], [2]), subgraph(sums, add, [0], [2]))
    return packed(*graphs, codes=[code("WHILE"), code("LESS_EQUAL" if not ends else "LESS"), code("ADD")], buffers=buffers)


def calls_itself():
    """A CALL_ONCE in subgraph 1 that runs subgraph 1."""
    made = schema.CallOnceOptionsT()
    made.initSubgraphIndex = 1
    main = subgraph([tensor("x", (1, 4)), tensor("y", (1, 4))], [op_table(0, [], [], made), op_table(1, [0], [1])], [0], [1])
    again = subgraph([], [op_table(0, [], [], made)], [], [])
    return packed(main, again, codes=[code("CALL_ONCE"), code("RELU")], buffers=[schema.BufferT()])


def variable(op):
    """READ_VARIABLE or ASSIGN_VARIABLE of a tensor that is no variable's handle."""
    tensors = [tensor("x", (1, 4)), tensor("y", (1, 4))]
    reads = op_table(0, [0], [1]) if op == "READ_VARIABLE" else op_table(0, [0, 0], [])
    return packed(subgraph(tensors, [reads], [0], [1]), codes=[code(op)], buffers=[schema.BufferT()])


# ---- bytes ----------------------------------------------------------------------------------------------------------------


def patched(at, value, form="<i"):
    data = bytearray(dense())
    struct.pack_into(form, data, at(data), value)
    return bytes(data)


def root(data):
    return struct.unpack_from("<I", data, 0)[0]


def vtable(data):
    return root(data) - struct.unpack_from("<i", data, root(data))[0]


def field(number):
    """Where a field of the root table lies."""
    return lambda data: root(data) + struct.unpack_from("<H", data, vtable(data) + 4 + 2 * number)[0]


def target(number):
    """Where a vector of the root table begins, with its length."""

    def at(data):
        place = field(number)(data)
        return place + struct.unpack_from("<I", data, place)[0]

    return at


SUBGRAPHS, BUFFERS, CODES = 2, 4, 1

FILES = {
    "empty": b"",
    "text": b"this is no model, and long enough to be asked for one",
    "cut_in_the_header": dense()[:6],
    "cut_in_half": dense()[: len(dense()) // 2],
    "cut_by_a_byte": dense()[:-1],
    "root_past_the_end": patched(lambda _: 0, 2**31 - 1),
    "root_beyond_31_bits": patched(lambda _: 0, 2**32 - 4, "<I"),
    "vtable_is_the_table": patched(root, 0),
    "vtable_past_the_end": patched(root, -(2**30)),
    "vtable_too_short": patched(vtable, 2, "<H"),
    "vtable_too_long": patched(vtable, 2**16 - 2, "<H"),
    "field_past_the_table": patched(lambda data: vtable(data) + 4 + 2 * SUBGRAPHS, 60_000, "<H"),
    "vector_of_four_billion": patched(target(SUBGRAPHS), 2**32 - 1, "<I"),
    "vector_of_more_than_there_is": patched(target(BUFFERS), 1000, "<I"),
    "vector_past_the_end": patched(field(CODES), 2**30, "<I"),
    "table_offset_below_zero": patched(lambda data: target(SUBGRAPHS)(data) + 4, -20, "<i"),
    "no_subgraph": packed(buffers=[schema.BufferT()]),
    "negative_size": shaped(-3, 4),
    "size_that_overflows": shaped(2**31 - 1, 2**31 - 1, 2**31 - 1),
    "activation_of_an_exabyte": shaped(2**20, 2**20, 2**20, index=2),
    "shape_that_the_op_does_not_make": shaped(1, 3, index=2),
    "unknown_input_of_an_op": assigned("op", inputs=[0, 99, -1]),
    "negative_input_of_an_op": assigned("op", inputs=[0, -2, -1]),
    "unknown_output_of_the_graph": assigned("graph", outputs=[99]),
    "no_output_of_an_op": assigned("op", outputs=[]),
    "no_input_of_an_op": assigned("op", inputs=[-1, -1, -1]),
    "unknown_op_code": assigned("op", opcodeIndex=7),
    "unknown_element_type": assigned("w", type=99),
    "ops_in_a_circle": two_ops((2, 1), (1, 2)),
    "op_that_reads_itself": two_ops((0, 1), (2, 2)),
    "ops_in_wrong_order": two_ops((1, 2), (0, 1)),
    "two_ops_make_one_tensor": two_ops((0, 2), (0, 2)),
    "op_makes_an_input": two_ops((0, 0), (0, 2)),
    "op_makes_its_weight": assigned("op", outputs=[1]),
    "scale_of_zero": quantized([0.0]),
    "scale_below_zero": quantized([-0.5]),
    "scale_that_is_no_number": quantized([float("nan")]),
    "scale_without_end": quantized([float("inf")]),
    "three_scales_for_two_channels": quantized([0.5] * 3, [0] * 3),
    "two_zero_points_for_three_scales": quantized([0.5] * 3, [0] * 2),
    "axis_that_is_not_there": quantized([0.5] * 2, [0] * 2, axis=5),
    "axis_below_zero": quantized([0.5] * 2, [0] * 2, axis=-1),
    "zero_point_out_of_the_type": quantized([0.5], [1000]),
    "unknown_buffer": assigned("w", buffer=42),
    "buffer_too_short": filled(31),
    "buffer_too_long": filled(36),
    "buffer_outside_the_file": dense(lambda _g, buffers, _c: vars(buffers[1]).update(data=None, offset=10**6, size=32)),
    "options_of_another_op": options(schema.Conv2DOptionsT()),
    "unknown_activation": activation(77),
    "sparse_with_another_order": sparsity(order=(0, 7)),
    "sparse_segments_backwards": sparsity(segments=(0, 9, 2)),
    "sparse_index_past_the_end": sparsity(indices=(0, 4000)),
    "sparse_of_another_size": sparsity(size=2**30),
    "loop_of_two_billion": loop(2**31 - 1, 1),
    "loop_that_never_ends": loop(1, 0),
    "loop_with_a_constant_condition": loop(1, 1, ends=False),
    "loop_over_an_unknown_subgraph": loop(3, 1, body=9),
    "loop_over_itself": loop(3, 1, body=0),
    "subgraph_that_calls_itself": calls_itself(),
    "variable_that_is_none": variable("READ_VARIABLE"),
    "assigned_variable_that_is_none": variable("ASSIGN_VARIABLE"),
}


if __name__ == "__main__":
    for name, data in FILES.items():
        (HERE / f"{name}.tflite").write_bytes(data)
