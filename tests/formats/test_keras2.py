"""Keras 2 configurations become Keras 3's, and nothing that is not Keras' own gets through. Pure documents: no TensorFlow."""

import pytest

from intact.runtime.scripts.keras2 import FUNCTIONS, RefusedError, is_legacy, modernize

ARGUMENTS = {
    "InputLayer": {"batch_shape", "dtype", "name"},
    "Conv2D": {"name", "filters", "activation", "dtype", "trainable"},
    "DepthwiseConv2D": {"name", "kernel_size"},
    "LSTM": {"name", "units"},
    "LeakyReLU": {"name", "negative_slope"},
    "Activation": {"name", "activation"},
    "Concatenate": {"name", "axis"},
    "Lambda": {"name", "function"},
    "TimeDistributed": {"name", "layer"},
    "BatchNormalization": {"name", "axis"},
    "Multiply": {"name"},
}


def operation(kind):
    return {"Mean": "keras.src.ops.numpy", "Multiply": "keras.src.ops.numpy"}.get(kind)


def accepted(kind):
    return frozenset(ARGUMENTS[kind]) if kind in ARGUMENTS else None


def layer(kind, *calls, **config):
    config = {"name": config.pop("name", kind.lower()), "trainable": True, **config}
    return {"class_name": kind, "name": config["name"], "config": config, "inbound_nodes": list(calls)}


def functional(*layers, outputs):
    ends = {"input_layers": [["x", 0, 0]], "output_layers": outputs}
    start = layer("InputLayer", name="x", batch_input_shape=[None, 4], dtype="float32")
    return {"class_name": "Functional", "config": {"name": "m", "layers": [start, *layers], **ends}}


def modern_layers(*layers, outputs=()):
    return modernize(functional(*layers, outputs=list(outputs)), accepted, operation, legacy=True)["config"]["layers"][1:]


def tensor(name, call=0, index=0):
    config = {"shape": [None], "dtype": "float32", "keras_history": [name, call, index]}
    return {"class_name": "__keras_tensor__", "config": config}


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("DepthwiseConv2D", {"kernel_size": 3, "groups": 1}, {"kernel_size": 3}),
        ("DepthwiseConv2D", {"kernel_size": 3, "kernel_initializer": {"class_name": "Zeros"}}, {"kernel_size": 3}),
        ("LSTM", {"units": 2, "time_major": False, "implementation": 1}, {"units": 2}),
        ("LeakyReLU", {"alpha": 0.2}, {"negative_slope": 0.2}),
        ("BatchNormalization", {"axis": [3], "renorm": False, "fused": True}, {"axis": 3}),
        ("Conv2D", {"filters": 2, "dtype": "mixed_float16"}, {"filters": 2, "dtype": "float32", "trainable": True}),
        (
            "Conv2D",
            {"filters": 2, "dtype": {"class_name": "Policy", "config": {"name": "mixed_bfloat16"}}},
            {"filters": 2, "dtype": "float32", "trainable": True},
        ),
    ],
)
def test_arguments_that_keras_3_dropped_or_renamed(kind, old, new):
    (modern,) = modern_layers(layer(kind, [["x", 0, 0, {}]], **old))
    assert modern["config"] == {"name": kind.lower(), **new}


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        (
            "DepthwiseConv2D",
            {"groups": 2},
            r"'depthwiseconv2d' \(DepthwiseConv2D\) has groups=2, which Keras 3 no longer offers",
        ),
        ("LSTM", {"time_major": True}, "time_major=True"),
        ("Mystery", {}, "'mystery' is of the class 'Mystery', which is not one of Keras' own; .* intact.load"),
        ("TensorFlowOpLayer", {}, "TensorFlow before 2.4 saved them; load and save the model again"),
        ("Lambda", {"function": ["4wEAAA==", None, None]}, "'lambda' is a Lambda holding Python code"),
        ("Lambda", {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}}, "holding Python code"),
        ("Activation", {"activation": {"module": "os", "class_name": "function", "config": "system"}}, "class 'function'"),
        ("Activation", {"activation": {"module": "builtins", "class_name": "function", "config": "eval"}}, "object 'eval'"),
        ("TFOpLambda", {"function": "io.write_file"}, "calls tf.io.write_file, which Keras 3 cannot load"),
        ("TFOpLambda", {"function": "py_function"}, "calls tf.py_function"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_by_name(kind, config, message):
    with pytest.raises(RefusedError, match=message):
        modern_layers(layer(kind, [["x", 0, 0, {}]], **config))


def test_python_code_is_refused_in_keras_3_files_too():
    inner = {"name": "l", "function": {"module": "builtins", "class_name": "__lambda__", "config": {"code": "4wEAAA=="}}}
    document = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Lambda", "config": inner}]},
    }
    with pytest.raises(RefusedError, match="'l' is a Lambda holding Python code"):
        modernize(document, accepted, operation, legacy=False)


