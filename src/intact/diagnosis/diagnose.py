"""Where the loss comes from, in words: per-op noise, wasted ranges, dead channels, and preprocessing that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch

from intact import notebook
from intact.data import Samples, samples_from
from intact.diagnosis.counterparts import Counterparts, counterparts_by_id, find_counterparts
from intact.diagnosis.faults import faults
from intact.diagnosis.symptom import Symptom
from intact.diagnosis.trace import Fidelity, Traced, trace
from intact.errors import ChildError, ModelError, OptionError, located
from intact.formats import recognize, tflite
from intact.formats.load import load
from intact.measure.contradiction import contradiction
from intact.measure.metrics import bound
from intact.network.graph import Graph, Signature, Tensor
from intact.ops.base import Free
from intact.planning.quantized import Quantized
from intact.planning.targets import target as target_named
from intact.progress import Progress, silent
from intact.runtime.scripts.keras_export import InputShape
from intact.simulate.engine import Program, map_batches
from intact.simulate.noise import Sensitivity, sensitivities
from intact.wording import brief

#: The largest channel of a tensor against its median channel, from which the others have less than 3 of 8 bits. Random
#: networks have 1.7 in the median and 10.4 at most.
_UNEVEN: Final = 32.0
#: The range of a tensor against that of all samples but the most extreme hundredth: two bits. Random networks: 1.45 at most.
_OUTLYING: Final = 4.0
#: The part of a tensor's channels that may always be zero before it is worth a word: a choice, as dead channels harm nothing.
_DEAD: Final = 0.1
#: Symptoms that are told, the worst first: a choice, a screen of them.
_MOST: Final = 10
#: Samples that run op by op, and samples of which channels and classes are looked at: choices, of some seconds each.
_SAMPLES: Final = 64
_MANY: Final = 512


@final
@dataclass(frozen=True)
class Diagnosis:
    """The ops in the order of the noise that they make, everything that looks wrong, and each activation's dB in order.

    ``ops`` is empty for a file that is compared with its float one: how it was made is not known.
    """

    ops: tuple[Sensitivity, ...]
    symptoms: tuple[Symptom, ...]
    activations: tuple[Fidelity, ...]

    __repr__ = brief

    def _repr_html_(self) -> str:
        ops = [(op.op, f"{100 * op.share:.1f} %") for op in self.ops[:_MOST]]
        said = list(map(str, self.symptoms)) or ["nothing looks wrong; what is lost is rounding noise"]
        return notebook.bullets(said) + notebook.table(("most of the noise", "share"), ops)

    def to_json(self) -> dict[str, Any]:
        return {
            "ops": [vars(op) for op in self.ops],
            "symptoms": [vars(symptom) for symptom in self.symptoms],
            "activations": [row.to_json() for row in self.activations],
        }


def diagnose(network: Quantized, samples: Samples, progress: Progress = silent) -> Diagnosis:
    """The diagnosis of a planned network on samples: every op alone in the simulator, every activation in the runtime too."""
    few = samples.spread(_SAMPLES)
    ops = sensitivities(network, few, progress=progress, both_ways=True)
    counterparts = counterparts_by_id(network.integer(), network.graph)
    traced = trace(counterparts, few, target_named(network.plan.target).kernels, partial(progress, "run"))
    # With wrong preprocessing every range is wrong too: one advice at a time.
    symptoms = _preprocessing(network.reference, samples) or _all(traced, network.graph, samples)[0]
    return Diagnosis(ops, symptoms[:_MOST], traced.rows)


def diagnose_file(  # noqa: PLR0913  # all but two have defaults
    model: object,
    data: object,
    *,
    against: object,
    target: str = "cpu",
    input_shape: InputShape | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """The diagnosis of an integer .tflite, whoever made it, beside the float model ``against`` that it was made from.

    ``model`` is its path, its bytes or its graph, ``against`` anything that :func:`intact.load` takes, ``input_shape`` with it.
    Both run on the same samples; ops are matched by what they read, their names and their order. ``target`` names the
    kernels. Raises OptionError for a file that is not quantized, and where the two are of different networks.
    """
    name, other = (Path(m).name if isinstance(m, (str, Path)) else "the model" for m in (model, against))
    with located(name):
        graph = _as_it_is(model)
    reference = load(against, input_shape=input_shape)
    with located(name):
        if not graph.is_quantized and reference.is_quantized:
            raise OptionError(f"is the float model and {other} the quantized one; give them the other way round")
        if not graph.is_quantized:
            raise OptionError("is not quantized; leave out --against to learn what quantizing it would cost")
    if reference.is_quantized:
        raise OptionError(f"{other} is quantized itself; give --against the float model that {name} was made from")
    samples = bound(samples_from(data), graph, None).spread(_MANY)
    counterparts = find_counterparts(graph, reference)
    refused: tuple[Symptom, ...] = ()
    try:
        traced = trace(counterparts, samples.spread(_SAMPLES), target_named(target).kernels, partial(progress, "run"))
    except (ModelError, ChildError) as error:  # what its constants say is all that can be told
        traced = Traced(counterparts, {})
        refused = (
            Symptom("the file", f"it does not run: {error.message}", "what is said of its scales and constants may be why"),
        )
    floats = _called_alike(counterparts)
    symptoms, rescaled = _preprocessing(floats, samples), frozenset[int]()
    if not symptoms:
        symptoms, rescaled = _all(traced, floats, samples, refused)
    return Diagnosis((), symptoms[:_MOST], tuple(_comparable(traced, rescaled)))


def _as_it_is(model: object) -> Graph:
    """The integer network of a file, whose scales may contradict its kernels."""
    match model:
        case str() | Path():
            return tflite.read(recognize.check_tflite(Path(model)).read_bytes(), kernels=False)
        case bytes():
            return tflite.read(model, kernels=False)
        case Graph():
            return model
    raise OptionError(
        f"a {type(model).__name__} is no integer network; give the path of a .tflite or its bytes, or leave out against"
    )


def _all(
    traced: Traced, graph: Graph, samples: Samples, refused: tuple[Symptom, ...] = ()
) -> tuple[tuple[Symptom, ...], frozenset[int]]:
    """All symptoms, and the float network's tensors whose channels the integer network rescales on purpose."""
    found, rescaled = faults(traced)
    if any(symptom.where in ("input", "the file") for symptom in found):
        return (*found, *refused), rescaled  # the float network's own ranges are other ones too
    return (*found, *refused, *_ranges(graph, samples, rescaled)), rescaled


