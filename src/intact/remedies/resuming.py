"""The state of a remedy that takes long, kept on disk so that the same command goes on from there."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from intact import files
from intact.data import Samples
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy


@final
@dataclass(frozen=True)
class Unfinished:
    """One file of tensors and numbers, or no file at all. ``key`` says what it belongs to: anything else is not taken."""

    path: Path | None
    key: str

    @staticmethod
    def of(context: Context, network: Quantized, samples: Samples, remedy: Remedy) -> Unfinished:
        """For ``remedy`` on ``network`` and ``samples``, in the folder of the context."""
        if context.folder is None:
            return Unfinished(None, "")
        digest = hashlib.sha256(f"{remedy!r} {context.seed} {samples.fingerprint()}".encode())
        for name, data in sorted(network.to_arrays().items()):
            digest.update(name.encode() + data.tobytes())
        return Unfinished(context.folder / f"{remedy.name}.pt", digest.hexdigest())

    def load(self) -> dict[str, Any]:
        """What was saved; nothing when it is not there, damaged or of something else."""
        if self.path is None or not self.path.exists():
            return {}
        try:
            held: dict[str, Any] = torch.load(self.path, weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile):
            return {}
        return held if held.get("key") == self.key else {}

    def save(self, state: dict[str, Any]) -> None:
        """Keep ``state``, whole or not at all."""
        if self.path is None:
            return
        buffer = io.BytesIO()
        torch.save({**state, "key": self.key}, buffer)
        files.write_bytes(self.path, buffer.getvalue())
