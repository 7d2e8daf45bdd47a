"""What changed between two runs, and what cannot be compared."""

import copy

import pytest
from run_documents import HOSTILE, details, older, renamed, result

from intact.report.comparison import Side, compare, moved


def side(name="a", document=None, more=None, plan=None):
    return Side(name, document or result(), more, plan)


def changed(**about):
    """Another result: values of figures by (of, name), or fields."""
    document = copy.deepcopy(result())
    for m in document["measurements"]:
        for key, value in about.get("figures", {}).items():
            if (m["of"], m["name"]) == key:
                m.update(value)
    return document


def rows(changes):
    return {c.what: (c.a, c.b, c.means) for c in changes}


def test_a_run_beside_itself_has_not_changed():
    found = compare(side(more=details()), side("b", more=details()))
    assert not any(moved(changes) for _, changes in found.parts)
    assert any("the very same model.tflite" in note for note in found.notes)


def test_intervals_that_meet_are_told_from_those_that_do_not():
    figures = {
        ("quantized", "top-1 accuracy"): {"value": 84.4, "low": 81.0, "high": 87.3},
        ("quantized", "SQNR"): {"value": 30.0, "low": 29.0, "high": 31.0},
        ("difference", "cross entropy increase"): {"value": 0.5, "low": 0.4, "high": 0.6},
        ("quantized", "file size"): {"value": 480000},
    }
    found = rows(compare(side(), side("b", changed(figures=figures))).figures)
    assert found["top-1 accuracy of quantized"] == ("83.80 %", "84.40 %", "within both intervals")
    assert found["SQNR of quantized"][2] == "more"
    assert found["cross entropy increase"][2] == "more is lost"
    assert found["file size of quantized"] == ("960 KB", "480 KB", "0.5 times")
    assert found["latency of float"][2] == "the same"


def test_runs_on_different_samples_are_compared_in_what_is_of_the_files():
    other = changed()
    other["samples"]["report"] = {"n": 400, "fingerprint": "0" * 64}
    found = compare(side(more=details()), side("b", other, details()))
    assert found.notes[0].startswith("the runs report on different samples (500 samples and 400 samples)")
    assert "type the same --eval" in found.notes[0]
    names = {c.what for c in found.figures}
    of_files = {"file size of quantized", "latency of quantized", "peak live activations of quantized", "speed-up"}
    assert of_files | {"size ratio"} <= names
    assert not [name for name in names if "accuracy" in name or "SQNR" in name or "agreement" in name or "entropy" in name]
    assert found.samples == ()


def test_settings_networks_and_machines_that_differ_are_named():
    other = changed()
    other["settings"] |= {"scheme": "int8", "keep_float": ["CONV_2D", "x"]}
    other["source"]["float_tflite_sha256"] = "00" * 32
    other["versions"]["cpu"] = "another"
    found = compare(side(), side("b", other))
    assert rows(found.settings)["scheme"] == ("w4a8", "int8", "")
    assert rows(found.settings)["keep_float"][:2] == ("none", "CONV_2D, x")
    assert any("different float networks" in note for note in found.notes)
    assert any("different machines" in note for note in found.notes)


def test_formats_of_tensors_are_counted():
    def tensor(i, dtype, scale=0.5, axis=None):
        return {"id": i, "name": f"t{i}", "dtype": dtype, "scale": [scale], "zero_point": [0], "axis": axis}

    a = {"tensors": [tensor(1, "int8"), tensor(2, "int8", axis=0), tensor(3, "int8", axis=0), tensor(4, "int8")]}
    b = {"tensors": [tensor(1, "int8", 0.25), tensor(2, "int4", axis=0), tensor(3, "int4", axis=0), tensor(5, "int8")]}
    found = compare(side(plan=a), side("b", plan=b)).plan
    assert [(c.what, c.a, c.b) for c in found] == [
        ("2 tensors", "int8 per channel", "int4 per channel"),
        ("1 tensor", "another scale", "another scale"),
        ("1 tensor", "there", ""),
        ("1 tensor", "", "there"),
    ]
    assert any("no plan.json" in note for note in compare(side(), side("b")).notes)


def test_ops_and_samples_that_moved_are_told():
    more = details()
    more["ops"][0]["noise_share"] += 0.3
    for held in (more, base := details()):
        held["changed"]["n"] = len(held["changed"]["shown"])
    more["changed"]["shown"][0]["sample"] = "photos/new.jpg"
    found = compare(side(more=base), side("b", more=more))
    assert [c.what for c in found.ops] == ["CONV_2D 'features.0.0'"]
    told = rows(found.samples)
    assert told["photos/new.jpg"][:2] == ("as float", "another class")
    assert told["in both"][0] == "11"
    base["changed"]["n"] += 1  # one is not shown: who it is is not known
    assert compare(side(more=base), side("b", more=more)).samples == ()


def test_findings_of_one_alone_and_criteria_that_changed():
    other = changed()
    other["findings"] = other["findings"][1:]
    other["criteria"][0]["status"] = "pass"
    found = compare(side(), side("b", other))
    assert [(c.a, c.b) for c in found.findings] == [("noticed", "")]
    assert rows(found.criteria)["drop <= 2"] == ("inconclusive", "pass", "changed")


def test_an_older_run_is_compared_too():
    found = compare(side("old", older()), side())
    assert rows(found.criteria)["drop <= 2"] == ("not asked", "inconclusive", "changed")
    assert found.to_json()["schema"] == "intact-comparison/1"


@pytest.mark.parametrize("part", ["| b |", "<script>"])
def test_names_mean_nothing_in_its_markdown(part):
    text = compare(side(), side(HOSTILE, renamed(result()))).to_markdown()
    assert ("<script>" in text) is False
    assert part != "<script>" or "&lt;script&gt;" in text
