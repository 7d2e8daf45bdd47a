"""Measures the files that it carries on the machine that it was carried to: the main file of ``intact devices pack``.

``python3 measure.pyz [measured.json]`` needs LiteRT for that Python (``pip install ai-edge-litert``) and nothing else. It makes
the calls of ``calls.json`` one after the other, each in a process of its own, and keeps every answer at once: started again, it
goes on where it was. Take ``measured.json`` back, and type ``intact report measured.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

#: Bytes of memory and of one file, and seconds of processor time, that a call may take.
_LIMITS = {"memory": 1 << 40, "cpu_seconds": 4 * 3600, "file_bytes": 1 << 36}
_OLDEST = (3, 10)


def main(archive: Path, out: Path) -> int:
    """Make the calls that are not answered in ``out`` yet; the exit status."""
    if sys.version_info < _OLDEST:
        sys.exit(f"Python {sys.version.split()[0]} is too old; 3.10 or newer is needed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        asked = json.loads((folder / "calls.json").read_text())
        before = _look(folder)
        missing = [package for package in ("ai-edge-litert", "numpy") if before["versions"][package] is None]
        if missing:
            what = " and ".join(missing)
            sys.exit(f"{sys.executable} has no {what}; type: {sys.executable} -m pip install ai-edge-litert")
        document = _begun(out, asked, before)
        calls = asked["calls"]
        for number in range(len(document["answers"]), len(calls)):
            document["answers"].append(_answer(folder, calls[number]))
            document["after"] = _look(folder)["state"]
            _keep(out, document)
            print(f"{number + 1} of {len(calls)}: {calls[number]['title']}", flush=True)  # noqa: T201  # a program of its own
    print(f"{out} is written; take it back and type: intact report {out.name}")  # noqa: T201
    return 0


def _begun(out: Path, asked: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What an earlier start of the same file on this machine wrote, or a document without answers."""
    made = {"schema": "intact-measured/1", "id": asked["id"], "machine": before, "after": before["state"], "answers": []}
    made |= {"study": asked["study"], "calls": [{key: call[key] for key in ("cell", "title")} for call in asked["calls"]]}
    try:
        found = json.loads(out.read_text())
        same = found["id"] == asked["id"] and found["machine"]["cpuinfo"] == before["cpuinfo"]
    except (OSError, ValueError, KeyError, TypeError):
        return made
    return found if same else made


def _keep(out: Path, document: dict[str, Any]) -> None:
    draft = out.with_name(f".{out.name}.draft")
    draft.write_text(json.dumps(document))
    draft.replace(out)


def _look(folder: Path) -> dict[str, Any]:
    told = json.dumps({"folder": str(folder), "runner": ""})
    said = subprocess.run([sys.executable, str(folder / "remote.py"), "look", told], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def _answer(folder: Path, call: dict[str, Any]) -> dict[str, Any]:
    """What a worker says: ``{"result": …}``, or ``{"error": …}`` with its last words."""
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    rules = json.dumps({**_LIMITS, "writes": [str(folder), "/proc/self/clear_refs"]})
    request = json.dumps(_placed(call["request"], folder))
    worker = subprocess.Popen(
        [sys.executable, *safe, str(folder / "serve.py"), str(folder / call["script"]), rules],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(folder),
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stderr is not None
    worker.stdin.write(request.encode() + b"\n")
    worker.stdin.flush()
    try:
        for line in worker.stdout:
            said = json.loads(line)
            if "result" in said:
                return {"result": said["result"]}
            if "error" in said or "limit" in said:
                return {"error": str(said.get("error", f"out of {said.get('limit')}"))}
        words = worker.stderr.read().decode(errors="replace").strip().splitlines()
        return {"error": f"ended with {worker.wait(10)}: {words[-1] if words else 'no word'}"}
    finally:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout, worker.stderr):
            pipe.close()
        time.sleep(0.1)  # the next call is not timed while this one's memory is given back


def _placed(value: Any, folder: Path) -> Any:
    """A request with the paths of the files that it names as ``@name``."""
    if isinstance(value, str) and value.startswith("@"):
        return str(folder / value[1:])
    if isinstance(value, dict):
        return {key: _placed(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_placed(each, folder) for each in value]
    return value


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).resolve(), Path(sys.argv[1] if len(sys.argv) > 1 else "measured.json")))
