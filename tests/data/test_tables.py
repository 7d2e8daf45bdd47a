"""Rows of .csv files and data frames: which column is what, and what is said of a text among numbers."""

import json

import numpy as np
import pytest
import small_graphs
from compare import assert_same
from frames import DataFrame, Series
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.data import InputSpec
from intact.errors import DataError, OptionError

TWO = (InputSpec("x", (1, 2)),)
THREE = (InputSpec("x", (1, 3)),)
X = np.array([[1, 2.5], [3, 4], [-5, 6e2]], np.float32)


def table(tmp_path, text, name="val.csv", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return intact.data.csv(path, **options)


def bound(data, inputs=TWO, classes=2):
    samples = data.bind(inputs, classes)
    return samples, samples.batch(range(len(samples)))[0]


def kinds(samples):
    return [f.kind for f in samples.findings]


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5\n3,4\n-5,6e2\n",
        "a,b\n1,2.5\n3,4\n-5,6e2\n",
        "a;b\r\n1;2.5\r\n3;4\r\n-5;6e2\r\n",
        "a\tb\n1\t2.5\n3\t4\n-5\t6e2",
        'a|b\n"1"| 2.5\n3|4\n\n-5|6e2\n\n',
        "\ufeffa,b\n1,2.5\n3,4\n-5,6e2\n",
        ",a,b\n0,1,2.5\n1,3,4\n2,-5,6e2\n",
    ],
    ids=["no names", "names", "semicolons", "tabs", "bars and blanks", "byte order mark", "index"],
)
def test_forms_of_the_same_table(tmp_path, text):
    samples, inputs = bound(table(tmp_path, text))
    assert_same(inputs["x"], X)
    assert samples.targets is None


@pytest.mark.parametrize(
    ("text", "label", "expected", "kind"),
    [
        ("a,b,label\n1,2.5,0\n3,4,1\n-5,6e2,1\n", None, [0, 1, 1], ["labels-column"]),
        ("Class,a,b\n0,1,2.5\n1,3,4\n1,-5,6e2\n", None, [0, 1, 1], ["labels-column"]),
        ("1,2.5,0\n3,4,1\n-5,6e2,1\n", None, [0, 1, 1], ["labels-column"]),
        ("1,2.5,no\n3,4,yes\n-5,6e2,yes\n", None, [0, 1, 1], ["labels-column", "class-order"]),
        ("a,kind,b\n1,no,2.5\n3,yes,4\n-5,yes,6e2\n", "kind", [0, 1, 1], ["class-order"]),
        ("a,kind,b\n1,0,2.5\n3,1,4\n-5,1,6e2\n", "2", [0, 1, 1], []),
        ("0,1,2.5\n1,3,4\n1,-5,6e2\n", "1", [0, 1, 1], []),
    ],
    ids=["by name", "case aside", "last", "texts", "named", "numbered", "numbered without names"],
)
def test_labels(tmp_path, text, label, expected, kind):
    samples, inputs = bound(table(tmp_path, text, label=label))
    assert_same(inputs["x"], X)
    assert_same(samples.labels, np.array(expected, np.int64))
    assert kinds(samples) == kind


def test_class_names_are_kept_and_their_order_said(tmp_path):
    samples, _ = bound(table(tmp_path, "a,b,label\n1,2,yes\n3,4,no\n"))
    assert samples.class_names == ("no", "yes")
    assert "count in alphabetical order: no, yes" in samples.findings[-1].message


def test_targets_of_a_regression_are_kept(tmp_path):
    samples, _ = bound(table(tmp_path, "a,b,y\n1,2,0.5\n3,4,1.5\n"), classes=1)
    assert samples.labels is None
    assert_same(samples.targets, np.array([0.5, 1.5]))


def test_no_labels_when_none_are_wanted(tmp_path):
    samples, _ = bound(table(tmp_path, "a,b,y\n1,2,0\n3,4,1\n", label=""), THREE)
    assert samples.targets is None


