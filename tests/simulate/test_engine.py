"""Batches over cores: the same results in the same order, and nothing left behind."""

import numpy as np
import pytest
import torch
from compare import assert_same
from nets import images, mobile

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
