"""What a run was about: names, hashes, samples, versions and the machine, as result.json has them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intact import files
from intact.data import Parts
from intact.run.given import Given


def about(given: Given, source: Path, model: bytes, parts: Parts, machine: Mapping[str, Any]) -> dict[str, Any]:
    """``source`` is the float .tflite of the model that was ``given``, ``model`` the file that was made of it, ``machine`` the
    one that its times are of.
    """
    return {
        "source": {
            "name": given.name,
            "sha256": given.sha256 or files.sha256(source),
            "float_tflite_sha256": files.sha256(source),
        },
        "model": {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)},
        "samples": {
            "calibration": {"n": len(parts.calibration), "fingerprint": parts.calibration.fingerprint()},
            "report": {"n": len(parts.report), "fingerprint": parts.report.fingerprint()},
            "classes": list(parts.report.class_names),
            "labelled": parts.report.labels is not None,
            "preprocessing": parts.report.preprocessing.to_json(),
        },
        "versions": {name: version(name) for name in ("intact", "torch", "numpy", "ai-edge-litert")}
        | {"python": platform.python_version(), "machine": platform.machine(), "cpu": machine["cpu"]},
        "machine": dict(machine),
    }
