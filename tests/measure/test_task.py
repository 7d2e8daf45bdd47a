"""What an output is taken for: classes, boxes, masks or values; and that only classes agree or are right."""

import numpy as np
import pytest
from drafts import draft, normal
from small_graphs import graph as graph_of

import intact
from intact.data import class_count, input_specs, units
from intact.errors import OptionError
from intact.measure.task import maker, tasks
from intact.network.graph import Op, Tensor
from intact.ops.activation import Logistic, Softmax
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import ArgMax
from intact.ops.shaping import Reshape
from intact.search.goal import Goal


def head(width, *after, inputs=8):
    """A FULLY_CONNECTED to ``width`` numbers and then ``after``: functions of the draft and the tensor."""

    def build(d, x):
        y = d(FullyConnected(), x, normal(width, inputs), normal(width))
        for step in after:
            y = step(d, y)
        return y

    return draft((inputs,), build)


def softmax(d, y):
    return d(Softmax(), y)


def sigmoid(d, y):
    return d(Logistic(), y)


def as_map(*shape):
    return lambda d, y: d(Reshape((-1, *shape)), y, np.int32([-1, *shape]))


def taken(graph, outputs, labels=None, targets=None, **how):
    """The kind of each output of ``graph``, had it given ``outputs``."""
    n = len(outputs[0])
    given = labels if labels is not None else targets
    samples = intact.data.arrays(np.zeros((n, 8), np.float32), given).bind(input_specs(graph), class_count(graph))
    found = tasks(graph, dict(zip(graph.output_names, outputs, strict=True)), samples, **how)
    return [found[name].kind for name in graph.output_names]


def ran(graph, n=60, seed=1):
    x = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return [y.numpy() for y in intact.Program(graph)({graph.input_names[0]: x}).values()]


def logits(classes, n=200, confidence=9.0):
    """What a trained classifier gives: one number stands out, and a different one for other samples."""
    draw = np.random.default_rng(0)
    return (draw.normal(size=(n, classes)) + confidence * np.eye(classes)[np.arange(n) % classes]).astype(np.float32)


def points(count, n=200):
    """Coordinates in pixels: each around a place of its own."""
    draw = np.random.default_rng(0)
    return (draw.uniform(0, 190, count) + draw.normal(0, 9, (n, count))).astype(np.float32)


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        (head(5, softmax), "classes"),
        (head(5, softmax, as_map(1, 1, 5)), "classes"),  # [n, 1, 1, 5]
        (head(5, sigmoid), "values"),  # labels that do not exclude each other
        (head(1), "values"),  # a regression
        (head(4), "values"),
        (head(63), "values"),
        (head(128), "values"),
        (head(24, as_map(6, 4)), "boxes"),
        (head(64, as_map(4, 4, 4)), "values"),  # heat maps
        (head(64, as_map(4, 4, 4), softmax), "masks"),
        (head(24, as_map(6, 4), sigmoid), "boxes"),
    ],
)
def test_untrained_outputs_without_labels(graph, kind):
    assert taken(graph, ran(graph)) == [kind]


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (logits(10), "classes"),
        (logits(100), "classes"),
        (points(63), "values"),
        (points(10), "values"),
        (np.random.default_rng(0).normal(0, 9, (200, 128)).astype(np.float32), "values"),  # an embedding before its norm
        (logits(10) * np.float32(100), "values"),
        (np.tile(logits(10)[:1], (200, 1)), "values"),  # always the same
    ],
)
def test_what_numbers_without_labels_look_like(output, kind):
    graph = head(output.shape[1])
    assert taken(graph, [output]) == [kind]
    assert taken(graph, [output], labels=np.arange(len(output)) % output.shape[1]) == ["classes"]
    assert taken(graph, [output], asked=True) == ["classes"]


