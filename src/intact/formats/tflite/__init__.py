"""LiteRT's file format: read, checked byte by byte, and written."""

from typing import TYPE_CHECKING

from intact.lazy import lazily as _lazily

if TYPE_CHECKING:
    from intact.formats.tflite.offline import write_planned as write_planned
    from intact.formats.tflite.read import read as read
    from intact.formats.tflite.write import write as write
else:
    # Loaded when asked for: whether a file can be read at all is found out without reading it.
    __getattr__, __dir__ = _lazily(__name__, {"read": "read", "write": "write", "write_planned": "offline"})
