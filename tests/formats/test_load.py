"""The one door: what load takes, and one clear sentence for what it does not."""

import os
import re
import sys

import numpy as np
import pytest
import torch

import intact
from intact.errors import IntactError, ModelError, OptionError, UnsupportedError
from intact.formats import tflite
from intact.formats.load import load, to_float_tflite
from intact.network.graph import Graph


@pytest.fixture
def small(shared):
    return shared / "models" / "kws_float.tflite"


def test_a_tflite_by_path_text_bytes_or_graph(small):
    graphs = [load(small), load(str(small)), load(small.read_bytes()), load(load(small))]
    assert all(isinstance(graph, Graph) for graph in graphs)
    assert len({tflite.write(graph) for graph in graphs}) == 1


def test_conversion_of_a_tflite_or_graph_is_its_bytes(small, tmp_path):
    assert to_float_tflite(small, tmp_path / "a.tflite").read_bytes() == small.read_bytes()
    graph = load(small)
    assert to_float_tflite(graph, tmp_path / "b.tflite").read_bytes() == tflite.write(graph)


@pytest.mark.parametrize("suffix", [".tflite", ".keras", ".h5", ".hdf5", ".pt2"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "there is no such file"),
        (b"", "empty|0 bytes"),
        (np.random.default_rng(0).bytes(4000), "corrupt|truncated|not a .tflite"),
    ],
    ids=["missing", "empty", "random"],
)
def test_broken_files_of_each_kind(tmp_path, suffix, data, message):
    path = tmp_path / f"model{suffix}"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(caught.value).count(str(path)) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.tflite", "model.keras", "model.h5", "model.pt2", "folder/variables/variables.data"])
def test_a_file_that_claims_more_than_a_model_may_have_is_not_read(tmp_path, name):
    """Sparse: it takes no room on the disk, and would be read as large as it claims to be."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    (tmp_path / "folder/saved_model.pb").parent.mkdir(exist_ok=True)
    (tmp_path / "folder/saved_model.pb").write_bytes(b"\x08\x01")
    try:
        os.truncate(path, 1 << 40)
    except OSError:
        pytest.skip("this file system holds no sparse file of a terabyte")
    given = tmp_path / "folder" if "/" in name else path
    for use in (load, lambda source: intact.quantize(source, {"x": np.zeros((8, 4), np.float32)}), intact.evaluate):
        with pytest.raises(IntactError, match=r"1,099,511,627,77\d bytes, and a model has at most [28],"):
            use(given) if use is not intact.evaluate else use(given, {"x": np.zeros((8, 4), np.float32)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.pt", r"pickle, which can run any code.*torch.export.save"),
        ("model.PTH", r"a .pth file is a Python pickle"),
        ("model.safetensors", "holds weights without the network"),
        ("model.pb", "give the SavedModel folder"),
        ("model.xyz", r"a .xyz file is no known model; give a .tflite, .keras"),
        ("model", "a file without a suffix is no known model"),
    ],
)
def test_other_files_are_refused_with_the_way_out(tmp_path, name, message):
    path = tmp_path / name
    path.write_bytes(b"something")
    with pytest.raises(UnsupportedError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "cannot load a model from int; give a .tflite"),
        ({"weight": torch.zeros(1)}, "a state dict holds weights only"),
        (torch.zeros(1), "cannot load a model from Tensor"),
        (torch.nn.ReLU(), r"give a sample, as in intact.load\(module, torch.zeros"),
    ],
    ids=["number", "state dict", "tensor", "module without sample"],
)
def test_objects_that_are_no_models(source, message):
    with pytest.raises(OptionError, match=message):
        load(source)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")
@pytest.mark.parametrize("suffix", ["tflite", "keras", "h5", "pt2"])
def test_a_pipe_with_the_name_of_a_model(tmp_path, suffix):
    os.mkfifo(tmp_path / f"model.{suffix}")
    with pytest.raises(ModelError, match="is a named pipe, not a file"):
        load(tmp_path / f"model.{suffix}")


@pytest.mark.parametrize("name", ["a" * 5_000, "a\0b", f"folder/{'b' * 300}"], ids=["long", "zero", "long in a folder"])
@pytest.mark.parametrize("suffix", ["tflite", "keras", "pt2", "pb"])
def test_a_name_that_no_file_can_have(tmp_path, name, suffix):
    with pytest.raises(ModelError, match=r"cannot be read|there is no such file"):
        load(tmp_path / f"{name}.{suffix}")


def test_a_huge_file_without_the_mark_is_refused_by_its_first_bytes(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(100))
    monkeypatch.setattr(type(path), "read_bytes", lambda _: pytest.fail("all of it was read"))
    with pytest.raises(ModelError, match="lacks the mark TFL3"):
        load(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")
@pytest.mark.parametrize("name", ["model", "model.tflite"])
def test_a_pipe_is_not_opened_to_see_what_it_is(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelError, match=r"model(\.tflite)?: is a named pipe, not a file"):
        intact.evaluate(tmp_path / name, np.zeros((4, 3), np.float32))
    with pytest.raises(ModelError, match=r"model(\.tflite)?: is no file, but a folder, a pipe or a device"):
        tflite.read(tmp_path / name)


def test_a_folder_that_is_no_saved_model(tmp_path):
    with pytest.raises(ModelError, match=re.escape(str(tmp_path)) + ": it is a folder, but no TensorFlow SavedModel"):
        load(tmp_path)


def test_the_folder_of_a_run_or_a_study_is_told_from_a_saved_model(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    runs, model = (re.escape(str(tmp_path / name)) for name in ("runs", "model.tflite"))
    with pytest.raises(ModelError, match=f"it is the folder of a study; give the model of one of the runs in {runs}"):
        load(tmp_path)
    for name in ("result.json", "model.tflite"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=f"it is the folder of a run; give its model, {model}"):
        load(tmp_path)


def test_options_that_do_not_belong(tmp_path):
    for name in ("model.keras", "model.tflite", "model.pt2"):
        with pytest.raises(OptionError, match="a sample input is for torch modules only"):
            load(tmp_path / name, torch.zeros(1))
    with pytest.raises(OptionError, match="input_shape is for Keras and ONNX models"):
        load(tmp_path / "model.pt2", input_shape=(3,))


@pytest.mark.parametrize(
    ("module", "sample", "error", "message"),
    [
        (torch.nn.Conv2d(3, 1, 3), torch.zeros(1, 4, 8, 8), UnsupportedError, r"shape 1x4x8x8 \(.*expected input.*3 channels"),
        (torch.nn.ReLU(), "text", OptionError, "must hold tensors or numeric arrays, not str"),
        (torch.nn.ReLU(), (), OptionError, "the sample is empty"),
        (torch.nn.ReLU(), torch.zeros(0, 3), OptionError, "holds no elements"),
    ],
    ids=["wrong shape", "text", "nothing", "no elements"],
)
def test_modules_that_do_not_take_the_sample(module, sample, error, message):
    with pytest.raises(error, match=message):
        load(module, sample)


def test_a_module_is_left_as_it_was():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3), torch.nn.Dropout())
    module[1].eval()
    with pytest.raises(IntactError):
        load(module, torch.zeros(1, 4, 8, 8))
    assert module.training
    assert not module[1].training
