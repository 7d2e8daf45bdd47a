"""Every rule: graphs that break it and no other, and the message that names what is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from drafts import draft, normal
from nets import mobile
from plans import planned
from small_graphs import baked_batch, graph, two_inputs

from intact.errors import ModelError, UnsupportedError
from intact.network.graph import Op, Signature, State, Tensor
from intact.network.shapes import infer, open_batch
from intact.network.verify import RULES, verify
from intact.numbers.affine import Affine, Float, Index
from intact.ops.activation import Relu, Softmax
from intact.ops.base import Weight
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.elementwise import Add
from intact.ops.matmul import FullyConnected
from intact.ops.quantization import Cast
from intact.ops.shaping import Concatenation, Pack, Reshape, ShapeOf, StridedSlice
from intact.planning.integer_graph import emit

NET = mobile()
INT8 = emit(NET, planned(NET))


def with_tensor(net, i, **changes):
    return replace(net, tensors={**net.tensors, i: replace(net[i], **changes)})


def with_format(net, i, **changes):
    return with_tensor(net, i, format=replace(net[i].format, **changes))


def with_data(net, i, at, value):
    data = net[i].data.copy()
    data.flat[at] = value
    return with_tensor(net, i, data=data)


def ids(net, kind):
    """The ids that the first op of a kind reads and writes."""
    op = next(op for op in net.ops if op.kind.name == kind)
    return (*op.inputs, *op.outputs)


def with_op(net, n, **changes):
    ops = list(net.ops)
    ops[n] = replace(ops[n], **changes)
    return replace(net, ops=tuple(ops))


def signed(inputs=(), outputs=()):
    """NET with a second signature."""
    return replace(NET, signatures=(*NET.signatures, Signature("serve", inputs, outputs)))


def whole_numbers():
    """A dense layer of ids."""
    ids, weight = Tensor(0, "ids", (1, 4), Index()), Tensor(1, "w", (2, 4), data=normal(2, 4))
    return graph((ids, weight, Tensor(2, "y", (1, 2))), [Op(FullyConnected(), (0, 1), (2,))], (0,), (2,))


#: a + w is y; b is read by nothing.
TWO = graph(
    (Tensor(0, "a", (1, 4)), Tensor(1, "b", (1, 4)), Tensor(2, "w", (4,), data=normal(4)), Tensor(3, "y", (1, 4))),
    [Op(Add(), (0, 2), (3,))],
    (0, 1),
    (3,),
)
X, W, B, Y = ids(INT8, "CONV_2D")
DEPTHWISE = ids(INT8, "DEPTHWISE_CONV_2D")
SCORES = ids(INT8, "SOFTMAX")[1]


def int4(data):
    return graph(
        (Tensor(0, "x", (1, 2)), Tensor(1, "w", (3, 2), Affine((0.1,), (0,), "int4"), data), Tensor(2, "y", (1, 5, 2))),
        [],
        (0,),
        (0,),
    )


def summed(read=1, write=2, initial=None):
    """y = x + what y was in the call before."""
    tensors = (Tensor(0, "x", (1, 4)), Tensor(1, "before", (1, 4)), Tensor(2, "y", (1, 4)), Tensor(3, "flat", (4,)))
    ops = [Op(Add(), (0, 1), (2,)), Op(Reshape((4,)), (2,), (3,))]
    initial = np.zeros((1, 4)) if initial is None else initial
    whole = replace(graph(tensors, ops, (0,), (2, 3)), states=(State("sum", 1, 2, np.zeros((1, 4))),))
    assert verify(whole) is whole
    also = () if read == 1 else whole.states  # what is read else would be made by nothing
    return replace(whole, states=(State("sum", read, write, initial), *also))


def joined(second):
    """CONCATENATION of a and b in int8, b in the format ``second``."""
    first = Affine((0.1,), (3,))
    tensors = (Tensor(0, "a", (1, 2), first), Tensor(1, "b", (1, 2), second), Tensor(2, "y", (1, 4), first))
    return graph(tensors, [Op(Concatenation(axis=1), (0, 1), (2,))], (0, 1), (2,))


def reversed_bias():
    """Its scales in another order: every one is a scale of the layer, and none is its channel's."""
    return with_format(INT8, B, scale=INT8[B].format.scale[::-1])


