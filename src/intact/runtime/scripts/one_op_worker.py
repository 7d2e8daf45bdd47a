"""Child process: one op of a network, in a .tflite file of its own, run by LiteRT. Needs numpy and ai_edge_litert only.

Files stay loaded between requests. One that LiteRT cannot load or run is answered as ``{"model_error": text}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

Progress: TypeAlias = Callable[[int, int], None]

_loaded: dict[str, Interpreter] = {}


def main(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run ``model`` on every run in the file ``inputs`` (arrays ``r.i`` of run r and input i) and write ``outputs`` alike.

    Without ``inputs``: only see whether the file can be loaded.
    """
    try:
        net = _loaded.get(request["model"]) or _load(request["model"])
        if request["inputs"] is None:
            return {}
        with np.load(request["inputs"], allow_pickle=False) as arrays:
            made = _run(net, arrays, request["runs"], progress)
    except (ValueError, RuntimeError) as error:
        return {"model_error": " ".join(str(error).split())[:400]}
    np.savez(request["outputs"], **made)
    return {}


def _load(path: str) -> Interpreter:
    # With XNNPACK, which alone has MediaPipe's custom ops.
    net = Interpreter(path, num_threads=1, experimental_op_resolver_type=OpResolverType.AUTO)
    net.allocate_tensors()
    _loaded[path] = net
    return net


def _run(net: Interpreter, arrays: Any, runs: int, progress: Progress) -> dict[str, Any]:
    inputs, made = net.get_input_details(), {}
    for r in range(runs):
        given = [arrays[f"{r}.{i}"] for i in range(len(inputs))]
        shapes = [tuple(int(n) for n in port["shape"]) for port in net.get_input_details()]
        if [x.shape for x in given] != shapes:
            for port, x in zip(inputs, given, strict=True):
                net.resize_tensor_input(port["index"], x.shape)
            net.allocate_tensors()
        for port, x in zip(inputs, given, strict=True):
            net.set_tensor(port["index"], x)
        net.invoke()
        for o, port in enumerate(net.get_output_details()):
            made[f"{r}.{o}"] = net.get_tensor(port["index"])
        progress(r + 1, runs)
    return made
