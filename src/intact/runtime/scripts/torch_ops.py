"""Operators of PyTorch that litert-torch does not know, or spells with gathers, composed of ones that it knows.

Each is the same function of its arguments. What depends on sizes alone is computed in Python: tensor operators would be traced.
Runs in a child process beside the converter, by plain name: imports torch only when called and nothing of Intact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any

#: More windows than this are no longer taken one by one.
_MOST_WINDOWS: Final = 64


class RefusedError(Exception):
    """The program cannot be converted as it is; the text is fit for a user."""


def replacements() -> Mapping[Foreign, Callable[..., Any]]:
    """What stands for which operator."""
    import torch  # noqa: PLC0415

    aten = torch.ops.aten
    return {
        aten.conv_transpose2d.input: _conv_transpose2d,
        aten.conv_transpose1d.default: _conv_transpose1d,
        aten.avg_pool2d.default: _avg_pool2d,
        aten.adaptive_avg_pool2d.default: _adaptive_avg_pool2d,
        aten.adaptive_max_pool2d.default: _adaptive_max_pool2d,
        aten.upsample_bicubic2d.vec: _upsample_bicubic2d,
        aten.upsample_nearest2d.vec: _upsample_nearest2d,
        aten.im2col.default: _im2col,
        aten.col2im.default: _col2im,
    }


_TRANSPOSED: Final = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "groups": 1, "dilation": (1, 1)}


def _functional() -> Foreign:
    from torch.nn import functional  # noqa: PLC0415

    return functional


def _conv_transpose2d(x: Foreign, weight: Foreign, bias: Foreign = None, *options: Foreign, **named: Foreign) -> Foreign:
    """The transposed convolution; where the converter has no padding for it, as the unpadded one, cut to size.

    Output element i of the padded one is element i + padding of the unpadded one; beyond its end there is only the bias.
    The converter takes padding none, or "same": twice the padding is what the kernel has over the stride.
    """
    nn = _functional()

    given = {**_TRANSPOSED, **dict(zip(_TRANSPOSED, options, strict=False)), **named}
    groups = given.pop("groups")
    stride, padding, output_padding, dilation = ([*v] * (2 // len(v)) for v in given.values())
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if not any(output_padding) and all(p in (0, (k - s) / 2) for p, k, s in zip(padding, spans, stride, strict=True)):
        return nn.conv_transpose2d(x, weight, bias, stride, padding, 0, groups, dilation)
    sizes = [
        (n - 1) * s - 2 * p + k + o for n, s, p, k, o in zip(x.shape[2:], stride, padding, spans, output_padding, strict=True)
    ]
    beyond = [max(o - p, 0) for o, p in zip(output_padding, padding, strict=True)]
    inner_bias = None if any(beyond) else bias
    y = nn.conv_transpose2d(x, weight, inner_bias, stride, 0, 0, groups, dilation)
    y = nn.pad(y, (0, beyond[1], 0, beyond[0])) if any(beyond) else y
    y = y[:, :, padding[0] : padding[0] + sizes[0], padding[1] : padding[1] + sizes[1]]
    return y if bias is None or inner_bias is not None else y + bias.reshape(1, -1, 1, 1)


def _conv_transpose1d(x: Foreign, weight: Foreign, bias: Foreign = None, *options: Foreign, **named: Foreign) -> Foreign:
    """As a two-dimensional one of height 1."""
    given = {**_TRANSPOSED, **dict(zip(_TRANSPOSED, options, strict=False)), **named}
    first = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
    flat = {key: [first[key], list(v)[-1]] if key in first else v for key, v in given.items()}
    return _conv_transpose2d(x.unsqueeze(2), weight.unsqueeze(2), bias, **flat).squeeze(2)


def _avg_pool2d(  # noqa: PLR0913, PLR0917  # the operator's own arguments
    x: Foreign,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Foreign:
    """Padding that does not count, or another divisor: the pool in which it does, times the constant that makes up for it.

    A window beyond the input, which only ``ceil_mode`` makes, averages what there is of it.
    """
    import torch  # noqa: PLC0415

    nn = _functional()

    steps = stride or kernel
    if divisor is None and ceil_mode and not any(padding) and all(k >= n for k, n in zip(kernel, x.shape[2:], strict=True)):
        return x.mean((2, 3), keepdim=True)  # one window over all; the converter would pad the input up to the kernel
    if divisor is None and (count_include_pad or not any(padding)):
        return nn.avg_pool2d(x, kernel, steps, padding, ceil_mode, count_include_pad)
    y = nn.avg_pool2d(x, kernel, steps, padding, ceil_mode)
    factors = [
        [_counted(i, n, k, s, p) / (1 if divisor else min(i * s - p + k, n) - max(i * s - p, 0)) for i in range(count)]
        for count, n, k, s, p in zip(y.shape[2:], x.shape[2:], kernel, steps, padding, strict=True)
    ]
    return y * torch.tensor([[h * w / (divisor or 1) for w in factors[1]] for h in factors[0]])


def _counted(i: int, size: int, kernel: int, step: int, padding: int) -> int:
    """How many elements, those of the padding too, window ``i`` of a pool averages along one axis."""
    begin = i * step - padding
    return min(begin + kernel, size + padding) - begin


def own_batch_norm(  # noqa: PLR0913, PLR0917  # the operator's own arguments
    x: Foreign,
    weight: Foreign,
    bias: Foreign,
    mean: None,
    variance: None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool,
) -> Foreign:
    """Normalization by the statistics of what comes in, where none are kept, as weights are standardized with."""
    del mean, variance, training, momentum, cudnn
    axes, shape = [a for a in range(x.ndim) if a != 1], [1, -1] + [1] * (x.ndim - 2)
    centred = x - x.mean(axes, keepdim=True)
    y = centred / ((centred * centred).mean(axes, keepdim=True) + eps).sqrt()
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _windows(size: int, count: int) -> list[tuple[int, int]]:
    """Where each of ``count`` adaptive windows over ``size`` elements begins and ends."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive_avg_pool2d(x: Foreign, output_size: Sequence[int]) -> Foreign:
    """Windows of one size are a pool; others are a matrix for each direction, which averages its rows."""
    import torch  # noqa: PLC0415

    nn = _functional()

    if all(n % k == 0 for n, k in zip(x.shape[2:], output_size, strict=True)):
        return nn.adaptive_avg_pool2d(x, output_size)
    matrices = []
    for n, k in zip(x.shape[2:], output_size, strict=True):
        matrices.append([[(begin <= i < end) / (end - begin) for i in range(n)] for begin, end in _windows(n, k)])
    return _separable(x, *map(torch.tensor, matrices))


