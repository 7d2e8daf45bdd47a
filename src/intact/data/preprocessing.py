"""From a decoded image to what the model reads, as a value that is saved with every result."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from intact.errors import DataError, OptionError

if TYPE_CHECKING:
    import numpy as np

    from intact.data.spec import InputSpec

Size: TypeAlias = tuple[int, int]

_CHANNELS: Final = ("rgb", "bgr", "gray")
_METHODS: Final = ("bilinear", "bicubic", "nearest")
_RESIZE: Final = re.compile(r"stretch|none|crop(:[1-9][0-9]{0,4})?|letterbox(:(1?[0-9]?[0-9]|2[0-4][0-9]|25[0-5]))?")
#: What fills the borders of a letterbox, as detectors are trained.
GRAY: Final = 114
_LAYOUTS: Final = ("nhwc", "nchw", "nhw")
#: Lowest and highest value of the integers that inputs are made of. numpy knows them too, but takes long to load.
_INTEGERS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {f"{'u' * (low == 0)}int{bits}": (low, low + 2**bits - 1) for bits in (8, 16, 32, 64) for low in (0, -(2 ** (bits - 1)))}
    | {"bool": (0, 1)}
)


@final
@dataclass(frozen=True)
class Preprocessing:
    """How the pixels of an image become a model's input.

    Without ``mean`` and ``std``: ``low + value * (high - low) / 255`` with ``pixels = (low, high)``; ``(-1, 1)``
    takes 0 to -1, 127.5 to 0 and 255 to 1. With them: ``(value / 255 - mean[c]) / std[c]``, both in units of the
    0..1 scale, as torchvision's Normalize has them, one number for all channels or one for each, in the order of ``channels``.

    ``resize`` is ``stretch`` (each side on its own, as Keras does by default), ``crop`` (the shorter side to the model's
    size, then the centre), ``crop:256`` (the shorter side to 256, then the centre, as torchvision's evaluation
    does), ``letterbox`` (the whole image, its proportions kept, in the middle of gray, 114, as detectors are trained;
    ``letterbox:0`` for black) or ``none`` (every image must have the model's size). ``method`` is Pillow's filter, which
    averages when it shrinks. ``channels`` None means rgb for three channels, gray for one.

    ``size``, ``layout`` and ``shapes`` are filled in by :meth:`fit` and :meth:`for_arrays`, not by users: the model's
    height and width, the order of the axes it reads, and how arrays were rearranged, by input name.

    Raises OptionError for values that mean nothing.
    """

    pixels: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    resize: str = "stretch"
    method: str = "bilinear"
    size: Size | None = None
    layout: str = "nhwc"
    source: str = "images"
    shapes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(self.pixels) != 2 or not all(map(math.isfinite, self.pixels)) or self.pixels[0] >= self.pixels[1]:
            raise OptionError(f"pixels {_commas(self.pixels)} is not a range; give what 0 and 255 map to, such as -1,1")
        object.__setattr__(self, "pixels", tuple(map(float, self.pixels)))
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is None:
                continue
            if len(value) not in (1, 3) or not all(map(math.isfinite, value)):
                raise OptionError(f"{name} {_commas(value)} must be one number, or three, one for each channel")
            object.__setattr__(self, name, tuple(map(float, value)))
        if self.std is not None and min(self.std) <= 0:
            raise OptionError(f"std {_commas(self.std)} must be above 0")
        if self.mean is not None and max(self.mean) > 1:
            raise OptionError(f"mean {_commas(self.mean)} is not in units of 0..1; divide mean and std by 255")
        if self.normalizes and self.pixels != (0.0, 1.0):
            raise OptionError(
                "pixels and mean/std both say how pixels are scaled; give one of them (mean and std are in units of 0..1)"
            )
        if self.channels is not None and self.channels not in _CHANNELS:
            raise OptionError(f"channels {self.channels!r} is not one of {', '.join(_CHANNELS)}")
        if not _RESIZE.fullmatch(self.resize):
            raise OptionError(
                f"resize {self.resize!r} is not one of stretch, crop, crop:N (N the shorter side in pixels), letterbox, "
                "letterbox:N (N the borders' value, 0 to 255), none"
            )
        if self.method not in _METHODS:
            raise OptionError(f"method {self.method!r} is not one of {', '.join(_METHODS)}")

    @property
    def normalizes(self) -> bool:
        """True when mean or std is given."""
        return self.mean is not None or self.std is not None

    @property
    def planes(self) -> int:
        """Channels of the fitted input, 1 or 3."""
        return 1 if self.channels == "gray" else 3

    @classmethod
    def for_arrays(cls, shapes: Mapping[str, str]) -> Preprocessing:
        """Arrays go in as they are, apart from axes that were rearranged: ``{"x": "nchw to nhwc"}``."""
        return cls(source="arrays", shapes=tuple(shapes.items()))

    def fit(self, spec: InputSpec) -> Preprocessing:
        """This preprocessing for the model input ``spec``: size, layout and channels filled in.

        Takes ``[n, h, w, c]``, ``[n, c, h, w]`` and ``[n, h, w]`` with c 1 or 3. Raises DataError when images cannot
        feed that input, OptionError when channels, mean or std contradict it.
        """
        found = _axes(spec)
        if found is None:
            raise DataError(
                f"images have a height, a width and 1 or 3 channels, which does not fit {spec}; "
                "give the samples as arrays (.npz or .npy)"
            )
        layout, size, planes = found
        channels = self.channels or ("gray" if planes == 1 else "rgb")
        if (channels == "gray") != (planes == 1):
            raise OptionError(f"channels {channels!r} does not fit {spec}; leave it out, and images are converted")
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value is not None and len(value) not in (1, planes):
                raise OptionError(f"{name} has {len(value)} numbers, but {spec} has 1 channel; give one number")
        how, _, side = self.resize.partition(":")
        if how == "crop" and side and int(side) < max(size):
            raise OptionError(f"resize {self.resize} leaves less than {spec} takes; give at least crop:{max(size)}")
        fitted = replace(self, channels=channels, size=size, layout=layout)
        if not spec.dtype.startswith("float") and not fitted.fits_integer(spec.dtype):
            lowest, highest = _INTEGERS[spec.dtype]
            hint = "-128,127" if lowest < 0 and highest < 255 else "0,255"
            raise OptionError(f"{spec} takes {spec.dtype}, not fractions; say what 0..255 maps to with --pixels={hint}")
        return fitted

    def fits_integer(self, dtype: str) -> bool:
        """True when every pixel value maps to a whole number that ``dtype`` holds."""
        low, high = self.pixels
        if self.normalizes or high - low != 255 or low != int(low):
            return False
        lowest, highest = _INTEGERS[dtype]
        return lowest <= low and high <= highest

    def apply(self, images: np.ndarray, dtype: str) -> np.ndarray:
        """Decoded images, uint8 ``[n, h, w, planes]`` in RGB or gray, to what the model reads."""
        import numpy as np  # noqa: PLC0415  # the value alone is made while options are read, which must not take long

        x = images.astype(np.float32)
        if self.channels == "bgr":
            x = x[..., ::-1]
        if self.normalizes:
            x = x / np.float32(255)
            if self.mean is not None:
                x -= np.asarray(self.mean, np.float32)
            if self.std is not None:
                x /= np.asarray(self.std, np.float32)
        else:
            low, high = np.float32(self.pixels[0]), np.float32(self.pixels[1])
            x = x * (high - low) / np.float32(255) + low
        if self.layout == "nchw":
            x = x.transpose(0, 3, 1, 2)
        if self.layout == "nhw":
            x = x[..., 0]
        return np.ascontiguousarray(x, dtype)

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists, strings and numbers; :meth:`from_json` gives back an equal value."""
        if self.source == "arrays":
            return {"source": "arrays", "shapes": dict(self.shapes)}
        value = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "shapes"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """The inverse of :meth:`to_json`. Raises DataError for fields that are unknown or of another type."""
        unknown = sorted(set(value) - {f.name for f in fields(cls)})
        if unknown:
            raise DataError(f"preprocessing has an unknown field {unknown[0]!r}")
        if value.get("layout", "nhwc") not in _LAYOUTS or value.get("source", "images") not in ("images", "arrays"):
            raise DataError("preprocessing has a layout or source that is not known")
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
            if "shapes" in plain:
                plain["shapes"] = tuple((str(k), str(v)) for k, v in dict(value["shapes"]).items())
            return cls(**plain)
        except (TypeError, ValueError) as error:
            raise DataError(f"preprocessing is not readable ({error})") from error


#: Stretched to the model's size, 0..255 to 0..1.
DEFAULT: Final = Preprocessing()


def parse_pixels(text: str) -> tuple[float, float]:
    """``"-1,1" -> (-1.0, 1.0)``: what 0 and 255 map to. Raises OptionError."""
    values = _numbers(text, "--pixels", "--pixels=-1,1")
    if len(values) != 2 or values[0] >= values[1]:
        raise OptionError(
            f"--pixels {text!r} is not a range; give what 0 and 255 map to: --pixels=0,1, --pixels=-1,1 or --pixels=0,255"
        )
    return values[0], values[1]


def parse_mean(text: str) -> tuple[float, ...]:
    """``"0.485,0.456,0.406"``: one number, or one for each channel, in units of 0..1. Raises OptionError."""
    return _per_channel(text, "--mean", "--mean=0.485,0.456,0.406")


def parse_std(text: str) -> tuple[float, ...]:
    """``"0.229,0.224,0.225"``: one number, or one for each channel, in units of 0..1, above 0. Raises OptionError."""
    values = _per_channel(text, "--std", "--std=0.229,0.224,0.225")
    if min(values) <= 0:
        raise OptionError(f"--std {text!r} must be above 0")
    return values


def _per_channel(text: str, option: str, example: str) -> tuple[float, ...]:
    values = _numbers(text, option, example)
    if len(values) not in (1, 3):
        raise OptionError(f"{option} {text!r} has {len(values)} numbers; give one, or three, one for each channel: {example}")
    return values


def _numbers(text: str, option: str, example: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"{option} {text!r} is not a list of numbers; type for example {example}") from None
    if not all(map(math.isfinite, values)):
        raise OptionError(f"{option} {text!r} holds a number that is not finite; type for example {example}")
    return values


def _commas(values: tuple[float, ...]) -> str:
    return ",".join(f"{v:g}" for v in values)


def _axes(spec: InputSpec) -> tuple[str, Size, int] | None:
    """Layout, (height, width) and channels of an image input, or None. Channels last wins where both would do."""
    match spec.sample:
        case (h, w, (1 | 3) as c):
            return "nhwc", (h, w), c
        case ((1 | 3) as c, h, w):
            return "nchw", (h, w), c
        case (h, w):
            return "nhw", (h, w), 1
    return None
