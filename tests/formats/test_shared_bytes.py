"""Small files that say much by saying it again: what they come to is counted before it is read."""

import importlib
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError
from intact.formats import tflite
from intact.formats.tflite import flatbuffer

HOSTILE = Path(__file__).parents[1] / "hostile"


@pytest.fixture(scope="module")
def make():
    sys.path.insert(0, str(HOSTILE))
    module = importlib.import_module("make")
    sys.path.remove(str(HOSTILE))
    return module


def sharing(make, tensors, numbers):
    """A dense layer and so many more tensors of one buffer of so many floats."""

    def change(graph, buffers, _codes):
        buffer = schema.BufferT()
        buffer.data = np.zeros(4 * numbers, np.uint8)
        buffers.append(buffer)
        for n in range(tensors):
            t = schema.TensorT()
            t.name, t.shape, t.type, t.buffer = f"c{n}".encode(), [numbers], make.FLOAT, len(buffers) - 1
            graph.tensors.append(t)

    return make.dense(change)


def test_tensors_of_one_buffer_are_read_once_and_counted_each(make):
    assert len(tflite.read(sharing(make, 20, 1000)).ops) == 1
    with pytest.raises(ModelError, match="its constants come to more than 64 times the file"):
        tflite.read(sharing(make, 300, 1 << 18))


def naming_one_table(count):
    """A model whose list of ``count`` subgraphs names one empty table each time."""
    table, lists = 24, 64
    data = bytearray(lists + 4 + 4 * count + 4)
    struct.pack_into("<I4s", data, 0, table, b"TFL3")
    struct.pack_into("<HHHHH", data, 8, 10, 8, 0, 0, 4)  # the model's vtable: its field 2, the subgraphs, at 4
    struct.pack_into("<iI", data, table, table - 8, lists - (table + 4))
    struct.pack_into("<HH", data, 56, 4, 4)  # the vtable of a table without fields
    struct.pack_into("<I", data, lists, count)
    end = lists + 4 + 4 * count
    for at in range(lists + 4, end, 4):
        struct.pack_into("<I", data, at, end - at)
    struct.pack_into("<i", data, end, end - 56)
    return bytes(data)


def test_tables_that_are_named_more_often_than_they_fit_are_counted():
    flatbuffer.check(naming_one_table(8))
    began = time.process_time()
    with pytest.raises(ModelError, match="it names more tables than fit into it"):
        flatbuffer.check(naming_one_table(1 << 18))
    assert time.process_time() - began < 5