def test_inputs_go_by_column(tmp_path):
    inputs = (InputSpec("b", (1, 1)), InputSpec("a", (1, 1)))
    _, found = bound(table(tmp_path, "a,b,y\n1,2.5,0\n3,4,1\n"), inputs)
    assert_same(found["a"], np.array([[1], [3]], np.float32))
    assert_same(found["b"], np.array([[2.5], [4]], np.float32))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,city\n1,2\n3,Oslo\n", r"val\.csv: column 'city' holds 'Oslo' in line 3, where the model takes numbers; encode it"),
        ("a,b\n1,\n3,4\n", "column 'b' holds an empty cell in line 2"),
        ("a,b\n1,2\n\n3,x\n", "column 'b' holds 'x' in line 4"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, line 1 has 2; every row must have the same"),
        ("a,b\n", "holds a line of names and no rows"),
        ("", "holds no rows"),
        ("a,b\n1,nan\n", "sample 0 of val.csv holds NaN or infinity"),
        ("a,b,c,d\n1,2,3,4\n", r"do not fit input 'x' of shape \[n, 2\]"),
        ("a,b,label\n1,2,x\n1,2,y\n1,2,z\n", "column 'label' holds 3 classes, the model has 2"),
        ('a,b\n1,"2\n', "is not a table as UTF-8 text"),
    ],
)
def test_tables_are_refused_in_words(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        bound(table(tmp_path, text))


def test_bytes_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe1,2\n")
    with pytest.raises(DataError, match=r"a\.csv: is not a table as UTF-8 text"):
        intact.data.csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b.csv: no such file"):
        intact.data.csv(tmp_path / "b.csv")
    with pytest.raises(OptionError, match="no column is called 'size'; type --label with one of: a, b, or its number"):
        table(tmp_path, "a,b\n1,2\n", label="size")
    with pytest.raises(DataError, match="has no column called 'z', an input of the model; it has a, b"):
        bound(table(tmp_path, "a,b\n1,2\n"), (InputSpec("a", (1, 1)), InputSpec("z", (1, 1))))


# ---- data frames ----------------------------------------------------------------------------------------------------


FRAME = DataFrame({"a": X[:, 0], "b": X[:, 1]})


@pytest.mark.parametrize(
    "source",
    [
        DataFrame({"a": X[:, 0], "b": X[:, 1], "label": [0, 1, 1]}),
        DataFrame({"a": X[:, 0], "label": ["no", "yes", "yes"], "b": X[:, 1]}),
        (FRAME, np.array([0, 1, 1])),
        (FRAME, Series([0, 1, 1])),
        (FRAME, Series(["no", "yes", "yes"])),
        intact.data.frame(DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": [0, 1, 1]}), label="kind"),
    ],
    ids=["label", "texts", "array", "series", "series of texts", "named"],
)
def test_data_frames(source):
    samples, inputs = bound(intact.data.samples_from(source))
    assert_same(inputs["x"], X)
    assert_same(samples.labels, np.array([0, 1, 1], np.int64))


def test_a_data_frame_alone():
    samples, inputs = bound(intact.data.samples_from(FRAME))
    assert_same(inputs["x"], X)
    assert samples.targets is None
    with pytest.raises(DataError, match="the data frame: column 'b' holds 'u' in row 0"):
        bound(intact.data.samples_from(DataFrame({"a": [1, 2], "b": ["u", "v"]})))


def test_real_pandas():
    pandas = pytest.importorskip("pandas")
    samples, inputs = bound(intact.data.samples_from(pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "label": ["n", "y", "y"]})))
    assert_same(inputs["x"], X)
    assert_same(samples.labels, np.array([0, 1, 1], np.int64))


# ---- from the shell -------------------------------------------------------------------------------------------------


def test_a_csv_from_the_shell(tmp_path):
    graph = small_graphs.fully_connected()
    (tmp_path / "net.tflite").write_bytes(intact.write_tflite(graph))
    x = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
    kinds_ = np.array(["a", "b"])[np.arange(80) % 2]
    lines = ["kind,p,q,r,s,t,u"] + [f"{k}," + ",".join(map(str, row)) for k, row in zip(kinds_, x.tolist(), strict=True)]
    (tmp_path / "val.csv").write_text("\n".join(lines))
    command = ["quantize", tmp_path / "net.tflite", "--data", tmp_path / "val.csv", "--out", tmp_path / "run", "--quiet"]
    refused = CliRunner().invoke(app, [str(a) for a in command])
    assert refused.exit_code == 2  # the last column would be the labels, and the first holds texts
    assert "column 'kind' holds 'a' in line 2, where the model takes numbers" in refused.output
    done = CliRunner().invoke(app, [str(a) for a in (*command, "--label", "kind", "--overwrite")])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run" / "result.json").read_text())["samples"]["classes"] == ["a", "b"]
