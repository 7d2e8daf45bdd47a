"""The main job from the outside: the API and the command, on good input and on bad."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from images import image_folder
from nets import images, mobile
from plans import planned
from typer.testing import CliRunner

import intact
from intact import files
from intact.cli.app import app
from intact.errors import OptionError, OutputError, UnsupportedError
from intact.formats import tflite
from intact.planning.integer_graph import emit
from intact.run import folder as run_folder

pytestmark = pytest.mark.usefixtures("hasty")

RUN = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float model, labelled samples, and class folders of pictures."""
    path = tmp_path_factory.mktemp("job")
    (path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(path / "val.npz", x=images(80), y=np.arange(80) % 4)
    image_folder(path / "photos", ("a", "b", "c", "d"), per_class=8)
    return path


@pytest.fixture(scope="module")
def result():
    return intact.quantize(mobile(), intact.data.arrays(images(80), np.arange(80) % 4))


def call(*args):
    return RUN.invoke(app, [str(a) for a in args])


# ---- the API ------------------------------------------------------------------------------------------------------------


def test_the_result_holds_a_model_that_reads_back(result, tmp_path):
    graph = tflite.read(result.save(tmp_path / "model.tflite"))
    assert graph.is_quantized
    assert graph.input_names == ("image",)
    assert graph.output_names == ("scores",)


def test_every_figure_that_is_promised_is_there(result):
    have = {(r.of, r.measurement.name) for r in result.readings}
    assert have >= {
        ("float", "top-1 accuracy"),
        ("quantized", "top-1 accuracy"),
        ("difference", "accuracy drop"),
        ("quantized", "agreement with float"),
        ("quantized", "SQNR"),
        ("quantized", "simulator = runtime, bit for bit"),
        ("quantized", "SQNR without the mean"),
        ("quantized", "SQNR of the worst channel"),
        ("quantized", "levels used"),
        ("float", "file size"),
        ("quantized", "file size"),
        ("quantized", "peak live activations"),
        ("float", "multiply-accumulates"),
        ("quantized", "latency"),
        ("difference", "speed-up"),
    }
    assert result.readings[0].of == "float"  # the float model's own figure first: it shows that preprocessing is right
    assert result.reading("accuracy drop", "difference").measurement.low is not None
    assert "accuracy drop" in result.summary()


def test_simulator_and_runtime_agree(result):
    same = result.reading("simulator = runtime, bit for bit").measurement
    assert (same.value, same.unit) == (160, "of 160 stored numbers")  # 40 report samples of four classes
    assert "LiteRT default kernels" in same.how


def test_an_unknown_figure_lists_the_known(result):
    with pytest.raises(OptionError, match="no figure is called 'speed'"):
        result.reading("speed")


def test_same_inputs_and_seed_give_the_same_bytes(result):
    again = intact.quantize(mobile(), intact.data.arrays(images(80), np.arange(80) % 4), measure=False)
    assert again.model == result.model
    other = intact.quantize(mobile(), intact.data.arrays(images(80), np.arange(80) % 4), measure=False, seed=1)
    assert other.model != result.model


def test_a_plan_is_replayed_to_the_same_bytes(result):
    plan = intact.Plan.from_json(result.plan.to_json())
    again = intact.quantize(mobile(), intact.data.arrays(images(80), np.arange(80) % 4), plan=plan, measure=False)
    assert again.model == result.model


def test_without_labels_it_reports_agreement():
    result = intact.quantize(mobile(), intact.data.arrays(images(40)))
    names = [r.measurement.name for r in result.readings]
    assert "agreement with float" in names
    assert "top-1 accuracy" not in names


def test_a_users_metric_is_measured_on_both():
    def mean_top(outputs, labels):
        del labels
        return float(np.max(outputs, axis=-1).mean())

    result = intact.quantize(mobile(), intact.data.arrays(images(60), np.zeros(60)), metric=mean_top)
    ours, theirs = (result.reading("metric", of).measurement.value for of in ("quantized", "float"))
    assert ours == pytest.approx(theirs, abs=0.02)


def test_a_quantized_model_is_refused_with_what_still_works():
    with pytest.raises(UnsupportedError, match=r"quantized already; give the float model.*intact evaluate"):
        intact.quantize(emit(mobile(), planned(mobile())), intact.data.arrays(images(40)))


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic"])
def test_schemes_with_float_activations_run(scheme):
    result = intact.quantize(mobile(side=16), intact.data.arrays(images(40, side=16)), scheme=scheme)
    assert result.reading("agreement with float").measurement.value >= 95


@pytest.mark.parametrize("target", ["cpu", "mcu"])
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_targets_and_types_run(target, io):
    data = intact.data.arrays(images(40))
    result = intact.quantize(mobile(), data, target=target, input_type=io, output_type=io)
    assert result.graph[result.graph.inputs[0]].format.dtype == io
    assert result.reading("agreement with float").measurement.value >= 90


# ---- the command --------------------------------------------------------------------------------------------------------


def test_the_run_folder(folder, tmp_path):
    out = tmp_path / "run"
    done = call("quantize", folder / "net.tflite", "--data", folder / "val.npz", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.iterdir()) == [
        "details.json",
        "job.json",
        "model.tflite",
        "plan.json",
        "plan.npz",
        "result.json",
        "result.md",
        "samples.npz",
    ]
    record = json.loads((out / "result.json").read_text())
    assert json.loads(done.stdout) == record
    assert record["schema"] == "intact-result/1"
    assert all({"of", "name", "value", "unit", "low", "high", "how", "n"} == set(m) for m in record["measurements"])
    replay = ("--plan", out / "plan.json", "--out", tmp_path / "again", "--quiet")
    assert call("quantize", folder / "net.tflite", "--data", folder / "val.npz", *replay).exit_code == 0
    assert (tmp_path / "again" / "model.tflite").read_bytes() == (out / "model.tflite").read_bytes()
    for command in (
        ("evaluate", out / "model.tflite", "--data", folder / "val.npz", "--against", folder / "net.tflite"),
        ("benchmark", out / "model.tflite", "--against", folder / "net.tflite"),
        ("inspect", out / "model.tflite"),
    ):
        shown = call(*command)
        assert shown.exit_code == 0, shown.output
    refused = call("quantize", folder / "net.tflite", "--data", folder / "val.npz", "--out", out)
    assert refused.exit_code == 2
    assert "holds a finished run; type --overwrite" in refused.output


def test_class_folders_of_pictures(folder, tmp_path):
    options = ("--pixels=-1,1", "--out", tmp_path / "run", "--quiet")
    done = call("quantize", folder / "net.tflite", "--data", folder / "photos", *options)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["samples"]["classes"] == ["a", "b", "c", "d"]
    assert record["samples"]["preprocessing"]["pixels"] == [-1, 1]


def test_an_interrupted_run_goes_on(folder, tmp_path, monkeypatch):
    out, args = tmp_path / "run", ("quantize", folder / "net.tflite", "--data", folder / "val.npz", "--quiet")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("intact.run.job.compare", stop)
        assert call(*args, "--out", out).exit_code == 130
    assert not (out / "model.tflite").exists()
    stages = {p.name: p.stat().st_mtime_ns for p in (out / ".stages").iterdir()}
    assert "calibration.npz" in stages
    with monkeypatch.context() as patch:
        patch.setattr("intact.run.as_planned.observe", stop)  # what is finished is not done again
        patch.setattr("intact.run.job.Job._poor", lambda *_: ())  # which calibrates for every option that it tries
        assert call(*args, "--out", out).exit_code == 0
    assert not (out / ".stages").exists()


def bad_model(path, name):
    data = {
        "empty.tflite": b"",
        "random.tflite": np.random.default_rng(0).bytes(5000),
        "cut.tflite": tflite.write(mobile())[:2000],
        "int8.tflite": tflite.write(emit(mobile(), planned(mobile()))),
        "net.onnx": b"x",
        "net.pth": b"x",
    }
    (path / name).write_bytes(data[name])
    return path / name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.tflite", "empty"),
        ("random.tflite", "is not a .tflite file"),
        ("cut.tflite", "corrupt or cut off"),
        ("int8.tflite", "quantized already"),
        ("net.onnx", "no ONNX model"),
        ("net.pth", "pickle"),
    ],
)
def test_bad_models_are_one_sentence(folder, tmp_path, name, says):
    model = bad_model(tmp_path, name)
    done = call("quantize", model, "--data", folder / "val.npz", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert says in done.output
    assert name in done.output
    assert done.output.strip().count("\n") == 0
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--scheme", "int7"), "no scheme is called 'int7'"),
        (("--target", "tpu"), "no target is called 'tpu'"),
        (("--ranges", "best"), "no range estimator is called 'best'"),
        (("--weights", "per-row"), "type --weights per-channel or per-tensor"),
        (("--scheme", "dynamic", "--input-type", "int8"), "--input-type int8 cannot be had"),
        (("--keep-float", "nothing"), "matches no op"),
        (("--calibration-samples", "0"), "must be at least 1"),
        (("--mean", "0.5"), "--mean and --std go together"),
        (("--pixels=1,0",), "is not a range"),
        (("--plan", "no.json"), "cannot be read as a plan"),
    ],
)
def test_bad_options_are_one_sentence(folder, tmp_path, options, says):
    done = call("quantize", folder / "net.tflite", "--data", folder / "val.npz", "--out", tmp_path / "run", *options)
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


