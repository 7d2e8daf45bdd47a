"""Which runs a study is made of: every combination of what is asked for that can differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias, final

from intact import choices
from intact.choices import Granularity
from intact.errors import OptionError
from intact.planning.schemes import SCHEMES
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.run.settings import Settings
from intact.runtime import runtimes as rows
from intact.runtime.runtimes import Runtime

#: What a word of ``--remedies`` of a study stands for, as :class:`~intact.run.settings.Settings` has it.
REMEDIES: Final[Mapping[str, tuple[str, ...] | None]] = {
    "plain": (),
    "quick": None,
    "fine-tuned": ("equalize", "finetune"),
}
#: Several names, or one text with commas between them.
Names: TypeAlias = str | Iterable[str]
Numbers: TypeAlias = str | int | Iterable[int]
#: Characters of a model's name in the name of a folder.
_LONGEST: Final = 40
#: Threads of a runtime at most.
_THREADS: Final = 256
#: Runs and repeats of a study at most.
_MOST: Final = 10_000


@final
@dataclass(frozen=True)
class Axes:
    """What a study goes through. Empty ``schemes``: all that each target runs; empty ``runtimes``: LiteRT, with each target's
    kernels; empty ``targets``: those that the runtimes are planned for. OptionError for what there is not.

    ``seeds``: how many times samples for calibration and learning are drawn; ``repeats``: how many times everything is timed,
    each in a fresh process; ``threads`` of the runtime, for times.
    """

    schemes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    weights: tuple[Granularity, ...] = ("per-channel",)
    remedies: tuple[str, ...] = ("quick",)
    calibration_samples: tuple[int, ...] = (500,)
    threads: tuple[int, ...] = (1,)
    seeds: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        for name in self.schemes:
            _one("--schemes", name, scheme_named)
        for name in self.targets:
            _one("--targets", name, target_named)
        for name in self.runtimes:
            _one("--runtimes", name, rows.runtime)
        for name in self.remedies:
            remedies_called(name)
        for what, empty in (("weights", self.weights), ("remedies", self.remedies)):
            if not empty:
                raise OptionError(f"--{what} names none; type one or several with commas between them")
        for option, values in (("--calibration-samples", self.calibration_samples), ("--threads", self.threads)):
            if not values:
                raise OptionError(f"{option} names none; type one or several with commas between them")
            for value in values:
                choices.whole(option, value, 1)
        if max(self.threads) > _THREADS:
            raise OptionError(f"--threads {max(self.threads):,} is more than any runtime has; type {_THREADS} at most")
        choices.whole("--seeds", self.seeds, 1)
        choices.whole("--repeats", self.repeats, 1)

    @classmethod
    def of(  # noqa: PLR0913  # one argument per option
        cls,
        *,
        schemes: Names | None = None,
        targets: Names | None = None,
        runtimes: Names | None = None,
        weights: Names = "per-channel",
        remedies: Names = "quick",
        calibration_samples: Numbers = 500,
        threads: Numbers = 1,
        seeds: int = 1,
        repeats: int = 1,
    ) -> Axes:
        """The same from texts with commas, or from what is a list already."""
        return cls(
            schemes=_if_given("--schemes", schemes),
            targets=_if_given("--targets", targets),
            runtimes=_if_given("--runtimes", runtimes),
            weights=tuple(choices.granularity(name) for name in _names("--weights", weights)),
            remedies=_names("--remedies", remedies),
            calibration_samples=_numbers("--calibration-samples", calibration_samples),
            threads=_numbers("--threads", threads),
            seeds=choices.whole("--seeds", seeds, 1),
            repeats=choices.whole("--repeats", repeats, 1),
        )

    @property
    def places(self) -> tuple[tuple[str, Runtime | None], ...]:
        """Each target with the runtime that its files run in; None for LiteRT with the target's kernels, which nobody named."""
        named = tuple(map(rows.runtime, self.runtimes))
        if not named:
            return tuple((target, None) for target in self.targets or ("cpu",))
        if not self.targets:
            return tuple((runtime.target, runtime) for runtime in named)
        return tuple(product(self.targets, named))

    @property
    def planned_for(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(target for target, _ in self.places))

    def called(self, target: str, runtime: Runtime | None) -> str:
        """A place in the name of a variant: no target that follows from the runtime."""
        if runtime is None:
            return target
        return f"{target} {runtime.name}" if self.targets and target != runtime.name else runtime.name


