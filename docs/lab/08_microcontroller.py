# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 8. On a microcontroller
#
# A microcontroller has no files, no gigabytes and perhaps no floating point. What does a network take there, what do integers buy, and
# what goes wrong on the way?
#
# It needs `pip install 'intact[keras]'`. Instructions are counted with `apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi
# qemu-system-arm`; without these the cell says what it could not measure, and all others run.

# %%
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import intact
from check import answer
from intact.errors import MissingToolError

keras.utils.set_random_seed(0)
folder = tempfile.TemporaryDirectory()
here = Path(folder.name)

# %% [markdown]
# ## A network for three tiers
#
# Stripes in four directions, in noise.


# %%
def stripes(count, seed):
    draw = np.random.default_rng(seed)
    label = np.arange(count) % 4
    across, down = np.meshgrid(np.arange(16), np.arange(16))
    angle, start = (label * np.pi / 4)[:, None, None], draw.uniform(0, 6.28, (count, 1, 1))
    wave = np.sin(1.2 * (np.cos(angle) * across + np.sin(angle) * down) + start)
    return (wave + draw.normal(0, 2.2, wave.shape)).astype(np.float32)[..., None], label


(x, y), (test, truth) = stripes(2000, 0), stripes(1000, 1)
network = keras.Sequential(
    [
        keras.Input((16, 16, 1)),
        layers.Conv2D(16, 5, padding="same", activation="relu"),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, activation="softmax"),
    ]
)
network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
network.fit(x, y, epochs=4, verbose=0)
path = here / "stripes.tflite"
_ = intact.quantize(network, x[:200], target="mcu", measure=False).save(path)

# %% [markdown]
# | tier | what runs there | what it needs |
# |---|---|---|
# | your computer | training, quantizing, measuring | everything |
# | a Raspberry Pi | the .tflite in LiteRT | `ai-edge-litert` and numpy, no TensorFlow |
# | a microcontroller | the network as C, or the .tflite as an array in TensorFlow Lite Micro | a C compiler; no files, no heap |
#
# ### What a Pi runs
#
# This cell uses the small runtime and numpy alone. The time is that of this computer: it says nothing about a Pi.

# %%
runtime = Interpreter(str(path))
runtime.allocate_tensors()
(taken,), (given,) = runtime.get_input_details(), runtime.get_output_details()


def run(codes):
    """The network on codes of int8, one image at a time, as codes."""
    found = []
    for one in codes:
        runtime.set_tensor(taken["index"], one[None])
        runtime.invoke()
        found.append(runtime.get_tensor(given["index"])[0])
    return np.array(found)


scale, zero_point = taken["quantization"]
codes = np.clip(np.round(test / scale) + zero_point, -128, 127).astype(np.int8)
began = time.perf_counter()
scores = run(codes)
took = time.perf_counter() - began
exact = network.predict(test, verbose=0).argmax(1)
right = (scores.argmax(1) == truth).mean()
print(f"{1000 * took / len(test):.3f} ms an image; right: float {(exact == truth).mean():.1%}, int8 {right:.1%}")
assert right > 0.6
assert abs(right - (exact == truth).mean()) < 0.02

# %% [markdown]
# ### What a microcontroller runs
#
# `intact deploy` writes the network as C99. `network.h` is all that your program sees.

# %%
command = [sys.executable, "-m", "intact", "deploy", path, "--board", "nano33ble", "--out", here / "firmware", "--quiet"]
subprocess.run(command, check=True)
print(*sorted(str(file.relative_to(here)) for file in here.glob("firmware/**/*") if file.is_file()), sep="\n")
print()
print(
    *(
        line
        for line in (here / "firmware" / "network.h").read_text().splitlines()
        if line.startswith(("#define NETWORK_", "int8_t", "void"))
    ),
    sep="\n",
)

# %% [markdown]
# ## A file's size is not RAM
#
# The file's weights stay in **flash**. **RAM** holds the activations: what an op reads and what it writes exist at the same time, and of all
# that exists at once the most counts. That follows from the shapes; how many weights there are does not matter.

# %%
fitted = intact.fit(path).document
print(f"file {path.stat().st_size:,} bytes; activations {fitted['activations']:,}")
names, taking = zip(*((step["op"].split()[0], step["bytes"]) for step in fitted["timeline"]), strict=True)
figure, axes = plt.subplots(figsize=(7, 2))
axes.barh(range(len(taking)), taking)
axes.set(yticks=range(len(taking)), yticklabels=names, xlabel="bytes that exist during the op")
axes.invert_yaxis()
plt.show()
assert fitted["activations"] == max(taking) == 16 * 16 * 16 + 8 * 8 * 16  # the second convolution: what it reads and writes

# %% [markdown]
# ## "The arena is 2 to 4 times the model"
#
# So says a rule of thumb. Two networks refute it at once: one with many weights and few activations, and one the other way round.
# **Change this cell:** what size of picture brings the second to 2?

# %%
shapes = {
    "dense": [keras.Input((640,)), *(layers.Dense(n, activation="relu") for n in (128, 8, 128)), layers.Dense(640)],
    "picture": [
        keras.Input((96, 96, 3)),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    ],
}
ratios = {}
for name, parts in shapes.items():
    made = keras.Sequential(parts)
    noise = np.random.default_rng(0).normal(size=(16, *made.input_shape[1:])).astype(np.float32)
    intact.quantize(made, noise, target="mcu", measure=False, remedies=()).save(here / f"{name}.tflite")
    size, ram = (here / f"{name}.tflite").stat().st_size, intact.fit(here / f"{name}.tflite").document["activations"]
    ratios[name] = ram / size
    print(f"{name}: file {size:,} bytes, activations {ram:,}: {ratios[name]:.3f} times")
