"""Samples in .npz and .npy files. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, final

import numpy as np

from intact import reading, spool
from intact.data.array import ArrayData, array_examples, as_array
from intact.data.base import Data, Example
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec
from intact.errors import DataError, IntactError, located

#: Names that samples and labels go by in a file, case aside, in order of preference.
PAIRS: Final = (
    ("x", "y"),
    ("x_test", "y_test"),
    ("x_val", "y_val"),
    ("x_train", "y_train"),
    ("images", "labels"),
    ("test_images", "test_labels"),
    ("val_images", "val_labels"),
    ("train_images", "train_labels"),
    ("features", "labels"),
    ("inputs", "labels"),
    ("data", "labels"),
    ("data", "target"),
    ("arr_0", "arr_1"),
)
_LABEL_KEYS: Final = ("y", "labels", "label", "targets", "target", "y_test")
#: Arrays that unpack to so many times their size, and to more than so many bytes, are refused: samples never do, bombs do.
_PACKED: Final = 100
_PLENTY: Final = 1 << 30


def npz(path: str | os.PathLike[str]) -> Data:
    """Samples and labels in an ``.npz``: keys x and y, images and labels, x_test and y_test, or the model's input names and y.

    Files with pickled objects are refused. Raises DataError that lists the keys found.
    """
    file = Path(path)
    with located(str(file)), _readable(), reading.opened(file, DataError) as opened:
        if _is_npy(opened):
            raise DataError("is not an .npz archive but a single array; rename it to .npy")
        with zipfile.ZipFile(opened) as archive:
            sizes = {
                info.filename.removesuffix(".npy"): (info.file_size, info.compress_size)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            if len(sizes) < sum(name.endswith(".npy") for name in archive.namelist()):
                raise DataError("holds two arrays of one name; save it again")
        return _Npz(file, MappingProxyType(sizes))


def npy(path: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Data:
    """Samples in an ``.npy``, not read at once; labels in another, or in y.npy beside x.npy and the like, or none."""
    file = Path(path)
    beside = Path(labels) if labels is not None else label_file(file)
    y = None if beside is None else _load_npy(beside)
    found = (Finding("labels-file", f"took labels from {beside}"),) if beside is not None and labels is None else ()
    return ArrayData(_load_npy(file), y, file.name, found)


def label_file(path: Path) -> Path | None:
    """The label file that goes by its name with ``path``: y_test.npy beside x_test.npy, labels.npy beside images.npy."""
    try:
        beside = sorted(path.parent.iterdir())
    except OSError:  # nothing is there, or nobody may look; a file that can be read all the same has no labels then
        return None
    by_name = {p.name.lower(): p for p in beside if p.suffix.lower() == ".npy"}
    stem = path.stem.lower()
    names = [y for x, y in PAIRS if x == stem and not x.startswith("arr_")]
    names += [stem[:-2] + "_y"] if stem.endswith("_x") else []
    return next((by_name[f"{n}.npy"] for n in names if f"{n}.npy" in by_name), None)


@final
@dataclass(frozen=True, repr=False)
class _Npz(Data):
    """An archive whose arrays are chosen once the model's input names are known."""

    path: Path
    #: Bytes of each array, unpacked and packed, by name.
    sizes: Mapping[str, tuple[int, int]]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        with located(str(self.path)):
            x_keys, y_key = choose(tuple(self.sizes), tuple(s.name for s in inputs))
            held = self._arrays({*x_keys.values(), *(() if y_key is None else (y_key,))})
            x = {name: as_array(held[key], repr(key)) for name, key in x_keys.items()}
            y = None if y_key is None else as_array(held[y_key], repr(y_key))
        rest = [k for k in self.sizes if k not in (*x_keys.values(), y_key)]
        found: tuple[Finding, ...] = ()
        if rest:
            took = ", ".join([*x_keys.values(), *([y_key] if y_key else [])])
            found = (Finding("unused-arrays", f"{self.path.name}: took {took}; left {', '.join(rest)}"),)
        return ArrayData(x, y, self.path.name, found).bind(inputs, classes)

    def examples(self) -> tuple[Example, ...]:
        with located(str(self.path)):
            x_keys, _ = choose(tuple(self.sizes), ("",))
            return array_examples(self._arrays(set(x_keys.values()))[x_keys[""]])

    def _arrays(self, names: set[str]) -> dict[str, np.ndarray]:
        """Those called ``names``, the large ones on disk. DataError for what is packed as no samples are."""
        whole, packed = (sum(self.sizes[name][i] for name in names) for i in (0, 1))
        if whole > max(_PACKED * packed, _PLENTY):
            raise DataError(f"is {packed:,} bytes that unpack to {whole:,}; save it with numpy.savez, not savez_compressed")
        with _readable():
            reading.check(self.path, DataError)
            return spool.npz(self.path, names=names)


