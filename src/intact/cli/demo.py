"""The main job on real data that needs no download: scikit-learn's 1,797 handwritten digits.

A small mobile network is trained in seconds, exported as a user would (``.pt2`` and class folders of PNG files), and put
through the same call that ``intact quantize`` makes.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from intact import locks
from intact.errors import MissingExtraError, OutputError
from intact.progress import StepProgress, unheard

SIDE: Final = 32  # pixels; the 8 x 8 originals are enlarged so that a stride still has something to stride over
EPOCHS: Final = 7
BATCH: Final = 32
#: What the name of a folder begins with that is being filled.
_DRAFT: Final = ".digits-"


@dataclass(frozen=True)
class DemoFiles:
    """What :func:`train_digits` wrote: the float model, its class folders, and its top-1 accuracy (0..1) on ``test``."""

    model: Path
    train: Path
    test: Path
    accuracy: float


class Block(nn.Module):
    """MobileNetV2's inverted residual (arXiv:1801.04381, section 3.3): expand 1x1, depthwise 3x3, project 1x1, add."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 3) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


class DigitNet(nn.Module):
    """MobileNetV2 in miniature, 85,000 parameters: ``[n, 1, 32, 32]`` in -1..1 to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(),
            Block(32, 48, 2), Block(48, 48, 1), Block(48, 64, 2), Block(64, 64, 1),
            nn.Conv2d(64, 192, 1, bias=False), nn.BatchNorm2d(192), nn.ReLU6(),
        )  # fmt: skip
        self.classifier = nn.Linear(192, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The pictures as uint8 ``[1797, 32, 32]`` (bright ink on black) and their labels.

    Raises MissingExtraError without scikit-learn, which carries the data.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("the demo's handwritten digits", "demo") from error
    images, labels = load_digits(return_X_y=True)
    small = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in small]
    return np.stack(large), labels.astype(np.int64)


def train_digits(folder: Path, seed: int = 0, *, epochs: int = EPOCHS, progress: StepProgress | None = None) -> DemoFiles:
    """Train :class:`DigitNet` on half of the digits; write ``digits.pt2``, ``digits/{train,test}/0..9/*.png`` in ``folder``.

    ``progress`` is called with training steps done and in all. The same seed on the same processor gives the same weights.
    An earlier demo's files are replaced; OutputError if ``folder`` cannot be written or holds a ``digits`` of another kind.
    """
    images, labels = digits()
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    pixels = torch.from_numpy(images).unsqueeze(1).float() / 127.5 - 1
    classes = torch.from_numpy(labels)
    final = DemoFiles(folder / "digits.pt2", folder / "digits" / "train", folder / "digits" / "test", 0.0)
    with _beside(folder) as draft:
        for part, rows in (("train", train), ("test", test)):
            for row in np.sort(rows):
                path = draft / "digits" / part / str(labels[row]) / f"{row:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(images[row]).save(path)
        with torch.random.fork_rng(devices=[]), _one_thread():
            torch.manual_seed(seed)
            model = fit(DigitNet(), pixels[train], classes[train], epochs, progress)
        program = torch.export.export(model, (torch.zeros(1, 1, SIDE, SIDE),))
        torch.export.save(program, draft / final.model.name)
    with torch.inference_mode():
        accuracy = (model(pixels[test]).argmax(1) == classes[test]).float().mean().item()
    return replace(final, accuracy=accuracy)


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a network gains nothing from more; beside other work, threads that wait for each other made it 10 x slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder to write into, whose ``digits`` and ``digits.pt2`` replace those in ``folder`` at the end, or leave no trace."""
    if (folder / "digits").exists() and not (folder / "digits.pt2").exists():
        raise OutputError(f"{folder} holds a 'digits' that the demo did not make; type --out with another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.held(folder, unheard):
            for left in folder.glob(f"{_DRAFT}*"):  # by a demo that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=_DRAFT) as name:
                draft = Path(name)
                yield draft
                (draft / "digits.pt2").replace(folder / "digits.pt2")  # first: it says whose 'digits' are
                if (folder / "digits").exists():
                    (folder / "digits").rename(draft / "old")
                (draft / "digits").rename(folder / "digits")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error}); type --out with another folder") from error


def fit(
    model: nn.Module, pixels: torch.Tensor, classes: torch.Tensor, epochs: int, progress: StepProgress | None = None
) -> nn.Module:
    """Train in place with AdamW, a one-cycle learning rate and shifts of up to two pixels; end in evaluation mode."""
    steps = epochs * math.ceil(len(pixels) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    done = 0
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(pixels)), BATCH):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            shifted = torch.roll(F.pad(pixels[batch], (2, 2, 2, 2), value=-1.0), (down, right), (2, 3))[..., 2:-2, 2:-2]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(shifted), classes[batch], label_smoothing=0.05)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            done += 1
            if progress is not None:
                progress(done, steps)
    return model.eval()
