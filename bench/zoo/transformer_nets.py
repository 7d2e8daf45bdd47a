"""Vision and text networks of the transformers package, small and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.entry import Brought, Entry
from zoo.photos import nchw, photos

_FOUR = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
_TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
#: Model class, pixels a side, and what its configuration is told.
_VISION: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("ResNetForImageClassification", 64, {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1]}),
    (
        "RegNetForImageClassification",
        64,
        {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1], "groups_width": 8},
    ),
    (
        "BitForImageClassification",
        64,
        {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [1, 1, 1, 1], "num_groups": 8},
    ),
    ("MobileNetV1ForImageClassification", 64, {"image_size": 64, "depth_multiplier": 0.25}),
    ("MobileNetV2ForImageClassification", 64, {"image_size": 64, "depth_multiplier": 0.35}),
    ("MobileNetV2ForSemanticSegmentation", 64, {"image_size": 64, "depth_multiplier": 0.35}),
    (
        "EfficientNetForImageClassification",
        64,
        {"image_size": 64, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640},
    ),
    ("ConvNextForImageClassification", 64, {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}),
    ("ConvNextV2ForImageClassification", 64, {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}),
    ("ViTForImageClassification", 64, {**_TINY, "image_size": 64, "patch_size": 16}),
    ("DeiTForImageClassification", 64, {**_TINY, "image_size": 64, "patch_size": 16}),
    ("BeitForImageClassification", 64, {**_TINY, "image_size": 64, "patch_size": 16}),
    (
        "Dinov2ForImageClassification",
        56,
        {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56, "patch_size": 14},
    ),
    (
        "SwinForImageClassification",
        64,
        {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    ),
    (
        "LevitForImageClassification",
        64,
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "depths": [1, 1, 1],
            "num_attention_heads": [2, 2, 2],
            "key_dim": [8, 8, 8],
        },
    ),
    (
        "MobileViTForImageClassification",
        64,
        {"image_size": 64, "hidden_sizes": [32, 40, 48], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64]},
    ),
    ("MobileViTV2ForImageClassification", 64, {"image_size": 64, "width_multiplier": 0.5}),
    ("PoolFormerForImageClassification", 64, {**_FOUR}),
    ("PvtForImageClassification", 64, {"image_size": 64, **_FOUR, "num_attention_heads": [1, 2, 3, 4]}),
    ("SegformerForImageClassification", 64, {**_FOUR, "decoder_hidden_size": 32}),
    ("SegformerForSemanticSegmentation", 64, {**_FOUR, "decoder_hidden_size": 32}),
    ("SwiftFormerForImageClassification", 64, {"image_size": 64, "embed_dims": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}),
    (
        "FocalNetForImageClassification",
        64,
        {
            "image_size": 64,
            "embed_dim": 16,
            "hidden_sizes": [16, 32],
            "depths": [1, 1],
            "focal_levels": [2, 2],
            "focal_windows": [3, 3],
        },
    ),
    ("HGNetV2ForImageClassification", 64, {}),
    ("TextNetForImageClassification", 64, {}),
    ("YolosForObjectDetection", 64, {**_TINY, "image_size": [64, 64], "patch_size": 16, "num_detection_tokens": 8}),
    (
        "DPTForDepthEstimation",
        64,
        {
            **_TINY,
            "num_hidden_layers": 4,
            "image_size": 64,
            "patch_size": 16,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [16, 16, 32, 32],
            "fusion_hidden_size": 16,
        },
    ),
)
_TEXT = {**_TINY, "vocab_size": 100, "max_position_embeddings": 32}


def _seeded(name: str, told: dict[str, Any]) -> Any:
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.manual_seed(0)
    cls = getattr(transformers, name)
    return cls(cls.config_class(num_labels=10, initializer_range=0.1, **told))


def _vision(name: str, side: int, told: dict[str, Any]) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        import torch  # noqa: PLC0415

        model = _seeded(name, told)
        images = nchw(photos(count, side, side, packages, -1, 1))
        for part in model.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.momentum = None
        with torch.no_grad():
            model.train()(torch.from_numpy(images[:32]))
        return Brought(model.eval(), images)

    return bring


def _text(name: str, told: dict[str, Any]) -> Callable[[int, Path], Brought]:
    def bring(count: int, packages: Path) -> Brought:
        del packages
        ids = np.random.default_rng(0).integers(0, 100, (count, 16)).astype(np.int32)
        return Brought(_seeded(name, told).eval(), ids)

    return bring


ENTRIES = (
    *(Entry(f"transformers/{name}", _vision(name, side, told)) for name, side, told in _VISION),
    Entry("transformers/BertForSequenceClassification", _text("BertForSequenceClassification", _TEXT)),
    Entry(
        "transformers/DistilBertForSequenceClassification",
        _text(
            "DistilBertForSequenceClassification",
            {"dim": 48, "n_layers": 2, "n_heads": 3, "hidden_dim": 96, "vocab_size": 100, "max_position_embeddings": 32},
        ),
    ),
)
