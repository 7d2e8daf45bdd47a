"""ONNX files as people have them and as nobody should: weights beside them, open sizes, unknown ops, damage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_models import graph, laid, litert, model, node, runtime  # noqa: E402

from intact.errors import IntactError, MissingExtraError, ModelError, OptionError, UnsupportedError  # noqa: E402
from intact.formats import conversion, recognize, tflite  # noqa: E402
from intact.formats.load import load, to_float_tflite  # noqa: E402
from intact.formats.onnx import convolution  # noqa: E402
from intact.run.folder import sha256_of  # noqa: E402

RNG = np.random.default_rng(0)


def real(*shape):
    return RNG.uniform(-1, 1, shape).astype(np.float32)


WEIGHT = real(4, 3, 3, 3)


def conv(sizes=(1, 3, 8, 8), **more):
    nodes = [node("Conv", ["x", "w"], ["c"], "stem", pads=[1, 1, 1, 1]), node("Relu", ["c"], ["y"], "act")]
    return model(
        nodes, {"x": real(*(n if isinstance(n, int) else 1 for n in sizes))}, ["y"], {"w": WEIGHT}, sizes={"x": sizes}, **more
    )


def saved(path, made):
    path.write_bytes(made.SerializeToString())
    return path


def one(op, *inputs, domain="", outputs=1, opset=17, **attributes):
    """A model of one op of real numbers, sound but for that."""
    names = [f"in{n}" for n in range(len(inputs))]
    made = [node(op, names, [f"out{n}" for n in range(outputs)], "the_op", domain=domain, **attributes)]
    domains = (domain,) if domain else ()
    constants = dict(zip(names[1:], inputs[1:], strict=True))
    return model(made, {"in0": inputs[0]}, [f"out{n}" for n in range(outputs)], constants, domains=domains, opset=opset)


# ---- as people have them ------------------------------------------------------------------------------------------------


def test_a_file_becomes_the_network_that_onnx_runtime_runs(tmp_path):
    made, x = conv(), real(1, 3, 8, 8)
    found = load(saved(tmp_path / "net.onnx", made))
    (y,) = runtime(made, {"x": x}).values()
    assert [op.kind.name for op in found.ops] == ["CONV_2D"]
    given = litert(tflite.write(found), {"x": laid(x, (0, 2, 3, 1))})
    np.testing.assert_allclose(given["y"], laid(y, (0, 2, 3, 1)), atol=1e-5)
    assert (found.input_names, found.output_names) == (("x",), ("y",))
    assert found[found.inputs[0]].shape == (None, 8, 8, 3)


def external(path, **said):
    """A model whose weight lies in ``weights.bin``, or where ``said`` says."""
    made = conv()
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], said.pop("location", "weights.bin"))
    for key, value in said.items():
        entry = made.graph.initializer[0].external_data.add()
        entry.key, entry.value = key, str(value)
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return saved(path, made)


def test_weights_beside_the_file_are_found(tmp_path):
    path = external(tmp_path / "net.onnx", offset=16, length=WEIGHT.nbytes)
    (tmp_path / "weights.bin").write_bytes(bytes(16) + WEIGHT.tobytes())
    (weight,) = [t for t in load(path).constants() if t.shape == (4, 3, 3, 3)]
    np.testing.assert_array_equal(weight.data, WEIGHT.transpose(0, 2, 3, 1))


def test_a_run_is_another_when_the_weights_beside_the_file_are(tmp_path):
    path = external(tmp_path / "net.onnx")
    weights = tmp_path / "weights.bin"
    weights.write_bytes(WEIGHT.tobytes())
    before = sha256_of(path)
    assert recognize.beside(path) == (weights,)
    assert sha256_of(path) == before
    weights.write_bytes((2 * WEIGHT).tobytes())
    assert sha256_of(path) != before


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "its weights lie in the file 'weights.bin', which is not beside it"),
        ({"location": "../weights.bin"}, "may only lie in the model's own folder"),
        ({"location": "/etc/passwd"}, "may only lie in the model's own folder"),
        ({"location": "inside/../../weights.bin"}, "may only lie in the model's own folder"),
        ({"location": ""}, "may only lie in the model's own folder"),
        ({"location": "C:\\weights.bin"}, "may only lie in the model's own folder"),
        ({"location": "link.bin"}, "leads out of the model's own folder"),
        ({"location": "linked/weights.bin"}, "leads out of the model's own folder"),
        ({"location": "short.bin", "length": 432}, "is truncated or another model's"),
        ({"location": "short.bin", "offset": 1 << 40}, "is truncated or another model's"),
        ({"location": "short.bin", "offset": -8}, "is truncated or another model's"),
        ({"location": "short.bin", "offset": "here"}, "begin or end at what is no number"),
        ({"location": "short.bin", "length": 4}, "unsound"),
        ({"location": "folder"}, "is not beside it"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_weights_elsewhere_are_refused(tmp_path, said, message):
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    (folder / "short.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        load(external(folder / "net.onnx", **said))
    assert str(caught.value).startswith(str(folder / "net.onnx"))


def test_an_input_that_has_a_value_is_a_constant(tmp_path):
    made = conv()
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHT.shape))
    assert load(saved(tmp_path / "net.onnx", made)).input_names == ("x",)


def test_functions_of_the_models_own_are_inlined(tmp_path):
    twice = helper.make_function("mine", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)])
    nodes = [node("Twice", ["x"], ["h"], domain="mine"), node("Relu", ["h"], ["y"])]
    made = model(nodes, {"x": real(1, 4)}, ["y"], functions=[twice], domains=["mine"], ranks={"y": [1, 4]})
    assert [op.kind.name for op in load(saved(tmp_path / "net.onnx", made)).ops] == ["ADD"]


def nested(levels, first):
    """Functions that each call the one before twice; ``first`` is what the first calls."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made, called = [], (first, "" if first == "Relu" else "own")
    for n in range(levels):
        body = [node(called[0], [a], [b], domain=called[1]) for a, b in (("x", "y"), ("y", "z"))]
        made.append(helper.make_function("own", f"f{n}", ["x"], ["z"], body, imports))
        called = f"f{n}", "own"
    ports = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])] for name in ("x", "y"))
    whole = helper.make_graph([node(called[0], ["x"], ["y"], domain="own")], "net", *ports)
    return helper.make_model(whole, functions=made, opset_imports=imports, ir_version=8)


