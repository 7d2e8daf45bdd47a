"""Cross-layer equalization: channels that waste their tensor's range are rescaled against the weights that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.channels import Channels, free_channels, rescaled
from intact.network.graph import Graph, Op
from intact.network.verify import verify
from intact.network.weighted import columns, data_of, weighted
from intact.numbers.affine import Affine, Format
from intact.ops.scales import ONE
from intact.planning.quantized import Quantized
from intact.remedies.base import Context, Remedy, changed_output, look_at
from intact.wording import counted

#: One step changes a channel by at most this factor.
_MOST: Final = 1e4
#: From here on a RELU6 clips.
_SIX: Final = 6.0 - 1e-4
_NONE: Final = np.zeros(0)
#: Channels whose values or weights stay below this are not alive.
_LEAST: Final = 1e-9


@final
@dataclass(frozen=True)
class Equalize(Remedy):
    """``W1 / s``, ``b1 / s`` and ``W2 s`` with ``s[c] = sqrt(r1[c] / r2[c])``, sweep by sweep; the float output stays as it is.

    ``r2[c]`` is the largest weight that reads channel c, ``r1[c]`` the largest value that the channel takes on the samples
    when weights have a scale per channel (then only activations waste range), else the largest weight that makes it. A RELU6
    that no sample drives to 6 becomes a RELU; one that clips does not scale, and its channels are left alone. Channels that
    meet others which cannot be scaled, as in a CONCATENATION, are scaled to these; else their geometric mean stays.
    Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.1; with activation ranges: Xiao et al. 2023 (arXiv 2211.10438).
    """

    name: ClassVar[str] = "equalize"
    order: ClassVar[int] = 10
    sweeps: int = 20

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        channels = free_channels(network.graph)
        highest = _made_maxima(channels, samples, context)
        channels = channels.only(_unclipped(channels, highest))
        if not channels.made:
            return replace(
                network, log=(*network.log, "equalized nothing: no two layers of the network scale against each other")
            )
        factors = _Solver(network, channels, highest, _read_maxima(channels, samples, context)).factors(self.sweeps)
        graph = verify(rescaled(channels, network.graph, factors))
        undone = changed_output(network.graph, graph, samples, context)
        if undone is not None:
            return replace(network, log=(*network.log, f"left undone: equalize, {undone}"))
        most = float(np.abs(np.log2(factors)).max())
        said = f"equalized {counted(len(channels.made), 'pair')} of layers, by factors up to {2**most:.3g}"
        exact = rescaled(channels, network.exact, factors)
        return replace(network, graph=graph, plan=context.make_plan(graph, (), ()), log=(*network.log, said), rescaled=exact)


class _Solver:
    """Finds a factor for every mark. Ops and tensors are named by the first output of their op."""

    def __init__(
        self, network: Quantized, channels: Channels, highest: Mapping[int, np.ndarray], beside: Mapping[int, np.ndarray]
    ) -> None:
        self.channels, self.highest, self.beside = channels, highest, beside
        self.graph = channels.graph
        self.ops = {op.output: op for op in channels.ops()}
        self.per_channel = {i: _is_per_channel(network, self.ops[i]) for i in channels.made}
        self.total = np.ones(channels.count)

    def factors(self, sweeps: int) -> np.ndarray:
        """What to divide the channels of each mark by."""
        groups = list(self._groups())
        for _ in range(sweeps):
            moved = max(self._step(*group) for group in groups)
            if moved < 1e-3:
                break
        return self.total

    def _groups(self) -> Iterator[tuple[list[int], list[int]]]:
        """Makers and takers whose channels meet in one weight, in order: only their ratio matters to it."""
        left = dict.fromkeys(self.channels.made)
        while left:
            makers, takers = [next(iter(left))], list[int]()
            for maker in makers:  # grows on the way
                left.pop(maker, None)
                for taker, marks in self.channels.taken.items():
                    if taker not in takers and self._meet(maker, marks):
                        takers.append(taker)
                        makers += [m for m in left if m not in makers and self._meet(m, marks)]
            yield makers, takers

    def _meet(self, maker: int, marks: np.ndarray) -> bool:
        return bool(np.isin(marks, self.channels.made[maker]).any(where=marks > ONE))

    def _step(self, makers: list[int], takers: list[int]) -> float:
        """One step of the channels of a group; the largest change, as a logarithm."""
        made = np.zeros(self.channels.count)
        pinned = list[np.ndarray]()
        together = len(makers) > 1 or any(t in self.beside for t in takers)
        for maker in makers:
            marks = self.channels.made[maker]
            by_value = self.per_channel[maker] or together
            made[marks] = self.highest[maker] / self.total[marks] if by_value else self._makes(maker)
        read = np.zeros(self.channels.count)
        for taker in takers:
            reads, marks = self._reads(taker), self.channels.taken[taker]
            np.maximum.at(read, marks, reads)
            if taker in self.beside:
                others = (marks == ONE) & (reads > _LEAST) & (self.beside[taker] > _LEAST)
                pinned.append(0.5 * np.log(self.beside[taker][others] / reads[others]))
        mine = np.unique(np.concatenate([self.channels.made[m] for m in makers]))
        mine = mine[(mine > ONE) & (made[mine] > _LEAST) & (read[mine] > _LEAST)]
        if not len(mine):
            return 0.0
        step = 0.5 * np.log(made[mine] / read[mine])
        still = np.concatenate([*pinned, []])
        step = np.clip(step - (still if len(still) else step).mean(), -np.log(_MOST), np.log(_MOST))
        self.total[mine] *= np.exp(step)
        return float(np.abs(step).max())

    def _makes(self, maker: int) -> np.ndarray:
        """The largest weight that makes each of the op's output channels."""
        op = self.ops[maker]
        found, w = weighted(self.graph, op), np.abs(self.channels.scaled_weight(op, self.total))
        axis = 0 if found is None else found.axis
        largest: np.ndarray = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).max(1)
        return largest

    def _reads(self, taker: int) -> np.ndarray:
        """The largest weight that reads each of the op's input channels."""
        op = self.ops[taker]
        w = np.abs(self.channels.scaled_weight(op, self.total))
        at = columns(op, len(self.channels.taken[taker]), w.shape)
        largest = np.zeros(len(self.channels.taken[taker]))
        rest = tuple(axis for axis, size in enumerate(at.shape) if size == 1)
        np.maximum.at(largest, at.reshape(-1), w.max(rest, keepdims=True).reshape(-1))
        return largest


