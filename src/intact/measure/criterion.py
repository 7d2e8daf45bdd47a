"""What may be asked of a result, and how it is typed: ``drop <= 2``, ``size >= 4x``, ``latency <= 5 ms``, ``integer only``.

Nothing heavy is loaded for it: a wrong criterion is refused at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

from intact import reading
from intact.errors import OptionError, located
from intact.measure.criterion_figures import DROP, FIGURES, IN_FLOAT, INTEGER_ONLY, LOSSES, UNITS, Extent, Figure, Group, Of

#: Bytes of an accept.toml.
_LONGEST: Final = 1 << 16
#: Characters of a criterion, and of one that is shown.
_LONG: Final = 400
_SHOWN: Final = 80
#: A limit on a share at or below which it was meant as a part of 1.
_PART: Final = 1.0
#: Points below which a drop was meant as a part of 1, and times below which a ratio was meant the other way round.
_LITTLE: Final = 0.1
_HALF: Final = 0.5
#: A unit to type, in sentences.
_SUCH_AS: Final = MappingProxyType(
    {"bytes": ("KiB", "MB", "B"), "ms": ("ms", "us", "s"), "percentage points": ("points",), "samples/s": ("samples/s",)}
)
#: A comparison the other way round.
_OTHERWISE: Final = MappingProxyType({"<=": ">=", "<": ">", ">=": "<=", ">": "<"})
_WORDS: Final[Mapping[str, Of]] = MappingProxyType(
    {"float": "float", "quantized": "quantized", "integer": "quantized", "difference": "difference"}
)
_SIGNS: Final = MappingProxyType(
    {"≤": "<=", "=<": "<=", "<=": "<=", "≥": ">=", "=>": ">=", ">=": ">=", "<": "<", ">": ">", "=": "=", "==": "="}
)
_NUMBER: Final = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_GRAMMAR: Final = re.compile(rf"([^<>≤≥]+?)\s*(<=|>=|=<|=>|==|≤|≥|<|>|=)\s*({_NUMBER})\s*([^\d\s<>=≤≥.,][^<>=≤≥]*)?")
_YES: Final = re.compile(r"(.+?)\s*==?\s*(yes|true|1)", re.IGNORECASE)
#: A criterion on a device.
_ON: Final = re.compile(r"(.+?) on (\S+)")
#: How an accept.toml spells a comparison.
_KEYS: Final = MappingProxyType({"at_most": "<=", "at_least": ">=", "below": "<", "above": ">"})
_HOW: Final = 'type it as "drop <= 2", "size >= 4x", "latency <= 5 ms" or "integer only"'


@final
@dataclass(frozen=True)
class Criterion:
    """``figure`` ``of`` a file, or of their difference, ``comparison`` ``limit``, in the figure's own ``unit``.

    ``text`` as it was typed, ``typed`` the unit there. ``each``: whether it is for all outputs that have the figure.
    ``on``: the device that it has to be measured on, where one is named.
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
    on: str = ""

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

    def check_place(self, on: str | None) -> None:
        """OptionError for a criterion on another device than figures are measured ``on``."""
        if self.on and self.on != on:
            raise OptionError(f"{_short(self.text)} is not measured on {on or 'this machine'}; type --on {self.on}")

    def under(self, metric: str | None) -> Criterion:
        """The same where ``metric`` says what is lost: ``drop`` is then in its unit, as a limit is. OptionError where ``drop``
        was given another unit, or a metric is asked for that nothing measures, or the limit is none that the figure can have.
        """
        if metric is None:
            if self.group == "metric":
                raise OptionError(f"{_short(self.text)}: no metric is measured; type --metric as well, or another figure")
            if self.figure == DROP and not self.typed and 0 < self.limit < _LITTLE:
                much, little = f"drop {self.comparison} {100 * self.limit:g}", f"{self.limit:g} points"
                raise OptionError(f"{_short(self.text)}: drop is in percentage points; type {much}, or {little} for so little")
            return possible(self, _BY_NAME[DROP].extent) if self.figure == DROP else self
        if self.figure != DROP:
            return self
        lost = LOSSES.get(metric, "metric drop")
        if self.typed:
            raise OptionError(
                f"{_short(self.text)}: beside a metric the drop is in its own unit; leave {self.typed} out, or the metric"
            )
        return possible(replace(self, figure=lost, unit="", group="metric"), _BY_NAME[lost].extent)

    def __str__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class _Typed:
    """A criterion by its parts, ``number`` in ``unit`` as typed; ``said`` is all of it."""

    said: str
    name: str
    sign: str
    number: float
    unit: str


#: What ``accept`` takes: criteria, or the path of a file of them.
Accept: TypeAlias = Iterable[str | Path | Criterion] | str | Path | Criterion


def parse(text: str) -> Criterion:
    """``"drop <= 2"`` or ``"latency <= 20 ms on pi"`` as a criterion. OptionError for what is none, with what there is, the
    nearest first.
    """
    said = " ".join(text.split())
    if not said or len(said) > _LONG:
        raise OptionError(f"a criterion has 1 to {_LONG} characters, not {len(said):,}; {_HOW}")
    placed = _ON.fullmatch(said)
    if placed is None:
        return _parsed(text, said)
    made = _parsed(placed[1], placed[1])
    return replace(made, text=f"{made.text} on {placed[2]}", on=placed[2])


