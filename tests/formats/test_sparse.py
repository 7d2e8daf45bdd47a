"""Weights that a file stores sparse are read dense, as DENSIFY makes them; a damaged table is an error of ours."""

import contextlib

import numpy as np
import pytest
import run_files
from ai_edge_litert import schema_py_generated as schema
from compare import assert_same
from raw_files import code, model, op_table, samples, tensor

import intact
from intact.errors import ModelError
from intact.formats import tflite
from intact.rewrite.clean import clean

DTYPES = {"float32": schema.TensorType.FLOAT32, "float16": schema.TensorType.FLOAT16}


def pruned(rows=8, columns=6, block=1, seed=0):
    """A matrix with whole blocks of zeros along its rows, and a row without any other number."""
    rng = np.random.default_rng(seed)
    dense = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    dense *= np.repeat(rng.uniform(size=(rows, columns // block)) < 0.4, block, axis=1)
    dense[2] = 0
    return dense


def compressed(dense, block, index_type):
    """The table and the stored values: rows dense, blocks along columns listed, inside dense."""
    rows, columns = dense.shape
    blocks = dense.reshape(rows, columns // block, block)
    there = blocks.any(2)
    found = [np.flatnonzero(row) for row in there]
    table = schema.SparsityParametersT()
    table.traversalOrder = [0, 1] if block == 1 else [0, 1, 2]
    table.blockMap = [] if block == 1 else [1]
    first, second = level(rows), schema.DimensionMetadataT()
    second.format = schema.DimensionType.SPARSE_CSR
    second.arraySegmentsType = second.arrayIndicesType = getattr(schema.SparseIndexVector, index_type)
    second.arraySegments, second.arrayIndices = (getattr(schema, f"{index_type}T")() for _ in range(2))
    dtype = {"Int32Vector": np.int32, "Uint16Vector": np.uint16, "Uint8Vector": np.uint8}[index_type]
    second.arraySegments.values = np.cumsum([0, *map(len, found)]).astype(dtype)
    second.arrayIndices.values = np.concatenate(found).astype(dtype)
    table.dimMetadata = [first, second] if block == 1 else [first, second, level(block)]
    return table, blocks[there].reshape(-1)


def level(size):
    made = schema.DimensionMetadataT()
    made.format, made.denseSize = schema.DimensionType.DENSE, size
    return made


def file(block=1, dtype="float32", index_type="Int32Vector", seed=0, damage=None):
    """FULLY_CONNECTED of a sparse weight, through DENSIFY and, for half precision, DEQUANTIZE."""
    dense = pruned(block=block, seed=seed)
    table, stored = compressed(dense, block, index_type)
    if damage is not None:
        damage(table)

    def build(buffers):
        weight = tensor("w", dense.shape, data=stored, buffers=buffers)
        buffers[-1].data = np.frombuffer(stored.astype(dtype).tobytes(), np.uint8)
        weight.type, weight.sparsity = DTYPES[dtype], table
        between = [tensor("dense", dense.shape), tensor("real", dense.shape)]
        between[0].type = DTYPES[dtype]
        half = dtype == "float16"
        ops = [op_table(1, (1,), (2,)), *([op_table(2, (2,), (3,))] if half else [])]
        ops.append(op_table(0, (0, 3 if half else 2), (4,), schema.FullyConnectedOptionsT()))
        codes = [code("FULLY_CONNECTED"), code("DENSIFY"), code("DEQUANTIZE", 3)]
        return [tensor("x", (1, 6)), weight, *between, tensor("y", (1, 8))], ops, codes, [0], [4]

    return model(build), dense


VARIANTS = [
    *((1, "float32", index) for index in ("Int32Vector", "Uint16Vector", "Uint8Vector")),
    *((2, "float32", "Uint8Vector"), (3, "float16", "Uint16Vector"), (1, "float16", "Int32Vector")),
]


@pytest.mark.parametrize(("block", "dtype", "index"), VARIANTS)
def test_the_dense_weight_is_what_the_runtime_makes_of_it(tmp_path, block, dtype, index):
    raw, dense = file(block, dtype, index)
    graph = tflite.read(raw)
    (op,) = clean(graph).ops
    weight = clean(graph)[op.inputs[1]].data
    assert_same(weight, dense.astype(dtype).astype(np.float32))
    assert "DENSIFY" not in [op.kind.name for op in graph.ops]
    x = np.random.default_rng(1).normal(0, 1, (1, 6)).astype(np.float32)
    before, after = run_files.outputs([raw, tflite.write(graph)], [[x], [x]], tmp_path, "default")
    assert not isinstance(before, str), before
    assert_same(after[0], before[0], rtol=1e-6)


def test_a_sparse_half_precision_network_is_quantized():
    result = intact.quantize(file(3, "float16")[0], samples(), measure=False)
    assert [op.kind.name for op in result.graph.ops] == ["FULLY_CONNECTED"]
    assert result.graph.is_quantized


def _order(table):
    table.traversalOrder = [0, 0]


def _short(table):
    table.dimMetadata[1].arraySegments.values = table.dimMetadata[1].arraySegments.values[:-1]


def _outside(table):
    table.dimMetadata[1].arrayIndices.values[0] = 99


def _backwards(table):
    table.dimMetadata[1].arraySegments.values[1] = 30


def _larger(table):
    table.dimMetadata[0].denseSize = 1 << 30


def _blocks(table):
    table.traversalOrder, table.blockMap = [0, 1, 2], [1]
    table.dimMetadata = [*table.dimMetadata, level(0)]


def _bare(table):
    table.dimMetadata[1].arrayIndices, table.dimMetadata[1].arrayIndicesType = None, 0


@pytest.mark.parametrize("damage", [_order, _short, _outside, _backwards, _larger, _blocks, _bare])
def test_a_table_that_contradicts_itself_is_corrupt(damage):
    with pytest.raises(ModelError, match="tensor 'w': is corrupt: it is stored sparse with"):
        tflite.read(file(damage=damage)[0])


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_file_gives_a_graph_or_an_error_of_ours(seed):
    raw = bytearray(file(2, "float32", "Uint8Vector")[0])
    draw = np.random.default_rng(seed)
    for _ in range(1 + seed % 3):
        raw[draw.integers(8, len(raw))] = draw.integers(256)
    with contextlib.suppress(intact.IntactError):
        assert tflite.read(bytes(raw)).ops
