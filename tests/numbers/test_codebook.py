"""Tables of a few numbers: the exact best of them, against every choice there is, and what is nearest."""

from itertools import combinations

import numpy as np
import pytest

from intact.numbers.affine import Affine, Float, Index, as_held, bits_of, dequantize_array, quantize_weight
from intact.numbers.codebook import Codebook, best, indices, settled, table_of, tables_of_integers


def test_the_worked_example():
    points, counts = np.array([[-3, -1, 0, 4, 5]]), np.array([[2, 1, 1, 1, 1]])
    table = best(points, counts, 2, whole=True)
    assert table.tolist() == [[-2, 4]]
    q = np.array([[-3, -3, -1, 0, 4, 5]])
    assert np.square(np.take_along_axis(table, indices(table, q), 1) - q).sum() == 8


def test_two_real_numbers_are_the_means_of_two_stretches():
    assert best(np.array([[0.0, 1.0, 10.0]]), np.array([[1, 3, 1]]), 2).tolist() == [[0.75, 10.0]]


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_no_other_whole_numbers_lose_less(k, seed):
    q = np.random.default_rng(seed).integers(-9, 10, (3, 11))
    tables = tables_of_integers(q, k)
    lost = np.square(np.take_along_axis(tables, indices(tables.astype(float), q), 1) - q).sum(1)
    for row, mine in zip(q, lost, strict=True):
        every = (np.square(np.abs(np.array(some)[:, None] - row).min(0)).sum() for some in combinations(range(-9, 10), k))
        assert mine == min(every)


def test_fewer_numbers_than_the_table_has_are_kept_and_the_last_repeats():
    assert tables_of_integers(np.array([[3, -1, 3, 3]]), 4).tolist() == [[-1, 3, 3, 3]]
    assert table_of(np.array([0.5, -2.0, 0.5]), 4).tolist() == [-2.0, 0.5, 0.5, 0.5]


def test_rows_are_clustered_each_by_itself():
    q = np.random.default_rng(3).integers(-127, 128, (200, 60))
    together = tables_of_integers(q, 8)
    assert all((tables_of_integers(row[None], 8)[0] == table).all() for row, table in zip(q[::20], together[::20], strict=True))


def test_many_real_numbers_lose_no_more_than_by_evenly_spread_ones():
    x = np.random.default_rng(1).normal(0, 1, 20_000)
    table = table_of(x, 16)
    even = np.linspace(x.min(), x.max(), 16)
    lost = [np.square(t[None][0][indices(t[None], x[None])[0]] - x).mean() for t in (table, even)]
    assert lost[0] < 0.012 < lost[1]  # 0.0115 is the least for a normal distribution and 16 numbers (Max 1960)


def test_settled_stays_where_it_is():
    x = np.sort(np.random.default_rng(2).normal(0, 1, 500))
    table = settled(x, np.linspace(-2, 2, 5), 500)
    assert np.array_equal(settled(x, table, 1), table)


def test_nearest_of_two_as_near_is_the_lower():
    assert Codebook(((-1.0, 1.0, 4.0),), 2).snapped(np.array([-9, 0, 0.1, 2.5, 2.6])).tolist() == [-1, -1, 1, 1, 4]


def test_each_channel_has_its_own_table_along_any_axis():
    table = Codebook(((0.0, 1.0), (10.0, 20.0)), 1, 1)
    assert table.snapped(np.array([[0.9, 0.9], [0.2, 19.0]])).tolist() == [[1, 10], [0, 20]]


@pytest.mark.parametrize(
    ("values", "bits", "axis"),
    [
        (((0.0, 1.0),), 0, None),
        (((0.0, 1.0),), 9, None),
        (((0.0, 1.0, 2.0),), 1, None),
        (((1.0, 0.0),), 1, None),
        (((float("nan"), 1.0),), 1, None),
        (((0.0,), (1.0, 2.0)), 1, 0),
        (((0.0,), (1.0,)), 1, None),
        ((), 1, None),
    ],
)
def test_what_is_no_codebook_is_refused(values, bits, axis):
    with pytest.raises(ValueError, match=r"bits|table"):
        Codebook(values, bits, axis)


def test_a_weight_is_stored_as_numbers_of_its_table_in_its_own_steps():
    fmt = Affine((0.5, 2.0), (0, 0), "int8", 0, Codebook(((-3.0, 0.0, 5.0),), 2))
    q = quantize_weight(np.float32([[2.4, -9], [-1, 20]]), fmt)
    assert q.tolist() == [[5, -3], [0, 5]]
    assert q.dtype == np.int8
    assert dequantize_array(q, as_held(fmt)).tolist() == [[2.5, -1.5], [0.0, 10.0]]


@pytest.mark.parametrize(
    ("fmt", "bits", "held"),
    [
        (Affine((1.0,), (0,), "int3"), 3, Affine((1.0,), (0,), "int8")),
        (Affine((1.0,), (0,), "int4"), 4, Affine((1.0,), (0,), "int4")),
        (Affine((1.0,), (0,), "int8"), 8, Affine((1.0,), (0,), "int8")),
        (Affine((1.0,), (0,), "int8", None, Codebook(((1.0,),), 5)), 5, Affine((1.0,), (0,), "int8")),
        (Float("float32", Codebook(((1.0,),), 2)), 2, Float()),
        (Float("float16"), 16, Float("float16")),
        (Index(), 32, Index()),
    ],
)
def test_bits_of_a_weight_and_what_a_graph_holds(fmt, bits, held):
    assert (bits_of(fmt), as_held(fmt)) == (bits, held)


@pytest.mark.parametrize(("dtype", "expected"), [("int2", [-2, 1, 0]), ("int3", [-3, 3, 1]), ("int7", [-63, 63, 1])])
def test_narrow_weights_leave_the_lowest_integer_unused_but_for_two_bits(dtype, expected):
    beside = 0.4 if dtype == "int2" else 0.5001
    assert quantize_weight(np.float32([-99, 99, beside]), Affine((1.0,), (0,), dtype)).tolist() == expected
