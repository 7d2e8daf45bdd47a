"""What figures are of every single sample, in one array, so that two runs on the same samples can be compared in pairs.

An array ``[n]`` of bools or int8 is what of 100 per cent each sample adds, ``[n]`` of floats are numbers of which the figure is
the mean, and ``[n, 2]`` are powers of signal and noise, of whose sums the figure is the ratio in dB.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import numpy as np

from intact.annotations import Ints, Values
from intact.errors import OptionError
from intact.measure.accuracy import tango
from intact.measure.bootstrap import paired
from intact.measure.measurement import Measurement
from intact.wording import brief, counted

if TYPE_CHECKING:
    from intact.measure.figures import Reading

#: How the file is called in a run's folder, and its schema.
FILE: Final = "samples.npz"
SCHEMA: Final = "intact-samples/1"
#: Bytes that the arrays may take, some hundred thousand samples; the figures that come first are kept.
MOST: Final = 16 << 20
#: What a file may take, with what stands before its arrays.
LARGEST: Final = 2 * MOST
_LONGEST_ABOUT: Final = 1 << 20
#: By how much a number may change as it is kept in 32 bits.
_TRUE: Final = 1e-6
#: What reading a damaged archive raises.
_DAMAGE: Final = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError, SyntaxError, EOFError, OSError, RuntimeError),
    *(MemoryError, zipfile.BadZipFile, zlib.error, struct.error, TokenError),
)

#: Whose a figure is, and its name.
Key: TypeAlias = tuple[str, str]
Each: TypeAlias = Values[np.ndarray, "_n ..."]


@final
@dataclass(frozen=True, eq=False)
class BySample:
    """The figures of a run by sample: of which file and which samples, in which order, and the ``columns``, all of one length.

    ``model_sha256``: of the integer file, ``samples``: the fingerprint of those that it was measured on.
    """

    model_sha256: str
    samples: str
    columns: Mapping[Key, Each] = field(repr=False)

    __repr__ = brief

    @staticmethod
    def of(readings: Iterable[Reading], model_sha256: str, samples: str) -> BySample:
        """What ``readings`` say of every sample, in 32 bits where these hold it; the first that fit in :data:`MOST` bytes."""
        columns, held = dict[Key, Each](), 0
        for reading in readings:
            kept = None if reading.measurement.each is None else _narrow(reading.measurement.each)
            if kept is not None and held + kept.nbytes <= MOST:
                columns[reading.of, reading.measurement.name] = kept
                held += kept.nbytes
        return BySample(model_sha256, samples, columns)

    def to_bytes(self) -> bytes:
        """As an .npz: ``about``, JSON in bytes, which names the columns, and these as ``column 0`` and so on."""
        about = {
            "schema": SCHEMA,
            "model_sha256": self.model_sha256,
            "samples": self.samples,
            "columns": [{"of": of, "name": name} for of, name in self.columns],
        }
        arrays = {f"column {i}": column for i, column in enumerate(self.columns.values())}
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        return file.getvalue()

    @staticmethod
    def from_bytes(data: bytes, n: int) -> BySample:
        """What :meth:`to_bytes` made, of ``n`` samples. OptionError for what is damaged, another's or of another version."""
        try:
            return _read(data, n)
        except _DAMAGE as error:
            raise OptionError("is not what Intact writes; make the run again with intact quantize --overwrite") from error


def _narrow(each: Each) -> Each | None:
    """``each`` with floats in 32 bits; None where they do not hold it, or it is not finite."""
    if each.dtype.kind != "f":
        return each
    if not np.isfinite(each).all() or np.abs(each).max(initial=0) > np.finfo(np.float32).max:
        return None
    with np.errstate(under="ignore"):
        kept = each.astype(np.float32)
    return kept if np.allclose(kept, each, rtol=_TRUE, atol=0) else None


def _read(data: bytes, n: int) -> BySample:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sum(sizes.values()) > LARGEST or sizes["about.npy"] > _LONGEST_ABOUT:
            raise ValueError("larger than Intact writes")
        about = json.loads(_array(archive, "about").tobytes())
        _check_schema(about)
        rows = [(_text(row["of"]), _text(row["name"])) for row in about["columns"]]
        columns = {key: _column(_array(archive, f"column {i}"), n) for i, key in enumerate(rows)}
    return BySample(_text(about["model_sha256"]), _text(about["samples"]), columns)


def _array(archive: zipfile.ZipFile, name: str) -> Each:
    return np.asarray(np.lib.format.read_array(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False))


def _check_schema(about: Mapping[str, Any]) -> None:
    said = _text(about["schema"])
    if said != SCHEMA and said.partition("/")[0] == SCHEMA.partition("/")[0]:
        raise OptionError(
            f"is of schema {said}, and this version of Intact reads {SCHEMA}; make the run again with intact quantize "
            "--overwrite"
        )
    if said != SCHEMA:
        raise ValueError("another's")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _column(array: Each, n: int) -> Each:
    shares = array.dtype in (np.bool_, np.int8) and array.shape == (n,)
    numbers = array.dtype == np.float32 and array.shape in {(n,), (n, 2)} and bool(np.isfinite(array).all())
    if not (shares or numbers) or (array.ndim == 2 and array.min(initial=0) < 0):
        raise ValueError("no column")
    return array


def change(a: Each, b: Each, name: str, unit: str) -> Measurement | None:
    """By how much the figure ``name``, in ``unit``, is larger in ``b`` than in ``a``: what it is of every sample in two runs.

    Taken in pairs. Of shares the score interval of :func:`~intact.measure.accuracy.tango` where no sample differs by more than
    one, else a bootstrap over samples. None where the two hold the same, or are not alike.
    """
    if a.shape != b.shape or not len(a) or np.array_equal(a, b) or (a.dtype.kind == "f") != (b.dtype.kind == "f"):
        return None
    if a.ndim == 2:
        return _of_ratios(a.astype(np.float64), b.astype(np.float64), name, unit)
    difference = b.astype(np.float64) - a
    if a.dtype.kind == "f":
        return _of_means(difference, name, unit)
    return _of_shares(difference, name) if np.abs(difference).max() <= 1 else _of_means(100 * difference, name, unit)


def _of_shares(difference: Each, name: str) -> Measurement:
    n, more, less = len(difference), int((difference > 0).sum()), int((difference < 0).sum())
    low, high = tango(more, less, n)
    how = f"paired: {counted(more, 'sample')} more and {less:,} less of {n:,}, Tango score interval"
    return Measurement(name, 100 * (more - less) / n, "percentage points", 100 * low, 100 * high, how, n)


def _of_means(difference: Each, name: str, unit: str) -> Measurement:
    def value(pick: Ints[np.ndarray, "n"]) -> float:
        return float(difference[pick].mean())

    n = len(difference)
    interval = paired(value, n)
    by = "percentage points" if unit == "%" else unit
    return Measurement(name, float(difference.mean()), by, interval.low, interval.high, f"paired, {interval.how}", n)


def _of_ratios(a: Each, b: Each, name: str, unit: str) -> Measurement | None:
    powers = np.concatenate([a, b], 1)

    def value(pick: Ints[np.ndarray, "n"]) -> float:
        sums = powers[pick].sum(0)
        if not sums.all():
            return math.nan
        return 10 * float(np.log10(sums[2] / sums[3]) - np.log10(sums[0] / sums[1]))

    n = len(a)
    whole = value(np.arange(n))
    if math.isnan(whole):
        return None
    interval = paired(value, n)
    return Measurement(name, whole, unit, interval.low, interval.high, f"paired, {interval.how}", n)
