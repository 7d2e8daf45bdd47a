"""What both framework importers share: one conversion, in a child process, from a request to the bytes of a .tflite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from intact import scratch
from intact.errors import ChildError, MissingExtraError, ModelError, UnsupportedError
from intact.formats.order import ordered
from intact.runtime import bytecode, child
from intact.runtime.confinement import Confinement

#: Converting the largest network that still fits a phone takes minutes.
_LIMIT_SECONDS: Final = 3600.0
#: Bytes that frameworks, one sample's activations and a network of no size take, and what each byte of its file adds to them.
_MEMORY, _COPIES = 8 << 30, 24
_LARGEST_FILE: Final = 16 << 30
#: What an extra brings that is slow to compile.
_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "keras": ("tensorflow", "keras"),
    "torch": ("litert_torch",),
    "onnx": ("onnx", "onnxruntime"),
}


def converted(script: str, request: Mapping[str, Any], what: str, extra: str) -> bytes:
    """Run ``runtime/<script>`` on ``request`` plus ``out`` and ``scratch``; return the float .tflite it writes.

    Inputs and outputs are in the order that the script's answer names them in, and called after what it says makes them.
    ``what`` and ``extra`` name the missing extra, as in "Reading a Keras model", "keras".
    """
    with scratch.folder() as folder:
        out, inner = folder / "model.tflite", folder / "scratch"
        inner.mkdir()
        answer = asked(script, {**request, "out": str(out), "scratch": str(inner)}, what, extra, folder)
        if not out.is_file():
            raise ChildError(f"{what} failed: the converter wrote nothing")
        try:
            return ordered(out.read_bytes(), answer.get("inputs"), answer.get("outputs"), answer.get("makers"))
        except Exception as error:  # it was near a stranger's file, and so its answer is not trusted either
            raise ChildError(f"{what} failed: the converter wrote no sound .tflite") from error


def asked(script: str, request: Mapping[str, Any], what: str, extra: str, folder: Path) -> dict[str, Any]:
    """The answer of ``runtime/<script>`` on the file ``request["source"]``, which may write into ``folder``.

    Raises what it answers with: a missing extra, a corrupt file, a model that cannot be read.
    """
    bytecode.compile_once(_PACKAGES[extra])
    held = _confinement(Path(request["source"]), folder)
    answer = child.call(script, request, what=what, timeout=_LIMIT_SECONDS, confinement=held)
    if "missing" in answer:
        raise MissingExtraError(what, extra)
    if "corrupt" in answer:
        raise ModelError(str(answer["corrupt"]))
    if "refused" in answer:
        raise UnsupportedError(str(answer["refused"]))
    return answer


def _confinement(source: Path, folder: Path) -> Confinement:
    """A converter writes into ``folder``, and takes memory by the size of what it converts."""
    size = sum(map(_size, source.rglob("*") if source.is_dir() else [source]))
    return Confinement(
        writes=(folder,),
        memory=min(Confinement().memory, _MEMORY + _COPIES * size),
        cpu_seconds=2 * int(_LIMIT_SECONDS),
        file_bytes=_LARGEST_FILE,
        watched=(source.parent, Path.cwd()),
    )


def _size(path: Path) -> int:
    """Bytes of a file; none of a folder, and of a link that leads nowhere: who reads it says so."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