def one_scale_is(scale):
    return Affine((*[1.0] * 7, scale), (0,) * 8, axis=3)


def unfit(kind, x, w, b, y):
    """One op with a weight, its tensors of these shapes."""
    shapes = (x, w, *([] if b is None else [b]), y)
    last = len(shapes) - 1
    tensors = [Tensor(i, f"x{i}", shape, data=normal(*shape) if 0 < i < last else None) for i, shape in enumerate(shapes)]
    if isinstance(kind, TransposeConv):
        sizes = Tensor(9, "sizes", (4,), Index("int32"), np.int32(y))
        return graph((*tensors, sizes), [Op(kind, (9, 1, 0, *range(2, last)), (last,))], (0,), (last,))
    return graph(tensors, [Op(kind, tuple(range(last)), (last,))], (0,), (last,))


IMAGE = (1, 4, 4)
#: Kinds with shapes of data, weight, bias and output of which one does not fit, and what is said.
UNFIT = [
    (
        (DepthwiseConv2D(), (*IMAGE, 3), (1, 1, 1, 4), (4,), (*IMAGE, 4)),
        r"DEPTHWISE_CONV_2D 'x3' reads data of shape \[1, 4, 4, 3\], whose channels do not fit its weight of shape \[1, 1, 1,",
    ),
    (
        (DepthwiseConv2D(), (*IMAGE, 3), (1, 1, 1, 6), (3,), (*IMAGE, 6)),
        r"DEPTHWISE_CONV_2D 'x3' has a bias of shape \[3\], and its weight of shape \[1, 1, 1, 6\] makes 6 channels, along axi",
    ),
    (
        (DepthwiseConv2D(), (*IMAGE, 3), (1, 1, 1, 6), None, (*IMAGE, 3)),
        r"'x2' is recorded as giving shape \[1, 4, 4, 3\], and its weight of shape \[1, 1, 1, 6\] makes 6 channels, along axi",
    ),
    (
        (Conv2D(), (*IMAGE, 3), (8, 1, 1, 4), (8,), (*IMAGE, 8)),
        r"CONV_2D 'x3' reads .* do not fit its weight of shape \[8, 1, 1, 4\]",
    ),
    (
        (Conv2D(), (*IMAGE, 1), (8, 1, 1, 4), (8,), (*IMAGE, 8)),
        r"reads data of shape \[1, 4, 4, 1\], whose channels do not fit",
    ),
    (
        (Conv2D(), (*IMAGE, 8), (5, 1, 1, 4), (5,), (*IMAGE, 5)),
        r"reads data of shape \[1, 4, 4, 8\], whose channels do not fit",
    ),
    (
        (Conv2D(), (*IMAGE, 3), (8, 1, 1, 3), (7,), (*IMAGE, 8)),
        r"CONV_2D 'x3' has a bias of shape \[7\], .* 8 channels, along axis 0",
    ),
    ((TransposeConv(), (*IMAGE, 3), (8, 1, 1, 4), None, (*IMAGE, 8)), r"TRANSPOSE_CONV 'x2' reads .* do not fit"),
    (
        (FullyConnected(), (1, 6), (8, 6), (6,), (1, 8)),
        r"FULLY_CONNECTED 'x3' has a bias of shape \[6\], .* 8 channels, along axis 0",
    ),
    (
        (FullyConnected(keep_dims=True), (1, 2, 6), (8, 4), (8,), (1, 2, 8)),
        r"data of shape \[1, 2, 6\], whose channels do not fit",
    ),
    ((FullyConnected(), (1, 6), (6,), (6,), (1, 6)), r"whose channels do not fit its weight of shape \[6\]"),
]
FIT = [
    (DepthwiseConv2D(), (*IMAGE, 3), (1, 1, 1, 6), (6,), (*IMAGE, 6)),  # its multiplier is what the sizes say, as in LiteRT
    (DepthwiseConv2D(depth_multiplier=2), (*IMAGE, 3), (1, 1, 1, 6), None, (*IMAGE, 6)),
    (Conv2D(), (*IMAGE, 8), (6, 1, 1, 4), (6,), (*IMAGE, 6)),  # of 2 groups
    (Conv2D(), (*IMAGE, 8), (8, 1, 1, 1), (8,), (*IMAGE, 8)),  # of as many groups as channels
    (TransposeConv(), (*IMAGE, 3), (8, 1, 1, 3), (8,), (*IMAGE, 8)),
    (FullyConnected(), (1, 2, 6), (8, 12), (1, 8), (1, 8)),  # flattened, and a bias of two axes
    (FullyConnected(keep_dims=True), (1, 2, 6), (8, 6), (8,), (1, 2, 8)),
]


