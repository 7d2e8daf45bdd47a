"""What may be asked of a result, and how it is typed: ``drop <= 2``, ``size >= 4x``, ``latency <= 5 ms``, ``integer only``.

Nothing heavy is loaded for it: a wrong criterion is refused at once.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

from intact import reading
from intact.errors import OptionError, located

Of: TypeAlias = Literal["float", "quantized", "difference"]
#: What a figure takes to be measured: labels that are classes, outputs that are classes, any outputs, a metric, a file alone,
#: time, the target's memory; or it is of the simulator beside the runtime.
Group: TypeAlias = Literal["labels", "classes", "outputs", "metric", "file", "time", "device", "simulator"]

#: Bytes of an accept.toml.
_LONGEST: Final = 1 << 16
#: Characters of a criterion, and of one that is shown.
_LONG: Final = 400
_SHOWN: Final = 80
#: A limit on a share at or below which it was meant as a part of 1.
_PART: Final = 1.0
#: The most that a share is, in per cent.
_WHOLE: Final = 100.0


@final
@dataclass(frozen=True)
class Figure:
    """A figure that runs measure, as readings name it. ``of``: whose it is, the first where nothing is said.

    ``unit``: that of its value. ``handy``: what else it is called. ``times``: the figure that it becomes where it is compared
    with so many ``x``. ``each``: whether every output has one of its own where there are several.
    """

    name: str
    of: tuple[Of, ...]
    unit: str
    group: Group
    handy: tuple[str, ...] = ()
    times: str = ""
    each: bool = False


_BOTH: Final[tuple[Of, ...]] = ("quantized", "float")
_MADE: Final[tuple[Of, ...]] = ("quantized",)
_GIVEN: Final[tuple[Of, ...]] = ("float",)
_GAP: Final[tuple[Of, ...]] = ("difference",)
#: No reading, but two of them: the float file's over the quantized one's.
PEAK_RATIO: Final = "peak memory ratio"
FLASH: Final = "flash"
ARENA: Final = "TFLM arena"
DROP: Final = "accuracy drop"
ACCURACY: Final = "top-1 accuracy"
AGREEMENT: Final = "agreement with float"
IN_FLOAT: Final = "ops in float"
INTEGER_ONLY: Final = "integer only"

FIGURES: Final = (
    Figure(DROP, _GAP, "percentage points", "labels", ("drop",)),
    Figure(ACCURACY, _BOTH, "%", "labels", ("accuracy", "top-1")),
    Figure("top-5 accuracy", _BOTH, "%", "labels", ("top-5",)),
    Figure("top-5 drop", _GAP, "percentage points", "labels"),
    Figure("cross entropy", _BOTH, "nats", "labels", ("loss",)),
    Figure("cross entropy increase", _GAP, "nats", "labels", ("loss increase",)),
    Figure(AGREEMENT, _MADE, "%", "classes", ("agreement",), each=True),
    Figure("SQNR", _MADE, "dB", "outputs", each=True),
    Figure("SQNR without the mean", _MADE, "dB", "outputs", each=True),
    Figure("SQNR of the worst channel", _MADE, "dB", "outputs", each=True),
    Figure("levels used", _MADE, "", "outputs", ("levels",), each=True),
    Figure("pixels of the same class", _MADE, "%", "outputs", ("pixels",), each=True),
    Figure("equal numbers", _MADE, "%", "outputs", each=True),
    *(Figure(name, _BOTH, "", "metric") for name in ("mse", "mae", "auc", "iou", "metric")),
    *(Figure(f"{name} increase", _GAP, "", "metric") for name in ("mse", "mae")),
    *(Figure(f"{name} drop", _GAP, "", "metric") for name in ("auc", "iou", "metric")),
    Figure("file size", _BOTH, "bytes", "file", ("size",), times="size ratio"),
    Figure("size ratio", _GAP, "x", "file"),
    Figure("size ratio to the file given", _GAP, "x", "file"),
    Figure("bytes of weights", _BOTH, "bytes", "file", ("weights",), times="weights ratio"),
    Figure("weights ratio", _GAP, "x", "file"),
    Figure("weights ratio in theory", _GAP, "x", "file"),
    Figure("latency", _BOTH, "ms", "time", times="speed-up"),
    Figure("speed-up", _GAP, "x", "time"),
    Figure("peak live activations", _BOTH, "bytes", "file", ("peak memory", "memory"), times=PEAK_RATIO),
    Figure(PEAK_RATIO, _GAP, "x", "file"),
    Figure(FLASH, _MADE, "bytes", "device"),
    Figure(ARENA, _MADE, "bytes", "device", ("arena",)),
    Figure("activations (estimate)", _MADE, "bytes", "device"),
    Figure("persistent part (estimate)", _MADE, "bytes", "device"),
    Figure(IN_FLOAT, _MADE, "ops", "file"),
    Figure("parameters", _GIVEN, "", "file"),
    Figure("multiply-accumulates", _GIVEN, "", "file", ("MACs",)),
    Figure("simulator = runtime, bit for bit", _MADE, "", "simulator"),
    Figure("simulator = runtime, to float32's rounding", _MADE, "", "simulator"),
    Figure("largest difference", _MADE, "steps", "simulator"),
    Figure("largest difference (float simulator)", _MADE, "steps", "simulator", each=True),
    Figure("identical stored integers (float simulator)", _MADE, "%", "simulator", each=True),
    Figure("SQNR of runtime against simulator (float simulator)", _MADE, "dB", "simulator", each=True),
)
#: What a metric loses is called, for metrics by name; "metric drop" for a function of the user's.
LOSSES: Final[Mapping[str, str]] = MappingProxyType(
    {"mse": "mse increase", "mae": "mae increase", "auc": "auc drop", "iou": "iou drop"}
)
#: Units by what they measure, each with what one of it is of the figure's own.
_BYTES: Final = {
    "b": 1, "byte": 1, "bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip
_TIMES: Final = {"x": 1, "\N{MULTIPLICATION SIGN}": 1, "times": 1}
UNITS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "bytes": _BYTES,
        "ms": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1, "s": 1e3},
        "percentage points": {"%": 1, "percent": 1, "pp": 1, "point": 1, "points": 1, "percentage points": 1},
        "%": {"%": 1, "percent": 1, "per cent": 1},
        "dB": {"db": 1},
        "x": _TIMES,
        "nats": {"nat": 1, "nats": 1},
        "ops": {"op": 1, "ops": 1},
        "steps": {"step": 1, "steps": 1},
        "": {},
    }
)
#: A unit to type, in sentences.
_SUCH_AS: Final = MappingProxyType({"bytes": "KiB, MB or B", "ms": "ms, us or s", "percentage points": "points", "x": "x"})
_WORDS: Final[Mapping[str, Of]] = MappingProxyType(
    {"float": "float", "quantized": "quantized", "integer": "quantized", "difference": "difference"}
)
_SIGNS: Final = MappingProxyType(
    {"≤": "<=", "=<": "<=", "<=": "<=", "≥": ">=", "=>": ">=", ">=": ">=", "<": "<", ">": ">", "=": "=", "==": "="}
)
_NUMBER: Final = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_GRAMMAR: Final = re.compile(rf"([^<>≤≥]+?)\s*(<=|>=|=<|=>|==|≤|≥|<|>|=)\s*({_NUMBER})\s*([^\d\s<>=≤≥.,][^<>=≤≥]*)?")
_YES: Final = re.compile(r"(.+?)\s*==?\s*(yes|true|1)", re.IGNORECASE)
#: How an accept.toml spells a comparison.
_KEYS: Final = MappingProxyType({"at_most": "<=", "at_least": ">=", "below": "<", "above": ">"})
_HOW: Final = 'type it as "drop <= 2", "size >= 4x", "latency <= 5 ms" or "integer only"'


@final
@dataclass(frozen=True)
class Criterion:
    """``figure`` ``of`` a file, or of their difference, ``comparison`` ``limit``, in the figure's own ``unit``.

    ``text`` as it was typed, ``typed`` the unit there. ``each``: whether it is for all outputs that have the figure.
    """

    text: str
    figure: str
    of: Of
    comparison: Literal["<=", "<", ">=", ">", "="]
    limit: float
    unit: str
    group: Group
    typed: str = ""
    each: bool = False

    @property
    def is_upper(self) -> bool:
        """Whether less is better."""
        return self.comparison in {"<=", "<", "="}

    @property
    def is_of_outputs(self) -> bool:
        """Whether it depends on what the outputs are whether there is such a figure."""
        return self.group in {"labels", "classes", "outputs"}

    def holds(self, value: float) -> bool:
        """Whether a value satisfies it; no undefined one does."""
        beyond = value > self.limit if self.is_upper else value < self.limit
        return not (math.isnan(value) or beyond or (self.comparison in {"<", ">"} and value == self.limit))

    def under(self, metric: str | None) -> Criterion:
        """The same where ``metric`` says what is lost: ``drop`` is then in its unit, as a limit is. OptionError where ``drop``
        was given another unit, or a metric is asked for that nothing measures.
        """
        if metric is None:
            if self.group == "metric":
                raise OptionError(f"{_short(self.text)}: no metric is measured; type --metric as well, or another figure")
            return self
        if self.figure != DROP:
            return self
        lost = LOSSES.get(metric, "metric drop")
        if self.typed:
            raise OptionError(
                f"{_short(self.text)}: beside a metric the drop is in its own unit; leave {self.typed} out, or the metric"
            )
        return replace(self, figure=lost, unit="", group="metric")

    def __str__(self) -> str:
        return self.text


#: What ``accept`` takes: criteria, or the path of a file of them.
Accept: TypeAlias = Iterable[str | Path | Criterion] | str | Path | Criterion


def parse(text: str) -> Criterion:
    """``"drop <= 2"`` as a criterion. OptionError for what is none, with what there is, the nearest first."""
    said = " ".join(text.split())
    if not said or len(said) > _LONG:
        raise OptionError(f"a criterion has 1 to {_LONG} characters, not {len(said):,}; {_HOW}")
    alone = _YES.fullmatch(said)
    if _key(alone[1] if alone else said) == _key(INTEGER_ONLY):
        return Criterion(INTEGER_ONLY, IN_FLOAT, "quantized", "=", 0.0, "ops", "file")
    found = _GRAMMAR.fullmatch(said)
    if found is None:
        if re.search(r"[<>=≤≥]", said) is None:
            _known(said, said)
        raise OptionError(f"{_short(said)} is no criterion; {_HOW}")
    name, sign, number, unit = found[1].strip(), _SIGNS[found[2]], float(found[3].replace(",", "")), (found[4] or "").strip()
    figure, of, called = _known(name, said)
    if sign == "=":
        raise OptionError(f"{_short(said)}: = is for integer only; type {name} with <= or >=")
    return _limited(figure, of, called, sign, number, unit, said)


def _limited(figure: Figure, of: Of, called: str, sign: str, number: float, unit: str, said: str) -> Criterion:  # noqa: PLR0913, PLR0917
    written = said.translate({ord("≤"): "<=", ord("≥"): ">="})
    if figure.times and unit.casefold() in _TIMES:
        if sign in {"<=", "<"}:
            raise OptionError(f"{_short(said)} is for a part of the float file's; type {figure.times} >= with how many times")
        figure, of = _BY_NAME[figure.times], "difference"
        called = figure.name
    scales = UNITS[figure.unit]
    if unit and unit.casefold() not in scales:
        takes = " or ".join(dict.fromkeys((_SUCH_AS.get(figure.unit, figure.unit), *(["x"] if figure.times else []))))
        raise OptionError(
            f"{_short(said)}: {called} is not in {_short(unit, quoted=False)}; "
            + (f"type {takes}" if takes else "leave the unit out")
        )
    share = figure.unit == "%" and not unit and 0 < number <= _PART
    if share:
        raise OptionError(f"{_short(said)}: {called} is in per cent; type {100 * number:g}, or {number:g} % for so little")
    if figure.unit in {"bytes", "ms"} and not unit and number:
        raise OptionError(f"{_short(said)}: {number:g} of what; type a unit: {_SUCH_AS[figure.unit]}")
    limit = number * scales[unit.casefold()] if unit else number
    if not math.isfinite(limit):
        raise OptionError(f"{_short(said)} has a limit that no number reaches; type one that does")
    if figure.unit == "%" and sign in {">=", ">"} and (limit > _WHOLE or (sign == ">" and limit == _WHOLE)):
        raise OptionError(f"{_short(said)}: {called} is 100 % at most; type a limit that it can have")
    return Criterion(written, called, of, sign, limit, figure.unit, figure.group, unit, figure.each and called == figure.name)  # type: ignore[arg-type]  # a sign of the table


def _key(name: str) -> str:
    """``"Speed-up"`` and ``"speedup"`` are one name."""
    return re.sub(r"[\s_-]+", "", name).casefold()


_BY_NAME: Final = MappingProxyType({figure.name: figure for figure in FIGURES})
_BY_KEY: Final = MappingProxyType({_key(name): figure for figure in FIGURES for name in (figure.name, *figure.handy)})


def _known(name: str, said: str) -> tuple[Figure, Of, str]:
    """The figure that is called so, whose, and under which name it is read."""
    first, _, rest = name.partition(" ")
    asked = _WORDS.get(first.casefold()) if rest and _key(name) not in _BY_KEY else None
    plain = rest.strip() if asked is not None else name
    for at in (len(plain), *(m.start() for m in reversed(list(re.finditer(" of ", plain))))):
        figure = _BY_KEY.get(_key(plain[:at]))
        if figure is None or (at < len(plain) and not figure.each):
            continue
        if asked is not None and asked not in figure.of:
            raise OptionError(f"{_short(said)}: there is no {figure.name} of {asked}; type {plain}")
        return figure, asked or figure.of[0], figure.name + plain[at:]
    raise OptionError(f"no figure is called {_short(plain)}; there are: {', '.join(_listed(plain))}")


def _listed(name: str) -> tuple[str, ...]:
    """What there is, the nearest to ``name`` first, each figure by the name that is quickest typed."""
    quick = (INTEGER_ONLY, *((f.handy or (f.name,))[0] for f in FIGURES if f.group != "simulator"))
    by_key = {_key(n): n for n in (*(n for f in FIGURES for n in (f.name, *f.handy)), INTEGER_ONLY)}
    near = (by_key[key] for key in difflib.get_close_matches(_key(name), by_key, 3, 0.6))
    return tuple(dict.fromkeys((*near, *quick)))


def base(name: str) -> str:
    """The figure that a reading is of, without the output that it belongs to: ``SQNR of logits`` is an ``SQNR``."""
    whole = (f.name for f in FIGURES if name == f.name or (f.each and name.startswith(f"{f.name} of ")))
    return max(whole, key=len, default=name)


def _short(text: str, quoted: bool = True) -> str:
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return repr(cut) if quoted else cut


def criteria(accept: object) -> tuple[Criterion, ...]:
    """All that ``accept`` asks for, each once: a text, the path of an accept.toml (or a text ending in .toml), or several."""
    if accept is None:
        return ()
    given = (accept,) if isinstance(accept, (str, Path, Criterion)) else accept
    if not isinstance(given, Iterable):
        raise OptionError(f"accept= takes criteria such as ['drop <= 2'], or the path of an accept.toml, not {accept!r}")
    found: dict[str, Criterion] = {}
    for one in given:
        for criterion in _each(one):
            found.setdefault(criterion.text, criterion)
    return tuple(found.values())


def _each(one: object) -> tuple[Criterion, ...]:
    if isinstance(one, Criterion):
        return (one,)
    if isinstance(one, Path) or (isinstance(one, str) and one.strip().casefold().endswith(".toml")):
        return load(Path(one))
    return (parse(_text(one)),)


def _text(one: object) -> str:
    if not isinstance(one, str):
        raise OptionError(f"a criterion is a text, not {type(one).__name__}; {_HOW}")
    return one


def load(path: str | Path) -> tuple[Criterion, ...]:
    """The criteria of an accept.toml: a list ``criteria = ["drop <= 2"]``, and tables by figure.

    ``[latency]`` with ``at_most = "5 ms"`` is ``latency <= 5 ms``; ``at_least``, ``below`` and ``above`` are the other signs,
    and ``"integer only" = true`` stands alone. OptionError, with the path, for anything else.
    """
    with located(str(path)):
        text = reading.content(Path(path), OptionError, _LONGEST)
        try:
            document = tomllib.loads(text.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise OptionError(f'is no TOML ({error}); write criteria = ["drop <= 2", "size >= 4x"]') from error
        found = tuple(parse(line) for line in _lines(document))
        if not found:
            raise OptionError('asks for nothing; write criteria = ["drop <= 2", "size >= 4x"]')
        return found


def _lines(document: Mapping[str, object]) -> Iterator[str]:
    for name, value in document.items():
        if name == "criteria" and isinstance(value, list):
            yield from map(_text, value)
        elif isinstance(value, dict) and value and value.keys() <= _KEYS.keys():
            for key, limit in value.items():
                if isinstance(limit, bool) or not isinstance(limit, (int, float, str)):
                    raise OptionError(f'{key} of {_short(name)} takes a number or a text such as "5 ms"')
                yield f"{name} {_KEYS[key]} {limit}"
        elif value is True:
            yield name
        else:
            raise OptionError(
                f"{_short(name)} says nothing here; write criteria = [...], or a table of a figure with at_most, at_least, "
                "below or above"
            )