def test_calls_take_tensors_and_constants_anywhere():
    add, shared = modern_layers(
        layer(
            "TFOpLambda",
            ["_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0], "name": None}],
            name="add",
            function="__operators__.add",
        ),
        layer("Concatenate", [["x", 0, 0, {}], ["add", 0, 0, {}]], axis=-1),
    )
    assert add["config"] == {"name": "add", "function": "math.add", "arguments": [2.0], "keywords": {"y": {"tensor": 0}}}
    assert add["inbound_nodes"] == [{"args": [[tensor("x")]], "kwargs": {}}]
    assert shared["inbound_nodes"] == [{"args": [[tensor("x"), tensor("add")]], "kwargs": {}}]


def test_slices_keep_their_specification():
    spec = [{"start": None, "stop": None, "step": None}, {"start": 1, "stop": -1, "step": None}]
    (cut,) = modern_layers(
        layer("SlicingOpLambda", ["x", 0, 0, {"slice_spec": spec}], name="cut", function="__operators__.getitem")
    )
    assert cut["config"] == {
        "name": "cut",
        "function": "getitem",
        "arguments": [{"tensor": 0}],
        "keywords": {"slice_spec": spec},
    }


def test_names_with_slashes_are_renamed_wherever_they_are_called():
    document = functional(
        layer("Activation", [["x", 0, 0, {}]], name="a/b", activation="relu"),
        layer("Activation", [["a/b", 0, 0, {}]], name="c", activation="relu"),
        outputs=[["a/b", 0, 0], ["c", 0, 0]],
    )
    config = modernize(document, accepted, operation, legacy=True)["config"]
    assert [layer["config"]["name"] for layer in config["layers"]] == ["x", "a_b", "c"]
    assert config["layers"][2]["inbound_nodes"] == [{"args": [tensor("a_b")], "kwargs": {}}]
    assert config["output_layers"] == [["a_b", 0, 0], ["c", 0, 0]]


def test_calls_of_nested_models_are_counted_as_keras_3_does():
    inner = functional(layer("Activation", [["x", 0, 0, {}]], name="c", activation="relu"), outputs=[["c", 0, 0]])
    graph = {**inner, "name": "graph", "inbound_nodes": [[["x", 0, 0, {}]]], "config": {**inner["config"], "name": "graph"}}
    chain = {"class_name": "Sequential", "name": "chain", "config": {"name": "chain", "layers": []}}
    chain["inbound_nodes"] = [[["graph", 1, 0, {}]]]
    document = functional(graph, chain, outputs=[["graph", 1, 0], ["chain", 1, 0]])
    config = modernize(document, accepted, operation, legacy=True)["config"]
    assert config["layers"][2]["inbound_nodes"] == [{"args": [tensor("graph", 0)], "kwargs": {}}]
    assert config["output_layers"] == [["graph", 1, 0], ["chain", 0, 0]]


def test_a_sequential_that_starts_with_a_shape_gets_an_input_layer():
    first = {"class_name": "Conv2D", "config": {"name": "c", "filters": 2, "batch_input_shape": [None, 8, 8, 3]}}
    document = {"class_name": "Sequential", "config": [first]}
    layers = modernize(document, accepted, operation, legacy=True)["config"]["layers"]
    assert [each["class_name"] for each in layers] == ["InputLayer", "Conv2D"]
    assert layers[0]["config"]["batch_shape"] == [None, 8, 8, 3]
    assert layers[1]["config"] == {"name": "c", "filters": 2}


def test_wrapped_layers_are_rewritten_too():
    wrapped = {"class_name": "DepthwiseConv2D", "config": {"name": "d", "groups": 1, "kernel_size": 3}}
    (modern,) = modern_layers(layer("TimeDistributed", [["x", 0, 0, {}]], layer=wrapped))
    assert modern["config"]["layer"]["config"] == {"name": "d", "kernel_size": 3}


def test_hard_sigmoid_keeps_the_slope_it_had():
    (modern,) = modern_layers(layer("Activation", [["x", 0, 0, {}]], activation="hard_sigmoid"))
    assert modern["config"]["activation"]["config"] == "intact>keras2_hard_sigmoid"


def test_a_document_is_not_edited():
    document = functional(layer("LeakyReLU", [["x", 0, 0, {}]], alpha=0.2), outputs=[["leakyrelu", 0, 0]])
    before = repr(document)
    modernize(document, accepted, operation, legacy=True)
    assert repr(document) == before


@pytest.mark.parametrize(
    ("version", "document", "legacy"),
    [("2.2.4-tf", {}, True), ("3.4.1", {}, False), ("", {"class_name": "Model"}, True), ("", {"module": "keras"}, False)],
)
def test_keras_2_is_told_by_version_or_form(version, document, legacy):
    assert is_legacy(version, document) is legacy


def test_no_listed_function_reaches_the_outside():
    assert not {name for name in FUNCTIONS if name.split(".")[0] in ("io", "raw_ops", "data", "py_function", "numpy_function")}


def test_an_operation_of_keras_3_gets_its_module_and_the_layer_of_that_name_does_not():
    def node(kind, **config):
        return {"class_name": kind, "config": {"name": kind.lower(), **config}, "name": kind.lower(), "inbound_nodes": []}

    layers = [node("Multiply"), node("Multiply", trainable=True, dtype="float32"), node("Mean", axis=1)]
    document = {"class_name": "Functional", "config": {"layers": layers}}
    made = modernize(document, accepted, operation, legacy=False)["config"]["layers"]
    assert [layer.get("module") for layer in made] == ["keras.src.ops.numpy", None, "keras.src.ops.numpy"]
    assert made[2]["registered_name"] == "Mean"
    with pytest.raises(RefusedError, match="layer 'scan' is of the class 'Scan', which is not one of Keras' own"):
        modernize({**document, "config": {"layers": [node("Scan", trainable=True)]}}, accepted, operation, legacy=False)
