"""A stand-in for LiteRT's benchmark_model, for tests: it takes its options and prints its lines, as its documentation has them.

``argv[1]`` is a made-up ELF file whose tail says in JSON how it behaves: {"how": "litert"} times the model in LiteRT's
interpreter, {"how": "fixed"} says a time that follows from the model's size, others fail in their way.
"""

import importlib
import json
import os
import site
import struct
import sys
import time
from pathlib import Path

KNOWN = {"graph", "num_threads", "warmup_runs", "warmup_min_secs", "num_runs", "min_secs", "max_secs", "use_xnnpack", "help"}


def say(text, kind="INFO"):
    sys.stderr.write(f"{kind}: {text}\n")
    sys.stderr.flush()


def invoker(how, graph):
    """What runs the model once and gives the microseconds that it took."""
    if how == "litert":
        site.main()  # Python was started without packages, which is faster
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(graph, num_threads=1)
        interpreter.allocate_tensors()

        def once():
            start = time.monotonic_ns()
            interpreter.invoke()
            return (time.monotonic_ns() - start) // 1000

        return once

    def once():
        time.sleep(0.001)
        return max(1, Path(graph).stat().st_size // 10)

    return once


def mean(times):
    return sum(times) / len(times)


def statistics_of(times, old):
    middle = mean(times)
    spread = mean([(each - middle) ** 2 for each in times]) ** 0.5
    line = f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} "
    line += f"avg={middle:g} std={spread:.0f}"
    if min(times) == max(times):
        line = f"count={len(times)} curr={times[-1]}" + "(all same)" * (len(times) > 1)
    ordered = sorted(times)
    at = {p: ordered[min(len(times) * p // 100, len(times) - 1)] for p in (5, 50, 95)}
    return line if old else f"{line} p5={at[5]} median={at[50]} p95={at[95]}"


def run(once, least, seconds, most, old):
    say(f"Running benchmark for at least {least} iterations and at least {seconds:g} seconds but terminate if exceeding "
        f"{most:g} seconds.")  # fmt: skip
    times, start = [], time.monotonic()
    while (len(times) < least or time.monotonic() - start < seconds) and time.monotonic() - start <= most:
        times.append(once())
    say(statistics_of(times, old) + "\n")
    return times


def main():
    data = Path(sys.argv[1]).read_bytes()
    (machine,) = struct.unpack_from("<H", data, 18)
    asked = json.loads(data[20:])
    if machine != asked.get("runs", 183):
        sys.stderr.write(f"/system/bin/sh: {sys.argv[1]}: not executable: 64-bit ELF file\n")
        raise SystemExit(126)
    given = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[2:])
    how = asked["how"]
    if how == "mute":
        raise SystemExit(0)
    say("STARTING!")
    if "help" in given:
        say("usage: benchmark_model <flags>\nFlags:\n\t--graph=\tstring\trequired\tgraph file name", "ERROR")
        raise SystemExit(1)
    unknown = sorted(given.keys() - (KNOWN - {"use_xnnpack"} if how == "ancient" else KNOWN))
    if unknown:
        say(f"Unconsumed cmdline flags: {' '.join(f'--{name}={given[name]}' for name in unknown)}", "WARN")
    graph = given["graph"]
    say(f"Num threads: [{given['num_threads']}]")
    say(f"Graph: [{graph}]")
    if how == "hang":
        time.sleep(600)
    if how == "abort":
        os.abort()
    if how == "chatty":
        raise SystemExit(0)
    if how == "refuse" or Path(graph).read_bytes()[4:8] != b"TFL3":
        say("Didn't find op for builtin opcode 'CONV_2D' version '99'.", "ERROR")
        say("Benchmarking failed.", "ERROR")
        raise SystemExit(1)
    say(f"Loaded model {graph}")
    once, most, old = invoker(how, graph), float(given["max_secs"]), how == "old"
    say("Created TensorFlow Lite XNNPACK delegate for CPU.")
    say("Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.")
    say("Initialized session in 1.234ms.")
    warm = run(once, int(given["warmup_runs"]), float(given["warmup_min_secs"]), most, old)
    times = run(once, int(given["num_runs"]), float(given["min_secs"]), most, old)
    say(f"Inference timings in us: Init: 1234, First inference: {warm[0]}, Warmup (avg): {mean(warm):g}, "
        f"Inference (avg): {mean(times):g}")  # fmt: skip
    say("Memory footprint delta from the start of the tool (MB): init=1.5 overall=2.25")


main()
