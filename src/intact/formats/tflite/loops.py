"""Loops of known length unrolled as a file is read: WHILE and IF over the subgraphs of a file give way to plain ops.

What counts the steps is computed here, and so is which row of a sequence a step reads or writes: a sequence is held as its
rows (:mod:`intact.formats.tflite.sequences`), so that no op is left that moves it about.

Source of the form: TensorFlow's and LiteRT's lowering of
``tf.while_loop`` over tensor lists (GATHER by the counter; SLICE, SLICE and CONCATENATION in place of one row).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, final

import numpy as np
import torch

from intact.errors import ModelError, UnsupportedError, located
from intact.formats.tflite.control import AssignVariable, Block, CallOnce, If, ReadVariable, VarHandle, While
from intact.formats.tflite.sequences import Draft, Sequences
from intact.network.graph import Op, State, Tensor
from intact.numbers.affine import Affine, dequantize_array
from intact.ops.inference import Allowance, known_values
from intact.ops.shaping import Reshape

#: Ops that unrolled loops may come to; beyond it a network is no longer one that a device runs step by step.
LIMIT: Final = 20_000
#: Ops that are looked at on the way, with those that only count steps.
_RUNS: Final = 100_000
_ADVICE: Final = (
    "give the input a fixed length when exporting (Keras: --input-shape LENGTH,FEATURES, and unroll=True or a fixed "
    "Input(shape=(LENGTH, FEATURES))), or export one step and keep the state between calls"
)


def unroll(blocks: Sequence[Block]) -> Block:
    """The first block without WHILE and IF: inputs and outputs keep their ids. Tensors have the shapes that ops give them.

    Raises UnsupportedError where the number of steps is not known or the result would be longer than :data:`LIMIT` ops.
    """
    return _Unroller(blocks).main()


@final
class _Unroller:
    """Runs the blocks symbolically: whole numbers are computed, rows of sequences are followed, all else becomes ops.

    Variables: ``read`` is the tensor that holds what a call before left, ``held`` what this call has assigned so far,
    ``first`` what the variable begins with; ``busy`` are the blocks that are being run.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.draft = Draft(blocks[0].tensors)
        self.sequences = Sequences(self.draft)
        self.shared: dict[tuple[int, int], int] = {}
        self.busy: list[int] = [0]
        self.handles: dict[int, str] = {}
        self.read: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.starting = False
        self.steps = 0
        self.runs = 0
        self.allowance = Allowance()

    # ---- blocks ---------------------------------------------------------------------------------------------------------

    def main(self) -> Block:
        block = self.blocks[0]
        for i in block.inputs:
            self.draft.show(i)
        env = {i: i for i in block.inputs}
        made = [self.sequences.whole(i) for i in self._run(0, env)]
        self.held = {name: self.sequences.whole(i) for name, i in self.held.items()}
        self._keep_outputs(block, made)
        states = tuple(self._states())
        ends = (*block.outputs, *(state.write for state in states))
        ops = _without_dead(self.draft.ops, ends)
        used = {*block.inputs, *ends, *(s.read for s in states), *(i for op in ops for i in (*op.reads, *op.outputs))}
        tensors = {i: t for i, t in self.draft.tensors.items() if i in used}
        return replace(block, tensors=tensors, ops=tuple(ops), states=states)

    def _states(self) -> Iterator[State]:
        """What is read from a call before, and what is kept for the next. A variable that nothing assigns is a constant."""
        for name, i in self.read.items():
            t, first = self.draft.tensors[i], self.first.get(name)
            zeros = np.zeros([n or 1 for n in t.shape], np.float32)
            stored = zeros if first is None else np.asarray(self.draft.tensors[first].data)
            if tuple(stored.shape) != t.shape or (first is not None and str(stored.dtype) != t.format.dtype):
                raise ModelError(
                    f"variable {name!r} starts as {stored.dtype} {list(stored.shape)} and is read as {list(t.shape)}"
                )
            if name in self.held:
                is_stored = first is not None and isinstance(t.format, Affine)
                initial = dequantize_array(stored, t.format) if is_stored and isinstance(t.format, Affine) else stored
                yield State(name, i, self.held[name], initial)
            elif first is not None:
                self.draft.tensors[i] = replace(t, data=stored)
            else:
                raise UnsupportedError(
                    f"variable {name!r} holds weights that the file does not: export the model with its variables frozen "
                    "(tf.lite.TFLiteConverter.from_keras_model, or from_saved_model of a model that Keras exported)"
                )

    def _keep_outputs(self, block: Block, made: Sequence[int]) -> None:
        """What is given out keeps the id and the name that the file gives it."""
        taken: dict[int, int] = {}
        starts = {*block.inputs, *block.outputs, *self.read.values()}
        for wanted, i in zip(block.outputs, made, strict=True):
            if i == wanted:
                continue
            t = replace(self.draft.tensors[i], id=wanted, name=block.tensors[wanted].name, data=None)
            self.draft.tensors[wanted] = t
            if i in taken or i in starts or self.draft.tensors[i].is_constant:  # no op makes it under this name
                self.draft.ops.append(Op(Reshape(tuple(n or 1 for n in t.shape)), (i,), (wanted,)))
            else:
                taken[i] = wanted
        rename = taken.get
        self.held = {name: rename(i, i) for name, i in self.held.items()}
        self.draft.ops = [
            replace(
                op,
                inputs=tuple(None if i is None else rename(i, i) for i in op.inputs),
                outputs=tuple(rename(i, i) for i in op.outputs),
            )
            for op in self.draft.ops
        ]

    def _run(self, number: int, env: dict[int, int]) -> list[int]:
        """The results of a block, as tensors of the network, for its inputs ``env`` by the block's own ids."""
        block = self.blocks[number]
        self.runs += len(block.ops)
        if self.runs > _RUNS:
            raise UnsupportedError(f"loops run more than {_RUNS:,} ops in all: shorten the sequence, or export one step")
        for op in block.ops:
            inputs = tuple(None if i is None else self._find(number, env, i) for i in op.inputs)
            with located(f"op {op.kind.name} {block.tensors[op.output].name if op.outputs else block.name!r}"):
                made = self._step(block, op, inputs)
                if len(made) != len(op.outputs):
                    raise ModelError(f"has {len(op.outputs)} outputs where {len(made)} are computed")
                env.update(zip(op.outputs, made, strict=True))
        return [self._find(number, env, i) for i in block.outputs]

    def _find(self, number: int, env: Mapping[int, int], i: int) -> int:
        """The network's tensor for tensor ``i`` of a block: made in this pass, or a constant, which all passes share."""
        if i in env:
            return env[i]
        key = number, i
        if key not in self.shared:
            tensor = self.blocks[number].tensors[i]
            if not tensor.is_constant:
                raise ModelError(f"is corrupt: {tensor.name!r} is read before anything makes it")
            self.shared[key] = i if number == 0 else self.draft.add(tensor)
            self.draft.show(self.shared[key])
        return self.shared[key]

    def _step(self, block: Block, op: Op, inputs: tuple[int | None, ...]) -> Sequence[int]:
        given = [i for i in inputs if i is not None]
        match op.kind:
            case While():
                return self._loop(op.kind, given)
            case If():
                return self._branch(op.kind, given)
            case CallOnce():
                self._start(op.kind)
                return ()
            case VarHandle():
                return [self._handle(op.kind, block.tensors[op.output])]
            case ReadVariable():
                return [self._reading(self._variable(given), block.tensors[op.output])]
            case AssignVariable():
                self._assign(self._variable(given), given[1])
                return ()
        known = self._computed(op, inputs)
        if known is not None:
            return [self.draft.constant(block.tensors[i], y) for i, y in zip(op.outputs, known, strict=True)]
        like = [block.tensors[i] for i in op.outputs]
        moved = self.sequences.moved(op, inputs, like[0], looping=len(self.busy) > 1) if like else None
        if moved is not None:
            return [moved]
        return self.draft.emit(
            op.kind,
            tuple(None if i is None else self.sequences.whole(i) for i in inputs),
            [block.tensors[i] for i in op.outputs],
        )

    # ---- control --------------------------------------------------------------------------------------------------------

    def _loop(self, kind: While, values: list[int]) -> list[int]:
        self._enter(kind.condition, kind.body)
        before, steps = len(self.draft.ops), 0
        while self._holds(kind, values):
            values = self._run(kind.body, _given(self.blocks[kind.body], values))
            steps, self.steps = steps + 1, self.steps + 1
            if max(len(self.draft.ops), self.steps) > LIMIT:
                each = -(-(len(self.draft.ops) - before) // steps)
                raise UnsupportedError(
                    f"a loop that makes {each} ops in each step is longer than the {LIMIT:,} ops that Intact unrolls "
                    f"({steps:,} steps so far): shorten the sequence, or export one step and keep the state between calls"
                )
        del self.busy[-2:]
        return values

    def _holds(self, kind: While, values: list[int]) -> bool:
        block = self.blocks[kind.condition]
        made = self._run(kind.condition, _given(block, values))
        if len(made) != 1:
            raise ModelError(f"is corrupt: the condition of a loop gives {len(made)} tensors")
        known = self.draft.value(made[0])
        if known is None or known.numel() != 1:
            raise UnsupportedError(
                "is a loop (an LSTM, a GRU or tf.while_loop) whose number of steps follows from its input; " + _ADVICE
            )
        return bool(known)

    def _branch(self, kind: If, values: list[int]) -> list[int]:
        known = self.draft.value(values[0]) if values else None
        if known is None or known.numel() != 1:
            raise UnsupportedError("is a branch that follows from the input; export the one that inference takes")
        chosen = kind.then if bool(known) else kind.otherwise
        self._enter(chosen)
        made = self._run(chosen, _given(self.blocks[chosen], values[1:]))
        self.busy.pop()
        return made

    def _start(self, kind: CallOnce) -> None:
        self._enter(kind.init)
        self.starting = True
        self._run(kind.init, {})
        self.starting = False
        self.busy.pop()

    def _handle(self, kind: VarHandle, like: Tensor) -> int:
        i = self.draft.add(replace(like, shape=(), data=None))
        self.draft.show(i)
        self.handles[i] = "/".join(part for part in (kind.container, kind.variable) if part)
        return i

    def _variable(self, given: Sequence[int]) -> str:
        if not given or given[0] not in self.handles:
            raise ModelError("is corrupt: it names no variable")
        return self.handles[given[0]]

    def _reading(self, name: str, like: Tensor) -> int:
        if name in self.held:
            return self.held[name]
        if name not in self.read:
            own = self.draft.tensors.get(like.id) is like  # of the file's main subgraph: it keeps its id
            self.read[name] = like.id if own else self.draft.add(replace(like, data=None))
            self.draft.show(self.read[name])
        return self.read[name]

    def _assign(self, name: str, value: int) -> None:
        if not self.starting:
            self.held[name] = value
        elif self.draft.tensors[value].is_constant:
            self.first[name] = value
        else:
            raise UnsupportedError(f"variable {name!r} starts with a value that is computed; start it with constants")

    def _enter(self, *numbers: int) -> None:
        for number in numbers:
            if number in self.busy or number not in range(len(self.blocks)):
                raise ModelError(
                    f"is corrupt: it runs subgraph {number}, of {len(self.blocks)}, inside itself or out of bounds"
                )
            self.busy.append(number)

    # ---- ops ------------------------------------------------------------------------------------------------------------

    def _computed(self, op: Op, inputs: Sequence[int | None]) -> tuple[torch.Tensor, ...] | None:
        """The outputs of an op over known whole numbers alone."""
        values = [None if i is None else self.draft.value(i) for i in inputs]
        if not values or any(v is None for v, i in zip(values, inputs, strict=True) if i is not None):
            return None
        known = known_values(op.kind, values, self.allowance)
        if known is not None and len(known) != len(op.outputs):
            raise ModelError(f"has {len(op.outputs)} outputs where {len(known)} are computed")
        return known


def _given(block: Block, values: Sequence[int]) -> dict[int, int]:
    """What a block is run on, by its own ids."""
    if len(values) != len(block.inputs):
        raise ModelError(f"is corrupt: {block.name!r} takes {len(block.inputs)} tensors and is given {len(values)}")
    return dict(zip(block.inputs, values, strict=True))


def _without_dead(ops: Sequence[Op], outputs: Sequence[int]) -> list[Op]:
    needed, kept = set(outputs), list[Op]()
    for op in reversed(ops):
        if needed.intersection(op.outputs):
            kept.append(op)
            needed.update(op.reads)
    return kept[::-1]