def bad_data(path, kind):
    match kind:
        case "shape":
            np.savez(path / "val.npz", x=np.zeros((8, 5, 5, 3), np.float32))
        case "nan":
            np.savez(path / "val.npz", x=np.where(np.arange(80 * 192).reshape(80, 8, 8, 3) == 999, np.nan, images(80)))
        case "labels":
            np.savez(path / "val.npz", x=images(8), y=np.full(8, 9))
        case "few":
            np.savez(path / "val.npz", x=images(2))
        case "pickle":
            np.save(path / "val.npy", np.array([{}], object), allow_pickle=True)
            return path / "val.npy"
        case "picture":
            image_folder(path / "photos", ("a", "b", "c", "d"), per_class=8)
            for file in (path / "photos" / "b").iterdir():
                file.write_bytes(b"no picture")
            return path / "photos"
        case "missing":
            return path / "nowhere"
    return path / "val.npz"


@pytest.mark.parametrize("kind", ["shape", "nan", "labels", "few", "pickle", "picture", "missing"])
def test_bad_data_is_one_sentence(folder, tmp_path, kind):
    done = call("quantize", folder / "net.tflite", "--data", bad_data(tmp_path, kind), "--out", tmp_path / "run")
    assert done.exit_code == 2, done.output
    assert done.output.strip().startswith("error: ")
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in done.output


