"""Child process: a checked .pt2 exported program -> float .tflite, channels last, by litert-torch.

The request: ``{"source", "samples", "out"}``, where ``samples`` are the inputs that were taken out of the file (see
``formats/pt2_samples.py``), or None where it is our own and holds them. The answer is ``{"inputs", "outputs", "makers"}``,
names in the module's order and what makes each output, or one of ``{"corrupt": text}``, ``{"refused": text}`` and
``{"missing": module}``. Run by path; imports nothing of Intact. The archive has been inspected before (``formats/pt2.py``);
unpickling is switched off here once more.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

#: What Keras, TensorFlow or torch make: without types here, as they are imported only when called.
Foreign: TypeAlias = Any


class _RefusedError(Exception):
    """The program cannot be converted as it is; the text is fit for a user."""


class _CorruptError(Exception):
    """The file is not what its name says; the text is fit for a user."""


def main(request: dict[str, Any], _progress: object) -> dict[str, Any]:
    """Convert, or say in one sentence why not."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.simplefilter("ignore")
    try:
        import litert_torch  # noqa: F401, PLC0415

        data, answer = _converted(request["source"], request["samples"])
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    except (_RefusedError, importlib.import_module("torch_ops").RefusedError) as error:
        return {"refused": str(error)}
    except _CorruptError as error:
        return {"corrupt": str(error)}
    Path(request["out"]).write_bytes(data)
    return answer


@contextlib.contextmanager
def _no_unpickling() -> Foreign:
    """``torch.load`` with ``weights_only`` whatever the caller asks for, and no bare pickle."""
    import torch  # noqa: PLC0415

    load, loads = torch.load, pickle.loads

    def safe(*args: Foreign, **kwargs: Foreign) -> Foreign:
        return load(*args, **{**kwargs, "weights_only": True})

    def never(*_: Foreign, **__: Foreign) -> Foreign:
        raise _RefusedError("it holds pickled objects, which can run any code; export it again with torch.export.save")

    torch.load, pickle.loads = safe, never
    try:
        yield
    finally:
        torch.load, pickle.loads = load, loads


def _converted(source: str, samples: list[dict[str, Any]] | None) -> tuple[bytes, dict[str, Any]]:
    """The .tflite with the names of its inputs and outputs in the program's order, and of what makes each output."""
    import torch  # noqa: PLC0415

    with _no_unpickling():
        try:
            program = torch.export.load(source)
        except _RefusedError:
            raise
        except Exception as error:  # whatever its reader raises on a file it does not understand
            raise _CorruptError(f"torch {torch.__version__} cannot read it ({_short(error)})") from error
    program._guards_code = []  # they are Python text, and would be executed
    module = _evaluating(program.module(check_guards=False))
    call = _one_sample(module, _sample(program, _given(program) if samples is None else _read(samples)))
    names = [f"input_{i}" if name is None else name for i, name in enumerate(_input_names(program, call))]
    sample = {name: _channels_last(x) for name, x in zip(names, call.tensors, strict=True)}
    makers = importlib.import_module("torch_names").makers(module)
    module = _channels_last_module(module, call, names)
    data = _lowered(module, sample)
    wrong, outputs = _disagreement(data, module, sample)
    if wrong:
        raise _RefusedError(wrong)
    makers = makers if len(makers) == len(outputs) else [""] * len(outputs)
    return data, {"inputs": names, "outputs": outputs, "makers": dict(zip(outputs, makers, strict=True))}


@dataclass(frozen=True)
class _Call:
    """Arguments by position and by keyword, all tensors."""

    args: tuple[Foreign, ...]
    kwargs: dict[str, Foreign]

    @property
    def tensors(self) -> tuple[Foreign, ...]:
        return (*self.args, *self.kwargs.values())

    def over(self, tensors: Sequence[Foreign]) -> _Call:
        """The same call on other tensors."""
        return _Call(tuple(tensors[: len(self.args)]), dict(zip(self.kwargs, tensors[len(self.args) :], strict=True)))

    def on(self, module: Foreign) -> Foreign:
        return module(*self.args, **self.kwargs)


