"""What is wrong with a model, in words: what quantizing it would cost and where, or what is wrong with an integer file."""

from __future__ import annotations

from intact import scratch
from intact.choices import Granularity
from intact.data import samples_from
from intact.diagnosis.diagnose import Diagnosis, diagnose_file
from intact.diagnosis.diagnose import diagnose as diagnosis_of
from intact.progress import Progress, silent
from intact.run.folder import RunFolder, Work
from intact.run.job import Job
from intact.run.result import Result
from intact.run.settings import Settings
from intact.runtime.scripts.keras_export import InputShape
from intact.simulate import freed


@freed.kept()
def diagnose(  # noqa: PLR0913  # all but two have defaults
    model: object,
    data: object,
    *,
    against: object = None,
    scheme: str = "int8",
    target: str = "cpu",
    ranges: str = "auto",
    weights: Granularity = "per-channel",
    input_shape: InputShape | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Say which ops the loss comes from and what looks wrong, in simulation and in the real runtime.

    ``model``, anything that :func:`intact.load` takes, is quantized as ``scheme``, ``target``, ``ranges`` and ``weights`` say,
    and nothing is written. With ``against``, the float model that it was made from, ``model`` is an integer .tflite, whoever
    made it: its path, its bytes, its graph or the Result that it came in. ``data``: samples in whatever form they come.
    Raises IntactError with one sentence.
    """
    settings = Settings(scheme=scheme, target=target, ranges=ranges, weights=weights, input_shape=input_shape).integers_only()
    if against is not None:
        model = model.model if isinstance(model, Result) else model
        return diagnose_file(model, data, against=against, target=target, input_shape=input_shape, progress=progress)
    with scratch.folder() as folder:
        work = Work(RunFolder(folder), progress)
        _, start, parts = Job(model, samples_from(data), None, settings, None, None, work).start()
        return diagnosis_of(start.network, parts.calibration, progress)
