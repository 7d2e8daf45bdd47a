"""Intact: from a trained float network to a proven integer one.

>>> result = intact.quantize("model.keras", intact.data.folder("photos/", pixels=(-1, 1)))
>>> result.save("model.tflite")
"""

from typing import TYPE_CHECKING

from intact.lazy import lazily as _lazily

if TYPE_CHECKING:
    from intact import data as data
    from intact.diagnosis.diagnose import Diagnosis as Diagnosis
    from intact.diagnosis.diagnose import diagnose_file as diagnose_file
    from intact.errors import IntactError as IntactError
    from intact.formats.load import load as load
    from intact.formats.tflite.read import read as read_tflite
    from intact.formats.tflite.write import write as write_tflite
    from intact.installed import __version__ as __version__
    from intact.network.graph import Graph as Graph
    from intact.network.verify import verify as verify
    from intact.planning.plan import Plan as Plan
    from intact.rewrite.clean import clean as clean
    from intact.run.diagnose import diagnose as diagnose
    from intact.run.evaluate import Evaluation as Evaluation
    from intact.run.evaluate import evaluate as evaluate
    from intact.run.explore import Explored as Explored
    from intact.run.explore import explore as explore
    from intact.run.export import export as export
    from intact.run.finetune import finetune as finetune
    from intact.run.fit import Fit as Fit
    from intact.run.fit import fit as fit
    from intact.run.quantize import quantize as quantize
    from intact.run.report import report as report
    from intact.run.result import Result as Result
    from intact.run.settings import Settings as Settings
    from intact.run.study import Study as Study
    from intact.run.study import study as study
    from intact.simulate.engine import Program as Program
else:
    # What stands above, loaded when asked for: type checkers read the one, Python the other, a test compares them.
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "Diagnosis": "diagnosis.diagnose",
            "Evaluation": "run.evaluate",
            "Explored": "run.explore",
            "Fit": "run.fit",
            "Graph": "network.graph",
            "IntactError": "errors",
            "Plan": "planning.plan",
            "Program": "simulate.engine",
            "Result": "run.result",
            "Settings": "run.settings",
            "Study": "run.study",
            "__version__": "installed",
            "clean": "rewrite.clean",
            "data": "",
            "diagnose": "run.diagnose",
            "diagnose_file": "diagnosis.diagnose",
            "evaluate": "run.evaluate",
            "explore": "run.explore",
            "export": "run.export",
            "finetune": "run.finetune",
            "fit": "run.fit",
            "load": "formats.load",
            "quantize": "run.quantize",
            "read_tflite": "formats.tflite.read:read",
            "report": "run.report",
            "study": "run.study",
            "verify": "network.verify",
            "write_tflite": "formats.tflite.write:write",
        },
    )

__all__ = [
    "Diagnosis",
    "Evaluation",
    "Explored",
    "Fit",
    "Graph",
    "IntactError",
    "Plan",
    "Program",
    "Result",
    "Settings",
    "Study",
    "__version__",
    "clean",
    "data",
    "diagnose",
    "diagnose_file",
    "evaluate",
    "explore",
    "export",
    "finetune",
    "fit",
    "load",
    "quantize",
    "read_tflite",
    "report",
    "study",
    "verify",
    "write_tflite",
]
