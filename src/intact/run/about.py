"""What a run was about: names, hashes, samples, versions and the machine, as result.json has them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intact import files
from intact.data import Parts
from intact.measure import machine
from intact.measure.machine import cpu


def about(model: object, given: str | None, source: Path, written: Path, parts: Parts) -> dict[str, Any]:
    """``given``: the SHA-256 of the file or folder that ``model`` is the path of; ``source`` is the float .tflite of it."""
    return {
        "source": {
            "name": Path(model).name if isinstance(model, (str, Path)) else type(model).__name__,
            "sha256": given or files.sha256(source),
            "float_tflite_sha256": files.sha256(source),
        },
        "model": {"sha256": files.sha256(written), "bytes": written.stat().st_size},
        "samples": {
            "calibration": {"n": len(parts.calibration), "fingerprint": parts.calibration.fingerprint()},
            "report": {"n": len(parts.report), "fingerprint": parts.report.fingerprint()},
            "classes": list(parts.report.class_names),
            "labelled": parts.report.labels is not None,
            "preprocessing": parts.report.preprocessing.to_json(),
        },
        "versions": {name: version(name) for name in ("intact", "torch", "numpy", "ai-edge-litert")}
        | {"python": platform.python_version(), "machine": platform.machine(), "cpu": str(cpu())},
        "machine": machine.document(),
    }
