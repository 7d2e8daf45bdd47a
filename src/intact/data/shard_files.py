"""Data sets in a few large files: what such files are called, and which of them a path means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

from intact import reading
from intact.data.suffixes import IMAGES
from intact.errors import DataError, located

Kind: TypeAlias = Literal["tar", "parquet", "tfrecord", "saved"]
#: What samples are for: ``data`` calibrates, ``eval`` reports.
Use: TypeAlias = Literal["data", "eval"]

_ENDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        ".tar": "tar",
        ".parquet": "parquet",
        ".tfrecord": "tfrecord",
        ".tfrecords": "tfrecord",
        ".record": "tfrecord",
    }
)
#: How shards end: TensorFlow numbers behind the suffix, ``val.tfrecord-00003-of-00010``; packed ones are told apart later.
_END: Final = re.compile(r"(\.[a-z]+)(-\d+-of-\d+)?(\.gz)?", re.IGNORECASE)
#: What Hugging Face's save_to_disk leaves in a folder: of one split, of several.
_SAVED: Final = "state.json"
_SAVED_SPLITS: Final = "dataset_dict.json"
_MOST_SHARDS: Final = 100_000
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")
_WILD: Final = frozenset("*?[")
#: What the parts of a data set are called, the best for each use first.
_PARTS: Final = MappingProxyType(
    {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation", "dev", "eval"),
        "test": ("test", "testing"),
    }
)
_WANTED: Final[Mapping[Use, tuple[str, ...]]] = MappingProxyType(
    {"data": ("train", "val", "test"), "eval": ("val", "test", "train")}
)


@final
@dataclass(frozen=True)
class Shards:
    """Files of one kind, in order; of a saved data set, its folder. ``where``: what the user called them.

    ``part``: which of several parts of a data set they are, ``left``: what the others are called.
    """

    kind: Kind
    files: tuple[Path, ...]
    where: str
    part: str = ""
    left: tuple[str, ...] = ()


def kind_of(name: str) -> Kind | None:
    """``train-000.tar -> "tar"``; None for what is no shard by its name."""
    found = _END.fullmatch(os.path.splitext(name.removesuffix(".gz"))[1])  # noqa: PTH122  # of a million names
    return None if found is None else _ENDS.get(found[1].lower())


def is_pattern(path: Path) -> bool:
    """Whether ``path`` stands for several: ``train-{000..099}.tar``, ``train-*.tar``."""
    text = str(path)
    return (bool(_BRACES.search(text)) or bool(_WILD & set(text))) and not os.path.lexists(path)


def at(path: Path, use: Use = "data") -> Shards | None:
    """The shards that ``path`` means: a file, a pattern, a folder of them, a data set that Hugging Face's library saved.

    None for anything else. Of a folder with shards of several parts, by their names, those are taken that ``use`` wants:
    ``train`` for data, ``val`` for eval. Raises DataError for shards that are missing, and for several kinds together.
    """
    if is_pattern(path):
        return _of_one_kind(_expanded(path), str(path))
    if not path.is_dir():
        kind = kind_of(path.name)
        return None if kind is None else Shards(kind, (path,), str(path))
    return _saved(path, use) or _in_folder(path, use) or _in_folder(path / "data", use)


def _expanded(path: Path) -> list[Path]:
    pieces = _BRACES.split(str(path))
    choices = [[text] if i % 2 == 0 else list(_choices(text)) for i, text in enumerate(pieces)]
    names = ["".join(parts) for parts in islice(product(*choices), _MOST_SHARDS + 1)]
    files: list[Path] = []
    for name in names:
        place = Path(name)
        if _WILD & set(name):
            base = Path(place.anchor or ".")
            files += sorted(base.glob(str(place.relative_to(place.anchor))))
        else:
            files.append(place)
    if not files:
        raise DataError(f"{path}: no file is called so; give a folder of shards, or a pattern such as 'train-{{000..099}}.tar'")
    if len(files) > _MOST_SHARDS:
        raise DataError(f"{path}: stands for more than {_MOST_SHARDS:,} files; give fewer, larger shards")
    for file in files:
        with located(str(file)):
            reading.check(file, DataError)
    return files


def _choices(text: str) -> Iterable[str]:
    """``000..002 -> 000, 001, 002``; ``train,val -> train, val``."""
    numbers = _RANGE.fullmatch(text)
    if numbers is None:
        return text.split(",")
    first, last = numbers[1], numbers[2]
    width = len(first) if first.startswith("0") else 0
    return (f"{number:0{width}}" for number in range(int(first), int(last) + 1))


def _of_one_kind(files: list[Path], where: str) -> Shards:
    kinds = {kind_of(file.name): file for file in files}
    if None in kinds:
        raise DataError(f"{kinds[None]}: is no shard; a pattern stands for .tar, .parquet or .tfrecord files")
    if len(kinds) > 1:
        some = " and ".join(file.name for file in kinds.values())
        raise DataError(f"{where}: holds shards of several kinds ({some}); give one of them, such as '{where}/*.tar'")
    (kind,) = kinds
    assert kind is not None
    return Shards(kind, tuple(files), where)


def _in_folder(folder: Path, use: Use) -> Shards | None:
    """None where there are images or nothing of the kind: it is a folder of images then."""
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if kind_of(entry.name) is not None and not entry.is_dir():
                    names.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in IMAGES:  # noqa: PTH122  # of a million names
                    return None
    except OSError:
        return None  # whoever reads the folder says why
    if not names:
        return None
    by_part = _by_part(names)
    part = _wanted(by_part, use) if len(by_part) > 1 else ""
    files = [folder / name for name in sorted(by_part[part] if part else names)]
    left = tuple(sorted({_as_named(name) for other, names in by_part.items() if other != part for name in names}))
    found = _of_one_kind(files, str(folder))
    return Shards(found.kind, found.files, found.where, _as_named(files[0].name) if part else "", left if part else ())


def _saved(folder: Path, use: Use) -> Shards | None:
    if os.path.lexists(folder / _SAVED):
        return Shards("saved", (folder,), str(folder))
    if not os.path.lexists(folder / _SAVED_SPLITS):
        return None
    names = sorted(entry.name for entry in folder.iterdir() if os.path.lexists(entry / _SAVED))
    if not names:
        raise DataError(f"{folder}: names splits in {_SAVED_SPLITS} and holds none; save the data set again")
    by_part = _by_part(names)
    part = by_part[_wanted(by_part, use)][0]
    return Shards("saved", (folder / part,), str(folder), part, tuple(name for name in names if name != part))


def _as_named(name: str) -> str:
    """``train-00000-of-00002.parquet -> train``."""
    return re.split(r"[-_.\d]", name, maxsplit=1)[0] or name


def _by_part(names: list[str]) -> dict[str, list[str]]:
    """Names by the part of a data set that they begin with; those of no such name are parts of their own together."""
    found: dict[str, list[str]] = {}
    for name in names:
        start = _as_named(name).lower()
        part = next((part for part, words in _PARTS.items() if start in words), "")
        found.setdefault(part, []).append(name)
    return found


def _wanted(by_part: Mapping[str, list[str]], use: Use) -> str:
    return next((part for part in _WANTED[use] if part in by_part), "")