assert ratios["dense"] < 0.1
assert ratios["picture"] > 4

# %% [markdown]
# Eight networks, measured by `intact fit FILE` and `intact deploy FILE --runtime tflm`. AD, VWW, KWS and ResNet8 are MLPerf Tiny's int8 files, Intact made the
# others; memory depends on shapes alone.
#
# | network | file, bytes | RAM as C | times the file | TensorFlow Lite Micro's arena | times the file |
# |---|---|---|---|---|---|
# | autoencoder of sounds (AD) | 276,976 | 768 | 0.003 | 4,640 | 0.02 |
# | MobileNetV3-Small, 32 × 32 | 1,663,712 | 156,960 | 0.09 | 250,752 | 0.15 |
# | MobileNetV2, 32 × 32 | 2,460,336 | 319,488 | 0.13 | 472,048 | 0.19 |
# | visual wake words (VWW) | 333,288 | 55,296 | 0.17 | 85,248 | 0.26 |
# | keywords (KWS) | 53,936 | 16,000 | 0.30 | 24,272 | 0.45 |
# | ResNet8 | 98,496 | 49,152 | 0.50 | 55,984 | 0.57 |
# | keywords, `examples/keyword_spotting_mcu` | 33,808 | 16,000 | 0.47 | 24,144 | 0.71 |
# | U-Net, `examples/segmentation` | 133,936 | 196,608 | 1.47 | 205,248 | 1.53 |
#
# The arena holds the activations and what that runtime keeps about each tensor and op. None of the eight lies between 2 and 4. What holds instead:
#
# - RAM is the most bytes that are alive at once while one op runs after the other. Work it out from the shapes, or let `intact fit` do it.
# - Where that is too much, a smaller input or an earlier stride helps, and weights of fewer bits do not. Or layers run
#   row by row: `intact deploy --ram least`.
# - A float32 network needs four times the RAM, whatever its file.

# %% [markdown]
# ## Float against int8, in instructions
#
# The same network, written as C by the same generator in int8 and in float32, on two emulated cores: a Cortex-M3, which computes floats with a
# library, and a Cortex-M4, which has them in hardware.

# %%
try:
    cores = intact.fit(path, instructions=True).document["float"]["cores"]
except MissingToolError as missing:
    cores = []
    print(f"not measured: {missing}")
for core in cores:
    print(core["core"], "computes floats" if core["has_floats"] else "has no floats")
    for kind in ("integer", "float"):
        taken_by = core[kind]
        print(f"  {kind:8}{taken_by['instructions']:>12,} instructions{taken_by['ram']:>8,} bytes of RAM")
    print(f"  float32 takes {core['ratios']['instructions']:.2f} times the instructions")

# %%
for core in cores:
    assert core["ratios"]["ram"] == 4
    assert core["has_floats"] == (core["ratios"]["instructions"] < 4)

# %% [markdown]
# Without floating point, integers are what makes a network run at all. With it, they buy little time in plain C, and a quarter of the memory;
# vector instructions for int8 (a Cortex-M55's) bring more. Instructions are not cycles: nothing here says how long a board
# takes. [More networks](../deploy.md#what-integers-buy).

# %% [markdown]
# ## Pitfalls: the two conversions
#
# **Into integers.** A cast instead of `round(x / scale) + zero_point` compiles without a warning, and most of the picture is gone.

# %%
cast = run(test.astype(np.int8)).argmax(1)
print(f"right: {right:.1%} as it should be, {(cast == truth).mean():.1%} with a cast")
assert (cast == truth).mean() < right - 0.1

# %% [markdown]
# **Out of integers.** The largest code is the largest score, so that a forgotten conversion goes unnoticed until somebody compares with a
# threshold.

# %%
step, middle = given["quantization"]
sure = scores.max(1)
print(f"the first image: code {sure[0]}, which stands for {step * (int(sure[0]) - middle):.3f}")
print(f"surer than 0.9: {(step * (sure.astype(int) - middle) > 0.9).sum()} images; codes above 0.9: {(sure > 0.9).sum()}")

# %% [markdown]
# Other mistakes of this kind: bytes 0…255 of a camera written into int8 as they are (ask for `input_type="uint8"`, or subtract 128), features that the
# device computes otherwise than the training did, and inputs that are written once: the arena's memory is used again in every run, so every run
# needs its input anew.

# %% [markdown]
# ## What do you know?
#
# A file has 300,000 bytes. Its largest op in int8 reads 24 × 24 × 32 numbers and writes 24 × 24 × 64. How many bytes of RAM do
# the activations take at least? Put your answer in place of 0.

# %%
_ = answer("08-a", 0)

# %% [markdown]
# ## Exercise
#
# The RAM of a chain: op `i` reads tensor `i` and writes tensor `i + 1`, whose counts of int8 numbers are in `sizes`. How many bytes are alive
# at the worst moment?


# %%
def peak(sizes):
    raise NotImplementedError


_ = answer("08-exercise", peak)

# %% [markdown]
# Back to [the contents](index.md).
