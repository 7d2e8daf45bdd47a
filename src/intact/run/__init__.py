"""The main job: from a model and samples to a folder with the result."""
