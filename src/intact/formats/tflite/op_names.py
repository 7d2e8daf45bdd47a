"""What users call the ops of a .tflite: the layer or module of their own network that an op was made of.

Converters string together the names of all that they fuse into one op:

- TensorFlow: ``model/act/Relu;model/bn/FusedBatchNormV3;model/conv/BiasAdd;model/conv/Conv2D`` is ``conv``,
- litert-torch: ``nets.Net/torch.nn.modules.conv.Conv2d_stem;`` is ``stem``,
- this program, from PyTorch: ``features.0.1/batch_norm;;features.0.0/conv2d;2`` is ``features.0.0``.

The last part of each is what was computed there, so the part that tells is the one that computed what the op does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from intact.network.graph import Graph, Op
from intact.network.weighted import weighted

#: Of a name as a file has it, so many characters are read; a name that is made of it is no longer than the other.
_READ, _LONGEST = 16_384, 200
#: Names that tell nothing: of calls, results, constants, and of tensors in files that keep no names.
_SAYS_NOTHING: Final = re.compile(
    r"(serving_default_.*|((Stateful)?PartitionedCall|Identity|output|arith\.constant|Const(ant)?|tfl\.[\w.]+|t\d+|)([_:]?\d+)*)"
    r"(_u?int(8|16)|_requantized|_dequantized)?"
)
#: A path of Python classes, as litert-torch writes it: ``torch.nn.modules.conv.Conv2d_0``.
_CLASS: Final = re.compile(r"(?:[^\W\d]\w*|<locals>)(?:\.(?:[^\W\d]\w*|<locals>))*\.(?P<kind>_*[^\W_]+)(?:_(?P<name>[^.]*))?")
#: What wraps a module in litert-torch, and what it calls the module.
_WRAPPER, _WRAPPED = "ChannelLastIOWrapper", "wrapped"
#: Scopes that layers of TensorFlow open inside; and those that layers may be called as well.
_INSIDE: Final = frozenset({"BiasAdd", "ReadVariableOp", "Tensordot", "batchnorm", "moments"})
_PERHAPS: Final = frozenset({"einsum", "while", "cond"})
#: What sums products, by the beginnings of words.
_WEIGHTED: Final = ("conv", "depthwise", "separable", "matmul", "linear", "addmm", "mm", "bmm", "dense", "einsum", "biasadd")
#: What is called otherwise than the op that computes it, by the beginnings of words.
_ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "AVERAGE_POOL_2D": ("avgpool", "adaptiveavg", "globalavg"),
    "CONCATENATION": ("cat",),
    "CONV_2D": ("conv",),
    "DEPTHWISE_CONV_2D": ("depthwise", "conv"),
    "FULLY_CONNECTED": ("matmul", "linear", "addmm", "mm", "dense"),
    "LOGISTIC": ("sigmoid",),
    "MAX_POOL_2D": ("maxpool", "adaptivemax"),
    "MEAN": ("adaptiveavg", "globalavg", "avgpool"),
    "RESHAPE": ("view", "flatten", "squeeze", "unsqueeze", "expand"),
    "RESIZE_BILINEAR": ("upsample", "interpolate", "resize"),
    "RESIZE_NEAREST_NEIGHBOR": ("upsample", "interpolate", "resize"),
    "TRANSPOSE": ("permute",),
    "TRANSPOSE_CONV": ("conv",),
}


@final
@dataclass(frozen=True)
class _Part:
    """One of the names in a tensor's: the layer's ``path``, empty for none, and the ``words`` for what it computes there."""

    path: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.path or self.words[0]

    def is_one_of(self, beginnings: tuple[str, ...]) -> bool:
        return any(_plain(word).startswith(beginnings) for word in self.words)

    def computes(self, kind: str) -> bool:
        plain = _plain(kind)
        words = [_plain(word) for word in self.words]
        return self.is_one_of((plain, *_ALSO.get(kind, ()))) or any(len(w) > 2 and plain.startswith(w) for w in words)


@final
@dataclass(frozen=True)
class _Called:
    """What users call an op, and what it computes there, in their framework's word for it."""

    name: str
    word: str = ""


def named(graph: Graph) -> Graph:
    """``graph`` as it was read, in which what an op makes, and its weight and bias, have the ``origin`` that users call it by.

    Ops of one kind and one name are told apart by what they compute, ``gate (mul)``, or else numbered: ``gate #2``.
    """
    parts = {t.id: tuple(_parts(t.name)) for t in graph.tensors.values()}
    root = _root(part for found in parts.values() for part in found)
    called: dict[int, _Called] = {}
    for op in graph.ops:
        found = _called(graph, op, {i: _below(root, parts[i]) for i in (*op.reads, *op.outputs)})
        found = found or _at_an_end(graph, op, called)
        if found is not None and found.name:
            called[op.output] = found
    origins = _told_apart(graph, called)
    for op in graph.ops:
        name, held = origins.get(op.output, ""), weighted(graph, op)
        if name:
            origins |= {i: f"{name}:{n}" for n, i in enumerate(op.outputs) if n}
        for t, role in ((held.weight, "weight"), (held.bias, "bias")) if name and held else ():
            if t is not None and t.is_constant:
                origins.setdefault(t.id, f"{name}/{role}")
    return replace(graph, tensors={i: replace(t, origin=origins.get(i, t.origin)) for i, t in graph.tensors.items()})


