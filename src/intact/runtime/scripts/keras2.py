"""Keras 2 model configurations, rewritten as Keras 3 reads them: document in, document out, nothing else touched.

Runs in a child process beside Keras, by plain name: imports only the standard library. What it knows:

- arguments that Keras 3 dropped (``groups`` of DepthwiseConv2D, ``time_major`` of LSTM) go when they hold a neutral value;
- ``batch_input_shape`` becomes an InputLayer's ``batch_shape``; half-precision policies become float32;
- calls are rewritten from ``["input_1", 0, 0, {...}]`` to the args/kwargs form, so that tensors may stand anywhere in them;
- ``tf.add(x, 1.0)`` and ``x[:, 1:]``, which Keras 2 saved as TFOpLambda and SlicingOpLambda, become one layer
  (``TensorFlowCall``) that calls a function of a closed list;
- calls of ``keras.ops``, which Keras 3 writes into .h5 by their bare name (``Mean``, and ``Multiply`` like the layer of that
  name), get the module that .keras files hold;
- ``hard_sigmoid`` was 0.2 x + 0.5 in Keras 2 and is relu6(x + 3) / 6 in Keras 3: the old one is kept.

A configuration is a stranger's text and may name any Python object: only classes and functions of Keras itself pass.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

#: A parsed JSON document, and an object in it.
Json: TypeAlias = Any
Config: TypeAlias = dict[str, Any]

#: What the classes that replace Keras 2's are registered as.
PACKAGE: Final = "intact"

_ANY: Final = object()
#: Arguments that some Keras 3 layer no longer takes, with the value at which leaving them out changes nothing at inference.
#: Initializers, regularizers and constraints never do.
_NEUTRAL: Final[Mapping[str, object]] = {
    "groups": 1,
    "time_major": False,
    "renorm": False,
    "virtual_batch_size": None,
    "adjustment": None,
    "ragged": False,
    "sparse": False,
    "data_format": "channels_last",
    "interpolation": _ANY,
    "fused": _ANY,
    "trainable": _ANY,
    "noise_shape": _ANY,
    "rng_type": _ANY,
    "seed": _ANY,
    "implementation": _ANY,
    "input_length": _ANY,
    "input_dtype": _ANY,
    "query_shape": _ANY,
    "key_shape": _ANY,
    "value_shape": _ANY,
    "activity_regularizer": _ANY,
    "autocast": _ANY,
    "batch_size": _ANY,
}

#: Arguments that Keras 3 takes under another name.
_RENAMED: Final[Mapping[tuple[str, str], str]] = {("LeakyReLU", "alpha"): "negative_slope"}
_TRAINING_ONLY: Final = ("_initializer", "_regularizer", "_constraint")

#: TensorFlow functions that a Keras 2 model may call: pure, and known to the converter.
_FUNCTION_NAMES: Final = """
    abs add add_n argmax argmin cast clip_by_value concat divide exp expand_dims identity matmul maximum minimum
    multiply negative pad pow realdiv reduce_max reduce_mean reduce_min reduce_prod reduce_sum relu reshape reverse
    round sigmoid slice split sqrt square squeeze stack subtract tanh tile transpose truediv unstack where gather
    ones_like zeros_like compat.v1.add compat.v1.concat compat.v1.div compat.v1.nn.relu compat.v1.nn.sigmoid
    compat.v1.reduce_mean compat.v1.transpose compat.v1.reshape compat.v1.pad compat.v1.squeeze compat.v1.nn.softmax
    compat.v1.gather compat.v1.expand_dims image.resize image.central_crop linalg.matmul linalg.l2_normalize
    linalg.normalize linalg.norm math.abs math.add math.add_n math.argmax math.argmin math.ceil math.divide
    math.divide_no_nan math.erf math.exp math.floor math.l2_normalize math.log math.log1p math.log_sigmoid
    math.maximum math.minimum math.multiply math.multiply_no_nan math.negative math.pow math.reciprocal
    math.reciprocal_no_nan math.reduce_logsumexp math.reduce_max math.reduce_mean math.reduce_min math.reduce_prod
    math.reduce_std math.reduce_sum math.reduce_variance math.round math.rsqrt math.scalar_mul math.sigmoid math.sign
    math.sin math.cos math.softmax math.softplus math.softsign math.sqrt math.square math.squared_difference
    math.subtract math.tanh math.truediv math.floordiv math.cumsum nn.avg_pool nn.avg_pool2d nn.bias_add nn.conv2d
    nn.crelu nn.depth_to_space nn.depthwise_conv2d nn.elu nn.gelu nn.l2_normalize nn.leaky_relu
    nn.local_response_normalization nn.log_softmax nn.max_pool nn.max_pool2d nn.moments nn.relu nn.relu6 nn.selu
    nn.sigmoid nn.silu nn.softmax nn.softplus nn.softsign nn.space_to_depth nn.swish nn.tanh nn.batch_normalization
