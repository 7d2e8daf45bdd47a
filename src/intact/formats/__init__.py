"""Files in and out. ``load`` takes anything that holds a network and gives a float graph; ``tflite`` reads and writes .tflite
files, ``onnx`` reads ONNX's; the other modules convert Keras and PyTorch models, in child processes.
"""