def test_nan_weights_are_named(folder, tmp_path):
    net = mobile()
    bad = np.array(net[1].data)
    bad[0, 0, 0, 0] = np.nan
    blob = tflite.write(net).replace(np.float32(net[1].data).tobytes(), bad.tobytes())
    (tmp_path / "nan.tflite").write_bytes(blob)
    done = call("quantize", tmp_path / "nan.tflite", "--data", folder / "val.npz", "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert "holds 1 values that are NaN or infinite" in done.output


def test_an_output_folder_that_holds_something_else_is_left_alone(folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    done = call("quantize", folder / "net.tflite", "--data", folder / "val.npz", "--out", tmp_path)
    assert done.exit_code == 2
    assert "holds other things (thesis.txt)" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_constant_inputs_and_dead_channels_go_through(tmp_path):
    net = mobile()
    dead = replace(net, tensors={**net.tensors, 4: replace(net[4], data=np.zeros_like(net[4].data))})
    result = intact.quantize(dead, intact.data.arrays(np.zeros((40, 8, 8, 3), np.float32)))
    result.save(tmp_path / "model.tflite")
    assert result.reading("agreement with float").measurement.value == 100
    shutil.rmtree(tmp_path)


# ---- the folder, from Python --------------------------------------------------------------------------------------------


def untimed(text):
    """A record without what is measured by the clock."""
    record = json.loads(text)
    record["measurements"] = [m for m in record["measurements"] if m["name"] not in {"latency", "speed-up"}]
    record["findings"] = [f for f in record["findings"] if f["kind"] not in {"slower than float", "what helps"}]
    return record


def test_save_run_writes_what_the_command_writes(folder, tmp_path):
    model, data = folder / "net.tflite", folder / "val.npz"
    assert call("quantize", model, "--data", data, "--out", tmp_path / "typed", "--quiet").exit_code == 0
    result = intact.quantize(str(model), str(data))
    assert result.save_run(tmp_path / "called") == tmp_path / "called"
    typed, called = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("typed", "called"))
    assert sorted(typed) == sorted(called)
    for name in ("model.tflite", "plan.json", "plan.npz", "job.json"):
        assert called[name] == typed[name], name
    assert json.loads(typed["job.json"])["version"] == intact.__version__  # another version's steps are not gone on from
    assert untimed(called["result.json"]) == untimed(typed["result.json"])
    assert json.loads(called["result.json"]) == json.loads(result.files()["result.json"])
    assert called["result.md"] == result.files()["result.md"]


def test_a_model_file_that_goes_while_it_is_worked_on_costs_nothing(folder, tmp_path):
    """Its bytes are told by what they were when the work began."""
    model = tmp_path / "net.tflite"
    shutil.copy(folder / "net.tflite", model)

    def progress(stage, *_):
        if stage == "read samples":
            model.unlink(missing_ok=True)

    result = intact.quantize(str(model), str(folder / "val.npz"), progress=progress)
    assert not model.exists()
    assert result.about["source"]["sha256"] == result.job["model"] == files.sha256(folder / "net.tflite")


def test_save_run_replaces_nothing_unless_told_to(result, tmp_path):
    result.save_run(str(tmp_path / "run"))
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    with pytest.raises(OutputError, match="holds a finished run; type --overwrite"):
        result.save_run(tmp_path / "run")
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before
    (tmp_path / "run" / "notes.txt").write_text("mine")
    result.save_run(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(run, thesis.txt\)"):
        result.save_run(tmp_path)


def test_save_run_without_figures(tmp_path):
    result = intact.quantize(mobile(), images(64), measure=False)
    result.save_run(tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        "job.json",
        "model.tflite",
        "plan.json",
        "result.json",
        "result.md",
    }
    assert (tmp_path / "run" / "model.tflite").read_bytes() == result.model


def test_a_saved_model_that_changed_is_another_job(tmp_path):
    for value in (b"1", b"2"):
        (tmp_path / "model" / "variables").mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / "saved_model.pb").write_bytes(b"same")
        (tmp_path / "model" / "variables" / "data").write_bytes(value)
        assert run_folder.sha256_of(tmp_path / "model") == run_folder.sha256_of(str(tmp_path / "model"))
        (tmp_path / value.decode()).write_text(run_folder.sha256_of(tmp_path / "model"))
    assert (tmp_path / "1").read_text() != (tmp_path / "2").read_text()