def _parsed(text: str, said: str) -> Criterion:
    alone = _YES.fullmatch(said)
    if _key(alone[1] if alone else said) == _key(INTEGER_ONLY):
        return Criterion(INTEGER_ONLY, IN_FLOAT, "quantized", "=", 0.0, "ops", "file")
    found = _GRAMMAR.fullmatch(said)
    if found is None:
        if re.search(r"[<>=≤≥]", said) is None:
            _no_path(text)
            _known(said, said)
        raise OptionError(f"{_short(said)} is no criterion; {_HOW}")
    number = float(found[3].replace(",", ""))
    typed = _Typed(said, found[1].strip(), _SIGNS[found[2]], number, (found[4] or "").strip())
    figure, of, called = _known(typed.name, said)
    if typed.sign == "=":
        raise OptionError(f"{_short(said)}: = is for integer only; type {typed.name} with <= or >=")
    return _limited(typed, figure, of, called)


def _limited(typed: _Typed, figure: Figure, of: Of, called: str) -> Criterion:
    said, sign, number, unit = _short(typed.said), typed.sign, typed.number, typed.unit
    if figure.times and unit.casefold() in UNITS["x"]:
        called = figure.times
        figure, of = _times(typed, figure, of), "difference"
    scales = UNITS[figure.unit]
    if unit and unit.casefold() not in scales:
        raise OptionError(f"{said}: {_no_unit(figure, called, unit)}")
    if figure.unit == "%" and not unit and 0 < number <= _PART:
        raise OptionError(f"{said}: {called} is in per cent; type {100 * number:g}, or {number:g} % for so little")
    if figure.extent.better == ("more" if sign in {"<=", "<"} else "less"):
        meant = f"{typed.name} {_OTHERWISE[sign]} {abs(number):.15g}{unit if figure.unit == 'x' else f' {unit}'}".rstrip()
        asks = "less" if figure.extent.better == "more" else "more"
        raise OptionError(f"{said} asks for {asks} {called}, which is worse; type {meant}")
    if figure.unit in {"bytes", "ms"} and not unit and number > 0:
        raise OptionError(f"{said}: {number:g} of what; type a unit: {_either(_SUCH_AS[figure.unit])}")
    limit = number * scales[unit.casefold()] if unit else number
    if not math.isfinite(limit):
        raise OptionError(f"{said} has a limit that no number reaches; type one that does")
    if figure.unit == "x" and figure.group == "file" and 0 < limit < _HALF:
        times = f"{1 / limit:.3g}"
        raise OptionError(f"{said} takes {times} times the float file's; type {figure.name} {sign} {times} for so much less")
    written = typed.said.translate({ord("≤"): "<=", ord("≥"): ">="})
    each = figure.each and called == figure.name
    made = Criterion(written, called, of, sign, limit, figure.unit, figure.group, unit, each)  # type: ignore[arg-type]  # a sign of the table
    return made if figure.name == DROP else possible(made, figure.extent)  # a drop may be of a metric yet


def possible(criterion: Criterion, extent: Extent) -> Criterion:
    """``criterion``, where there are values of its figure that satisfy it, and others; OptionError where there are none."""
    beyond = extent.beyond(criterion.comparison, criterion.limit)
    if not beyond:
        return criterion
    so = "no file passes" if beyond == "never" else "every file passes"
    is_ = f"{criterion.figure} is {extent.said(criterion.unit)}"
    raise OptionError(f"{_short(criterion.text)}: {is_}, so {so}; type another limit")


def _times(typed: _Typed, figure: Figure, of: Of) -> Figure:
    """The figure that compares both files, where ``figure`` of one of them is given in times."""
    said, number = _short(typed.said), typed.number
    if of == "float":
        raise OptionError(f"{said} compares both files; type {figure.times} >= {number:g}{typed.unit} without float")
    if typed.sign in {"<=", "<"}:
        times = f"{number if number >= 1 else 1 / number:.3g}" if number > 0 else "2"
        raise OptionError(f"{said}: of the float file's, more times are better; type {figure.times} >= {times}")
    return _BY_NAME[figure.times]


def _no_unit(figure: Figure, called: str, unit: str) -> str:
    takes = (*_SUCH_AS.get(figure.unit, (figure.unit,) if figure.unit else ()), *(("x",) if figure.times else ()))
    if unit.startswith("_"):
        return "a number is typed without _, as 1000 or 1,000"
    return (
        f"{called} is not in {_short(unit, quoted=False)}; type {_either(takes)}"
        if takes
        else (f"{called} is not in {_short(unit, quoted=False)}; leave the unit out")
    )


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


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


def is_of_samples(name: str) -> bool:
    """Whether a reading depends on the samples that it was taken on; so does one of a figure that is not known."""
    known = _BY_NAME.get(base(name))
    return known is None or known.is_of_samples


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


def _no_path(text: str) -> None:
    """A file or folder that was given in place of a criterion is none that is misspelt."""
    try:
        there = Path(text).exists() and _key(text) not in _BY_KEY
    except (OSError, ValueError):
        return
    if there:
        kind = "folder" if Path(text).is_dir() else "file that does not end in .toml"
        raise OptionError(f"{_short(text)} is a {kind}; give the path of an accept.toml, or a criterion, and {_HOW}")


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
        try:
            document = reading.toml(Path(path), OptionError, _LONGEST)
        except reading.NoTomlError as error:
            raise OptionError(f'is no TOML ({error}); write criteria = ["drop <= 2", "size >= 4x"]') from error
        found = tuple(parse(line) for line in _lines(document))
        if not found:
            raise OptionError('asks for nothing; write criteria = ["drop <= 2", "size >= 4x"]')
        return found


def _lines(document: Mapping[str, object]) -> Iterator[str]:
    for name, value in document.items():
        if name == "criteria" and isinstance(value, list):
            yield from map(_text, value)
        elif isinstance(value, dict) and value:
            for key, limit in value.items():
                if key not in _KEYS:
                    raise OptionError(f"{_short(name)} has a {_short(key)}; a table of a figure takes {', '.join(_KEYS)}")
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