def _separable(x: Foreign, rows: Foreign, columns: Foreign) -> Foreign:
    """``rows @ x @ columns^T`` for every channel."""
    nn = _functional()

    return nn.linear(nn.linear(x, columns).transpose(2, 3), rows).transpose(2, 3)


def _adaptive_max_pool2d(x: Foreign, output_size: Sequence[int]) -> tuple[Foreign, None]:
    """One pool, or the maximum of each window; the indices are left out."""
    import torch  # noqa: PLC0415

    nn = _functional()

    sizes = list(zip(x.shape[2:], output_size, strict=True))
    if list(output_size) == [1, 1]:
        return x.amax((2, 3), keepdim=True), None
    if all(n % k == 0 for n, k in sizes):
        return nn.max_pool2d(x, [n // k for n, k in sizes]), None
    if sum(output_size) > _MOST_WINDOWS:
        raise RefusedError(f"adaptive max pooling to {list(output_size)} is not supported; use max pooling of a fixed size")
    x = torch.cat([x[:, :, begin:end].amax(2, keepdim=True) for begin, end in _windows(*sizes[0])], 2)
    return torch.cat([x[..., begin:end].amax(3, keepdim=True) for begin, end in _windows(*sizes[1])], 3), None


def _resized(n: int, size: Sequence[int] | None, factors: Sequence[float] | None, axis: int) -> int:
    return int(size[axis]) if size is not None else int(n * (factors or (1.0, 1.0))[axis])


def _upsample_bicubic2d(
    x: Foreign, size: Sequence[int] | None, align_corners: bool, factors: Sequence[float] | None
) -> Foreign:
    """It is linear: a matrix for each direction."""
    import torch  # noqa: PLC0415

    matrices = []
    for axis in (0, 1):
        n, new = x.shape[2 + axis], _resized(x.shape[2 + axis], size, factors, axis)
        step = n / new if factors is None else 1 / factors[axis]
        at = [i * (n - 1) / max(new - 1, 1) if align_corners else (i + 0.5) * step - 0.5 for i in range(new)]
        matrices.append(torch.tensor([_cubic(n, place) for place in at]))
    return _separable(x, *matrices)


def _cubic(n: int, place: float) -> list[float]:
    """What each of ``n`` elements counts at ``place``: four neighbours by Keys' kernel with a = -0.75, edges repeated."""
    first = math.floor(place)
    row = [0.0] * n
    for i in range(first - 1, first + 3):
        d = abs(place - i)
        near, far = (1.25 * d - 2.25) * d * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3
        row[min(max(i, 0), n - 1)] += near if d <= 1 else far
    return row


def _upsample_nearest2d(x: Foreign, size: Sequence[int] | None, factors: Sequence[float] | None) -> Foreign:
    """By a whole factor as it is; else rows and columns picked one by one, which the converter would get wrong."""
    import torch  # noqa: PLC0415

    aten = torch.ops.aten
    sizes = [_resized(x.shape[2 + axis], size, factors, axis) for axis in (0, 1)]
    if all(new % n == 0 for n, new in zip(x.shape[2:], sizes, strict=True)):
        return aten.upsample_nearest2d.vec(x, size, factors)
    for axis, new in enumerate(sizes):
        n = x.shape[2 + axis]
        step = np.float32(n / new if factors is None else 1 / factors[axis])
        picked = [min(int(np.float32(i) * step), n - 1) for i in range(new)]
        x = x.index_select(2 + axis, torch.tensor(picked))
    return x


def _im2col(
    x: Foreign, kernel: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Foreign:
    """A convolution with one filter for each place in the window, channel by channel."""
    import torch  # noqa: PLC0415

    nn = _functional()

    channels, places = x.shape[1], kernel[0] * kernel[1]
    one = torch.tensor(np.eye(places).tolist() * channels)
    filters = one.reshape(channels * places, 1, *kernel)
    return nn.conv2d(x, filters, None, stride, padding, dilation, channels).flatten(2)


def _col2im(  # noqa: PLR0913, PLR0917  # the operator's own arguments
    x: Foreign,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Foreign:
    """Windows that lie side by side are only moved; others are added up by a transposed convolution, channel by channel."""
    import torch  # noqa: PLC0415

    batch, places = x.shape[0], kernel[0] * kernel[1]
    channels = x.shape[1] // places
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    counts = [(n + 2 * p - k) // s + 1 for n, p, k, s in zip(size, padding, spans, stride, strict=True)]
    if (
        list(stride) == list(kernel) == spans
        and not any(padding)
        and all(n == c * k for n, c, k in zip(size, counts, kernel, strict=True))
    ):
        apart = x.reshape(batch * channels, *kernel, *counts).permute(0, 3, 1, 4, 2)
        return apart.reshape(batch, channels, *size)
    eye = np.eye(places, dtype=np.float32).reshape(places, 1, *kernel)
    apart_by = np.zeros((places, 1, *spans), np.float32)  # the converter knows stride or dilation, not both
    apart_by[:, :, :: dilation[0], :: dilation[1]] = eye
    filters = torch.tensor(apart_by.tolist())
    missing = [n - ((c - 1) * s - 2 * p + k) for n, c, s, p, k in zip(size, counts, stride, padding, spans, strict=True)]
    apart = x.reshape(batch * channels, places, *counts)
    y = _conv_transpose2d(apart, filters, None, stride, padding, missing, 1)
    return y.reshape(batch, channels, *size)