def _evaluating(module: Foreign) -> Foreign:
    """``module`` in evaluation mode and free of checks on its input sizes; operators that the converter does not know or
    spells badly in the form of ones that it does.
    """
    import torch  # noqa: PLC0415

    for key, hook in list(module._forward_pre_hooks.items()):
        if getattr(hook, "__name__", "") == "_check_input_constraints_pre_hook":
            del module._forward_pre_hooks[key]
    aten = torch.ops.aten
    torch_ops = importlib.import_module("torch_ops")
    replaced = torch_ops.replacements()
    for node in list(module.graph.nodes):
        if node.target is aten.batch_norm.default and node.args[3] is None:
            node.target = torch_ops.own_batch_norm
        elif node.target is aten.batch_norm.default:
            node.args = (*node.args[:5], False, *node.args[6:])
        elif node.target is aten.dropout.default or _is_broadcast_anyway(node):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
        elif node.target is aten.add_.Tensor and "num_batches_tracked" in str(node.args[0]) and not node.users:
            module.graph.erase_node(node)
        elif node.target in replaced:
            node.target = replaced[node.target]
    module.recompile()
    importlib.import_module("torch_names").mark(module)
    return module


def _is_broadcast_anyway(node: Foreign) -> bool:
    """Whether a node expands a tensor for arithmetic with another of that shape, which would do so itself.

    The converter takes the expansion for one of the tensor as it lies channels first.
    """
    import torch  # noqa: PLC0415

    aten = torch.ops.aten
    if node.target not in {aten.expand.default, aten.expand_as.default}:
        return False
    arithmetic = {
        aten.mul.Tensor,
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.div.Tensor,
        aten.maximum.default,
        aten.minimum.default,
    }

    def shape(other: Foreign) -> Foreign:
        made = getattr(other, "meta", {}).get("val")
        return None if made is None else tuple(made.shape)

    return all(
        user.target in arithmetic
        and any(x is not node and shape(x) is not None and shape(x) == shape(node) for x in user.args[:2])
        for user in node.users
    )


def _given(program: Foreign) -> _Call:
    """The sample that the program holds."""
    args, kwargs = program.example_inputs or ((), {})
    return _Call(tuple(args), dict(kwargs))


def _read(samples: list[dict[str, Any]]) -> _Call:
    """The sample that lies in files; inputs that were one tensor share their numbers again."""
    import torch  # noqa: PLC0415

    files = {sample["file"]: bytearray(Path(sample["file"]).read_bytes()) for sample in samples}

    def tensor(sample: dict[str, Any]) -> Foreign:
        kind = getattr(torch, sample["dtype"])
        if 0 in sample["sizes"]:
            return torch.empty(sample["sizes"], dtype=kind)
        raw = files[sample["file"]]
        whole = len(raw) // kind.itemsize
        flat = (
            torch.frombuffer(raw, dtype=torch.uint8) != 0
            if kind is torch.bool
            else torch.frombuffer(raw, dtype=kind, count=whole)
        )
        return torch.as_strided(flat, sample["sizes"], sample["strides"], sample["offset"])

    args = tuple(tensor(sample) for sample in samples if sample["name"] is None)
    return _Call(args, {sample["name"]: tensor(sample) for sample in samples if sample["name"] is not None})


def _sample(program: Foreign, call: _Call) -> _Call:
    """``call``, the sample that the program was exported with, if a network can be made for such."""
    import torch  # noqa: PLC0415

    if not call.tensors:
        raise _RefusedError("it holds no sample input; export it again with torch.export.export(module, (sample,))")
    if not all(isinstance(x, torch.Tensor) for x in call.tensors):
        raise _RefusedError("its inputs are not plain tensors; wrap the module so that forward takes tensors, and export again")
    if twin := _taken_for_one(program, call):
        raise _RefusedError(
            f"it was exported with one tensor for the inputs {twin[0]!r} and {twin[1]!r}, which torch.export took for one; "
            "export it again with a tensor for each"
        )
    return call.over([x.detach().clone() for x in call.tensors])