def test_unit_vectors_are_an_embedding_whatever_is_asked():
    y = logits(16)
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    assert taken(head(16), [y], asked=True) == ["values"]
    samples = intact.data.arrays(np.zeros((200, 8), np.float32)).bind(input_specs(head(16)), 16)
    outputs = {head(16).output_names[0]: y}
    found = tasks(head(16), outputs, samples, asked=True)
    with pytest.raises(OptionError, match=r"--min-agreement compares classes, and its vectors have length 1"):
        Goal("disagreement", 1.0).loss(outputs, outputs, samples, None, found)


def test_several_labels_at_once_are_no_classes_whatever_is_asked():
    scores = np.random.default_rng(0).uniform(0, 1, (50, 6)).astype(np.float32)
    assert taken(head(6, sigmoid), [scores], asked=True) == ["values"]
    alone = 0.9 * np.eye(6, dtype=np.float32)[np.arange(50) % 6]
    assert taken(head(6, sigmoid), [alone], asked=True) == ["classes"]
    assert taken(head(6, sigmoid), [alone]) == ["values"]


@pytest.mark.parametrize(
    ("graph", "output", "kind"),
    [
        (head(1, sigmoid), np.linspace(0.1, 0.9, 40)[:, None], "classes"),
        (head(1, sigmoid), np.linspace(0.6, 0.9, 40)[:, None], "values"),  # never on the other side
        (head(1), np.linspace(-1, 1, 40)[:, None], "values"),
    ],
)
def test_one_number(graph, output, kind):
    assert taken(graph, [output.astype(np.float32)]) == [kind]
    assert taken(graph, [output.astype(np.float32)], labels=np.arange(40) % 2) == ["classes"]


def test_with_a_metric_labels_are_no_sign_of_classes():
    assert taken(head(4), ran(head(4)), labels=np.arange(60) % 4) == ["classes"]
    assert taken(head(4), ran(head(4)), labels=np.arange(60) % 4, metric=True) == ["values"]


def test_boxes_beside_scores():
    graph = draft(
        (8,),
        lambda d, x: (
            d(Reshape((-1, 6, 16)), d(FullyConnected(), x, normal(96, 8), normal(96)), np.int32([-1, 6, 16])),
            d(Reshape((-1, 6, 1)), d(FullyConnected(), x, normal(6, 8), normal(6)), np.int32([-1, 6, 1])),
        ),
    )
    assert taken(graph, ran(graph)) == ["boxes", "values"]


def test_whole_numbers():
    graph = head(5, lambda d, y: d(ArgMax(), y, np.int32(-1)))
    assert maker(graph, graph.outputs[0]) == "ARG_MAX"
    assert taken(graph, [np.arange(30)]) == ["classes"]
    assert taken(head(5), [np.arange(30)]) == ["values"]


def test_how_many_classes_is_one_fact():
    assert [units(s) for s in ((None, 10), (None, 1, 1, 10), (4, 1), (None,), (None, 8, 8, 2), (None, None))] == [
        *(10, 10, 1, 1, None, None)
    ]
    assert class_count(head(5, as_map(1, 1, 5))) == 5
    alone = graph_of((Tensor(0, "x", (7,)), Tensor(1, "y", (7,))), [Op(Logistic(), (0,), (1,))], (0,), (1,))
    assert class_count(alone) is None  # seven numbers of no sample in particular


def test_a_classifier_of_n_1_1_c_takes_labels():
    graph = head(5, softmax, as_map(1, 1, 5))
    x = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    result = intact.quantize(graph, intact.data.arrays(x, np.arange(80) % 5), measure=True)
    assert result.reading("accuracy drop", "difference").measurement.n == 40
    assert result.reading("agreement with float").measurement.n == 40
    assert {task.kind for task in result.tasks.values()} == {"classes"}


def test_a_regression_gets_no_agreement():
    x = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    result = intact.quantize(head(1), intact.data.arrays(x))
    names = {r.measurement.name for r in result.readings}
    assert not {"agreement with float", "top-1 accuracy"} & names
    assert {"SQNR", "SQNR without the mean", "levels used"} <= names