def _told_apart(graph: Graph, called: Mapping[int, _Called]) -> dict[int, str]:
    """A name for each op, by its first output, that no other op of its kind has."""
    groups = defaultdict[tuple[str, str], list[int]](list)
    for op in graph.ops:
        if op.output in called:
            groups[op.kind.name, called[op.output].name].append(op.output)
    names: dict[int, str] = {}
    for (_, name), outputs in groups.items():
        kept = name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
        words = [called[i].word for i in outputs]
        if len(outputs) > 1 and all(words) and len(set(words)) == len(words):
            names |= {i: f"{kept} ({word[:_LONGEST]})" for i, word in zip(outputs, words, strict=True)}
        else:
            names |= {i: f"{kept} #{n}" if n > 1 else kept for n, i in enumerate(outputs, 1)}
    return names


def _called(graph: Graph, op: Op, parts: Mapping[int, tuple[_Part, ...]]) -> _Called | None:
    """What users call ``op``, None where nothing tells it; ``parts``: those of the names of what it reads and makes."""
    own, found, kind = parts[op.output], weighted(graph, op), op.kind.name
    if found is None:
        best = max(own, key=lambda part: (part.computes(kind), not part.is_one_of(_WEIGHTED)), default=None)
    else:
        held = next((parts[t.id] for t in (found.weight, found.bias) if t is not None and t.is_constant and parts[t.id]), ())
        paths = {part.path for part in held}
        some = (*own, *held)  # an output of the network may be called after what was fused alone
        best = max(some, key=lambda part: (part.computes(kind), part.is_one_of(_WEIGHTED), part.path in paths), default=None)
    return None if best is None else _Called(best.name, re.sub(r"(_\d+)+$", "", best.words[0]))


def _at_an_end(graph: Graph, op: Op, called: Mapping[int, _Called]) -> _Called | None:
    """What an op whose own name tells nothing has to do with: the output of the network that it makes, else what it reads."""
    inputs = {i: t for i, t in zip(graph.inputs, graph.input_names, strict=True) if not _SAYS_NOTHING.fullmatch(t)}
    output = dict(zip(graph.outputs, graph.output_names, strict=True)).get(op.output, "")
    if output and not _SAYS_NOTHING.fullmatch(output):
        return _Called(output)
    if weighted(graph, op) is not None or not (output or set(graph.inputs).intersection(op.reads)):
        return None
    read = next((i for i in op.reads if not graph[i].is_constant), None)
    return None if read is None else called.get(read) or _Called(inputs.get(read, ""))


def _parts(name: str) -> Iterator[_Part]:
    """What tells something in a tensor's name, in order."""
    for text in name[:_READ].split(";"):
        if not text or _SAYS_NOTHING.fullmatch(text):
            continue
        classes = [_CLASS.fullmatch(component) for component in text.split("/")]
        part = _of_scopes(text) if None in classes else _of_classes([found for found in classes if found is not None])
        if part is not None:
            yield part


def _of_classes(found: list[re.Match[str]]) -> _Part:
    """The path of attributes, from a path of classes; the outermost has none."""
    names = [str(component["name"] or "").partition("@")[0] for component in found]
    if found[0]["kind"] == _WRAPPER and names[1:2] == [_WRAPPED]:
        names[1] = ""
    return _Part(".".join(filter(None, names)), (found[-1]["kind"],))


def _of_scopes(text: str) -> _Part | None:
    """The layer, from a path of scopes with an operation at its end."""
    scopes = [scope for scope in text.split("/") if scope.isdecimal() or not _SAYS_NOTHING.fullmatch(scope)]
    if not scopes:
        return None
    words = [scopes.pop()]
    while scopes and (
        (scopes[-1] in _INSIDE and len(scopes) > 1) or (re.sub(r"_\d+$", "", scopes[-1]) in _PERHAPS and len(scopes) > 2)
    ):
        words.insert(0, scopes.pop())
    if len(scopes) > 1 and scopes[-1] == scopes[-2]:  # separable_conv2d/separable_conv2d/depthwise
        scopes.pop()
    return _Part("/".join(scopes), tuple(words))


def _root(parts: Iterable[_Part]) -> str:
    """The scope that all others lie in, the model's own name; empty where there is none."""
    paths = {part.path for part in parts if part.path}
    first = {path.partition("/")[0] for path in paths}
    return f"{first.pop()}/" if len(first) == 1 and any("/" in path for path in paths) else ""


def _below(root: str, parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    return tuple(replace(part, path=f"{part.path}/".removeprefix(root).removesuffix("/")) if root else part for part in parts)


def _plain(word: str) -> str:
    """``Conv2D_1`` and ``CONV_2D`` -> ``conv2d``."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(_\d+)+$", "", word).lower())
