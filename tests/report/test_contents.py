"""Tables of what a model is made of: worked numbers, and columns that go before names are cut."""

import pytest
from rich.cells import cell_len

from intact.report.contents import kinds_table, ops_table, rounded, sizes_table, written


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (448, "448"), (999, "999"), (1000, "1.00 k"), (442_368, "442 k"), (999_600, "1.00 M"), (12_501_632, "12.5 M"),
     (3 * 10**9, "3.00 G"), (10**18, "1.00e+06 T")],
)  # fmt: skip
def test_counts_in_three_digits(n, text):
    assert rounded(n) == text


def test_an_open_batch_is_n():
    assert written([None, 32, 32, 3]) == "[n, 32, 32, 3]"
    assert written([]) == "[]"


def row(name, kind="CONV_2D", macs=2_359_296):
    return {"kind": kind, "name": name, "shape": [None, 32, 32, 16], "macs": macs, "parameters": 2320, "parameter_bytes": 2368}


def cells(table):
    return [[str(cell) for cell in column.cells] for column in table.columns]


@pytest.mark.parametrize(("width", "titles"), [
    (None, ["kind", "shape", "MACs", "parameters", "bytes", "op"]),
    (100, ["kind", "shape", "MACs", "parameters", "bytes", "op"]),
    (73, ["kind", "shape", "MACs", "parameters", "op"]),
    (70, ["kind", "shape", "MACs", "parameters", "op"]),
    (60, ["kind", "MACs", "parameters", "op"]),
    (40, ["kind", "MACs", "op"]),
    (30, ["kind", "op"]),
])  # fmt: skip
def test_columns_go_before_names_are_cut(width, titles):
    table = ops_table([row("stage_1/block_2/conv")], width)
    assert [column.header for column in table.columns] == titles
    assert cells(table)[-1] == ["stage_1/block_2/conv"]


def test_a_name_that_is_cut_says_so_and_keeps_its_end():
    long, wide = "a" * 90 + "/conv", "層" * 60
    *_, names = cells(ops_table([row(long), row(wide), row("stem")], 40))
    assert names[0].startswith("…")
    assert names[0].endswith("a/conv")
    assert names[2] == "stem"
    assert all(cell_len(name) <= 40 - len("CONV_2D") - 2 for name in names)
    assert cells(ops_table([row(long)], None))[-1] == [long]
    assert cells(ops_table([row("\x1b[2J\n")], None))[-1] == [r"\x1b[2J\n"]


def test_sums_and_shares():
    sums = [{"kind": "CONV_2D", "count": 2, "macs": 30, "parameters": 4, "parameter_bytes": 4},
            {"kind": "ADD", "count": 1, "macs": 0, "parameters": 0, "parameter_bytes": 0}]  # fmt: skip
    assert [column[-1] for column in cells(kinds_table(sums))] == ["all", "3", "30", "4", "4"]
    assert cells(sizes_table({"weights": 750, "structure": 250}, "the file")) == [
        ["weights", "structure", "all"], ["750", "250", "1,000"], ["75.0 %", "25.0 %", "100.0 %"],
    ]  # fmt: skip
    assert cells(sizes_table({"structure": 0}, "x"))[2] == ["0.0 %", "0.0 %"]
    assert cells(ops_table([], 80))[0] == []
