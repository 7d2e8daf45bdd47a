"""``.keras`` archives: a configuration in JSON, and weights in HDF5."""

import atexit
import functools
import importlib
import os
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import damage
from harness import Kind

import intact.runtime.scripts
from intact.errors import ModelError, UnsupportedError
from intact.formats import recognize


@functools.cache
def script(name: str):
    """A module of the child, by plain name as its neighbours know it."""
    folder = str(Path(intact.runtime.scripts.__file__).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


@functools.cache
def keras():
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("keras")


@functools.cache
def models(suffix: str) -> tuple[Path, ...]:
    """Small networks as files."""
    layers = keras().layers
    folder = Path(tempfile.mkdtemp(prefix="fuzz-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    image = keras().Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(image)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x))
    made = {
        "dense": keras().Sequential([keras().Input((4,)), layers.Dense(3, "tanh"), layers.Dropout(0.5), layers.Dense(2)]),
        "branches": keras().Model(image, [layers.GlobalAveragePooling2D()(layers.Add()([x, y])), keras().ops.mean(y, axis=-1)]),
        "nested": keras().Sequential([keras().Input((5, 4)), keras().Sequential([layers.Dense(3)]), layers.LSTM(2)]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in made.items():
            model.save(folder / f"{name}.{suffix}")
    return tuple(sorted(folder.iterdir()))


def seeds() -> tuple[Path, ...]:
    return models("keras")


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_bytes(damage.archive(seed, draw, _part))
    return path


def _part(name: str, found: bytes, draw: random.Random) -> bytes:
    return damage.document(found, draw) if name.endswith(".json") and draw.random() < 0.9 else damage.data(found, draw)


def take(path: Path) -> None:
    """What the child does before Keras loads the copy."""
    recognize.check(path)
    convert = script("convert_keras")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            convert.checked(path, Path(scratch))
        except script("keras2").RefusedError as error:
            raise UnsupportedError(str(error)) from None
        except convert.CorruptError as error:
            raise ModelError(str(error)) from None


KIND = Kind("keras", seeds, mutate, take)
