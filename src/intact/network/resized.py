"""A network of images for images of another size, its constants as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from intact.errors import ModelError
from intact.network.graph import Graph
from intact.network.shapes import infer

#: Axes of an image: [batch, height, width, channels].
_IMAGE: Final = 4


def image_size(graph: Graph) -> tuple[int, int] | None:
    """Height and width of what ``graph`` takes; None where its inputs are no images of one size."""
    sizes = {graph[i].shape[1:3] if len(graph[i].shape) == _IMAGE else () for i in graph.inputs}
    height, width = next(iter(sizes)) if len(sizes) == 1 and () not in sizes else (None, None)
    return None if height is None or width is None else (height, width)


def resized(graph: Graph, size: tuple[int, int]) -> Graph:
    """``graph`` for images of another height and width; ModelError where its ops, constants or outputs are for one alone."""
    inputs = {i: replace(graph[i], shape=(graph[i].shape[0], *size, graph[i].shape[3])) for i in graph.inputs}
    opened = replace(graph, tensors={**graph.tensors, **inputs})
    try:
        one, two = (infer(opened, batch, recorded=False) for batch in (1, 2))
    except (RuntimeError, ValueError, IndexError) as error:
        raise ModelError(f"it takes no images of {size[0]} x {size[1]}") from error
    tensors = dict(opened.tensors)
    for i, shape in one.items():
        t = graph[i]
        if t.is_constant:
            continue
        is_open = t.shape[:1] == (None,)
        if is_open and two[i][:1] != (2 * shape[0],):
            raise ModelError(f"{t.name!r} does not keep samples of {size[0]} x {size[1]} apart")
        tensors[i] = replace(t, shape=(None, *shape[1:]) if is_open else shape)
        if i in graph.outputs and tensors[i].shape != t.shape:
            raise ModelError(f"{t.name!r} has another shape for images of {size[0]} x {size[1]}")
    return replace(opened, tensors=tensors)
