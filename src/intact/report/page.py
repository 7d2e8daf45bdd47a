"""A run or a study as one HTML file that stands alone: it opens from disk, asks for nothing, and runs no script but its own.

Where no script runs, everything is there, as text and tables; scripts draw the charts and sort. What others named is escaped
by the templates, in the data of the charts too, and the policy of the page allows its own scripts and styles by their hashes.

So that a page is seen soon, what lies below its verdict stands in ``noscript`` elements: where scripts run, a browser reads
these as text, which ``static/start.js`` puts in place once the first frame has been seen. The scripts and their data are packed
(gzip, base64) in elements that run nothing, and unpacked then; and a page is ASCII, of which a browser keeps half the bytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as held_in
from typing import Any, Final, final

from jinja2 import Environment, PackageLoader, StrictUndefined

from intact.report import page_firmware, page_run, page_study
from intact.report.numbers import interval, number
from intact.wording import quantity, shown

#: The style that Observable Plot puts into each chart: static/VENDORED.md.
_PLOT_STYLE: Final = "sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww="
#: Scripts of others, and the notices that must go with them.
CHARTS: Final = ("d3.min.js", "plot.min.js")
NOTICES: Final = ("d3.LICENSE", "plot.LICENSE")
#: What every page runs: its own scripts stand on those of others.
SCRIPTS: Final = (*CHARTS, "charts.js", "page.js")
_TYPED: Final = re.compile(r"(--[a-z][a-z-]*(?: (?!gives|with|which|says|looks|or\b|and\b)(?:\"[^\"]*\"|[\w.*/-]*[\w*/]))?)")
_PICTURE: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/=]*")
#: What JSON inside HTML must not have: what ends the element.
_UNSAFE: Final[dict[str, str | int | None]] = {c: f"\\u{ord(c):04x}" for c in "<>&"}


@final
@dataclass(frozen=True)
class Section:
    """One more part of a page: its ``id``, its ``title``, the HTML under it (without ``noscript``, in which it stands), and the
    scripts that come after all others.

    ``data`` is there for them as JSON in the element with the id ``data-ID``. ``policy``: what the page's security policy must
    allow besides, such as ``"worker-src blob:"``.
    """

    id: str
    title: str
    html: str
    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    data: Any = None
    policy: tuple[str, ...] = ()


def html_of(
    document: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
    files: Sequence[Mapping[str, Any]] = (),
    sections: Sequence[Section] = (),
) -> str:
    """The page of a run's or a study's document, which :func:`intact.report.checked.parsed` has let through, or of a fit's.

    ``details``: what a run's details.json holds; ``files``: name, bytes and SHA-256 of each file that is handed over.
    """
    if document["schema"].startswith("intact-study/"):
        return _rendered("page_study.html.j2", page_study.view(document), page_study.charts(document), sections)
    if document["schema"].startswith("intact-fit/"):
        return _rendered(
            "page_fit.html.j2", page_firmware.page(document), {"firmware": page_firmware.chart(document)}, sections
        )
    held = (details or {}).get("firmware")
    view = {**page_run.view(document, details, files), "firmware": page_firmware.view(held)}
    data = {**page_run.charts(document, details), "firmware": page_firmware.chart(held)}
    return _rendered("page_run.html.j2", view, data, sections)


def _rendered(template: str, view: Mapping[str, Any], data: Mapping[str, Any], sections: Sequence[Section]) -> str:
    more = [text for section in sections for text in section.scripts]
    starter = static("start.js")
    styles = [static("page.css")] + [text for section in sections for text in section.styles]
    return ascii_of(
        environment()
        .get_template(template)
        .render(
            **view,
            policy=policy(
                [*map(static, SCRIPTS), *more, starter], styles, [rule for section in sections for rule in section.policy]
            ),
            styles=styles,
            scripts=[*map(packed_static, SCRIPTS), *map(packed, more)],
            notices=[static(name) for name in NOTICES],
            starter=starter,
            data=packed(embedded(data)),
            sections=[(each, None if each.data is None else packed(embedded(each.data))) for each in sections],
        )
    )


def ascii_of(page: str) -> str:
    """A page with ``&#233;`` for ``\u00e9``, which reads the same; what its scripts and styles hold as it is must be ASCII."""
    return page.encode("ascii", "xmlcharrefreplace").decode("ascii")


def packed(text: str) -> str:
    """What ``static/start.js`` unpacks: gzip of UTF-8, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


@cache
def packed_static(name: str) -> str:
    """One of the files that pages are made of, packed."""
    return packed(static(name))


@cache
def environment() -> Environment:
    """Templates that escape whatever is put into them, after :func:`~intact.wording.shown`."""
    made = Environment(
        loader=PackageLoader("intact", "report"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "quantity": lambda x, unit: quantity(float(x), unit),
        "interval": interval,
        "at": lambda names, n: names[n] if 0 <= n < len(names) else f"class {n}",
        "picture": _picture,
        "score": lambda x: "" if x is None else f"{float(x):.2f}",
        "parts": _parts,
    }
    return made


def _picture(text: str | None) -> str:
    """A picture in the page itself: what else a document may say is none."""
    return text if text and _PICTURE.fullmatch(text) else ""


def _parts(text: str) -> list[tuple[bool, str]]:
    """A sentence in parts, each with whether it is what one types: an option with its value."""
    return [(n % 2 == 1, part) for n, part in enumerate(_TYPED.split(shown(text))) if part]


def _seen(value: object) -> object:
    return shown(value) if type(value) is str else value  # what a template made is a class of its own


@cache
def static(name: str) -> str:
    """A file that pages are made of."""
    return held_in("intact").joinpath("report", "static", name).read_text(encoding="utf-8")


def embedded(data: Any) -> str:
    """``data`` as JSON that can stand in an element of HTML, its texts as they are shown."""
    text = json.dumps(_named(data), allow_nan=False, separators=(",", ":"))
    return text.translate(str.maketrans(_UNSAFE))


def _named(data: Any) -> Any:
    if isinstance(data, str):
        return shown(data)
    if isinstance(data, Mapping):
        return {shown(str(name)): _named(each) for name, each in data.items()}
    return [_named(each) for each in data] if isinstance(data, (list, tuple)) else data


def policy(scripts: Sequence[str], styles: Sequence[str], more: Sequence[str]) -> str:
    """A Content-Security-Policy that lets run what is given here and nothing else, and asks for nothing."""
    rules = {
        "default-src": ["'none'"],
        "script-src": [f"'{_hash(text)}'" for text in scripts],
        "style-src": [f"'{each}'" for each in (*map(_hash, styles), _PLOT_STYLE)],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    for name, _, value in (rule.partition(" ") for rule in more):
        rules.setdefault(name, []).append(value)
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
