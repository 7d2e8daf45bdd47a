"""What both framework importers share: one conversion, in a child process, from a request to the bytes of a .tflite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from intact import scratch
from intact.errors import ChildError, MissingExtraError, ModelError, UnsupportedError
from intact.formats.order import ordered
from intact.runtime import child

#: Converting the largest network that still fits a phone takes minutes.
_LIMIT_SECONDS: Final = 3600.0


def converted(script: str, request: Mapping[str, Any], what: str, extra: str) -> bytes:
    """Run ``runtime/<script>`` on ``request`` plus ``out`` and ``scratch``; return the float .tflite it writes.

    Inputs and outputs are in the order that the script's answer names them in.
    ``what`` and ``extra`` name the missing extra, as in "Reading a Keras model", "keras".
    """
    with scratch.folder() as folder:
        out, inner = folder / "model.tflite", folder / "scratch"
        inner.mkdir()
        paths = {"out": str(out), "scratch": str(inner)}
        answer = child.call(script, {**request, **paths}, what=what, timeout=_LIMIT_SECONDS)
        if "missing" in answer:
            raise MissingExtraError(what, extra)
        if "corrupt" in answer:
            raise ModelError(str(answer["corrupt"]))
        if "refused" in answer:
            raise UnsupportedError(str(answer["refused"]))
        if not out.is_file():
            raise ChildError(f"{what} failed: the converter wrote nothing")
        return ordered(out.read_bytes(), answer.get("inputs"), answer.get("outputs"))
