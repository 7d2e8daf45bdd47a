"""The network as data: the frozen ``graph``, the rules that every graph must satisfy (``verify``), and what can be asked of
it: an op's weight and bias, channels that may take a scale, samples side by side, where each tensor lies in an arena.
"""
