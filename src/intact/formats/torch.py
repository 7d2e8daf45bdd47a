"""PyTorch modules and ``.pt2`` exported programs -> float .tflite, channels last, by litert-torch in a child process."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch

from intact import scratch
from intact.errors import OptionError, UnsupportedError
from intact.formats import pt2
from intact.formats.conversion import converted

#: What a module is called with: one tensor or array, or several in order, or by argument name.
Sample: TypeAlias = torch.Tensor | np.ndarray | Sequence[Any] | Mapping[str, Any]

_WHAT: Final = "Reading a PyTorch model"
_EXTRA: Final = "torch"
_SCRIPT: Final = "convert_torch.py"


def file_to_tflite(source: Path) -> bytes:
    """A ``.pt2`` of ``torch.export.save``, inspected first: loading a stranger's file must run no code."""
    with scratch.folder() as folder:
        copy = folder / "model.pt2"
        return _convert(copy, pt2.checked_copy(source, copy))


def program_to_tflite(program: torch.export.ExportedProgram) -> bytes:
    """An in-memory exported program."""
    with scratch.folder() as folder:
        path = folder / "model.pt2"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, path)
        return _convert(path)


def module_to_tflite(module: torch.nn.Module, sample: Sample | None) -> bytes:
    """A module in evaluation mode, on the first of ``sample`` (images NCHW, as torch has them); it is left as it was."""
    if sample is None:
        raise OptionError(
            "a torch module does not say what its input looks like; give a sample, as in "
            "intact.load(module, torch.zeros(1, 3, 224, 224))"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError("TorchScript modules cannot be converted; pass the module that it was made from")
    args, kwargs = _first(sample)
    kwargs = {name: kwargs[name] for name in _in_order(module, kwargs)}
    with _evaluating(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _plain_outputs(plain := _plain(module)):
                program = torch.export.export(plain, args, kwargs)
        except Exception as error:
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UnsupportedError(
                f"torch.export cannot trace the module on inputs of shape {_shapes(args, kwargs)} ({reason[:300]})"
            ) from error
    return program_to_tflite(program)


def first_that_fits(module: torch.nn.Module, examples: Iterable[Sample]) -> Sample | None:
    """The first of ``examples`` that the module computes something for, else the first; None where there are none."""
    found = list(examples)
    with _evaluating(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = _plain(module)
        for example in found:
            args, kwargs = _first(example)
            try:
                plain(*args, **kwargs)
            except Exception:  # a stranger's code may raise anything; tracing says what is wrong
                continue
            return example
    return found[0] if found else None


def _first(sample: Sample) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Arguments and keywords, cut to a batch of one where all of them are batches of one size."""
    args: tuple[torch.Tensor, ...] = ()
    kwargs: dict[str, torch.Tensor] = {}
    if isinstance(sample, Mapping):
        kwargs = {str(name): _tensor(value) for name, value in sample.items()}
    elif isinstance(sample, (torch.Tensor, np.ndarray)):
        args = (_tensor(sample),)
    else:
        args = tuple(_tensor(value) for value in sample)
    sizes = {x.shape[0] if x.dim() else None for x in (*args, *kwargs.values())}
    if not sizes:
        raise OptionError("the sample is empty")
    if len(sizes) == 1 and None not in sizes:
        if sizes == {0}:
            raise OptionError("the sample holds no elements; give a batch of at least one")
        args, kwargs = tuple(x[:1] for x in args), {name: x[:1] for name, x in kwargs.items()}
    return args, kwargs


def _in_order(module: torch.nn.Module, names: Iterable[str]) -> list[str]:
    """``names`` as ``forward`` lists its arguments, and then those that it does not list."""
    listed = list(inspect.signature(module.forward).parameters)
    return sorted(names, key=lambda name: listed.index(name) if name in listed else len(listed))


def _tensor(value: object) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        tensor = torch.from_numpy(np.ascontiguousarray(value))
    else:
        raise OptionError(f"the sample must hold tensors or numeric arrays, not {type(value).__name__}")
    return tensor.float() if tensor.is_floating_point() else tensor


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each submodule's own mode again afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _plain_outputs(module: torch.nn.Module) -> Iterator[None]:
    """Inside, a dictionary or dataclass that ``module`` gives is a plain dictionary of tensors: other types are not saved."""

    def plain(_: torch.nn.Module, __: object, made: Any) -> Any:
        fields = _fields(made)
        return made if fields is None else dict(_tensors(fields, ""))

    hook = module.register_forward_hook(plain)
    try:
        yield
    finally:
        hook.remove()


def _fields(value: object) -> Mapping[str, Any] | None:
    """What a dictionary or dataclass holds by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: vars(value)[field.name] for field in dataclasses.fields(value)}
    return None


def _tensors(value: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in ``value`` by name, ``states_1`` for the second of what is called ``states``; nothing else counts."""
    fields = dict(enumerate(value)) if isinstance(value, (tuple, list)) else _fields(value)
    if isinstance(value, torch.Tensor):
        yield name, value
    for key, part in (fields or {}).items():
        yield from _tensors(part, f"{name}_{key}" if name else str(key))


def _plain(module: torch.nn.Module) -> torch.nn.Module:
    """The module in float32 on the CPU; a copy if it is not so already."""
    values = [*module.parameters(), *module.buffers()]
    if all(x.device.type == "cpu" and (x.dtype == torch.float32 or not x.is_floating_point()) for x in values):
        return module
    return copy.deepcopy(module).cpu().float()


def _shapes(args: Sequence[torch.Tensor], kwargs: Mapping[str, torch.Tensor]) -> str:
    return ", ".join("x".join(map(str, x.shape)) or "scalar" for x in (*args, *kwargs.values()))


def _convert(source: Path, samples: list[dict[str, Any]] | None = None) -> bytes:
    """``samples``: the sample inputs, where they have been taken out of ``source``."""
    return converted(_SCRIPT, {"source": str(source.resolve()), "samples": samples}, _WHAT, _EXTRA)
