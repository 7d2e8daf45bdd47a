"""WHILE and IF give way to plain ops: every step is there once, rows are followed, and what cannot be known is said."""

from pathlib import Path

import numpy as np
import pytest
from compare import assert_same
from drafts import normal

from intact.errors import ModelError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite import loops
from intact.formats.tflite.control import AssignVariable, Block, CallOnce, If, ReadVariable, VarHandle, While
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Float, Index
from intact.ops.elementwise import Add, Mul
from intact.ops.logic import Less
from intact.ops.shaping import Gather, Reshape
from intact.rewrite.clean import clean
from intact.runtime import litert
from intact.simulate.engine import Program

DATA = Path(__file__).parents[1] / "networks"
FILES = ("lstm_sequence", "gru_sequence", "simple_rnn", "bidirectional")


def block(name, tensors, ops, inputs, outputs):
    return Block(name, {t.id: t for t in tensors}, tuple(ops), inputs, outputs)


def number(i, value=None):
    return Tensor(i, f"n{i}", (), Index(), None if value is None else np.asarray(value, np.int32))


def flow(i, *shape, data=None):
    return Tensor(i, f"x{i}", shape, Float(), data)


def doubling(steps, *, body=()):
    """x [1, 4] -> x doubled ``steps`` times, by WHILE(i < steps): i + 1, x + x."""
    main = block(
        "main",
        [flow(0, 1, 4), number(1, 0), number(2), flow(3, 1, 4)],
        [Op(While(1, 2), (1, 0), (2, 3))],
        (0,),
        (3,),
    )
    less = Tensor(3, "less", (), Index("bool"))
    condition = block("cond", [number(0), flow(1, 1, 4), number(2, steps), less], [Op(Less(), (0, 2), (3,))], (0, 1), (3,))
    inner = [Op(Add(), (0, 2), (3,)), *body, Op(Add(), (1, 1), (4,))]
    step = block("body", [number(0), flow(1, 1, 4), number(2, 1), number(3), flow(4, 1, 4)], inner, (0, 1), (3, 4))
    return [main, condition, step]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_step_is_there_once(steps):
    made = loops.unroll(doubling(steps))
    assert [op.kind for op in made.ops] == [Add()] * steps
    assert made.ops[-1].outputs == made.outputs == (3,)


def test_a_loop_of_no_steps_gives_what_it_was_given():
    made = loops.unroll(doubling(0))
    assert [(op.kind, op.inputs, op.outputs) for op in made.ops] == [(Reshape((1, 4)), (0,), (3,))]


def test_a_loop_that_is_too_long_says_how_long():
    with pytest.raises(UnsupportedError, match=r"a loop that makes 1 ops in each step is longer than the 20,000 ops"):
        loops.unroll(doubling(30_000))


def test_a_loop_that_follows_from_the_input_says_what_to_do():
    main, condition, step = doubling(3)
    main = block("main", [*main.tensors.values(), number(9)], [Op(While(1, 2), (9, 0), (2, 3))], (0, 9), (3,))
    with pytest.raises(UnsupportedError, match=r"an LSTM, a GRU .*follows from its input.*unroll=True"):
        loops.unroll([main, condition, step])


def test_a_loop_inside_itself_is_corrupt():
    main, condition, step = doubling(3)
    again = block("body", list(step.tensors.values()), [Op(While(1, 2), (0, 1), (3, 4))], (0, 1), (3, 4))
    with pytest.raises(ModelError, match="subgraph 1, of 3, inside itself or out of bounds"):
        loops.unroll([main, condition, again])


@pytest.mark.parametrize(("chosen", "kind"), [(True, Add()), (False, Mul())])
def test_a_branch_that_is_known_is_taken(chosen, kind):
    main = block(
        "main",
        [flow(0, 1, 4), Tensor(1, "yes", (), Index("bool"), np.asarray(chosen)), flow(2, 1, 4)],
        [Op(If(1, 2), (1, 0), (2,))],
        (0,),
        (2,),
    )
    sides = [block(str(k), [flow(0, 1, 4), flow(1, 1, 4)], [Op(k, (0, 0), (1,))], (0,), (1,)) for k in (Add(), Mul())]
    assert [op.kind for op in loops.unroll([main, *sides]).ops] == [kind]


def test_a_step_beyond_the_sequence_is_corrupt():
    main, condition, step = doubling(3, body=[Op(Gather(0), (1, 0), (9,))])
    tensors = {**step.tensors, 9: flow(9, 4)}
    with pytest.raises(ModelError, match="reads step 1 of a sequence of 1"):
        loops.unroll([main, condition, Block("body", tensors, step.ops, step.inputs, step.outputs)])


def counting(*, assigned=True, started=True):
    """y = x + v, v = y: a sum over calls that begins at 2."""
    tensors = [flow(0, 1, 4), number(1), flow(2, 1, 4), flow(3, 1, 4)]
    ops = [Op(VarHandle("", "sum"), (), (1,)), Op(ReadVariable(), (1,), (2,)), Op(Add(), (0, 2), (3,))]
    ops = [Op(CallOnce(1), (), ()), *ops] if started else ops
    ops = [*ops, Op(AssignVariable(), (1, 3), ())] if assigned else ops
    first = flow(1, 1, 4, data=np.full((1, 4), 2, np.float32))
    start = [Op(VarHandle("", "sum"), (), (0,)), Op(AssignVariable(), (0, 1), ())]
    return [block("main", tensors, ops, (0,), (3,)), block("init", [number(0), first], start, (), ())]


def test_a_variable_is_a_state():
    made = loops.unroll(counting())
    (state,) = made.states
    assert (state.name, state.write) == ("sum", 3)
    assert_same(state.initial, np.full((1, 4), 2, np.float32))
    assert made.ops == (made.ops[0],)
    assert made.ops[0].reads == (0, state.read)


def test_a_variable_that_nothing_assigns_is_a_constant():
    made = loops.unroll(counting(assigned=False))
    assert made.states == ()
    assert_same(made.tensors[made.ops[0].reads[1]].data, np.full((1, 4), 2, np.float32))


def test_a_variable_without_a_value_is_refused():
    with pytest.raises(UnsupportedError, match="holds weights that the file does not"):
        loops.unroll(counting(assigned=False, started=False))


@pytest.mark.parametrize("name", FILES)
def test_an_unrolled_network_gives_what_its_file_gives(name):
    path = DATA / f"{name}.tflite"
    read = tflite.read(path)
    cleaned = clean(read)
    assert cleaned.takes_batches
    assert not {"WHILE", "GATHER", "SLICE", "REVERSE_V2"} & {op.kind.name for op in cleaned.ops}
    x = normal(6, 24, 2)
    (name,) = read.input_names
    (expected,) = litert.run(path, {name: x}).values()
    (actual,) = Program(cleaned)({name: x}).values()
    assert_same(actual.numpy(), expected, rtol=2e-6)
