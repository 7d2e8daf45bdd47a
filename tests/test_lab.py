"""The notebooks of docs/lab: made of their sources, run to their end, and a checker that tells right from wrong."""

import itertools
import math
from pathlib import Path

import example_runs
import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat", reason="the lab's notebooks need the extra lab")
pytest.importorskip("jupytext", reason="the lab's notebooks need the extra lab")
pytest.importorskip("nbclient", reason="the lab's notebooks need the extra lab")
LAB = Path(__file__).parents[1] / "docs" / "lab"
NAMES = sorted(path.stem for path in LAB.glob("[0-9][0-9]_*.py"))


@pytest.fixture(scope="module")
def lab():
    """The lab's own modules."""
    with example_runs.modules(LAB, "build", "check") as found:
        yield found


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_made_of_its_source_and_was_run(lab, name):
    kept = nbformat.read(LAB / f"{name}.ipynb", as_version=4)
    assert cells(kept) == cells(lab[0].notebook(name))
    for cell in kept.cells:
        assert cell.cell_type == "markdown" or cell.execution_count
        for output in cell.get("outputs", ()):
            assert output.output_type != "error"
            assert len(output.get("data", {}).get("image/png", "")) < 140_000  # in base64


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_refuses_its_starters(lab, name, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    made = lab[0].executed(name)
    told = [out.text for cell in made.cells for out in cell.get("outputs", ()) if "answer(" in cell.source and "text" in out]
    assert told
    for text in told:
        assert all("not yet" in line for line in text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_pages_list_every_notebook(name):
    assert f"({name}.ipynb)" in (LAB / "index.md").read_text()


def affine(r, low, high):
    scale = (high - low) / 255
    zero_point = round(-128 - low / scale)
    return scale, zero_point, np.clip(np.round(r / scale) + zero_point, -128, 127)


def requantize(sums, multiplier, shift, zero_point):
    exact = [math.floor(int(s) * multiplier / 2**shift + 0.5) + zero_point for s in sums]
    return np.clip(exact, -128, 127)


def per_channel(weights):
    scales = np.array([[max(abs(w) for w in row) / 127] for row in weights])
    return scales, np.round(weights / scales)


def front(sizes, accuracies):
    ways = list(zip(sizes, accuracies, strict=True))
    return [not any(s <= size and a >= right and (s, a) != (size, right) for s, a in ways) for size, right in ways]


def integer_line(code, weight, bias, factor, zero_points):
    return int(np.clip(np.rint(factor * ((code - zero_points[0]) * weight + bias)) + zero_points[1], -128, 127))


def paired_drop(exact, integer):
    each = exact.astype(float) - integer.astype(float)
    return 100 * each.mean(), 100 * 1.96 * each.std(ddof=1) / len(each) ** 0.5


def straight_through(w, low, high, upstream):
    return upstream * ((w >= low) & (w <= high))


def peak(sizes):
    return max(a + b for a, b in itertools.pairwise(sizes))


RIGHT = {
    "01-a": -27,
    "01-b": 17,
    "01-c": 255,
    "01-exercise": affine,
    "02-a": 1,
    "02-exercise": per_channel,
    "03-a": 3.47,
    "03-b": 2,
    "03-exercise": front,
    "04-a": 1.1,
    "04-b": 1,
    "04-exercise": paired_drop,
    "05-a": 0,
    "05-exercise": straight_through,
    "06-a": 32,
    "06-exercise": requantize,
    "07-a": 64,
    "07-exercise": integer_line,
    "08-a": 24 * 24 * (32 + 64),
    "08-exercise": peak,
}
WRONG = {
    "01-a": -26,
    "01-b": 16,
    "01-c": 256,
    "01-exercise": lambda r, low, high: (affine(r, low, high)[0], 0, affine(r, low, high)[2]),
    "02-a": 2,
    "02-exercise": lambda weights: (np.abs(weights).max() / 127 * np.ones((5, 1)), np.round(weights)),
    "03-a": 9.08,
    "03-b": 1,
    "03-exercise": lambda *ways: ways[1] == ways[1].max(),
    "04-a": 2.4,
    "04-b": 0,
    "04-exercise": lambda exact, integer: (exact.mean() - integer.mean(), exact.std(ddof=1) / len(exact) ** 0.5),
    "05-a": 1,
    "05-exercise": lambda *given: given[-1],
    "06-a": 16,
    "06-exercise": lambda sums, multiplier, shift, zero: np.clip((sums * multiplier >> shift) + zero, -128, 127),
    "07-a": 63,
    "07-exercise": lambda code, weight, bias, factor, zero: np.clip(
        round((code * weight + bias) * factor) + zero[1], -128, 127
    ),
    "08-a": 300_000,
    "08-exercise": max,
}


@pytest.mark.parametrize("question", RIGHT)
def test_the_checker_tells_right_from_wrong(lab, capsys, question):
    assert lab[1].answer(question, RIGHT[question]) is True
    assert capsys.readouterr().out == f"{question}: right\n"
    assert lab[1].answer(question, WRONG[question]) is False
    assert capsys.readouterr().out.startswith(f"{question}: not yet. ")


def test_every_question_is_in_a_notebook_and_tested(lab):
    asked = {q for q in lab[1]._ANSWERS if any(f'answer("{q}"' in (LAB / f"{name}.py").read_text() for name in NAMES)}
    assert asked == lab[1]._ANSWERS.keys() == RIGHT.keys() == WRONG.keys()


def test_an_answer_of_another_kind_is_said_to_be_one(lab, capsys):
    assert lab[1].answer("01-a", "minus 27") is False
    assert "a number is asked for, not str" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("01-exercise", lambda *given: (given[2] - given[1]) / 255),
        ("01-exercise", 0.0149),
        ("02-exercise", 3),
        ("03-exercise", lambda *_: True),
        ("04-exercise", lambda *_: 0.1),
        ("05-exercise", lambda *_: np.zeros(3)),
        ("05-exercise", lambda *_: "as it is"),
        ("06-exercise", lambda *_: 3),
        ("06-exercise", lambda *_: np.zeros(3)),
        ("07-exercise", 64),
        ("08-exercise", lambda *_: np.zeros(3)),
    ],
)
def test_an_exercise_that_gives_another_kind_or_shape_is_told_so(lab, capsys, question, value):
    assert lab[1].answer(question, value) is False
    assert "another kind or shape" in capsys.readouterr().out


@pytest.mark.parametrize("question", sorted(q for q in RIGHT if q.endswith("exercise")))
def test_an_exercise_that_returns_nothing_is_not_written_yet(lab, capsys, question):
    assert lab[1].answer(question, lambda *_: None) is False
    assert "nothing is written yet" in capsys.readouterr().out
