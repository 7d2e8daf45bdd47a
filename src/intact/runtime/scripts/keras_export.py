"""A built Keras model as a TensorFlow SavedModel whose inputs and outputs keep the names they have in Keras.

Used in a child process for model files and in the caller's for in-memory models, so it imports Keras only when called and
nothing of Intact but a neighbour. Problems that a user can solve are :class:`RefusedError`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any

#: Sizes without the batch, for one input or by input name.
InputShape = Sequence[int] | Mapping[str, Sequence[int]]


class RefusedError(Exception):
    """The model cannot be converted as it is; the text is fit for a user."""


def save(model: Foreign, folder: str, input_shape: InputShape | None) -> tuple[list[str], list[str]]:
    """Write ``model`` to ``folder`` with one signature: batch 1, every other size fixed by the model or ``input_shape``.

    Gives the names of its inputs and of its outputs in the model's order, which the signature does not keep.

    With an open batch the converter leaves chains of SHAPE, STRIDED_SLICE and PACK around each reshape, TILE chains for
    nearest upsampling and SPACE_TO_BATCH_ND around dilated convolutions; the reader opens the batch again.
    """
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    quantized = [layer.name for layer in model._flatten_layers() if getattr(layer, "quantization_mode", None)]
    if quantized:
        raise RefusedError(f"layer {quantized[0]!r} is already quantized by Keras; save the model before model.quantize(...)")
    if not model.built and input_shape is not None and not isinstance(input_shape, Mapping):
        model(keras.ops.zeros((1, *input_shape)))
    if not model.built or (not getattr(model, "inputs", None) and not getattr(model, "_build_shapes_dict", None)):
        raise RefusedError(
            "the model has not been built, so its input shape is unknown; call it once on a sample, or give it with "
            "input_shape=(height, width, channels), on the command line --input-shape height,width,channels"
        )
    specs, inputs = _signature(model, input_shape)
    names = _output_names(model)
    layer_names = importlib.import_module(f"{__package__}.layer_names" if __package__ else "layer_names")
    outputs: list[str] = []

    def call(*arguments: Foreign) -> dict[str, Any]:
        with layer_names.kept(model):
            made = model(*arguments, training=False)
        if not isinstance(made, dict):
            flat = tf.nest.flatten(made)
            keys = names if len(names) == len(flat) else [f"output_{i}" for i in range(len(flat))]
            made = dict(zip(keys, flat, strict=True))
        outputs[:] = made
        return made

    archive = keras.export.ExportArchive()
    archive.track(model)
    try:
        archive.add_endpoint("serving_default", call, input_signature=specs)
        archive.write_out(folder, verbose=False)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise RefusedError(f"Keras cannot export the model ({_reason(error)})") from error
    return inputs, outputs


def _reason(error: Exception) -> str:
    """The line of Keras' message that says something, without the codes that make terminals bold."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
    said = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return (said or [type(error).__name__])[0][:300]


def _signature(model: Foreign, input_shape: InputShape | None) -> tuple[list[Any], list[str]]:
    """What the model is called with, as the specs of ``tf.function``: one structure per positional argument; and its names."""
    import tensorflow as tf  # noqa: PLC0415
    from keras.src.export.export_utils import get_input_signature  # noqa: PLC0415

    structure = list(get_input_signature(model))
    inputs = list(_leaves(structure, ""))
    names = [key or spec.name or f"input_{i}" for i, (key, spec) in enumerate(inputs)]
    shapes = _shapes(names, [tuple(spec.shape) for _, spec in inputs], input_shape)
    called = [re.sub(r"\W", "_", name, flags=re.ASCII) for name in _unique(names)]
    specs = [tf.TensorSpec(shape, spec.dtype, name) for shape, (_, spec), name in zip(shapes, inputs, called, strict=True)]
    leaves = iter(specs)
    return [_refilled(part, leaves) for part in structure], called


def _leaves(structure: Foreign, key: str) -> Iterator[tuple[str, Any]]:
    """The specs in a structure, in its own order, each with the key that it has if a dictionary holds it."""
    if isinstance(structure, Mapping):
        for name, part in structure.items():
            yield from _leaves(part, str(name))
    elif isinstance(structure, (list, tuple)):
        for part in structure:
            yield from _leaves(part, "")
    else:
        yield key, structure


def _refilled(structure: Foreign, leaves: Iterator[Any]) -> Foreign:
    """The same structure with other leaves, in the order of :func:`_leaves`."""
    if isinstance(structure, Mapping):
        return {name: _refilled(part, leaves) for name, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(_refilled(part, leaves) for part in structure)
    return next(leaves)


def _shapes(
    names: Sequence[str], shapes: Sequence[tuple[int | None, ...]], input_shape: InputShape | None
) -> list[tuple[int, ...]]:
    """Every input's shape, batch 1 and the rest known."""
    if input_shape is None:
        wanted: dict[str, tuple[int, ...]] = {}
    elif isinstance(input_shape, Mapping):
        wanted = {name: tuple(shape) for name, shape in input_shape.items()}
        if unknown := wanted.keys() - set(names):
            raise RefusedError(f"the input shape names {sorted(unknown)[0]!r}, but the inputs are {', '.join(names)}")
    elif len(names) != 1:
        raise RefusedError(f"the model has {len(names)} inputs ({', '.join(names)}); give the input shape by name")
    else:
        wanted = {names[0]: tuple(input_shape)}
    found: list[tuple[int, ...]] = []
    for name, shape in zip(names, shapes, strict=True):
        inner = shape[1:]
        if name in wanted:
            given = wanted[name]
            if len(given) != len(inner) or any(own not in (None, size) for own, size in zip(inner, given, strict=True)):
                raise RefusedError(f"input {name!r} takes {_written(inner)}, which {_written(given)} does not fit")
            inner = given
        if None in inner:
            raise RefusedError(
                f"input {name!r} has the shape {_written(inner)}, and an integer network needs every size but the batch; "
                f"choose one with input_shape=({', '.join(_spelled(inner))}), on the command line "
                f"--input-shape {','.join(_spelled(inner))}"
            )
        found.append((1, *(size for size in inner if size is not None)))
    return found


def _spelled(shape: Sequence[int | None]) -> list[str]:
    """The sizes of a sample, in words where they are open: an image's, or a sequence's length."""
    words = ("height", "width", "channels") if len(shape) == 3 else ("length", *(f"size{n}" for n in range(1, len(shape))))
    return [word if size is None else str(size) for word, size in zip(words, shape, strict=True)]


def _written(shape: Sequence[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "no sizes"


def _output_names(model: Foreign) -> list[str]:
    """The names of the layers that make the outputs, as Keras gives them; empty where it gives none."""
    import keras  # noqa: PLC0415

    own = getattr(model, "output_names", None) or []
    if not own and isinstance(model, keras.Sequential):
        own = [model.layers[-1].name]
    return _unique([re.sub(r"[^A-Za-z0-9_.\-]", "_", str(name)) for name in own])


def _unique(names: Sequence[str]) -> list[str]:
    return [name if list(names).count(name) == 1 else f"{name}_{i}" for i, name in enumerate(names)]
