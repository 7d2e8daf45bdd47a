"""Documents of runs and studies as they lie in folders, made up but like real ones: MobileNetV3-Small, 500 photographs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import random
from pathlib import Path
from typing import Any

from PIL import Image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
#: A name that means something wherever it is not escaped.
HOSTILE = (
    '</script><script>window.broken=1</script><img src=x onerror="window.broken=1">\'"`{{7*7}}${1}&amp;\n'
    "=HYPERLINK(1)|**b**\x1b[31mred\u202egnp.exe\u2028\u0000"
)
MODEL = b"not a model, but bytes with a hash"
_SECOND = "percentile bootstrap, 1000 resamples"


def measurement(
    of: str, name: str, value: Any, unit: str, low: Any = None, high: Any = None, how: str = "", n: int = 500
) -> dict[str, Any]:
    return {"of": of, "name": name, "value": value, "unit": unit, "low": low, "high": high, "how": how, "n": n}


def measurements() -> list[dict[str, Any]]:
    wilson, timed = "share of samples whose highest score is at the label, Wilson interval", "1 thread, XNNPACK, AMD EPYC"
    m = measurement
    return [
        m("float", "top-1 accuracy", 85.0, "%", 81.60389193683015, 87.86240423086117, wilson),
        m("quantized", "top-1 accuracy", 83.8, "%", 80.314773423783, 86.76982116101608, wilson),
        m(
            "difference",
            "accuracy drop",
            1.2,
            "percentage points",
            -0.7756346735359773,
            3.315098461988314,
            "paired: 15 lost and 9 gained of 500, Tango score interval",
        ),
        m("float", "top-5 accuracy", 98.8, "%", 97.4, 99.4, wilson),
        m("quantized", "top-5 accuracy", 98.4, "%", 96.9, 99.2, wilson),
        m("float", "cross entropy", 0.5121, "nats", 0.44, 0.58, "p floored at 1/512"),
        m("quantized", "cross entropy", 0.5893, "nats", 0.51, 0.67, "p floored at 1/512"),
        m("difference", "cross entropy increase", 0.0772, "nats", 0.04, 0.11, "paired"),
        m(
            "quantized",
            "agreement with float",
            93.8,
            "%",
            91.33402868983617,
            95.59807908573184,
            "share of samples with the same class, Wilson interval",
        ),
        m("quantized", "SQNR", 12.919691736981466, "dB", 12.334342236051924, 13.49484333285493, _SECOND),
        m("quantized", "simulator = runtime, bit for bit", 2000, "of 2,000 stored numbers", n=200),
        m("float", "file size", 6222796, "bytes"),
        m("quantized", "file size", 960000, "bytes"),
        m("difference", "size ratio", 6.482079, "x"),
        m("quantized", "bytes of weights", 721000, "bytes"),
        m("float", "peak live activations", 627840, "bytes"),
        m("quantized", "peak live activations", 156960, "bytes"),
        m("float", "parameters", 1522089, ""),
        m("float", "multiply-accumulates", 17507328, ""),
        m("float", "latency", 0.6130519977887161, "ms", 0.5906490041525103, 0.6268530050874688, timed, 29),
        m("quantized", "latency", 0.7023759972071275, "ms", 0.6838169938419014, 0.7320199947571382, timed, 29),
        m("difference", "speed-up", 0.8466392775112234, "x", 0.8246793192488602, 0.8744341791892348, timed, 29),
    ]


def criterion(
    text: str,
    figure: str,
    of: str,
    limit: float,
    unit: str,
    status: str,
    value: Any,
    low: Any = None,
    high: Any = None,
    needs: int | None = None,
    why: str = "",
) -> dict[str, Any]:
    return {
        "criterion": text,
        "figure": figure,
        "of": of,
        "comparison": next(word for word in text.split() if word in {"<=", ">="}),
        "limit": limit,
        "unit": unit,
        "value": value,
        "low": low,
        "high": high,
        "status": status,
        "needs_about_n": needs,
        "why": why,
    }


def criteria() -> list[dict[str, Any]]:
    return [
        criterion(
            "drop <= 2",
            "accuracy drop",
            "difference",
            2.0,
            "percentage points",
            "inconclusive",
            1.2,
            -0.7756346735359773,
            3.315098461988314,
            3500,
            "the interval reaches over the limit; about 3,500 samples would settle it",
        ),
        criterion("size ratio >= 4", "size ratio", "difference", 4.0, "x", "pass", 6.482079, why="6.482 x is at least 4 x"),
        criterion(
            "latency <= 5 ms",
            "latency",
            "quantized",
            5.0,
            "ms",
            "pass",
            0.7023759972071275,
            0.6838169938419014,
            0.7320199947571382,
            why="all of the interval is within the limit",
        ),
        criterion(
            "peak memory <= 128 KiB",
            "peak live activations",
            "quantized",
            131072.0,
            "bytes",
            "fail",
            156960,
            why="156,960 bytes are more than 131,072 bytes",
        ),
    ]


def candidates() -> list[dict[str, Any]]:
    def one(
        name: str, why: str, drop: float, low: float, high: float, size: int, ms: float, seconds: float, steps: list[str]
    ) -> dict[str, Any]:
        loss = {
            "name": "accuracy drop",
            "value": drop,
            "unit": "percentage points",
            "low": low,
            "high": high,
            "how": "paired",
            "n": 150,
        }
        return {
            "name": name,
            "why": why,
            "steps": steps,
            "loss": loss,
            "expected": drop * 0.8,
            "divergence": None,
            "score": drop * 0.9,
            "bytes": size,
            "latency_ms": ms,
            "seconds": seconds,
        }

    return [
        one("as planned", "nothing costs less", 7.33, 3.1, 12.0, 958112, 0.6458, 6.3, []),
        one(
            "equalize, clip, bias",
            "they cost seconds",
            4.0,
            0.6,
            8.3,
            960000,
            0.6621,
            45.9,
            ["corrected the bias of 54 ops on 512 samples, by up to 0.11"],
        ),
        one(
            "round",
            "it learns each weight's rounding",
            1.33,
            -1.4,
            4.7,
            960000,
            0.661,
            96.2,
            ["learned the rounding of 52 ops on 500 samples"],
        ),
        one("mixed", "bytes where they help most", 0.67, -1.6, 3.1, 1204000, 0.702, 31.0, ["kept 9 weights at 8 bits"]),
    ]


def result() -> dict[str, Any]:
    digest = hashlib.sha256(MODEL).hexdigest()
    return {
        "schema": "intact-result/1",
        "settings": {
            "scheme": "w4a8",
            "target": "cpu",
            "ranges": "auto",
            "weights": "per-channel",
            "keep_float": [],
            "input_type": None,
            "output_type": None,
            "seed": 0,
            "calibration_samples": 500,
            "input_shape": None,
            "remedies": None,
            "max_drop": 2.0,
            "min_agreement": None,
            "time_budget": 120.0,
            "device": "auto",
            "metric": None,
            "learning_samples": 2000,
            "label_weight": 0.1,
        },
        "source": {"name": "mobilenet_v3_small.keras", "sha256": "ab" * 32, "float_tflite_sha256": "cd" * 32},
        "model": {"sha256": digest, "bytes": 960000},
        "samples": {
            "calibration": {"n": 500, "fingerprint": "5378ef60" * 8},
            "report": {"n": 500, "fingerprint": "f5d1b590" * 8},
            "classes": list(CLASSES),
            "labelled": True,
            "preprocessing": {
                "pixels": [-1.0, 1.0],
                "mean": None,
                "std": None,
                "channels": "rgb",
                "resize": "stretch",
                "method": "bilinear",
                "size": [32, 32],
                "layout": "nhwc",
                "source": "images",
            },
        },
        "versions": {
            "intact": "0.1.0",
            "torch": "2.13.0+cpu",
            "numpy": "2.4.6",
            "ai-edge-litert": "2.3.0",
            "python": "3.11.7",
            "machine": "x86_64",
            "cpu": "AMD EPYC (AVX512-VNNI)",
        },
        "machine": {
            "cpu": "AMD EPYC",
            "cores": 2,
            "flags": ["avx2", "avx512_vnni"],
            "governor": None,
            "system": "Linux 6.1",
            "versions": {"intact": "0.1.0"},
            "runtimes": {"LiteRT": "2.3.0", "TFLM": None},
            "missing": {"TFLM": "tflite-micro is not installed"},
        },
        "tasks": {"logits": {"kind": "classes", "why": "the data has labels that are its classes"}},
        "measurements": measurements(),
        "criteria": criteria(),
        "verdict": {
            "status": "inconclusive",
            "limit": 2.0,
            "needs_about_n": 3500,
            "loss": measurement("", "accuracy drop", 1.2, "percentage points", -0.7756346735359773, 3.315098461988314),
        },
        "candidates": candidates(),
        "taken": "round",
        "steps": ["learned the rounding of 52 ops on 500 samples"],
        "front": ["round", "mixed", "as planned"],
        "findings": [
            {
                "kind": "slower than float",
                "message": "the integer file takes 1.18 times as long as float: XNNPACK leaves 41 CONV_2D to slower kernels",
            },
            {
                "kind": "low fidelity",
                "message": "output 'logits' is 12.2 dB true to what float's varies by, and 15 are the least that is usual",
            },
            {
                "kind": "what helps",
                "message": "What mends it: --scheme int8 gives 29.5 dB; --keep-float features.0.0 gives 17.1 dB",
            },
        ],
    }


def older() -> dict[str, Any]:
    """What a run wrote that knew neither criteria nor machines nor details, and had no limit."""
    document = result()
    new = {"top-5 accuracy", "cross entropy", "cross entropy increase", "size ratio", "bytes of weights"}
    document["measurements"] = [m for m in document["measurements"] if m["name"] not in new]
    for name in ("criteria", "machine"):
        del document[name]
    return document | {"verdict": None, "candidates": [], "front": [], "taken": None, "steps": []}


def _op_names() -> list[tuple[str, str]]:
    names = [("CONV_2D", "features.0.0"), ("HARD_SWISH", "features.0.2")]
    for block in range(1, 12):
        names += [("CONV_2D", f"features.{block}.expand"), ("DEPTHWISE_CONV_2D", f"features.{block}.depthwise")]
        if block > 3:
            names += [
                ("MEAN", f"features.{block}.squeeze"),
                ("CONV_2D", f"features.{block}.excite"),
                ("MUL", f"features.{block}.scale"),
            ]
        names += [("CONV_2D", f"features.{block}.project"), ("ADD", f"features.{block}.add")][: 2 if block % 2 else 1]
    return [
        *names,
        ("MEAN", "pool"),
        ("FULLY_CONNECTED", "classifier.0"),
        ("FULLY_CONNECTED", "classifier.3"),
        ("SOFTMAX", "softmax"),
    ]


def _bell(dice: random.Random, middle: float, width: float, total: int) -> list[int]:
    at = [(-1 + (2 * n + 1) / 128 - middle) / width for n in range(128)]
    return [int(total * math.exp(-0.5 * x * x) * dice.uniform(0.85, 1.15) / (64 * width * 2.5)) for x in at]


def _binned(counts: list[int], levels: int) -> list[int]:
    """Counts where only ``levels`` places of the range can be taken."""
    made = [0] * len(counts)
    for n, count in enumerate(counts):
        made[min(round(round(n / (len(counts) - 1) * (levels - 1)) / (levels - 1) * (len(counts) - 1)), len(counts) - 1)] += (
            count
        )
    return made


def thumbnail(color: tuple[int, int, int]) -> str:
    picture = Image.new("RGB", (48, 48), color)
    for n in range(48):
        picture.putpixel((n, (n * 7) % 48), (255, 255, 255))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def details(many: int = 1) -> dict[str, Any]:
    """Details of the run that :func:`result` is of; ``many`` times its ops."""
    dice = random.Random(0)
    ops: list[dict[str, Any]] = []
    tensors: list[dict[str, Any]] = []
    side, channels = 32, 16
    for n, (kind, name) in enumerate(_op_names() * many):
        weighted = kind in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
        if n % 9 == 8:
            side, channels = max(side // 2, 2), min(channels * 2, 128)
        made, weight = 3 * n + 2, 3 * n + 1
        shape = [1, 10] if name in {"classifier.3", "softmax"} else [1, side, side, channels]
        parameters = channels * (9 if kind == "DEPTHWISE_CONV_2D" else channels) if weighted else 0
        macs = parameters * side * side
        share = dice.paretovariate(0.9)
        ops.append(
            {
                "op": f"{kind} '{name}'",
                "kind": kind,
                "output": made,
                "reads": [made - 3, *([weight] if weighted else [])],
                "shape": shape,
                "macs": macs,
                "parameters": parameters,
                "weight_bits": 4 if weighted else None,
                "bytes": parameters // 2,
                "noise_share": share,
                "spared": dice.uniform(0, 0.4) if weighted else None,
                "sqnr_simulated": 34 - n * 0.3 + dice.gauss(0, 1.5),
                "sqnr_runtime": None if n % 17 == 5 else 34 - n * 0.3 + dice.gauss(0, 1.5),
                "sqnr_own": "inf" if kind == "ADD" else 36 + dice.gauss(0, 3),
                "ms": 0.002 + macs / 2e7 * dice.uniform(0.6, 1.4),
                "live_bytes": 2 * math.prod(shape),
            }
        )
        bell = _bell(dice, 0.0, dice.uniform(0.1, 0.4), 200000)
        if weighted:
            scale = [dice.uniform(0.08, 0.15) for _ in range(4)]
            tensors.append(
                {
                    "id": weight,
                    "name": f"{name}/weight",
                    "role": "weight",
                    "op": ops[-1]["op"],
                    "shape": [channels, 1, 1, channels],
                    "dtype": "int4",
                    "scale": scale,
                    "zero_point": [0],
                    "axis": 0,
                    "low": -0.98,
                    "high": 0.99,
                    "grid_low": -8 * max(scale),
                    "grid_high": 7 * max(scale),
                    "clipped": 0.0004,
                    "histogram": {"low": -1.0, "high": 1.0, "float": bell, "integer": _binned(bell, 16)},
                }
            )
            tensors.append(
                {
                    "id": weight + 10000,
                    "name": f"{name}/bias",
                    "role": "bias",
                    "op": ops[-1]["op"],
                    "shape": [channels],
                    "dtype": "int32",
                    "scale": [0.0001],
                    "zero_point": [0],
                    "axis": None,
                    "low": -1.2,
                    "high": 2.1,
                    "grid_low": -214748.0,
                    "grid_high": 214748.0,
                    "clipped": 0.0,
                    "histogram": None,
                }
            )
        bell = _bell(dice, dice.uniform(-0.6, 0.1), dice.uniform(0.1, 0.4), 400000)
        tensors.append(
            {
                "id": made,
                "name": name,
                "role": "output" if name == "softmax" else "activation",
                "op": ops[-1]["op"],
                "shape": shape,
                "dtype": "int8",
                "scale": [0.0078],
                "zero_point": [-3],
                "axis": None,
                "low": -1.1,
                "high": 1.3,
                "grid_low": -1.0,
                "grid_high": 0.989,
                "clipped": dice.choice([0.0, 0.0001, 0.012]),
                "histogram": {"low": -1.0, "high": 1.0, "float": bell, "integer": _binned(bell, 100)},
            }
        )
    total = sum(op["noise_share"] for op in ops)
    for op in ops:
        op["noise_share"] /= total
    buffers = [
        {
            "tensor": op["output"],
            "name": op["op"].split("'")[1],
            "bytes": math.prod(op["shape"]),
            "first": n,
            "last": min(n + (5 if n % 6 == 1 else 1), len(ops) - 1),
        }
        for n, op in enumerate(ops)
    ]
    live = [sum(b["bytes"] for b in buffers if b["first"] <= n <= b["last"]) for n in range(len(ops))]
    right = [[46, 48, 41, 33, 42, 36, 45, 44, 46, 44], [46, 47, 41, 24, 42, 38, 45, 44, 47, 45]]

    def confusion(diagonal: list[int]) -> list[list[int]]:
        rows = []
        for i, kept in enumerate(diagonal):
            row = [0] * len(CLASSES)
            row[i] = kept
            for _ in range(50 - kept):
                row[dice.choice([j for j in range(len(CLASSES)) if j != i])] += 1
            rows.append(row)
        return rows

    shown = [
        {
            "sample": f"photos/{CLASSES[n % 10]}/{n:04}.jpg",
            "label": n % 10,
            "float": n % 10 if n % 3 else (n + 3) % 10,
            "quantized": (n + 5) % 10,
            "float_score": 0.6 - n / 100,
            "quantized_score": 0.45 + n / 100,
            "thumbnail": None if n == 7 else thumbnail((20 * n % 255, 90, 200 - 10 * n)),
        }
        for n in range(12)
    ]
    return {
        "schema": "intact-details/1",
        "model_sha256": hashlib.sha256(MODEL).hexdigest(),
        "ops": ops,
        "tensors": tensors,
        "memory": {"live": live, "peak": max(live), "buffers": buffers},
        "latency": {
            "float": [0.61 + dice.gauss(0, 0.03) for _ in range(29)],
            "quantized": [0.70 + abs(dice.gauss(0, 0.04)) for _ in range(29)],
            "how": "29 blocks in turns",
        },
        "classes": {
            "output": "logits",
            "names": list(CLASSES),
            "n": [50] * 10,
            "float": right[0],
            "quantized": right[1],
            "confusion_float": confusion(right[0]),
            "confusion_quantized": confusion(right[1]),
        },
        "changed": {"n": 31, "of": 500, "shown": shown},
        "sizes": {"weights": 721000, "biases": 104279, "quantization": 103888, "constants": 140, "structure": 30693},
    }


def study() -> dict[str, Any]:
    """A study of five variants, one more of which failed."""
    base = {m["name"]: m for m in measurements() if m["of"] != "float"}

    def figures(drop: float, size: int, ms: float) -> dict[str, Any]:
        new = {
            "accuracy drop": (drop, drop - 0.6, drop + 0.7),
            "top-1 accuracy": (85.0 - drop, 82.1, 88.0),
            "file size": (size, None, None),
            "size ratio": (6222796 / size, None, None),
            "latency": (ms, ms * 0.98, ms * 1.03),
            "peak live activations": (156960, None, None),
            "throughput at batch 32": (1000 / ms * 1.7, None, None),
        }
        unit = {name: base[name]["unit"] if name in base else "samples/s" for name in new}
        std = {"latency": ms * 0.01}
        return {
            name: {
                "value": v,
                "unit": unit[name],
                "low": a,
                "high": b,
                "mean": v,
                "std": std.get(name),
                "n": 5,
                "how": "5 runs",
            }
            for name, (v, a, b) in new.items()
        }

    def row(scheme: str, target: str, drop: float, size: int, ms: float) -> dict[str, Any]:
        about = {"model": "mobilenet_v3_small.keras", "scheme": scheme, "target": target, "weights": "per-channel"}
        about |= {
            "remedies": "plain",
            "calibration_samples": 500,
            "status": "done",
            "why": None,
            "runs": [f"{scheme}-{target}"],
        }
        judged = criteria() if scheme == "w4a8" else criteria()[1:3]
        return {"name": f"mobilenet {scheme} {target}", **about, "figures": figures(drop, size, ms), "criteria": judged}

    rows = [
        row("float16", "cpu", 0.0, 3120000, 0.62),
        row("int8", "cpu", 0.2, 1720000, 0.31),
        row("w4a8", "cpu", 1.2, 960000, 0.70),
        row("int8", "mcu", 0.3, 1700000, 4.1),
        row("int16x8", "cpu", 0.02, 1840000, 1.9),
    ]
    failed = {"status": "failed", "why": "TensorFlow Lite Micro has no kernel for 4-bit CONV_2D", "figures": {}, "criteria": []}
    rows.append({**rows[0], "name": "mobilenet w4a8 mcu", "scheme": "w4a8", "target": "mcu", **failed})
    cells = [
        {**row, "row": row["name"], "threads": 1, "seed": 0, "repeat": 0, "run": None, "measurements": measurements()}
        for row in rows
    ]
    taken = {
        "taken": "mobilenet int8 cpu",
        "why": "of 3 that pass every criterion it is the fastest: 0.31 ms, 1,720,000 bytes",
        "others": [{"name": "mobilenet w4a8 cpu", "why": "fails peak memory <= 128 KiB: 156,960 bytes"}],
    }
    return {
        "schema": "intact-study/1",
        "models": ["mobilenet_v3_small.keras"],
        "machine": result()["machine"],
        "accept": ["size ratio >= 4"],
        "cells": cells,
        "rows": rows,
        "front": ["mobilenet int8 cpu", "mobilenet w4a8 cpu"],
        "decision": {**taken, "targets": {"cpu": taken}},
        "references": [
            {
                "source": "Esser et al., 2020",
                "method": "LSQ",
                "data_set": "ImageNet",
                "drop": 0.9,
                "size": 1.1e6,
                "note": None,
            }
        ],
    }


def renamed(document: Any, name: str = HOSTILE) -> Any:
    """``document`` with every text that names something made hostile; what is a word of the schema stays."""
    words = {
        "schema",
        "of",
        "figure",
        "unit",
        "status",
        "kind",
        "role",
        "dtype",
        "comparison",
        "scheme",
        "target",
        "sha256",
        "model_sha256",
        "thumbnail",
        "float_tflite_sha256",
        "fingerprint",
    }
    if isinstance(document, dict):
        return {k: v if k in words else renamed(v, name) for k, v in document.items()}
    if isinstance(document, list):
        return [renamed(each, name) for each in document]
    return f"{document} {name}" if isinstance(document, str) and document not in ("inf", "-inf", "nan") else document


def hostile() -> tuple[dict[str, Any], dict[str, Any]]:
    """Result and details in which every name is :data:`HOSTILE`; figures keep their names, so that they are found."""
    document = renamed(result())
    document["measurements"] = measurements()
    for m in document["measurements"]:
        m["how"] = HOSTILE
    return document, renamed(details())


def write_run(folder: Path, document: dict[str, Any], more: dict[str, Any] | None = None) -> Path:
    """The folder of a finished run."""
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(MODEL)
    (folder / "plan.json").write_text("{}")
    (folder / "result.json").write_text(json.dumps(document))
    if more is not None:
        (folder / "details.json").write_text(json.dumps(more))
    return folder
