"""What to do about a network that a device does not hold: what is too large, and what would fit, tried before it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from intact import scratch
from intact.data import Samples
from intact.deploy.bytes import spelled
from intact.deploy.project import STACK
from intact.deploy.timeline import timeline
from intact.errors import ModelError
from intact.formats import tflite
from intact.measure.accuracy import Metric, NamedOutputs
from intact.measure.criterion_figures import AGREEMENT
from intact.measure.figures import fidelity
from intact.measure.outputs import look
from intact.measure.packed import write_packed
from intact.measure.run_outputs import outputs_of
from intact.measure.task import Task
from intact.network.graph import Graph
from intact.network.resized import image_size, resized
from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.planning.schemes import scheme as scheme_named
from intact.planning.widths import INT4, Width, choosable, widths_of
from intact.remedies import apply
from intact.remedies.base import Context
from intact.remedies.bias import BiasCorrection
from intact.remedies.widths import ChosenWidths
from intact.run.firmware import Firmware, Need
from intact.run.settings import Settings
from intact.runtime.runtimes import Kernels
from intact.wording import counted, shown

#: Widths that are tried, with what they are called.
_WIDTHS: Final[Mapping[Width, str]] = {
    INT4: "int4 weights",
    Width(clusters=4): "4-bit tables",
    Width(clusters=2): "2-bit tables",
}
#: Schemes whose weights take less flash than 8 bits do, the widest first.
_FEWER: Final = ("w4a8", "clusters4", "clusters3", "clusters2", "clusters1")
#: Samples on which their loss is measured, and those from which biases are corrected.
_SAMPLES: Final = 500
_LEARNED: Final = 64
#: What sides of a smaller image are multiples of.
_SIDE: Final = 8
#: Characters of a tensor's name.
_NAME: Final = 48


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """``report`` with the float network's outputs ``exact`` [n, ...] for it, by name, and how their loss is measured."""

    report: Samples
    exact: NamedOutputs
    tasks: Mapping[str, Task]
    metric: Metric | None
    kernels: Kernels

    def few(self) -> Compared:
        """So many of the samples as narrower weights are measured on."""
        chosen = self.report.places(_SAMPLES)
        return replace(self, report=self.report.take(chosen), exact={name: y[chosen] for name, y in self.exact.items()})

    def lost(self, integer: Graph) -> str:
        """What the network of integers loses, in words."""
        with scratch.folder() as folder:
            path = folder / "narrower.tflite"
            path.write_bytes(tflite.write(integer))
            made = outputs_of(path, self.report, self.kernels, lambda *_: None)
        readings = fidelity(look(self.exact, made, self.tasks), self.report, self.metric)
        differences = [r.measurement for r in readings if r.of == "difference"]
        others = [r.measurement for r in readings if r.measurement.name.startswith((AGREEMENT, "SQNR"))]
        return f"{(*differences, *others)[0]} on {counted(len(self.report), 'sample')}"


def too_large(  # noqa: PLR0913, PLR0917  # what was made, and on what
    integer: Graph,
    built: Firmware,
    need: Need,
    narrower: Narrower,
    compared: Compared,
    settings: Settings,
    *,
    searched: bool,
    planned: bool,
) -> str:
    """What to do about the network ``integer``, whose ``need`` is beyond the limits of ``built``, in words.

    ``searched``: whether weights of fewer bits were looked for already; ``planned``: whether a plan says which, so that
    ``narrower`` ones are not looked for.
    """
    ram, flash = lacking = built.lacks(need)
    sure = ", by an upper estimate: pip install 'intact[mcu]' for what it takes" if need.is_estimate and ram else ""
    said, has_room = [f"the firmware {built.said(lacking)}{sure}"], built.ram is None or built.ram > STACK
    if not has_room:
        said.append(f"{spelled(STACK)} of RAM are for the stack alone, so that nothing fits")
    elif ram:
        unpacked = f"{spelled(need.unpacked)} of RAM are for weights unpacked, which those of 8 bits need not be"
        said += [unpacked if need.unpacked else "", peak(integer), smaller_input(integer, built)]
    if flash and settings.may_narrow and has_room and not (searched or planned):
        tried = (replace(narrower, firmware=replace(built, ram=None)) if ram else narrower).tried(compared)
        said += [told for told, _ in tried]
        if not ram and any(fits for _, fits in tried):
            said.append("a limit, such as --max-drop 1 or --min-agreement 99, finds widths for each layer that fit")
    elif flash and has_room:
        of_all = searched and settings.may_narrow
        said.append("no fewer bits make it fit: fewer channels take less" if of_all else fewer_bits(settings))
    return "; ".join(one for one in said if one)


