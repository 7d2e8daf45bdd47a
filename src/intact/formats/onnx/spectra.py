"""ONNX's Fourier transforms: products with constant matrices of cosines and sines, and for STFT a convolution with them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import NONE, Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.matmul import by_weights, transposed
from intact.formats.onnx.shaping import reshaped
from intact.ops.call import bounded
from intact.ops.convolution import Conv2D


def _waves(length: int, taken: int, bins: int, sign: int) -> np.ndarray:
    """``exp(sign 2 pi i k n / length)`` of the first ``taken`` n and ``bins`` k, as complex numbers [bins, taken]."""
    bounded((bins, taken))
    turns = np.outer(np.arange(bins), np.arange(taken)) % length / length
    return np.asarray(np.exp(sign * 2j * np.pi * turns))


def _dft(call: Call) -> Value:
    """``y[k] = sum x[n] exp(-2 pi i k n / N)`` along an axis; backwards the conjugate, by N. Complex parts lie last."""
    x = call.value(0)
    if x.rank < 2 or x.shape[-1] not in (1, 2):
        raise ModelError(f"{list(x.shape)} has no axis of real and imaginary parts")
    axis = int(call.constant(2, "axis").reshape(-1)[0]) if call.has(2) else call.integer("axis", 1 if call.opset < 20 else -2)
    axis, backwards, halved = call.counted(axis, x.rank), call.integer("inverse", 0), call.integer("onesided", 0)
    if axis == x.rank - 1 or (backwards and halved):
        raise UnsupportedError("it transforms back to real numbers, or the parts of complex ones, which cannot be read")
    length = int(call.constant(1, "length").reshape(-1)[0]) if call.has(1) else x.shape[axis]
    waves = _waves(length, min(length, x.shape[axis]), length // 2 + 1 if halved else length, 1 if backwards else -1)
    waves = waves / length if backwards else waves
    columns = np.stack([waves, 1j * waves], -1)[..., : x.shape[-1]]  # what a real and an imaginary part count
    columns = np.pad(columns, ((0, 0), (0, x.shape[axis] - columns.shape[1]), (0, 0)))
    weight = np.stack([columns.real, columns.imag], 1).reshape(2 * len(waves), -1).astype(np.float32)
    others = [a for a in range(x.rank - 1) if a != axis]
    turned = transposed(x, (*others, axis, x.rank - 1))
    flat = reshaped(call.build, turned, (*turned.shape[:-2], prod(turned.shape[-2:])))
    y = reshaped(call.build, by_weights(call, flat, weight), (*turned.shape[:-2], len(waves), 2))
    return transposed(y, tuple((*others, axis, x.rank - 1).index(a) for a in range(x.rank)))


def _stft(call: Call) -> Value:
    """The DFT of each ``window`` of a real signal [n, samples] or [n, samples, 1]: [n, windows, bins, 2]."""
    x, step = call.value(0), int(call.constant(1, "step").reshape(-1)[0])
    if x.rank not in (2, 3) or (x.rank == 3 and x.shape[2] != 1):
        raise UnsupportedError(f"it transforms {list(x.shape)}, and only real signals of one channel can be read")
    window = call.constant(2, "window").reshape(-1) if call.has(2) else None
    length = int(call.constant(3, "length").reshape(-1)[0]) if call.has(3) else len(window) if window is not None else 0
    if step < 1 or not 0 < length <= x.shape[1] or (window is not None and len(window) != length):
        raise ModelError(f"windows of {length} in steps of {step} over {x.shape[1]} samples")
    bins = length // 2 + 1 if call.integer("onesided", 1) else length
    waves = _waves(length, length, bins, -1) * (1.0 if window is None else window)
    kernel = np.stack([waves.real, waves.imag], 1).reshape(2 * bins, 1, length, 1).astype(np.float32)
    signal = reshaped(call.build, x, (x.shape[0], x.shape[1], 1))
    laid = call.build.arranged(signal, (0, NONE, 1, 2))
    made = call.build.one(Conv2D((1, step)), laid.stored, kernel, np.zeros(2 * bins, np.float32))
    shape = (x.shape[0], made.shape[2], 2 * bins)
    return reshaped(call.build, Value(made, shape, (0, NONE, 1, 2)), (*shape[:2], bins, 2))


ROWS: Final[Mapping[str, Row]] = {"DFT": _dft, "STFT": _stft}
