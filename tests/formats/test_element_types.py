"""What a tensor holds that no integer network computes with is said in words."""

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from nets import mobile

from intact.errors import UnsupportedError
from intact.formats import tflite


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("STRING", "holds text; cut the model behind the op that makes numbers of it"),
        ("BFLOAT16", "holds bfloat16 numbers; export the model in float32"),
        ("COMPLEX128", "holds complex numbers of 128 bits"),
        ("VARIANT", "holds a list or data set of TensorFlow's, not numbers"),
    ],
)
def test_an_element_type_is_called_what_it_is(kind, says):
    model = schema.ModelT.InitFromPackedBuf(tflite.write(mobile()), 0)
    at = model.subgraphs[0].inputs[0]
    model.subgraphs[0].tensors[at].type = vars(schema.TensorType)[kind]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(UnsupportedError, match=says):
        tflite.read(bytes(builder.Output()))
