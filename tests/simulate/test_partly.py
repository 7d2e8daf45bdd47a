"""Networks that differ in a few tensors: what is computed from there on alone is what the whole network gives, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from closed import attention, recurrent
from drafts import draft, normal
from nets import images, mobile

from intact.numbers.affine import Affine
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import FullyConnected
from intact.simulate import partly
from intact.simulate.engine import Program, run_batches
from intact.simulate.partly import Partly

ROUNDED = Affine((0.05,), (3,))


def cut(graph, x, size=16):
    return [{graph.input_names[0]: x[at : at + size]} for at in range(0, len(x), size)]


def larger(t):
    return np.asarray(t.data * 1.25, np.float32)


def shared():
    """One constant that two ops read, the earlier one too."""

    def build(d, x):
        w = d.constant(normal(4, 4))
        y = d(FullyConnected(), x, w, None)
        return d(Add(), d(FullyConnected(), d(Mul(), y, 0.5), w, None), x)

    return draft((4,), build)


CASES = {
    "convolutions": (mobile(), images(24)),
    "a shared constant": (shared(), normal(24, 4)),
    "lanes": (attention(False), normal(24, 6, 8)),
    "an open batch": (attention(True), normal(24, 6, 8)),
    "steps": (recurrent(False), normal(24, 4, 5)),
}


@pytest.mark.parametrize("room", [partly._KEPT, 0, 60_000])
@pytest.mark.parametrize("name", CASES)
def test_any_tensor_may_differ(name, room, monkeypatch):
    monkeypatch.setattr(partly, "_KEPT", room)
    graph, x = CASES[name]
    batches = cut(graph, x)
    beside = Partly(graph, batches)
    for given, wanted in zip(beside.exact.values(), run_batches(Program(graph), batches).values(), strict=True):
        assert np.array_equal(given, wanted)
    real = [t for t in graph.tensors.values() if t.is_float]
    others = [
        replace(t, data=np.asarray(t.data * 1.25, np.float32)) if t.is_constant else replace(t, format=ROUNDED) for t in real
    ]
    for changed in (*((t,) for t in others), others):
        other = replace(graph, tensors={**graph.tensors, **{t.id: t for t in changed}})
        made, whole = beside.outputs(other), run_batches(Program(other), batches)
        assert {n: y.tobytes() for n, y in made.items()} == {n: y.tobytes() for n, y in whole.items()}
    assert any(not np.array_equal(made[n], beside.exact[n]) for n in made)


def test_no_more_is_computed_than_follows(monkeypatch):
    graph = mobile()
    beside = Partly(graph, cut(graph, images(8)))
    asked = []
    compute = Program.compute
    monkeypatch.setattr(Program, "compute", lambda self, op, values: asked.append(op.kind.name) or compute(self, op, values))
    last = graph.ops[-2].inputs[1]
    beside.outputs(replace(graph, tensors={**graph.tensors, last: replace(graph[last], data=graph[last].data * 2)}))
    assert asked == ["FULLY_CONNECTED", "SOFTMAX"]
