"""A graph, in integers or not, as an exported program of torch (``.pt2``): raw weights and operators, nothing pickled.

Inputs and outputs are real numbers where ours stand for such; images have their channels first where convolutions take them.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from intact.formats import onnx_out
from intact.formats.pt2_out.network import Network, storage_of
from intact.formats.pt2_out.rows import ROWS
from intact.formats.refusals import check
from intact.network.graph import Graph
from intact.network.graph import Tensor as GraphTensor

#: The extra file of the archive that says what it was made of, and how inputs and outputs lie: our axis at each of theirs.
ABOUT: Final = "intact.json"


def write(graph: Graph, about: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a ``.pt2`` file that ``torch.export.load`` reads.

    Raises UnsupportedError that names all ops which torch has no form of.
    """
    check(graph, ROWS, "PyTorch")
    program = exported(graph)
    orders = orders_of(graph)
    said = {
        **(about or {}),
        "inputs": {name: orders[i] for name, i in zip(graph.input_names, graph.inputs, strict=True)},
        "outputs": {name: orders[i] for name, i in zip(graph.output_names, graph.outputs, strict=True)},
    }
    made = io.BytesIO()
    torch.export.save(program, made, extra_files={ABOUT: json.dumps(said)})
    return made.getvalue()


def is_ours(path: Path) -> bool:
    """Whether a file is one that :func:`write` made."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"/extra/{ABOUT}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def orders_of(graph: Graph) -> dict[int, onnx_out.Order]:
    """Which axis of ours lies at each axis of inputs and outputs, by id: images have their channels first."""
    given = onnx_out.orders(graph)
    found = {i: given[name] for name, i in zip(graph.input_names, graph.inputs, strict=True)}
    has_images = onnx_out.FIRST in found.values()
    for i in graph.outputs:
        rank = len(graph[i].shape)
        found.setdefault(i, onnx_out.FIRST if has_images and rank == 4 else tuple(range(rank)))
    return found


def network(graph: Graph) -> torch.nn.Module:
    """The module that is exported, with its constants in place."""
    made = Network(graph, ROWS, orders_of(graph)).eval()
    with torch.no_grad():
        made(*_samples(graph, 1))
    return made


def exported(graph: Graph) -> torch.export.ExportedProgram:
    """The graph as a program, for any number of samples where ``graph`` leaves it open."""
    made = network(graph)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it will change
        if graph.takes_batches:
            batch = torch.export.Dim("batch")
            program = torch.export.export(made, _samples(graph, 2), dynamic_shapes=(tuple({0: batch} for _ in graph.inputs),))
        else:
            program = torch.export.export(made, _samples(graph, 1))
    return program


def _samples(graph: Graph, count: int) -> tuple[torch.Tensor, ...]:
    orders = orders_of(graph)
    return tuple(_sample(graph[i], orders[i], count) for i in graph.inputs)


def _sample(t: GraphTensor, order: tuple[int, ...], count: int) -> torch.Tensor:
    shape = tuple(count if n is None else n for n in t.shape)
    return torch.zeros([shape[axis] for axis in order], dtype=storage_of(t))
