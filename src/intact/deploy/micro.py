"""What TensorFlow Lite Micro runs: the real one is asked where it is installed, in a child process, else a table of kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final, final

from intact import scratch
from intact.data import Finding
from intact.errors import ChildError, UnsupportedError, located
from intact.formats import tflite
from intact.formats.tflite import op_codes
from intact.network.graph import Graph, Op
from intact.network.shapes import infer, macs
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.planning.targets import target as target_named
from intact.runtime import child
from intact.runtime.confinement import Confinement


@final
@dataclass(frozen=True)
class Kernel:
    """What the kernel of one op kind takes: ``types`` as :func:`types` spells them, and tensors of up to ``rank`` axes."""

    types: frozenset[str]
    rank: int = 8


def _rows(types: str, kinds: str, rank: int = 8) -> dict[str, Kernel]:
    return {kind: Kernel(frozenset(types.split()), rank) for kind in kinds.split()}


#: Every kernel that gives right numbers, by op kind. What is not here is refused by the runtime or comes out wrong there.
#: Measured with tflite-micro 0.dev20261023 on files of one op each, and measured again by tests/deploy/test_micro.py wherever
#: the wheel is installed. Op versions are not looked at by the runtime.
KERNELS: Final[Mapping[str, Kernel]] = {
    **_rows("float32 int8 int16", "ABS AVERAGE_POOL_2D CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED"),
    **_rows("float32 int8 int16", "LEAKY_RELU LOGISTIC MAX_POOL_2D MEAN RELU RESIZE_NEAREST_NEIGHBOR RSQRT SELECT_V2"),
    **_rows("float32 int8 int16", "SOFTMAX SUM TANH TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM"),
    **_rows("float32 int8 int16", "BATCH_MATMUL TRANSPOSE", rank=5),
    **_rows("float32 int8", "DEPTH_TO_SPACE ELU GATHER HARD_SWISH LOG_SOFTMAX MIRROR_PAD REDUCE_MAX REDUCE_MIN"),
    **_rows("float32 int8", "EMBEDDING_LOOKUP GATHER_ND RESIZE_BILINEAR SPACE_TO_DEPTH"),
    **_rows("float32 int8", "BATCH_TO_SPACE_ND L2_NORMALIZATION PRELU", rank=4),
    **_rows("int8>int32 float32>int32", "ARG_MAX ARG_MIN"),
    **_rows("float32 int8 int16 int32", "ADD MUL SPLIT SPLIT_V SUB UNPACK"),
    **_rows("float32 int8 int16 int32", "PAD PADV2", rank=5),
    **_rows("float32 int8 int16 int32 bool", "SLICE", rank=5),
    **_rows("float32 int8 int16 int32 bool", "STRIDED_SLICE", rank=4),
    **_rows("float32 int8 int16 int32 int64", "MAXIMUM MINIMUM PACK"),
    **_rows("float32 int8 int16 int32 int64 bool", "CONCATENATION"),
    **_rows("float32 int8 int16 int32 int64 uint8 bool", "RESHAPE REVERSE_V2 SQUEEZE"),
    **_rows("float32 int8 int16 int32 int64 uint8 bool", "BROADCAST_TO", rank=5),
    **_rows("float32 int8 int32", "SQUARED_DIFFERENCE"),
    **_rows("float32", "ADD_N CEIL COS CUMSUM EXP FLOOR FLOOR_DIV FLOOR_MOD LOG NEG RELU6 ROUND SIN SQRT SQUARE"),
    **_rows("float32 int32 int64", "ZEROS_LIKE"),
    **_rows("float32 int32", "DIV"),
    **_rows("float32>bool int32>bool int64>bool", "GREATER GREATER_EQUAL LESS LESS_EQUAL"),
    **_rows("float32>bool int32>bool int64>bool bool", "EQUAL NOT_EQUAL"),
    **_rows("bool", "LOGICAL_AND LOGICAL_NOT LOGICAL_OR"),
    **_rows("float32 int32 bool float32>int32 float32>bool int32>float32 int32>bool bool>float32 bool>int32", "CAST"),
    **_rows("float32>int8 float32>int16 int8 int8>uint8 int8>int16 int16>int8 int16 uint8>int8", "QUANTIZE"),
    **_rows("int8>float32 int16>float32 uint8>float32", "DEQUANTIZE"),
    **_rows("float32>int32 int8>int32 int16>int32 int32 int64>int32 uint8>int32 bool>int32", "SHAPE"),
}

#: Bytes beyond the tensors that an op and a tensor may take: node data, quantization parameters, scratch buffers.
_PER_TENSOR: Final = 1 << 12
_ARENA: Final = 1 << 22
#: Multiply-accumulates beyond which the file is only allocated, not run: its plain kernels do some 200 million a second.
_LONGEST: Final = 10_000_000_000
_SILENCE: Final = 300.0


@final
@dataclass(frozen=True)
class Answer:
    """How it is known that a file runs: ``asked`` the runtime itself, or by the table because the wheel is not there."""

    asked: bool

    @property
    def advice(self) -> str:
        """What to do to be surer; empty where nothing is."""
        if self.asked:
            return ""
        return (
            "checked against a table of TensorFlow Lite Micro's kernels, as the runtime is not installed here; "
            "type: pip install tflite-micro (Linux), and the file is run in it"
        )


def check(graph: Graph, target: str) -> tuple[Finding, ...]:
    """That the runtime of ``target`` takes the network, as :func:`require` says, and what is to be known of that."""
    if not target_named(target).micro:
        return ()
    advice = require(graph, tflite.write(graph)).advice
    return (Finding("not run on device", advice),) if advice else ()


def require(graph: Graph, data: bytes, instead: str = "--target cpu") -> Answer:
    """That TensorFlow Lite Micro runs the file ``data``, which was written from ``graph``.

    UnsupportedError names the op, its output tensor, the runtime's own reason and what to do, or to type ``instead``.
    """
    advice = f"change the model, or type {instead}"
    answer = _ask(graph, data, advice)
    if answer is None:
        for op, why in refusals(graph):
            raise _refused(graph.label(op), why, advice)
    return Answer(answer is not None)


def refusals(graph: Graph) -> Iterator[tuple[Op, str]]:
    """The ops that the table does not hold, in order, and why."""
    shapes = infer(graph)
    for op in graph.ops:
        kernel, wanted = KERNELS.get(op.kind.name), types(graph, op)
        if kernel is None:
            yield op, "it has no such op"
        elif wanted not in kernel.types:
            yield op, f"its kernel does not take {wanted.replace('>', ' to ')}"
        elif (rank := max(len(shapes[i]) for i in (*op.reads, *op.outputs))) > kernel.rank:
            yield op, f"its kernel takes at most {kernel.rank} axes, and this has {rank}"


def types(graph: Graph, op: Op) -> str:
    """What an op computes on: ``int8`` where it gives what it takes, ``int8>int32`` where it does not.

    It is what the first input stores that is neither constant nor a condition; a quantized or float one before an index.
    ``float32 with int8`` are weights that a kernel would have to bring to the activations' format by itself.
    """
    flows = [graph[i] for i in op.reads if not graph[i].is_constant] or [graph[i] for i in op.reads]
    real = [t for t in (*flows, *(graph[i] for i in op.reads)) if t.is_float or isinstance(t.format, Affine)]
    whole = [t for t in flows if t.format.dtype != "bool"] or flows
    given, made = (real or whole)[0].format.dtype, graph[op.output].format.dtype
    found = weighted(graph, op)
    if found is not None and isinstance(found.weight.format, Affine) and given.startswith("float"):
        return f"{given} with {found.weight.format.dtype}"
    return given if given == made else f"{given}>{made}"


def _ask(graph: Graph, data: bytes, advice: str) -> bool | None:
    """True: it ran. None: there is no runtime to ask. UnsupportedError: it was refused, or a kernel died of it."""
    with scratch.folder() as folder:
        model, log = folder / "model.tflite", folder / "log.txt"
        model.write_bytes(data)
        log.touch()
        shapes = infer(graph)
        held = sum(4 * prod(shape) for i, shape in shapes.items() if not graph[i].is_constant)
        request = {
            "model": str(model),
            "log": str(log),
            "inputs": len(graph.inputs),
            "arena": 2 * held + _PER_TENSOR * len(graph.tensors) + _ARENA,
            "invoke": macs(graph) <= _LONGEST,
        }
        try:
            confined = Confinement(writes=(log,))
            stage = child.call("tflm_check.py", request, what="TensorFlow Lite Micro", timeout=_SILENCE, confinement=confined)
        except ChildError as error:
            said = log.read_text(errors="replace")
            with located(_named(graph, data, said) or "the model"):
                raise UnsupportedError(f"{error.message}{_in_brackets(said)}; {advice}") from error
        said = log.read_text(errors="replace")
    if "missing" in stage:
        return None
    if stage["stage"] == "ran":
        return True
    if stage["stage"] == "arena":
        raise UnsupportedError(f"TensorFlow Lite Micro finds no room for it{_in_brackets(said)}; {advice}")
    raise _refused(_named(graph, data, said) or "the model", _reason(said), advice)


def _refused(where: str, why: str, advice: str) -> UnsupportedError:
    return UnsupportedError(f"{where} does not run in TensorFlow Lite Micro ({why}); {advice}")


def _named(graph: Graph, data: bytes, said: str) -> str:
    """The op that the runtime's words are about: by its number in the file ``data``, where ops that keep states and decode
    weights stand between the graph's; else the first of its kind.
    """
    numbered = re.search(r"Node (\S+) \(number (\d+)f?\) failed", said)
    kind = re.search(r"op(?:code| code)? '?([A-Z][A-Z0-9_]+)'?", said)
    name = numbered[1] if numbered else kind[1] if kind else ""
    before = op_codes.main_ops(data)[: int(numbered[2])].count(name) if numbered else 0
    alike = [op for op in graph.ops if op.kind.name == name]
    return graph.label(alike[before]) if before < len(alike) else ""


def _reason(said: str) -> str:
    """The first line that says something: what comes after only passes it on."""
    lines = (re.sub(r"^\S+/kernels/", "", line.strip()) for line in said.splitlines())
    return next((line for line in lines if line), "no reason was given")


def _in_brackets(said: str) -> str:
    return f" ({_reason(said)})" if said.strip() else ""
