"""The matrix of strangers' networks: each through ``intact.quantize(model, samples)``, beside LiteRT Quantizer.

make first-try-packages && python bench/first_try.py [--only PATTERN ...] [--again] [--minutes 10] [--no-peer] [--show]

Every network runs in a process of its own, so that one that kills it or takes too long costs its own row alone. Of 128 samples
64 calibrate and 64 are looked at. An output's figure is its signal to noise ratio with the mean of each element taken out,
which a network whose output hardly varies cannot hide behind. The lead on the peer is the mean over the outputs, with a paired
bootstrap interval over the samples. Rows are kept in bench/.cache/first_try; --again makes them anew.

Exit code 1 where less than 95 % work, a refusal is not the one that the matrix names, trained weights come out below 15 dB
without a finding, or a network is significantly below the peer.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from common import CACHE
from zoo import ENTRIES
from zoo.entry import Brought, Entry, Samples

_SAMPLES = 64
_LEAST_DB = 15.0
_LEAST_WORKING = 0.95
_DRAWS = 500


def _rows_folder() -> Path:
    folder = CACHE / "first_try"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _kept(entry: Entry) -> Path:
    return _rows_folder() / f"{entry.name.replace('/', '+').replace(' ', '_')}.json"


# ---- one network, in a process of its own -------------------------------------------------------------------------------


def _one(entry: Entry, packages: Path, peer: bool) -> dict[str, Any]:
    import intact  # noqa: PLC0415

    brought = entry.bring(2 * _SAMPLES, packages)
    first, second = (_part(brought.samples, part) for part in (slice(_SAMPLES), slice(_SAMPLES, None)))
    started = time.monotonic()
    try:
        result = intact.quantize(brought.model, first, evaluation=second)
    except intact.IntactError as error:
        return {"outcome": "refused", "said": str(error), "seconds": time.monotonic() - started}
    except Exception:
        return {"outcome": "broke", "said": traceback.format_exc()[-2000:], "seconds": time.monotonic() - started}
    row: dict[str, Any] = {
        "outcome": "works",
        "seconds": time.monotonic() - started,
        "findings": [[finding.kind, finding.message] for finding in result.findings],
    }
    row["speedup"] = next((r.measurement.value for r in result.readings if "speedup" in r.measurement.name), None)
    with tempfile.TemporaryDirectory() as folder:
        ours, source = Path(folder) / "ours.tflite", Path(folder) / "float.tflite"
        ours.write_bytes(result.model)
        _float_file(brought, first, source)
        real, made = _run(source, second), _run(ours, second)
        theirs = _theirs(source, first, second, row) if peer else None
        row["outputs"] = {n: _decibel(a, b) for n, (a, b) in enumerate(zip(real, made, strict=True))}
        if theirs is not None:
            row["peers"] = {n: _decibel(a, b) for n, (a, b) in enumerate(zip(real, theirs, strict=True))}
            row["lead"] = _lead(real, made, theirs)
    return row


def _theirs(source: Path, first: Samples, second: Samples, row: dict[str, Any]) -> list[np.ndarray] | None:
    """What the peer's file gives. Where it fails on the file as it is (weights in half precision, paddings that its file
    then contradicts), it is given what Intact reads: the same network in plain float32.
    """
    import intact  # noqa: PLC0415

    plain = source.with_name("plain.tflite")
    for path in (source, plain):
        if path is plain:
            plain.write_bytes(intact.write_tflite(intact.clean(intact.read_tflite(source))))
        try:
            return _run(_peer(path, first, source.parent), second)
        except Exception as error:
            row["peer"] = f"{type(error).__name__}: {str(error)[:200]}"
    return None


def _part(samples: Samples, part: slice) -> Samples:
    if isinstance(samples, Mapping):
        return {name: x[part] for name, x in samples.items()}
    return tuple(x[part] for x in samples) if isinstance(samples, tuple) else samples[part]


def _arrays(samples: Samples) -> list[np.ndarray]:
    if isinstance(samples, Mapping):
        return list(samples.values())
    return list(samples) if isinstance(samples, tuple) else [samples]


def _float_file(brought: Brought, samples: Samples, out: Path) -> None:
    import torch  # noqa: PLC0415

    from intact.formats.load import to_float_tflite  # noqa: PLC0415

    if isinstance(brought.model, torch.nn.Module):
        to_float_tflite(brought.model, out, [torch.from_numpy(x[:1]) for x in _arrays(samples)])
    else:
        to_float_tflite(brought.model, out)


def _feeds(details: list[dict[str, Any]], samples: Samples) -> list[np.ndarray]:
    """Arrays in the order of the file's inputs; images in its layout."""
    given = _arrays(samples)
    return [
        x.transpose(0, 2, 3, 1) if x.ndim == 4 and tuple(x.shape[1:]) != tuple(d["shape"][1:]) else x
        for d, x in zip(details, given, strict=True)
    ]


