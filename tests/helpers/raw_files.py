"""Files written table by table through the schema, as no writer of ours would."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact import data

BUILTIN, TYPE = schema.BuiltinOperator, schema.TensorType
DTYPES = {"float32": TYPE.FLOAT32, "int32": TYPE.INT32, "int64": TYPE.INT64, "bool": TYPE.BOOL, "complex64": TYPE.COMPLEX64}


CODES = {n: c for n, c in vars(BUILTIN).items() if n[0] != "_"}


F, N = "float32", "int32"
UNIONS = {n: c for n, c in vars(schema.BuiltinOptions).items() if n[0] != "_"}


def tensor(name, shape, dtype="float32", data=None, *, buffers=None):
    t = schema.TensorT()
    t.name, t.shape, t.type, t.buffer = name.encode(), list(shape), DTYPES[dtype], 0
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.asarray(data, dtype).tobytes(), np.uint8)
        buffers.append(buffer)
        t.buffer = len(buffers) - 1
    return t


def op_table(index, inputs, outputs, options=None, custom=None):
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = index, list(inputs), list(outputs)
    if options is not None:
        op.builtinOptions, op.builtinOptionsType = options, UNIONS[type(options).__name__.removesuffix("T")]
    if custom is not None:
        op.customOptions = np.frombuffer(custom, np.uint8)
    return op


def code(name, version=1, custom=None):
    made = schema.OperatorCodeT()
    made.builtinCode = CODES[name]
    made.deprecatedBuiltinCode, made.version, made.customCode = min(CODES[name], 127), version, custom
    return made


def model(build):
    """A .tflite written by the schema's own object API: ``build(buffers)`` gives tensors, ops, codes, inputs and outputs."""
    m, graph = schema.ModelT(), schema.SubGraphT()
    m.version, m.buffers = 3, [schema.BufferT()]
    graph.tensors, graph.operators, m.operatorCodes, graph.inputs, graph.outputs = build(m.buffers)
    m.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(m.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def one(name, inputs, outputs, *, options=None, custom=None, custom_code=None, version=1):
    """The op by itself: inputs and outputs are (shape, dtype) or (shape, dtype, data)."""

    def build(buffers):
        reads = [tensor(f"x{i}", *given, buffers=buffers) for i, given in enumerate(inputs)]
        makes = [tensor(f"y{i}", *given) for i, given in enumerate(outputs)]
        flows = [i for i, given in enumerate(inputs) if len(given) == 2]
        ids = range(len(inputs), len(inputs) + len(outputs))
        ops = [op_table(0, range(len(inputs)), ids, options, custom)]
        return reads + makes, ops, [code(name, version, custom_code)], flows, list(ids)

    return model(build)


def custom(name=b"NobodysOp", options=b"\x00\x01\xffopaque"):
    return one("CUSTOM", [((1, 6), F)], [((1, 6), F)], custom=options, custom_code=name, version=3)


def samples(n=40):
    return data.arrays(np.random.default_rng(4).normal(0, 1, (n, 6)).astype(np.float32))
