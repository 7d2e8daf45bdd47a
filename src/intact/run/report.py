"""A page of a result, a study, or the folder of one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, final

from intact import files, notebook
from intact.errors import OptionError
from intact.report import explorer
from intact.report.page import html_of
from intact.report.record import compact, record
from intact.run.documents import Documents, read
from intact.run.fit import Fit
from intact.run.result import Result
from intact.run.study import Study

#: Bytes of a page: where the explorer does not fit, it is left to intact explore.
_LARGEST: Final = 2_000_000


@final
class Page(str):
    """The HTML of a page; a notebook shows it in a frame."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return notebook.frame(self)


def report(result: Result | Study | Fit | str | Path, out: str | Path | None = None) -> Page | Path:
    """The page of a :class:`Result`, a :class:`Study`, a :class:`Fit`, or the folder of a run or a study: one HTML file that
    stands alone.

    Written to ``out`` if given, whose path comes back; else the HTML itself, which a notebook shows.
    Raises OptionError with one sentence for a folder that holds neither, and for a document that is broken or another's.
    """
    made = Page(page_of(documents_of(result)))
    if out is None:
        return made
    files.write_text(Path(out), made)
    return Path(out)


def page_of(documents: Documents) -> str:
    """The HTML of what a folder says, with the explorer of a run that kept details where there is room for it."""
    document, details, held = documents.document, documents.details, documents.files
    if details is not None:
        made = html_of(document, details, held, (explorer.section(details),))
        if len(made.encode()) <= _LARGEST:
            return made
    return html_of(document, details, held)


def documents_of(result: Any) -> Documents:
    """What :func:`report` takes, as documents."""
    if isinstance(result, Result):
        held = {name: data for name, data in result.files().items() if name != "result.md"}
        hashes = [{"file": name, "bytes": len(x), "sha256": hashlib.sha256(x).hexdigest()} for name, x in held.items()]
        details = json.loads(compact(result.details)) if result.details else None
        return Documents(Path(), record(result), details, tuple(hashes))
    if isinstance(result, Study):
        return Documents(result.folder, result.document)
    if isinstance(result, Fit):
        return Documents(Path(), json.loads(json.dumps(result.to_json())))
    if isinstance(result, (str, Path)):
        return read(Path(result))
    raise OptionError(
        f"a report is of a Result, a Study, a Fit or the path of a run's folder, and not of {type(result).__name__}"
    )
