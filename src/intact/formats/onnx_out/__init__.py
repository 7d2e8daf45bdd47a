"""Networks as ONNX models: what ONNX Runtime, TensorRT and OpenVINO read."""

from intact.formats.onnx_out.build import FIRST as FIRST
from intact.formats.onnx_out.build import Order as Order
from intact.formats.onnx_out.shell import shell as shell
from intact.formats.onnx_out.write import ORDERS as ORDERS
from intact.formats.onnx_out.write import Spelling as Spelling
from intact.formats.onnx_out.write import orders as orders
from intact.formats.onnx_out.write import write as write