@pytest.mark.parametrize("sizes", FIT, ids=str)
def test_weights_of_every_legal_form_fit(sizes):
    whole = unfit(*sizes)
    assert verify(whole) is whole


def test_a_wrong_axis_of_a_kind_is_named(monkeypatch):
    """The fault of one line: output channels of a depthwise weight looked for along its first axis."""
    monkeypatch.setattr(DepthwiseConv2D, "weight", Weight(input=1, axis=0, bias=2))
    said = r"DEPTHWISE_CONV_2D 'x6' has a bias of shape \[8\], and its weight of shape .* makes 1 channels, along axis 0"
    with pytest.raises(ModelError, match=said):
        verify(NET)


BROKEN = [
    ("ids are known", replace(NET, tensors={**NET.tensors, 50: NET[12]}), "tensor 12 is filed under 50"),
    (
        "ids are known",
        signed(inputs=(("image", 3),)),
        "signature 'serve' calls 'image' an input, which is none of the network's",
    ),
    ("ids are known", signed(outputs=(("scores", 3),)), "signature 'serve' calls 'scores' an output, which is none of the"),
    ("operands are there", with_op(NET, 0, inputs=(0,)), "op CONV_2D 'x3' reads 1 tensors, and CONV_2D takes 2 to 3"),
    ("operands are there", with_op(NET, -1, inputs=(12, 2)), "op SOFTMAX 'scores' reads 2 tensors, and SOFTMAX takes 1"),
    ("only the batch is open", with_tensor(NET, 3, shape=(None, None, 8, 8)), r"'x3' has shape \[None, None, 8, 8\]; only the"),
    ("only the batch is open", with_tensor(NET, 3, shape=(None, -8, 8, 8)), "only the first dimension may be open"),
    ("sizes are possible", with_tensor(NET, 3, shape=(None, 2**14, 2**14, 8)), "'x3' of shape .* is larger than any device"),
    ("sizes are possible", with_tensor(NET, 3, shape=(None, 0, 8, 8)), r"'x3' of shape \[None, 0, 8, 8\] holds no numbers"),
    ("ends are told apart", replace(NET, inputs=(0, 0)), "2 inputs are called 'image'; export the model again with a name"),
    ("ends are told apart", replace(TWO, outputs=(3, 3)), "2 outputs are called 'y'; export the model again with a name for"),
    ("ends are told apart", replace(TWO, inputs=(0, 1, 2)), "input 'w' is a constant"),
    ("ops are in order", replace(NET, ops=NET.ops[::-1]), "op SOFTMAX 'scores' reads 'x12' before anything makes it"),
    ("ops are in order", replace(NET, ops=NET.ops[1:]), "op DEPTHWISE_CONV_2D 'x6' reads 'x3' before anything makes it"),
    ("ops are in order", replace(NET, ops=(*NET.ops, NET.ops[0])), "CONV_2D 'x3' writes 'x3', which something else already"),
    ("ops are in order", replace(NET, ops=(Op(Relu(), (0,), (0,)), *NET.ops)), "writes 'image', which something else already"),
    ("ops are in order", replace(NET, ops=(Op(Relu(), (2,), (5,)), *NET.ops)), "writes 'w5', which something else already"),
    ("ops are in order", replace(NET, ops=NET.ops[:-1]), "output 'scores' is made by nothing"),
    ("constants hold what they say", with_tensor(NET, 2, data=normal(7)), r"'w2' holds float32 \[7\] and says float32 \[8\]"),
    ("constants hold what they say", with_tensor(NET, 2, data=np.zeros(8)), r"holds float64 \[8\] and says float32 \[8\]"),
    ("constants hold what they say", with_tensor(NET, 8, format=Index("int64")), r"'axes' holds int32 \[2\] and says int64"),
    ("constants hold what they say", with_tensor(INT8, W, data=INT8[W].data.astype("int16")), r"holds int16 .* and says int8"),
    ("constants hold what they say", int4(np.zeros(3, np.int8)), r"'w' holds int8 \[3\] and says int4 \[3, 2\]"),
    ("constants hold what they say", with_data(NET, 1, 5, np.nan), "weight 'w1' holds 1 values that are NaN or infinite"),
    ("constants hold what they say", with_data(NET, 5, [0, 3], -np.inf), "weight 'w5' holds 2 values that are NaN or inf"),
    ("states fit", summed(read=0), "state 'sum' is read from 'x', which is something else"),
    ("states fit", summed(write=3), r"state 'sum' is read as .*float32.* \[1, 4\] and kept as .* \[4\]"),
    ("states fit", summed(initial=np.zeros((1, 5))), r"state 'sum' of shape \[1, 4\] begins with \[1, 5\]"),
    *(("weights fit", unfit(*sizes), message) for sizes, message in UNFIT),
    ("weights fit", whole_numbers(), "op FULLY_CONNECTED 'y' reads whole numbers where it multiplies real ones by its weight"),
    ("formats are valid", with_tensor(NET, 0, format=Affine((-1.0,), (0,))), "has a scale that is not a positive number"),
    (
        "formats are valid",
        with_tensor(NET, 3, format=one_scale_is(np.nan)),
        "'x3' has a scale that is not",
    ),
    ("formats are valid", with_tensor(NET, 0, format=Affine((np.inf,), (0,))), "'image' has a scale that is not a positive"),
    ("formats are valid", with_tensor(NET, 0, format=Affine((0.0,), (0,))), "'image' has a scale that is not a positive"),
    ("formats are valid", with_tensor(NET, 0, format=Affine((1.0,), (128,))), "'image' has a zero point outside int8"),
    ("formats are valid", with_tensor(NET, 0, format=Affine((1.0,), (-1,), "uint8")), "has a zero point outside uint8"),
    ("formats are valid", with_format(INT8, W, axis=4), r"of shape \[8, 3, 3, 3\] has 8 scales along axis 4"),
    ("formats are valid", with_format(INT8, W, axis=1), r"of shape \[8, 3, 3, 3\] has 8 scales along axis 1"),
    ("formats are valid", with_format(INT8, DEPTHWISE[1], axis=-1), r"of shape \[1, 3, 3, 8\] has 8 scales along axis -1"),
    ("kernels agree", joined(Affine((0.1,), (4,))), "op CONCATENATION 'y' needs one scale and zero point"),
    ("kernels agree", joined(Affine((0.2,), (3,))), "op CONCATENATION 'y' needs one scale and zero point"),
    (
        "kernels agree",
        with_format(INT8, SCORES, scale=(1 / 128,)),
        "SOFTMAX 'scores' must give scale 0.00390625 and zero",
    ),
    ("kernels agree", with_format(INT8, SCORES, zero_point=(0,)), "must give scale 0.00390625 and zero point -128"),
    ("kernels agree", with_format(INT8, X, scale=(0.5,)), "op CONV_2D 'x3' has a bias whose scale is not scale_in"),
    ("kernels agree", reversed_bias(), "op CONV_2D 'x3' has a bias whose scale is not scale_in"),
    ("kernels agree", with_tensor(INT8, B, format=Affine((0.1,), (0,), "int32")), "has a bias whose scale is not scale_in"),
]


