"""PyTorch modules and programs come through litert-torch with their numbers, names and NHWC images."""

import importlib.util
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from compare import assert_same
from small_graphs import fully_connected
from torch import nn

from intact.errors import MissingExtraError, UnsupportedError
from intact.formats import conversion, tflite
from intact.formats.load import load
from intact.rewrite.clean import clean
from intact.runtime.scripts.conversion_check import disagreement
from intact.simulate.engine import Program

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="needs the extra [torch]"),
    pytest.mark.xdist_group("torch"),
]


class Two(nn.Module):
    """Two inputs, one with an image; two outputs; a transposed convolution with output padding; dropout and batch norm."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.up, self.dense = nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), nn.Linear(5, 4)

    def forward(self, image, meta):
        x = self.up(self.drop(self.norm(image)))
        return {"map": x, "score": x.mean((2, 3)) + self.dense(meta)}


def nhwc(x):
    return x.permute(0, 2, 3, 1).contiguous() if x.dim() == 4 else x


def assert_computes_the_same(graph, module, inputs):
    with torch.no_grad():
        expected = module(**inputs)
    outputs = Program(graph)({name: nhwc(x).numpy() for name, x in inputs.items()})
    assert outputs.keys() == expected.keys()
    for name, y in expected.items():
        assert_same(outputs[name].numpy(), nhwc(y).numpy(), rtol=1e-5)


def test_a_module_in_training_mode_with_a_batch_of_arrays():
    torch.manual_seed(0)
    module = Two()
    module.norm.running_var.uniform_(0.5, 2.0)
    sample = (np.zeros((4, 3, 6, 6), np.float64), np.zeros((4, 5), np.float32))
    graph = clean(load(module, sample))
    assert module.training
    assert [graph[i].shape[1:] for i in graph.inputs] == [(6, 6, 3), (5,)]
    inputs = {"image": torch.randn(2, 3, 6, 6), "meta": torch.randn(2, 5)}
    assert_computes_the_same(graph, module.eval(), inputs)


def test_a_program_exported_in_training_mode_with_a_dynamic_batch(tmp_path):
    torch.manual_seed(0)
    module = Two()
    batch = {0: torch.export.Dim("batch", min=2)}
    kwargs = {"image": torch.randn(3, 3, 6, 6), "meta": torch.randn(3, 5)}
    program = torch.export.export(module, (), kwargs, dynamic_shapes={"image": batch, "meta": batch})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "two.pt2")
    assert_computes_the_same(clean(load(tmp_path / "two.pt2")), module.eval(), kwargs)


def test_a_program_with_its_batch_baked_in():
    class Flat(nn.Module):
        def forward(self, x):
            return x.reshape(4, -1)

    program = torch.export.export(Flat(), (torch.zeros(4, 3, 2, 2),))
    with pytest.raises(UnsupportedError, match="exported with a fixed batch of 4; export it with a sample of batch 1"):
        load(program)


def test_an_operator_that_the_converter_does_not_know():
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x).real

    with pytest.raises(UnsupportedError, match=r"^Spectrum: litert-torch cannot convert it \("):
        load(Spectrum(), torch.zeros(1, 8))


def test_a_conversion_that_computes_something_else():
    graph = fully_connected(signature=True)
    x = {"features": np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)}
    right = {name: y.numpy() for name, y in Program(graph)(x).items()}
    assert disagreement(tflite.write(graph), x, right) == ""
    wrong = disagreement(tflite.write(graph), x, {"scores": right["scores"] * 1.01})
    assert re.match(r"its output 'scores' differs by .* after conversion: the converter gets a layer wrong", wrong)


class Viewed(nn.Module):
    """Flattened with ``view``, as most published classifiers are: a photo, a gray image, and one that goes in unseen."""

    def __init__(self):
        super().__init__()
        self.photo, self.gray = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(1, 4, 3, 2, 1)
        self.dense, self.plain = nn.Linear(4 * 3 * 2, 5), nn.Linear(6 * 4, 5)

    def forward(self, photo, gray):
        x, y = self.photo(photo).relu(), self.gray(gray).relu()
        return {
            "size": self.dense(x.view(x.size(0), -1)),
            "number": self.dense(y.view(-1, 4 * 3 * 2)),
            "plain": self.plain(gray.view(gray.size(0), -1)),
        }


def test_view_flattens_in_the_order_of_the_module_and_adds_no_op():
    torch.manual_seed(0)
    module = Viewed()
    graph = clean(load(module, (torch.zeros(1, 3, 6, 4), torch.zeros(1, 1, 6, 4))))
    assert_computes_the_same(graph, module.eval(), {"photo": torch.randn(2, 3, 6, 4), "gray": torch.randn(2, 1, 6, 4)})
    assert {op.kind.name for op in graph.ops} <= {"PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "RESHAPE", "FULLY_CONNECTED"}


@dataclass
class Found:
    scores: torch.Tensor
    boxes: tuple[torch.Tensor, torch.Tensor]
    loss: torch.Tensor | None = None


def test_a_dataclass_gives_its_tensors_by_name():
    class Detector(nn.Module):
        def forward(self, x):
            return Found(x + 1, (x * 2, x * 3))

    module = Detector()
    graph = load(module, torch.zeros(1, 4))
    assert graph.output_names == ("scores", "boxes_0", "boxes_1")
    assert isinstance(module(torch.zeros(1, 4)), Found)
    x = torch.randn(3, 4)
    y = Program(graph)({"x": x.numpy()})
    for name, expected in (("scores", x + 1), ("boxes_0", x * 2), ("boxes_1", x * 3)):
        assert_same(y[name].numpy(), expected.numpy(), rtol=1e-6)


def test_a_missing_extra_is_a_line_to_type(monkeypatch):
    monkeypatch.setattr(conversion.child, "call", lambda *_, **__: {"missing": "litert_torch"})
    with pytest.raises(MissingExtraError, match=r"type: pip install 'intact\[torch\]'"):
        load(nn.ReLU(), torch.zeros(1, 3))
