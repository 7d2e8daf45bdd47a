"""What the planner is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from intact import choices
from intact.choices import Granularity
from intact.errors import OptionError
from intact.planning.schemes import Scheme
from intact.planning.targets import Target

if TYPE_CHECKING:
    from intact.rewrite.mending import Step  # loads torch, which whoever types a wrong option need not wait for


@final
@dataclass(frozen=True)
class Request:
    """What was asked for: formats, device, and which ops stay float. Types that are None: the scheme's own default."""

    scheme: Scheme
    target: Target
    weights: Granularity = "per-channel"
    keep_float: tuple[str, ...] = ()
    #: First outputs of the ops that stay in float besides those that ``keep_float`` names.
    float_ops: tuple[int, ...] = ()
    #: First outputs of the ops whose weights have 8 bits, though the scheme has 4.
    wide_weights: tuple[int, ...] = ()
    input_type: str | None = None
    output_type: str | None = None
    ranges_from: str = "calibration"
    #: Rewrites that the graph has been through, for the plan to name.
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        self.target.check(self.scheme.name)
        takes = ", ".join(self.scheme.io)
        for option, wanted in (("--input-type", self.input_type), ("--output-type", self.output_type)):
            if wanted is not None and wanted not in self.scheme.io:
                raise OptionError(f"{option} {wanted} cannot be had with --scheme {self.scheme.name}; type one of: {takes}")
        choices.granularity(self.weights)
        if self.scheme.block and not self.scheme.is_integer and self.weights == "per-tensor":
            raise OptionError(
                f"--weights per-tensor has one scale for a weight, and --scheme {self.scheme.name} one for each "
                f"{self.scheme.block} inputs; leave out --weights, or type --scheme dynamic-w4"
            )
