"""Rewrites of a float graph that keep its output, to the last rounding: ``clean`` takes out what converters leave behind,
``lowerings`` spell an op as the target has kernels for. A rewrite is a function and a row in a table.
"""
