"""Runs graphs in torch: ``engine`` in real numbers and rounded, ``exact`` in integers to the last bit. ``calibrate`` looks at
activations, ``noise`` at what each op alone costs.
"""
