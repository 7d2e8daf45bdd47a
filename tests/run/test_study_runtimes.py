"""Runs of a study in several runtimes: which there are, what they have in common, what is missing, and what is shown."""

import csv
import io
import json
from collections import Counter

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.errors import MissingExtraError, ModelError, OptionError
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.report.study import to_csv, to_markdown, to_table
from intact.run import job, study_runtimes
from intact.run.study_cells import Axes, variants
from intact.run.study_file import study_file
from intact.runtime import litert

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (the extra onnx)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    (path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(path / "val.npz", x=images(80), y=np.arange(80) % 4)
    return path


def quick(patch):
    patch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.2)
    patch.setattr("intact.measure.figures._ROUNDS", 6)
    patch.setattr("intact.run.advice._SECONDS", 0.5)
    for module in ("conduct", "study_runtimes"):
        patch.setattr(f"intact.run.{module}.throughput", lambda *_: ())
        patch.setattr(f"intact.run.{module}.resident", lambda *_: Measurement("resident memory", 1, "bytes", None, None, "", 1))


@pytest.fixture
def hurried(monkeypatch):
    quick(monkeypatch)


def study(folder, **options):
    return intact.study(folder / "net.tflite", folder / "val.npz", remedies="plain", **options)


def lacking(package):
    """A check that finds everything but what ``package`` brings."""

    def check(kernels, **_):
        if kernels == package:
            raise MissingExtraError("It as a runtime", package)

    return check


@pytest.fixture(scope="module")
def made(folder):
    """A study in two runtimes that one run is measured in, in one that is missing and in one that refuses a scheme."""
    runs = Counter()
    real = job.Job.run

    def run(self, **options):
        runs[self.settings.scheme, self.settings.target] += 1
        return real(self, **options)

    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        patch.setattr(job.Job, "run", run)
        patch.setattr(litert, "check", lacking("tflm"))
        found = study(
            folder, out=folder / "out", schemes="int8,int16x8", runtimes="litert,onnxruntime,tflm,openvino", accept="drop <= 99"
        )
    return found, runs


def rows(found):
    return {row["name"].removeprefix("net ").replace(" plain", ""): row for row in found.rows}


# ---- which there are ----------------------------------------------------------------------------------------------------


def made_of(**axes):
    return list(variants(("net",), Axes.of(**axes), {}, evaluated=True))


def test_each_runtime_is_planned_for_its_own_target_where_none_is_named():
    found = made_of(schemes="int8", runtimes="litert,tflm,onnxruntime,openvino,pytorch,tensorrt")
    assert [(v.runtime, v.target, v.device) for v in found] == [
        ("litert", "cpu", "cpu"),
        ("tflm", "mcu", "mcu"),
        ("onnxruntime", "cpu", "cpu"),
        ("openvino", "openvino", "cpu"),
        ("pytorch", "pytorch", "cpu"),
        ("tensorrt", "tensorrt", "gpu"),
    ]
    assert [v.name for v in found][2:4] == ["net int8 onnxruntime", "net int8 openvino"]


def test_runs_that_several_runtimes_measure_are_one():
    found = made_of(schemes="int8,float16", runtimes="litert,onnxruntime,pytorch,pytorch-eager")
    assert len(found) == 8
    assert len({v.folder for v in found}) == 4
    assert found[0].folder == found[2].folder == "net-int8-cpu-per-channel"


def test_targets_that_are_named_hold_for_every_runtime():
    found = made_of(schemes="int8", runtimes="onnxruntime,openvino", targets="cpu,openvino")
    assert [v.name for v in found] == [
        "net int8 cpu onnxruntime",
        "net int8 cpu openvino",
        "net int8 openvino onnxruntime",
        "net int8 openvino",
    ]
    assert len({v.folder for v in found}) == 2


def test_without_runtimes_nothing_is_other_than_it_was():
    (one,) = made_of(schemes="int8")
    assert (one.name, one.folder, one.runtime, one.device) == (
        "net int8 cpu per-channel",
        "net-int8-cpu-per-channel",
        "",
        "cpu",
    )
    (micro,) = made_of(schemes="int8", targets="mcu")
    assert micro.device == "mcu"


