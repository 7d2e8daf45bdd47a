"""Keras files that name what is not theirs: Python objects, other files, sizes of nothing. Refused before Keras loads them."""

import importlib.util
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import intact.runtime.scripts
from intact.errors import ModelError, UnsupportedError
from intact.formats.load import load

h5py = pytest.importorskip("h5py")
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra [keras]"),
    pytest.mark.xdist_group("keras"),
    pytest.mark.filterwarnings("ignore"),  # Keras' and TensorFlow's own
]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The modules of the child, by plain name."""
    monkeypatch.syspath_prepend(Path(intact.runtime.scripts.__file__).parent)


def functional(kind="Dense", module="keras.layers", **config):
    layer = {"module": module, "class_name": kind, "config": {"name": "it", **config}, "registered_name": None}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}


def function(name, module="builtins"):
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


HONEST = {
    "a layer": functional(units=3),
    "a layer by its own module": functional(module="keras.src.layers.core.dense", units=3),
    "of tf_keras": functional(module="tf_keras.src.layers.core.dense", units=3),
    "an activation": functional(activation=function("gelu")),
    "an operation": functional("Mean", "keras.src.ops.numpy"),
    "a policy": functional(dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}),
    "a generator": functional(seed={"module": "keras.src.random.seed_generator", "class_name": "SeedGenerator", "config": {}}),
    "a vocabulary": functional("IntegerLookup", vocabulary=[1, 2, 3]),
}
HOSTILE = {
    "a function that fetches": (
        functional(activation=function("get_file", "keras.utils")),
        "names 'get_file' of 'keras.utils'",
    ),
    "a function by a longer name": (
        functional(activation=function("utils.get_file", "keras")),
        "the function 'utils.get_file'",
    ),
    "a class by a longer name": (functional("utils.get_file", "keras"), "the class 'utils.get_file'"),
    "a function of TensorFlow": (functional(activation=function("write_file", "tensorflow.io")), "of 'tensorflow.io'"),
    "a module of the language": (functional(module="keras.src.saving.serialization_lib"), "names 'Dense' of 'keras.src.saving"),
    "a loader": (functional("load_model", "keras.src.saving.saving_lib"), "names 'load_model'"),
    "a class that is a list": (functional(["Dense"]), "names the class"),
    "a function that is an object": (functional(activation=function({"a": 1})), "names the function"),
    "another framework's folder": (functional("TFSMLayer", filepath="/tmp/x"), r"another framework's program \(TFSMLayer\)"),
    "a pickle of torch": (functional("TorchModuleWrapper", module="keras.layers"), "TorchModuleWrapper"),
    "a spec of any module": (functional("__typespec__", spec_name="x"), "__typespec__"),
    "a vocabulary elsewhere": (functional("StringLookup", vocabulary="/etc/passwd"), "names the file '/etc/passwd'"),
    "a file in any depth": (functional(inner=[{"idf_weights": "http://x"}]), "names the file 'http://x'"),
}


@pytest.mark.parametrize("document", HONEST.values(), ids=HONEST)
def test_what_keras_writes_passes(document):
    import keras_objects  # noqa: PLC0415

    keras_objects.check(document)


@pytest.mark.parametrize(("document", "says"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_keras_own_is_named(document, says):
    import keras2  # noqa: PLC0415
    import keras_objects  # noqa: PLC0415

    with pytest.raises(keras2.RefusedError, match=says):
        keras_objects.check(document)


def test_a_loss_of_ones_own_does_not_matter():
    import keras_objects  # noqa: PLC0415

    document = functional(units=3) | {"compile_config": {"loss": function("mine", "my_losses")}}
    keras_objects.check(keras_objects.without_training(document))


# ---- HDF5 ---------------------------------------------------------------------------------------------------------------


def elsewhere(file, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 400)
    file.create_dataset("w", (100,), "f4", external=[(str(tmp_path / "secret"), 0, 400)])


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", (4,))
    file.create_virtual_dataset("w", layout)


H5 = {
    "numbers of another file": (elsewhere, "lies in another file"),
    "a virtual dataset": (virtual, "lies in another file"),
    "a link to another file": (lambda f, _: f.update({"w": h5py.ExternalLink("/etc/passwd", "/x")}), "holds a link"),
    "a soft link": (lambda f, _: f.update({"w": h5py.SoftLink("/w")}), "holds a link"),
    "an enormous one of nothing": (lambda f, _: f.create_dataset("w", (1 << 40,), "f4", chunks=True), "unpacks to more than"),
}


@pytest.mark.parametrize(("make", "says"), H5.values(), ids=H5)
def test_hdf5_that_reaches_out_of_itself(tmp_path, make, says):
    import h5_files  # noqa: PLC0415

    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file.create_group("inner"), tmp_path)
    with pytest.raises(h5_files.UnsoundError, match=says):
        h5_files.check(tmp_path / "a.h5")


def test_honest_hdf5_passes_and_a_circle_ends(tmp_path):
    import h5_files  # noqa: PLC0415

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a/w", data=np.zeros((1000, 100), "f4"), compression="gzip")
        file["a/again"] = file["a"]
        file["a/w2"] = file["a/w"]
    h5_files.check(tmp_path / "a.h5")


# ---- the whole way ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model as both kinds of file."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    import keras  # noqa: PLC0415

    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="d")])
    folder = tmp_path_factory.mktemp("keras")
    made.save(folder / "m.keras")
    made.save(folder / "m.h5")
    return folder


def rewritten(source, target, changes):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        entries = {name: old.read(name) for name in old.namelist()} | changes
        for name, data in entries.items():
            new.writestr(name, data)
    return target


def test_a_keras_file_that_reads_weights_from_elsewhere(model, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        elsewhere(file.create_group("layers/d/vars"), tmp_path)
    path = rewritten(model / "m.keras", tmp_path / "m.keras", {"model.weights.h5": (tmp_path / "w.h5").read_bytes()})
    with pytest.raises(ModelError, match=r"the file is corrupt \(its 'w' lies in another file\)"):
        load(path)


def test_a_keras_file_that_fetches(model, tmp_path):
    with zipfile.ZipFile(model / "m.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1]["config"]["activation"] = function("get_file", "keras.utils")
    path = rewritten(model / "m.keras", tmp_path / "m.keras", {"config.json": json.dumps(config).encode()})
    with pytest.raises(UnsupportedError, match=r"names 'get_file' of 'keras\.utils'"):
        load(path)


def test_a_damaged_h5_costs_its_child_at_most(model, tmp_path):
    data = bytearray((model / "m.h5").read_bytes())
    for place in range(600, len(data) - 8, 97):
        data[place] ^= 0xFF
    (tmp_path / "m.h5").write_bytes(data)
    with pytest.raises((ModelError, UnsupportedError), match=r"m\.h5: the file is corrupt|m\.h5: it is HDF5"):
        load(tmp_path / "m.h5")
