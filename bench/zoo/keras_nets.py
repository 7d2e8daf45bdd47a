"""A small member of every family in keras.applications, with random weights, and what people build from layers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.entry import Brought, Entry, Samples
from zoo.photos import photos

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: Name, pixels a side, and what its constructor is told besides.
_APPLICATIONS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("ConvNeXtTiny", 64, {}),
    ("DenseNet121", 64, {}),
    ("EfficientNetB0", 64, {}),
    ("EfficientNetV2B0", 64, {}),
    ("InceptionResNetV2", 80, {}),
    ("InceptionV3", 80, {}),
    ("MobileNet", 64, {"alpha": 0.25}),
    ("MobileNetV2", 64, {"alpha": 0.35}),
    ("MobileNetV3Small", 64, {"alpha": 0.75}),
    ("MobileNetV3Large", 64, {"alpha": 0.75}),
    ("NASNetMobile", 64, {}),
    ("ResNet50", 64, {}),
    ("ResNet50V2", 64, {}),
    ("VGG16", 48, {}),
    ("Xception", 80, {}),
)


def _settled(model: Any, samples: Samples) -> Any:
    """``model`` with the batch-norm statistics of its samples, as a trained network has."""
    import keras  # noqa: PLC0415

    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(samples, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


def _application(name: str, side: int, told: dict[str, Any]) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        import keras  # noqa: PLC0415

        keras.utils.set_random_seed(0)
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=(side, side, 3), classes=10, **told)
        images = photos(count, side, side, packages, 0, 255)
        return Brought(_settled(model, images[:32]), images)

    return bring


def _layers(build: Callable[[Any], Any], samples: Callable[[int, Path], Samples]) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        import keras  # noqa: PLC0415

        keras.utils.set_random_seed(0)
        given = samples(count, packages)
        model = build(keras)
        first = tuple(x[:32] for x in given) if isinstance(given, tuple) else given[:32]
        return Brought(_settled(model, first) if not isinstance(given, tuple) else model, given)

    return bring


def _walks(steps: int, features: int) -> Callable[[int, Path], np.ndarray]:
    """Random walks, as sensors give: [n, steps, features]."""

    def make(count: int, packages: Path) -> np.ndarray:
        del packages
        moves = np.random.default_rng(0).normal(0, 0.3, (count, steps, features))
        return moves.cumsum(1).astype(np.float32)

    return make


def _images(side: int) -> Callable[[int, Path], np.ndarray]:
    return lambda count, packages: photos(count, side, side, packages)


def _rows(count: int, packages: Path) -> np.ndarray:
    """A table: age, income, ratio, flag."""
    del packages
    rng = np.random.default_rng(0)
    columns = (
        rng.uniform(18, 90, count),
        rng.lognormal(10, 1, count),
        rng.uniform(0, 0.5, count),
        rng.integers(0, 2, count),
    )
    return np.stack(columns, 1).astype(np.float32)


def _ids(count: int, packages: Path) -> np.ndarray:
    del packages
    return np.random.default_rng(0).integers(0, 50, (count, 12)).astype(np.float32)


def _three(count: int, packages: Path) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return (
        photos(count, 32, 32, packages),
        rng.normal(0, 1, (count, 6)).astype(np.float32),
        rng.uniform(0, 100, (count, 6)).astype(np.float32),
    )


def _recurrent(layer: str, **told: Any) -> Callable[[Any], Any]:
    def build(k: Any) -> Any:
        x = k.Input((20, 6))
        return k.Model(x, k.layers.Dense(4)(getattr(k.layers, layer)(16, **told)(x)))

    return build


def _bidirectional(k: Any) -> Any:
    x = k.Input((20, 6))
    y = k.layers.Bidirectional(k.layers.LSTM(8, return_sequences=True))(x)
    return k.Model(x, k.layers.Dense(4)(k.layers.GlobalAveragePooling1D()(y)))


def _unet(k: Any) -> Any:
    conv = lambda n: k.layers.Conv2D(n, 3, padding="same", activation="relu")  # noqa: E731
    x = k.Input((32, 32, 3))
    a = conv(8)(x)
    b = conv(16)(k.layers.MaxPooling2D()(a))
    c = k.layers.UpSampling2D()(conv(16)(k.layers.MaxPooling2D()(b)))
    d = k.layers.Conv2DTranspose(8, 2, strides=2)(k.layers.Concatenate()([b, c]))
    return k.Model(x, k.layers.Conv2D(2, 1, activation="sigmoid")(k.layers.Concatenate()([a, d])))


def _normalized_table(k: Any) -> Any:
    x = k.Input((4,))
    mean, variance = np.asarray([54, 36000, 0.25, 0.5], np.float32), np.asarray([430, 2e9, 0.02, 0.25], np.float32)
    y = k.layers.Normalization(mean=mean, variance=variance)(x)
    y = k.layers.Dense(32, activation="relu")(k.layers.Dense(32, activation="relu")(y))
    return k.Model(x, k.layers.Dense(1)(y))


def _embedded(k: Any) -> Any:
    x = k.Input((12,))
    y = k.layers.GlobalAveragePooling1D()(k.layers.Embedding(50, 8)(x))
    return k.Model(x, k.layers.Dense(3, activation="softmax")(y))


def _attention(k: Any) -> Any:
    x = k.Input((20, 6))
    y = k.layers.Dense(16)(x)
    z = k.layers.LayerNormalization()(y + k.layers.MultiHeadAttention(2, 8)(y, y))
    return k.Model(x, k.layers.Dense(4)(k.layers.GlobalAveragePooling1D()(z)))


def _three_inputs(k: Any) -> Any:
    image, zeta, alpha = k.Input((32, 32, 3), name="image"), k.Input((6,), name="zeta"), k.Input((6,), name="alpha")
    a = k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(8, 3, activation="relu")(image))
    y = k.layers.Concatenate()([a, k.layers.Dense(8)(zeta), k.layers.Dense(8)(alpha * 0.01)])
    return k.Model([image, zeta, alpha], k.layers.Dense(3)(y))


def _autoencoder(k: Any) -> Any:
    x = k.Input((32, 32, 3))
    y = k.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    y = k.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(y)
    y = k.layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(y)
    return k.Model(x, k.layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid")(y))


def _temporal(k: Any) -> Any:
    x = k.Input((64, 6))
    y = k.layers.Conv1D(8, 3, padding="causal", activation="relu")(x)
    y = k.layers.Conv1D(8, 3, dilation_rate=2, padding="same", activation="relu")(y)
    y = k.layers.UpSampling1D()(k.layers.MaxPooling1D()(y))
    return k.Model(x, k.layers.Dense(3)(k.layers.GlobalMaxPooling1D()(y)))


ENTRIES = (
    *(Entry(f"keras.applications/{name}", _application(name, side, told)) for name, side, told in _APPLICATIONS),
    Entry("keras/LSTM", _layers(_recurrent("LSTM"), _walks(20, 6))),
    Entry("keras/LSTM unrolled", _layers(_recurrent("LSTM", unroll=True), _walks(20, 6))),
    Entry("keras/GRU", _layers(_recurrent("GRU"), _walks(20, 6))),
    Entry("keras/SimpleRNN", _layers(_recurrent("SimpleRNN"), _walks(20, 6))),
    Entry("keras/Bidirectional LSTM", _layers(_bidirectional, _walks(20, 6))),
    Entry("keras/attention", _layers(_attention, _walks(20, 6))),
    Entry("keras/U-Net", _layers(_unet, _images(32))),
    Entry("keras/table with Normalization", _layers(_normalized_table, _rows)),
    Entry("keras/Embedding of float ids", _layers(_embedded, _ids)),
    Entry("keras/three inputs", _layers(_three_inputs, _three)),
    Entry("keras/autoencoder", _layers(_autoencoder, _images(32))),
    Entry("keras/Conv1D", _layers(_temporal, _walks(64, 6))),
)
