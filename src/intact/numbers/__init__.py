"""How numbers are stored, and the only arithmetic on them. Begin at ``affine``: formats, quantize and dequantize; the other
modules are the kernels' arithmetic on stored integers, to the last bit.
"""
