"""Runs graphs in torch: in real numbers, rounded, and in integers to the last bit."""
