"""A TensorFlow SavedModel folder: what it may hold, the order of its inputs, and its signature without variables.

Runs in a child process beside TensorFlow, by plain name: imports it only when called and nothing of Intact but its neighbours.
"""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any

_SIGNATURE: Final = "serving_default"
#: The largest file that protocol buffers can be.
_LARGEST: Final = 1 << 31


class CorruptError(Exception):
    """The folder is not what its name says; the text is fit for a user."""


@dataclass(frozen=True)
class SavedModel:
    """A folder that does no more than compute, and the signature in it that counts, by name.

    Its ``inputs`` and ``outputs`` are in the model's order, None where nothing tells it.
    """

    folder: Path
    scratch: Path
    key: str
    inputs: list[str] | None
    outputs: list[str] | None

    def loaded(self) -> Foreign:
        """What TensorFlow makes of the folder; its variables live as long as this does."""
        import tensorflow as tf  # noqa: PLC0415

        return tf.saved_model.load(str(self.folder))

    def holds_variables(self, tflite: bytes) -> bool:
        """Whether the converter left weights in variables: it freezes those of Keras' own export, not all others.

        What a call assigns is a state, which cannot be frozen.
        """
        from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

        model = schema.Model.GetRootAs(tflite, 0)
        ops = (model.Subgraphs(0).Operators(i) for i in range(model.Subgraphs(0).OperatorsLength()))
        codes = {model.OperatorCodes(op.OpcodeIndex()).BuiltinCode() for op in ops}
        return schema.BuiltinOperator.VAR_HANDLE in codes and schema.BuiltinOperator.ASSIGN_VARIABLE not in codes

    def frozen(self) -> Path:
        """The serving signature in a folder of its own, every variable a constant, under the same names."""
        import tensorflow as tf  # noqa: PLC0415

        convert = importlib.import_module("tensorflow.python.framework.convert_to_constants")
        loaded = self.loaded()
        run = loaded.signatures[self.key]
        specs = run.structured_input_signature[1]
        outputs = sorted(run.structured_outputs)  # as a function of a dictionary gives them
        constant = convert.convert_variables_to_constants_v2(run)
        order = [tensor.name.partition(":")[0] for tensor in constant.inputs]

        def call(*arguments: Foreign) -> dict[str, Any]:
            made = constant(*arguments)
            flat = made if isinstance(made, (list, tuple)) else [made]
            return dict(zip(outputs, flat, strict=True))

        module = tf.Module()
        module.call = tf.function(call, input_signature=[specs[name] for name in order])
        folder = self.scratch / "frozen"
        tf.saved_model.save(module, str(folder), signatures={self.key: module.call})
        return folder


def checked(folder: Path, scratch: Path) -> SavedModel:
    """``folder``, copied without all that its inference does not need, if what is left does no more than compute.

    What goes: what saves the model; slots of optimizers, which TensorFlow cannot load without the optimizer's class; assets,
    debug information, and every other file. Nothing is loaded before: that would run initializers.
    """
    saved = _parsed(folder)
    refused = importlib.import_module("keras2").RefusedError
    importlib.import_module("saved_graph").inference_only(saved)
    found = {key: graph for graph in saved.meta_graphs for key, s in graph.signature_def.items() if s.outputs}
    found.pop("__saved_model_init_op", None)
    key = _SIGNATURE if _SIGNATURE in found or len(found) != 1 else next(iter(found))
    if key not in found:
        raise refused(
            f"it has no signature called {_SIGNATURE!r} ({', '.join(sorted(found)) or 'none at all'}); save it with "
            "tf.saved_model.save(model, folder, signatures={'serving_default': function})"
        )
    inputs, outputs = _order(found[key], key)
    for graph in saved.meta_graphs:
        for node in graph.object_graph_def.nodes:
            del node.slot_variables[:]
    return SavedModel(_written(saved, folder, scratch), scratch, key, inputs, outputs)


def _parsed(folder: Path) -> Foreign:
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    file = folder / "saved_model.pb"
    if not file.is_file():
        raise CorruptError("it is a folder, but no TensorFlow SavedModel: it holds no saved_model.pb")
    if file.stat().st_size >= _LARGEST:
        raise CorruptError("its saved_model.pb is larger than any real one")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except (importlib.import_module("google.protobuf.message").DecodeError, OSError) as error:
        raise CorruptError("its saved_model.pb is truncated or corrupt") from error
    return saved


def _written(saved: Foreign, folder: Path, scratch: Path) -> Path:
    """A folder of ``saved`` and the variables of ``folder``, and nothing else of it."""
    copy = scratch / "checked"
    (copy / "variables").mkdir(parents=True)
    (copy / "saved_model.pb").write_bytes(saved.SerializeToString())
    for part in sorted((folder / "variables").glob("variables.*")):
        if not part.is_file():
            raise CorruptError(f"its variables/{part.name} is no file")
        try:
            (copy / "variables" / part.name).symlink_to(part.resolve())
        except OSError:  # Windows asks for a privilege
            shutil.copyfile(part, copy / "variables" / part.name)
    return copy


def _order(graph: Foreign, key: str) -> tuple[list[str] | None, list[str] | None]:
    """Inputs as a function of the model takes them by position, if one does and all agree; outputs if they are numbered."""
    signature = graph.signature_def[key]
    inputs, outputs = set(signature.inputs), list(signature.outputs)
    orders = {
        tuple(names)
        for function in graph.object_graph_def.concrete_functions.values()
        if set(names := list(_positions(function.canonicalized_input_signature))) == inputs
    }
    numbered = all(re.fullmatch(r"output_\d+", name) for name in outputs)
    known = sorted(outputs, key=lambda name: int(name.rpartition("_")[2])) if numbered else None
    return (list(next(iter(orders))) if len(orders) == 1 else None), known


def _positions(value: Foreign) -> Iterator[str]:
    """The names of tensors in tuples and lists, in order; a dictionary has none."""
    kind = value.WhichOneof("kind")
    if kind in ("tuple_value", "list_value"):
        for part in getattr(value, kind).values:
            yield from _positions(part)
    elif kind == "tensor_spec_value":
        yield value.tensor_spec_value.name