def test_functions_of_functions_are_inlined():
    found, _ = graph(nested(3, "Relu"))
    assert [op.kind.name for op in found.ops] == ["RELU"] * 8


def test_functions_that_come_to_billions_of_nodes_are_refused():
    with pytest.raises(UnsupportedError, match="more than 50,000 nodes"):
        graph(nested(40, "Relu"))


def test_functions_that_call_themselves_are_refused():
    with pytest.raises(ModelError, match="its functions call themselves"):
        graph(nested(3, "f2"))


def test_older_versions_are_converted(tmp_path):
    made = conv(opset=9)
    made.ir_version = 4
    assert len(load(saved(tmp_path / "net.onnx", made)).ops) == 1


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_real_numbers_of_any_width_become_float32(kind):
    x, y = (helper.make_tensor_value_info(name, kind, [1, 3]) for name in "xy")
    weight = helper.make_tensor("w", kind, [3], [0.5, 1.0, 2.0])
    made = helper.make_model(helper.make_graph([node("Mul", ["x", "w"], ["y"])], "net", [x], [y], [weight]), ir_version=8)
    found, _ = graph(made)
    assert {t.format.dtype for t in found.tensors.values()} == {"float32"}
    assert next(found.constants()).data.tolist() == [0.5, 1.0, 2.0]


# ---- open sizes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["batch", "", 1])
def test_an_open_batch_is_one(tmp_path, batch):
    found = load(saved(tmp_path / "net.onnx", conv((batch, 3, 8, 8))))
    assert found[found.inputs[0]].shape == (None, 8, 8, 3)


@pytest.mark.parametrize("left_out", ["shape", "type"])
def test_an_output_of_which_nothing_is_said_is_inferred(tmp_path, left_out):
    made = conv()
    (port,) = made.graph.output
    (port if left_out == "type" else port.type.tensor_type).ClearField(left_out)
    found = load(saved(tmp_path / "net.onnx", made))
    assert found[found.outputs[0]].shape == (None, 8, 8, 4)


def test_a_single_number_is_an_output(tmp_path):
    found = load(saved(tmp_path / "net.onnx", one("ReduceMean", real(1, 3, 4), keepdims=0)))
    assert found[found.outputs[0]].shape == ()


