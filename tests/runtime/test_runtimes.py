"""Runtimes as rows, and files of theirs measured beside those of LiteRT."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compare import assert_same
from nets import images, mobile

import intact
from intact.errors import ChildError, DataError, MissingExtraError, ModelError, OptionError
from intact.formats import tflite
from intact.formats.onnx_out import write
from intact.runtime import child, litert, runtimes
from intact.runtime.runtimes import RUNTIMES

onnx = pytest.importorskip("onnx", reason="onnx is not installed (the extra onnx)")


def installed(kernels):
    package = {"onnxruntime": "onnxruntime", "openvino": "openvino"}[kernels]
    pytest.importorskip(package, reason=f"{package} is not installed")
    return kernels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("runtimes"), mobile()
    (folder / "net.tflite").write_bytes(tflite.write(graph))
    (folder / "net.onnx").write_bytes(write(graph))
    return folder, graph


def test_every_set_of_kernels_belongs_to_one_runtime():
    names = [kernels for runtime in RUNTIMES.values() for kernels in runtime.kernels]
    assert sorted(names) == sorted(set(names)) == sorted(runtimes.KERNEL_NAMES)


def test_an_unknown_runtime_is_refused_with_the_names_there_are():
    with pytest.raises(OptionError, match="type --runtime with one of: litert, tflm, onnxruntime, openvino, pytorch"):
        runtimes.runtime("tvm")


@pytest.mark.parametrize("kernels", ["onnxruntime", "openvino"])
def test_a_file_gives_what_litert_gives(files, kernels):
    folder, graph = files
    (name,) = graph.input_names
    expected = litert.run(folder / "net.tflite", {name: images(37)})
    made = litert.execute(folder / "net.onnx", {name: images(37)}, kernels=installed(kernels))
    assert made.batch > 1
    for output, y in expected.items():
        assert_same(made.outputs[output], y, rtol=1e-5)


@pytest.mark.parametrize("kernels", ["onnxruntime", "openvino"])
def test_ports_are_told_in_our_order(files, kernels):
    folder, _ = files
    found = litert.describe(folder / "net.onnx", kernels=installed(kernels))
    assert [port.shape for port in found.inputs] == [(-1, 8, 8, 3)]
    assert found.about["quantized"] is False


@pytest.mark.parametrize("kernels", ["onnxruntime", "openvino"])
def test_files_of_two_runtimes_take_turns(files, kernels):
    folder, _ = files
    models = {"a": folder / "net.onnx", "b": folder / "net.tflite"}
    by_name = {"a": installed(kernels), "b": "default"}
    times = litert.latency(models, kernels=by_name, rounds=5, warmup_seconds=0.01, block_seconds=0.002)
    assert {name: (len(t.samples_ms), t.kernels) for name, t in times.items()} == {
        name: (5, used) for name, used in by_name.items()
    }


@pytest.mark.parametrize("kernels", ["onnxruntime", "openvino"])
def test_what_is_no_model_is_refused_before_the_runtime_has_it(tmp_path, kernels):
    (tmp_path / "net.onnx").write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"net\.onnx: the file is corrupt or no ONNX model"):
        litert.describe(tmp_path / "net.onnx", kernels=installed(kernels))


def test_weights_outside_the_folder_are_refused(files, tmp_path):
    installed("onnxruntime")
    model = onnx.load_from_string((files[0] / "net.onnx").read_bytes())
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="may only lie in the model's own folder"):
        litert.describe(tmp_path / "net.onnx", kernels="onnxruntime")


def test_orders_that_do_not_fit_are_refused(files, tmp_path):
    installed("onnxruntime")
    model = onnx.load_from_string((files[0] / "net.onnx").read_bytes())
    for entry in model.metadata_props:
        entry.value = json.dumps({name: [0, 0, 0, 0] for name in json.loads(entry.value)})
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="does not fit its inputs and outputs; export it again"):
        litert.describe(tmp_path / "net.onnx", kernels="onnxruntime")


def test_a_stranger_s_images_have_their_channels_first(files, tmp_path):
    installed("onnxruntime")
    model = onnx.load_from_string((files[0] / "net.onnx").read_bytes())
    del model.metadata_props[:]
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (port,) = litert.describe(tmp_path / "net.onnx", kernels="onnxruntime").inputs
    assert port.shape == (-1, 8, 8, 3)


def test_samples_that_do_not_fit_are_refused(files):
    turned = {files[1].input_names[0]: images(2).transpose(0, 3, 1, 2)}
    with pytest.raises(DataError, match=r"takes samples of shape \[8, 8, 3\], and got \[3, 8, 8\]"):
        litert.run(files[0] / "net.onnx", turned, kernels=installed("onnxruntime"))


@pytest.mark.parametrize(("kernels", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_runtime_says_what_to_type(files, monkeypatch, kernels, extra):
    monkeypatch.setattr(child, "call", lambda *_, **__: {"missing": kernels})
    with pytest.raises(MissingExtraError, match=rf"pip install 'intact\[{extra}\]'"):
        litert.describe(files[0] / "net.onnx", kernels=kernels)


def test_a_runtime_that_aborts_is_named(files, monkeypatch, tmp_path):
    script = tmp_path / "dies.py"
    script.write_text("import os\ndef main(request, progress):\n    os.abort()\n")
    call = child.call
    monkeypatch.setattr(child, "call", lambda _, request, **options: call(script, request, **options))
    with pytest.raises(ChildError, match="ONNX Runtime"):
        litert.describe(files[0] / "net.onnx", kernels="onnxruntime")


# ---- what this machine has ----------------------------------------------------------------------------------------------


def test_a_runtime_that_is_there_lacks_nothing():
    litert.check("default")
    litert.check(installed("onnxruntime"))


def test_tensorrt_says_what_it_needs(files):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("TensorRT is here")
    needs = "TensorRT needs an NVIDIA GPU, the TensorRT libraries and the package onnxruntime-gpu; ONNX Runtime has kernels for"
    with pytest.raises(ModelError, match=needs):
        litert.check("tensorrt")
    with pytest.raises(ModelError, match=f"net.onnx: {needs}"):
        litert.describe(files[0] / "net.onnx", kernels="tensorrt")


def test_a_compiler_that_is_missing_is_said_before_any_file(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ModelError, match=r"needs a C\+\+ compiler, and there is none"):
        litert.check("pytorch")


def test_files_of_another_device_are_refused():
    with pytest.raises(OptionError, match="tflm runs what is planned for mcu; type --targets mcu, or leave --targets out"):
        runtimes.runtime("tflm").check_target("cpu")
    for name in ("onnxruntime", "litert"):
        runtimes.runtime(name).check_target("mcu")


@pytest.mark.parametrize("kernels", ["onnxruntime", "openvino"])
def test_throughput_is_of_calls_that_are_fed(files, kernels):
    found = litert.throughput(files[0] / "net.onnx", (1, 4), kernels=installed(kernels), seconds=0.02)
    assert all(len(one.samples) >= 5 and not one.reason for one in found.values())


# ---- TensorFlow Lite Micro ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def micro():
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed (the extra mcu)")


@pytest.mark.usefixtures("micro")
def test_micro_gives_what_litert_gives(files):
    folder, graph = files
    (name,) = graph.input_names
    made = litert.run(folder / "net.tflite", {name: images(9)}, kernels="tflm")
    expected = litert.run(folder / "net.tflite", {name: images(9)})
    assert made.keys() == expected.keys()
    for output, y in expected.items():
        assert_same(made[output], y, rtol=1e-5)


@pytest.mark.usefixtures("micro")
def test_micro_takes_samples_one_by_one(files):
    found = litert.throughput(files[0] / "net.tflite", (1, 4), kernels="tflm", seconds=0.02)
    assert found[1].samples
    assert "takes input 'image' as [1, 8, 8, 3] alone" in found[4].reason


@pytest.mark.usefixtures("micro")
def test_what_micro_cannot_load_is_refused(tmp_path):
    (tmp_path / "net.tflite").write_bytes(b"TFL3" * 20)
    with pytest.raises((ModelError, ChildError), match=r"net\.tflite: TensorFlow Lite Micro"):
        litert.describe(tmp_path / "net.tflite", kernels="tflm")


@pytest.mark.usefixtures("micro")
def test_a_tflite_file_is_evaluated_in_micro_where_that_is_asked(files, tmp_path):
    np.savez(tmp_path / "val.npz", x=images(12), y=np.arange(12) % 4)
    found = intact.evaluate(files[0] / "net.tflite", tmp_path / "val.npz", runtime="tflm")
    assert found.how.startswith("TensorFlow Lite Micro ")
