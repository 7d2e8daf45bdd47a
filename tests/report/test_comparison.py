"""What changed between two runs, and what cannot be compared."""

import copy

import numpy as np
import pytest
from run_documents import HOSTILE, details, older, renamed, result

from intact.measure.by_sample import BySample
from intact.measure.criterion_figures import FIGURES
from intact.report.comparison import Side, compare, moved


def side(name="a", document=None, more=None, plan=None, *, columns=None, notes=()):
    samples = None if columns is None else BySample("", "", columns)
    return Side(name, document or result(), more, plan, samples, notes)


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


def test_figures_of_the_same_samples_are_compared_in_pairs():
    """Intervals that meet by far, of runs that differ in 3 of 500 samples, all to one side."""
    figures = {
        ("quantized", "top-1 accuracy"): {"value": 84.4, "low": 81.0, "high": 87.3},
        ("difference", "cross entropy increase"): {"value": 0.5},
    }
    right = np.arange(500) >= 81
    better = right | (np.arange(500) >= 78)
    lost, more_lost = np.full(500, 0.1, np.float32), np.linspace(0.2, 0.3, 500, dtype=np.float32)
    accuracy, entropy = ("quantized", "top-1 accuracy"), ("difference", "cross entropy increase")
    kept = {accuracy: right, entropy: lost}, {accuracy: better, entropy: more_lost}
    pair = side(columns=kept[0]), side("b", changed(figures=figures), columns=kept[1])
    found = compare(*pair)
    told = rows(found.figures)
    means = "no clear change: +0.60 points (-0.17 to 1.75)"  # Tango's equations solved by hand for 3 and 0 of 500
    assert told["top-1 accuracy of quantized"] == ("83.80 %", "84.40 %", means)
    assert told["cross entropy increase"][2].startswith("more is lost: +0.150 nats (0.14")
    paired = next(c for c in found.to_json()["figures"] if c["what"] == "top-1 accuracy of quantized")["paired"]
    assert (paired["value"], paired["unit"], paired["n"]) == (pytest.approx(0.6), "percentage points", 500)
    assert paired["how"] == "paired: 3 samples more and 0 less of 500, Tango score interval"
    assert not any("samples.npz" in note for note in found.notes)
    other = changed(figures=figures)
    other["samples"]["report"] = {"n": 500, "fingerprint": "0" * 64}
    apart = compare(pair[0], side("b", other, columns=kept[1]))
    assert all(c.paired is None for c in apart.figures)
    assert "top-1 accuracy of quantized" not in rows(apart.figures)


def test_a_run_without_figures_by_sample_is_compared_by_intervals_and_told():
    found = compare(side(columns={}), side("old", older(), notes=("old: samples.npz: is broken; left out",)))
    assert [note for note in found.notes if "samples.npz" in note] == [
        "old has no samples.npz, so that figures are compared by their intervals and not in pairs; make the run again with "
        "intact quantize --overwrite",
        "old: samples.npz: is broken; left out",
    ]
    assert all(c.paired is None for c in found.figures)


def test_samples_that_are_not_all_named_are_counted():
    more = details()
    more["changed"]["n"] = 1000
    same = ("quantized", "agreement with float")
    a, b = np.arange(500) >= 10, np.arange(500) < 497  # 10 changed class in one, 3 others in the other
    found = compare(side(more=more, columns={same: a}), side("b", more=more, columns={same: b}))
    assert [(c.what, c.a, c.b) for c in found.samples] == [("in both", "0", "0"), ("in one alone", "10", "3")]
    assert compare(side(more=more, columns={same: a}), side("b", more=more, columns={same: b[1:]})).samples == ()


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


#: What a file weighs, takes and holds, whatever samples it is measured on.
WITHOUT_SAMPLES = {
    "file size", "size ratio", "size ratio to the file given", "packed file size", "parameters", "multiply-accumulates",
    "bytes of weights", "bytes of weights in theory", "weights ratio", "weights ratio in theory", "bytes of packed weights",
    "packed weights ratio", "packed indices ratio", "weight SQNR", "weight MSE", "worst weight error", "ops in float",
    "latency", "speed-up", "speed-up over LiteRT", "throughput at batch 1", "throughput at batch 32", "resident memory",
    "peak live activations", "peak memory ratio", "RAM", "RAM (estimate)", "flash", "flash without code", "TFLM arena",
    "TFLM arena, packed", "activations (estimate)", "persistent part (estimate)",
}  # fmt: skip


def test_of_runs_on_different_samples_every_figure_of_the_file_alone_is_compared():
    sides = []
    for n in (400, 500):
        document = result()
        document["samples"]["report"] = {"n": n, "fingerprint": str(n) * 8}
        document["measurements"] = [
            {"of": f.of[-1], "name": name, "value": n, "unit": f.unit, "low": None, "high": None, "how": "", "n": n}
            for f in FIGURES
            for name in (f.name, *((f"{f.name} of file size", "what is to come") if f.each else ()))
        ]
        sides.append(side(str(n), document))
    told = {c.what.removesuffix(" of quantized").removesuffix(" of float") for c in compare(*sides).figures}
    assert told == WITHOUT_SAMPLES


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
