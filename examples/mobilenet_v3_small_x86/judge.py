"""Tables of what networks of PyTorch are worth: right answers, matrices of device and precision, and layers."""

from collections import Counter

import numpy as np
import torch

import intact
from measure import BATCH, scores

LISTED = 8  # layers


def right(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """Which images the network gets right, bool [n]."""
    with torch.no_grad():
        return (torch.cat([scores(network, part).argmax(1) for part in images.split(BATCH)]) == labels).numpy()


def spread(values: list[float] | np.ndarray) -> str:
    return (
        f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        if len(values) > 1
        else f"{values[0]:.2f}"
        if len(values)
        else "not measured"
    )


def matrix(title: str, figures: dict[str, list[float] | np.ndarray]) -> list[str]:
    """Device by precision: what was measured on the processor; on a GPU nothing is, for want of int8 kernels there."""
    cells = {name: spread(values) for name, values in figures.items()}
    rows = [f"| {title} | {' | '.join(cells)} |", "|---" * (len(cells) + 1) + "|"]
    return [*rows, f"| CPU | {' | '.join(cells.values())} |", "| GPU |" + " not measured |" * len(cells), ""]


def kinds(network: torch.nn.Module, graph_mode: torch.jit.ScriptModule, result: intact.Result) -> list[str]:
    """How many layers of each kind there are, and how many ops of integers came of them in each tool."""
    counts = Counter(type(m).__name__ for m in network.modules() if not list(m.children()))
    said = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
    theirs = sum(node.kind().startswith("quantized::") for node in graph_mode.inlined_graph.nodes())
    weights = sum(op["weight_bits"] == 8 for op in result.details["ops"])
    in_float = next(r.measurement.value for r in result.readings if r.measurement.name == "ops in float")
    ours = f"Intact {weights} with weights of 8 bits, and leaves {in_float} in float, which PyTorch's compiler fuses"
    return [f"Layers: {said}. FX graph mode made {theirs} ops of integers; {ours}."]


def noise(diagnosis: intact.Diagnosis) -> list[str]:
    """The layers that most of the error comes from."""
    rows = ["| layer | its share of the noise |", "|---|---|"]
    return rows + [f"| {layer.op} | {100 * layer.share:.1f} % |" for layer in diagnosis.ops[:LISTED]]
