"""Stand-ins for data sets and data frames of packages that are not needed for the tests."""

from __future__ import annotations

import numpy as np


class Features(dict):
    """Hugging Face's: a mapping from column to its type."""


class HuggingFace:
    """Works as datasets.Dataset does: rows by number, columns by name."""

    def __init__(self, columns, **features):
        self.columns = columns
        self.features = Features({name: features.get(name) for name in columns})
        self.column_names = list(columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return list(self.columns[key])
        if not -len(self) <= key < len(self):
            raise IndexError(key)
        return {name: values[key] for name, values in self.columns.items()}

    def __iter__(self):
        return (self[i] for i in range(len(self)))


class Series:
    def __init__(self, values):
        self.values = np.asarray(values)

    def to_numpy(self):
        return self.values

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __len__(self):
        return len(self.values)


class DataFrame:
    """Works as those of pandas and polars do."""

    def __init__(self, columns):
        self.data = {name: Series(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.dtypes = [series.values.dtype for series in self.data.values()]

    def __len__(self):
        return len(next(iter(self.data.values())))

    def __getitem__(self, name):
        return self.data[name]

    def to_numpy(self):
        return np.stack([series.values for series in self.data.values()], 1)

    def __array__(self, dtype=None, copy=None):
        return self.to_numpy()