@pytest.mark.parametrize(("name", "net", "says"), BROKEN)
def test_a_graph_that_breaks_one_rule_is_refused_by_it_alone(name, net, says):
    with pytest.raises(ModelError, match=says):
        verify(net)
    assert [rule for rule, check in RULES if list(check(net))] == [name]


def test_a_bias_of_zeros_may_count_in_any_unit():
    """TensorFlow's converter merges equal constants, and so the zeros of two layers."""
    zeros = with_tensor(INT8, B, format=Affine((0.1,), (0,), "int32"), data=np.zeros_like(INT8[B].data))
    assert verify(zeros) is zeros


def test_every_rule_has_a_graph_that_breaks_it():
    assert [name for name, _ in RULES] == list(dict.fromkeys(name for name, _, _ in BROKEN))


@pytest.mark.parametrize("changes", [{"outputs": (99,)}, {"inputs": (99,)}, {"ops": (Op(Relu(), (99,), (3,)),)}])
def test_an_id_that_does_not_exist_is_met_before_other_rules_look_it_up(changes):
    with pytest.raises(ModelError, match="tensor 99 is used and does not exist"):
        verify(replace(NET, **changes))


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (with_tensor(NET, 3, shape=(None, 9, 8, 8)), r"op CONV_2D 'x3': computes shape \[1, 8, 8, 8\], but 'x3' is recorded"),
        (
            with_tensor(NET, 0, shape=(None, 8, 3)),
            r"CONV_2D 'x3': inputs of shape \[1, 8, 3\], \[8, 3, 3, 3\], \[8\] do",
        ),
        (replace(NET, ops=(replace(NET.ops[0], outputs=(3, 6)), *NET.ops[2:])), "op CONV_2D 'x3': has 2 outputs where 1 are"),
        (replace(NET, ops=(replace(NET.ops[0], inputs=(None, 1, 2)), *NET.ops[1:])), "required input x is left out"),
    ],
)
def test_shapes_must_be_those_that_the_ops_compute(net, says):
    assert not [rule for rule, check in RULES if list(check(net))]
    with pytest.raises(ModelError, match=says):
        verify(net)


