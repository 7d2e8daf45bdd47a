"""ONNX's control flow, where what it does is known before anything runs: the branch that is taken, loops step by step.

A node's networks may read what is around them; ``Run`` runs one on what it is given and says what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import NONE, Builder, Value
from intact.formats.onnx.call import Call
from intact.formats.onnx.constants import known
from intact.formats.onnx.document import Network
from intact.formats.onnx.matmul import without
from intact.formats.onnx.shaping import joined, part

Run: TypeAlias = Callable[[Network, Sequence[Value]], list[Value]]
Flow: TypeAlias = Callable[[Call, Run], list[Value]]

_FIXED: Final = "export the model on an example of fixed size, without control flow"


def _inner(call: Call, name: str) -> Network:
    found = call.node.attributes.get(name)
    if not isinstance(found, Network):
        raise ModelError(f"has no {name.replace('_', ' ')}")
    return found


def _is_true(v: Value, what: str) -> bool:
    if v.stored.data is None:
        raise UnsupportedError(f"{what} by what it computes; {_FIXED}")
    return bool(v.stored.data.all())


def _if(call: Call, run: Run) -> list[Value]:
    """What the branch gives that is taken."""
    return run(_inner(call, "then_branch" if _is_true(call.value(0), "takes a branch") else "else_branch"), ())


def _loop(call: Call, run: Run) -> list[Value]:
    """What is carried from step to step, and what each step gives besides, one after the other along a new first axis."""
    body, carried, rows = _inner(call, "body"), [_present(v) for v in call.inputs[2:]], list[list[Value]]()
    if call.has(0) and not call.value(0).is_constant:
        raise UnsupportedError(f"takes as many steps as it computes; {_FIXED}")
    most = int(call.constant(0, "number of steps").reshape(-1)[0]) if call.has(0) else None
    step, goes_on = 0, not call.has(1) or _is_true(call.value(1), "ends a loop")
    while goes_on and (most is None or step < most):
        condition, *made = run(body, [known(np.asarray(step, np.int64)), known(np.asarray(goes_on)), *carried])
        carried, row = made[: len(carried)], made[len(carried) :]
        rows.append(row)
        step, goes_on = step + 1, _is_true(condition, "ends a loop")
    return [*carried, *_stacked(call.build, rows, len(call.node.outputs) - len(carried), {}, {})]


def _scan(call: Call, run: Run) -> list[Value]:
    """The states after the last step, and what each step gives besides, along new axes; each step is given slices."""
    body, count = _inner(call, "body"), call.integer("num_scan_inputs", 0)
    values = list(call.values)
    if not 0 < count <= len(values):
        raise ModelError(f"scans {count} of {len(values)} inputs")
    states, scanned = values[:-count], values[-count:]
    axes = [call.counted(a, v.rank) for a, v in zip(call.integers("scan_input_axes") or (0,) * count, scanned, strict=True)]
    turned = call.integers("scan_input_directions") or (0,) * count
    lengths = {v.shape[a] for v, a in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise ModelError(f"scans sequences of {sorted(lengths)} steps together")
    (length,) = lengths
    rows = list[list[Value]]()
    for step in range(length):
        slices = [
            _slice(call.build, v, a, length - 1 - step if back else step)
            for v, a, back in zip(scanned, axes, turned, strict=True)
        ]
        made = run(body, [*states, *slices])
        states, row = made[: len(states)], made[len(states) :]
        rows.append(row)
    more = len(call.node.outputs) - len(states)
    along = dict(enumerate(call.integers("scan_output_axes") or ()))
    backwards = dict(enumerate(call.integers("scan_output_directions") or ()))
    return [*states, *_stacked(call.build, rows, more, along, backwards)]


def _present(v: Value | None) -> Value:
    if v is None:
        raise ModelError("carries nothing from step to step where a value should be")
    return v


def _slice(build: Builder, v: Value, axis: int, at: int) -> Value:
    return without(part(build, v, {axis: range(at, at + 1)}), (axis,))


def _stacked(
    build: Builder, rows: Sequence[Sequence[Value]], count: int, axes: Mapping[int, int], backwards: Mapping[int, int]
) -> list[Value]:
    """What the steps give besides states, each along a new axis. A loop without steps gives none."""
    if count and not rows:
        raise UnsupportedError(f"takes no step, and what it gives is empty; {_FIXED}")
    made = list[Value]()
    for n in range(count):
        found = [row[n] for row in rows]
        rank = found[0].rank + 1
        axis = axes.get(n, 0) % rank
        made.append(joined(build, [_raised(v, axis) for v in (found[::-1] if backwards.get(n) else found)], axis))
    return made


def _raised(v: Value, axis: int) -> Value:
    """``v`` with a new axis of length 1."""
    order = tuple(a if a == NONE else a + (a >= axis) for a in v.order)
    return Value(v.stored, (*v.shape[:axis], 1, *v.shape[axis:]), order)


FLOWS: Final[Mapping[str, Flow]] = {"If": _if, "Loop": _loop, "Scan": _scan}
