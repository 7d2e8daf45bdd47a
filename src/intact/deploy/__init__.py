"""What it takes to run on a microcontroller: ``micro`` asks TensorFlow Lite Micro about a file before it is written."""
