"""Child process: a Keras file or a SavedModel folder -> float .tflite, by TensorFlow's converter.

The request: ``{"source", "out", "scratch", "input_shape", "order"}``, where ``order`` is what ``keras_export.save`` gave for
a folder that it wrote, else None. The answer is ``{"inputs", "outputs"}``, names in the model's order or None where nothing
tells it, or one of ``{"corrupt": text}``, ``{"refused": text}`` and ``{"missing": module}``. Run by path; imports nothing of
Intact but its neighbours, by plain name.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any


#: Entries of a .keras file that Keras reads besides its configuration.
_PARTS = re.compile(r"metadata\.json|model\w*(\.weights)?\.(h5|json)|assets/.*[^/]")
#: Python takes some twenty times as much for it.
_LARGEST_JSON = 32 << 20


class CorruptError(Exception):
    """The file is not what its name says; the text is fit for a user."""


def main(request: dict[str, Any], _progress: object) -> dict[str, Any]:
    """Convert, or say in one sentence why not."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    export, keras2 = importlib.import_module("keras_export"), importlib.import_module("keras2")
    try:
        source, scratch = Path(request["source"]), Path(request["scratch"])
        order = request.get("order")
        if not source.is_dir():
            model = _load(source, scratch)
            shape = request.get("input_shape")
            source = scratch / "saved_model"
            order = export.save(model, str(source), shape)
        saved = importlib.import_module("saved_model").checked(source, scratch)
        data = _tflite(saved)
    except (export.RefusedError, keras2.RefusedError) as error:
        return {"refused": str(error)}
    except (CorruptError, importlib.import_module("saved_model").CorruptError) as error:
        return {"corrupt": str(error)}
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    Path(request["out"]).write_bytes(data)
    inputs, outputs = order or (saved.inputs, saved.outputs)
    return {"inputs": inputs, "outputs": outputs}


