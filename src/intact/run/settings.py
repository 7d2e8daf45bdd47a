"""Everything besides model and data that decides what comes out of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, final

from intact import choices
from intact.choices import HYBRID, Granularity
from intact.deploy import boards
from intact.errors import OptionError
from intact.measure import criterion
from intact.measure.criterion import Criterion
from intact.measure.criterion_figures import ACCURACY, AGREEMENT, DROP, FLASH, LOSSES, RAM
from intact.planning.request import Request
from intact.planning.schemes import INTEGERS
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.runtime.scripts.keras_export import InputShape

if TYPE_CHECKING:
    from intact.search.goal import Goal


#: Seconds that a search may be given: what is counted in steps of microseconds stays a number.
_LONGEST: Final = 1e9
#: Per cent.
_ALL: Final = 100.0


@final
@dataclass(frozen=True)
class Settings:
    """Everything besides model and data that decides what comes out. OptionError for values that cannot be.

    ``remedies``: None for the cheap ones by which the output clearly gains; they learn from ``learning_samples`` at most, and
    ``finetune`` from their labels by ``label_weight``, from 0 to 1. ``max_drop`` is in percentage points, or in the unit of
    ``metric`` where one is named; ``min_agreement`` in per cent, ``time_budget`` in seconds. ``accept``: criteria as
    texts, such as "drop <= 2", and files of them. ``minimize``: "size" for the smallest network within the limit. ``ram`` and
    ``flash``: bytes of a microcontroller, or those of ``board``, that the project for ``runtime`` may take, "c" or "tflm".
    ``on``: the device that what is written is measured on.
    """

    scheme: str = "int8"
    target: str = "cpu"
    ranges: str = "auto"
    weights: Granularity = "per-channel"
    keep_float: tuple[str, ...] = ()
    input_type: str | None = None
    output_type: str | None = None
    seed: int = 0
    calibration_samples: int = 500
    input_shape: InputShape | None = None
    remedies: tuple[str, ...] | None = None
    max_drop: float | None = None
    min_agreement: float | None = None
    time_budget: float = 900.0
    device: str = "auto"
    metric: str | None = None
    learning_samples: int = 2000
    label_weight: float = 0.1
    accept: tuple[str, ...] = ()
    minimize: str | None = None
    ram: int | None = None
    flash: int | None = None
    board: str | None = None
    runtime: str = "c"
    on: str | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_firmware()
        object.__setattr__(self, "accept", tuple(c.text for c in criterion.criteria(self.accept)))
        self.request()
        self._check_criteria()
        self._check_recovery()
        self._check_minimize()
        choices.estimator(self.ranges)

    def _check_numbers(self) -> None:
        """Numbers become Python's own, which JSON has."""
        numbers: dict[str, int | float | None] = {
            "seed": choices.whole("--seed", self.seed, 0),
            "calibration_samples": choices.whole("--calibration-samples", self.calibration_samples, 1),
            "learning_samples": choices.whole("--learning-samples", self.learning_samples, 1),
            "label_weight": choices.real("--label-weight", self.label_weight, "--label-weight 0.1"),
            "time_budget": choices.real("--time-budget", self.time_budget, "15m"),
            "max_drop": None if self.max_drop is None else choices.real("--max-drop", self.max_drop, "--max-drop 0.5"),
            "min_agreement": None
            if self.min_agreement is None
            else choices.real("--min-agreement", self.min_agreement, "--min-agreement 99"),
        }
        for name, value in numbers.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "input_shape", _sizes(self.input_shape))

    def request(self) -> Request:
        """What the planner needs of this."""
        return Request(
            scheme=scheme_named(self.scheme),
            target=target_named(self.target),
            weights=self.weights,
            keep_float=self.keep_float,
            input_type=self.input_type,
            output_type=self.output_type,
            ranges_from=f"{self.ranges} over the calibration samples",
        )

    def integers_only(self) -> Settings:
        """These settings; OptionError where they make no integers, which a diagnosis is of."""
        if not scheme_named(self.scheme).is_integer:
            raise OptionError(f"--scheme {self.scheme} computes in float; type --scheme with one of: {INTEGERS}")
        return self

    def replaying(self, scheme: str, target: str) -> Settings:
        """These settings with the scheme and target of a plan to replay; OptionError where others, or what finds others, were
        asked for.
        """
        if self.remedies is not None or self.max_drop is not None or self.min_agreement is not None or self.minimize:
            raise OptionError(
                "--plan replays what was decided before; leave out --remedies, --max-drop, --min-agreement and --minimize"
            )
        for option, asked, planned in (("scheme", self.scheme, scheme), ("target", self.target, target)):
            if asked not in {getattr(Settings, option), planned}:
                raise OptionError(
                    f"the plan is for --{option} {planned}, and --{option} {asked} is asked for; leave out one of the two"
                )
        remedies = () if self.accept else self.remedies  # no criterion changes what a plan holds
        return replace(self, scheme=scheme, target=target, remedies=remedies)

    @property
    def decided_by_a_plan(self) -> tuple[str, ...]:
        """The options that were given and mean nothing beside a plan."""
        names = ("ranges", "weights", "keep_float", "input_type", "output_type")
        return tuple(f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != getattr(Settings, name))

    @property
    def goal(self) -> Goal | None:
        """The limit to meet, if one was asked for."""
        from intact.search.goal import Goal  # noqa: PLC0415  # loads torch, which whoever types a wrong option need not wait for

        drop, agreement, by = self.max_drop, self.min_agreement, self.steering
        if drop is None and agreement is None and by is not None:
            drop, agreement = (by.limit, None) if by.figure == self._lost else (None, by.limit)
        if drop is not None:
            return Goal("drop", drop, by_estimate=self.minimize is not None)
        if agreement is None:
            return None
        return Goal("disagreement", round(100.0 - agreement, 9), by_estimate=self.minimize is not None)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What the result is judged by; a ``drop`` beside a metric is in that one's unit."""
        limits = zip((RAM, FLASH), self._limits, strict=True)
        texts = (*(f"{figure} <= {size:,} bytes" for figure, size in limits if size is not None), *self.accept)
        return tuple(criterion.parse(text).under(self.metric) for text in dict.fromkeys(texts))

    @property
    def memory(self) -> tuple[int | None, int | None]:
        """The bytes of RAM and of flash that criteria leave, of which a network that takes more is no candidate."""
        most: dict[str, list[int]] = {RAM: [], FLASH: []}
        for one in self.criteria:
            if one.figure in most and one.is_upper:
                most[one.figure].append(math.ceil(one.limit) - 1 if one.comparison == "<" else math.floor(one.limit))
        return min(most[RAM], default=None), min(most[FLASH], default=None)

    @property
    def board_notes(self) -> tuple[str, ...]:
        """What contradicts the board that was named, a sentence each."""
        return () if self.board is None else boards.chosen(self.board, None, self.ram, self.flash).notes

    @property
    def _limits(self) -> tuple[int | None, int | None]:
        """Bytes of RAM and flash as they were asked for: what was typed wins over what the board has."""
        named = None if self.board is None else boards.board(self.board)
        has = (None, None) if named is None else (named.ram, named.flash)
        return has[0] if self.ram is None else self.ram, has[1] if self.flash is None else self.flash

    def _check_firmware(self) -> None:
        choices.firmware(self.runtime)
        if self.runtime == "both":
            raise OptionError("--runtime both is two projects with a need each; type --runtime c or --runtime tflm")
        for option in ("ram", "flash", "board"):
            if getattr(self, option) is not None and not target_named(self.target).micro:
                raise OptionError(f"--{option} is for a microcontroller; type --target mcu as well")
        if self.runtime != Settings.runtime and not target_named(self.target).micro:
            raise OptionError(f"--runtime {self.runtime} is for a microcontroller; type --target mcu as well")
        for option in ("ram", "flash"):
            size = getattr(self, option)
            object.__setattr__(self, option, None if size is None else choices.whole(f"--{option}", size, 1))
        object.__setattr__(self, "board", None if self.board is None else boards.board(self.board).key)

    @property
    def may_search(self) -> bool:
        """Whether criteria may steer a search."""
        limited = self.max_drop is not None or self.min_agreement is not None
        return not limited and self.remedies is None and scheme_named(self.scheme).is_integer

    @property
    def steering(self) -> Criterion | None:
        """The criterion that a search goes by: the strictest on what is lost, else on agreement.

        None where a limit is given as such, remedies are named, or the scheme has no integers: criteria judge only, then.
        """
        if not self.may_search:
            return None
        lost = [c for c in self.criteria if c.figure == self._lost and c.is_upper and c.limit >= 0]
        agreed = [c for c in self.criteria if c.figure == AGREEMENT and not c.is_upper and c.limit <= _ALL]
        return min(lost, key=lambda c: c.limit, default=None) or max(agreed, key=lambda c: c.limit, default=None)

    @property
    def steering_by_accuracy(self) -> Criterion | None:
        """The strictest criterion on accuracy itself, where none on what is lost steers: it steers by the drop that it leaves
        of the float network's own, which is known once that has run.
        """
        if not self.may_search or self.steering is not None or self.metric is not None:
            return None
        found = (c for c in self.criteria if (c.figure, c.of, c.is_upper) == (ACCURACY, "quantized", False))
        return max(found, key=lambda c: c.limit, default=None)

    @property
    def _lost(self) -> str:
        """The figure that says what is lost."""
        return DROP if self.metric is None else LOSSES.get(self.metric, "metric drop")

    def _check_criteria(self) -> None:
        islands = target_named(self.target).float_islands
        for asked in self.criteria:
            asked.check_place(self.on)
            if asked.group == "device" and islands:
                raise OptionError(f"{asked}: {self.target} has no {asked.figure}; type --target mcu, or leave it out")
            if asked.group == "weights" and scheme_named(self.scheme).usual and self.minimize is None:
                few = f"{asked.figure} is measured of weights of few numbers"
                raise OptionError(f"{asked}: {few}; type --scheme with such as w3a8, or leave it out")
            if asked.group == "packed" and not target_named(self.target).micro:
                raise OptionError(f"{asked}: {self.target} has no packed file; type --target mcu, or leave it out")
            if asked.group in {"study", "runtimes"}:
                raise OptionError(f"{asked}: {asked.figure} is measured by intact study; leave it out")
            laxer = self.max_drop is not None and asked.figure == self._lost and asked.is_upper and asked.limit < self.max_drop
            if laxer:
                raise OptionError(f"--max-drop {self.max_drop:g} ends the search before {asked} is met; type one of the two")
            agreed = asked.figure == AGREEMENT and not asked.is_upper
            if agreed and self.min_agreement is not None and asked.limit > self.min_agreement:
                raise OptionError(
                    f"--min-agreement {self.min_agreement:g} ends the search before {asked} is met; type one of the two"
                )

    def _check_recovery(self) -> None:
        choices.remedies(self.remedies or ())
        if choices.device(self.device) == "cuda":
            from intact.simulate.engine import device_named  # noqa: PLC0415  # only torch knows

            device_named(self.device)
        limited = self.max_drop is not None or self.min_agreement is not None
        self._check_scheme_for(limited)
        if self.max_drop is not None and self.min_agreement is not None:
            raise OptionError("--max-drop and --min-agreement are two limits; type one of them")
        if limited and self.remedies:
            raise OptionError("--remedies says what to do and a limit lets Intact choose; type one of them")
        if self.max_drop is not None and self.max_drop < 0:
            raise OptionError(f"--max-drop {self.max_drop:g} must be at least 0")
        if self.metric is None and self.max_drop is not None and self.max_drop >= 100:
            raise OptionError(f"--max-drop {self.max_drop:g} must be percentage points from 0 to 100, such as --max-drop 0.5")
        if self.min_agreement is not None and not 1 < self.min_agreement <= 100:  # 0.99 is a share, typed by mistake
            raise OptionError(f"--min-agreement {self.min_agreement:g} must be a percentage, such as --min-agreement 99")
        self._check_learning(limited or (self.may_search and bool(self.accept)))
        if not 0 < self.time_budget <= _LONGEST:
            raise OptionError(f"--time-budget {self.time_budget:g} must be above 0, such as --time-budget 15m, and below 1e9 s")

    def _check_scheme_for(self, limited: bool) -> None:
        """OptionError where what gives back accuracy is asked for and the scheme has no integers, or in weights alone."""
        scheme = scheme_named(self.scheme)
        if scheme.is_integer or not (self.remedies or limited):
            return
        others = ", ".join(name for name in self.remedies or () if name not in HYBRID)
        if scheme.is_hybrid and not limited and not others:
            return
        if scheme.is_hybrid and not limited:
            raise OptionError(
                f"--scheme {self.scheme} has integers in weights alone, for which {others} does nothing; "
                f"type --remedies with some of: {', '.join(HYBRID)}"
            )
        of_weights = f", and {', '.join(HYBRID)} for {self.scheme}" if scheme.is_hybrid else ""
        raise OptionError(f"--scheme {self.scheme} computes in float; remedies and limits are for {INTEGERS}{of_weights}")

    def _check_minimize(self) -> None:
        if self.minimize is None:
            return
        if self.minimize != "size":
            raise OptionError(f"--minimize {self.minimize} is not known; type --minimize size")
        if self.remedies is not None:
            raise OptionError("--minimize size lets Intact choose widths and remedies; leave out --remedies")
        if self.scheme != "int8":
            raise OptionError(
                f"--minimize size gives each layer a width of its own, and --scheme {self.scheme} gives one to all; "
                "leave out --scheme"
            )
        if not self.may_narrow:
            raise OptionError(
                f"--minimize size needs weights of fewer than 8 bits, and --target {self.target} runs none; "
                "type --target cpu or --target mcu"
            )
        limited = self.max_drop is not None or self.min_agreement is not None
        if not limited and self.steering is None and self.steering_by_accuracy is None:
            raise OptionError(
                "--minimize size needs a limit to stop at; type --max-drop 1 or, without labels, --min-agreement 99"
            )

    @property
    def may_narrow(self) -> bool:
        """Whether weights may get fewer than 8 bits, for the target runs such."""
        target = target_named(self.target)
        return self.scheme == "int8" and bool(target.int4 or target.decoded) and "w4a8" not in target.refuses

    def _check_learning(self, limited: bool) -> None:
        if not 0 <= self.label_weight <= 1:
            raise OptionError(
                f"--label-weight {self.label_weight:g} must be from 0 (the float network alone) to 1; the default is 0.1"
            )
        if self.learning_samples != Settings.learning_samples and not (limited or self.remedies):
            raise OptionError(
                "--learning-samples is for remedies that are named and for limits; type --remedies or a limit as well"
            )
        if self.label_weight != Settings.label_weight and not (limited or "finetune" in (self.remedies or ())):
            raise OptionError("--label-weight is for finetune; type --remedies finetune or a limit as well")


def _sizes(shape: InputShape | None) -> InputShape | None:
    """The same in Python's own numbers; OptionError where a size is none."""
    if shape is None:
        return None
    if isinstance(shape, Mapping):
        return {name: _whole(sizes) for name, sizes in shape.items()}
    return _whole(shape)


def _whole(sizes: object) -> tuple[int, ...]:
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise OptionError(f"--input-shape {sizes!r} must be whole numbers without the batch, such as --input-shape 96,96,3")
    return tuple(choices.whole("a size in --input-shape", size, 1) for size in sizes)
