"""Photos in one folder for each class; CIFAR-10's, as the example of MobileNetV2 writes them, where no folder is given."""

import sys
from pathlib import Path

from PIL import Image


def photos(folder: Path, classes: int, each: int) -> tuple[list[Image.Image], list[int]]:
    """``each`` photo of the last ``classes`` folders by name, classes taking turns; their labels count from 0."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())[-classes:]
    files = zip(*(sorted(kind.iterdir())[:each] for kind in kinds), strict=False)
    taken = [(Image.open(file).convert("RGB"), label) for turn in files for label, file in enumerate(turn)]
    images, labels = zip(*taken, strict=True)
    return list(images), list(labels)


def cifar10(out: Path, part: str) -> Path:
    sys.path.append(str(Path(__file__).parents[1] / "mobilenet_v2_cifar10"))
    import reported  # noqa: PLC0415 - Keras, which it reads CIFAR-10 with, is needed here alone

    return reported.cifar10(out, part)