"""
FUNCTIONS: Final = frozenset(_FUNCTION_NAMES.split())
_OPERATORS: Final[Mapping[str, str]] = {
    "__operators__.add": "math.add",
    "__operators__.mul": "math.multiply",
    "__operators__.truediv": "math.truediv",
    "__operators__.pow": "math.pow",
    "__operators__.rpow": "math.pow",
}

#: Keras 2's own wrappers of models and layers live under other module names than Keras 3's.
_MODELS: Final = frozenset({"Functional", "Sequential", "Model"})
_ONLY_IN_KERAS2: Final = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ThresholdedReLU"})


class RefusedError(Exception):
    """The configuration holds what cannot or must not be loaded; the text is fit for a user."""


def modernize(
    config: Config,
    accepted: Callable[[str], frozenset[str] | None],
    operation: Callable[[str], str | None],
    *,
    legacy: bool,
) -> Config:
    """``config`` as Keras 3 reads it; ``legacy`` when Keras 2 wrote it. Raises :class:`RefusedError`.

    ``accepted`` tells the arguments of a Keras 3 layer class by name: None for a class that Keras 3 does not have, an
    empty set for one that takes anything. ``operation`` tells the module of one of ``keras.ops``, None for any other name.
    """
    config = config if legacy else _with_operations(config, operation)
    _check_objects(config, accepted)
    return _model(config, accepted) if legacy else _float32(config)


def is_legacy(keras_version: str, config: Config) -> bool:
    """True when Keras 2 (or 1) wrote the file, by its version, else by the form of its configuration."""
    if keras_version:
        return keras_version.split(".", maxsplit=1)[0] in ("1", "2")
    return "module" not in config


def _with_operations(node: Json, operation: Callable[[str], str | None]) -> Json:
    """The same document with a module for every call of ``keras.ops``: what has calls and is no layer, which can be trained."""
    if isinstance(node, list):
        return [_with_operations(item, operation) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_operations(item, operation) for key, item in node.items()}
    kind, inner = node.get("class_name"), node.get("config")
    if "module" in node or "inbound_nodes" not in node or not isinstance(inner, dict) or "trainable" in inner:
        return node
    module = operation(str(kind))
    return node if module is None else {**node, "module": module, "registered_name": kind}


def _check_objects(node: object, accepted: Callable[[str], frozenset[str] | None]) -> None:
    """Refuse Python code, and any object that is not Keras' own."""
    if isinstance(node, list):
        for item in node:
            _check_objects(item, accepted)
    if not isinstance(node, dict):
        return
    kind, module, inner = node.get("class_name"), node.get("module"), node.get("config")
    if isinstance(kind, str) and "config" in node:
        name = inner.get("name", "") if isinstance(inner, dict) else ""
        if kind in ("Lambda", "__lambda__") and (kind == "__lambda__" or _has_code(inner)):
            raise RefusedError(
                f"layer {name or 'Lambda'!r} is a Lambda holding Python code, which a model file is not trusted to run; "
                "replace it by Keras layers or ops and save again, or pass the loaded model itself: intact.load(model)"
            )
        if isinstance(inner, str) and ((module == "builtins" and kind != "function") or _is_builtin(kind, inner)):
            raise RefusedError(f"the configuration names the Python object {inner!r}, which is none of Keras' own")
        ours = module is None or module == "builtins" or module.split(".")[0] in ("keras", "tf_keras", "tensorflow")
        known = module is not None or kind in _MODELS or kind in _ONLY_IN_KERAS2 or accepted(kind) is not None
        is_layer = isinstance(inner, dict) and ("inbound_nodes" in node or "trainable" in inner or "build_config" in node)
        if not ours or (is_layer and not known):
            what = f"layer {name!r}" if name else "the model"
            raise RefusedError(
                f"{what} is of the class {kind!r}, which is not one of Keras' own; load the model in Python, where the class "
                "is defined, and pass the model itself: intact.load(model)"
            )
    for item in node.values():
        _check_objects(item, accepted)


