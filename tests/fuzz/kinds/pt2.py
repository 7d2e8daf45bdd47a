"""``.pt2`` programs of ``torch.export``: archives of JSON, raw weights and one pickled sample."""

import atexit
import functools
import random
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

import damage
import torch
from harness import Kind

from intact.formats import pt2, recognize


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.end = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)

    def forward(self, image: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        x = torch.relu(self.norm(self.conv(image))).mean((2, 3))
        return {"score": self.end(x * scale.float()), "mean": x}


@functools.cache
def seeds() -> tuple[Path, ...]:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    free, side = torch.export.Dim("batch"), torch.export.Dim("side", min=8)
    shapes = ({0: free, 2: side, 3: side}, None)
    sample = (torch.zeros(2, 3, 9, 9), torch.ones(1, dtype=torch.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(_Net().eval(), sample), folder / "fixed.pt2")
        torch.export.save(torch.export.export(_Net().eval(), sample, dynamic_shapes=shapes), folder / "free.pt2")
    with (
        zipfile.ZipFile(folder / "free.pt2") as stored,
        zipfile.ZipFile(folder / "packed.pt2", "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for name in stored.namelist():
            out.writestr(name, stored.read(name))
    return tuple(sorted(folder.iterdir()))


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    path = folder / "model.pt2"
    path.write_bytes(damage.archive(seed, draw, _part))
    return path


def _part(name: str, found: bytes, draw: random.Random) -> bytes:
    if name.endswith(".json") and draw.random() < 0.9:
        return damage.document(found, draw)
    if name.endswith(".pt") and draw.random() < 0.7:
        inner = Path(tempfile.mkstemp()[1])
        inner.write_bytes(found)
        mutant = damage.archive(inner, draw, lambda _, data, more: damage.data(data, more))
        inner.unlink()
        return mutant
    return damage.data(found, draw)


def take(path: Path) -> None:
    recognize.check(path)
    with tempfile.TemporaryDirectory() as folder:
        pt2.checked_copy(path, Path(folder) / "copy.pt2")


KIND = Kind("pt2", seeds, mutate, take)
