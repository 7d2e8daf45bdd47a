"""From a detector's file to mAP: LiteRT, non-maximum suppression in numpy, and COCO's own evaluation."""

import contextlib
import io

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data import CLASSES


def outputs(file: bytes, images: np.ndarray) -> np.ndarray:
    """What LiteRT makes of each scene, as real numbers [n, cells, 4 + classes]."""
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    (port,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), (step, nothing) = port["quantization"], out["quantization"]
    found = []
    for image in images if port["shape"][1] == 3 else images.transpose(0, 2, 3, 1):
        stored = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8) if scale else image
        interpreter.set_tensor(port["index"], stored[None])
        interpreter.invoke()
        made = interpreter.get_tensor(out["index"])[0]
        found.append((made.astype(np.float32) - nothing) * step if step else made)
    return np.array(found)


def kept(output: np.ndarray, least: float = 0.05, most: float = 0.6) -> list[tuple[float, ...]]:
    """Non-maximum suppression by class: (x1, y1, x2, y2, score, class) of what no better box overlaps by ``most`` or more."""
    found = []
    for kind, scores in enumerate(output[:, 4:].T):
        left = np.argsort(-scores, kind="stable")
        left = left[scores[left] >= least]
        while left.size:
            box, others = output[left[0], :4], output[left, :4]
            found.append((*box.tolist(), float(scores[left[0]]), kind))
            both = (np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])).clip(0).prod(1)
            union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
            left = left[1:][both[1:] < most * union[1:]]
    return found


def truth(objects: np.ndarray) -> list[tuple[float, ...]]:
    """The objects of a scene as boxes that were found for certain."""
    return [(*row[:4].tolist(), 1.0, int(row[4])) for row in objects if row[4] >= 0]


def coco(scenes: list[list[tuple[float, ...]]]) -> COCO:
    """The boxes of each scene as pycocotools wants them."""
    rows = [(i, *row) for i, scene in enumerate(scenes) for row in scene]
    made = COCO()
    made.dataset = {
        "images": [{"id": i} for i in range(len(scenes))],
        "categories": [{"id": kind, "name": name} for kind, name in enumerate(CLASSES)],
        "annotations": [
            {
                "id": number,
                "image_id": scene,
                "category_id": kind,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "score": score,
                "iscrowd": 0,
            }
            for number, (scene, x1, y1, x2, y2, score, kind) in enumerate(rows, 1)
        ],
    }
    made.createIndex()
    return made


class Judge:
    """mAP of ``outputs`` [n, cells, 4 + classes] against ``objects`` [n, most, 5], of all scenes or of a resample of them."""

    def __init__(self, outputs: np.ndarray, objects: np.ndarray) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = COCOeval(coco([truth(scene) for scene in objects]), coco([kept(scene) for scene in outputs]), "bbox")
            self.coco.params.areaRng, self.coco.params.areaRngLbl = [[0, 1e5]], ["all"]
            self.coco.params.maxDets = [20]
            self.coco.evaluate()
        self.matched = np.array(self.coco.evalImgs, object).reshape(len(CLASSES), -1)

    def score(self, pick: np.ndarray) -> np.ndarray:
        """mAP@0.5 and mAP@[.5:.95] in per cent, [2], of n scenes ``pick``, one of them perhaps several times."""
        self.coco.evalImgs = list(self.matched[:, pick].ravel())
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco.accumulate()
        precision = self.coco.eval["precision"]
        return 100 * np.array([p[p > -1].mean() for p in (precision[0], precision)])