def _has_code(inner: object) -> bool:
    function = inner.get("function") if isinstance(inner, dict) else None
    return isinstance(function, list) or (isinstance(function, dict) and function.get("class_name") == "__lambda__")


def _is_builtin(kind: str, name: str) -> bool:
    return kind == "function" and name in vars(builtins) and name not in ("abs", "max", "min", "sum", "round", "pow")


def _float32(node: object) -> Json:
    """The same document with half-precision policies as float32: the weights are stored in float32 in any case."""
    if isinstance(node, list):
        return [_float32(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") in ("DTypePolicy", "Policy", "PolicyV1") and isinstance(node.get("config"), dict):
        name = str(node["config"].get("name"))
        return "float32" if "float16" in name else (node if node["class_name"] == "DTypePolicy" else name)
    return {
        key: "float32" if key == "dtype" and isinstance(value, str) and "float16" in value else _float32(value)
        for key, value in node.items()
    }


def _model(document: Config, accepted: Callable[[str], frozenset[str] | None]) -> Config:
    """A Functional or Sequential model and all that it holds."""
    config = dict(document["config"]) if isinstance(document["config"], dict) else {"layers": document["config"]}
    functional = "input_layers" in config
    if functional:
        config = _references_as_keras3(config)
    layers = [_layer(layer, accepted) for layer in config.get("layers", [])]
    if not functional:
        layers = _with_input_layer(config, layers)
    else:
        names = {_name(layer) for layer in layers}
        layers = [_with_calls(layer, names) for layer in layers]
    kept = {key: config[key] for key in ("name", "trainable", "input_layers", "output_layers") if key in config}
    modern: Config = {"class_name": "Functional" if functional else "Sequential", "config": {**kept, "layers": layers}}
    if "module" in document:
        modern |= {"module": "keras.src.models.functional" if functional else "keras", "registered_name": None}
    return {**{key: document[key] for key in ("name", "inbound_nodes") if key in document}, **modern}


def _references_as_keras3(config: Config) -> Config:
    """The same Functional with layer names free of "/" and with calls of nested models counted as Keras 3 counts them.

    Keras 2 gives a nested model's own input-to-output path the call number 0; Keras 3 does so only where the outputs of
    the outer model name a nested Functional.
    """
    layers = config["layers"]
    names = {old: str(old).replace("/", "_") for old in map(_name, layers)}
    nested = {_name(layer): layer["class_name"] for layer in layers if layer["class_name"] in _MODELS}

    def moved(node: Json, *, output: bool) -> Json:
        if _is_reference(node, names):
            name, call, rest = node[0], node[1], node[2:]
            if name in nested and not (output and nested[name] != "Sequential"):
                call -= 1
            return [names.get(name, name), call, *(moved(item, output=output) for item in rest)]
        if isinstance(node, list):
            return [moved(item, output=output) for item in node]
        if isinstance(node, dict):
            return {key: moved(value, output=output) for key, value in node.items()}
        return node

    renamed = []
    for layer in layers:
        name = names[_name(layer)]
        inner = {**layer["config"], "name": name} if isinstance(layer["config"], dict) else layer["config"]
        calls = moved(layer.get("inbound_nodes", []), output=False)
        renamed.append({**layer, "name": name, "config": inner, "inbound_nodes": calls})
    ends = {key: moved(config[key], output=True) for key in ("input_layers", "output_layers")}
    return {**config, **ends, "layers": renamed}


def _with_input_layer(config: Config, layers: list[Config]) -> list[Config]:
    """A Sequential whose first layer says the input's shape gets an InputLayer that says it."""
    old = config.get("layers", [])
    shape = config.get("build_input_shape")
    if old and isinstance(old[0].get("config"), dict):
        shape = old[0]["config"].get("batch_input_shape", shape)
    if not layers or layers[0]["class_name"] == "InputLayer" or not isinstance(shape, list):
        return layers
    first: Config = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "input"}}
    if "module" in layers[0]:
        first |= {"module": "keras.layers", "registered_name": None}
    return [first, *layers]


