"""The kinds of input that are fuzzed: one module each, with a ``KIND``."""
