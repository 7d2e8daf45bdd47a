# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Real numbers in eight bits
#
# An integer network stores a real number `r` as a code `q`, one of 256. This notebook makes the codes, turns them back, and shows
# how large the error is: at most half a step, as long as the number lies within the range.
#
# It needs numpy and matplotlib. Change any cell and run it again.

# %%
import matplotlib.pyplot as plt
import numpy as np

from check import answer

# %% [markdown]
# ## The mapping and its inverse
#
# $$q = \mathrm{round}(r / S) + Z \qquad \hat r = S\,(q - Z)$$
#
# The **scale** `S` is the step between two codes, in the unit of `r`. The **zero point** `Z` is the code of the real number 0. A
# range from `low` to `high` in int8, codes −128 to 127, gives
#
# $$S = \frac{high - low}{255} \qquad Z = \mathrm{round}(-128 - low / S)$$


# %%
def parameters(low, high):
    """Scale and zero point of int8 for a range that holds 0."""
    scale = (high - low) / 255
    return scale, round(-128 - low / scale)


def quantize(r, scale, zero_point):
    return np.clip(np.round(r / scale) + zero_point, -128, 127).astype(np.int8)


def dequantize(q, scale, zero_point):
    return scale * (q.astype(np.int32) - zero_point)


scale, zero_point = parameters(-1.5, 2.3)
code = quantize(np.array(0.5), scale, zero_point)
print(f"scale {scale:.4f}, zero point {zero_point}; 0.5 -> {code} -> {dequantize(code, scale, zero_point):.3f}")

# %%
assert round(scale, 4) == 0.0149
assert (zero_point, int(code)) == (-27, 7)
assert round(float(dequantize(code, scale, zero_point)), 3) == 0.507

# %% [markdown]
# Two conventions differ where `-128 - low / S` lies exactly between two integers: Python and numpy round such a tie to the even
# neighbour, C's `round`, and with it TensorFlow Lite, away from zero. [-4, 4] is such a range: zero point 0 or -1.
#
# Why is the code converted to int32 before `Z` is taken away? Because int8 minus int8 in numpy is int8, and 127 − (−27) does not fit.
#
# ### Symmetric codes
#
# Weights usually have `Z = 0`, which spares a subtraction for each product. With a step of 0.025, 0.42 becomes 17, which stands for 0.425.

# %%
symmetric = quantize(np.array(0.42), 0.025, 0)
print(symmetric, dequantize(symmetric, 0.025, 0))
assert int(symmetric) == 17
assert np.isclose(dequantize(symmetric, 0.025, 0), 0.425)

# %% [markdown]
# ## The error is at most S / 2 ... within the range
#
# **Change this cell:** `low`, `high`, and how far the numbers reach beyond.

# %%
low, high, beyond = -1.5, 2.3, 0.6
scale, zero_point = parameters(low, high)
r = np.linspace(low - beyond, high + beyond, 2001)
error = dequantize(quantize(r, scale, zero_point), scale, zero_point) - r
first, last = scale * (-128 - zero_point), scale * (127 - zero_point)

figure, axes = plt.subplots(figsize=(7, 2.6))
axes.plot(r, error, linewidth=1)
axes.axhspan(-scale / 2, scale / 2, alpha=0.2, label="± S / 2")
axes.axvline(first, color="grey", linestyle=":")
axes.axvline(last, color="grey", linestyle=":", label="first and last code")
axes.set(xlabel="r", ylabel="error")
axes.legend()
plt.show()

# %%
inside = (r >= first) & (r <= last)
print(f"within: at most {np.abs(error[inside]).max():.5f}, S / 2 is {scale / 2:.5f}; beyond: up to {np.abs(error).max():.3f}")
assert np.abs(error[inside]).max() <= scale / 2 + 1e-12

# %% [markdown]
# Rounding `Z` moves the range by up to half a step, so `first` is not quite `low`. A number at the very end of the range may be off by
# up to one step:

# %%
print(f"asked for [{low}, {high}], got [{first:.4f}, {last:.4f}]")
ends = np.array([low, high])
assert np.abs(dequantize(quantize(ends, scale, zero_point), scale, zero_point) - ends).max() <= scale

# %% [markdown]
# ## Why 255 and not 256
#
# 256 codes have 255 steps between them. Dividing by 256 makes each step too small, and the largest number no longer fits: it is clipped.

# %%
wrong = (high - low) / 256
reached = wrong * 255
print(f"255 steps of 1/256 cover {reached:.4f} of {high - low:.4f}: {high - low - reached:.4f} is cut off")
assert np.isclose(high - low - reached, wrong)

# %% [markdown]
# ## Three slips of usual teaching material
#
# **float64 counted as float32.** numpy's numbers are float64 unless you say otherwise. Beside those, int8 is 8 times smaller; beside
# what a network really stores, float32, it is 4 times.

# %%
weights = np.random.default_rng(0).normal(size=1000)
print(weights.nbytes / weights.astype(np.int8).nbytes, weights.astype(np.float32).nbytes / weights.astype(np.int8).nbytes)
assert weights.dtype == np.float64

# %% [markdown]
# **A cast without rounding.** `astype` cuts off what is behind the point. The error is then up to a whole step, and it has a direction:
# rounded errors cancel in a sum, and these do not.

# %%
scale = np.abs(weights).max() / 127
rounded = scale * np.round(weights / scale) - weights
cut = scale * (weights / scale).astype(np.int8) - weights
positive = weights > 0
print(f"rounded: worst {np.abs(rounded).max() / scale:.2f} S, mean of positive {rounded[positive].mean() / scale:+.2f} S")
print(f"cut off: worst {np.abs(cut).max() / scale:.2f} S, mean of positive {cut[positive].mean() / scale:+.2f} S")
assert np.abs(rounded).max() <= scale / 2 + 1e-12
assert cut[positive].mean() < -0.4 * scale

# %% [markdown]
# **Judging on what was calibrated on.** A range that is taken from the very samples that are judged clips hardly any of them. Others are
# clipped, and only those tell the error that users will see.

# %%
draw = np.random.default_rng(1)
some, others = draw.normal(size=100), draw.normal(size=10_000)
step, zero = parameters(some.min(), some.max())


def mean_square(r):
    return np.mean((dequantize(quantize(r, step, zero), step, zero) - r) ** 2)


print(f"on itself {mean_square(some):.2e}, on others {mean_square(others):.2e}")
assert mean_square(others) > 5 * mean_square(some)

# %% [markdown]
# ## What do you know?
#
# 1. What is the zero point of the range [−1.5, 2.3] in int8?
# 2. Which code has 0.42 at scale 0.025 and zero point 0?
# 3. By what number do you divide the range to get the scale of 8 bits?
#
# Put your answers in place of the zeros.

# %%
_ = answer("01-a", 0)
_ = answer("01-b", 0)
_ = answer("01-c", 0)

# %% [markdown]
# ## Exercise
#
# Write the whole mapping in one function for int8. The checker tries ranges and numbers of its own.


# %%
def mapping(r, low, high):
    """Scale, zero point and codes of the numbers ``r`` for the range from ``low`` to ``high``."""
    raise NotImplementedError


_ = answer("01-exercise", mapping)

# %% [markdown]
# Next: [weights and their ranges](02_weights.ipynb).
