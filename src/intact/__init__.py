"""Intact: from a trained float network to a proven integer one.

>>> graph = intact.load("model.keras")
>>> result = intact.quantize(graph, intact.data.folder("photos/", pixels=(-1, 1)))
>>> result.save("model.tflite")
"""

from intact import data as data
from intact.clean import clean as clean
from intact.diagnose import Diagnosis as Diagnosis
from intact.diagnose import diagnose_file as diagnose_file
from intact.errors import IntactError as IntactError
from intact.formats.load import load as load
from intact.formats.tflite import read as read_tflite
from intact.formats.tflite import write as write_tflite
from intact.graph import Graph as Graph
from intact.plan import Plan as Plan
from intact.quantize import Result as Result
from intact.quantize import quantize as quantize
from intact.settings import Settings as Settings
from intact.simulate import Program as Program
from intact.verify import verify as verify

__all__ = [
    "Diagnosis",
    "Graph",
    "IntactError",
    "Plan",
    "Program",
    "Result",
    "Settings",
    "clean",
    "data",
    "diagnose_file",
    "load",
    "quantize",
    "read_tflite",
    "verify",
    "write_tflite",
]
