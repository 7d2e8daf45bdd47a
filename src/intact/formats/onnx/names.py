"""What users call the nodes of an ONNX file: the module or layer that a node was made of.

- the weight says it: a Conv that reads ``features.0.0.weight`` is ``features.0.0``,
- torch's new exporter says it beside the node: ``['', 'features.0', 'features.0.2', 'relu']`` is ``features.0.2``,
- its older one in the node's name: ``/features/features.0/features.0.2/Relu`` is ``features.0.2``,
- tf2onnx too: ``model/conv/Conv2D__5`` is ``model/conv``.

:mod:`intact.formats.tflite.op_names` reads what is made of them here.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from intact.formats.onnx.document import Node

#: What stands between names, or between a layer and what it computes; and characters that no line has.
_APART: Final = re.compile(r"[;/\x00-\x1f\x7f]")
_NUMBER: Final = re.compile(r"__\d+(:\d+)?$")
_LONGEST: Final = 200


def called(node: Node, constants: Container[str]) -> tuple[str, str]:
    """The layer that the node's tensors are called after, and its word for what it computes; else the node, and no word."""
    path = _of_weight(node, constants) or _of_scopes(node) or _of_path(node.name)
    if path:
        word = node.scopes[-1] if node.scopes else node.op
        return _short(path), _short(word.lower())
    name = _NUMBER.sub("", node.name) or next(filter(None, node.outputs), "")
    return name[:_LONGEST].replace(";", "_"), ""


def _short(text: str) -> str:
    """A part of a name: no longer than it may be, and in one piece."""
    text = _APART.sub("_", text)
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _of_scopes(node: Node) -> str:
    """The innermost module, as torch's exporter says it beside the node; empty for what the outermost computes."""
    return next((scope for scope in reversed(node.scopes[:-1]) if scope), "")


def _of_path(name: str) -> str:
    """The module, from a path of them, each of which may begin with the one before: ``/a/a.0/Conv`` is ``a.0``."""
    if not name.startswith("/"):
        return ""
    parts: list[str] = []
    for scope in name.split("/")[1:-1]:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)


def _of_weight(node: Node, constants: Container[str]) -> str:
    """The module that holds the first weight, where its name has a module's."""
    held = (name for name in node.inputs if name in constants and re.search(r"\.(weight|bias)$", name))
    return next(held, "").rpartition(".")[0]
