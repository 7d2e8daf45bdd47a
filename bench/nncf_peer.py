"""NNCF's post-training quantization of one network and the classes it finds; run by bench/peers.py in NNCF's own environment.

python bench/nncf_peer.py MODEL ARRAYS OUT MODE

MODEL: a torch.export program (.pt2, NCHW) or a float .tflite (NHWC). ARRAYS: an .npz with float32 ``samples`` and ``images``,
NHWC. OUT: top-1 classes, .npy. MODE: a name in MODES. Of a .pt2 NNCF makes a torch network with fake quantization, and the
classes are that simulation's; a .tflite is read by OpenVINO, which runs the quantized model in its own kernels. NNCF leaves
some ops in float.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nncf
import numpy as np

BATCH = 50
#: What nncf.quantize is told; the preset "mixed" has asymmetric activations, which suit others than ReLU.
MODES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast bias": {},
        "bias": {"fast_bias_correction": False},
        "mixed, bias": {"fast_bias_correction": False, "preset": nncf.QuantizationPreset.MIXED},
        "mixed, bias, alignment": {
            "fast_bias_correction": False,
            "preset": nncf.QuantizationPreset.MIXED,
            "advanced_parameters": nncf.AdvancedQuantizationParameters(disable_channel_alignment=False),
        },
    }
)


def quantized(network: Any, samples: list[Any], mode: str) -> Any:
    return nncf.quantize(network, nncf.Dataset(samples), subset_size=len(samples), **MODES[mode])


def in_torch(path: Path, samples: np.ndarray, images: np.ndarray, mode: str) -> np.ndarray:
    import torch  # noqa: PLC0415 - only for this backend

    network = torch.export.load(path).module(check_guards=False)
    made = quantized(network, [torch.from_numpy(sample[None].transpose(0, 3, 1, 2).copy()) for sample in samples], mode)
    with torch.inference_mode():
        batches = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).split(BATCH)
        return np.concatenate([made(batch).numpy().argmax(1) for batch in batches])


def in_openvino(path: Path, samples: np.ndarray, images: np.ndarray, mode: str) -> np.ndarray:
    import openvino  # noqa: PLC0415 - only for this backend

    made = quantized(openvino.convert_model(path), [sample[None] for sample in samples], mode)
    made.reshape([-1, *images.shape[1:]])
    run = openvino.compile_model(made, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([run(part)[0].argmax(1) for part in np.array_split(images, -(-len(images) // BATCH))])


BACKENDS: Mapping[str, Callable[[Path, np.ndarray, np.ndarray, str], np.ndarray]] = MappingProxyType(
    {".pt2": in_torch, ".tflite": in_openvino}
)


def main() -> None:
    model, arrays, out, mode = sys.argv[1:]
    with np.load(arrays) as given:
        found = BACKENDS[Path(model).suffix](Path(model), given["samples"], given["images"], mode)
    np.save(out, found)


if __name__ == "__main__":
    main()
