"""A network that was tried under a limit: what it loses and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from intact.measure.measurement import Measurement
from intact.planning.quantized import Quantized
from intact.wording import brief

#: Standard deviations from end to end of a 95 % interval.
_INTERVAL: Final = 2 * 1.96
#: The standard deviation of an expected loss, as a part of itself.
_TRUST: Final = 0.5


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that was tried and why: its file, what it loses on the selection samples, and what it costs.

    ``expected`` is :meth:`Goal.expected`. The search goes by ``score``, which weighs the two, and where that cannot tell two
    apart by ``divergence``, :meth:`Goal.divergence`. ``packed``: the file for a device that decodes tables of weights, empty
    where there is none. ``misfit``: why it is larger than a device, empty where it is not.
    """

    name: str
    why: str
    network: Quantized
    model: bytes
    loss: Measurement
    expected: float | None
    latency_ms: float
    seconds: float
    packed: bytes = b""
    divergence: float | None = None
    misfit: str = ""

    __repr__ = brief

    @property
    def score(self) -> float:
        """What the search goes by: measured and expected loss, each weighed by how sure it is.

        The measured one by its interval; the expected one, which trusts the float network's confidence, to half of itself, and
        never more than the measured one: a network that is sure of its mistakes expects to lose nothing. And no less than what
        the measured interval allows. Worked: -0.48 [-1.72, 0.74] measured and 1.5 expected give 0.34; -0.32 [-2.14, 1.50] and
        5.0 give 0.32; 27.46 [26.2, 28.7] and 0.19 give 26.2; 0.80 [-2.75, 4.46] and 0.1 give 0.45.
        """
        if self.expected is None or self.loss.low is None or self.loss.high is None or self.loss.high <= self.loss.low:
            return self.loss.value
        measured = (self.loss.high - self.loss.low) / _INTERVAL
        deviations = np.array([measured, max(_TRUST * abs(self.expected), measured)])
        weighed = float(np.average([self.loss.value, self.expected], weights=deviations**-2.0))
        return max(weighed, self.loss.low)

    @property
    def bytes(self) -> int:
        """Of the file for the device."""
        return len(self.packed or self.model)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "why": self.why,
            "steps": list(self.network.log),
            "loss": self.loss.to_json(),
            "expected": self.expected,
            "divergence": self.divergence,
            "score": self.score,
            "bytes": self.bytes,
            "latency_ms": self.latency_ms,
            "seconds": round(self.seconds, 1),
            "misfit": self.misfit,
        }

    def __str__(self) -> str:
        expected = "" if self.expected is None else f" ({self.expected:.2f} expected, {self.score:.2f} together)"
        apart = "" if self.divergence is None else f" ({self.divergence:.3g} nats apart)"
        costs = f"{self.bytes:,} bytes, {self.latency_ms:.3g} ms, {self.seconds:.0f} s"
        return f"{self.name}: {self.loss}{expected}{apart}, {costs}" + (f"; it {self.misfit}" if self.misfit else "")


def fitting(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those that a device holds; all of them where it holds none."""
    return [c for c in candidates if not c.misfit] or candidates


def front(candidates: Sequence[Candidate], *, timed: bool = True) -> tuple[str, ...]:
    """Names of the candidates that no other beats in loss, bytes and latency at once (latency to 5 %, which is noise); without
    latency where they are not ``timed``.
    """

    def beats(a: Candidate, b: Candidate) -> bool:
        ahead = (a.score < b.score, a.bytes < b.bytes, timed and a.latency_ms < 0.95 * b.latency_ms)
        behind = (a.score > b.score, a.bytes > b.bytes, timed and 0.95 * a.latency_ms > b.latency_ms)
        return any(ahead) and not any(behind)

    return tuple(c.name for c in candidates if not any(beats(other, c) for other in candidates))