def _comparable(traced: Traced, rescaled: frozenset[int]) -> Iterator[Fidelity]:
    """The rows without the dB that mean nothing where channels are rescaled: of such tensors, and of ops that read them."""
    tensors, makers = traced.counterparts.tensors, traced.counterparts.graph.producers()
    for row in traced.rows:
        reads = makers[row.output].reads if row.output in makers else ()
        if tensors.get(row.output) in rescaled:
            yield replace(row, simulated=None, runtime=None, own=None, rescaled=True)
        else:
            yield replace(row, own=None) if any(tensors.get(i) in rescaled for i in reads) else row


def _called_alike(counterparts: Counterparts) -> Graph:
    """The float network with its inputs named as the integer network's."""
    names = tuple(
        (name, counterparts.tensors[i])
        for name, i in zip(counterparts.graph.input_names, counterparts.graph.inputs, strict=True)
    )
    return replace(counterparts.reference, signatures=(Signature("", names, ()),))


def _ranges(graph: Graph, samples: Samples, rescaled: frozenset[int]) -> tuple[Symptom, ...]:
    """Tensors whose range a few channels or a few samples take up, and channels that are always zero.

    Of tensors that the integer network holds ``rescaled`` it is not told that their channels are uneven.
    """
    highest, extremes = _magnitudes(graph, samples)
    found: list[tuple[float, Symptom]] = []
    for i, channels in highest.items():
        if not isinstance(graph.producers()[i].kind.range_rule, Free):
            continue  # what only moves numbers repeats its input's symptoms, and fixed scales fit their outputs
        where = graph.label(graph.producers()[i])
        alive = channels[channels > 0]
        dead = len(channels) - len(alive)
        if dead > _DEAD * len(channels) and len(channels) > 1:
            what = f"{dead} of {len(channels)} channels are always 0"
            found.append((dead / len(channels), Symptom(where, what, "they can be cut from the model")))
        if i not in rescaled and len(alive) > 1 and alive.max() > _UNEVEN * np.median(alive):
            worst, factor = int(channels.argmax()), alive.max() / np.median(alive)
            what = f"channel {worst} is {factor:.0f} times as large as the median channel, and all share one scale"
            found.append((factor, Symptom(where, what, "--remedies equalize, or look for a broken batch norm there")))
        usual = np.quantile(extremes[i], 0.99)
        if len(extremes[i]) >= 100 and usual > 0 and extremes[i].max() > _OUTLYING * usual:
            what = f"one sample in a hundred reaches {extremes[i].max() / usual:.1f} times the range of the others"
            found.append(
                (extremes[i].max() / usual, Symptom(where, what, "--ranges percentile or mse, or look at that sample"))
            )
    return tuple(symptom for _, symptom in sorted(found, key=lambda one: -one[0]))


def _magnitudes(graph: Graph, samples: Samples) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The largest magnitude of each channel, [c], and of each sample, [n], of every activation that an op makes."""
    program, made = Program(graph), {op.output for op in graph.ops}

    def look(tensor: Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray] | None:
        if tensor.id not in made or y.dim() < 2:
            return None
        size = y.abs()
        return size.reshape(-1, y.shape[-1]).amax(0).numpy(), size.reshape(len(y), -1).amax(1).numpy()

    parts = list(map_batches(lambda batch: program.look(batch, look), (batch for batch, _ in samples.batches())))
    return {i: np.max([part[i][0] for part in parts], axis=0) for i in parts[0]}, {
        i: np.concatenate([part[i][1] for part in parts]) for i in parts[0]
    }


def _preprocessing(graph: Graph, samples: Samples) -> tuple[Symptom, ...]:
    found = contradiction(graph, samples)
    return () if found is None else (Symptom("input", found.what, found.advice),)