@final
@dataclass(frozen=True, eq=False, repr=False)
class NamedData(Data):
    """Arrays by name, labels among them, chosen once the model's input names are known."""

    arrays: Mapping[str, Any]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        x_keys, y_key = choose(tuple(self.arrays), tuple(s.name for s in inputs))
        x = {name: as_array(self.arrays[key], f"the array {key!r}") for name, key in x_keys.items()}
        y = None if y_key is None else as_array(self.arrays[y_key], f"the array {y_key!r}")
        return ArrayData(x, y, "the arrays").bind(inputs, classes)

    def examples(self) -> tuple[Example, ...]:
        label = next((k for k in self.arrays if k.lower() in _LABEL_KEYS), None)
        named = {k: as_array(v, f"the array {k!r}") for k, v in self.arrays.items() if k != label}
        if len(named) == 1:
            return array_examples(next(iter(named.values())))
        return ({k: v[:1] for k, v in named.items()},)


def choose(keys: tuple[str, ...], names: tuple[str, ...]) -> tuple[dict[str, str], str | None]:
    """Which of ``keys`` feeds which of the inputs ``names``, and which holds the labels. DataError lists the keys found."""
    by_name = {k.lower(): k for k in keys}
    if all(n in keys for n in names):
        label = next((by_name[k] for k in _LABEL_KEYS if k in by_name and by_name[k] not in names), None)
        return {n: n for n in names}, label
    if len(names) == 1:
        for x, y in PAIRS:
            if x in by_name and (y in by_name or (x, y) in (PAIRS[0], PAIRS[4])):
                return {names[0]: by_name[x]}, by_name.get(y)
        label = next((by_name[k] for k in _LABEL_KEYS if k in by_name), None)
        samples = [k for k in keys if k != label]
        if len(samples) == 1:
            return {names[0]: samples[0]}, label
    wanted = " and ".join(repr(n) for n in names)
    usual = ", x and y, x_test and y_test, or images and labels" if len(names) == 1 else " (the model's input names) and y"
    raise DataError(f"holds {', '.join(keys) or 'no arrays'}; name the arrays {wanted}{usual}")


def _load_npy(path: Path) -> np.ndarray:
    with located(str(path)), _readable():
        with reading.opened(path, DataError) as file:
            if not _is_npy(file):
                raise DataError("is not a single array but an .npz archive; rename it to .npz")
        return as_array(spool.npy(path), "it")


def _is_npy(file: IO[bytes]) -> bool:
    """True for an array, False for an archive, by the first bytes; DataError for anything else."""
    start = file.read(6)
    if start == b"\x93NUMPY" or start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return start[:2] != b"PK"
    raise DataError("is not a file that numpy.save or numpy.savez wrote" + ("; it is empty" if not start else ""))


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except IntactError:
        raise
    except (Exception, MemoryError) as error:  # zipfile, zlib and numpy, on files that are not what they say
        if "Python objects" in str(error):
            raise DataError(
                "holds pickled Python objects, which are not loaded because unpickling can run code; "
                "save plain arrays of numbers instead"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"cannot be read as numpy arrays ({reason}); save it again") from error
