"""Data sets in shards: .tar files of WebDataset, Parquet, TFRecord, and what Hugging Face's library saved."""

from __future__ import annotations

import os
from pathlib import Path

from intact.data import packed, shard_files
from intact.data.base import Data
from intact.data.fields import labelled
from intact.data.preprocessing import Preprocessing
from intact.data.shard_files import Shards
from intact.data.spec import Finding
from intact.data.stored import Stored
from intact.data.tars import members
from intact.data.unused import as_they_are
from intact.errors import DataError


def shards(  # noqa: PLR0913 - one keyword for each thing that can be said about images
    path: str | os.PathLike[str],
    *,
    image: str | None = None,
    label: str | None = None,
    pixels: tuple[float, float] = (0, 1),
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    channels: str | None = None,
    resize: str = "stretch",
    method: str = "bilinear",
) -> Data:
    """Samples in a ``.tar``, ``.parquet`` or ``.tfrecord``, in a folder of such or in ``train-{000..099}.tar``, or what Hugging
    Face's ``save_to_disk`` wrote.

    ``image`` and ``label`` name the fields or columns; else they are found by their usual names. ``label`` "" for none. Samples
    stay where they are: of a ``.tar`` any is read alone, of the others those that are wanted are copied to disk in one pass.
    The other arguments are those of :class:`Preprocessing`. Raises DataError that names the file.
    """
    found = shard_files.at(Path(path))
    if found is None:
        raise DataError(f"{path}: no shards; give .tar, .parquet or .tfrecord files, or a folder of them")
    return sharded(found, Preprocessing(pixels, mean, std, channels, resize, method), image, label)


def sharded(found: Shards, preprocessing: Preprocessing, image: str | None, label: str | None) -> Data:
    """:func:`shards` with files that are known and a preprocessing value."""
    part: tuple[Finding, ...] = ()
    if found.left:
        part = (Finding("part", f"{found.where}: took {found.part}; left {', '.join(found.left)}"),)
    stored: Stored
    if found.kind == "tar":
        stored, labels, noticed = members(found.files, image, label)
        part += noticed
    else:
        held = packed.listed(found, image, label)
        if held.numbers is not None:
            return as_they_are(held.numbers, preprocessing)
        assert held.images is not None
        stored, labels = held.images, held.labels
    return labelled(stored, labels, found.where, preprocessing, part)
