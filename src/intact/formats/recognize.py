"""What a model's path holds, by its name and first bytes alone: what cannot be read is refused before anything is loaded."""

from __future__ import annotations

import mmap
import os
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from intact import files, reading
from intact.errors import ModelError, UnsupportedError
from intact.formats.tflite import flatbuffer
from intact.runtime.scripts import zips

ACCEPTED: Final = (
    "a .tflite, .keras, .h5, .hdf5, .pt2 or .onnx file, a TensorFlow SavedModel folder, a Keras model, a torch module with a "
    "sample input, or a torch.export program"
)
_TORCH_PICKLE: Final = (
    "a {suffix} file is a Python pickle, which can run any code, and often holds weights only; load it in Python and save the "
    "program: torch.export.save(torch.export.export(module.eval(), (sample,)), 'model.pt2')"
)
#: File kinds that people have and we do not read, with the way out.
REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        ".pt": _TORCH_PICKLE.format(suffix=".pt"),
        ".pth": _TORCH_PICKLE.format(suffix=".pth"),
        ".ckpt": _TORCH_PICKLE.format(suffix=".ckpt"),
        ".bin": _TORCH_PICKLE.format(suffix=".bin"),
        ".safetensors": "a .safetensors file holds weights without the network; load them into it and pass the model itself",
        ".pb": "a frozen TensorFlow graph is not supported; give the SavedModel folder that holds saved_model.pb, or a .tflite",
        ".pkl": "a pickle can run any code; save the model as .keras, .pt2 or .tflite",
        ".json": "a .json file holds no weights; save the whole model as .keras",
    }
)
_TFLITE: Final = b"TFL3"  # at byte 4
#: Bytes of a model at most, in all its files: they may hold the largest network several times over, and a sparse file, which
#: claims more than is written, is read, and unpacked, as large as it claims to be.
_LARGEST: Final = 4 * flatbuffer.LARGEST
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
#: How an ONNX file says in which other file a weight lies: an entry of a key and, behind its length, a name.
_LOCATION: Final = re.compile(rb"\n\x08location\x12([\x01-\x7f])(.{1,127})", re.DOTALL)
#: The first bytes of ONNX's fields: numbers 1 and 5 are integers, 2 to 4, 6 to 8, 14, 20, 25 and 26 hold bytes.
_ONNX_FIELDS: Final = tuple(bytes([tag]) for tag in (0x08, 0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA, 0xD2))
#: Bytes in which every version of its superblock says where the file ends.
_SUPERBLOCK: Final = 52


def check(path: Path) -> Path:
    """``path``, when it looks like a model that Intact reads. Raises ModelError or UnsupportedError."""
    # os.path says no where a name is none that a file can have, or the system lets nobody look.
    if os.path.isdir(path):  # noqa: PTH112
        if not os.path.isfile(path / "saved_model.pb"):  # noqa: PTH113
            if os.path.isfile(path / "result.json") and os.path.isfile(path / "model.tflite"):  # noqa: PTH113
                raise ModelError(f"it is the folder of a run; give its model, {path / 'model.tflite'}")
            if os.path.isfile(path / "study.json"):  # noqa: PTH113
                raise ModelError(f"it is the folder of a study; give the model of one of the runs in {path / 'runs'}")
            raise ModelError(f"it is a folder, but no TensorFlow SavedModel: it holds no saved_model.pb; give {ACCEPTED}")
        flatbuffer.check_size(files.size(path), _LARGEST)
        return path
    suffix = path.suffix.lower()
    if os.path.exists(path) and suffix in REFUSED:  # noqa: PTH110
        raise UnsupportedError(REFUSED[suffix])
    _openable(path)
    flatbuffer.check_size(path.stat().st_size, flatbuffer.LARGEST if suffix == ".tflite" else _LARGEST)
    if suffix not in _CHECKS:
        raise UnsupportedError(
            f"{f'a {suffix} file' if suffix else 'a file without a suffix'} is no known model; give {ACCEPTED}"
        )
    _CHECKS[suffix](path)
    return path


