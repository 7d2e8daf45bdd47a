"""Many runs side by side: which there are, what they have in common, what is left after an end, and what they come to."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.errors import ModelError, OptionError, OutputError
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.measure.resident import resident
from intact.measure.run_outputs import outputs_of
from intact.measure.throughput import throughput
from intact.planning.adjusted_constants import digest
from intact.remedies import clip, equalize
from intact.run import acceptance, as_planned, job
from intact.run.study_cells import Axes, names_of, variants

TIMED = {"latency", "speed-up", "throughput at batch 1", "throughput at batch 32", "resident memory"}
SCHEMES = ("float16", "int8", "w4a8", "int16x8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    (path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(path / "val.npz", x=images(80), y=np.arange(80) % 4)
    return path


@pytest.fixture(scope="module")
def made(folder):
    """A study in a folder, and how often each of the steps was done that its runs have in common."""
    done = Counter()

    def counted(name, real):
        def call(*args, **options):
            done[name] += 1
            return real(*args, **options)

        return call

    observe, run_batches, look_at = as_planned.observe, as_planned.run_batches, equalize.look_at

    def held(batches):
        return hashlib.sha256(b"".join(x.tobytes() for batch in batches for x in batch.values())).hexdigest()

    def calibrates(graph, batches, **options):
        done["calibrate", digest(graph), held(batches()), options["histogram"]] += 1
        return observe(graph, batches, **options)

    def simulates(program, batches):
        batches = list(batches)
        if not program.graph.is_quantized:
            done["simulate", digest(program.graph), held(batches)] += 1
        return run_batches(program, batches)

    def looks(graph, wanted, samples, *how):
        done["look", digest(graph), samples.fingerprint(), frozenset(wanted)] += 1
        return look_at(graph, wanted, samples, *how)

    def runs(path, *how, **more):
        done["run", path.name] += 1
        return outputs_of(path, *how, **more)

    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        patch.setattr("intact.run.conduct.throughput", throughput)
        patch.setattr("intact.run.conduct.resident", resident)
        patch.setattr(as_planned, "observe", calibrates)
        patch.setattr(clip, "observe", calibrates)
        patch.setattr(as_planned, "run_batches", simulates)
        patch.setattr(equalize, "look_at", looks)
        patch.setattr(job, "outputs_of", runs)
        patch.setattr(job, "to_float_tflite", counted("convert", job.to_float_tflite))
        patch.setattr(job, "what_helps", lambda *_: "")  # which calibrates on fewer samples
        found = study(folder, out=folder / "out", schemes=SCHEMES)
    return found, done


def quick(patch):
    """Little time for what is timed or tried by the clock."""
    patch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.2)
    patch.setattr("intact.measure.figures._ROUNDS", 6)
    patch.setattr("intact.run.advice._SECONDS", 0.5)
    patch.setattr("intact.run.conduct.throughput", lambda *_: ())
    patch.setattr("intact.run.conduct.resident", lambda *_: Measurement("resident memory", 1, "bytes", None, None, "", 1))


@pytest.fixture
def hurried(monkeypatch):
    quick(monkeypatch)


def study(folder, **options):
    return intact.study(folder / "net.tflite", folder / "val.npz", **options)


def rows(found):
    return {row["name"]: row for row in found.rows}


# ---- which cells there are ----------------------------------------------------------------------------------------------


def made_of(evaluated=False, models=("net",), **axes):
    return [v.name for v in variants(models, Axes.of(**axes), {}, evaluated=evaluated)]


def test_without_schemes_there_are_all_that_the_target_runs():
    assert made_of() == [
        "net float32 cpu",
        "net float16 cpu",
        "net dynamic cpu per-channel",
        "net int8 cpu per-channel",
        "net w4a8 cpu per-channel",
        "net int16x8 cpu per-channel",
    ]
    assert [name.split()[1] for name in made_of(targets="mcu")] == ["float32", "int8", "w4a8", "int16x8"]


def test_what_makes_no_other_file_makes_no_other_cell():
    two = {"weights": "per-channel,per-tensor", "calibration_samples": "100,500"}
    assert len(made_of(schemes="float16", **two)) == 1
    assert len(made_of(schemes="dynamic", **two)) == 2
    assert len(made_of(schemes="dynamic-w4", **two)) == len(made_of(schemes="dynamic", remedies="compensate", **two)) == 4
    assert len(made_of(schemes="int8", **two)) == 4
    assert made_of(schemes="float16", remedies="plain,quick") == ["net float16 cpu"]
    assert made_of(schemes="dynamic", remedies="plain,quick") == ["net dynamic cpu per-channel"]
    assert len(made_of(schemes="dynamic-w2", remedies="plain,quick")) == 2


def test_seeds_draw_what_calibrates_and_without_eval_what_reports():
    assert made_of(schemes="int8,float16", seeds=2) == [
        "net int8 cpu per-channel seed 0",
        "net int8 cpu per-channel seed 1",
        "net float16 cpu seed 0",
        "net float16 cpu seed 1",
    ]
    assert made_of(schemes="float16", seeds=3, evaluated=True) == ["net float16 cpu seed 0"]


def test_every_variant_has_a_folder_of_its_own():
    names = ("a b", "a-b", "..", "x" * 300)
    folders = [v.folder for v in variants(names, Axes.of(), {}, evaluated=False)]
    assert len(set(folders)) == len(folders)
    assert all(set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-") for folder in folders)
    assert max(map(len, folders)) < 120


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"schemes": "int8,int9"}, r"no scheme is called 'int9'; type --schemes with one of: float32"),
        ({"targets": "gpu"}, r"no target is called 'gpu'; type --targets with one of: cpu, mcu"),
        ({"targets": ","}, "--targets names none"),
        ({"weights": "per-row"}, "no weight granularity is called 'per-row'"),
        ({"remedies": "quick,best"}, r"no remedies are called 'best'; type --remedies with some of plain, quick, fine-tuned"),
        ({"remedies": "equalize+luck"}, r"no remedies are called 'equalize\+luck'"),
        ({"threads": "1,two"}, r"--threads '1,two' must be whole numbers"),
        ({"threads": 0}, "--threads 0 must be at least 1"),
        ({"calibration_samples": []}, "--calibration-samples names none"),
        ({"seeds": 0}, "--seeds 0 must be at least 1"),
        ({"repeats": True}, "--repeats True must be at least 1"),
        ({"seeds": 99999}, "leave some out"),
    ],
)
def test_what_there_is_not_is_said_with_what_there_is(axes, says):
    with pytest.raises(OptionError, match=says):
        made_of(**axes)


def test_models_that_are_called_alike_are_told_apart():
    assert names_of(["a/net.tflite", "b/other.keras"]) == ("net", "other")
    assert names_of(["a/net.tflite", "a/net.keras"]) == ("net.tflite", "net.keras")
    assert names_of(["a/net.tflite", "b/net.tflite"]) == ("net-1", "net-2")
    assert names_of([mobile(), mobile()]) == ("graph-1", "graph-2")


# ---- what runs have in common -------------------------------------------------------------------------------------------


def test_conversion_calibration_and_the_float_network_are_done_once(made):
    _, done = made
    calibrations = [times for step, times in done.items() if step[0] == "calibrate"]
    assert len(calibrations) > 2  # of the network, and of what remedies make of it
    assert set(calibrations) == {1}
    assert (done["convert"], done["run", "float.tflite"], done["run", "model.tflite"]) == (1, 1, len(SCHEMES))


@pytest.mark.parametrize("step", ["simulate", "look"])
def test_what_a_float_network_gives_remedies_and_ranges_is_computed_once(made, step):
    _, done = made
    counts = [times for (kind, *_), times in done.items() if kind == step]
    assert counts
    assert set(counts) == {1}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_cell_is_what_a_single_run_gives(made, folder, scheme):
    found, _ = made
    (run,) = next(row["runs"] for row in found.rows if row["scheme"] == scheme)
    alone = intact.quantize(folder / "net.tflite", folder / "val.npz", scheme=scheme).files()
    held = {p.name: p.read_bytes() for p in (found.folder / run).iterdir()}
    assert held.keys() - {"job.json"} == alone.keys()
    assert held["model.tflite"] == alone["model.tflite"]
    assert held["plan.json"] == alone["plan.json"]
    assert untimed(held["result.json"]) == untimed(alone["result.json"])


def untimed(document):
    record = json.loads(document)
    record["measurements"] = [m for m in record["measurements"] if m["name"] not in TIMED]
    record["findings"] = [f for f in record["findings"] if f["kind"] not in {"slower than float", "what helps"}]
    return record


@pytest.mark.usefixtures("hurried")
def test_cells_side_by_side_are_the_same(made, folder):
    found, _ = made
    beside = study(folder, schemes=SCHEMES, jobs=3)
    for row in found.rows:
        (run,), (other,) = row["runs"], rows(beside)[row["name"]]["runs"]
        assert (found.folder / run / "model.tflite").read_bytes() == (beside.folder / other / "model.tflite").read_bytes()
        assert untimed((found.folder / run / "result.json").read_bytes()) == untimed(
            (beside.folder / other / "result.json").read_bytes()
        )


@pytest.mark.usefixtures("hurried")
def test_every_cell_has_its_times_and_the_row_their_spread(folder):
    found = study(folder, schemes="float32", threads=(1, 2), repeats=2)
    cells = found.cells
    assert [(cell["threads"], cell["repeat"]) for cell in cells] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert {m["name"] for m in cells[0]["measurements"]} >= {"latency", "resident memory", "top-1 accuracy", "file size"}
    assert {m["name"] for m in cells[1]["measurements"]} == {"latency", "speed-up"}
    figures = rows(found)["net float32 cpu"]["figures"]
    for name in ("latency", "latency, 2 threads", "speed-up, 2 threads"):
        assert figures[name]["n"] == 2
        assert figures[name]["std"] is not None
        assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
    assert figures["top-1 accuracy"]["n"] == 1
    assert figures["top-1 accuracy"]["std"] is None
    assert len(figures["latency"]["quartiles"]) == 2


@pytest.mark.usefixtures("hurried")
def test_seeds_give_a_mean_and_its_deviation(folder):
    found = study(folder, schemes="int8", remedies="plain", seeds=2, seed=5)
    assert [cell["seed"] for cell in found.cells] == [5, 6]
    values = [m["value"] for cell in found.cells for m in cell["measurements"] if (m["of"], m["name"]) == ("quantized", "SQNR")]
    figure = found.rows[0]["figures"]["SQNR"]
    assert figure["mean"] == pytest.approx(np.mean(values))
    assert figure["std"] == pytest.approx(np.std(values, ddof=1))
    assert figure["n"] == 2
    assert len(found.rows) == 1
    assert len(set(values)) > 1


# ---- cells that cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hurried")
def test_a_cell_that_fails_is_a_row_with_its_reason_and_the_others_go_on(folder, monkeypatch):
    real = job.Job.run

    def run(self, **options):
        if self.settings.scheme == "int8":
            raise ModelError("broken today")
        return real(self, **options)

    monkeypatch.setattr(job.Job, "run", run)
    asked = {"schemes": "int8,float16,float32", "targets": "mcu", "remedies": "plain", "out": folder / "failing"}
    found = study(folder, **asked)
    assert [(row["scheme"], row["status"]) for row in found.rows] == [
        ("int8", "failed"),
        ("float16", "failed"),
        ("float32", "done"),
    ]
    assert found.rows[0]["why"] == "broken today"
    assert "TensorFlow Lite Micro has no DEQUANTIZE of float16" in found.rows[1]["why"]
    assert {"name": "net int8 mcu per-channel plain", "why": "broken today"} in found.decision["others"]
    assert [cell["status"] for cell in found.cells] == ["failed", "failed", "done"]
    monkeypatch.undo()
    again = study(folder, **asked)
    assert [row["status"] for row in again.rows] == ["done", "failed", "done"]


@pytest.mark.usefixtures("hurried")
def test_criteria_that_no_sample_can_decide_are_refused_before_calibration(folder, tmp_path, monkeypatch):
    given = folder / "net.tflite", folder / "bare.npy"
    np.save(given[1], images(40))
    with monkeypatch.context() as patch:
        patch.setattr(job, "mend_and_plan", None)
        found = intact.study(*given, schemes="int8", accept="accuracy >= 50", out=tmp_path / "out")
    why = "accuracy >= 50 needs labels that are classes of the model, and the data has none; type agreement >= 99 instead"
    assert [(row["status"], row["why"]) for row in found.rows] == [("failed", why)]
    again = intact.study(*given, schemes="int8", accept="agreement >= 9", out=tmp_path / "out")
    assert [row["status"] for row in again.rows] == ["done"]


@pytest.mark.parametrize(
    ("accept", "axes", "advice"),
    [
        ("arena <= 9 KB", {}, "cpu has no TFLM arena; type --targets mcu"),
        ("weight SQNR >= 9", {}, "weight SQNR is measured of weights of few numbers; type --schemes with such as w3a8"),
        ("packed file size <= 9 KB", {"schemes": "w3a8"}, "cpu has no packed file; type --targets mcu"),
        ("agreement with LiteRT >= 99", {}, "is of another runtime; type --runtimes with such as onnxruntime"),
        ("speed-up over LiteRT >= 1", {"runtimes": "litert"}, "type --runtimes with such as onnxruntime"),
    ],
)
def test_criteria_on_figures_that_no_variant_has_are_refused(accept, axes, advice):
    with pytest.raises(OptionError, match=f"{re.escape(advice)}, or leave it out"):
        acceptance.of_study(accept, None, Axes.of(**axes))
    having = {"targets": "mcu", "schemes": "int8,w3a8", "runtimes": "tflm"}
    assert acceptance.of_study(accept, None, Axes.of(**having))[0].text == accept


# ---- the folder ---------------------------------------------------------------------------------------------------------


def test_a_finished_study_is_read_again_and_not_done_again(made, folder, monkeypatch):
    found, _ = made
    before = {p: p.stat().st_mtime_ns for p in (found.folder / "runs").rglob("*")}
    monkeypatch.setattr(job.Job, "run", None)
    monkeypatch.setattr("intact.run.conduct.speed", None)
    again = study(folder, out=folder / "out", schemes=SCHEMES, accept="file size <= 1 MiB")
    assert before == {p: p.stat().st_mtime_ns for p in (found.folder / "runs").rglob("*")}
    assert again.rows[0]["figures"] == found.rows[0]["figures"]
    assert again.decision["taken"] is not None
    assert not (found.folder / ".common").exists()


@pytest.mark.parametrize("other", [{"schemes": "int8"}, {"seed": 1}, {"repeats": 3}])
def test_another_study_in_the_folder_is_refused(made, folder, other):
    del made
    options = {"schemes": SCHEMES} | other
    with pytest.raises(OutputError, match=r"holds a study of another job \(.*there, .*now.*\); type --overwrite"):
        study(folder, out=folder / "out", **options)


@pytest.mark.usefixtures("hurried")
def test_overwriting_removes_what_the_former_study_left_and_nothing_else(folder, tmp_path):
    out = tmp_path / "out"
    (out / "runs").mkdir(parents=True)
    (out / "runs" / "old").write_text("old")
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(runs, thesis.txt\); type --out with another folder"):
        study(folder, out=out, schemes="float32")
    study(folder, out=out, schemes="float32", overwrite=True)
    assert (out / "thesis.txt").read_text() == "mine"
    assert [p.name for p in (out / "runs").iterdir()] == ["net-float32-cpu"]


def test_a_study_that_never_began_leaves_nothing(folder, tmp_path):
    with pytest.raises(OptionError):
        study(folder, out=tmp_path / "out", schemes="int9")
    with pytest.raises(ModelError):
        intact.study(tmp_path / "none.tflite", folder / "val.npz", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
import intact
for name, value in (("_LATENCY_SECONDS", 0.2), ("_ROUNDS", 6)):
    setattr(__import__("intact.measure.figures", fromlist=["x"]), name, value)
folder = Path(sys.argv[1])
intact.study(folder / "net.tflite", folder / "val.npz", out=folder / "killed", schemes="float32,float16,int8", remedies="plain")
"""


