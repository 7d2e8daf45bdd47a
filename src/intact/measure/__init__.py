"""Figures with their intervals: accuracy, latency, memory, size, cost, and how far simulator and runtime agree."""

from intact.measure.measurement import Measurement as Measurement
