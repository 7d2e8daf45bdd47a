"""Reads ONNX files: a child process checks and unpacks them (``runtime/scripts/read_onnx.py``), rows give each op in ours."""

from intact.formats.onnx.read import file_to_tflite as file_to_tflite
