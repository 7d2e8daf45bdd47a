"""One pass over images in a process of its own: python measure.py HOW FILE IMAGES writes seconds and memory as JSON.

HOW is ``as it is`` or ``compiled``, by PyTorch's compiler; FILE a torch.export program (.pt2) or TorchScript (.pt).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch._inductor.config
import torch.ao.quantization.fx._decomposed  # the operators of Intact's program

BATCH = 50


def loaded(file: Path) -> torch.nn.Module:
    return torch.export.load(file).module() if file.suffix == ".pt2" else torch.jit.load(file)


def scores(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The network's only output; a program gives it in a tuple."""
    made = network(images)
    return made[0] if isinstance(made, tuple) else made


def most_resident() -> float:
    """The most megabytes that this process held since its peak began anew; Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def main(how: str, file: Path, images: Path) -> None:
    """Of whole batches."""
    torch.set_num_threads(1)
    torch._inductor.config.freezing = True
    network = loaded(file)
    parts = [part for part in torch.from_numpy(np.load(images)).split(BATCH) if len(part) == BATCH]
    with torch.no_grad():
        network = torch.compile(network) if how == "compiled" else network
        for part in parts[:2]:
            network(part)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        began = time.perf_counter()
        for part in parts:
            network(part)
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "rate": BATCH * len(parts) / seconds, "megabytes": most_resident()}))


def turns(networks: dict[str, tuple[str, Path]], images: Path, runs: int) -> dict[str, dict[str, np.ndarray]]:
    """``runs`` fresh processes for each of ``networks``, taking turns: of each its seconds, images a
    second and megabytes, [runs]."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in networks}
    for _ in range(runs):
        for name, (how, file) in networks.items():
            command = [sys.executable, __file__, how, str(file), str(images)]
            said = subprocess.run(
                command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            found[name].append(json.loads(said.stdout.splitlines()[-1]))
    keys = ("seconds", "rate", "megabytes")
    return {name: {key: np.array([one[key] for one in each]) for key in keys} for name, each in found.items()}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
