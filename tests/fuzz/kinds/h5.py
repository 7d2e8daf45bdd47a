"""``.h5`` files of Keras: HDF5 with the configuration in an attribute."""

import random
from functools import cache
from pathlib import Path

import damage
from harness import Kind

from kinds import keras

NETWORKS = Path(__file__).parents[2] / "networks"


@cache
def seeds() -> tuple[Path, ...]:
    return (*keras.models("h5"), NETWORKS / "keras2.h5")


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    path = folder / "model.h5"
    if draw.random() < 0.5:
        path.write_bytes(damage.data(seed.read_bytes(), draw))
        return path
    path.write_bytes(seed.read_bytes())
    import h5py  # noqa: PLC0415

    with h5py.File(path, "r+") as file:
        found = file.attrs["model_config"]
        file.attrs["model_config"] = damage.document(found if isinstance(found, bytes) else found.encode(), draw)
    return path


KIND = Kind("h5", seeds, mutate, keras.take)
