"""The model that a run was given, as far as its documents speak of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from intact import files
from intact.formats.load import is_module
from intact.network.graph import Graph
from intact.run.folder import sha256_of


@final
@dataclass(frozen=True, eq=False)
class Given:
    """What is told of a model where it is not at hand itself; the float .tflite of it is.

    ``where``: how errors call it. ``sha256`` and ``size``, in bytes, of the files that it is; None where there are none.
    ``graph``: the model, where it is one, for its names.
    """

    name: str
    where: str
    sha256: str | None = None
    size: int | None = None
    is_module: bool = False
    graph: Graph | None = field(default=None, repr=False)

    @classmethod
    def of(cls, model: object) -> Given:
        """What is told of ``model``, now: the file may change, or go. Raises ModelError for a file that cannot be read."""
        if isinstance(model, Given):
            return model
        if not isinstance(model, (str, Path)):
            graph = model if isinstance(model, Graph) else None
            return cls(type(model).__name__, "the model", is_module=is_module(model), graph=graph)
        path = Path(model)
        return cls(path.name, str(model), sha256_of(model), files.size(path) if path.exists() else None)
