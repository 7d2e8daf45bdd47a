"""The project for TensorFlow Lite Micro: ``resolver`` names its kernels, ``project`` writes the files around a .tflite."""
