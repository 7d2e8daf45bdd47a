"""Child process: rows of Parquet files, TFRecords and saved data sets of Hugging Face, through the libraries that made them.

``{"task": "index", ...}`` says what the columns are and writes labels; ``{"task": "images", ...}`` copies the images of some
rows as they are stored. A file that is refused is ``{"data_error": text}``, and what is not installed ``{"missing": package}``.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np

Progress: TypeAlias = Callable[[int, int], None]
#: A value of one column in one row: a number, a text, bytes, a list, or a mapping with bytes and path.
Value: TypeAlias = Any
#: A table of ``row_tables.py``, beside this file.
Table: TypeAlias = Any
_tables: Any = importlib.import_module("row_tables")
RefusedError: Any = _tables.RefusedError

#: Different texts among labels; more are no classes.
_MOST_CLASSES: Final = 100_000
_MOST_COLUMNS: Final = 1_024
_NAMED: Final = 12


def main(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """See the module."""
    try:
        table = _opened(request["kind"], tuple(request["files"]))
        task = _index if request["task"] == "index" else _images
        return task(table, request, progress)
    except RefusedError as error:
        return {"data_error": " ".join(str(error).split())[:500]}
    except ModuleNotFoundError as error:
        return {"missing": error.name or str(error)}


@lru_cache(1)
def _opened(kind: str, files: tuple[str, ...]) -> Table:
    return _tables.opened(kind, files)


def _index(table: Table, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    folder = Path(request["folder"])
    label = _label_column(table, request["label"], request["labels"])
    image = _image_column(table, request["image"], label, request["images"])
    answer = {"counts": table.counts, "image": image, "label": label}
    if image is None:
        return answer | {"columns": _numbers(table, label, folder, progress)} | _labels(table, label, folder, progress)
    return answer | _labels(table, label, folder, progress)


def _image_column(table: Table, wanted: str | None, label: str | None, names: Sequence[str]) -> str | None:
    """None where the columns are numbers."""
    images = [name for name, field in table.fields.items() if field.kind == "image" and name != label]
    if wanted is not None:
        if wanted not in table.fields:
            raise RefusedError(f"has no column {wanted!r}; type --image with one of: {_some(images or table.fields)}")
        if wanted not in images:
            raise RefusedError(f"the column {wanted!r} holds no images; type --image with one of: {_some(images)}")
        return wanted
    usual: dict[str, str] = {name.lower(): name for name in images}
    named = next((usual[name] for name in names if name in usual), None)
    if named is not None or not images:
        return named
    if len(images) > 1:
        raise RefusedError(f"has several columns of images ({_some(images)}); type --image with one of them")
    return str(images[0])


def _label_column(table: Table, wanted: str | None, usual: Sequence[str]) -> str | None:
    if wanted == "":
        return None
    fit = {name: field for name, field in table.fields.items() if field.kind in ("number", "text")}
    if wanted is not None:
        if wanted not in fit:
            raise RefusedError(f"has no column {wanted!r} of numbers or texts; type --label with one of: {_some(fit)}")
        return wanted
    typed = next((name for name, field in fit.items() if field.classes), None)
    by_name = {name.lower(): name for name in fit}
    return typed or next((by_name[name] for name in usual if name in by_name), None)


def _labels(table: Table, label: str | None, folder: Path, progress: Progress) -> dict[str, Any]:
    """Labels in an .npy: numbers, or where they are texts, numbers of ``texts`` in the order in which these first come."""
    if label is None:
        return {"labels": None, "texts": None, "classes": []}
    field, texts = table.fields[label], dict[str, int]()
    path, done = folder / "labels", 0
    with path.open("wb") as file:
        for start, rows in table.batches([label], None):
            values = rows[label]
            for row, value in enumerate(values, start):
                if value is None or isinstance(value, (list, dict, bytes)):
                    what = "no label" if value is None else "a label that is no single number or text"
                    raise RefusedError(f"{table.place(row)} has {what} in column {label!r}; correct it, or type --label=")
            numbers = [texts.setdefault(v, len(texts)) for v in values] if field.kind == "text" else values
            if len(texts) > _MOST_CLASSES:
                raise RefusedError(f"column {label!r} holds more than {_MOST_CLASSES:,} texts, which are no classes")
            np.asarray(numbers, np.float64).tofile(file)
            done = start + len(values)
            progress(done, table.count)
    if done != table.count:
        raise RefusedError(f"holds {done:,} rows of {table.count:,} that it says")
    texts_in_order = list(texts) if field.kind == "text" else None
    return {"labels": str(path), "texts": texts_in_order, "classes": list(field.classes)}


def _numbers(table: Table, label: str | None, folder: Path, progress: Progress) -> list[dict[str, Any]]:
    """Each column of numbers, or of lists of so many, in a file of its own."""
    names = [name for name, field in table.fields.items() if field.kind in ("number", "list") and name != label]
    if not names:
        raise RefusedError(f"has no column of images or numbers; it has {_some(table.fields)}")
    if len(names) > _MOST_COLUMNS:
        raise RefusedError(f"has {len(names):,} columns, and at most {_MOST_COLUMNS:,} are read; give the samples as an .npz")
    found: dict[str, dict[str, Any]] = {}
    files: dict[str, IO[bytes]] = {}
    try:
        for start, rows in table.batches(names, None):
            for number, name in enumerate(names):
                values = _array(rows[name], name, table.place(start))
                if name not in files:
                    path = folder / f"column{number}"
                    files[name] = path.open("wb")  # closed below, with all others
                    found[name] = {"name": name, "path": str(path), "shape": list(values.shape[1:]), "dtype": values.dtype.str}
                about = found[name]
                if list(values.shape[1:]) != about["shape"]:
                    raise RefusedError(f"column {name!r} holds lists of several lengths, {table.place(start)} and before")
                np.ascontiguousarray(values, about["dtype"]).tofile(files[name])
            progress(start, table.count)
    finally:
        for file in files.values():
            file.close()
    return list(found.values())


def _array(values: Sequence[Value], name: str, place: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise RefusedError(f"column {name!r} holds lists of several lengths from {place} on") from error
    if array.dtype.kind not in "biuf":
        raise RefusedError(f"column {name!r} has an empty cell, or no number, from {place} on; fill it, or leave the row out")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _images(table: Table, request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The images of the rows in the .npy ``rows``, ascending, one after the other in ``images``; their sizes in ``sizes``."""
    folder, column, most = Path(request["folder"]), request["image"], request["most"]
    wanted = np.load(request["rows"], allow_pickle=False)
    sizes = np.zeros(len(wanted), np.int64)
    done = 0
    with (folder / "images").open("wb") as file:
        for start, rows in table.batches([column], wanted):
            values = rows[column]
            stop = np.searchsorted(wanted, start + len(values))
            while done < stop:
                row = int(wanted[done])
                content = _content(values[row - start], table, row, most)
                if len(content) > most:
                    what = f"an image of {len(content):,} bytes or more, and at most {most:,} are read"
                    raise RefusedError(f"{table.place(row)} holds {what}; make it smaller")
                file.write(content)
                sizes[done] = len(content)
                done += 1
            progress(done, len(wanted))
            if done == len(wanted):
                break
    if done < len(wanted):
        raise RefusedError(f"ends before {table.place(int(wanted[done]))}; it was whole when its rows were listed")
    sizes.tofile(folder / "sizes")
    return {"images": str(folder / "images"), "sizes": str(folder / "sizes")}


def _content(value: Value, table: Table, row: int, most: int) -> bytes:
    if isinstance(value, dict):  # Hugging Face's: bytes, or the path of a file
        path, value = value.get("path"), value.get("bytes")
        if value is None and isinstance(path, str):
            return _file(table.folder / path, table.place(row), most)
    if not isinstance(value, bytes):
        raise RefusedError(f"{table.place(row)} holds no image; leave the row out")
    return value


def _file(path: Path, place: str, most: int) -> bytes:
    """A plain file's content, one byte more than ``most`` of it at most; a pipe or device is not opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RefusedError(f"{place} names {path}, which is no file")
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise RefusedError(f"{place} names the image {path}, which cannot be read ({why}); put it there") from error


def _some(names: Sequence[str] | Mapping[str, Any]) -> str:
    names = list(names)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
