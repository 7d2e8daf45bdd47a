"""Everything that may abort, in child processes: LiteRT, and the converters through ``child.call``."""