def remedies_called(name: str) -> tuple[str, ...] | None:
    """``"plain"``, ``"quick"``, ``"fine-tuned"``, or names of remedies with ``+`` between them."""
    if name in REMEDIES:
        return REMEDIES[name]
    try:
        return choices.remedies(name.split("+"))
    except OptionError as error:
        raise OptionError(
            f"no remedies are called {name!r}; type --remedies with some of {', '.join(REMEDIES)}, or names of remedies with + "
            f"between them: {', '.join(choices.REMEDIES)}"
        ) from error


def _one(option: str, name: str, look: Any) -> None:
    try:
        look(name)
    except OptionError as error:
        raise OptionError(re.sub(r"--(scheme|target|runtime)\b", option, error.message)) from error


def _names(option: str, given: Names) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else list(given)
    if not all(isinstance(name, str) for name in names):
        raise OptionError(f"{option} {names} must be names")
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def _if_given(option: str, given: Names | None) -> tuple[str, ...]:
    names = () if given is None else _names(option, given)
    if given is not None and not names:
        raise OptionError(f"{option} names none; type one or several with commas between them, or leave it out")
    return names


def _numbers(option: str, given: Numbers) -> tuple[int, ...]:
    values: list[Any]
    if isinstance(given, str):
        try:
            values = [int(part) for part in given.split(",") if part.strip()]
        except ValueError as error:
            raise OptionError(f"{option} {given!r} must be whole numbers with commas between them") from error
    else:
        values = list(given) if isinstance(given, Iterable) else [given]
    return tuple(dict.fromkeys(choices.whole(option, value, 1) for value in values))


@final
@dataclass(frozen=True)
class Variant:
    """One run of a study in one runtime: what makes it other than those beside it. ``row``: its name without the seed,
    ``name`` with it; ``folder``: of the run, which several runtimes may have in common. ``runtime``: "" where none was named.
    """

    model: str
    number: int
    scheme: str
    target: str
    weights: Granularity
    remedies: str
    calibration_samples: int
    seed: int
    row: str
    name: str
    folder: str
    options: Mapping[str, Any] = field(compare=False, repr=False)
    runtime: str = ""

    def settings(self) -> Settings:
        """What ``intact quantize`` would be given; OptionError where that cannot be, or is nothing for the runtime."""
        if self.runtime:
            rows.runtime(self.runtime).check_target(self.target)
        return Settings(
            **{
                **self.options,
                "scheme": self.scheme,
                "target": self.target,
                "weights": self.weights,
                "remedies": remedies_called(self.remedies),
                "calibration_samples": self.calibration_samples,
                "seed": self.seed,
            }
        )

    def to_json(self) -> dict[str, Any]:
        names = ("model", "scheme", "target", "weights", "remedies", "calibration_samples", "seed")
        return {name: getattr(self, name) for name in names} | {"runtime": self.runtime or None, "device": self.device}

    @property
    def device(self) -> str:
        """What its times are of."""
        micro = not self.runtime or (self.runtime == "litert" and target_named(self.target).micro)
        return self.target if micro else rows.runtime(self.runtime).device


