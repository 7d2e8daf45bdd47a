"""Keras models, of files and in memory, come through TensorFlow's converter with their numbers and names."""

import importlib.util
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from compare import assert_same
from twins import keras_twin, torch_twin

from intact.errors import MissingExtraError, ModelError, UnsupportedError
from intact.formats import conversion
from intact.formats.load import load
from intact.network.shapes import concrete
from intact.rewrite.clean import clean
from intact.simulate.engine import Program

DATA = Path(__file__).parents[1] / "networks"

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra [keras]"),
    pytest.mark.xdist_group("keras"),
    pytest.mark.filterwarnings("ignore"),  # Keras' and TensorFlow's own
]


@pytest.fixture(scope="module")
def keras():
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras  # noqa: PLC0415
    keras.utils.set_random_seed(0)
    return keras


def kinds(graph):
    return {op.kind.name for op in graph.ops}


def test_a_keras_2_file_with_all_that_keras_3_dropped():
    expected = np.load(DATA / "keras2.npz")
    graph = clean(load(DATA / "keras2.h5"))
    assert (graph.input_names, graph.output_names) == (("image",), ("probs",))
    assert_same(Program(graph)({"image": expected["image"]})["probs"].numpy(), expected["probs"], atol=1e-5)


def test_a_public_keras_2_file_computes_what_its_published_tflite_does(shared):
    ours, published = (clean(load(shared / "models" / name)) for name in ("vww_96.h5", "vww_96_float.tflite"))
    assert kinds(ours) == kinds(published)
    image = np.random.default_rng(0).uniform(0, 1, (2, 96, 96, 3)).astype(np.float32)
    (y,), (expected,) = (Program(graph)({graph.input_names[0]: image}).values() for graph in (ours, published))
    assert_same(y.numpy(), expected.numpy(), atol=1e-5)


def test_an_in_memory_model_with_a_layer_of_its_own(keras):
    class Wave(keras.layers.Layer):
        def call(self, x):
            return keras.ops.tanh(x) * 2.0

    image, extra = keras.Input((8, 8, 3), name="the image"), keras.Input((4,), name="extra")
    x = keras.layers.GlobalAveragePooling2D()(Wave()(keras.layers.Conv2D(4, 3)(image)))
    outputs = [keras.layers.Dense(2, name="score")(keras.layers.Add()([x, extra])), keras.layers.Dense(1, name="age")(x)]
    model = keras.Model([image, extra], outputs)
    graph = clean(load(model))
    assert set(graph.input_names) == {"the_image", "extra"}
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 8, 8, 3), np.float32), rng.standard_normal((2, 4), np.float32)
    y = Program(graph)({"the_image": a, "extra": b})
    for name, expected in zip(("score", "age"), model([a, b]), strict=True):
        assert_same(y[name].numpy(), np.asarray(expected), rtol=1e-5)


def test_functions_of_keras_ops_in_both_kinds_of_file(keras, tmp_path):
    ops = keras.ops
    x = image = keras.Input((8, 8, 3), name="image")
    x = ops.relu(keras.layers.Conv2D(4, 3)(x)) * 2.0
    x = ops.mean(x, axis=(1, 2))
    x = keras.layers.Multiply()([x, ops.concatenate([x, ops.tanh(x)], axis=-1)[:, 1:5]])
    model = keras.Model(image, ops.softmax(keras.layers.Dense(3)(x)))
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        (y,) = Program(clean(load(tmp_path / name)))({"image": x}).values()
        assert_same(y.numpy(), np.asarray(model(x)), rtol=1e-5)


def test_open_sizes_need_an_input_shape(keras, tmp_path):
    layers = [keras.Input((None, None, 3), name="photo"), keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D()]
    model = keras.Sequential(layers)
    with pytest.raises(UnsupportedError, match=r"input 'photo' has the shape \?x\?x3.*input_shape=\(height, width, 3\)"):
        load(model)
    with pytest.raises(UnsupportedError, match=r"input 'photo' takes \?x\?x3, which 8x8x1 does not fit"):
        load(model, input_shape=(8, 8, 1))
    model.save(tmp_path / "model.keras")
    graph = load(tmp_path / "model.keras", input_shape=(10, 8, 3))
    assert graph[graph.inputs[0]].shape[1:] == (10, 8, 3)


def test_a_recurrent_network_of_open_length_is_told_to_choose_one(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input((None, 3), name="words"), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)])
    with pytest.raises(UnsupportedError, match=r"the shape \?x3.*input_shape=\(length, 3\).*--input-shape length,3"):
        load(model)
    graph = clean(load(model, input_shape=(5, 3)))
    assert graph.takes_batches
    assert "UNPACK" in kinds(graph)
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    (y,) = Program(graph)({graph.input_names[0]: x}).values()
    assert_same(y.numpy(), model(x).numpy(), rtol=1e-5)


def test_models_that_are_not_ready(keras):
    with pytest.raises(UnsupportedError, match="the model has not been built, so its input shape is unknown"):
        load(keras.Sequential([keras.layers.Dense(2)]))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
    model.quantize("int8")
    with pytest.raises(UnsupportedError, match="layer 'dense' is already quantized by Keras"):
        load(model)


def test_code_in_a_file_is_refused_and_does_not_run(keras, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="mine")])
    model.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedError, match=r"model.keras: layer 'mine' is a Lambda holding Python code"):
        load(tmp_path / "model.keras")


