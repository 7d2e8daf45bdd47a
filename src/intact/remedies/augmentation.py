"""Images mirrored and shifted, so that training does not see the same ones twice; how is drawn apart from doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from torch import Tensor
from torch.nn import functional as F

#: Pixels along each side from which on a tensor of 1 or 3 channels is taken for an image.
_SMALLEST: Final = 16


@final
@dataclass(frozen=True)
class Moved:
    """Images [n, h, w, c] mirrored or not and shifted by (dy, dx), each within ``most`` pixels; edges are repeated."""

    mirrored: bool
    by: tuple[int, int]
    most: tuple[int, int]

    def __call__(self, x: Tensor) -> Tensor:
        if self.mirrored:
            x = x.flip(2)
        (high, wide), (dy, dx) = self.most, self.by
        padded = F.pad(x.permute(0, 3, 1, 2), (wide, wide, high, high), mode="replicate").permute(0, 2, 3, 1)
        return padded[:, high + dy :, wide + dx :][:, : x.shape[1], : x.shape[2]].contiguous()


def drawn(draw: np.random.Generator, sample: tuple[int, ...], share: float) -> Moved | None:
    """How to move the images of one part of a batch by up to ``share`` of each side; None for samples that are no images."""
    if len(sample) != 3 or min(sample[:2]) < _SMALLEST or sample[2] not in (1, 3):
        return None
    mirrored = draw.random() < 0.5
    most = (max(1, round(share * sample[0])), max(1, round(share * sample[1])))
    dy, dx = (int(draw.integers(-m, m + 1)) for m in most)
    return Moved(mirrored, (dy, dx), most)
