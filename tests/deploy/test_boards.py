"""Boards are rows that can be trusted: named apart, with memory, a core that is known, and a source."""

from pathlib import Path

import pytest

from intact.deploy.boards import BOARDS, board, chosen
from intact.deploy.cores import CORES, FOREIGN
from intact.errors import OptionError


@pytest.mark.parametrize("row", BOARDS.values(), ids=BOARDS)
def test_a_row_is_whole(row):
    assert row.core in CORES or row.core in FOREIGN
    assert row.ram > 0
    assert row.ram % 1024 == 0
    assert row.flash > row.ram / 8
    assert 16 <= row.mhz <= 1000
    assert all(text.strip() for text in (row.name, row.maker, row.chip, row.source))
    assert board(row.key) == board(row.name) == board(f"{row.maker} {row.name}") == board(row.chip) == row


def test_the_page_lists_them_as_they_are():
    page = (Path(__file__).parents[2] / "docs" / "fit.md").read_text()
    told = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in page.splitlines() if line.startswith("| `")]
    assert told == [
        [f"`{b.key}`", f"{b.maker} {b.name}", b.chip, b.core, str(b.mhz), f"{b.ram:,}", f"{b.flash:,}", b.source, b.note]
        for b in BOARDS.values()
    ]


def test_no_two_boards_are_called_alike():
    spellings = [text for row in BOARDS.values() for text in set(row.spellings)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize(
    ("name", "ram", "flash", "core"),
    [
        ("Arduino Nano 33 BLE", 262_144, 1_048_576, "cortex-m4"),
        ("nucleo_f446re", 131_072, 524_288, "cortex-m4"),
        ("RP2040", 270_336, 2_097_152, "cortex-m0plus"),
        ("pico-2", 532_480, 4_194_304, "cortex-m33"),
        ("stm32h743", 524_288, 2_097_152, "cortex-m7"),  # how its chip begins
        ("esp32-s3", 425_984, 8_388_608, "xtensa-lx7"),
    ],
)
def test_boards_as_people_type_them(name, ram, flash, core):
    found = board(name)
    assert (found.ram, found.flash, found.core) == (ram, flash, core)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nucleo", "did you mean nucleof446re or nucleoh743zi or nucleol476rg or nucleol4r5zi"),
        ("nano34ble", "did you mean nano33ble"),
        ("", "no board is called ''; type --board with one of: nano33ble"),
        ("qqqq", "no board is called 'qqqq'; type --board with one of"),
        ("pi\x1b[2Jco9", r"no board is called 'pi\\x1b\[2Jco9'"),
    ],
)
def test_a_board_that_there_is_not_is_told_with_the_nearest(name, says):
    with pytest.raises(OptionError, match=says):
        board(name)


def test_what_is_typed_wins_over_the_board_and_contradictions_are_said():
    plain = chosen("nano33ble", None, None, None)
    assert (plain.core.name, plain.ram, plain.flash, plain.limit, plain.notes) == ("cortex-m4", 262_144, 1_048_576, 262_144, ())
    less = chosen("nano33ble", None, 65_536, 524_288)
    assert (less.ram, less.flash, less.limit, less.notes) == (65_536, 524_288, 65_536, ())
    more = chosen("nano33ble", "m7", 300_000, 2_000_000)
    assert (more.core.name, more.ram, more.flash) == ("cortex-m7", 300_000, 2_000_000)
    assert more.notes == (
        "--cpu cortex-m7 is compiled for, and Nano 33 BLE has a cortex-m4",
        "--ram gives 300,000 bytes, and Nano 33 BLE has 262,144",
        "--flash gives 2,000,000 bytes, and Nano 33 BLE has 1,048,576",
    )
    least = chosen("nano33ble", None, 0, None)
    assert (least.ram, least.limit, least.notes) == (262_144, 0, ())


def test_without_a_board_it_is_what_the_emulator_has():
    core = CORES["cortex-m4"]
    for cpu in (None, "m4"):
        found = chosen(None, cpu, None, None)
        assert (found.core, found.ram, found.flash, found.limit, found.board) == (core, core.ram, core.flash, None, None)
