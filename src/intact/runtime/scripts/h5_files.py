"""HDF5 files of strangers: all that they hold lies in them, and is not much larger than they are.

HDF5 can name other files as the place of its numbers (links, external storage, virtual datasets), and can call a dataset
enormous that holds nothing. Runs in a child process, by plain name: a damaged file may crash the library that reads it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final, TypeAlias

#: What h5py makes: without types here, as it is imported only when called.
Foreign: TypeAlias = Any

_MOST_OBJECTS: Final = 500_000


class UnsoundError(Exception):
    """The file is not whole or not to be trusted; the text is fit for a user, within brackets."""


def check(path: Path) -> None:
    """Raise :class:`UnsoundError` if the file reaches outside, unpacks out of proportion, or cannot be walked through."""
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as file:
            _walk(file, importlib.import_module("zips").in_proportion(path.stat().st_size))
    except UnsoundError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SystemError, OverflowError, AttributeError) as error:
        raise UnsoundError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _walk(file: Foreign, most: int) -> None:
    import h5py  # noqa: PLC0415

    pending, seen, total = [file], {h5py.h5o.get_info(file.id).addr}, 0
    while pending:
        group = pending.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UnsoundError(f"it holds a link, {ascii(name)[:80]}, where only numbers belong")
            item = group[name]
            place = h5py.h5o.get_info(item.id).addr
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > _MOST_OBJECTS:
                raise UnsoundError("it holds too many parts")
            if isinstance(item, h5py.Group):
                pending.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise UnsoundError(f"its {ascii(name)[:80]} lies in another file")
                total += item.size * item.dtype.itemsize if item.size else 0
                if total > most:
                    raise UnsoundError(f"it unpacks to more than {total / 1e9:,.1f} GB, out of all proportion to its size")
