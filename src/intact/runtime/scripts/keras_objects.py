"""Which Python objects a Keras configuration may name: a closed list of places in Keras, and no file but its own weights.

Keras makes whatever a configuration says by module and name, and some of its own objects load files, fetch them or unpickle.
Runs in a child process beside Keras, by plain name: imports only the standard library and, when called, its neighbours.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Final, TypeAlias

#: A parsed JSON document, and an object in it.
Json: TypeAlias = Any

_PACKAGE: Final = r"(tensorflow\.(python\.)?)?(tf_)?keras(\.src|\.api|\._tf_keras\.keras)*"
#: Where classes come from.
_MODULE: Final = re.compile(
    rf"{_PACKAGE}(\.(layers|models|engine|initializers|regularizers|constraints|activations|dtype_policies|mixed_precision|random"
    r"|quantizers|ops|losses|metrics|optimizers)(\.\w+)*)?"
)
#: Where functions come from, which a layer calls.
_FUNCTIONS: Final = re.compile(
    rf"builtins|{_PACKAGE}\.(activations|ops|initializers|regularizers|constraints|losses|metrics)(\.\w+)*"
)
_IDENTIFIER: Final = re.compile(r"(intact>)?[A-Za-z_]\w*")
#: Layers of Keras' own that hold other frameworks' programs, as pickles or in folders of their own.
_FOREIGN: Final = frozenset({"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__"})
#: Arguments that Keras takes for a file's name where they are text.
_FILES: Final = frozenset({"vocabulary", "idf_weights", "filepath", "file_path", "fname", "weights"})
_WEIGHTS_ALLOWED: Final = frozenset({None, "imagenet"})


def without_training(node: Json) -> Json:
    """The same document without what a model is trained with, which is not loaded: losses there may be anyone's."""
    if isinstance(node, list):
        return [without_training(item) for item in node]
    if isinstance(node, dict):
        return {key: without_training(item) for key, item in node.items() if key != "compile_config"}
    return node


def check(node: Json) -> None:
    """Raise ``keras2.RefusedError`` for a document that names anything else."""
    if isinstance(node, list):
        for item in node:
            check(item)
    elif isinstance(node, dict):
        if "class_name" in node:
            _check_object(node)
        for key, value in node.items():
            if key in _FILES and isinstance(value, str) and value not in _WEIGHTS_ALLOWED:
                raise _refused(f"its configuration names the file {value[:80]!r} ({key}); save the model with the values in it")
            check(value)


def _check_object(node: dict[str, Json]) -> None:
    kind, module, inner = node["class_name"], node.get("module"), node.get("config")
    if not isinstance(kind, str) or not _IDENTIFIER.fullmatch(kind):
        raise _refused(f"its configuration names the class {str(kind)[:80]!r}, which is none of Keras' own")
    if kind in _FOREIGN:
        raise _refused(f"it holds another framework's program ({kind}), which a model file is not trusted to run; {_ADVICE}")
    is_function = kind == "function"
    name = inner if is_function else kind
    if is_function and (not isinstance(inner, str) or not _IDENTIFIER.fullmatch(inner)):
        raise _refused(f"its configuration names the function {str(inner)[:80]!r}, which is none of Keras' own")
    if module is None or (isinstance(module, str) and (_FUNCTIONS if is_function else _MODULE).fullmatch(module)):
        return
    raise _refused(
        f"its configuration names {str(name)[:80]!r} of {str(module)[:80]!r}, none of the layers and functions of Keras that "
        f"compute; {_ADVICE}"
    )


_ADVICE: Final = "load the model in Python, and pass the model itself: intact.load(model)"


def _refused(text: str) -> Exception:
    refused: Exception = importlib.import_module("keras2").RefusedError(text)
    return refused