def test_real_and_whole_numbers_are_not_mixed():
    whole = Tensor(2, "w", (4,), Index("uint32"), np.arange(4, dtype=np.uint32))
    with pytest.raises(ModelError, match="op ADD 'y': reads real numbers and whole numbers, which no kernel mixes"):
        verify(replace(TWO, tensors={**TWO.tensors, 2: whole}))


def test_what_no_op_can_take_is_unsupported_rather_than_corrupt():
    flow = Tensor(8, "axes", (2,), Index())
    with pytest.raises(UnsupportedError, match="axes is computed at run time"):
        verify(replace(NET, tensors={**NET.tensors, 8: replace(flow, format=Float())}, inputs=(0, 8)))


@pytest.mark.parametrize(
    "net",
    [
        NET,
        INT8,
        int4(np.zeros((3, 2), np.int8)),
        joined(Affine((0.1,), (3,))),
        with_tensor(NET, 0, format=Affine((1.0,), (127,))),
        with_tensor(NET, 0, format=Affine((1.0,), (255,), "uint8")),
        draft((2,), lambda d, x: d(Concatenation(axis=1), x, d(Reshape(), d(Softmax(), x), [-1, 2]))),
        graph((Tensor(0, "x", (1,)), Tensor(1, "pad", (1,), data=np.float32([-np.inf]))), [], (0,), (0, 1)),
    ],
)
def test_sound_graphs_are_given_back(net):
    assert verify(net) is net


def test_shapes_follow_the_batch():
    assert infer(NET, 7)[3] == (7, 8, 8, 8)
    assert infer(NET)[13] == (1, 4)
    wrong = with_tensor(NET, 3, shape=(None, 1, 1, 1))
    assert infer(wrong, recorded=False)[3] == (1, 8, 8, 8)


def test_numbers_made_from_shapes_meet_tensors_without_data():
    """Attention divides by sqrt(size), and the size comes from SHAPE."""

    def build(d, x):
        size = d(StridedSlice(shrink_axis_mask=1), d(ShapeOf(), x), [1], [2], [1])
        return d(Concatenation(axis=1), x, d(Reshape(), d(Pack(), *[d(Cast(), size)] * 2), [1, 2]))

    assert infer(draft((3,), build, open_batch=False), 1)[0] == (1, 3)
    net = draft((3,), build, open_batch=False)
    assert verify(net) is net


def test_the_batch_opens_where_every_op_lets_it():
    opened = open_batch(two_inputs())
    assert [opened[i].shape for i in (0, 1, 2)] == [(None, 3)] * 3
    assert open_batch(opened) is opened
    baked = baked_batch()
    assert open_batch(baked) is baked
