"""MobileNetV2 in PyTorch, its weights named as torchvision names them, and its training on a few thousand pictures."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH = 16
#: Of each group of blocks: how much wider inside, channels, blocks, stride of the first.
GROUPS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6())


class Block(nn.Module):
    """Widened, filtered channel by channel, narrowed; added to what came in where that has the same shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = inputs * wider
        widen = [convolution(inputs, inside, 1)] if wider > 1 else []
        narrow = [nn.Conv2d(inside, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*widen, convolution(inside, inside, 3, stride, inside), *narrow)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Of pictures [n, 3, height, width] in [-1, 1]; ``width`` scales the channels."""

    def __init__(self, classes: int, width: float = 1.0) -> None:
        super().__init__()
        channels = round(32 * width)
        features: list[nn.Module] = [convolution(3, channels, 3, 2)]
        for wider, outputs, blocks, stride in GROUPS:
            for n in range(blocks):
                before, channels = channels, round(outputs * width)
                features.append(Block(before, channels, stride if n == 0 else 1, wider))
        last = round(1280 * max(width, 1))
        self.features = nn.Sequential(*features, convolution(channels, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def from_hub(classes: int) -> MobileNetV2:
    """With ImageNet's weights, as torch.hub loads them; needs torchvision and the network, else an error of theirs."""
    loaded = torch.hub.load("pytorch/vision", "mobilenet_v2", weights="DEFAULT", trust_repo=True)
    model = MobileNetV2(classes)
    model.features.load_state_dict(loaded.features.state_dict())
    return model


def train(model: nn.Module, pictures: np.ndarray, labels: np.ndarray, sides: tuple[int, ...], rate: float) -> None:
    """With AdamW, one epoch at each of ``sides`` pixels. The rate falls to 0. Pictures are mirrored at random."""
    steps = len(sides) * -(-len(pictures) // BATCH)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train().to(memory_format=torch.channels_last)
    for epoch, side in enumerate(sides):
        losses = []
        for some in torch.randperm(len(pictures)).split(BATCH):
            x = functional.interpolate(torch.from_numpy(pictures[some.numpy()]), (side, side), mode="area")
            x = (x.flip(3) if torch.rand(()) < 0.5 else x).to(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(x), torch.from_numpy(labels[some.numpy()]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {len(sides)}, {side} pixels: loss {np.mean(losses):.3f}", flush=True)
    model.eval()
