"""Anything that holds a network -> Graph: one dispatcher over the importers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeGuard

import torch

from intact import files
from intact.errors import OptionError, located
from intact.formats import keras, onnx, recognize, tflite
from intact.formats import torch as pytorch
from intact.formats.recognize import ACCEPTED
from intact.network.graph import Graph
from intact.network.verify import verify
from intact.runtime.scripts.keras_export import InputShape


def load(source: object, sample: pytorch.Sample | None = None, *, input_shape: InputShape | None = None) -> Graph:
    """The verified Graph of ``source``: :data:`intact.formats.recognize.ACCEPTED`, the bytes of a .tflite, or a Graph as it is.

    ``sample`` is for torch modules: a tensor, an array, or several in order or by name, images NCHW. ``input_shape`` is
    for Keras and ONNX models that leave sizes open: sizes without the batch, (96, 96, 3), or by input name, in the model's own
    order. The graph's images are NHWC in any case. Raises IntactError with the file's name and what to do.
    """
    if isinstance(source, Graph):
        return verify(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        with located("the bytes given"):
            return tflite.read(bytes(source))
    with located(_name(source)):
        return tflite.read(_converted(source, sample, input_shape))


def to_float_tflite(
    source: object, out: Path, sample: pytorch.Sample | None = None, *, input_shape: InputShape | None = None
) -> Path:
    """Write the .tflite that :func:`load` reads ``source`` through to ``out``: conversion is slow, reading it back is not."""
    if isinstance(source, Graph):
        data = tflite.write(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        with located(_name(source)):
            data = _converted(source, sample, input_shape)
    files.write_bytes(out, data)
    return out


def example_for(source: object, examples: Callable[[], Iterable[pytorch.Sample]]) -> pytorch.Sample | None:
    """What a torch module is traced on, of ``examples``, the likeliest first; None for models that say what they take."""
    return pytorch.first_that_fits(source, examples()) if is_module(source) else None


def is_module(source: object) -> TypeGuard[torch.nn.Module]:
    """Whether ``source`` is a torch module, which has its channels first; on Keras' torch backend its models are such too."""
    return isinstance(source, torch.nn.Module) and not keras.is_model(source)


def is_keras(source: object) -> bool:
    """Whether ``source`` is a Keras model, in memory or as a file."""
    return keras.is_model(source) or _is_file(source, ".keras", ".h5", ".hdf5")


def may_leave_sizes_open(source: object) -> bool:
    """Whether ``source`` is a model whose inputs may have sizes that are not said: one of Keras, or an ONNX file."""
    return is_keras(source) or _is_file(source, ".onnx")


def _is_file(source: object, *suffixes: str) -> bool:
    return isinstance(source, (str, Path)) and Path(source).suffix.lower() in suffixes


def _name(source: object) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return type(source).__name__


def _converted(source: object, sample: pytorch.Sample | None, input_shape: InputShape | None) -> bytes:
    """``source`` as a .tflite."""
    _check_options(source, sample, input_shape)
    if isinstance(source, (str, Path)):
        return _from_path(Path(source), input_shape)
    if keras.is_model(source):  # before torch: on Keras' torch backend its models are torch modules too
        return keras.model_to_tflite(source, input_shape)
    if isinstance(source, torch.export.ExportedProgram):
        return pytorch.program_to_tflite(source)
    if isinstance(source, torch.nn.Module):
        return pytorch.module_to_tflite(source, sample)
    advice = "; a state dict holds weights only: load it into its module and pass that" if isinstance(source, Mapping) else ""
    raise OptionError(f"cannot load a model from {type(source).__name__}; give {ACCEPTED}{advice}")


def _check_options(source: object, sample: pytorch.Sample | None, input_shape: InputShape | None) -> None:
    if sample is not None and (is_keras(source) or not isinstance(source, torch.nn.Module)):
        raise OptionError("a sample input is for torch modules only; leave it out")
    if input_shape is not None and not may_leave_sizes_open(source):
        raise OptionError("input_shape is for Keras and ONNX models that leave sizes open; leave it out")


def _from_path(path: Path, input_shape: InputShape | None) -> bytes:
    readers: Mapping[str, Callable[[Path], bytes]] = {
        ".tflite": Path.read_bytes,
        ".keras": lambda file: keras.file_to_tflite(file, input_shape),
        ".h5": lambda file: keras.file_to_tflite(file, input_shape),
        ".hdf5": lambda file: keras.file_to_tflite(file, input_shape),
        ".pt2": pytorch.file_to_tflite,
        ".onnx": lambda file: onnx.file_to_tflite(file, input_shape),
    }
    recognize.check(path)
    return keras.folder_to_tflite(path) if path.is_dir() else readers[path.suffix.lower()](path)
