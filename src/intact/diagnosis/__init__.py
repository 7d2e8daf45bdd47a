"""What is wrong with an integer network, and where. Figures beside thresholds: bench/diagnosis_thresholds.py, 6 seeds."""