def beside(path: Path) -> tuple[Path, ...]:
    """The files in a model's folder that hold weights of it: those that an ONNX file names."""
    if path.suffix.lower() != ".onnx":
        return ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        names = {bytes(found[2][: found[1][0]]).decode(errors="replace") for found in _LOCATION.finditer(data)}
    inside = (Path(name) for name in names if name and "\0" not in name)
    paths = (path.parent / name for name in inside if not name.is_absolute() and ".." not in name.parts)
    return tuple(sorted(found for found in paths if found.is_file()))


def is_tflite(path: Path) -> bool:
    """Whether a file is a .tflite by its name, or under another name by its mark."""
    if path.suffix.lower() == ".tflite":
        return True
    try:
        with reading.opened(path, ModelError) as file:
            return file.read(8)[4:] == _TFLITE
    except ModelError:  # said when it is read
        return False


def check_tflite(path: Path) -> Path:
    """``path``, when it holds a .tflite whose every offset leads somewhere, whatever it is called."""
    flatbuffer.check_size(_openable(path).stat().st_size, flatbuffer.LARGEST)
    _tflite(path)
    return path


def _openable(path: Path) -> Path:
    if os.path.isdir(path):  # noqa: PTH112
        raise ModelError("it is a folder, not a file")
    if not os.path.lexists(path):
        raise ModelError("there is no such file; check the path")
    with reading.opened(path, ModelError) as file:
        if not file.read(1):
            raise ModelError("the file is empty")
    return path


def _tflite(path: Path) -> None:
    with path.open("rb") as file:
        flatbuffer.check_mark(file.read(8))  # before all of it, which may not fit memory
    flatbuffer.check(path.read_bytes())


def _keras(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(_SUPERBLOCK)
    if start[:8] == _HDF5:
        _hdf5(start, path.stat().st_size)
        return
    if not zipfile.is_zipfile(path):
        raise ModelError("the file is truncated or no Keras model: it is neither a zip archive (.keras) nor HDF5 (.h5)")
    try:
        with zips.opened(path) as archive:
            names = archive.namelist()
    except zips.UnsoundError as error:
        raise ModelError(f"the file is truncated or no Keras model ({error})") from error
    if "config.json" not in names:
        raise ModelError("it is a zip archive, but not a Keras model: it holds no config.json")


def _hdf5(start: bytes, size: int) -> None:
    """The superblock says where the file ends: at byte 40 (version 0), 44 (1) or 28 (2 and 3).

    Only addresses of 8 bytes are known here, and their size stands at byte 13 (versions 0 and 1) or 9; HDF5 reads others.
    Source: HDF5 File Format Specification 3.0, II.A.
    """
    end_at, width_at = {0: (40, 13), 1: (44, 13), 2: (28, 9), 3: (28, 9)}.get(start[8] if len(start) > 8 else -1, (0, 0))
    if end_at == 0 or len(start) < end_at + 8 or start[width_at] != 8:
        return
    (end,) = struct.unpack_from("<Q", start, end_at)
    if end > size:
        raise ModelError(f"the file is corrupt (truncated: it holds {size:,} of {end:,} bytes); copy it again")


def _pt2(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise ModelError("the file is truncated, corrupt or no .pt2 archive: it is no zip archive")


def _onnx(path: Path) -> None:
    """A protobuf message begins with the number and kind of a field: those of a ModelProto."""
    with path.open("rb") as file:
        if file.read(1) not in _ONNX_FIELDS:
            raise ModelError("the file is corrupt or no ONNX model: it does not begin as one")


_CHECKS: Final[Mapping[str, Callable[[Path], None]]] = MappingProxyType(
    {".tflite": _tflite, ".keras": _keras, ".h5": _keras, ".hdf5": _keras, ".pt2": _pt2, ".onnx": _onnx}
)
