"""The names of a program's modules, carried through the converter: every tensor of the .tflite says whence it comes.

The converter names what it makes of an operator after the operator's stack of modules, which is ``features.0.0/conv2d;`` here,
and strings together the names of what it fuses. A program that is traced anew forgets its stacks unless it is interpreted.
Runs in a child process beside the converter, by plain name: imports torch only when called and nothing of Intact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any

#: What stands between names, or between a module and its operator; and characters that no line has.
_APART: Final = re.compile(r"[;/\x00-\x1f\x7f]")
#: A module that is called for the second time: ``relu@1``.
_AGAIN: Final = re.compile(r"@\d+(?=\.|$)")
#: Bytes of a name: a stranger's file may hold longer ones, which are repeated for every tensor.
_LONGEST: Final = 200


def mark(module: Foreign) -> None:
    """Leave in every operator of ``module``, an exported program's, nothing but its name, for the converter to carry."""
    for node in module.graph.nodes:
        named = node.op not in {"placeholder", "output"}
        node.meta = {"nn_module_stack": {"module": ("", _name(node))}} if named else {}


def makers(module: Foreign) -> list[str]:
    """The names of the operators that make the outputs of a marked ``module``, in order; empty for what none makes."""
    from torch.utils import _pytree as pytree  # noqa: PLC0415

    (result,) = (node for node in module.graph.nodes if node.op == "output")
    stacks = [getattr(made, "meta", {}).get("nn_module_stack") for made in pytree.tree_leaves(result.args[0])]
    return [str(stack["module"][1]) if stack else "" for stack in stacks]


def interpreted(module: Foreign, args: Sequence[Foreign], kwargs: Mapping[str, Foreign]) -> Foreign:
    """What ``module`` computes, one operator after the other, so that a trace of it keeps their names."""
    import torch  # noqa: PLC0415
    from torch.fx import traceback  # noqa: PLC0415
    from torch.utils import _pytree as pytree  # noqa: PLC0415

    codegen = module.graph._codegen
    called = pytree.tree_flatten((tuple(args), dict(kwargs)))[1]
    ordered = dict(kwargs) if called == codegen.pytree_info.in_spec else _in_order(codegen, kwargs)
    flat = pytree.tree_leaves((tuple(args), ordered))
    with traceback.preserve_node_meta():
        outputs = torch.fx.Interpreter(module).run(*flat, enable_io_processing=False)
    return codegen.process_outputs(outputs)


def _in_order(codegen: Foreign, kwargs: Mapping[str, Foreign]) -> dict[str, Any]:
    """Keyword arguments as the program lists them."""
    from torch.export._tree_utils import reorder_kwargs  # noqa: PLC0415

    found: dict[str, Any] = reorder_kwargs(dict(kwargs), codegen.pytree_info.in_spec)
    return found


def _name(node: Foreign) -> str:
    """``features.0.0/conv2d``: the module whose code calls the operator; an operator of the outermost by its own name."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = str(stack[-1][0]) if stack else ""
    path = path or _owner(node)
    path = _APART.sub("_", _AGAIN.sub("", path))
    path = path if len(path) <= _LONGEST else f"…{path[-_LONGEST:]}"
    return f"{path}/{_operator(node)}" if path else str(node.name)


def _owner(node: Foreign) -> str:
    """The module that holds what the operator reads, where the program says no more: ``conv`` for ``conv.weight``."""
    held = [str(read.target) for read in node.all_input_nodes if read.op == "get_attr"]
    return held[0].rpartition(".")[0] if held else ""


def _operator(node: Foreign) -> str:
    """``conv2d`` of ``aten.conv2d.default``."""
    name = getattr(node.target, "__name__", None) or str(node.target)
    return _APART.sub("_", str(name).partition(".")[0].strip("_"))
