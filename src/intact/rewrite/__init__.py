"""Rewrites of a float graph that keep its output, to the last rounding."""