def test_killed_at_any_time_the_same_study_goes_on_where_it_was(folder):
    out = folder / "killed"
    environment = os.environ | {"PYTHONPATH": str(Path(intact.__file__).parents[1])}
    first = out / "runs" / "net-float32-cpu" / "result.json"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=environment) as process:
        deadline = time.monotonic() + 120
        while not first.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert first.exists()
    assert not (out / "study.json").exists()
    before = first.stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, check=True, timeout=240)
    assert first.stat().st_mtime_ns == before
    document = json.loads((out / "study.json").read_bytes())
    assert [row["status"] for row in document["rows"]] == ["done"] * 3
    assert sorted(p.name for p in out.iterdir()) == ["job.json", "runs", "study.csv", "study.json", "study.md", "times"]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_ends_all_and_notes_what_is_there(folder, tmp_path, monkeypatch, jobs):
    real = job.Job.run

    def run(self, **options):
        if self.settings.scheme == "float16":
            raise KeyboardInterrupt
        return real(self, **options)

    monkeypatch.setattr(job.Job, "run", run)
    with pytest.raises(KeyboardInterrupt):
        study(folder, schemes="float32,float16,int8", out=tmp_path / "out", jobs=jobs)
    document = json.loads((tmp_path / "out" / "study.json").read_bytes())
    assert document["rows"][1]["status"] == "pending"
    assert len(document["rows"]) == 3


