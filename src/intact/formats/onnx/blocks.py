"""ONNX's ops that turn channels into blocks of pixels, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from intact.errors import ModelError
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.windows import LAST
from intact.ops.blocks import DepthToSpace, SpaceToDepth
from intact.ops.shaping import Gather


def _depth_to_space(call: Call) -> Value:
    """Channels in the order of blocks (``DCR``) as ours have them; ``CRD``, as of a pixel shuffle, is brought into it first."""
    x, block = call.value(0), call.integer("blocksize", 1)
    if x.rank != 4 or block < 1 or x.shape[1] % block**2:
        raise ModelError(f"{list(x.shape)} in blocks of {block}")
    x = call.build.arranged(x, LAST[2])
    stored = x.stored
    if call.text("mode", "DCR") == "CRD":
        places = np.arange(x.shape[1], dtype=np.int32).reshape(-1, block * block).T.reshape(-1)
        stored = call.build.one(Gather(3), stored, places)
    return call.resized(call.build.one(DepthToSpace(block), stored), x.order)


def _space_to_depth(call: Call) -> Value:
    x = call.build.arranged(call.value(0), LAST[2])
    return call.resized(call.build.one(SpaceToDepth(call.integer("blocksize", 1)), x.stored), x.order)


ROWS: Final[Mapping[str, Row]] = {"DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth}