def fewer_bits(settings: Settings) -> str:
    """What takes less flash than the scheme of a run, in words."""
    bits = scheme_named(settings.scheme).bits
    schemes = [name for name in _FEWER if scheme_named(name).bits < bits][:2]
    ways = [f"--scheme {' or '.join(schemes)}"] if schemes else []
    return f"fewer bits take less: {', or '.join((*ways, '--scheme int8 with a limit such as --max-drop 1'))}"


def smaller_input(graph: Graph, firmware: Firmware) -> str:
    """The largest smaller image with which ``graph`` fits in RAM, in a sentence; or that there is none."""
    size = image_size(graph)
    if size is None:
        return "fewer channels where it is largest take less"
    longer, built = max(size), list[tuple[tuple[int, int], Graph]]()
    for side in range(_SIDE, longer, _SIDE):
        height, width = (max(round(n * side / longer), 1) for n in size)
        with contextlib.suppress(ModelError):
            built.append(((height, width), resized(graph, (height, width))))
    if not built and longer > _SIDE:
        return f"the network is for {size[0]} x {size[1]} alone: one of a smaller input, or of fewer channels, takes less"
    low, high, found = 0, len(built) - 1, ""
    while low <= high:
        middle = (low + high) // 2
        (height, width), other = built[middle]
        taken = firmware.ram_of(other)
        if taken <= (firmware.ram or 0):
            how = "worked out" if firmware.runtime == "c" else "an upper estimate"
            found = f"with an input of {height} x {width} it would take {spelled(taken)} of RAM ({how}, not trained)"
            low = middle + 1
        else:
            high = middle - 1
    return found or "no smaller input fits: fewer channels where it is largest take less"


def peak(graph: Graph) -> str:
    """Where most exists at once, and of what it is made most, in words."""
    held = timeline(graph)
    if not held.held:
        return ""
    first, at = held.held[0], held.ops[held.at] if held.ops else "the call"
    return (
        f"all computed at once, most exists during {at}, {spelled(held.live[held.at])}, {first.bytes:,} of them "
        f"{shown(first.name, _NAME)}"
    )


@final
@dataclass(frozen=True, eq=False)
class Narrower:
    """The largest layers of ``network`` with weights of fewer bits, as few of them as make it fit the flash of ``firmware``.

    ``learning``: from which biases are corrected.
    """

    network: Quantized
    firmware: Firmware
    request: Request
    learning: Samples
    context: Context

    def tried(self, compared: Compared) -> tuple[tuple[str, bool], ...]:
        """For each width what is lost, in words, and whether it fits."""
        few = compared.few()
        return tuple(one for width, called in _WIDTHS.items() if (one := self._tried(width, called, few)) is not None)

    def _tried(self, width: Width, called: str, few: Compared) -> tuple[str, bool] | None:
        ops = choosable(self.network.graph, self.network.plan)
        able = [output for output, one in ops.items() if width in widths_of(self.request.target, one.op.kind.name)]
        able.sort(key=lambda output: -ops[output].values.size)
        if not able:
            return None
        count = self._fewest(width, able)
        integer = self._made(width, able[:count]).integer()
        need = self.firmware.need(integer, _file(integer))
        layers = "the largest layer" if count == 1 else f"the {count} largest layers"
        taken = f"{called} for {layers} take {spelled(need.flash)} of flash"
        lacking = self.firmware.said(self.firmware.lacks(need))
        if lacking:
            return f"{taken}, and the firmware {lacking} still", False
        return f"{taken} and lose: {few.lost(integer)}", True

    def _fewest(self, width: Width, able: Sequence[int]) -> int:
        """How many of the ops ``able``, in order, make it fit; all of them where none do."""
        low, high = 1, len(able)
        while low < high:
            middle = (low + high) // 2
            integer = self._made(width, able[:middle]).integer()
            low, high = (low, middle) if not self.firmware.misfit(integer, _file(integer)) else (middle + 1, high)
        return low

    def _made(self, width: Width, outputs: Sequence[int]) -> Quantized:
        chosen = ChosenWidths(dict.fromkeys(outputs, width), self.request)
        return apply((chosen, BiasCorrection()), self.network, self.learning.spread(_LEARNED), self.context)


def _file(integer: Graph) -> bytes:
    """What a device with TensorFlow Lite Micro holds of it."""
    return write_packed(integer) or tflite.write(integer)
