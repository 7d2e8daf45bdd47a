"""What it takes to run on a microcontroller: ``micro`` asks TensorFlow Lite Micro about a file before it is written, ``c`` and
``project`` write a network as C, and ``tflm`` as a project for that runtime.
"""
