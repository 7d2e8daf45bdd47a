"""What is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("intact")
except PackageNotFoundError:  # the sources alone, on the path
    __version__ = "unknown"
