"""What runs in child processes, by file path: nothing here imports Intact."""
