"""How many different numbers an output uses: eight bits have 256, and an output of two of them says little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.annotations import Values
from intact.measure.measurement import Measurement

#: Numbers that are looked at, those of the first samples.
_LOOKED_AT: Final = 1 << 22
#: More different numbers than 16 bits have are no levels.
_MOST: Final = 1 << 16


@final
@dataclass(frozen=True)
class Levels:
    """``used``: different numbers of the file's output among ``count``; ``in_float``: those of the float network's.

    ``low`` and ``high`` bound the float network's.
    """

    used: int
    in_float: int
    count: int
    low: float
    high: float

    @property
    def measurement(self) -> Measurement:
        how = f"different numbers among {self.count:,}; the float network's {self.in_float:,} lie in "
        how += f"{self.low:.4g} to {self.high:.4g}"
        return Measurement("levels used", self.used, "", None, None, how, self.count)


def levels(reference: Values[np.ndarray, "n *s"], actual: Values[np.ndarray, "n *s"]) -> Levels | None:
    """The levels of ``actual`` beside ``reference``, ``[n, ...]``; None where ``actual`` has more than integers have."""
    rows = max(_LOOKED_AT // max(reference[0].size, 1), 1)
    x, y = reference[:rows], actual[:rows]
    used = len(np.unique(y))
    if used > _MOST:
        return None
    return Levels(used, len(np.unique(x)), x.size, float(x.min()), float(x.max()))