def test_open_sizes_are_asked_for(tmp_path):
    path = saved(tmp_path / "net.onnx", conv(("n", 3, "height", "width")))
    with pytest.raises(
        OptionError, match=r"\[n, 3, height, width\]; type them without the batch, as in --input-shape 3,224,224$"
    ):
        load(path)
    found = load(path, input_shape=(3, 12, 16))
    assert found[found.inputs[0]].shape == (None, 12, 16, 3)
    assert load(path, input_shape={"x": (3, 12, 16)})[found.inputs[0]].shape == (None, 12, 16, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((12, 16, 3), r"has the shape \[n, 3, height, width\], which 12,16,3 does not fit; leave the batch out"),
        ((1, 3, 12, 16), "does not fit"),
        ({"image": (3, 12, 16)}, "the model has no input 'image'; its inputs are 'x'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, given, message):
    with pytest.raises(OptionError, match=message):
        load(saved(tmp_path / "net.onnx", conv(("n", 3, "height", "width"))), input_shape=given)


def test_of_several_inputs_each_has_its_sizes(tmp_path):
    made = model(
        [node("Add", ["a", "b"], ["y"])], {"a": real(1, 3), "b": real(1, 3)}, ["y"], sizes={"a": [1, "k"], "b": [1, "k"]}
    )
    path = saved(tmp_path / "net.onnx", made)
    with pytest.raises(OptionError, match="type --input-shape for each by name, as in --input-shape a=224"):
        load(path, input_shape=(3,))
    assert len(load(path, input_shape={"a": (3,), "b": (3,)}).inputs) == 2


def test_a_fixed_batch_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match="a fixed batch of 8; export it with a sample of batch 1"):
        load(saved(tmp_path / "net.onnx", conv((8, 3, 8, 8))))


def test_weights_from_outside_are_told_by_their_op(tmp_path):
    made = model([node("Conv", ["x", "w"], ["y"])], {"x": real(1, 3, 8, 8), "w": real(4, 3, 3, 3)}, ["y"])
    with pytest.raises(UnsupportedError, match=r"its input 'w' is what Conv .* multiplies with; export .* stored inside"):
        load(saved(tmp_path / "net.onnx", made))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_steps_are_no_samples(tmp_path, op):
    """An open first axis is the batch, but where a recurrent layer takes it for time."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    constants = {"w": real(1, gates * 4, 3), "r": real(1, gates * 4, 4)}

    def made(size, **options):
        nodes = [node(op, ["x", "w", "r"], ["y"], hidden_size=4, **options)]
        return model(nodes, {"x": real(5, 1, 3)}, ["y"], constants, sizes={"x": [size, 1, 3]})

    with pytest.raises(UnsupportedError, match=r"'x' of shape \[t, 1, 3\] has time on the open first axis.*the batch first"):
        load(saved(tmp_path / "net.onnx", made("t")))
    scaled = [node("Mul", ["x", "s"], ["z"]), node(op, ["z", "w", "r"], ["y"], hidden_size=4)]
    behind = model(scaled, {"x": real(5, 1, 3)}, ["y"], constants | {"s": real(3)}, sizes={"x": ["t", 1, 3]})
    with pytest.raises(UnsupportedError, match="has time on the open first axis"):
        load(saved(tmp_path / "net.onnx", behind))
    assert load(saved(tmp_path / "net.onnx", made(5))).inputs
    assert load(saved(tmp_path / "net.onnx", made("n", layout=1))).inputs


# ---- what cannot be read --------------------------------------------------------------------------------------------------


def test_all_unknown_ops_are_listed_at_once(tmp_path):
    nodes = [
        node("Attend", ["x"], ["a"], domain="com.example"),
        node("Det", ["a"], ["b"]),
        node("Unique", ["b"], ["y"]),
    ]
    made = model(nodes, {"x": real(1, 2, 2)}, ["y"], domains=["com.example"], ranks={"y": [1, 1, 1, 1]})
    with pytest.raises(
        UnsupportedError, match=r"here: Det \(node 'b'\), Unique \(node 'y'\), com\.example\.Attend \(node 'a'\); .*onnx2tf"
    ):
        load(saved(tmp_path / "net.onnx", made))


def test_onnx2tf_is_named_with_its_command_where_it_is_installed(tmp_path, monkeypatch):
    tool = tmp_path / "onnx2tf"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnsupportedError, match="onnx2tf is installed: type onnx2tf -i MODEL"):
        graph(one("Det", real(1, 2, 2)))


def resized(scales, **attributes):
    return one("Resize", real(1, 2, 4, 4), real(8), np.asarray(scales, np.float32), opset=18, **attributes)


QDQ = (np.float32(0.1), np.int8(0))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (one("QuantizeLinear", real(1, 3), *QDQ), r"already \(QuantizeLinear \(node 'the_op'\)\); give the float model"),
        (one("DynamicQuantizeLinear", real(1, 3), outputs=3), "quantized already"),
        (one("SequenceMap", real(1), body=helper.make_graph([], "b", [], [])), "without lists of tensors"),
        (one("MaxPool", real(1, 2, 6, 6), kernel_shape=[2, 2], outputs=2), "the places of the largest"),
        (one("Conv", real(1, 2, 6, 6), real(3, 3, 3, 3)), "over 2 channels"),
        (one("Reshape", real(1, 6), np.asarray([4, -1])), r"\[1, 6\] cannot be given the shape \[4, -1\]"),
        (one("Cast", real(1, 6), to=8), "ONNX's type 8"),
        (one("AveragePool", real(1, 2, 4, 4, 4, 4), kernel_shape=[2, 2, 2, 2]), "only signals, images and volumes are pooled"),
        (one("MaxPool", real(1, 2, 4, 4, 4), kernel_shape=[2, 2, 2], dilations=[2, 1, 1]), "volumes over windows with gaps"),
        (resized((1, 1, 2, 2), coordinate_transformation_mode="tf_crop_and_resize"), "by 'tf_crop_and_resize'"),
        (resized((1, 1, 0.5, 0.5), mode="linear", antialias=1), "antialias=False"),
        (one("GridSample", real(1, 1, 4, 4), real(1, 2, 2, 2), mode="bicubic"), "only 'bilinear' and 'nearest' can be read"),
        (one("DFT", real(1, 5, 2), inverse=1, onesided=1), "back to real numbers"),
        (one("STFT", real(1, 64, 2), np.int64(8), real(16)), "only real signals of one channel"),
        (one("Hardmax", real(1, 5, 2), axis=1, opset=11), "over the 2 last axes at once"),
        (one("Dropout", real(1, 5), np.float32(0.5), np.asarray(True)), r"exported for training; call model\.eval\(\)"),
        (one("FusedConv", real(1, 5), domain="com.microsoft"), "ONNX Runtime writes such ops when it optimizes a model"),
        (one("ConstantOfShape", np.asarray([1, 2])), "its shape is computed at run time"),
        (one("ZipMap", real(1, 2), domain="ai.onnx.ml", classlabels_int64s=[0, 1]), "zipmap"),
        (one("TreeEnsembleRegressor", real(1, 2), domain="ai.onnx.ml"), "trees compare and have nothing to quantize; train"),
        (one("SVMClassifier", real(1, 2), domain="ai.onnx.ml", outputs=2), "train a linear model or a network instead"),
        (one("LabelEncoder", real(1, 2), domain="ai.onnx.ml"), "before and after the network apart"),
        (one("ScatterND", real(4, 2), np.asarray([[1]]), real(1, 2), reduction="add"), "export it without a reduction"),
        (one("ScatterND", real(4, 2), np.asarray([[1], [1]]), real(2, 2)), "updates of shape .* for 4 places"),
        (one("ScatterND", real(4, 2), np.asarray([[4]]), real(1, 2)), "an index outside of"),
        (one("NonZero", real(2, 2)), "its data is computed at run time"),
        (one("ReverseSequence", real(5, 1, 3), np.asarray([2])), "export it without their lengths"),
        (one("RandomNormalLike", real(1, 2)), r"call model\.eval\(\)"),
    ],
    ids=lambda given: given.graph.node[0].op_type if hasattr(given, "graph") else "",
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(made, message):
    with pytest.raises(IntactError, match=message) as caught:
        graph(made)
    assert "\n" not in str(caught.value)


def test_boxes_that_the_model_picks_are_left_to_the_program():
    nodes = [node("NonMaxSuppression", ["boxes", "scores"], ["y"])]
    made = model(nodes, {"boxes": real(1, 4, 4), "scores": real(1, 2, 4)}, ["y"])
    with pytest.raises(UnsupportedError, match=r"NonMaxSuppression \(node 'y'\); .*\(nms=False\)"):
        graph(made)


def branches(condition, constants=None):
    """y = x + 1 or x - 1."""
    one_number = numpy_helper.from_array(np.float32(1), "one")
    out = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3])]
    then, other = (helper.make_graph([node(op, ["x", "one"], ["z"])], op, [], out, [one_number]) for op in ("Add", "Sub"))
    nodes = [*condition, node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    return model(nodes, {"x": real(1, 3)}, ["y"], constants, ranks={"y": [1, 3]})


def test_a_branch_that_is_known_is_taken():
    known = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "at"], ["n"]), node("Equal", ["n", "three"], ["c"])]
    found, _ = graph(branches(known, {"at": np.int64(1), "three": np.int64(3)}))
    assert [op.kind.name for op in found.ops] == ["ADD"]
    found, _ = graph(branches(known, {"at": np.int64(0), "three": np.int64(3)}))
    assert [op.kind.name for op in found.ops] == ["SUB"]


def test_a_branch_that_is_computed_is_refused():
    computed = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "zero"], ["c"])]
    with pytest.raises(UnsupportedError, match="takes a branch by what it computes; export the model on an example"):
        graph(branches(computed, {"zero": np.float32(0)}))


def ports(value):
    made = conv()
    made.graph.input[0].CopyFrom(value)
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (ports(helper.make_tensor_value_info("x", TensorProto.STRING, [1, 3])), "holds string, and only float"),
        (ports(helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [1, 3])), "holds complex64"),
        (ports(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 3])), "its input 'x' is a sequence"),
        (ports(helper.make_sparse_tensor_value_info("x", TensorProto.FLOAT, [1, 3])), "is a sparse tensor"),
        (conv(opset=17), ""),
    ],
)
def test_inputs_that_are_no_tensors_of_numbers_are_refused(tmp_path, made, message):
    if not message:
        assert load(saved(tmp_path / "net.onnx", made)).ops
        return
    with pytest.raises(UnsupportedError, match=message):
        load(saved(tmp_path / "net.onnx", made))


def changed(**fields):
    made = conv()
    for name, value in fields.items():
        setattr(made.graph.initializer[0], name, value)
    return made


def with_dims(*dims):
    made = conv()
    made.graph.initializer[0].dims[:] = dims
    return made


def newest(version):
    made = conv()
    made.opset_import[0].version = version
    return made


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"onnx", "does not begin as one"),
        (b"\x08\x08" + bytes(100), "no ONNX model"),
        (conv().SerializeToString()[:-7], "truncated, corrupt or no ONNX model|truncated or no ONNX model|unsound"),
        (conv().SerializeToString()[:40], "truncated, corrupt or no ONNX model|truncated or no ONNX model|unsound"),
        (b"\x08\x08\x3a\xff\xff\xff\xff\x7f" + bytes(50), "truncated, corrupt or no ONNX model"),
        (with_dims(1 << 40, 1 << 40, 3, 3).SerializeToString(), "unsound"),
        (with_dims(-4, 3, 3, 3).SerializeToString(), "unsound"),
        (changed(data_type=99).SerializeToString(), "unsound|only float"),
        (changed(data_type=TensorProto.STRING).SerializeToString(), "unsound|no such|reads 'w'"),
        (newest(99).SerializeToString(), "of opset 99, and the installed onnx knows those up to"),
    ],
    ids=[
        "empty",
        "text",
        "zeros",
        "cut",
        "cut in the header",
        "a length past the end",
        "huge",
        "negative",
        "type",
        "string",
        "opset",
    ],
)
def test_damage_is_one_sentence(tmp_path, data, message):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises((ModelError, UnsupportedError), match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_beyond_what_its_format_holds_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08")
    try:
        os.truncate(path, 3 << 30)
    except OSError:
        pytest.skip("this file system holds no sparse file of 3 GiB")
    with pytest.raises(UnsupportedError, match="larger than 2 GB"):
        load(path)


def test_a_message_as_deep_as_it_gets_is_refused(tmp_path):
    def held(field, data):
        """A field of a protobuf message that holds bytes, behind their length."""
        size, more = [], len(data)
        while more > 127:
            size, more = [*size, more % 128 + 128], more // 128
        return bytes([8 * field + 2, *size, more]) + data

    inner = b""
    for _ in range(5_000):  # a branch of a node of a branch
        inner = held(1, held(5, held(6, inner)))
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08" + held(8, b"\x10\x11") + held(7, inner))
    with pytest.raises(ModelError, match="truncated, corrupt or no ONNX model"):
        load(path)


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion.child, "call", lambda *_, **__: {"missing": "onnx"})
    with pytest.raises(MissingExtraError, match=r"type: pip install 'intact\[onnx\]'"):
        load(saved(tmp_path / "net.onnx", conv()))


def test_a_row_that_is_wrong_is_found_out(tmp_path, monkeypatch):
    """What is made is compared with ONNX Runtime: a wrong weight is no network of the user's."""
    monkeypatch.setattr(convolution, "_kernel", lambda call, _: call.constant(1, "weight") * 1.1)
    with pytest.raises(UnsupportedError, match="its output 'y' differs"):
        load(saved(tmp_path / "net.onnx", conv()))


def test_the_file_that_is_kept_reads_back_the_same(tmp_path):
    path = saved(tmp_path / "net.onnx", conv())
    kept = to_float_tflite(path, tmp_path / "net.tflite")
    assert tflite.write(tflite.read(Path(kept).read_bytes())) == tflite.write(load(path))
