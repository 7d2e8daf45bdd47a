"""PyTorch networks as people write them: torchvision's families in small, detectors, recurrent nets; random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.entry import Brought, Entry, Samples
from zoo.photos import nchw, photos


def _conv(i: int, o: int, k: int = 3, s: int = 1, groups: int = 1, act: nn.Module | None = None) -> nn.Sequential:
    parts = [nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([] if act is None else [act]))


class AlexNet(nn.Module):
    """Large kernels, max pools of 3 at stride 2, an adaptive pool to 6x6, dropout, three dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d((6, 6))
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(32 * 36, 64), nn.ReLU(inplace=True), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.features(x)), 1))


class VGG(nn.Module):
    """``x.view(x.size(0), -1)`` after convolutions."""

    def __init__(self) -> None:
        super().__init__()
        stages = ((3, 8), (8, 16), (16, 32))
        self.features = nn.Sequential(
            *(part for i, o in stages for part in (nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
        )
        self.head = nn.Sequential(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, i: int, o: int, s: int) -> None:
        super().__init__()
        self.a, self.b = _conv(i, o, 3, s, act=nn.ReLU(inplace=True)), _conv(o, o)
        self.down = _conv(i, o, 1, s) if s > 1 or i != o else None

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(self.a(x)) + (x if self.down is None else self.down(x)))


class ResNet18(nn.Module):
    """A 7x7 stem, ``MaxPool2d(3, 2, padding=1)``, four stages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        stages = ((16, 16, 1), (16, 32, 2), (32, 48, 2), (48, 64, 2))
        self.body = nn.Sequential(*(nn.Sequential(BasicBlock(i, o, s), BasicBlock(o, o, 1)) for i, o, s in stages))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.body(self.stem(x)), 1), 1))


class Fire(nn.Module):
    """A squeeze, then two expansions side by side."""

    def __init__(self, i: int, squeezed: int, o: int) -> None:
        super().__init__()
        self.squeeze, self.one, self.three = (
            nn.Conv2d(i, squeezed, 1),
            nn.Conv2d(squeezed, o, 1),
            nn.Conv2d(squeezed, o, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


class SqueezeNet(nn.Module):
    """Max pools with ``ceil_mode``; a convolution gives the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(16, 8, 16),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(32, 8, 24),
        )
        self.head = nn.Sequential(nn.Dropout(), nn.Conv2d(48, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).flatten(1)


class DenseNet(nn.Module):
    """Every layer reads all before it; batch norm and ReLU before each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        sizes = (16, 24, 32, 40)
        self.layers = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 8, 3, 1, 1)) for i in sizes)
        self.transition = nn.Sequential(nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 24, 1), nn.AvgPool2d(2))
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.fc(self.transition(x).mean((2, 3)))


class GoogLeNet(nn.Module):
    """Four branches side by side, one of them a max pool at stride 1."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU()
        self.stem = nn.Sequential(_conv(3, 16, 7, 2, act=relu), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.branches = nn.ModuleList(
            (
                _conv(16, 8, 1, act=relu),
                nn.Sequential(_conv(16, 8, 1, act=relu), _conv(8, 16, act=relu)),
                nn.Sequential(_conv(16, 4, 1, act=relu), _conv(4, 8, 5, act=relu)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(16, 8, 1, act=relu)),
            )
        )
        self.fc = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.fc(torch.cat([branch(x) for branch in self.branches], 1).mean([2, 3]))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the others are convolved, then all are shuffled."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.branch = nn.Sequential(_conv(h, h, 1, act=nn.ReLU()), _conv(h, h, 3, groups=h), _conv(h, h, 1, act=nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        x = torch.cat((a, self.branch(b)), 1)
        n, c, h, w = x.size()
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


class ShuffleNetV2(nn.Module):
    """Channel shuffles by view and transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(3, 24, 3, 2, act=nn.ReLU()), nn.MaxPool2d(3, 2, 1), ShuffleUnit(24), ShuffleUnit(24))
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).mean([2, 3]))


class SqueezeExcite(nn.Module):
    """A gate for each channel."""

    def __init__(self, c: int, gate: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 4, 1), nn.ReLU(), nn.Conv2d(c // 4, c, 1), gate)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x)


class InvertedResidual(nn.Module):
    """Expand, depthwise, (gate,) project."""

    def __init__(self, i: int, o: int, s: int, t: int, act: nn.Module, gate: nn.Module | None = None) -> None:
        super().__init__()
        e = i * t
        self.body = nn.Sequential(
            _conv(i, e, 1, act=act),
            _conv(e, e, 3, s, groups=e, act=act),
            *([] if gate is None else [SqueezeExcite(e, gate)]),
            _conv(e, o, 1),
        )
        self.adds = s == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def _mobile(act: nn.Module, gate: nn.Module | None) -> nn.Module:
    rows = ((16, 24, 2, 4), (24, 24, 1, 3), (24, 32, 2, 4), (32, 32, 1, 4))
    blocks = [InvertedResidual(*row, act, gate) for row in rows]
    head = (_conv(32, 96, 1, act=act), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 10))
    return nn.Sequential(_conv(3, 16, 3, 2, act=act), *blocks, *head)


class UNet(nn.Module):
    """Two scales down, two up: bilinear and transposed."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU()
        self.a, self.b, self.c = _conv(3, 8, act=relu), _conv(8, 16, act=relu), _conv(16, 32, act=relu)
        self.up, self.d, self.e = nn.ConvTranspose2d(32, 16, 2, 2), _conv(32, 16, act=relu), _conv(24, 8, act=relu)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        d = self.d(torch.cat([self.up(c), b], 1))
        up = F.interpolate(d, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(self.e(torch.cat([up, a], 1)))


class C2f(nn.Module):
    """A split, convolutions whose every result is kept, a concatenation."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        act = nn.SiLU()
        self.cv1, self.cv2 = _conv(c, c, 1, act=act), _conv(h * 3, c, 1, act=act)
        self.m = nn.Sequential(_conv(h, h, act=act), _conv(h, h, act=act))

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.cv1(x).chunk(2, 1))
        y.append(y[-1] + self.m(y[-1]))
        return self.cv2(torch.cat(y, 1))


class SPPF(nn.Module):
    """The same max pool three times."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = _conv(c, c // 2, 1, act=nn.SiLU()), _conv(c * 2, c, 1, act=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        y = [self.cv1(x)]
        y += [pooled := F.max_pool2d(y[-1], 5, 1, 2)]
        y += [pooled := F.max_pool2d(pooled, 5, 1, 2)]
        y += [F.max_pool2d(pooled, 5, 1, 2)]
        return self.cv2(torch.cat(y, 1))


class YOLO(nn.Module):
    """A detector of YOLOv8's shape: two scales, distribution focal boxes, anchors, boxes and scores in one output."""

    def __init__(self, classes: int = 5, bins: int = 8, side: int = 64) -> None:
        super().__init__()
        act = nn.SiLU()
        self.stem = nn.Sequential(_conv(3, 16, 3, 2, act=act), _conv(16, 32, 3, 2, act=act), C2f(32))
        self.p3, self.p4 = nn.Sequential(_conv(32, 48, 3, 2, act=act), C2f(48)), _conv(48, 64, 3, 2, act=act)
        self.sppf, self.mix = SPPF(64), _conv(112, 48, 1, act=act)
        self.box = nn.ModuleList(nn.Conv2d(c, 4 * bins, 1) for c in (48, 64))
        self.cls = nn.ModuleList(nn.Conv2d(c, classes, 1) for c in (48, 64))
        self.classes, self.bins = classes, bins
        grids, strides = [], []
        for stride in (8, 16):
            n = side // stride
            at = torch.arange(n) + 0.5
            y, x = torch.meshgrid(at, at, indexing="ij")
            grids.append(torch.stack((x, y), -1).view(-1, 2))
            strides.append(torch.full((n * n, 1), float(stride)))
        self.register_buffer("anchors", torch.cat(grids).T[None])
        self.register_buffer("strides", torch.cat(strides).T[None])
        self.register_buffer("project", torch.arange(bins, dtype=torch.float).view(1, bins, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        p3 = self.p3(self.stem(x))
        p4 = self.sppf(self.p4(p3))
        p3 = self.mix(torch.cat([F.interpolate(p4, scale_factor=2, mode="nearest"), p3], 1))
        made = [
            torch.cat((b(p), c(p)), 1).view(x.shape[0], 4 * self.bins + self.classes, -1)
            for p, b, c in zip((p3, p4), self.box, self.cls, strict=True)
        ]
        box, scores = torch.cat(made, 2).split((4 * self.bins, self.classes), 1)
        b, _, a = box.shape
        spread = box.view(b, 4, self.bins, a).transpose(2, 1).softmax(1)
        lt, rb = (spread * self.project).sum(1).chunk(2, 1)
        low, high = self.anchors - lt, self.anchors + rb
        boxes = torch.cat(((low + high) / 2, high - low), 1) * self.strides
        return torch.cat((boxes, scores.sigmoid()), 1)


class SSD(nn.Module):
    """Boxes and scores as two outputs, permuted and reshaped from two scales."""

    def __init__(self) -> None:
        super().__init__()
        relu = nn.ReLU6()
        self.a = nn.Sequential(_conv(3, 16, 3, 2, act=relu), _conv(16, 32, 3, 2, act=relu), _conv(32, 48, 3, 2, act=relu))
        self.b = _conv(48, 64, 3, 2, act=relu)
        self.box = nn.ModuleList(nn.Conv2d(c, 4 * 3, 3, padding=1) for c in (48, 64))
        self.cls = nn.ModuleList(nn.Conv2d(c, 4 * 3, 3, padding=1) for c in (48, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = [self.a(x)]
        maps.append(self.b(maps[-1]))
        flat = lambda y: y.permute(0, 2, 3, 1).reshape(y.shape[0], -1, 4)  # noqa: E731
        boxes = torch.cat([flat(head(m)) for head, m in zip(self.box, maps, strict=True)], 1)
        scores = torch.cat([flat(head(m)) for head, m in zip(self.cls, maps, strict=True)], 1)
        return boxes, scores.softmax(-1)


class Recurrent(nn.Module):
    """nn.LSTM or nn.GRU, the last step's output, a dense layer."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn, self.fc = kind(6, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(x)[0][:, -1])


class Attention(nn.Module):
    """A transformer encoder of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 32)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu"), 2, enable_nested_tensor=False
        )
        self.fc = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(self.embed(x)).mean(1))


class Causal(nn.Module):
    """Attention under a mask of -inf."""

    def __init__(self, steps: int = 20) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 48), nn.Linear(16, 4)
        self.register_buffer("mask", torch.ones(steps, steps, dtype=torch.bool).tril())

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = (q @ k.transpose(-1, -2) / 4).masked_fill(~self.mask, float("-inf"))
        return self.out((scores.softmax(-1) @ v)[:, -1])


class Temporal(nn.Module):
    """Dilated causal convolutions along time, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv1d(6, 16, 3), nn.Conv1d(16, 16, 3, dilation=2), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(F.pad(x, (2, 0))))
        return self.fc(F.relu(self.b(F.pad(x, (4, 0)))).amax(-1))


class SuperResolution(nn.Module):
    """PReLU, pixel shuffle, and a residual over an enlarged input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b = nn.Conv2d(3, 16, 5, padding=2), nn.PReLU(16), nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        up = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.pixel_shuffle(self.b(self.act(self.a(x))), 2) + up


class TwoInputs(nn.Module):
    """A picture and numbers, in the order zeta, alpha."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.out = nn.Conv2d(3, 8, 3), nn.Linear(6, 8), nn.Linear(16, 3)

    def forward(self, zeta: Tensor, alpha: Tensor) -> Tensor:
        return self.out(torch.cat([F.relu(self.conv(zeta)).mean([2, 3]), F.relu(self.fc(alpha))], 1))


def _settled(model: nn.Module, samples: tuple[Tensor, ...]) -> nn.Module:
    """``model`` with the batch-norm statistics of its samples, as a trained network has."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None
    with torch.no_grad():
        model.train()(*samples)
    return model.eval()


def _entry(name: str, build: Callable[[], nn.Module], samples: Callable[[int, Path], Samples]) -> Entry:
    def bring(count: int, packages: Path) -> Brought:
        torch.manual_seed(0)
        given: Any = samples(count, packages)
        first = tuple(torch.from_numpy(x[:32]) for x in (given if isinstance(given, tuple) else (given,)))
        return Brought(_settled(build(), first), given)

    return Entry(f"torch/{name}", bring)


def _images(side: int) -> Callable[[int, Path], np.ndarray]:
    return lambda count, packages: nchw(photos(count, side, side, packages, -1, 1))


def _walks(*shape: int) -> Callable[[int, Path], np.ndarray]:
    def make(count: int, packages: Path) -> np.ndarray:
        del packages
        return np.random.default_rng(0).normal(0, 0.3, (count, *shape)).cumsum(1).astype(np.float32)

    return make


def _both(count: int, packages: Path) -> tuple[np.ndarray, ...]:
    return _images(32)(count, packages), np.random.default_rng(0).normal(0, 1, (count, 6)).astype(np.float32)


ENTRIES = (
    _entry("AlexNet", AlexNet, _images(96)),
    _entry("VGG", VGG, _images(32)),
    _entry("ResNet18", ResNet18, _images(64)),
    _entry("SqueezeNet", SqueezeNet, _images(64)),
    _entry("DenseNet", DenseNet, _images(32)),
    _entry("GoogLeNet", GoogLeNet, _images(64)),
    _entry("ShuffleNetV2", ShuffleNetV2, _images(64)),
    _entry("MobileNetV2", lambda: _mobile(nn.ReLU6(), None), _images(64)),
    _entry("MobileNetV3", lambda: _mobile(nn.Hardswish(), nn.Hardsigmoid()), _images(64)),
    _entry("EfficientNet", lambda: _mobile(nn.SiLU(), nn.Sigmoid()), _images(64)),
    _entry("U-Net", UNet, _images(32)),
    _entry("YOLO", YOLO, _images(64)),
    _entry("SSD", SSD, _images(64)),
    _entry("LSTM", lambda: Recurrent(nn.LSTM), _walks(20, 6)),
    _entry("GRU", lambda: Recurrent(nn.GRU), _walks(20, 6)),
    _entry("TransformerEncoder", Attention, _walks(20, 6)),
    _entry("causal attention", Causal, _walks(20, 6)),
    _entry("Conv1d", Temporal, _walks(6, 64)),
    _entry("super resolution", SuperResolution, _images(32)),
    _entry("two inputs", TwoInputs, _both),
)
