# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Training through a rounding: the straight-through estimator
#
# Quantization-aware training (QAT) computes with rounded weights while it trains, so that the network learns to live with them. But
# rounding is a staircase: flat almost everywhere, with no gradient to follow. This notebook shows the way around it.
#
# It needs numpy and matplotlib.

# %%
import matplotlib.pyplot as plt
import numpy as np

from check import answer

# %% [markdown]
# ## Fake quantization
#
# Quantize, and turn back at once: still a float, but one of few. **Change this cell:** 3 bits, then 8.

# %%
bits, low, high = 3, -1.0, 1.0
scale = (high - low) / (2**bits - 1)


def fake(w):
    return low + scale * np.round((np.clip(w, low, high) - low) / scale)


w = np.linspace(-1.5, 1.5, 1501)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
left.plot(w, w, color="grey", linewidth=1, label="w")
left.plot(w, fake(w), label=f"fake-quantized, {bits} bits")
left.legend()
right.plot(w, np.gradient(fake(w), w).clip(0, 3), linewidth=0.7, label="true gradient (peaks cut off)")
right.plot(w, (w >= low) & (w <= high), label="straight-through")
right.legend()
plt.show()

# %% [markdown]
# The true gradient is 0 but at the jumps. The **straight-through estimator** takes 1 within the range and 0 beyond: as if only the
# clipping were there. Within the range it is wrong at every point, and right on average: over one step, the
# staircase rises as much as the line.

# %%
rising = np.diff(fake(np.linspace(low, high, 100_001))) != 0
print(f"of 100,000 small steps, {rising.sum()} change the rounded number")
assert rising.sum() == 2**bits - 1
steps = low + scale * np.arange(2**bits)  # the codes' own numbers
slopes = (fake(steps[1:]) - fake(steps[:-1])) / scale
print("rise over run between neighbours:", slopes.round(3))
assert np.allclose(slopes, 1)

# %% [markdown]
# ## A regression with rounded weights
#
# 24 correlated inputs, one output. First the weights are fitted in float, then rounded: **post-training quantization**. Then they are
# trained on with fake quantization in the forward pass and the straight-through gradient in the backward pass: **QAT**.

# %%
fit, judge, steps = slice(0, 1000), slice(1000, 2000), 3000


def problem(seed):
    draw = np.random.default_rng(seed)
    mixing = draw.normal(size=(24, 24)) * 0.3 + 0.5
    x = draw.normal(size=(2000, 24)) @ mixing
    return x, x @ draw.uniform(-0.9, 0.9, 24)


def loss(x, y, weights, part):
    return np.mean((x[part] @ weights - y[part]) ** 2)


def trained_with_rounding(x, y, master, rate=0.002, falls=True):
    """The rounded weights after the last step, and the loss of every step. The rate falls to 0, if it ``falls``."""
    curve, rate = [], rate / np.linalg.eigvalsh(x[fit].T @ x[fit] / 1000).max()
    master = master.copy()
    for step in range(steps):
        rounded = fake(master)
        curve.append(loss(x, y, rounded, fit))
        gradient = 2 * x[fit].T @ (x[fit] @ rounded - y[fit]) / 1000
        inside = (master >= low) & (master <= high)  # straight through the rounding, and not through the clipping
        master -= rate * (1 - step / steps if falls else 1) * gradient * inside
    return fake(master), curve


ways = {
    "0.002, falling": {},
    "0.002, not falling": {"falls": False},
    "0.2, not falling": {"rate": 0.2, "falls": False},
}
after, aware, curves = [], {name: [] for name in ways}, {}
for seed in range(8):
    x, y = problem(seed)
    floats = np.linalg.lstsq(x[fit], y[fit], rcond=None)[0]
    assert loss(x, y, floats, judge) < 1e-12  # all that is lost is lost by rounding
    after.append(loss(x, y, fake(floats), judge))
    for name, way in ways.items():
        weights, curves[seed, name] = trained_with_rounding(x, y, floats, **way)
        aware[name].append(loss(x, y, weights, judge))

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.semilogy(after, "o", label="rounded after training")
left.semilogy(aware["0.002, falling"], "s", label="trained with rounding")
left.set(xlabel="problem", ylabel="mean squared error")
left.legend()
for name in ways:
    right.semilogy(np.convolve(curves[4, name], np.ones(50) / 50, "valid"), linewidth=1, label=name)
right.axhline(curves[4, name][0], color="grey", linestyle=":", label="no training")
right.set(xlabel="step", title="problem 4, means of 50 steps, by rate")
right.legend(fontsize=8, loc=(0.25, 0.3))
plt.show()

# %% [markdown]
# On samples that were not trained on, of eight such problems:

# %%
print(f"rounded after training: mean error {np.mean(after):.2f}")
for name, losses in aware.items():
    print(f"{name:19}: mean error {np.mean(losses):5.2f}, better in {np.less(losses, after).sum()} of {len(after)}")
if bits == 3:  # what is said below
    assert np.mean(aware["0.002, falling"]) < np.mean(after) / 3
    assert 5 <= np.less(aware["0.002, falling"], after).sum() < 8
    assert np.mean(aware["0.002, falling"]) < np.mean(aware["0.002, not falling"])
    assert np.mean(aware["0.2, not falling"]) > np.mean(after)

# %% [markdown]
# Better in most, not in all: the estimator's gradient is not that of the loss. It keeps pushing when the best rounding is reached, and weights then jump
# from one side of a step to the other. A rate that does not fall loses again what it had won, and a large one that does not fall does worse than
# no training at all. That is why training with rounding ends with small steps. `intact quantize --remedies finetune` does the same with whole
# networks, without labels: it learns from the float network's outputs, and takes what it learned only where samples held out gain by it.
#
# ## What do you know?
#
# What is the derivative of `round` at 0.3? Put your answer in place of 1.

# %%
_ = answer("05-a", 1)

# %% [markdown]
# ## Exercise
#
# The backward pass of fake quantization: what comes from above (`upstream`) goes on to `w` as ...


# %%
def gradient_of_fake(w, low, high, upstream):
    raise NotImplementedError


_ = answer("05-exercise", gradient_of_fake)

# %% [markdown]
# Next: [one convolution in integers](06_integer_convolution.ipynb).
