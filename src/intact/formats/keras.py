"""Keras models, as files, SavedModel folders or in memory -> float .tflite, by TensorFlow's converter in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeAlias

from intact import scratch
from intact.errors import MissingExtraError, UnsupportedError
from intact.formats.conversion import converted
from intact.runtime.scripts import keras_export

#: A keras.Model, which is not imported here.
Model: TypeAlias = Any

_WHAT: Final = "Reading a Keras model"
_EXTRA: Final = "keras"
_SCRIPT: Final = "convert_keras.py"


def is_model(source: object) -> bool:
    """Whether ``source`` is a Keras 3 or tf_keras model; Keras is not imported for it."""
    return any(
        cls.__name__ == "Model" and cls.__module__.split(".")[0] in ("keras", "tf_keras") for cls in type(source).__mro__
    )


def file_to_tflite(source: Path, input_shape: keras_export.InputShape | None) -> bytes:
    """A ``.keras``, ``.h5`` or ``.hdf5`` file, of Keras 3 or 2. Nothing of it runs: custom objects and Lambdas are refused."""
    return _convert(source, input_shape)


def folder_to_tflite(source: Path, order: tuple[list[str], list[str] | None] | None = None) -> bytes:
    """A TensorFlow SavedModel folder, by its serving signature; ``order``: the names of its inputs and outputs, where known."""
    return _convert(source, None, order)


def model_to_tflite(model: Model, input_shape: keras_export.InputShape | None) -> bytes:
    """An in-memory model, custom layers and all: exported here, as its code lives here, and converted in a child."""
    with scratch.folder() as folder:
        if any(cls.__module__.split(".")[0] == "tf_keras" for cls in type(model).__mro__):
            model.export(f"{folder}/saved_model")
            return folder_to_tflite(folder / "saved_model", ([x.name for x in model.inputs], None))
        try:
            import keras  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise MissingExtraError(_WHAT, _EXTRA) from error
        if keras.backend.backend() == "tensorflow" and not _is_half(model):
            saved = folder / "saved_model"
            try:
                order = keras_export.save(model, str(saved), input_shape)
            except keras_export.RefusedError as error:
                raise UnsupportedError(str(error)) from error
            return folder_to_tflite(saved, order)
        saved = folder / "model.keras"
        model.save(saved)
        return file_to_tflite(saved, input_shape)


def _is_half(model: Model) -> bool:
    """Whether a layer computes in 16 bits; the converter has no such kernels, and files are read in float32."""
    return any("float16" in str(getattr(layer, "compute_dtype", "")) for layer in model._flatten_layers())


def _convert(
    source: Path, input_shape: keras_export.InputShape | None, order: tuple[list[str], list[str] | None] | None = None
) -> bytes:
    request = {"source": str(source.resolve()), "input_shape": input_shape, "order": order}
    return converted(_SCRIPT, request, _WHAT, _EXTRA)
