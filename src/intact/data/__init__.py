"""Samples: class folders of images, arrays, files of arrays, any iterable; bound to a model, split by seed, identified."""

from typing import TYPE_CHECKING

from intact.lazy import lazily as _lazily

if TYPE_CHECKING:
    from intact.data.anything import samples_from as samples_from
    from intact.data.archives import npy as npy
    from intact.data.archives import npz as npz
    from intact.data.array import arrays as arrays
    from intact.data.array import check_channels as check_channels
    from intact.data.base import Data as Data
    from intact.data.images import folder as folder
    from intact.data.iterables import iterable as iterable
    from intact.data.loading import load as load
    from intact.data.loading import yolo as yolo
    from intact.data.pictured import huggingface as huggingface
    from intact.data.pictured import pil as pil
    from intact.data.preprocessing import Preprocessing as Preprocessing
    from intact.data.preprocessing import parse_mean as parse_mean
    from intact.data.preprocessing import parse_pixels as parse_pixels
    from intact.data.preprocessing import parse_std as parse_std
    from intact.data.samples import Samples as Samples
    from intact.data.sharded import shards as shards
    from intact.data.spec import Finding as Finding
    from intact.data.spec import InputSpec as InputSpec
    from intact.data.spec import class_count as class_count
    from intact.data.spec import input_specs as input_specs
    from intact.data.spec import units as units
    from intact.data.splits import Parts as Parts
    from intact.data.splits import for_learning as for_learning
    from intact.data.splits import for_learning_again as for_learning_again
    from intact.data.splits import for_search as for_search
    from intact.data.splits import leaks as leaks
    from intact.data.splits import overlap as overlap
    from intact.data.splits import partition as partition
    from intact.data.splits import split as split
    from intact.data.splits import stratified_order as stratified_order
    from intact.data.tables import csv as csv
    from intact.data.tables import frame as frame
else:
    # What stands above, loaded when asked for: type checkers read the one, Python the other, a test compares them.
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "Data": "base",
            "Finding": "spec",
            "InputSpec": "spec",
            "Parts": "splits",
            "Preprocessing": "preprocessing",
            "Samples": "samples",
            "arrays": "array",
            "check_channels": "array",
            "class_count": "spec",
            "csv": "tables",
            "folder": "images",
            "for_learning": "splits",
            "for_learning_again": "splits",
            "for_search": "splits",
            "frame": "tables",
            "huggingface": "pictured",
            "input_specs": "spec",
            "iterable": "iterables",
            "leaks": "splits",
            "load": "loading",
            "npy": "archives",
            "npz": "archives",
            "overlap": "splits",
            "parse_mean": "preprocessing",
            "parse_pixels": "preprocessing",
            "parse_std": "preprocessing",
            "partition": "splits",
            "pil": "pictured",
            "samples_from": "anything",
            "shards": "sharded",
            "split": "splits",
            "stratified_order": "splits",
            "units": "spec",
            "yolo": "loading",
        },
    )
