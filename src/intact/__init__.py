"""Intact: from a trained float network to a proven integer one.

>>> result = intact.quantize("model.keras", intact.data.folder("photos/", pixels=(-1, 1)))
>>> result.save("model.tflite")
"""

from typing import TYPE_CHECKING

from intact.lazy import lazily as _lazily

if TYPE_CHECKING:
    from intact import data as data
    from intact.clean import clean as clean
    from intact.diagnose import Diagnosis as Diagnosis
    from intact.diagnose import diagnose_file as diagnose_file
    from intact.errors import IntactError as IntactError
    from intact.formats.load import load as load
    from intact.formats.tflite import read as read_tflite
    from intact.formats.tflite import write as write_tflite
    from intact.graph import Graph as Graph
    from intact.installed import __version__ as __version__
    from intact.plan import Plan as Plan
    from intact.quantize import Result as Result
    from intact.quantize import quantize as quantize
    from intact.settings import Settings as Settings
    from intact.simulate import Program as Program
    from intact.verify import verify as verify
else:
    # What stands above, loaded when asked for: type checkers read the one, Python the other, a test compares them.
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "Diagnosis": "diagnose",
            "Graph": "graph",
            "IntactError": "errors",
            "Plan": "plan",
            "Program": "simulate",
            "Result": "quantize",
            "Settings": "settings",
            "__version__": "installed",
            "clean": "clean",
            "data": "",
            "diagnose_file": "diagnose",
            "load": "formats.load",
            "quantize": "quantize",
            "read_tflite": "formats.tflite:read",
            "verify": "verify",
            "write_tflite": "formats.tflite:write",
        },
    )

__all__ = [
    "Diagnosis",
    "Graph",
    "IntactError",
    "Plan",
    "Program",
    "Result",
    "Settings",
    "__version__",
    "clean",
    "data",
    "diagnose_file",
    "load",
    "quantize",
    "read_tflite",
    "verify",
    "write_tflite",
]
