"""What each file has right in LiteRT, and tables of what it takes."""

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter

import intact
import reported


def hits(file: bytes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of the pictures [n, 3, side, side] LiteRT gets right with ``file``, bool [n]."""
    runtime = Interpreter(model_content=file)
    runtime.allocate_tensors()
    (port,), (out,) = runtime.get_input_details(), runtime.get_output_details()
    (scale, zero), found = port["quantization"], []
    for picture in x if port["shape"][1] == 3 else x.transpose(0, 2, 3, 1):
        stored = np.clip(np.round(picture / np.float32(scale)) + zero, -128, 127).astype(np.int8) if scale else picture
        runtime.set_tensor(port["index"], stored[None])
        runtime.invoke()
        found.append(runtime.get_tensor(out["index"]).argmax())
    return np.array(found) == y


@torch.inference_mode()
def hits_in_torch(model: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return torch.cat([model(some).argmax(1) for some in torch.from_numpy(x).split(50)]).numpy() == y


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1e4 else f"{value:.4g}"


def efficiency(result: intact.Result) -> list[str]:
    """Float beside int8, and what the report said of them."""
    found = {(r.of, r.measurement.name): r.measurement for r in result.readings}
    rows = ["| figure | reported: float, int8 | float | int8 |", "|---|---|---|---|"]
    for name, said in reported.FIGURES.items():
        of_both = [found.get((of, name)) for of in ("float", "quantized")]
        cells = (shown(figure.value) if figure else "" for figure in of_both)
        rows.append(f"| {name}{f', {of_both[0].unit}' if of_both[0].unit else ''} | {said} | {' | '.join(cells)} |")
    return rows


def layers(result: intact.Result) -> list[str]:
    """By their FLOPs, which are twice their multiply-accumulates, the most first."""
    ops = sorted((op for op in result.details["ops"] if op["macs"]), key=lambda op: -op["macs"])
    total = sum(op["macs"] for op in ops)
    rows = ["| layer | MFLOP | of all | parameters | int8, ms |", "|---|---|---|---|---|"]
    for op in ops:
        costs = f"{2e-6 * op['macs']:.2f} | {100 * op['macs'] / total:.1f} % | {op['parameters']:,} | {op['ms']:.3f}"
        rows.append(f"| {op['op']} | {costs} |")
    return rows