def test_a_runtime_that_is_named_twice_counts_once():
    assert len(made_of(schemes="int8", runtimes="litert,onnxruntime,litert")) == 2


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"runtimes": "litert,tvm"}, "no runtime is called 'tvm'; type --runtimes with one of: litert, tflm, onnxruntime"),
        ({"runtimes": ","}, "--runtimes names none; type one or several with commas between them, or leave it out"),
        ({"runtimes": [1]}, r"--runtimes \[1\] must be names"),
        ({"runtimes": "tflm", "targets": "cpu"}, "tflm runs what is planned for mcu; type --targets mcu, or leave"),
        (
            {"runtimes": "openvino", "schemes": "int16x8"},
            "no variant could be made; the first: .*OpenVINO has no kernels",
        ),
    ],
)
def test_what_cannot_be_is_said_with_what_can(axes, says):
    with pytest.raises(OptionError, match=says):
        made_of(**axes)


def test_a_study_file_names_them(tmp_path):
    (tmp_path / "study.toml").write_text('models = "net.tflite"\nruntimes = ["litert", "onnxruntime"]\n')
    assert study_file(tmp_path / "study.toml")["runtimes"] == ["litert", "onnxruntime"]


# ---- what is done -------------------------------------------------------------------------------------------------------


def test_one_run_is_measured_in_every_runtime(made):
    found, runs = made
    assert runs == {("int8", "cpu"): 1, ("int16x8", "cpu"): 1, ("int8", "openvino"): 1}
    assert {name: row["status"] for name, row in rows(found).items()} == {
        "int8 litert": "done",
        "int16x8 litert": "done",
        "int8 onnxruntime": "done",
        "int16x8 onnxruntime": "done",
        "int8 tflm": "failed",
        "int16x8 tflm": "failed",
        "int8 openvino": "done",
        "int16x8 openvino": "failed",
    }


def test_a_row_has_the_figures_of_its_own_file(made):
    found, _ = made
    row = rows(found)["int8 onnxruntime"]
    (file,) = row["files"]
    path = found.folder / file
    assert path.name == "model.onnx"
    figures = row["figures"]
    assert figures["file size"]["value"] == path.stat().st_size
    assert "planned for cpu" in figures["file size"]["how"]
    assert figures.keys() >= {
        "top-1 accuracy", "accuracy drop", "agreement with float", "agreement with LiteRT", "SQNR", "latency", "float latency",
        "speed-up", "speed-up over LiteRT", "resident memory", "ops in float",
    }  # fmt: skip
    assert "ONNX Runtime" in figures["latency"]["how"]
    assert "ONNX Runtime" in figures["float latency"]["how"]
    assert "LiteRT" in figures["speed-up over LiteRT"]["how"]
    same = intact.evaluate(path, folder_data(found), against=found.folder / row["runs"][0] / "model.tflite")
    (agreed,) = (r.measurement for r in same.readings if "agreement" in r.measurement.name)
    assert agreed.value == 100.0
    assert figures["agreement with LiteRT"]["value"] == 100.0


def folder_data(found):
    return found.folder.parent / "val.npz"


def test_what_is_missing_is_a_sentence(made):
    found, _ = made
    assert rows(found)["int8 tflm"]["why"] == (
        "It as a runtime needs packages that are not installed; type: pip install 'intact[tflm]'"
    )
    assert "OpenVINO has no kernels for 16-bit activations" in rows(found)["int16x8 openvino"]["why"]
    others = {other["name"]: other["why"] for other in found.decision["targets"]["mcu"]["others"]}
    assert "pip install" in others["net int8 tflm plain"]


def test_the_decision_is_for_a_device_and_takes_one_runtime(made):
    found, _ = made
    assert list(found.decision["targets"]) == ["cpu", "mcu"]
    assert found.decision["taken"] in {row["name"] for row in found.rows if row["device"] == "cpu"}
    assert {c["status"] for c in rows(found)["int8 onnxruntime"]["criteria"]} <= {"pass", "fail", "inconclusive"}
    assert len(rows(found)["int8 onnxruntime"]["criteria"]) == 1


@pytest.mark.usefixtures("hurried")
def test_what_is_finished_is_not_done_again(made, folder, monkeypatch):
    found, _ = made
    monkeypatch.setattr(litert, "check", lacking("tflm"))
    for name in ("outputs_of", "speed", "export"):
        monkeypatch.setattr(study_runtimes, name, None)
    monkeypatch.setattr(job.Job, "run", None)
    again = study(
        folder, out=folder / "out", schemes="int8,int16x8", runtimes="litert,onnxruntime,tflm,openvino", accept="drop <= 99"
    )
    assert [row["figures"] for row in again.rows] == [row["figures"] for row in found.rows]


