# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Four kinds of quantization, side by side
#
# One small network, stored in every way that is usual: how accurate, how large and how fast is each? Then the usual rules of thumb,
# held against what was measured.
#
# It needs `pip install 'intact[keras]'` and matplotlib.

# %%
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from IPython.display import IFrame, display

import intact
from check import answer
from intact.numbers.grids import Choice
from seven_segments import images

keras.utils.set_random_seed(0)
holder = tempfile.TemporaryDirectory()
folder = Path(holder.name)

# %% [markdown]
# ## A network
#
# It reads the digits of a display of seven bars. The images are made here, so there are as many as one likes: 6,000 to train with, 5,000
# others to judge by.

# %%
x, y = images(6000, seed=0)
test_x, test_y = images(5000, seed=1)

figure, axes = plt.subplots(1, 10, figsize=(8, 1.2))
for digit, axis in enumerate(axes):
    axis.imshow(x[y == digit][0], cmap="gray", vmin=-1, vmax=2)
    axis.set(title=digit, xticks=[], yticks=[])
plt.show()

# %%
layers = keras.layers
network = keras.Sequential(
    [
        keras.Input((16, 16, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
    ]
)
network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
network.fit(x, y, batch_size=64, epochs=6, verbose=0)
graph = intact.load(network)
print(f"{network.count_params():,} parameters")

# %% [markdown]
# ## The kinds
#
# | kind | weights | what flows between layers | arithmetic | needs samples |
# |---|---|---|---|---|
# | float16 | float16 | float32 | float32 | no |
# | dynamic | int8 | float32 | int8, the range of each input taken while it runs | no |
# | int8 | int8 | int8 | integers alone | to calibrate |
# | fine-tuned | as int8 | int8 | integers alone | to learn from |
#
# The fourth is no format: the network is **trained on with its rounding** (quantization-aware training,
# [notebook 5](05_straight_through.ipynb)), and stored as int8, or with weights of 4 bits (`w4a8`), where there is more to win.
# Intact's `finetune` does that without your training code.
#
# **Change this cell:** `"int16x8"` and `"dynamic-w4"` are two more schemes.

# %%
finetuned = {"remedies": "finetune", "learning_samples": 500}
kinds = {
    "float16": {"scheme": "float16"},
    "dynamic": {"scheme": "dynamic"},
    "int8": {"scheme": "int8", "remedies": "none"},
    "int8, fine-tuned": {"scheme": "int8", **finetuned},
    "w4a8": {"scheme": "w4a8", "remedies": "none"},
    "w4a8, fine-tuned": {"scheme": "w4a8", **finetuned},
}


def made(kind):
    """The network stored so, measured in the real runtime; 500 of the images calibrate, and the same 500 teach."""
    return intact.quantize(graph, (x, y), evaluation=(test_x, test_y), details=False, **kind)


results = {name: made(kind) for name, kind in kinds.items()}

# %% [markdown]
# ## Side by side
#
# `lost` is the drop in percentage points on the same images, with its 95 % interval. `smaller` is beside the float .tflite. `faster` is
# the median of paired ratios: both files take turns, so that what else the machine does weighs on both.


# %%
def figure_of(result, name, of="quantized"):
    return result.reading(name, of).measurement


exact = figure_of(results["int8"], "top-1 accuracy", "float")
float_bytes = figure_of(results["int8"], "file size", "float").value
print(f"float: {exact.value:.2f} % [{exact.low:.2f}, {exact.high:.2f}], {float_bytes:,.0f} bytes")
print(f"\n{'':17} {'accuracy, %':>22}  {'lost, points':>20}  {'bytes':>7}  smaller   ms     faster")
for name, result in results.items():
    right, lost = figure_of(result, "top-1 accuracy"), figure_of(result, "accuracy drop", "difference")
    time, faster = figure_of(result, "latency"), figure_of(result, "speed-up", "difference")
    print(
        f"{name:17} {right.value:6.2f} [{right.low:.2f}, {right.high:.2f}]  {lost.value:+5.2f} [{lost.low:+.2f}, {lost.high:+.2f}]"
        f"  {len(result.model):7,}  {float_bytes / len(result.model):5.2f} x  {time.value:.4f} {faster.value:5.2f} x"
    )

# %% [markdown]
# ## Accuracy against size
#
# A point to the upper left of another beats it in both. What nothing beats is the **Pareto front**: the corners of the dotted line, which
# shows the best that so many bytes buy. Bars are the paired intervals of the drop: where they overlap, the front is not settled.

# %%
sizes = np.array([len(result.model) for result in results.values()]) / 1000
drops = [figure_of(result, "accuracy drop", "difference") for result in results.values()]
accuracy = exact.value - np.array([drop.value for drop in drops])

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(3, 2), layout="constrained")
order = np.lexsort((-accuracy, sizes))
left.step(sizes[order], np.maximum.accumulate(accuracy[order]), where="post", color="grey", linestyle=":")
for name, size, value, drop in zip(results, sizes, accuracy, drops, strict=True):
    marker = "s" if "fine-tuned" in name else "o"
    left.errorbar(size, value, [[drop.high - drop.value], [drop.value - drop.low]], fmt=marker, capsize=3, label=name)
left.plot(float_bytes / 1000, exact.value, "k*", label="float")
left.set(xscale="log", xticks=[50, 100, 200, 400], xticklabels=[50, 100, 200, 400], xlabel="file, KB", ylabel="accuracy, %")
left.minorticks_off()
left.legend(fontsize=7, loc="lower right")
faster = [figure_of(result, "speed-up", "difference").value for result in results.values()]
right.barh(list(results), faster)
right.axvline(1, color="grey", linestyle=":")
right.invert_yaxis()
right.set(xlabel="times as fast as float, here")
plt.show()

# %% [markdown]
# # Rules of thumb, corrected
#
# ## "int8 is four times smaller"
#
# The weights are. Biases stay int32, each channel has a scale, and the file has its own frame, which counts where the network is small.
# Beside the network above, here are a small one of depthwise and 1 x 1 convolutions and a wide one of dense layers (untrained: size and
# time do not depend on that).

# %%
separable = [
    keras.Sequential([layers.DepthwiseConv2D(3, strides=2, padding="same"), layers.Conv2D(width, 1, activation="relu")])
    for width in (16, 32)
]
small = [layers.Conv2D(8, 3, padding="same", activation="relu"), *separable, layers.GlobalAveragePooling2D(), layers.Dense(10)]
wide = [layers.Flatten(), layers.Dense(768, activation="relu"), layers.Dense(768, activation="relu"), layers.Dense(10)]
graphs = {
    "small": intact.load(keras.Sequential([keras.Input((16, 16, 1)), *small])),
    "above": graph,
    "wide": intact.load(keras.Sequential([keras.Input((16, 16, 1)), *wide])),
}
ratios = {}
for name, each in graphs.items():
    floats = len(intact.write_tflite(each))
    integers = len(intact.quantize(each, x[:500], remedies="none", measure=False).model)
    ratios[name] = floats / integers
    print(f"{name}: float {floats:9,} bytes, int8 {integers:7,}: {ratios[name]:.2f} x smaller")
assert ratios["small"] < ratios["above"] < ratios["wide"] < 4
assert figure_of(results["int8"], "weights ratio", "difference").value == 4

# %% [markdown]
# And beside what? A `.keras` file holds the optimizer's two running means for each weight as well. Dividing by it flatters threefold:

# %%
network.save(folder / "network.keras")
training_file = (folder / "network.keras").stat().st_size
print(f".keras {training_file:,} bytes: {training_file / float_bytes:.2f} x the float .tflite")
print(f"int8 beside the .keras file {training_file / len(results['int8'].model):.1f} x")
assert 2.8 < training_file / float_bytes < 3.3

# %% [markdown]
# ## "float16 is free"
#
# Half the size, and of 5,000 images hardly one is read otherwise. But the table shows no gain in time: the runtime unpacks the
# weights to float32, and the unpacked ones need memory while it runs. A microcontroller has no kernels for it at all.

# %%
half = results["float16"]
agreement = figure_of(half, "agreement with float")
unpacked = figure_of(half, "peak live activations").value, figure_of(half, "peak live activations", "float").value
print(agreement)
print(f"memory at its peak: float16 {unpacked[0]:,.0f} bytes, float {unpacked[1]:,.0f}, ", end="")
print(f"int8 {figure_of(results['int8'], 'peak live activations').value:,.0f}")
assert agreement.value > 99.8
assert unpacked[0] > unpacked[1]
try:
    intact.quantize(graph, x, scheme="float16", target="mcu", measure=False)
except intact.IntactError as error:
    print("mcu:", error)
else:
    raise AssertionError("a microcontroller took float16")

# %% [markdown]
# ## "Dynamic is always smaller and faster"
#
# Smaller where weights are most of the file. Faster where a layer has much to compute: taking each input's range costs time, too.

# %%
light = intact.quantize(graphs["small"], x[:500], evaluation=test_x[:500], scheme="dynamic", details=False)
for name, result in (("above", results["dynamic"]), ("small", light)):
    size, faster = figure_of(result, "size ratio", "difference"), figure_of(result, "speed-up", "difference")
    word = "faster" if faster.low > 1 else "slower" if faster.high < 1 else "neither faster nor slower"
    print(f"{name}: file {size.value:.2f} x smaller; {faster.value:.2f} x [{faster.low:.2f}, {faster.high:.2f}]: {word} here")
assert figure_of(light, "size ratio", "difference").value < 2 < figure_of(results["dynamic"], "size ratio", "difference").value

# %% [markdown]
# ## "The file's size is the memory it needs", "the arena is two to four times the model"
#
# Memory at run time is what flows between layers, which has nothing to do with the weights. `intact fit` says what a
# microcontroller needs for it, and which boards hold that:

# %%
shares = {}
for name, each in graphs.items():
    path = intact.quantize(each, x[:500], remedies="none", target="mcu", measure=False).save(folder / f"{name}.tflite")
    fit = intact.fit(path).document
    shares[name] = fit["activations"] / fit["model"]["bytes"]
    lacks = [board["name"] for board in fit["boards"] if board["fits"] == "no"]
    told = f"file {fit['model']['bytes']:7,} bytes, activations {fit['activations']:6,}: {shares[name]:.3f} x the file"
    print(f"{name}: {told}; {len(lacks)} of {len(fit['boards'])} boards lack room: {', '.join(lacks) or 'none'}")
assert max(shares.values()) > 50 * min(shares.values())
assert not any(2 <= share <= 4 for share in shares.values())

# %% [markdown]
# No factor holds. Of seven public networks it is [0.003 to 0.6](../deploy.md#figures).
#
# ## "If more is lost than 2 %, train with quantization"
#
# First ask whether there is anything to win. At int8 little is; with 4-bit weights there is.

# %%
for name in ("int8", "w4a8"):
    before, after = (figure_of(results[n], "SQNR") for n in (name, f"{name}, fine-tuned"))
    print(f"{name}: true to float by {before.value:.1f} dB, fine-tuned {after.value:.1f} dB")
assert figure_of(results["w4a8, fine-tuned"], "SQNR").low > figure_of(results["w4a8"], "SQNR").high

# %% [markdown]
# ## "A drop of more than 10 % means that int8 is too coarse"
#
# It means that something is wrong. Two mistakes that are made every day: calibrating on images of another scale (here they were divided
# by 255 once too often), and forgetting that the input of an int8 file is codes.


# %%
def accuracy_of(model, inputs, converted=True):
    """Of a .tflite, as a device runs it: the share of test images, in per cent, that are read as they are labelled."""
    runtime = Interpreter(model_content=model)
    taken = runtime.get_input_details()[0]
    runtime.resize_tensor_input(taken["index"], inputs.shape)
    runtime.allocate_tensors()
    scale, zero_point = taken["quantization"] if converted else (1, 0)
    runtime.set_tensor(taken["index"], np.clip(np.round(inputs / scale) + zero_point, -128, 127).astype(np.int8))
    runtime.invoke()
    return 100 * np.mean(runtime.get_tensor(runtime.get_output_details()[0]["index"]).argmax(axis=1) == test_y)


mistaken = intact.quantize(graph, x[:2000] / 255, remedies="none", measure=False).model
good = results["int8"].model
table = {
    "as it should be": accuracy_of(good, test_x),
    "calibrated on x / 255": accuracy_of(mistaken, test_x),
    "input not converted": accuracy_of(good, test_x, converted=False),
}
for name, value in table.items():
    print(f"{name:22} {value:.2f} %, lost {exact.value - value:+.2f}")
assert table["as it should be"] == figure_of(results["int8"], "top-1 accuracy").value
assert exact.value - table["calibrated on x / 255"] > 10
assert exact.value - table["input not converted"] > 10

# %% [markdown]
# So: **more than 10 points** is mostly a mistake, and training on top of it hides it. **5 to 10**: a few layers. **Less**: noise from
# everywhere, which a better rounding or fine-tuning takes back. [The questions in order](../troubleshooting.md) have a command each.
#
# ## Fewer bits, weight by weight
#
# The explorer shows what any number of bits, grid or range does to each tensor. Its figures are there in Python, too; the page draws them, and
# answers while you move the controls. **Change this cell:** `look = True` writes the page and shows it here.

# %%
look = False
explored = intact.explore(graph)
decibels = {bits: explored.model(Choice(bits=bits))["sqnr"] for bits in (8, 6, 4, 2)}
print(", ".join(f"{bits} bits: {value:.1f} dB" for bits, value in decibels.items()))
assert 10 < decibels[8] - decibels[6] < 14  # about 6 dB a bit
if look:
    explored.save("explorer.html")
    display(IFrame("explorer.html", "100%", 700))

# %% [markdown]
# Outside a notebook: `intact explore model.keras --data photos/ --out explorer.html` ([what it shows](../explorer.md)).
#
# ## All of this in one command
#
# `intact study model.keras --data photos/ --eval test/ --out study/` makes such a table of your own network ([how](../study.md)).
#
# ## What do you know?
#
# 1. A report divides a .keras file of 23.52 MB by an int8 .tflite of 2.59 MB and says "9.08 x". The float .tflite has 9.0 MB. How many
#    times smaller did the network really become?
# 2. A microcontroller computes in integers alone. Which kind runs there: (0) float16, (1) dynamic, (2) int8?
#
# Put your answers in place of 0 and −1.

# %%
_ = answer("03-a", 0)
_ = answer("03-b", -1)

# %% [markdown]
# ## Exercise
#
# Which ways are on the Pareto front? A way is, if no other has at most its size and at least its accuracy and is better in one of them.
# Give a truth value for each.


# %%
def on_the_front(sizes, accuracies):
    """``[n]`` truth values, for ``[n]`` sizes and ``[n]`` accuracies."""
    raise NotImplementedError


_ = answer("03-exercise", on_the_front)

# %% [markdown]
# Next: [calibration](04_calibration.ipynb).
