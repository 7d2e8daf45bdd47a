"""How numbers are stored, and the only arithmetic on them: formats, fixed point, and the kernels that round."""