def _name(layer: Config) -> str:
    return str(layer.get("name") or layer["config"].get("name"))


def _layer(layer: Config, accepted: Callable[[str], frozenset[str] | None]) -> Config:
    """One layer with the arguments that Keras 3 takes; wrapped layers and nested models too."""
    kind, config = layer["class_name"], layer["config"]
    if kind in _MODELS:
        return _model(layer, accepted)
    if kind == "TensorFlowOpLayer":
        raise RefusedError(
            f"layer {_name(layer)!r} is a TensorFlowOpLayer, as TensorFlow before 2.4 saved them; load and save the model "
            "again with TensorFlow 2.4 to 2.15, or pass a .tflite"
        )
    config = _float32(dict(config))
    for inner in ("layer", "forward_layer", "backward_layer"):
        if isinstance(config.get(inner), dict):
            config[inner] = _layer(config[inner], accepted)
    shape = config.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        config["batch_shape"] = shape
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    _keep_hard_sigmoid(config)
    if kind == "ThresholdedReLU":
        kind, config = f"{PACKAGE}>ThresholdedReLU", {"name": config["name"], "theta": float(config["theta"])}
    elif kind not in _ONLY_IN_KERAS2:
        config = _known_arguments(kind, config, accepted(kind) or frozenset())
    modern = {**layer, "class_name": kind, "config": config}
    modern.pop("build_config", None)
    modern.pop("shared_object_id", None)
    if kind.startswith(PACKAGE):
        modern |= {"module": None, "registered_name": kind}
    elif "module" in layer:
        modern |= {"module": "keras.layers", "registered_name": None}
    return modern


def _keep_hard_sigmoid(config: Config) -> None:
    """Put Keras 2's 0.2 x + 0.5 where a freshly copied ``config`` names ``hard_sigmoid``."""
    for key in ("activation", "recurrent_activation"):
        if config.get(key) == "hard_sigmoid":
            config[key] = {
                "module": "builtins",
                "class_name": "function",
                "config": f"{PACKAGE}>keras2_hard_sigmoid",
                "registered_name": "function",
            }


def _known_arguments(kind: str, config: Config, accepted: frozenset[str]) -> Config:
    """``config`` less the arguments that Keras 3 does not take, which must be neutral."""
    config = {_RENAMED.get((kind, key), key): value for key, value in config.items()}
    if not accepted:
        return config
    for key in sorted(config.keys() - accepted):
        neutral = _ANY if key.endswith(_TRAINING_ONLY) else _NEUTRAL.get(key)
        if neutral is not _ANY and config[key] not in (neutral, None, False):
            raise RefusedError(
                f"layer {config.get('name', kind)!r} ({kind}) has {key}={config[key]!r}, which Keras 3 no longer offers; "
                "convert the model with the TensorFlow that wrote it and pass the .tflite"
            )
    return {key: value for key, value in config.items() if key in accepted}


