# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7. The smallest conversion: a straight line
#
# One weight and one bias, from training to an int8 file and back. Everything that happens to a large network happens here too.
#
# It needs `pip install 'intact[keras]'`.

# %%
import tempfile
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import intact
from check import answer

keras.utils.set_random_seed(0)

# %% [markdown]
# ## Train

# %%
draw = np.random.default_rng(0)
x = draw.uniform(-1, 1, (1000, 1)).astype(np.float32)
y = 2 * x - 1 + 0.05 * draw.normal(size=x.shape).astype(np.float32)
line = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
line.compile(keras.optimizers.Adam(0.05), "mse")
line.fit(x, y, epochs=20, verbose=0)
weight, bias = (float(value.numpy().squeeze()) for value in line.weights)
print(f"y = {weight:.3f} x {bias:+.3f}")
assert abs(weight - 2) < 0.05
assert abs(bias + 1) < 0.05

# %% [markdown]
# ## Quantize
#
# The 500 samples are **calibration**: they tell the ranges of input and output. No labels are needed. The other 500 are for judging; without
# them, Intact would put aside some of those that it is given. **Change this cell:** calibrate on `x[:500] / 2`, and see what becomes of the
# numbers beyond.

# %%
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "line.tflite"
calibration = x[:500]
_ = intact.quantize(line, calibration, evaluation=x[500:], target="mcu", measure=False).save(path)

# %% [markdown]
# ## Run it as a device does
#
# int8 in, int8 out. Forgetting one of the two conversions is the commonest mistake on devices.

# %%
runtime = Interpreter(str(path))
runtime.allocate_tensors()
(taken,), (given,) = runtime.get_input_details(), runtime.get_output_details()
print("in ", taken["dtype"].__name__, taken["quantization"])
print("out", given["dtype"].__name__, given["quantization"])


def predict(value):
    scale, zero_point = taken["quantization"]
    code = np.clip(np.round(value / scale) + zero_point, -128, 127).astype(np.int8)
    runtime.set_tensor(taken["index"], np.array([[code]]))
    runtime.invoke()
    step, middle = given["quantization"]
    return step * (int(runtime.get_tensor(given["index"])[0, 0]) - middle)


for value in (-0.9, 0.0, 0.5):
    print(f"x = {value:+.1f}: float {weight * value + bias:+.4f}, int8 {predict(value):+.4f}")

# %% [markdown]
# ## How far may it be off?
#
# Half a step of the input, times the weight, and half a step of the output; and a little for the weight and the bias.

# %%
bound = abs(weight) * taken["quantization"][0] / 2 + given["quantization"][0] / 2
covered = [v for v in x[500:, 0] if abs(v) <= np.abs(calibration).max()]
errors = np.array([predict(v) - (weight * v + bias) for v in covered])
print(f"worst error {np.abs(errors).max():.4f}, half steps {bound:.4f}")
assert np.abs(errors).max() < 1.6 * bound

# %% [markdown]
# ## And without the conversions?
#
# Cast to int8 without the scale, every input is 0 or so; read without it, an output is a code and no number.

# %%
runtime.set_tensor(taken["index"], np.array([[0.9]]).astype(np.int8))
runtime.invoke()
raw = int(runtime.get_tensor(given["index"])[0, 0])
print(f"x = 0.9, both forgotten: {raw} instead of {weight * 0.9 + bias:+.4f}")
assert abs(raw - (weight * 0.9 + bias)) > 0.5

# %% [markdown]
# ## What do you know?
#
# The input has a scale of 0.0078 and the zero point 0. Which code is 0.5? Put your answer in place of 0.

# %%
_ = answer("07-a", 0)

# %% [markdown]
# ## Exercise
#
# The line in integers, as a device computes it: take the zero point off the input's code, multiply by the weight's code, add the bias's,
# multiply by `factor` ($S_{in} S_w / S_{out}$), round, add the zero point of the output, clip to −128..127.


# %%
def integer_line(code, weight, bias, factor, zero_points):
    """The output's code for the input's ``code``; ``zero_points`` are those of input and output. Integers, but for ``factor``."""
    raise NotImplementedError


_ = answer("07-exercise", integer_line)

# %% [markdown]
# Back to [the contents](index.md).
