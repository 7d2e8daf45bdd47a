"""The five best, the loss in nats, each class by itself, and who changed: against values worked out by hand."""

import math

import numpy as np
import pytest

from intact.measure.classes import ByClass, Labelled, among_the_best, scores_of, sureness


def labelled(exact, made, labels):
    return Labelled(np.asarray(exact, np.float32), np.asarray(made, np.float32), np.asarray(labels))


def test_of_equal_scores_the_lower_class_comes_first():
    scores = np.array([[3, 3, 3, 1]] * 4)
    assert among_the_best(scores, np.arange(4), 2).tolist() == [True, True, False, False]
    assert among_the_best(scores, np.arange(4), 1).tolist() == [True, False, False, False]
    assert among_the_best(scores, np.arange(4), 4).all()


def test_the_five_best_of_ten():
    scores = np.tile(np.arange(10.0), (10, 1))  # class 9 is the best
    exact, made, drop = labelled(scores, scores[:, ::-1], np.arange(10)).top5()
    assert (exact.value, made.value, drop.value) == (50, 50, 0)
    assert (drop.low, drop.high) == pytest.approx((-53.1, 53.1), abs=0.5)  # five lost, five gained of ten
    assert labelled(scores[:, :5], scores[:, :5], [0] * 10).top5() is None


def test_cross_entropy_of_logits_and_of_probabilities_is_the_same():
    logits = np.random.default_rng(0).normal(size=(200, 6))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.arange(200) % 6
    wanted = -np.log(p[np.arange(200), labels]).mean()
    for given in (logits, p):
        exact, made, increase = labelled(given, given, labels).cross_entropy()
        assert exact.value == pytest.approx(wanted, rel=1e-6)
        assert (made.value, increase.value) == (exact.value, 0)
        assert "no p is 0" in exact.how


def test_a_probability_of_zero_is_floored_at_half_the_least_for_both_networks():
    """int8 SOFTMAX: steps of 1/256. What the float network is sure of below half a step counts no more for it."""
    exact = [[1 - 1e-6, 1e-6], [0.5, 0.5]]
    made = [[1.0, 0.0], [0.5, 128 / 256]]
    made[1] = [255 / 256, 1 / 256]
    of_float, of_made, increase = labelled(exact, made, [1, 0]).cross_entropy()
    floor = 1 / 512
    assert of_float.value == pytest.approx((-math.log(floor) - math.log(0.5)) / 2)
    assert of_made.value == pytest.approx((-math.log(floor) - math.log(255 / 256)) / 2)
    assert increase.value == pytest.approx(of_made.value - of_float.value)
    assert f"p floored at {floor:.3g}" in of_made.how == of_made.how or f"p floored at {floor:.3g}" in of_made.how


def test_rows_of_an_integer_softmax_that_do_not_add_up_are_probabilities_all_the_same():
    exact = np.full((4, 400), 1 / 400, np.float32)
    made = np.zeros((4, 400), np.float32)
    made[:, 0] = 1 / 256
    p, q = sureness(exact, made)
    assert (p == exact).all()
    assert (q == made).all()


@pytest.mark.parametrize(("x", "cut", "yes"), [([[0.25], [0.75]], 0.5, [0.25, 0.75]), ([[0.0], [800.0]], 0.0, [0.5, 1.0])])
def test_a_single_unit_as_two_classes(x, cut, yes):
    scores = scores_of(np.array(x, np.float32), cut)
    assert scores[:, 1] == pytest.approx(yes)
    assert scores.sum(1) == pytest.approx([1, 1])


def test_each_class_by_itself():
    found = ByClass(np.array([0, 1, 1, 2]), np.array([0, 2, 1, 0]), np.array([0, 1, 2, 2]), 3)
    table = found.to_json(("a", "b"))
    assert table["names"] == ["a", "b", "2"]
    assert (table["n"], table["float"], table["quantized"]) == ([1, 1, 2], [1, 1, 1], [1, 0, 0])
    assert table["confusion_float"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert table["confusion_quantized"] == [[1, 0, 0], [0, 0, 1], [1, 1, 0]]


def test_who_is_lost_comes_first_then_who_is_won():
    found = ByClass(np.array([0, 0, 1, 1]), np.array([2, 1, 0, 1]), np.array([1, 1, 1, 1]), 3)
    assert found.changed.tolist() == [2, 1, 0]  # right to wrong, wrong to right, wrong to wrong
    assert ByClass(found.exact, found.made, None, 3).changed.tolist() == [0, 1, 2]
    assert ByClass(found.exact, found.made, None, 3).to_json(()) is None


@pytest.mark.parametrize(("gone", "told"), [(8, True), (7, False)])
def test_a_class_that_surely_lost_is_told_and_one_that_may_have_is_not(gone, told):
    labels = np.repeat(np.arange(10), 40)
    made = labels.copy()
    made[120 : 120 + gone] = 9  # of class 3
    found = ByClass(labels, made, labels, 10).lost
    assert found == ({3: (40, 40, 40 - gone)} if told else {})
    assert not ByClass(made, labels, labels, 10).lost  # gained
    assert not ByClass(labels, made, None, 10).lost
