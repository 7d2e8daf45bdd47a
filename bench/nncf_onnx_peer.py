"""NNCF's post-training quantization of an ONNX network, as an ONNX file; run by bench/onnx_export.py in NNCF's own environment.

python bench/nncf_onnx_peer.py MODEL ARRAYS OUT

MODEL: a float .onnx, channels first. ARRAYS: an .npz with float32 ``samples``, NHWC. OUT: the quantized .onnx.
"""

from __future__ import annotations

import sys

import nncf
import numpy as np
import onnx


def main() -> None:
    model, arrays, out = sys.argv[1:]
    network = onnx.load(model)
    (port,) = network.graph.input
    with np.load(arrays) as given:
        samples = [{port.name: np.ascontiguousarray(x[None].transpose(0, 3, 1, 2))} for x in given["samples"]]
    options = {"preset": nncf.QuantizationPreset.MIXED, "fast_bias_correction": False}
    made = nncf.quantize(network, nncf.Dataset(samples), subset_size=len(samples), **options)
    onnx.save(made, out)


if __name__ == "__main__":
    main()