def variants(models: Sequence[str], axes: Axes, options: Mapping[str, Any], *, evaluated: bool) -> tuple[Variant, ...]:
    """All runs, those that differ in nothing that counts once: no float network has weights per channel, or calibrates.

    ``options`` are the settings that all have, ``seed`` the first one among them. ``evaluated``: whether there are samples that
    report whatever the seed.
    """
    each = len(models) * len(axes.weights) * len(axes.remedies) * len(axes.calibration_samples) * axes.seeds
    cells = each * sum(len(axes.schemes or runs_on(target)) for target, _ in axes.places) * axes.repeats * len(axes.threads)
    if cells > _MOST:
        raise OptionError(f"that makes {cells:,} cells; leave some out: {_MOST:,} do")
    found: dict[tuple[object, ...], Variant] = {}
    first = int(options.get("seed", 0))
    several = {
        "remedies": len(axes.remedies) > 1 or axes.remedies != ("quick",),
        "calibration": len(axes.calibration_samples) > 1,
        "seed": axes.seeds > 1,
    }
    for (number, model), (target, runtime) in product(enumerate(models), axes.places):
        for scheme, weights, remedies, calibration, seed in product(
            axes.schemes or runs_on(target), axes.weights, axes.remedies, axes.calibration_samples, range(axes.seeds)
        ):
            made = scheme_named(scheme)
            whole, learns = made.weights.startswith("int"), made.learns or (made.is_hybrid and remedies_called(remedies))
            if not whole:
                weights = axes.weights[0]  # noqa: PLW2901  # the same file for all of them
            if not learns:
                calibration = axes.calibration_samples[0]  # noqa: PLW2901
                seed = 0 if evaluated else seed  # noqa: PLW2901
                if remedies_called(remedies) is None and "plain" in axes.remedies:
                    remedies = "plain"  # noqa: PLW2901
            rest = (
                remedies if several["remedies"] and learns else "" if remedies in REMEDIES else remedies,
                f"{calibration} samples" if several["calibration"] and learns else "",
            )
            if not learns and remedies_called(remedies):
                rest = (remedies, "")
            grain = weights if whole else ""
            told = grain if runtime is None or len(axes.weights) > 1 else ""
            row, run = (
                " ".join(part for part in (model, scheme, *where, *rest) if part)
                for where in ((axes.called(target, runtime), told), (target, grain))
            )
            drawn = f" seed {first + seed}" if several["seed"] else ""
            made_of = (number, scheme, target, weights, remedies, calibration, seed)
            key = (*made_of, "" if runtime is None else runtime.name)
            if key not in found:
                found[key] = Variant(model, *made_of[:-1], first + seed, row, row + drawn, run + drawn, options, key[-1])
    _check(found.values())
    return tuple(_in_folders(found))


def _check(made: Iterable[Variant]) -> None:
    """OptionError where no variant can be: what cannot be asked for at all is said before any work."""
    first: OptionError | None = None
    for variant in made:
        try:
            variant.settings()
        except OptionError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise OptionError(f"no variant could be made; the first: {first.message}") from first


def _in_folders(found: Mapping[tuple[object, ...], Variant]) -> Iterator[Variant]:
    """Each run with a folder of its own, by its name as far as that can be one; by what it is of, whatever runs it."""
    taken: dict[str, tuple[object, ...]] = {}
    for (*of, _), variant in found.items():
        stem = re.sub(r"[^A-Za-z0-9]+", "-", variant.model)[:_LONGEST].strip("-") or "model"
        rest = re.sub(r"[^A-Za-z0-9+]+", "-", variant.folder.removeprefix(variant.model)).strip("-")
        folder, run = f"{stem}-{rest}", tuple(of)
        if taken.get(folder, run) != run:
            folder = next((name for name, other in taken.items() if other == run), f"{folder}-{len(taken)}")
        taken[folder] = run
        yield replace(variant, folder=folder)


def runs_on(target: str) -> tuple[str, ...]:
    """Every usual scheme that a target's runtime has kernels for."""
    return tuple(name for name, made in SCHEMES.items() if made.usual and name not in target_named(target).refuses)


def names_of(models: Sequence[object]) -> tuple[str, ...]:
    """What a study calls its models: files by their stem, others by their class; numbered where that is not enough."""
    short = [Path(m).stem if isinstance(m, (str, Path)) else type(m).__name__.lower() for m in models]
    whole = [Path(m).name if isinstance(m, (str, Path)) else name for m, name in zip(models, short, strict=True)]
    numbered = [f"{name}-{n}" for n, name in enumerate(short, start=1)]
    return next(tuple(names) for names in (short, whole, numbered) if len(set(names)) == len(names))
