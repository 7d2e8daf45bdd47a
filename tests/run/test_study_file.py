"""study.toml and refs.toml: every key known, or refused with what there is."""

from pathlib import Path

import pytest

from intact.errors import OptionError
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
    held = study_file(written(tmp_path, 'schemes = "int8,w4a8"\nweights = ["per-channel"]\nthreads = [1, 2]\nseeds = 3\n'))
    assert held == {"schemes": ["int8", "w4a8"], "weights": ["per-channel"], "threads": [1, 2], "seeds": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('model = "a"', "there is no 'model' in a study; there are: models, data, eval"),
        ("seeds = true", "seeds = True must be a whole number"),
        ('threads = ["1"]', r"threads = \['1'\] must be a whole number or a list"),
        ("data = 3", "data = 3 must be a text"),
        ("schemes = []", r"schemes = \[\] must be a text or a list"),
        ("models = [1]", r"models = \[1\] must be a text or a list"),
        ("x = ", "this is no TOML"),
        ("\x00", "this is no TOML"),
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
    ],
)
def test_a_reference_that_says_something_else_is_refused(tmp_path, text, says):
    with pytest.raises(OptionError, match=says):
        references(written(tmp_path, text))
