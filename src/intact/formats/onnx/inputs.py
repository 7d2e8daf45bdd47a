"""What a network is given: sizes that a model leaves open, and whether images come channels first or last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from intact.errors import OptionError, UnsupportedError
from intact.formats.onnx import activations, arithmetic
from intact.formats.onnx.build import Order, Shape
from intact.formats.onnx.document import Network, Port
from intact.ops.call import bounded

#: Sizes without the batch, or by input.
InputShape: TypeAlias = Sequence[int] | Mapping[str, Sequence[int]]

_LAST: Final[Order] = (0, 2, 3, 1)
_PLAIN: Final[Order] = (0, 1, 2, 3)
#: Ops that take images channels first, and tell so what the network is given.
_FIRST: Final = frozenset(
    {
        "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization",
        "InstanceNormalization", "GroupNormalization", "LRN", "DepthToSpace", "SpaceToDepth",
    }
)  # fmt: skip
#: Ops that leave axes where they are.
_PASSING: Final = frozenset({*activations.ROWS, *arithmetic.ROWS, "Pad", "Identity", "Dropout", "Slice", "Split", "Concat"})


#: Ops whose first input has time on its first axis, unless their ``layout`` says otherwise.
_IN_TIME: Final = frozenset({"LSTM", "GRU", "RNN"})


def shapes(network: Network, given: InputShape | None) -> dict[str, Shape]:
    """The shape of each input for one sample. Raises OptionError with what to type where a size is open, UnsupportedError where
    that is time, or an input is what an op's constants should be.
    """
    for port in network.inputs:
        _check_use(network, port)
    if isinstance(given, Mapping):
        if unknown := sorted(given.keys() - {port.name for port in network.inputs}):
            names = ", ".join(repr(port.name) for port in network.inputs)
            raise OptionError(f"the model has no input {unknown[0]!r}; its inputs are {names}")
        return {port.name: _shape(port, given.get(port.name), named=True) for port in network.inputs}
    if given is not None and len(network.inputs) > 1:
        raise OptionError(
            f"the model has {len(network.inputs)} inputs; type --input-shape for each by name, as in "
            f"{_typed(network.inputs[0], named=True)}"
        )
    return {port.name: _shape(port, given, named=len(network.inputs) > 1) for port in network.inputs}


def _check_use(network: Network, port: Port) -> None:
    """UnsupportedError for an open first axis that is no batch, and for weights that are given from outside."""
    reached = {port.name}  # what has its axes where the input has them
    for node in network.nodes:
        if node.op in _PASSING and not reached.isdisjoint(node.inputs):
            reached.update(node.outputs)
        if port.name in node.inputs[1:] and node.op in {"Conv", "ConvTranspose"}:
            raise UnsupportedError(
                f"its input {port.name!r} is what {node.op} {node.name or node.outputs[0]!r} multiplies with; "
                "export the model with its weights stored inside"
            )
        in_time = node.op in _IN_TIME and not node.attributes.get("layout") and node.inputs[0] in reached
        if in_time and port.shape and _open(port.shape[0]):
            raise UnsupportedError(
                f"its input {port.name!r} of shape {_said(port)} has time on the open first axis, where samples are counted; "
                "export the model with a fixed number of steps and the batch first (batch_first=True in PyTorch)"
            )


def _shape(port: Port, given: Sequence[int] | None, *, named: bool) -> Shape:
    sizes = list(port.shape)
    if given is not None:
        fits = len(given) == len(sizes) - 1 and all(_open(n) or n == g for n, g in zip(sizes[1:], given, strict=True))
        if not fits:
            raise OptionError(
                f"the input {port.name!r} has the shape {_said(port)}, which {','.join(map(str, given))} does not fit; leave "
                f"the batch out, as in {_typed(port, named=named)}"
            )
        sizes = [sizes[0], *given]
    if sizes and _open(sizes[0]):
        sizes[0] = 1
    if any(_open(n) for n in sizes):
        raise OptionError(
            f"the input {port.name!r} leaves sizes open, {_said(port)}; type them without the batch, as in "
            f"{_typed(port, named=named)}"
        )
    shape = bounded(tuple(int(n) for n in sizes))
    if len(shape) == 4 and shape[0] > 1:
        raise UnsupportedError(f"it was exported with a fixed batch of {shape[0]}; export it with a sample of batch 1")
    return shape


def _open(size: int | str) -> bool:
    return isinstance(size, str) or size < 1


def _said(port: Port) -> str:
    return "[" + ", ".join("?" if _open(n) and not str(n).strip("0-") else str(n) for n in port.shape) + "]"


def _typed(port: Port, *, named: bool) -> str:
    """The option with the sizes that are known, and likely ones for others."""
    sizes = ",".join("224" if _open(n) else str(n) for n in port.shape[1:])
    return f"--input-shape {port.name}={sizes}" if named else f"--input-shape {sizes}"


def orders(network: Network) -> tuple[dict[str, Order], bool]:
    """How each input of four axes lies: channels last, whichever the model takes; and whether the model takes them first.

    The first op that is behind an input and counts channels tells. Where none does, the model is taken to have channels first,
    as PyTorch's have, or as TensorFlow's have them where tf2onnx wrote it.
    """
    told = {port.name: _told(network, port.name) for port in network.inputs if len(port.shape) == 4}
    has_last = _PLAIN in told.values() or (network.producer == "tf2onnx" and not any(told.values()))
    first = not has_last or _LAST in told.values()
    default = _LAST if first else _PLAIN
    return {name: order if order in (_LAST, _PLAIN) else default for name, order in told.items()}, first


def _told(network: Network, start: str) -> Order | None:
    """The order in which the first op behind an input that counts channels would have it last."""
    axes: dict[str, Order] = {start: _PLAIN}
    for node in network.nodes:
        seen = next((axes[name] for name in node.inputs if name in axes), None)
        if seen is None or not node.outputs:
            continue
        if node.op in _FIRST:
            return tuple(seen[a] for a in _LAST)
        turned = node.attributes.get("perm")
        if node.op == "Transpose" and isinstance(turned, tuple) and sorted(turned) == [0, 1, 2, 3]:
            axes[node.outputs[0]] = tuple(seen[a] for a in turned)
        elif node.op in _PASSING:
            axes |= dict.fromkeys(node.outputs, seen)
    return None