def _run(path: Path, samples: Samples) -> list[np.ndarray]:
    """Every output in real numbers, [n, ...], sample by sample."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(str(path), num_threads=1)
    details = interpreter.get_input_details()
    feeds = _feeds(details, samples)
    interpreter.allocate_tensors()
    made: list[list[np.ndarray]] = [[] for _ in interpreter.get_output_details()]
    for n in range(len(feeds[0])):
        for d, x in zip(details, feeds, strict=True):
            interpreter.set_tensor(d["index"], _stored(x[n : n + 1], d))
        interpreter.invoke()
        for out, d in zip(made, interpreter.get_output_details(), strict=True):
            out.append(_real(interpreter.get_tensor(d["index"]), d))
    return [np.stack(out).reshape(len(out), -1).astype(np.float64) for out in made]


def _stored(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    if details["dtype"] == np.float32 or not scale:
        return x.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _real(y: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    return (y.astype(np.float64) - zero) * scale if scale and y.dtype.kind in "iu" else y.copy()


def _peer(source: Path, samples: Samples, folder: Path) -> Path:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    from peers import quantizer_for, quiet, with_signature  # noqa: PLC0415

    signed = with_signature(source)
    interpreter = Interpreter(str(signed))
    (name,) = interpreter.get_signature_list()
    named = interpreter.get_signature_runner(name).get_input_details()
    arguments = {d["index"]: argument for argument, d in named.items()}
    details = interpreter.get_input_details()
    feeds = _feeds(details, samples)
    with quiet():
        quantizer = quantizer_for(source)
        each = [
            {arguments[d["index"]]: x[n : n + 1].astype(d["dtype"]) for d, x in zip(details, feeds, strict=True)}
            for n in range(len(feeds[0]))
        ]
        made = quantizer.quantize(quantizer.calibrate({name: each})).quantized_model
    out = folder / "peer.tflite"
    out.write_bytes(bytes(made))
    return out


def _powers(real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each sample the power of what varies, and of the error."""
    return np.square(real - real.mean(0)).sum(1), np.square(real - made).sum(1)


def _decibel(real: np.ndarray, made: np.ndarray) -> float:
    signal, noise = _powers(real, made)
    return float(10 * np.log10(max(signal.sum(), 1e-30) / max(noise.sum(), 1e-30)))


def _lead(real: list[np.ndarray], made: list[np.ndarray], theirs: list[np.ndarray]) -> list[float]:
    """Mean over the outputs of how many dB Intact is above the peer, with its 95 % interval."""
    mine, peers = ([_powers(a, b)[1] for a, b in zip(real, other, strict=True)] for other in (made, theirs))

    def lead(pick: np.ndarray) -> float:
        ratios = [max(b[pick].sum(), 1e-30) / max(a[pick].sum(), 1e-30) for a, b in zip(mine, peers, strict=True)]
        return float(np.mean(10 * np.log10(ratios)))

    n = len(real[0])
    rng = np.random.default_rng(0)
    low, high = np.percentile([lead(rng.integers(0, n, n)) for _ in range(_DRAWS)], (2.5, 97.5))
    return [lead(np.arange(n)), float(low), float(high)]


