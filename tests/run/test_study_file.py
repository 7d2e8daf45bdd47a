"""study.toml and refs.toml: every key known, or refused with what there is."""

from pathlib import Path

import pytest

from intact.errors import OptionError
from intact.run.study_cells import Axes
from intact.run.study_file import KEYS, references, study_file


def written(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_paths_are_from_the_folder_of_the_file(tmp_path):
    held = study_file(written(tmp_path, 'models = ["a.keras", "/b.pt2"]\ndata = "photos"\nout = "x"\naccept = "drop <= 2"\n'))
    assert held["models"] == [tmp_path / "a.keras", Path("/b.pt2")]
    assert held["data"] == tmp_path / "photos"
    assert held["out"] == tmp_path / "x"
    assert held["accept"] == ["drop <= 2"]


def test_lists_may_be_texts_with_commas(tmp_path):
    held = study_file(written(tmp_path, 'schemes = "int8,w4a8"\nweights = ["per-channel"]\nthreads = "1,2"\nseeds = 3\n'))
    assert held == {"schemes": ["int8", "w4a8"], "weights": ["per-channel"], "threads": "1,2", "seeds": 3}
    assert Axes.of(threads=held["threads"]).threads == (1, 2)


def test_the_mark_that_some_editors_put_first_is_none(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b'\xef\xbb\xbfdata = "x"\r\n')
    assert study_file(path) == {"data": tmp_path / "x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('model = "a"', "there is no 'model' in a study; there are: models, data, eval"),
        ("seeds = true", "seeds = True must be a whole number"),
        ('threads = ["1"]', r"threads = \[.1.\] must be a whole number, a list"),
        ("data = 3", "data = 3 must be a text"),
        ("schemes = []", r"schemes = \[\] must be a text or a list"),
        ("models = [1]", r"models = \[1\] must be a text or a list"),
        ("x = ", "this is no TOML"),
        ("\x00", "this is no TOML"),
        (f"repeats = {'9' * 5000}", r"this is no TOML \(a number has thousands of digits\)"),
        (f"models = {'[' * 5000}", r"this is no TOML \(nested too deeply\)"),
        (f"models = {'[' * 50}{']' * 50}", r"models = \[\[.{0,40} must be a text or a list of texts$"),
        ('models = ""', r'models = "" says nothing; write what is meant, or leave models out$'),
        ('out = ""', r'out = "" says nothing'),
        ('models = ["a", ""]', r'models = "" says nothing'),
        ("seeds = 2020-01-01", r"seeds = datetime.date\(2020, 1, 1\) must be a whole number"),
        ("seeds = 1\nseeds = 2", "this is no TOML"),
        ('data = "a"\ndata.b = "c"', "this is no TOML"),
        ("[models]\na = 1", r"models = {'a': 1} must be a text or a list"),
        ('"\\u001b[31m" = 1', r"there is no '\\x1b\[31m' in a study"),
        ("#" * (1 << 21), "is 2,097,152 bytes, and such a file has at most"),
    ],
)
def test_what_no_study_has_is_refused(tmp_path, text, says):
    with pytest.raises(OptionError, match=f"study.toml: {says}"):
        study_file(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no such file"):
        study_file(tmp_path / "study.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="this is no TOML"):
        study_file(tmp_path / "bytes.toml")


def test_every_key_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "study.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in text] == []


def test_references_say_what_is_known_of_them(tmp_path):
    path = written(
        tmp_path, '[[reference]]\nsource = "A"\nmethod = "QAT"\ndrop = 1\n[[reference]]\nsource = "B"\nmethod = "PTQ"\n'
    )
    none = {"data_set": None, "drop": None, "size": None, "note": None}
    assert references(path) == ({"source": "A", "method": "QAT", **none, "drop": 1}, {"source": "B", "method": "PTQ", **none})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[reference]]\nsource = "A"', "reference 1 has no method"),
        (
            '[[reference]]\nsource = "A"\nmethod = "m"\nloss = 1',
            "reference 1 has a 'loss'; there are: source, method, data_set",
        ),
        ('[[reference]]\nsource = "A"\nmethod = "m"\ndrop = "1"', "drop of reference 1 = '1' must be a number"),
        ('[reference]\nsource = "A"', r"no file of references; write a table \[\[reference\]\]"),
        ('source = "A"', r"no file of references"),
        ("", r"no file of references"),
        ("reference = []", r"no file of references"),
        ("reference = [1]", r"no file of references"),
        ('[[reference]]\nsource = "A"\nmethod = ""', r'method of reference 1 = "" says nothing'),
        ('[[reference]]\nsource = "A"\nmethod = "m"\ndrop = nan', r"drop of reference 1 = nan must be percentage points"),
        ('[[reference]]\nsource = "A"\nmethod = "m"\ndrop = -101', r"drop of reference 1 = -101 must be percentage points"),
        ('[[reference]]\nsource = "A"\nmethod = "m"\nsize = inf', r"size of reference 1 = inf must be bytes"),
        (f'[[reference]]\nsource = "A"\nmethod = "m"\nsize = {"9" * 400}', r"size of reference 1 = 9+\.\.\.9+ must be bytes"),
    ],
)
def test_a_reference_that_says_something_else_is_refused(tmp_path, text, says):
    with pytest.raises(OptionError, match=says):
        references(written(tmp_path, text))
