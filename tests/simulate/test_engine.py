"""Batches over cores: the same results in the same order, and nothing left behind."""

import numpy as np
import pytest
import torch
from compare import assert_same
from nets import images, mobile
from small_graphs import graph

from intact.errors import ModelError
from intact.formats.tflite.write import write
from intact.network.graph import Op, Tensor
from intact.network.shapes import infer
from intact.network.verify import verify
from intact.numbers.affine import Index
from intact.ops import call
from intact.ops.elementwise import Div
from intact.ops.resize import ResizeNearestNeighbor
from intact.runtime import litert
from intact.simulate.engine import Program, map_batches, run_batches


def batches(count=7):
    return [{"image": images(4, seed)} for seed in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order_and_do_not_depend_on_the_cores(threads):
    program = Program(mobile())
    found = list(map_batches(lambda batch: program(batch)["scores"].numpy(), batches(), threads=threads))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            expected = [program(batch)["scores"].numpy() for batch in batches()]
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_are_off_inside_and_as_they_were_outside(threads):
    before = torch.get_num_threads()
    for off in map_batches(lambda batch: torch.is_grad_enabled() or not batch, batches(), threads=threads):
        assert not off
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert torch.get_num_threads() == before


def test_an_error_in_a_batch_is_the_callers():
    def work(batch):
        raise ValueError(f"{len(batch['image'])} images")

    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="4 images"):
        list(map_batches(work, batches(), threads=2))
    assert torch.get_num_threads() == before


def test_outputs_are_put_together():
    out = run_batches(Program(mobile()), batches(3))
    assert out["scores"].shape == (12, 4)
    assert_same(np.sum(out["scores"], axis=1), np.ones(12, np.float32), atol=1e-6)


def test_a_batch_may_come_to_more_than_a_sample_may(monkeypatch):
    """What is computed for 32 samples of a large image is larger than what any file may ask for."""
    size = np.array([40, 40], np.int32)
    tensors = (
        Tensor(0, "x", (None, 20, 20, 4)),
        Tensor(1, "size", (2,), Index("int32"), size),
        Tensor(2, "y", (None, 40, 40, 4)),
    )
    program = Program(verify(graph(tensors, [Op(ResizeNearestNeighbor(), (0, 1), (2,))], (0,), (2,))))
    x = np.random.default_rng(0).normal(size=(3, 20, 20, 4)).astype(np.float32)
    expected = program({"x": x})["y"].numpy()
    monkeypatch.setattr(call, "LARGEST", 40 * 40 * 4)
    assert_same(program({"x": x})["y"].numpy(), expected)
    with pytest.raises(ModelError, match=r"a tensor of shape \[2, 40, 40, 4\]"):
        infer(program.graph, 2)


def test_whole_numbers_are_divided_as_the_runtime_does(tmp_path):
    numbers = Index("int32")
    divide = graph([Tensor(i, name, (1, 6), numbers) for i, name in enumerate("aby")], [Op(Div(), (0, 1), (2,))], (0, 1), (2,))
    given = {"a": np.int32([[7, -7, 7, -7, 6, 0]]), "b": np.int32([[2, 2, -2, -2, 3, 5]])}
    (tmp_path / "divide.tflite").write_bytes(write(verify(divide)))
    ran = litert.run(tmp_path / "divide.tflite", given)["y"]
    assert_same(ran, np.int32([[3, -3, -3, 3, 2, 0]]))
    assert_same(Program(divide)(given)["y"].numpy(), ran)
