"""The main job, from a model and samples to a folder with the result: ``quantize`` is its list of steps, ``settings`` what was
asked for, ``findings`` what a result says in words.
"""
