"""What the buffers of a .tflite hold: each is read once, however many tensors point to it."""

from __future__ import annotations

from math import prod
from typing import Any, Final, final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.tflite import sparse
from intact.formats.tflite.values import decode
from intact.numbers.affine import PACKED

#: Elements that all constants may come to, dense and each by itself: so many, or so many for each byte of the file.
_FEW: Final = 1 << 24
_TIMES: Final = 64


@final
class Stored:
    """The buffers of ``model``, which was read from ``data``."""

    def __init__(self, data: bytes, model: Any) -> None:
        self._data, self._model = data, model
        self._contents: dict[int, bytes] = {}
        self._arrays: dict[tuple[int, str], np.ndarray] = {}
        self._left = max(_FEW, _TIMES * len(data))

    def content(self, index: int) -> bytes:
        """What a buffer holds: inside the flatbuffer, or outside at (offset, size)."""
        if index not in self._contents:
            self._contents[index] = self._read(index)
        return self._contents[index]

    def values(self, t: Any, dtype: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """The values of a constant, dense however they are stored; None for a tensor that holds none."""
        payload = self.content(t.Buffer())
        if not payload and 0 not in shape:
            return None
        if t.Sparsity() is None:
            found = self._array(t.Buffer(), dtype, shape)
            self._take(found.size)
            return found
        if dtype in PACKED:
            raise UnsupportedError(f"is stored sparse in {PACKED[dtype]} bits; export the model with dense weights")
        self._take(prod(shape))
        count = len(payload) // np.dtype(dtype).itemsize
        return sparse.densify(self._array(t.Buffer(), dtype, (count,)), t.Sparsity(), shape)

    def metadata(self, index: int) -> bytes:
        """What a buffer that is no tensor's holds."""
        self._take(len(self.content(index)))
        return self.content(index)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ModelError(f"is corrupt: its constants come to more than {_TIMES} times the file")

    def _array(self, index: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        key = index, dtype
        if key not in self._arrays or self._arrays[key].size != prod(shape):
            self._arrays[key] = decode(self.content(index), dtype, shape)
        return self._arrays[key].reshape(shape)

    def _read(self, index: int) -> bytes:
        if index >= self._model.BuffersLength():
            raise ModelError(f"points to buffer {index} of {self._model.BuffersLength()}")
        buffer = self._model.Buffers(index)
        if buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            if end > len(self._data):
                raise ModelError(f"ends at byte {end} and the file has {len(self._data)}: it is cut off")
            return self._data[buffer.Offset() : end]
        return b"" if buffer.DataLength() == 0 else bytes(buffer.DataAsNumpy())
