# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. One convolution in integers alone, by hand
#
# A microcontroller without floating point computes a convolution from int8 codes alone. Here is all of it in numpy, beside what the
# real kernel gives on a file that Intact wrote: equal to the last bit.
#
# It needs `pip install 'intact[keras]'`.

# %%
import tempfile
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import intact
from check import answer

keras.utils.set_random_seed(0)

# %% [markdown]
# ## A network of one convolution

# %%
network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu")])
x = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype(np.float32)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "convolution.tflite"
_ = intact.quantize(network, x, target="mcu", measure=False).save(path)

# %% [markdown]
# ## What the file holds
#
# Codes of the weights, int8; biases, int32; a scale for each tensor, and for the weights one **per output channel**.

# %%
runtime = Interpreter(
    str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=True
)
runtime.allocate_tensors()
(taken,), (given,) = runtime.get_input_details(), runtime.get_output_details()
(operation,) = (op for op in runtime._get_ops_details() if op["op_name"] == "CONV_2D")
_, filters, biases = (runtime._get_tensor_details(index, 0) for index in operation["inputs"])
weights, bias = runtime.get_tensor(filters["index"]), runtime.get_tensor(biases["index"])
weight_scales = filters["quantization_parameters"]["scales"]
print("weights", weights.shape, weights.dtype, " bias", bias.shape, bias.dtype)
print("scales of the weights", weight_scales)

# %% [markdown]
# ## Step by step
#
# With $r = S(q - Z)$ for input and output, and $Z = 0$ for the weights, a sum of products is
#
# $$S_{out}(q_{out} - Z_{out}) = S_{in} S_w \left( \sum (q_{in} - Z_{in})\, q_w + b \right)$$
#
# so `b` has the scale $S_{in} S_w$. The sum is an **int32 accumulator**. What is left of real numbers is one factor per channel,
# $M = S_{in} S_w / S_{out}$, and that is replaced by an integer **multiplier** of 31 bits and a **shift**.

# %%
(in_scale, in_zero), (out_scale, out_zero) = taken["quantization"], given["quantization"]
codes = np.clip(np.round(x / np.float32(in_scale)) + in_zero, -128, 127).astype(np.int8)

windows = np.lib.stride_tricks.sliding_window_view(codes.astype(np.int32) - in_zero, (3, 3), axis=(1, 2))
accumulator = np.einsum("nijcyx,oyxc->nijo", windows, weights.astype(np.int32)) + bias
print("accumulators from", accumulator.min(), "to", accumulator.max())

# %%


def multiplier_and_shift(real):
    """``real`` is about ``multiplier * 2 ** (shift - 31)``, with a multiplier of 31 bits."""
    fraction, exponent = np.frexp(real)
    multiplier = int(np.floor(fraction * 2**31 + 0.5))  # half away from zero, as C's round of a positive number
    return (multiplier // 2, int(exponent) + 1) if multiplier == 2**31 else (multiplier, int(exponent))


real = np.float64(in_scale) * weight_scales.astype(np.float64) / np.float64(out_scale)
for one in real:
    multiplier, shift = multiplier_and_shift(one)
    print(
        f"{one:.9f} = {multiplier} * 2 ** {shift - 31}, wrong by {float(Fraction(multiplier, 2 ** (31 - shift)) - Fraction(float(one))):.1e}"
    )

# %% [markdown]
# ## Requantize
#
# TensorFlow Lite's reference kernels round twice: once where the product of 62 bits becomes 31, to the nearest; and once where that is
# shifted to the right, to the nearest and halves away from zero. A kernel that rounds once differs now and then by one code.

# %%


def high_half(a, multiplier):
    """The product of two int32, doubled, its upper 32 bits, rounded to the nearest."""
    product = a.astype(np.int64) * multiplier
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    return np.where(total >= 0, total >> 31, -((-total) >> 31))  # as C divides: towards zero


def shifted(a, bits):
    """``a / 2 ** bits``, to the nearest, halves away from zero."""
    rest, threshold = a & ((1 << bits) - 1), (((1 << bits) - 1) >> 1) + (a < 0)
    return (a >> bits) + (rest > threshold)


def requantized(accumulator):
    out = np.empty_like(accumulator)
    for channel, one in enumerate(real):
        multiplier, shift = multiplier_and_shift(one)
        left, right = max(shift, 0), max(-shift, 0)
        out[..., channel] = shifted(high_half(accumulator[..., channel] << left, multiplier), right)
    return np.clip(out + out_zero, max(-128, out_zero), 127).astype(np.int8)  # the ReLU: nothing below the code of 0


by_hand = requantized(accumulator)

# %% [markdown]
# ## The same as the kernel?

# %%
kernel = np.empty_like(by_hand)
for n, one in enumerate(codes):
    runtime.set_tensor(taken["index"], one[None])
    runtime.invoke()
    kernel[n] = runtime.get_tensor(given["index"])[0]
print(f"{(by_hand == kernel).sum()} of {kernel.size} codes are equal")
assert np.array_equal(by_hand, kernel)

# %% [markdown]
# Rounded once instead, in one step, some differ:

# %%
once = np.floor(accumulator * np.array([float(m * 2.0 ** (s - 31)) for m, s in map(multiplier_and_shift, real)]) + 0.5)
once = np.clip(once + out_zero, max(-128, out_zero), 127)
print(f"{(once != kernel).sum()} of {kernel.size} differ, by at most {np.abs(once - kernel).max():.0f}")
assert (once != kernel).any()
assert np.abs(once - kernel).max() == 1

# %% [markdown]
# And how far is it from the float network? Mostly less than a code is wide. The worst are windows with numbers beyond what was calibrated on,
# which are clipped.

# %%
exact = network(x).numpy()
error = np.abs(out_scale * (kernel.astype(np.int32) - out_zero) - exact)
print(
    f"a step of the output is {out_scale:.4f}; half of the errors are below {np.median(error):.4f}, the worst is {error.max():.4f}"
)
assert np.median(error) < out_scale

# %% [markdown]
# ## What do you know?
#
# How many bits has the accumulator? Put your answer in place of 0.

# %%
_ = answer("06-a", 0)

# %% [markdown]
# ## Exercise
#
# A kernel that rounds **once**: add half of `2 ** shift`, shift to the right, add the zero point, clip to −128..127. In int64, halves up.


# %%
def requantize(accumulator, multiplier, shift, zero_point):
    raise NotImplementedError


_ = answer("06-exercise", requantize)

# %% [markdown]
# Back to [the contents](index.md).
