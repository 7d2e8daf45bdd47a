"""Child process: one call of a .tflite file after the other in TensorFlow Lite Micro, without a reset between them.

The request: ``{"model", "calls"}``; the .npy of real numbers ``[n, ...]`` is overwritten with the first output's.
"""

import numpy as np
from tflite_micro import runtime

_ARENA = 1 << 20


def main(request, _progress):
    calls = np.load(request["calls"])
    interpreter = runtime.Interpreter.from_file(request["model"], arena_size=_ARENA)
    into, out = interpreter.get_input_details(0), interpreter.get_output_details(0)
    made = []
    for call in calls:
        interpreter.set_input(_stored(call.reshape(into["shape"]), into), 0)
        interpreter.invoke()
        made.append(_real(interpreter.get_output(0), out))
    np.save(request["calls"], np.concatenate(made))
    return {}


def _stored(x, details):
    scale, zero_point = details["quantization_parameters"]["scales"][0], details["quantization_parameters"]["zero_points"][0]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(x / scale) + zero_point, limits.min, limits.max).astype(details["dtype"])


def _real(q, details):
    scale, zero_point = details["quantization_parameters"]["scales"][0], details["quantization_parameters"]["zero_points"][0]
    return (q.astype(np.float32) - zero_point) * scale
