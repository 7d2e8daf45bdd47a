"""Writes keras2.h5 and keras2.npz as Keras 2 does: ``pip install tf_keras`` in an environment of its own, then run this."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

HERE = Path(__file__).parent
layers = keras.layers
keras.utils.set_random_seed(0)

image = keras.Input((12, 12, 3), name="image")
norm = layers.BatchNormalization()
block = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3, padding="same"), norm], name="block")
x = block(image / 127.5 - 1.0)
x = layers.DepthwiseConv2D(3, padding="same", name="dw/depthwise")(x)
x = layers.LeakyReLU(alpha=0.2)(x)
x = x * layers.Activation("hard_sigmoid")(x)
x = x[:, 1:, :-1]
x = tf.concat([x, tf.nn.relu6(2.0 + x)], axis=-1)
x = tf.reduce_mean(x, axis=[1, 2])
x = layers.Dense(3, activation="softmax", name="probs")(x)
model = keras.Model(image, x)
statistics = [[1, 0.5, 2, 1], [0, 0.1, -0.1, 0.3], [0.1, 0, 0, -0.1], [1, 2, 0.5, 1]]
norm.set_weights([np.array(values, np.float32) for values in statistics])

model.save(HERE / "keras2.h5", include_optimizer=False)
sample = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype(np.float32)
np.savez_compressed(HERE / "keras2.npz", image=sample, probs=model(sample).numpy())