# ---- what it comes to ---------------------------------------------------------------------------------------------------


def test_the_object_says_what_it_is_and_is_saved(made, tmp_path):
    found, _ = made
    assert repr(found).startswith(f"<Study: {len(SCHEMES)} variants of net; none taken; .rows holds the figures>")
    assert json.loads(found.to_json()) == found.document
    saved = found.save(tmp_path / "saved")
    assert (saved / "study.json").read_bytes() == (found.folder / "study.json").read_bytes()
    assert sorted(p.name for p in (saved / "runs").iterdir()) == sorted(p.name for p in (found.folder / "runs").iterdir())
    with pytest.raises(OptionError, match="is there already"):
        found.save(saved)


def test_the_document_says_what_it_is_of(made):
    document = made[0].document
    assert document["schema"] == "intact-study/1"
    assert document["models"] == ["net"]
    assert document["machine"]["runtimes"]["LiteRT"]
    assert document["front"]
    assert {m["name"] for m in document["cells"][0]["measurements"]} >= TIMED
    assert document["decision"]["taken"] is None
    assert "no criterion was given" in document["decision"]["why"]
    json.dumps(document, allow_nan=False)


def test_an_option_that_no_study_has_is_refused(folder):
    with pytest.raises(OptionError, match="a study has no max_drop; its options are: device, input_shape"):
        study(folder, max_drop=1.0)
    with pytest.raises(OptionError, match="at least one model"):
        intact.study([], folder / "val.npz")
