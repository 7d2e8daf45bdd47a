"""How many ops of real models are called what the user's own network calls them.

    python bench/op_names.py FOLDER

For each model in FOLDER: ops with weights, and ops in all, whose name is that of a layer or a module. PyTorch modules are those
of the exported program, Keras layers those of the file; of a .tflite, whose network nobody has, a name counts that is no part
of a converter's list and none of the names that converters make up.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from intact.formats.load import load
from intact.network.weighted import weighted

MADE_UP = re.compile(r"[;<>:]|Identity|PartitionedCall|arith\.|tfl\.|serving_default|convert_|torch\.nn|^t\d+$|^$")


def modules(path: Path) -> frozenset[str]:
    """The names of all modules that a program's operators come from; and of operators that are called outside any."""
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = torch.export.load(path).graph.nodes
    stacks = [list(node.meta.get("nn_module_stack", {}).values()) for node in nodes]
    return frozenset(fqn for stack in stacks for fqn, _ in stack) | {node.name for node in nodes}


def layers(path: Path) -> frozenset[str]:
    """The names of all layers of a Keras file, as its configuration has them."""
    with importlib.import_module("h5py").File(path) as file:
        config = file.attrs["model_config"]
    return frozenset(re.findall(r'"name": "([^"]+)"', config.decode() if isinstance(config, bytes) else config))


def main(folder: Path) -> None:
    """Print a row for each model."""
    own: dict[str, Callable[[Path], frozenset[str]]] = {".pt2": modules, ".h5": layers}
    print("| model | ops with weights | named | ops | named | for example |\n|---|---|---|---|---|---|")
    for path in sorted(p for p in folder.iterdir() if p.suffix in {*own, ".tflite"}):
        graph = load(path)
        known = own[path.suffix](path) if path.suffix in own else None
        named = {}
        for op in graph.ops:
            name = re.sub(r"( \([^()]*\))?( #\d+)?$", "", graph.called(op))
            named[op.output] = name in known if known is not None else not MADE_UP.search(name)
        heavy = [named[op.output] for op in graph.ops if weighted(graph, op) is not None]
        other = [graph.label(op) for op in graph.ops if not named[op.output]]
        said = f"not {other[0]}" if other else graph.label(graph.ops[len(graph.ops) // 2])
        print(f"| {path.name} | {len(heavy)} | {sum(heavy)} | {len(named)} | {sum(named.values())} | {said} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