def _is_per_channel(network: Quantized, op: Op) -> bool:
    """Whether the op's weights have a scale for each channel; in float, whether those of any other have."""
    fmt = _weight_format(network, op)
    if isinstance(fmt, Affine):
        return fmt.axis is not None
    others = [fmt for other in network.graph.ops if isinstance(fmt := _weight_format(network, other), Affine)]
    return not others or any(fmt.axis is not None for fmt in others)


def _weight_format(network: Quantized, op: Op) -> Format | None:
    found = weighted(network.graph, op)
    return None if found is None else network.plan.at(found.weight.id, op.output)


def _unclipped(channels: Channels, highest: Mapping[int, np.ndarray]) -> np.ndarray:
    """Which marks no RELU6 clips on the samples."""
    keep = np.ones(channels.count, np.bool_)
    for op in channels.ops():
        clamps = op.output in channels.made and op.kind.unfused()[1] == "relu6"
        if clamps and (highest[op.output] >= _SIX).any():
            keep[channels.made[op.output]] = False
    return keep


def _made_maxima(channels: Channels, samples: Samples, context: Context) -> dict[int, np.ndarray]:
    """The largest magnitude of every output channel of what gives scales, by its id."""
    return _maxima("largest made", channels.graph, set(channels.made), samples, context, _channel_maxima)


def _read_maxima(channels: Channels, samples: Samples, context: Context) -> dict[int, np.ndarray]:
    """The largest magnitude of every input channel of what takes scales beside channels without one, by its output's id."""
    inputs = {
        op.output: i
        for op in channels.ops()
        if (channels.taken.get(op.output, _NONE) == ONE).any() and (i := data_of(channels.graph, op)) is not None
    }
    wanted = set(inputs.values())
    seen = _maxima("largest read", channels.graph, wanted, samples, context, lambda y: y.abs().amax(0).cpu())
    counts = {i: len(channels.taken[i]) for i in inputs}
    return {i: seen[x].reshape(-1, counts[i]).max(0) for i, x in inputs.items()}


def _maxima(  # noqa: PLR0913, PLR0917  # what to look at, and how to look
    name: str, graph: Graph, wanted: set[int], samples: Samples, context: Context, look: Callable[[torch.Tensor], torch.Tensor]
) -> dict[int, np.ndarray]:
    """The largest of what ``look`` says of the activations ``wanted``, by id."""

    def make() -> dict[str, np.ndarray]:
        seen = look_at(graph, wanted, samples, context, look, torch.maximum)
        return {str(i): highest.numpy() for i, highest in seen.items()}

    return {int(i): highest for i, highest in context.shared(name, graph, samples, make).items()}


def _channel_maxima(y: torch.Tensor) -> torch.Tensor:
    return y.reshape(-1, y.shape[-1]).abs().amax(0).cpu()
