"""A YOLO-like detector without anchors: one cell for each 8 x 8 pixels, boxes decoded inside the network, and its loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import CLASSES, SIZE

STRIDE = 8
#: The farthest that a side of a box lies from the middle of its cell, in pixels.
REACH = 32


def block(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU())


class Detector(nn.Module):
    """Images [n, 3, 64, 64] to [n, 64, 4 + classes]: x1, y1, x2, y2 in pixels beside a score from 0 to 1 for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, 16, 2), block(16, 32, 2), block(32, 32), block(32, 64, 2), block(64, 64), block(64, 64), block(64, 64)
        )
        self.box = nn.Sequential(block(64, 32), nn.Conv2d(32, 4, 1))
        self.score = nn.Sequential(block(64, 32), nn.Conv2d(32, len(CLASSES), 1))
        nn.init.constant_(self.score[1].bias, -4.0)
        middle = torch.arange(STRIDE / 2, SIZE, STRIDE)
        self.register_buffer("middle", torch.stack([middle.repeat(len(middle)), middle.repeat_interleave(len(middle))], -1))

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes in pixels [n, 64, 4], and logits [n, 64, classes]."""
        seen = self.body(images)
        sides = REACH * self.box(seen).flatten(2).transpose(1, 2).sigmoid()
        boxes = torch.cat([self.middle - sides[..., :2], self.middle + sides[..., 2:]], -1)
        return boxes, self.score(seen).flatten(2).transpose(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        boxes, logits = self.raw(images)
        return torch.cat([boxes, logits.sigmoid()], -1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4] that pair up."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    both = sides.clamp(min=0).prod(-1)
    return both / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both).clamp(min=1e-6)


def loss(model: Detector, images: Tensor, objects: Tensor) -> Tensor:
    """A cell learns the nearest object whose middle is within 8 pixels: its box by IoU, and as its class's score that IoU."""
    boxes, logits = model.raw(images)
    away = ((objects[..., :2] + objects[..., 2:4]) / 2)[:, None] - model.middle[:, None]
    away = away.abs().amax(-1).masked_fill(objects[:, None, :, 4] < 0, SIZE)
    nearest, which = away.min(-1)
    mine = objects.gather(1, which[..., None].expand(-1, -1, 5))
    at = nearest < STRIDE
    overlap = iou(boxes[at], mine[at][:, :4])
    wanted = torch.zeros_like(logits)
    wanted[at] = F.one_hot(mine[at][:, 4].long(), len(CLASSES)) * overlap.detach()[:, None]
    scored = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return (scored + 2 * (1 - overlap).sum()) / at.sum()
