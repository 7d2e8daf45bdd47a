# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Weights and the range they are given
#
# How well eight, or four, bits hold weights depends on the range that is shared, and by how many. This notebook compares one scale
# for a whole tensor, one per output channel, and one per group of inputs; and symmetric with asymmetric ranges.
#
# It needs numpy and matplotlib.

# %%
import matplotlib.pyplot as plt
import numpy as np

from check import answer

# %% [markdown]
# ## Weights as batch normalization leaves them
#
# Each channel is about normal, but once batch normalization is folded in, each has a width of its own. **Change this cell:** with
# `spread = 0` all channels are alike.

# %%
spread = 0.8
draw = np.random.default_rng(0)
weights = (draw.normal(size=(64, 256)) * np.exp(spread * draw.normal(size=(64, 1)))).astype(np.float32)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6))
bins = np.linspace(-6, 6, 80)
left.hist(weights.ravel(), bins, density=True, label="all weights")
normal = np.exp(-0.5 * (bins / weights.std()) ** 2) / (weights.std() * np.sqrt(2 * np.pi))
left.plot(bins, normal, label="normal fit")
left.legend()
right.hist((weights / weights.std(axis=1, keepdims=True)).ravel(), bins, density=True)
right.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi))
right.set_title("each channel by its own width")
plt.show()


# %%
def kurtosis(values):
    """3 for a normal distribution; more where tails are long."""
    return np.mean((values - values.mean()) ** 4) / values.var() ** 2


alone = np.mean([kurtosis(channel) for channel in weights])
print(f"kurtosis of all {kurtosis(weights):.1f}, of a channel {alone:.1f}")

# %% [markdown]
# One normal fits a channel, and not the tensor: its few wide channels are the long tails.
#
# ### Percentiles
#
# The largest weight sets the range. How much of the range do the others use?

# %%
shares = (50, 90, 99, 99.9, 100)
for name, values in (("all weights", weights), ("one channel", weights[0])):
    reach = np.percentile(np.abs(values), shares) / np.abs(values).max()
    print(f"{name}: " + ", ".join(f"{p} % lie within {100 * r:.0f} %" for p, r in zip(shares, reach, strict=True)))
half = np.median(np.abs(weights)) / np.abs(weights).max()
assert spread != 0.8 or half < 0.05

# %% [markdown]
# Half of all weights share a few codes around 0. Two answers: a scale for fewer of them (next), or a range that ends at a percentile and
# **clips** what lies beyond. For a normal distribution, with a range of its own:

# %%
channel = draw.normal(size=100_000)


def clipped(values, bits, reach):
    """``values`` in symmetric codes whose range ends at ``reach``."""
    most = 2 ** (bits - 1) - 1
    step = reach / most
    return step * np.clip(np.round(values / step), -most, most)


for bits in (8, 4):
    ends = {p: np.percentile(np.abs(channel), p) for p in (99, 99.9, 100)}
    noise = {p: np.mean((clipped(channel, bits, end) - channel) ** 2) for p, end in ends.items()}
    best = min(noise, key=noise.get)
    print(f"{bits} bits: " + ", ".join(f"{p} %: error {e:.1e}" for p, e in noise.items()) + f"; best {best} %")
    assert best == {8: 100, 4: 99}[bits]

# %% [markdown]
# With 8 bits steps are fine, and clipping costs more than it gains. With 4 it pays. Which percentile is best is therefore no constant: it
# depends on bits and distribution.
#
# ## Granularity


# %%
def rounded(values, bits, axis=None, symmetric=True):
    """``values`` as ``bits`` hold them, with a range for each slice along ``axis``; all at once without."""
    if symmetric:
        most = 2 ** (bits - 1) - 1
        scale = np.abs(values).max(axis=axis, keepdims=True) / most
        return scale * np.clip(np.round(values / scale), -most, most)
    low = np.minimum(values.min(axis=axis, keepdims=True), 0)
    scale = (np.maximum(values.max(axis=axis, keepdims=True), 0) - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    return scale * (np.clip(np.round(values / scale) + zero, 0, 2**bits - 1) - zero)


def sqnr(values, stored):
    """Signal to quantization noise in dB: 6 more are half the error."""
    return 10 * np.log10(np.sum(values**2) / np.sum((values - stored) ** 2))


groups = weights.reshape(64, 8, 32)
table = {}
for bits in (8, 4):
    per_group = rounded(groups, bits, axis=2).reshape(weights.shape)
    ways = {"per tensor": rounded(weights, bits), "per channel": rounded(weights, bits, axis=1), "per group of 32": per_group}
    for name, stored in ways.items():
        worst = min(sqnr(*pair) for pair in zip(weights, stored, strict=True))
        table[bits, name] = sqnr(weights, stored), worst
        print(f"{bits} bits {name:16} {table[bits, name][0]:5.1f} dB, the worst channel {worst:5.1f} dB")

# %%
for bits in (8, 4) if spread == 0.8 else ():  # what holds of the widths above
    assert table[bits, "per tensor"][0] < table[bits, "per channel"][0] < table[bits, "per group of 32"][0]
assert spread != 0.8 or table[8, "per channel"][1] - table[8, "per tensor"][1] > 10
assert 22 < table[8, "per channel"][0] - table[4, "per channel"][0] < 26

# %% [markdown]
# Look at the **worst channel**: with one scale for all, a narrow channel gets few of the 255 codes. Each bit is worth about 6 dB.
#
# A scale per group costs bytes: with 4-bit weights and a 16-bit scale for each 32 of them, half a bit for each weight.

# %%
print(f"4 bits and 16 / 32: {4 + 16 / 32} bits a weight")

# %% [markdown]
# ## Symmetric or asymmetric
#
# Weights lie around 0: a symmetric range wastes one code of 256, and a zero point of 0 spares a subtraction. What a ReLU gives is never
# negative: half of a symmetric range would be wasted, which is one bit, 6 dB.

# %%
activations = np.maximum(draw.normal(size=100_000), 0)
gain = {}
for name, values in (("weights of a channel", weights[0]), ("after a ReLU", activations)):
    gain[name] = sqnr(values, rounded(values, 8, symmetric=False)) - sqnr(values, rounded(values, 8))
    print(f"{name:22} asymmetric is better by {gain[name]:+.1f} dB")
assert abs(gain["weights of a channel"]) < 3
assert 5 < gain["after a ReLU"] < 7

# %% [markdown]
# ## What do you know?
#
# A depthwise convolution has 96 channels whose ranges differ by a factor of 50. Which helps most: (0) more bits for the bias,
# (1) a scale per channel, (2) an asymmetric range? Put your answer in place of −1.

# %%
_ = answer("02-a", -1)

# %% [markdown]
# ## Exercise
#
# Symmetric codes of 8 bits with a scale for each row: the scale is the largest magnitude of the row divided by 127.


# %%
def per_channel(weights):
    """The scales ``[rows, 1]`` and codes ``[rows, columns]`` of ``weights``."""
    raise NotImplementedError


_ = answer("02-exercise", per_channel)

# %% [markdown]
# Next: [four kinds of quantization](03_four_kinds.ipynb).
