"""MobileNetV3-Small (Howard et al. 2019, table 2), with its first two strides 1 for images of 32 pixels."""

from pathlib import Path

import torch
from torch import Tensor, nn

#: Kernel, expanded channels, output channels, squeeze-and-excite, hard-swish, stride.
BLOCKS = (
    (3, 16, 16, True, False, 1),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)


def convolution(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]


def activation(swish: bool) -> nn.Module:
    return nn.Hardswish() if swish else nn.ReLU()


class SqueezeExcite(nn.Module):
    """Scales each channel by what a small network makes of the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(8, (channels // 4 + 4) // 8 * 8)
        self.gate = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU(), nn.Conv2d(inner, channels, 1), nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3), keepdim=True))


class Block(nn.Module):
    """An inverted residual: expand, filter each channel, project."""

    def __init__(self, c_in: int, row: tuple[int, int, int, bool, bool, int]) -> None:
        super().__init__()
        kernel, wide, c_out, excite, swish, stride = row
        expand = [] if wide == c_in else [*convolution(c_in, wide), activation(swish)]
        each = [*convolution(wide, wide, kernel, stride, wide), activation(swish)]
        squeeze = [SqueezeExcite(wide)] if excite else []
        self.steps = nn.Sequential(*expand, *each, *squeeze, *convolution(wide, c_out))
        self.skips = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.steps(x) if self.skips else self.steps(x)


class MobileNetV3Small(nn.Module):
    """Images [n, 3, 32, 32] from -1 to 1 to logits [n, classes]."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        c_in, blocks = 16, []
        for row in BLOCKS:
            blocks.append(Block(c_in, row))
            c_in = row[2]
        self.features = nn.Sequential(*convolution(3, 16, 3), nn.Hardswish(), *blocks, *convolution(c_in, 576), nn.Hardswish())
        self.head = nn.Sequential(nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1024, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


def with_weights(path: Path) -> MobileNetV3Small:
    """The network with the weights of a torch.export program of it, whatever they are called there: their order is the same."""
    weights = torch.export.load(path).state_dict
    network = MobileNetV3Small([w for w in weights.values() if w.dim() == 2][-1].shape[0])
    names = [name for name, _ in (*network.named_parameters(), *network.named_buffers())]
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network.eval()
