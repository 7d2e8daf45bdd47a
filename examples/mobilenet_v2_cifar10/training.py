"""MobileNetV2 on CIFAR-10 in Keras: tuned as reported, or from scratch at growing sizes for want of ImageNet's weights."""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf


class Stage(NamedTuple):
    """Some epochs at one size. The rate of Adam falls to 0 in the course of it, where ``falls``; what a stage came to is
    ``averaged`` with that of the others."""

    side: int  # pixels
    epochs: int
    rate: float
    falls: bool = True
    batch: int = 64
    averaged: bool = False


class Budget(NamedTuple):
    """How many photos, and how."""

    photos: int
    width: float
    tuned: tuple[Stage, ...]  # from ImageNet's weights, as reported; none: never
    scratch: tuple[Stage, ...]


BUDGETS = {
    "test": Budget(100, 0.35, (), (Stage(32, 1, 1e-3),)),
    "small": Budget(5000, 1.0, (Stage(96, 2, 5e-5, falls=False),), (Stage(48, 4, 2e-3), Stage(96, 1, 5e-4, batch=32))),
    "full": Budget(
        50_000,
        1.0,
        (Stage(224, 8, 5e-5, falls=False),),
        (
            Stage(48, 8, 2e-3),
            Stage(96, 2, 5e-4, batch=32),
            Stage(96, 2, 4e-4, batch=32, averaged=True),
            Stage(96, 1, 3e-4, batch=32, averaged=True),
        ),
    ),
}


def trained(folder: Path, budget: str) -> keras.Model:
    """Of the photos in ``folder``, one folder per class."""
    photos, width, tuned, stages = BUDGETS[budget]
    model, ends = None, []
    if tuned:
        try:
            model, stages = mobilenet_v2(tuned[0].side, width, "imagenet"), tuned
        except Exception as missing:
            print(f"no weights of ImageNet ({type(missing).__name__}): from scratch")
    for stage in stages:
        before, model = model, mobilenet_v2(stage.side, width)
        if before is not None:
            model.set_weights(before.get_weights())
        fit(model, read(folder, stage.side, photos), stage, photos)
        ends += [model.get_weights()] if stage.averaged else []
    if ends:
        model.set_weights([np.mean(each, axis=0) for each in zip(*ends, strict=True)])
        settle(model, read(folder, stage.side, 6000))
    return model


def mobilenet_v2(side: int, width: float, weights: str | None = None) -> keras.Model:
    body = keras.applications.MobileNetV2((side, side, 3), width, include_top=False, pooling="avg", weights=weights)
    return keras.Model(body.input, keras.layers.Dense(10, activation="softmax")(keras.layers.Dropout(0.2)(body.output)))


def read(folder: Path, side: int, count: int = -1) -> tf.data.Dataset:
    """``count`` photos of all classes in [-1, 1], or all, with their labels; the same ones at each call."""
    photos = keras.utils.image_dataset_from_directory(folder, image_size=(side, side), batch_size=None, seed=0, verbose=False)
    kept = photos.take(count).map(lambda x, y: (tf.cast(tf.round(x), tf.uint8), y)).cache()
    return kept.map(lambda x, y: (tf.cast(x, tf.float32) / 127.5 - 1, y))


def fit(model: keras.Model, photos: tf.data.Dataset, stage: Stage, count: int) -> None:
    """With Adam; photos mirrored, turned by up to 10 degrees and scaled by up to a tenth, as reported."""
    layers = keras.layers
    augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(10 / 360), layers.RandomZoom(0.1)])
    batches = photos.shuffle(10_000, seed=0).batch(stage.batch).map(lambda x, y: (augment(x, training=True), y)).prefetch(2)
    steps = stage.epochs * -(-count // stage.batch)
    rate = keras.optimizers.schedules.CosineDecay(stage.rate, steps) if stage.falls else stage.rate
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(batches, epochs=stage.epochs, verbose=2)


def settle(model: keras.Model, photos: tf.data.Dataset) -> None:
    """Takes the statistics of batch norms anew, which a mean of weights needs (Izmailov et al. 2018)."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.95
    for pixels, _ in photos.batch(100):
        model(pixels, training=True)