def _load(source: Path, scratch: Path) -> Foreign:
    """The model of a .keras or .h5 file, from a copy whose configuration has been checked and brought up to Keras 3."""
    import keras  # noqa: PLC0415

    copy = checked(source, scratch)
    with keras.saving.custom_object_scope(_replacements()):
        try:
            return keras.models.load_model(copy, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:  # whatever its many parts make of a configuration that they do not understand
            raise _refused(f"Keras {keras.__version__} cannot load it ({_first_sentence(error)})") from error


def checked(source: Path, scratch: Path) -> Path:
    """A copy of ``source`` that loads no code and no other file. Nothing of it is loaded before."""
    zips, h5_files = importlib.import_module("zips"), importlib.import_module("h5_files")
    is_zip = zipfile.is_zipfile(source)
    copy = scratch / ("model.keras" if is_zip else "model.h5")
    try:
        (_checked_zip if is_zip else _checked_h5)(source, copy)
    except (zips.UnsoundError, h5_files.UnsoundError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise CorruptError(f"the file is corrupt ({_first_sentence(error)})") from error
    return copy


def _refused(text: str) -> Exception:
    refused: Exception = importlib.import_module("keras2").RefusedError(text)
    return refused


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "Exception encountered: " in text:
        text = text.rsplit("Exception encountered: ", 1)[1]
    return text if len(text) <= 300 else f"{text[:297]}..."


def _checked_zip(source: Path, copy: Path) -> None:
    h5_files = importlib.import_module("h5_files")
    with importlib.import_module("zips").opened(source) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise CorruptError("it is a zip archive, but not a Keras model: it holds no config.json")
        about = _json(archive, "metadata.json") if "metadata.json" in names else {}
        config = _modern(_json(archive, "config.json"), str(about.get("keras_version", "")) if isinstance(about, dict) else "")
        with zipfile.ZipFile(copy, "w") as out:
            out.writestr("config.json", json.dumps(config))
            for name in filter(_PARTS.fullmatch, names):
                part = copy.with_name("part")
                with archive.open(name) as read, part.open("wb") as written:
                    shutil.copyfileobj(read, written)
                if name.endswith(".h5"):
                    h5_files.check(part)
                out.write(part, name)
                part.unlink()


def _json(archive: zipfile.ZipFile, name: str) -> Foreign:
    if archive.getinfo(name).file_size > _LARGEST_JSON:
        raise CorruptError(f"its {name} is larger than any real one")
    return json.loads(importlib.import_module("zips").read(archive, name))


def _checked_h5(source: Path, copy: Path) -> None:
    import h5py  # noqa: PLC0415

    importlib.import_module("h5_files").check(source)
    shutil.copyfile(source, copy)
    try:
        with h5py.File(copy, "r+") as file:
            written = file.attrs.get("model_config")
            if written is None:
                raise _refused(
                    "it is HDF5, but holds no architecture, weights at most; save the whole model with model.save(...)"
                )
            version = file.attrs.get("keras_version", "")
            version = version.decode() if isinstance(version, bytes) else str(version)
            file.attrs["model_config"] = json.dumps(_modern(json.loads(written), version)).encode()
    except (KeyError, RuntimeError, TypeError, SystemError) as error:
        raise CorruptError(f"the file is corrupt ({_first_sentence(error)})") from error


def _modern(config: Foreign, version: str) -> dict[str, Any]:
    """``config`` as Keras 3 reads it, if it names nothing but Keras' own."""
    keras2, objects = importlib.import_module("keras2"), importlib.import_module("keras_objects")
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str) or "config" not in config:
        raise CorruptError("its configuration is not a Keras model's")
    config = objects.without_training(config)
    try:
        modern: dict[str, Any] = keras2.modernize(config, _accepted, _operation, legacy=keras2.is_legacy(version, config))
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise CorruptError(f"its configuration is not a Keras model's ({_first_sentence(error)})") from error
    objects.check(modern)
    return modern


def _operation(kind: str) -> str | None:
    """The module that defines one of ``keras.ops``, by the name of its class."""
    import keras  # noqa: PLC0415

    for part in ("numpy", "nn", "math", "linalg", "image", "core"):
        module = importlib.import_module(f"keras.src.ops.{part}")
        found = vars(module).get(kind)
        if inspect.isclass(found) and issubclass(found, keras.Operation) and found.__module__ == module.__name__:
            return module.__name__
    return None


def _accepted(kind: str) -> frozenset[str] | None:
    """The arguments that a Keras 3 layer class takes: None when there is no such class."""
    import keras  # noqa: PLC0415

    owner: Any = getattr(keras.layers, kind, None) or getattr(keras, kind, None)
    if not inspect.isclass(owner):
        return None
    names: set[str] = set()
    for cls in owner.__mro__:
        parameters = inspect.signature(vars(cls)["__init__"]).parameters if "__init__" in vars(cls) else None
        if parameters is None:
            continue
        names |= {p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return frozenset(names - {"self"} | ({"batch_shape"} if kind == "InputLayer" else set()))


def _replacements() -> dict[str, Any]:
    """The classes that stand for what Keras 3 has no more, by the names that ``keras2`` writes."""
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    keras2 = importlib.import_module("keras2")
    layer: Foreign = keras.layers.Layer

    class TensorFlowCall(layer):  # type: ignore[misc]
        """A TensorFlow function of the closed list, called on the inputs and on constants."""

        def __init__(self, function: str, arguments: list[Any], keywords: dict[str, Any], **rest: Foreign) -> None:
            super().__init__(**rest)
            if function != "getitem" and function not in keras2.FUNCTIONS:
                raise ValueError(f"tf.{function} is not a function that a model may call")
            self.function, self.arguments, self.keywords = function, arguments, keywords

        def call(self, inputs: Foreign) -> Foreign:
            tensors = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            arguments, keywords = _filled(self.arguments, tensors), _filled(self.keywords, tensors)
            if self.function == "getitem":
                return arguments[0][_slices(keywords["slice_spec"])]
            function: Any = tf
            for part in self.function.split("."):
                function = getattr(function, part)
            return function(*arguments, **keywords)

        def compute_output_spec(self, inputs: Foreign) -> Foreign:
            return keras.src.backend.compute_output_spec(self.call, inputs)

    class ThresholdedReLU(layer):  # type: ignore[misc]
        """x where x > theta, else 0."""

        def __init__(self, theta: float, **rest: Foreign) -> None:
            super().__init__(**rest)
            self.theta = theta

        def call(self, inputs: Foreign) -> Foreign:
            return inputs * keras.ops.cast(inputs > self.theta, inputs.dtype)

    def keras2_hard_sigmoid(x: Foreign) -> Foreign:
        return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

    made = (TensorFlowCall, ThresholdedReLU, keras2_hard_sigmoid)
    return {f"{keras2.PACKAGE}>{thing.__name__}": thing for thing in made}


def _filled(value: Foreign, tensors: list[Any]) -> Foreign:
    """``value`` with ``{"tensor": i}`` replaced by the i-th tensor."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        return {key: _filled(item, tensors) for key, item in value.items()}
    return [_filled(item, tensors) for item in value] if isinstance(value, list) else value


def _slices(spec: Foreign) -> Foreign:
    """The index that Keras 2 wrote as JSON: ``[{"start": 1, "stop": None, "step": None}, {"class_name": "__ellipsis__"}]``."""
    if not isinstance(spec, list):
        spec = [spec]
    index: list[Any] = []
    for part in spec:
        if isinstance(part, dict) and "start" in part:
            index.append(slice(part["start"], part["stop"], part["step"]))
        elif isinstance(part, dict):
            index.append(Ellipsis)
        else:
            index.append(part)
    return tuple(index)


def _tflite(saved: Foreign) -> bytes:
    """The float .tflite of a SavedModel's signature, of LiteRT's own ops only."""
    try:
        data = _from_folder(saved.folder, saved.key)
        if saved.holds_variables(data):
            data = _from_folder(saved.frozen(), saved.key)
    except Exception as error:  # the converter raises whatever its parts do
        raise _refused(_converter_message(str(error))) from error
    if wrong := _disagreement(data, saved):
        raise _refused(wrong)
    return data


def _from_folder(folder: Path, key: str) -> bytes:
    import tensorflow as tf  # noqa: PLC0415

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[key])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.experimental_enable_resource_variables = True
    data: bytes = converter.convert()
    return data


def _disagreement(data: bytes, saved: Foreign) -> str:
    """What the .tflite computes otherwise than the SavedModel's signature, at batch 1."""
    import tensorflow as tf  # noqa: PLC0415

    check = importlib.import_module("conversion_check")
    loaded = saved.loaded()
    run = loaded.signatures[saved.key]
    inputs = {}
    for seed, (name, spec) in enumerate(sorted(run.structured_input_signature[1].items())):
        if spec.shape.rank is None or None in spec.shape[1:]:
            return ""  # the reader says what is missing
        shape = [1 if size is None else size for size in spec.shape]
        inputs[name] = check.random_input(shape, spec.dtype.as_numpy_dtype, seed)
    outputs = run(**{name: tf.constant(x) for name, x in inputs.items()})
    wrong: str = check.disagreement(data, inputs, {name: y.numpy() for name, y in outputs.items()})
    return wrong


def _converter_message(text: str) -> str:
    """One sentence out of the converter's pages."""
    named = re.findall(r"'tf\.(\w+)' op|tf\.(\w+)(?=\()|fused\[\"(\w+):", text)
    names = sorted({a or b or c for a, b, c in named} - {"StatefulPartitionedCall", "PartitionedCall"})
    if names:
        listed = ", ".join(names[:6])
        if any("String" in name or "Regex" in name for name in names):
            return f"it works on text ({listed}), and LiteRT on numbers; cut the model after TextVectorization, and give it ids"
        return (
            f"it uses TensorFlow operations that LiteRT does not have ({listed}); replace the layers that make them "
            "(recurrent layers: give the input a fixed length and use unroll=True)"
        )
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    return f"TensorFlow's converter refuses it ({first[:300]})"