# ---- all of them -------------------------------------------------------------------------------------------------------


def _in_child(entry: Entry, args: argparse.Namespace) -> dict[str, Any]:
    kept = _kept(entry)
    command = [sys.executable, __file__, "--one", entry.name, "--packages", str(args.packages)]
    started = time.monotonic()
    try:
        ran = subprocess.run(
            [*command, *(["--no-peer"] if args.no_peer else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=60 * args.minutes,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "broke", "said": f"no answer after {args.minutes:g} minutes", "seconds": 60 * args.minutes}
    if not kept.is_file() or ran.returncode:
        last = (ran.stderr.strip() or "nothing on stderr")[-2000:]
        return {"outcome": "broke", "said": f"exit {ran.returncode}: {last}", "seconds": time.monotonic() - started}
    return dict(json.loads(kept.read_text()))


def _faults(entry: Entry, row: Mapping[str, Any]) -> list[str]:
    """What this row breaks of what the matrix promises."""
    if row["outcome"] == "broke":
        return ["broke"]
    if row["outcome"] == "refused":
        expected = entry.refused and entry.refused in row["said"]
        return [] if expected else ["refused without a reason that the matrix names"]
    faults = []
    least = min(row.get("outputs", {"": 99.0}).values())
    if entry.trained and least < _LEAST_DB and not [kind for kind, _ in row["findings"] if kind != "float ops"]:
        faults.append(f"{least:.1f} dB without a finding")
    if "lead" in row and row["lead"][2] < 0:
        faults.append(f"below the peer by {-row['lead'][0]:.1f} dB")
    return faults


def _line(entry: Entry, row: Mapping[str, Any]) -> str:
    what = row["outcome"]
    outputs = " ".join(f"{db:.1f}" for db in row.get("outputs", {}).values())
    peers = " ".join(f"{db:.1f}" for db in row.get("peers", {}).values()) or ("-" if "peer" in row else "")
    lead = "" if "lead" not in row else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*row["lead"])
    said = "; ".join(_faults(entry, row)) or ("" if what == "works" else row["said"].splitlines()[-1][:100])
    return f"| {entry.name} | {what} | {outputs} | {peers} | {lead} | {row['seconds']:.0f} | {said} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--packages", type=Path, default=CACHE / "packages")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--show", action="store_true", help="only what is kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    by_name = {entry.name: entry for entry in ENTRIES}
    if args.one:
        entry = by_name[args.one]
        _kept(entry).write_text(json.dumps(_one(entry, args.packages, not args.no_peer)))
        return 0
    chosen = [e for e in ENTRIES if not args.only or any(fnmatch.fnmatch(e.name, f"*{p}*") for p in args.only)]
    print("| network | | SQNR, mean removed, dB | peer's | lead on the peer, dB | s | |\n|---|---|---|---|---|---|---|")
    rows: list[tuple[Entry, dict[str, Any]]] = []
    for entry in chosen:
        kept = _kept(entry)
        if kept.is_file() and not args.again:
            row = json.loads(kept.read_text())
        elif args.show:
            continue
        else:
            kept.unlink(missing_ok=True)
            row = _in_child(entry, args)
            kept.write_text(json.dumps(row))
        rows.append((entry, row))
        print(_line(entry, row), flush=True)
    working = sum(row["outcome"] == "works" for _, row in rows)
    faults = [(entry.name, fault) for entry, row in rows for fault in _faults(entry, row)]
    above = sum("lead" in row and row["lead"][1] > 0 for _, row in rows)
    compared = sum("lead" in row for _, row in rows)
    print(f"\n{working} of {len(rows)} work; significantly above the peer on {above} of {compared} that both take")
    for name, fault in faults:
        print(f"fault: {name}: {fault}")
    return 1 if faults or working < _LEAST_WORKING * len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