@pytest.mark.usefixtures("hurried")
def test_interrupted_it_goes_on_with_the_runtimes_that_are_left(folder, tmp_path, monkeypatch):
    asked = {"schemes": "float16", "runtimes": "litert,onnxruntime", "out": tmp_path / "out"}

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study_runtimes, "outputs_of", stop)
        with pytest.raises(KeyboardInterrupt):
            study(folder, **asked)
    document = json.loads((tmp_path / "out" / "study.json").read_bytes())
    assert [row["status"] for row in document["rows"]] == ["done", "pending"]
    monkeypatch.setattr(job.Job, "run", None)
    assert [row["status"] for row in study(folder, **asked).rows] == ["done", "done"]


@pytest.mark.usefixtures("hurried")
def test_a_run_that_fails_fails_once_for_all_runtimes_and_is_tried_again(folder, tmp_path, monkeypatch):
    calls = []

    def run(self, **_):
        calls.append(self.settings.scheme)
        raise ModelError("broken today")

    asked = {"schemes": "float32", "runtimes": "litert,onnxruntime", "out": tmp_path / "out"}
    with monkeypatch.context() as patch:
        patch.setattr(job.Job, "run", run)
        found = study(folder, **asked)
    assert calls == ["float32"]
    assert [row["why"] for row in found.rows] == ["broken today"] * 2
    assert [row["status"] for row in study(folder, **asked).rows] == ["done", "done"]


@pytest.mark.usefixtures("hurried")
def test_a_runtime_that_dies_is_its_own_row(folder, monkeypatch):
    def dies(path, *_, **__):
        raise ModelError(f"{path.name}: ONNX Runtime died of signal 6")

    monkeypatch.setattr(study_runtimes, "outputs_of", dies)
    found = study(folder, schemes="float32", runtimes="onnxruntime,litert", jobs=2)
    assert [(row["status"], row["why"]) for row in found.rows] == [
        ("failed", "model.onnx: ONNX Runtime died of signal 6"),
        ("done", None),
    ]


@pytest.mark.usefixtures("hurried")
def test_threads_and_repeats_have_times_of_the_runtime(folder):
    found = study(folder, schemes="float16", runtimes="onnxruntime", threads=(1, 2), repeats=2)
    (row,) = found.rows
    assert row["figures"]["latency, 2 threads"]["n"] == 2
    assert row["figures"]["top-1 accuracy"]["n"] == 1
    assert "2 threads" in row["figures"]["latency, 2 threads"]["how"]


# ---- microcontrollers ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_on_a_microcontroller_the_packed_file_runs_and_no_time_is_said(folder):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (the extra mcu)")
    found = study(folder, schemes="clusters2,int8", runtimes="tflm", out=folder / "micro")
    few, plain = found.rows
    run = found.folder / few["runs"][0]
    packed = run / "packed.tflite"
    size = packed if packed.exists() else run / "model.tflite"
    assert few["figures"]["file size"]["value"] == size.stat().st_size
    assert few["files"] == [size.relative_to(found.folder).as_posix()]
    assert plain["figures"]["agreement with LiteRT"]["value"] >= 90.0
    assert "TensorFlow Lite Micro" in plain["figures"]["top-1 accuracy"]["how"]
    assert not {"latency", "speed-up", "resident memory"} & plain["figures"].keys()
    assert plain["figures"]["TFLM arena"]["value"] > 0
    assert found.decision["targets"].keys() == {"mcu"}


def test_samples_are_fewer_where_plain_kernels_would_take_long():
    assert study_runtimes._few(300, 1e12).tolist() == sorted(set(np.linspace(0, 299, 200).round().astype(int).tolist()))
    assert study_runtimes._few(300, 1e3) is None
    assert study_runtimes._few(100, 1e12) is None


# ---- what is shown ------------------------------------------------------------------------------------------------------


def test_tables_say_where_each_row_ran(made):
    document = made[0].document
    lines = list(csv.DictReader(io.StringIO(to_csv(document))))
    assert [line["runtime"] for line in lines] == [row["runtime"] for row in document["rows"]]
    text = to_markdown(document)
    assert "| onnxruntime, for cpu |" in text
    assert "| openvino |" in text
    assert "as LiteRT, %" in text
    assert "| onnxruntime | cpu | cpu | model.onnx |" in text
    page = intact.report(made[0])
    assert "onnxruntime, for cpu" in page
    assert "<td>model.onnx</td>" in page
    assert to_table(document, 80).row_count == 8