def _with_calls(layer: Config, names: set[str]) -> Config:
    """``layer`` with its calls in the args/kwargs form, op layers as TensorFlowCall."""
    nodes = layer.get("inbound_nodes", [])
    if layer["class_name"] in ("TFOpLambda", "SlicingOpLambda"):
        return _op_layer(layer, names)
    return {**layer, "inbound_nodes": [node if isinstance(node, dict) else _call(node, names) for node in nodes]}


def _is_reference(value: object, names: Iterable[str]) -> bool:
    """``["conv", 0, 0]`` or ``["conv", 0, 0, {"axis": 1}]``."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and (value[0] in names or value[0] == "_CONSTANT_VALUE")
    )


def _keras_tensor(reference: list[Any]) -> Config:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None], "dtype": "float32", "keras_history": reference[:3]},
    }


def _replace(value: object, names: set[str], tensor: Callable[[list[Any]], object]) -> Json:
    """``value`` with every reference to a layer's output replaced."""
    if _is_reference(value, names):
        reference: list[Any] = value  # type: ignore[assignment]
        return reference[2] if reference[0] == "_CONSTANT_VALUE" else tensor(reference)
    if isinstance(value, list):
        return [_replace(item, names, tensor) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, names, tensor) for key, item in value.items()}
    return value


def _arguments(node: list[Any], names: set[str]) -> tuple[Any, Config]:
    """The positional argument of a Keras 2 call, and its keywords (which stand behind each reference, all the same)."""
    if _is_reference(node, names):
        return node, (node[3] if len(node) == 4 else {})
    first = node[0] if node else []
    _, keywords = _arguments(first, names) if isinstance(first, list) else ([], {})
    return (first if len(node) == 1 else node), keywords


def _call(node: list[Any], names: set[str]) -> Config:
    if not node:
        return {"args": [], "kwargs": {}}
    positional, keywords = _arguments(node, names)
    return {"args": [_replace(positional, names, _keras_tensor)], "kwargs": _replace(keywords, names, _keras_tensor)}


def _op_layer(layer: Config, names: set[str]) -> Config:
    """TFOpLambda or SlicingOpLambda as TensorFlowCall: function, arguments with ``{"tensor": i}`` for the i-th input."""
    name, written = _name(layer), layer["config"].get("function", "")
    function = "getitem" if written == "__operators__.getitem" else _OPERATORS.get(written, written)
    nodes = layer.get("inbound_nodes", [])
    if function != "getitem" and function not in FUNCTIONS:
        raise RefusedError(
            f"layer {name!r} calls tf.{written}, which Keras 3 cannot load; convert the model with the TensorFlow that wrote "
            "it and pass the .tflite"
        )
    if len(nodes) != 1:
        raise RefusedError(
            f"layer {name!r} calls tf.{written} {len(nodes)} times; convert it with the TensorFlow that wrote it"
        )
    tensors: list[Config] = []

    def slot(reference: list[Any]) -> Config:
        tensors.append(_keras_tensor(reference))
        return {"tensor": len(tensors) - 1}

    first, keywords = _arguments(nodes[0], names)
    keywords = {key: value for key, value in keywords.items() if key != "name"}
    arguments = [_replace(first, names, slot)], {key: _replace(value, names, slot) for key, value in keywords.items()}
    modern: Config = {
        "class_name": f"{PACKAGE}>TensorFlowCall",
        "name": name,
        "config": {"name": name, "function": function, "arguments": arguments[0], "keywords": arguments[1]},
        "inbound_nodes": [{"args": [tensors], "kwargs": {}}],
    }
    if "module" in layer:
        modern |= {"module": None, "registered_name": f"{PACKAGE}>TensorFlowCall"}
    return modern
