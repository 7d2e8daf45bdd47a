"""Everything that may abort, in child processes: ``child`` runs a script of ``scripts`` and turns its death into an error;
``litert`` and ``tflm`` are the runtimes.
"""
