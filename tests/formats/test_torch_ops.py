"""What stands for an operator that the converter does not know is that operator, and comes through it."""

import importlib.util

import pytest
import torch
from compare import assert_same
from torch import nn
from torch.nn import functional as F

from intact.formats.load import load
from intact.rewrite.clean import clean
from intact.runtime.scripts import torch_ops
from intact.simulate.engine import Program

IMAGE = torch.randn(2, 3, 10, 7, generator=torch.Generator().manual_seed(0))
ATEN = torch.ops.aten
REPLACED = torch_ops.replacements()

CALLS = [
    (ATEN.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], False, False)),
    (ATEN.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], True, False)),
    (ATEN.avg_pool2d.default, ([2, 2], [], [0, 0], True, False)),
    (ATEN.avg_pool2d.default, ([3, 2], [], [1, 1], False, True)),
    (ATEN.avg_pool2d.default, ([3, 2],)),
    (ATEN.avg_pool2d.default, ([40, 40], [], [0, 0], True)),
    (ATEN.avg_pool2d.default, ([3, 3], [], [0, 0], False, True, 5)),
    (ATEN.avg_pool2d.default, ([3, 2], [2, 1], [1, 1], True, False, 7)),
    (ATEN.avg_pool2d.default, ([40, 40], [], [0, 0], True, True, 3)),
    (ATEN.avg_pool2d.default, ([10, 7], [], [0, 0], True, False)),
    (ATEN.adaptive_avg_pool2d.default, ([5, 7],)),
    (ATEN.adaptive_avg_pool2d.default, ([4, 3],)),
    (ATEN.adaptive_avg_pool2d.default, ([12, 1],)),
    (ATEN.upsample_bicubic2d.vec, ([15, 9], False, None)),
    (ATEN.upsample_bicubic2d.vec, (None, False, [2.0, 2.0])),
    (ATEN.upsample_bicubic2d.vec, (None, True, [1.7, 0.6])),
    (ATEN.upsample_nearest2d.vec, ([15, 9], None)),
    (ATEN.upsample_nearest2d.vec, ([20, 14], None)),
    (ATEN.upsample_nearest2d.vec, (None, [1.5, 1.3])),
    (ATEN.im2col.default, ([3, 2], [1, 1], [1, 0], [2, 1])),
    (ATEN.im2col.default, ([2, 2], [2, 3], [0, 0], [1, 1])),
]


@pytest.mark.parametrize(("operator", "arguments"), CALLS, ids=lambda v: str(v)[:60])
def test_it_is_the_same_function(operator, arguments):
    made = REPLACED[operator](IMAGE, *arguments)
    assert_same(made.numpy(), operator(IMAGE, *arguments).numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "padding", "stride"),
    [
        ((12, 8), (2, 2), (1, 1), (0, 0), (2, 2)),
        ((13, 8), (2, 2), (1, 1), (0, 0), (2, 2)),
        ((9, 7), (3, 2), (1, 1), (1, 0), (2, 1)),
        ((9, 8), (2, 3), (2, 1), (0, 1), (1, 2)),
        ((6, 5), (3, 2), (2, 1), (1, 1), (1, 2)),
        ((9, 9), (2, 2), (2, 2), (1, 1), (2, 2)),
    ],
)
def test_columns_are_folded_back(size, kernel, dilation, padding, stride):
    columns = F.unfold(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)), kernel, dilation, padding, stride)
    made = torch_ops._col2im(columns, size, kernel, dilation, padding, stride)
    assert_same(made.numpy(), F.fold(columns, size, kernel, dilation, padding, stride).numpy(), rtol=1e-6)


@pytest.mark.parametrize("affine", [False, True])
def test_normalization_by_its_own_statistics(affine):
    w, b = (torch.tensor([0.5, 1.0, 2.0]), torch.tensor([1.0, 0.0, -1.0])) if affine else (None, None)
    made = torch_ops.own_batch_norm(IMAGE, w, b, None, None, True, 0.0, 1e-6, False)
    assert_same(made.numpy(), F.batch_norm(IMAGE, None, None, w, b, training=True, eps=1e-6).numpy(), rtol=1e-5)


@pytest.mark.parametrize("size", [[1, 1], [5, 7], [4, 3], [12, 2]])
def test_adaptive_maximum(size):
    assert_same(torch_ops._adaptive_max_pool2d(IMAGE, size)[0].numpy(), F.adaptive_max_pool2d(IMAGE, size).numpy())


def test_too_many_windows_are_refused():
    with pytest.raises(torch_ops.RefusedError, match=r"adaptive max pooling to \[60, 60\] is not supported; use max pooling"):
        torch_ops._adaptive_max_pool2d(torch.zeros(1, 1, 64, 64), [60, 60])


class All(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        weight = F.batch_norm(self.conv.weight.reshape(1, 4, -1), None, None, training=True, momentum=0.0)
        return {
            "standardized": F.conv2d(x, weight.reshape(self.conv.weight.shape)),
            "whole": F.avg_pool2d(x, 64, ceil_mode=True),
            "scaled": x * x.sum(-1, keepdim=True).expand_as(x) + x.mean(1, keepdim=True).expand(-1, 3, -1, -1),
            "folded": F.fold(F.unfold(x[:, :, :, :6], 2, stride=2) * 2.0, (10, 6), 2, stride=2),
            "seventh": F.avg_pool2d(x, 3, 2, divisor_override=7),
            "dilated": F.fold(F.unfold(x, 3, 2, 2, 2), (10, 7), 3, 2, 2, 2),
            "added up": F.fold(F.unfold(x, 3, padding=1), (10, 7), 3, padding=1),
            "average": F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            "bins": F.adaptive_avg_pool2d(x, (4, 3)),
            "largest": F.adaptive_max_pool2d(x, (4, 3)),
            "cubic": F.interpolate(x, scale_factor=2.0, mode="bicubic"),
            "nearest": F.interpolate(x, size=(15, 9)),
            "patches": F.unfold(x, 3, padding=1),
        }


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="needs the extra [torch]")
@pytest.mark.xdist_group("torch")
def test_the_converter_takes_them():
    module = All().eval()
    graph = clean(load(module, IMAGE))
    with torch.inference_mode():
        made = module(IMAGE)
    for name, expected in made.items():
        y = Program(graph)({graph.input_names[0]: IMAGE.permute(0, 2, 3, 1).contiguous().numpy()})[name]
        assert_same(y.numpy(), (expected.permute(0, 2, 3, 1) if expected.dim() == 4 else expected).numpy(), rtol=1e-5)
