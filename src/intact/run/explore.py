"""A network to look into: its weights as they are, and what each op costs, as one page with the numbers in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import files, scratch
from intact.data import samples_from
from intact.diagnosis.counterparts import find_counterparts
from intact.errors import OptionError
from intact.measure.cost import costs, is_parameter
from intact.network.graph import Graph, Op, Tensor, short_name
from intact.network.shapes import concrete
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, dequantize_array
from intact.numbers.grids import Choice, Figures, decibels, figures_of, grids_of, groups_of, total
from intact.planning.targets import target as target_named
from intact.progress import Progress, silent
from intact.report import explorer, node_data
from intact.report.record import plain
from intact.run.explored_ops import OpFigures, Seen, seen_of
from intact.run.opened import Opened, opened
from intact.runtime.scripts.keras_export import InputShape
from intact.wording import brief, counted

SCHEMA: Final = "intact-explorer/1"
#: Numbers that a page holds: 160 MB before they are packed, which a browser still opens.
_MOST: Final = 40_000_000
#: Decibels under which a file's weights are not the float file's, but rescaled or of another training.
_ALIKE: Final = 6.0


@final
@dataclass(frozen=True, eq=False)
class Explored:
    """``document``: what the page shows, as plain data. ``weights``: the float32 numbers of each tensor of it, by id.

    ``tensor`` and ``model`` give the figures that the page gives for a choice, number by number.
    """

    document: Mapping[str, Any] = field(repr=False)
    weights: Mapping[int, np.ndarray] = field(repr=False)

    __repr__ = brief

    def tensor(self, name: str | int, choice: Choice | None = None) -> tuple[Figures, ...]:
        """The figures of each group of a tensor, by name or id: of each channel, or of all in one. OptionError if unknown."""
        rows = [row for row in self.document["tensors"] if name in (row["id"], row["name"]) and row["id"] in self.weights]
        if not rows:
            raise OptionError(f"no tensor with numbers is called {name!r}; the document's tensors have the names there are")
        choice = choice or Choice()
        groups = groups_of(self.weights[rows[0]["id"]], rows[0]["axis"], choice)
        return tuple(figures_of(x, grid, choice) for x, grid in zip(groups, grids_of(groups, choice), strict=True))

    def model(self, choice: Choice | None = None) -> dict[str, Any]:
        """Every weight stored so: bytes with biases of 4 bytes each, dB over all weights, and each tensor, the worst first."""
        rows = []
        for row in self.document["tensors"]:
            if row["role"] == "weight" and row["id"] in self.weights:
                parts = self.tensor(row["id"], choice)
                rows.append({"id": row["id"], "name": row["name"], **_together(parts)})
        others = sum(4 * row["count"] for row in self.document["tensors"] if row["role"] in ("bias", "constant"))
        signal, noise = (sum(row[name] for row in rows) for name in ("signal", "noise"))
        return {
            "bytes": sum(row["bytes"] for row in rows) + others,
            "float_bytes": sum(4 * row["count"] for row in rows) + others,
            "sqnr": decibels(signal, noise),
            "worst": max((row["worst"] for row in rows), default=0.0),
            "tensors": sorted(rows, key=lambda row: row["sqnr"]),
        }

    def save(self, path: str | Path) -> Path:
        """Write the page. OutputError where that cannot be."""
        files.write_text(Path(path), explorer.to_html(self.document, self.weights))
        return Path(path)

    def save_node_data(self, path: str | Path) -> tuple[Path, ...]:
        """Write what Model Explorer lays over the graph: one file a figure, the first under ``path`` itself."""
        written = []
        for n, (figure, data) in enumerate(node_data.figures(self.document).items()):
            at = Path(path) if n == 0 else Path(path).with_suffix(f".{figure}.json")
            files.write_text(at, data)
            written.append(at)
        return tuple(written)


def explore(  # noqa: PLR0913  # all but one have defaults
    model: object,
    data: object = None,
    *,
    against: object = None,
    target: str = "cpu",
    input_shape: InputShape | None = None,
    progress: Progress = silent,
) -> Explored:
    """Look into ``model``, anything that :func:`intact.load` takes and any .tflite.

    With ``data``, samples in whatever form they come, each op has its noise: of a float model when it is stored as int8, of
    an integer one beside the float model ``against`` that it was made from, whose weights are then shown. ``target`` names
    the kernels that ops are timed with. Raises OptionError where the two models are the wrong way round.
    """
    device, source = target_named(target), None if data is None else samples_from(data)
    with scratch.folder() as folder:
        progress("convert", 0, 0)
        models = opened((model, *(() if against is None else (against,))), folder, input_shape, source, "litert")
        _check(models)
        seen = seen_of(models, source, device, progress)
        ours, reference = models[0], models[1].graph if len(models) > 1 else None
        held = dict(_tensors(ours.graph, reference))
        kept = _kept(held)
        document = {
            "schema": SCHEMA,
            "name": ours.name,
            "model_sha256": files.sha256(ours.path),
            "against": models[1].name if len(models) > 1 else None,
            "notes": [*seen.notes, *(row.why for row in held.values() if row.why)],
            "inputs": list(ours.graph.inputs),
            "outputs": list(ours.graph.outputs),
            "ops": [*_ops(ours.graph, seen)],
            "tensors": [
                *(row.to_json(ours.graph, i in kept) for i, row in held.items()),
                *_activations(ours.graph, seen),
            ],
        }
    return Explored(plain(document), {i: held[i].values for i in kept})


def _check(models: tuple[Opened, ...]) -> None:
    if len(models) == 1:
        return
    ours, other = models
    if other.graph.is_quantized and not ours.graph.is_quantized:
        raise OptionError(f"{ours.name} is the float model and {other.name} the quantized one; give them the other way round")
    if other.graph.is_quantized:
        raise OptionError(f"{other.name} is quantized itself; give --against the float model that {ours.name} was made from")
    if not ours.graph.is_quantized:
        raise OptionError(f"{ours.name} is not quantized; leave out --against to learn what quantizing it would cost")


@final
@dataclass(frozen=True, eq=False)
class _Held:
    """A constant of real numbers: ``values`` as float32, those of its float counterpart where it has one."""

    tensor: Tensor
    role: str
    op: str
    axis: int | None
    values: np.ndarray
    stored_sqnr: float | None = None
    why: str = ""

    def to_json(self, graph: Graph, kept: bool) -> dict[str, Any]:
        fmt = self.tensor.format
        affine = fmt if isinstance(fmt, Affine) else None
        return {
            "id": self.tensor.id,
            "name": self.tensor.name,
            "role": self.role,
            "op": self.op,
            "shape": list(concrete(graph[self.tensor.id])),
            "count": int(self.values.size),
            "axis": self.axis,
            "dtype": fmt.dtype,
            "scale": None if affine is None else list(affine.scale),
            "zero_point": None if affine is None else list(affine.zero_point),
            "stored_sqnr": self.stored_sqnr,
            "held": kept,
            "histogram": None,
        }


def _tensors(graph: Graph, reference: Graph | None) -> Iterator[tuple[int, _Held]]:
    """Every constant of real numbers once, in the order of the ops that read it."""
    floats = _floats(graph, reference)
    makers, seen = graph.producers(), set[int]()
    for op in graph.ops:
        found = weighted(graph, op)
        roles: dict[int, tuple[str, int | None]] = {}
        if found is not None:
            behind = makers.get(found.weight.id)
            source = behind.reads[0] if behind is not None and behind.kind.converts else found.weight.id
            roles[source] = ("weight", found.axis)
            if found.bias is not None:
                roles[found.bias.id] = ("bias", None)
        for i in (*op.reads, *roles):
            if i in seen or not is_parameter(graph[i]) or op.kind.converts:
                continue
            seen.add(i)
            role, axis = roles.get(i, ("constant", None))
            yield i, _held(graph[i], role, graph.label(op), axis, floats.get(i))


def _held(t: Tensor, role: str, op: str, axis: int | None, wanted: np.ndarray | None) -> _Held:
    real = np.asarray(t.data)
    real = (dequantize_array(real, t.format) if isinstance(t.format, Affine) else real).astype(np.float32)
    if not np.isfinite(real).all():
        return _Held(t, role, op, axis, real, why=f"{short_name(t.name)!r} holds numbers that are not finite; it is left out")
    if real.size == 0:
        return _Held(t, role, op, axis, real, why=f"{short_name(t.name)!r} is empty; it is left out")
    if wanted is not None and wanted.shape == real.shape:
        exact = wanted.astype(np.float64).reshape(-1)
        alike = decibels(total(np.square(exact)), total(np.square(exact - real.reshape(-1))))
        if alike >= _ALIKE:
            return _Held(t, role, op, axis, wanted.astype(np.float32), alike)
    return _Held(t, role, op, axis, real)


def _floats(graph: Graph, reference: Graph | None) -> dict[int, np.ndarray]:
    """What the float network has in the place of each constant that its counterpart can be told of."""
    if reference is None:
        return {}
    counterparts = find_counterparts(graph, reference)
    made: dict[int, np.ndarray] = {}
    for found in counterparts.ops.values():
        ours, theirs = weighted(graph, found.of), weighted(counterparts.reference, found.op)
        if ours is None or theirs is None:
            continue
        for one, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            if one is not None and other is not None and other.data is not None:
                made[one.id] = np.asarray(other.data)
    return made


def _kept(held: Mapping[int, _Held]) -> tuple[int, ...]:
    """What the page holds: all that is sound, the smaller ones first, until there are too many numbers."""
    room, kept = _MOST, set[int]()
    for i, row in sorted(held.items(), key=lambda item: item[1].values.size):
        if not row.why and row.values.size <= room:
            kept.add(i)
            room -= row.values.size
    return tuple(i for i in held if i in kept)


def _ops(graph: Graph, seen: Seen) -> Iterator[dict[str, Any]]:
    for op, cost in zip(graph.ops, costs(graph), strict=True):
        figures = seen.ops.get(op.output, OpFigures())
        yield {
            "op": graph.label(op),
            "kind": op.kind.name,
            "name": graph[op.output].name,
            "output": op.output,
            "outputs": list(op.outputs),
            "reads": list(op.reads),
            "shape": list(concrete(graph[op.output])),
            "macs": cost.macs,
            "parameters": cost.parameters,
            "bytes": cost.parameter_bytes,
            **vars(figures),
        }


def _activations(graph: Graph, seen: Seen) -> Iterator[dict[str, Any]]:
    makers: Mapping[int, Op] = graph.producers()
    for i, histogram in seen.histograms.items():
        role = "input" if i in graph.inputs else "output" if i in graph.outputs else "activation"
        yield {
            "id": i,
            "name": graph[i].name,
            "role": role,
            "op": graph.label(makers[i]) if i in makers else "input",
            "shape": list(concrete(graph[i])),
            "count": int(np.prod(concrete(graph[i]), dtype=np.int64)),
            "axis": None,
            "dtype": graph[i].format.dtype,
            "scale": None,
            "zero_point": None,
            "stored_sqnr": None,
            "held": False,
            "histogram": histogram,
        }


def _together(parts: tuple[Figures, ...]) -> dict[str, Any]:
    signal, noise = sum(part.signal for part in parts), sum(part.noise for part in parts)
    return {
        "count": sum(part.count for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "signal": signal,
        "noise": noise,
        "sqnr": decibels(signal, noise),
        "worst": max(part.worst for part in parts),
        "groups": counted(len(parts), "group"),
    }
