"""Runs many small .tflite files in one child process, so that a kernel's abort is a result and not the end of the tests.

As a script: ``python run_files.py FOLDER FIRST RUNTIME`` runs FOLDER/0.tflite, 1.tflite, … from FIRST on, inputs from 0.npz,
outputs to 0.RUNTIME.npz or an error's text to 0.RUNTIME.txt. RUNTIME is default, reference or tflm.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np


def outputs(files, inputs, folder, runtime):
    """For each file its outputs as stored, in order, or the text of what went wrong."""
    for n, (data, given) in enumerate(zip(files, inputs, strict=True)):
        (folder / f"{n}.tflite").write_bytes(data)
        np.savez(folder / f"{n}.npz", *given)
    first = 0
    while first < len(files):
        command = [sys.executable, __file__, str(folder), str(first), runtime]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        done = [n for n in range(len(files)) if _results(folder, n, runtime)]
        if ended.returncode != 0:
            lost = max(done, default=-1) + 1
            (folder / f"{lost}.{runtime}.txt").write_text(f"the process died: {ended.stderr.strip()[-300:]}")
            done.append(lost)
        first = max(done, default=first) + 1
    found = []
    for n in range(len(files)):
        result = _results(folder, n, runtime)[0]
        if result.suffix == ".txt":
            found.append(result.read_text())
        else:
            with np.load(result) as arrays:
                found.append([arrays[name] for name in arrays.files])
    return found


def _results(folder, n, runtime):
    return sorted(folder.glob(f"{n}.{runtime}.npz")) or sorted(folder.glob(f"{n}.{runtime}.txt"))


def _litert(data, given, kernels):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415  # in the child process only

    resolver = OpResolverType.BUILTIN_REF if kernels == "reference" else OpResolverType.AUTO
    net = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
    net.allocate_tensors()
    for port, x in zip(net.get_input_details(), given, strict=True):
        net.set_tensor(port["index"], x)
    net.invoke()
    return [net.get_tensor(port["index"]) for port in net.get_output_details()]


def _tflm(data, given):
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415  # in the child process only
    from tflite_micro import runtime  # noqa: PLC0415

    net = runtime.Interpreter.from_bytes(data, arena_size=1 << 24)
    outputs = schema.Model.GetRootAs(data).Subgraphs(0).OutputsLength()
    times = len(given[0]) // net.get_input_details(0)["shape"][0]
    made = []
    for part in zip(*(np.split(x, times) for x in given), strict=True):
        for i, x in enumerate(part):
            net.set_input(x, i)
        net.invoke()
        made.append([net.get_output(i) for i in range(outputs)])
    return [np.concatenate(parts) for parts in zip(*made, strict=True)]


def main(folder, first, runtime):
    n = first
    while (folder / f"{n}.tflite").exists():
        with np.load(folder / f"{n}.npz") as arrays:
            given = [arrays[name] for name in arrays.files]
        data = (folder / f"{n}.tflite").read_bytes()
        try:
            made = _tflm(data, given) if runtime == "tflm" else _litert(data, given, runtime)
            np.savez(folder / f"{n}.{runtime}.npz", *made)
        except Exception as error:  # whatever a runtime says is the result
            (folder / f"{n}.{runtime}.txt").write_text(f"{type(error).__name__}: {error}")
        n += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