def _taken_for_one(program: Foreign, call: _Call) -> tuple[str, str] | None:
    """Two inputs that share memory, of which one is used for both."""
    unused = {node.name for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    seen: dict[int, str] = {}
    for name, x in zip(program.graph_signature.user_inputs, call.tensors, strict=False):
        other = seen.setdefault(x.data_ptr(), name)
        if x.numel() and other != name and unused & {name, other}:
            return other, name
    return None


def _input_names(program: Foreign, call: _Call) -> list[str | None]:
    names = list(program.graph_signature.user_inputs)
    return [str(name) for name in names] if len(names) == len(call.tensors) else [None] * len(call.tensors)


def _one_sample(module: Foreign, call: _Call) -> _Call:
    """``call`` cut to batch 1, if the program computes the first sample just the same then."""
    import torch  # noqa: PLC0415

    sizes = {x.shape[0] for x in call.tensors if x.dim() > 0}
    if len(sizes) != 1 or sizes == {1}:
        return call
    size = next(iter(sizes))
    first = call.over([x[:1] if x.dim() > 0 else x for x in call.tensors])
    advice = f"it was exported with a fixed batch of {size}; export it with a sample of batch 1"
    with torch.no_grad():
        try:
            whole, one = _flat(call.on(module)), _flat(first.on(module))
        except (RuntimeError, AssertionError, IndexError) as error:
            raise _RefusedError(advice) from error
        for many, single in zip(whole, one, strict=True):
            if single.shape[1:] != many.shape[1:] or not torch.allclose(single, many[:1], rtol=1e-3, atol=1e-4, equal_nan=True):
                raise _RefusedError(advice)
    return first


def _flat(outputs: Foreign) -> list[Any]:
    if isinstance(outputs, Mapping):
        return [x for value in outputs.values() for x in _flat(value)]
    if isinstance(outputs, Sequence):
        return [x for value in outputs for x in _flat(value)]
    return [outputs]


def _channels_last(x: Foreign) -> Foreign:
    """NCHW to NHWC; other ranks as they are."""
    return x.permute(0, 2, 3, 1).contiguous() if x.dim() == 4 else x


def _channels_first(x: Foreign) -> Foreign:
    """NHWC to NCHW with the memory in that order, which ``view`` insists on; ``contiguous`` keeps NHWC's with one channel."""
    import torch  # noqa: PLC0415

    return torch.clone(x.permute(0, 3, 1, 2), memory_format=torch.contiguous_format) if x.dim() == 4 else x


def _channels_last_module(module: Foreign, call: _Call, names: Sequence[str]) -> Foreign:
    """``module`` with every rank-4 input and output channels last, called by argument name; outputs flat, or by their keys."""
    import torch  # noqa: PLC0415

    interpreted = importlib.import_module("torch_names").interpreted

    class ChannelsLast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, **inputs: Foreign) -> Foreign:
            given = call.over([_channels_first(inputs[name]) for name in names])
            outputs = interpreted(self.inner, given.args, given.kwargs)
            if isinstance(outputs, Mapping) and all(isinstance(x, torch.Tensor) for x in outputs.values()):
                return {str(key): _channels_last(x) for key, x in outputs.items()}
            return tuple(_channels_last(x) for x in _flat(outputs) if isinstance(x, torch.Tensor))

    wrapper = ChannelsLast()
    wrapper.training = False
    return wrapper


def _lowered(module: Foreign, sample: dict[str, Any]) -> bytes:
    import litert_torch  # noqa: PLC0415

    try:
        model = litert_torch.convert(module, sample_kwargs=sample)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            model.export(str(path))
            return path.read_bytes()
    except importlib.import_module("torch_ops").RefusedError:
        raise
    except Exception as error:  # whatever its many parts raise
        raise _RefusedError(f"litert-torch cannot convert it ({_short(error)})") from error


def _disagreement(data: bytes, module: Foreign, sample: dict[str, Foreign]) -> tuple[str, list[str]]:
    """What is wrong with ``data``, empty for nothing, and the names of the outputs in the module's order."""
    import torch  # noqa: PLC0415

    check = importlib.import_module("conversion_check")
    inputs = {name: check.random_input(x.shape, x.numpy().dtype, seed) for seed, (name, x) in enumerate(sample.items())}
    inputs = {name: x if x.dtype.kind == "f" else sample[name].numpy() for name, x in inputs.items()}
    with torch.no_grad():
        outputs = module(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    if not isinstance(outputs, Mapping):
        outputs = {f"output_{i}": x for i, x in enumerate(outputs)}
    narrow = {"int64": np.int32, "float64": np.float32}  # as litert-torch makes them
    inputs = {name: x.astype(narrow.get(x.dtype.name, x.dtype)) for name, x in inputs.items()}
    wrong: str = check.disagreement(data, inputs, {name: x.numpy() for name, x in outputs.items()})
    return wrong, list(outputs)


def _short(error: BaseException) -> str:
    text = re.split(r"\s*(?:While executing|Original traceback)", str(error))[0]
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
