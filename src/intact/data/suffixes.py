"""What image files are called."""

from __future__ import annotations

from typing import Final

#: File names that are taken for images. Formats that Pillow reads, less those that are mostly something else (PDF, video).
IMAGES: Final = frozenset(
    f".{name}"
    for name in (
        *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "webp", "gif", "tif", "tiff"),
        *("ppm", "pgm", "pbm", "pnm", "tga", "jp2", "avif", "qoi"),
    )
)