@pytest.mark.usefixtures("keras")
def test_a_saved_model_folder_and_one_that_writes_files(tmp_path):
    import tensorflow as tf  # noqa: PLC0415

    class Plain(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def compute(self, x):
            return {"y": tf.nn.relu(x)}

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def compute(self, x):
            tf.io.write_file(str(tmp_path / "written"), "text")
            return {"y": x}

    for module, name in ((Plain(), "plain"), (Writer(), "writer")):
        tf.saved_model.save(module, tmp_path / name, signatures=module.compute)
    graph = load(tmp_path / "plain")
    assert (graph.input_names, graph.output_names) == (("x",), ("y",))
    with pytest.raises(UnsupportedError, match="writer: it uses the TensorFlow operation WriteFile, which is none of those"):
        load(tmp_path / "writer")
    assert not (tmp_path / "written").exists()
    (tmp_path / "plain" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=r"plain: its saved_model\.pb is truncated or corrupt"):
        load(tmp_path / "plain")


@pytest.mark.usefixtures("keras")
def test_a_saved_model_of_a_trained_module_with_its_optimizer(tmp_path):
    """Its variables are frozen under the signature's names; the optimizer's slots, which TensorFlow cannot load, are left."""
    import tensorflow as tf  # noqa: PLC0415

    class Trained(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
            self.optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)

        @tf.function(input_signature=[tf.TensorSpec([None, 6], tf.float32, name=name) for name in ("right", "left")])
        def compute(self, right, left):
            return {"score": tf.matmul(right - left, self.weight), "again": right * 2.0}

    module, x = Trained(), np.random.default_rng(1).normal(size=(2, 3, 6)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(module.compute(*x)["score"])
    module.optimizer.apply_gradients([(tape.gradient(loss, module.weight), module.weight)])
    tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
    with pytest.raises(AttributeError, match="'_UserObject' object has no attribute 'add_slot'"):
        tf.saved_model.load(tmp_path / "model")
    graph = clean(load(tmp_path / "model"))
    assert graph.input_names == ("right", "left")
    assert kinds(graph) <= {"SUB", "FULLY_CONNECTED", "MUL"}
    outputs = Program(graph)({"right": x[0], "left": x[1]})
    for name, expected in module.compute(*x).items():
        assert_same(outputs[name].numpy(), expected.numpy(), rtol=1e-5)


def test_a_saved_model_of_keras_by_tensorflow_itself(keras, tmp_path):
    import tensorflow as tf  # noqa: PLC0415

    layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((6, 6, 3), name="image"), *layers, keras.layers.Dense(2, name="score")])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype(np.float32)
    model.fit(x, np.zeros((8, 2)), verbose=0)
    tf.saved_model.save(model, tmp_path / "model")
    graph = clean(load(tmp_path / "model"))
    assert kinds(graph) == kinds(clean(load(model)))
    (y,) = Program(graph)({graph.input_names[0]: x}).values()
    assert_same(y.numpy(), np.asarray(model(x)), rtol=1e-4)


@pytest.mark.usefixtures("keras")
def test_a_saved_model_whose_signatures_have_other_names(tmp_path):
    import tensorflow as tf  # noqa: PLC0415

    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def compute(self, x):
            return {"y": tf.nn.relu(x)}

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def invert(self, x):
            return {"z": -x}

    module = Other()
    kinds_of = {"one": {"encode": module.compute}, "serving": {"serving_default": module.compute, "back": module.invert}}
    for folder, signatures in kinds_of.items():
        tf.saved_model.save(module, tmp_path / folder, signatures=signatures)
        assert load(tmp_path / folder).output_names == ("y",)
    tf.saved_model.save(module, tmp_path / "two", signatures={"encode": module.compute, "back": module.invert})
    with pytest.raises(UnsupportedError, match=r"two: it has no signature called 'serving_default' \(back, encode\); save it"):
        load(tmp_path / "two")


def test_a_truncated_h5(tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((DATA / "keras2.h5").read_bytes()[:20_000])
    with pytest.raises(ModelError, match=r"model.h5: the file is corrupt \(.*truncated"):
        load(path)


def test_a_missing_extra_is_a_line_to_type(monkeypatch):
    monkeypatch.setattr(conversion.child, "call", lambda *_, **__: {"missing": "tensorflow"})
    with pytest.raises(MissingExtraError, match=r"type: pip install 'intact\[keras\]'"):
        load(DATA / "keras2.h5")


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is None, reason="needs the extra [torch]")
def test_both_front_ends_make_one_vocabulary_of_one_network(keras):
    module = torch_twin()
    graph = clean(load(keras_twin(keras, module)))
    twin = clean(load(module, torch.zeros(1, 3, 16, 16)))
    image = np.random.default_rng(0).standard_normal((2, 16, 16, 3), np.float32)
    ours, theirs = (Program(each)({"image": image}) for each in (graph, twin))
    for name in ("classes", "mask"):
        assert_same(ours[name].numpy(), theirs[name].numpy(), atol=1e-5)
    assert kinds(graph) == kinds(twin)


def test_a_stateful_layer_keeps_its_state(keras):
    layers = keras.layers
    model = keras.Sequential([keras.Input(batch_shape=(1, 1, 3)), layers.GRU(4, stateful=True), layers.Dense(2)])
    graph = clean(load(model))
    assert [concrete(graph[state.read]) for state in graph.states] == [(1, 4)]
    calls = np.random.default_rng(0).normal(size=(20, 1, 3)).astype(np.float32)
    (y,) = Program(graph)({graph.input_names[0]: calls}).values()
    model.layers[0].reset_state()
    assert_same(y.numpy(), np.concatenate([model(call[None]).numpy() for call in calls]), rtol=1e-5)
