"""How messages are worded."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """``1, "op" -> "1 op"``; ``2000, "sample" -> "2,000 samples"``. For nouns whose plural ends in s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
