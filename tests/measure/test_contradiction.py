"""Labels that contradict the network are told from a network that is merely weak."""

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.data import input_specs
from intact.errors import DataError
from intact.measure.contradiction import _other_order, contradiction


def bound(net, x, labels):
    return intact.data.arrays(x, labels).bind(input_specs(net), net[net.outputs[0]].shape[-1])


def seen(net, x):
    return next(iter(intact.Program(net)({"image": x}).values())).detach().numpy().argmax(-1)


def spoilt(labels, share, classes, seed=0):
    """``labels`` of which a ``share`` is moved to another class."""
    draw = np.random.default_rng(seed)
    moved = draw.random(len(labels)) < share
    return np.where(moved, (labels + draw.integers(1, classes, len(labels))) % classes, labels)


@pytest.mark.parametrize(("classes", "share"), [(2, 0.2), (4, 0.4), (10, 0.6)])
def test_a_weak_network_is_no_contradiction(classes, share):
    net, x = mobile(seed=2, classes=classes), images(400, 1)
    assert contradiction(net, bound(net, x, spoilt(seen(net, x), share, classes))) is None


def test_classes_in_another_order_are_told():
    net, x = mobile(seed=2, classes=4), images(400, 1)
    order = np.int64([2, 0, 3, 1])
    labels = order[spoilt(seen(net, x), 0.1, 4)]
    found = contradiction(net, bound(net, x, labels))
    assert "the classes have another order: right on " in found.advice
    often = [own for own in range(4) if (seen(net, x) == own).mean() > 0.1]
    assert len(often) > 1
    assert all(f"{order[own]} is the model's {own}" in found.advice for own in often)


@pytest.mark.parametrize("classes", [2, 4, 10])
def test_labels_drawn_at_random_are_one(classes):
    net, x = mobile(seed=2, classes=classes), images(400, 1)
    found = contradiction(net, bound(net, x, np.random.default_rng(3).integers(0, classes, 400)))
    assert f"near chance for {classes} classes" in found.what
    assert found.advice.endswith("the order of the classes, or which label belongs to which sample, are wrong")


def test_many_classes_take_no_table_of_all_against_all():
    """Of a vocabulary it would take gigabytes, and so few samples find an order for anything."""
    outputs = np.zeros((64, 300_000), np.float32)
    samples = bound(mobile(seed=2), images(64, 1), np.zeros(64, np.int64))
    assert _other_order(outputs, samples, outputs.shape[1]) == (0.0, "")


def test_without_labels_nothing_is_said():
    net = mobile(seed=2)
    assert contradiction(net, bound(net, images(40, 1), None)) is None


def test_a_plain_run_says_so_as_well():
    net, x = mobile(seed=2), images(400, 1)
    labels = np.random.default_rng(3).integers(0, 4, 400)
    result = intact.quantize(net, intact.data.arrays(x, labels))
    (found,) = [f.message for f in result.findings if f.kind == "contradiction"]
    assert found.startswith("the float model itself is right on")
    result = intact.quantize(net, intact.data.arrays(x, seen(net, x)))
    assert not [f for f in result.findings if f.kind == "contradiction"]


def test_a_search_for_a_drop_stops_at_once():
    net, x = mobile(seed=2), images(400, 1)
    labels = np.random.default_rng(3).integers(0, 4, 400)
    with pytest.raises(DataError, match=r"near chance for 4 classes.* type --min-agreement instead"):
        intact.quantize(net, intact.data.arrays(x, labels), max_drop=1.0, measure=False)
