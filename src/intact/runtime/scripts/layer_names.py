"""The names of a Keras model's layers, carried through the converter: every tensor of the .tflite says whence it comes.

The converter names what it makes of an operation after its scope in TensorFlow's graph. Keras opens each layer's scope twice,
once to build it and once to call it, so that TensorFlow numbers it: what ``conv2d`` makes is called ``conv2d_1``, and what
``conv2d_1`` makes ``conv2d_1_2``. Imports TensorFlow only when called and nothing of Intact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any


@contextmanager
def kept(model: Foreign) -> Iterator[None]:
    """Inside, what a layer of ``model`` makes lies in the scope of its own name, below those of the layers that call it."""
    called: list[str] = []
    parts = {id(part): part for part in _parts(model)}.values()
    were = [(part.__dict__, part.__dict__.get("call")) for part in parts]  # beside what Keras tracks of attributes
    for part in parts:
        part.__dict__["call"] = _scoped(part.call, str(part.name), called)
    try:
        yield
    finally:
        for held, call in were:
            held.pop("call", None)
            if call is not None:
                held["call"] = call


def _parts(model: Foreign) -> Iterator[Foreign]:
    """The model, all layers in it, and the operations that are no layers."""
    for layer in model._flatten_layers():
        yield layer
        yield from getattr(layer, "operations", ())


def _scoped(call: Callable[..., Any], name: str, called: list[str]) -> Callable[..., Any]:
    """``call`` in the scope ``a/b/name/``, where ``called`` is a, b: a scope that ends so is entered as it is."""

    @functools.wraps(call)
    def within(*args: Foreign, **kwargs: Foreign) -> Foreign:
        import tensorflow as tf  # noqa: PLC0415

        called.append(name)
        try:
            with tf.name_scope(f"{'/'.join(called)}/"):
                return call(*args, **kwargs)
        finally:
            called.pop()

    return within
