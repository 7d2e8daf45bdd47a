"""Makes the recurrent .tflite files of this folder, as Keras and TensorFlow's converter write them.

Run it as ``PYTHONPATH=tests/helpers python tests/networks/make_recurrent.py`` with the keras extra. The networks are trained,
for seconds, to follow slow averages of their inputs, so that their states matter.
"""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf
from recurrent import signals

from intact.runtime.scripts import keras_export

FOLDER = Path(__file__).parent
LENGTH, FEATURES, UNITS = 24, 2, 12


def trained(layer: str, length: int = LENGTH, **options: object) -> keras.Model:
    """A network of one recurrent layer and a dense one that gives both averages at every step."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((length, FEATURES)),
            recurrent(layer, return_sequences=True, **options),
            keras.layers.Dense(2, name="averages"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(*signals(49152 // length, length, 1), epochs=20, batch_size=32, verbose=0)
    print(layer, "loss", model.evaluate(*signals(256, length, 2), verbose=0))
    return model


def recurrent(layer: str, *, both_ways: bool = False, **options: object) -> keras.Layer:
    made = getattr(keras.layers, layer)(UNITS, **options)
    return keras.layers.Bidirectional(made) if both_ways else made


def streaming(model: keras.Model, layer: str) -> keras.Model:
    """The same network called step by step."""
    cell = recurrent(layer, return_sequences=False, stateful=True)
    step = keras.Sequential([keras.Input(batch_shape=(1, 1, FEATURES)), cell, keras.layers.Dense(2, name="averages")])
    step.set_weights(model.get_weights())
    return step


def write(model: keras.Model, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keras_export.save(model, folder, None)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        (FOLDER / name).write_bytes(converter.convert())


def main() -> None:
    for layer in ("LSTM", "GRU"):
        write(trained(layer), f"{layer.lower()}_sequence.tflite")
        write(streaming(trained(layer, 4 * LENGTH), layer), f"{layer.lower()}_streaming.tflite")
    write(trained("SimpleRNN"), "simple_rnn.tflite")
    write(trained("LSTM", both_ways=True), "bidirectional.tflite")


if __name__ == "__main__":
    main()
