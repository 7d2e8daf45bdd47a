"""A SavedModel is a program: nothing of it runs before every operation in it is known to do no more than compute."""

import sys
from pathlib import Path

import numpy as np
import pytest

import intact.runtime.scripts
from intact.errors import UnsupportedError
from intact.formats.load import load

tf = pytest.importorskip("tensorflow")
pytestmark = [pytest.mark.xdist_group("keras"), pytest.mark.filterwarnings("ignore")]  # TensorFlow's own
SCRIPTS = Path(intact.runtime.scripts.__file__).parent


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The modules of the child, by plain name."""
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.fixture
def checked(tmp_path):
    """What the child makes of a folder before TensorFlow loads it."""

    def check(folder):
        import saved_model  # noqa: PLC0415

        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return saved_model.checked(folder, scratch)

    return check


@pytest.fixture
def refused():
    import keras2  # noqa: PLC0415

    return keras2.RefusedError


def spec(name="x"):
    return tf.TensorSpec([None, 4], tf.float32, name=name)


#: What reaches outside, by a file at ``there`` that must neither be read nor written.
REACHING = {
    "WriteFile": lambda there: tf.io.write_file(there, "text"),
    "SaveV2": lambda there: tf.raw_ops.SaveV2(prefix=there, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros(3)]),
    "MergeV2Checkpoints": lambda there: tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[there], destination_prefix=there),
    "RestoreV2": lambda there: tf.raw_ops.RestoreV2(
        prefix=there, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0],
    "ReadFile": tf.io.read_file,
    "MatchingFiles": tf.io.matching_files,
    "ImmutableConst": lambda there: tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=there),
    "PyFunc": lambda there: tf.numpy_function(lambda: np.float32(Path(there).write_text("x")), [], tf.float32),
    "EagerPyFunc": lambda there: tf.py_function(lambda: float(Path(there).write_text("x")), [], tf.float32),
    "PrintV2": lambda there: tf.print("x", output_stream=f"file://{there}"),
    "TextLineDataset": lambda there: tf.raw_ops.TextLineDataset(filenames=there, compression_type="", buffer_size=0),
    "WholeFileReaderV2": lambda _: tf.raw_ops.WholeFileReaderV2(),
    "SqlDataset": lambda there: tf.raw_ops.SqlDataset(
        driver_name="sqlite", data_source_name=there, query="", output_types=[tf.float32], output_shapes=[[]]
    ),
    "SummaryWriter": lambda there: tf.raw_ops.CreateSummaryFileWriter(
        writer=tf.raw_ops.SummaryWriter(), logdir=there, max_queue=1, flush_millis=1, filename_suffix=""
    ),
    "Timestamp": lambda _: tf.raw_ops.Timestamp(),
}


def made(there, how, place):
    """A module that does ``how`` in one place of its graph."""

    def reach():
        with tf.control_dependencies([x for x in tf.nest.flatten(how(str(there))) if x is not None]):
            return tf.constant(1.0)

    bodies = {
        "signature": lambda x: x * reach(),
        "function": lambda x: x * tf.function(tf.function(reach, autograph=False), autograph=False)(),
        "branch": lambda x: tf.cond(tf.reduce_sum(x) > 1e9, lambda: x * reach(), lambda: x),
        "loop": lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * reach()), (0, x))[1],
    }
    body = bodies.get(place, lambda x: x)

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(tf.ones([4]))

        @tf.function(input_signature=[spec()], autograph=False)
        def compute(self, x):
            return {"y": body(x * self.weight)}

    module = Module()
    if place == "initializer":
        module.hidden = resource(reach)
    return module


def resource(reach):
    """What loading makes and initializes, such as a table."""

    class Table(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.float32)

        @tf.function(input_signature=[], autograph=False)
        def _initialize(self):
            reach()

    return Table()


PLACES = ("signature", "function", "branch", "loop", "initializer")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("op", REACHING)
def test_what_reaches_outside_is_named_and_does_not_run(checked, refused, tmp_path, op, place):
    there = tmp_path / "there"
    module = made(there, REACHING[op], place)
    tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
    with pytest.raises(refused, match=rf"operation {op}, which is none of those|it saves files where|reads files") as caught:
        checked(tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not there.exists()


def test_a_table_that_reads_a_file(checked, refused, tmp_path):
    words = tmp_path / "words"
    words.write_text("a\nb\n")
    text = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )

    class Words(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticHashTable(text, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
        def compute(self, x):
            return {"y": self.table.lookup(x)}

    module = Words()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
    with pytest.raises(refused, match="InitializeTableFromTextFileV2"):
        checked(tmp_path / "model")


def test_a_table_in_memory_is_kept(checked, tmp_path):
    class Numbers(tf.Module):
        def __init__(self):
            super().__init__()
            values = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), tf.constant([0.5, 0.7]))
            self.table = tf.lookup.StaticHashTable(values, 0.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="x")])
        def compute(self, x):
            return {"y": self.table.lookup(x)}

    module = Numbers()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
    loaded = checked(tmp_path / "model").loaded()
    assert loaded.signatures["serving_default"](tf.constant([2, 5], tf.int64))["y"].numpy().tolist() == [np.float32(0.7), 0.0]


# ---- files that no library writes ---------------------------------------------------------------------------------------


@pytest.fixture
def edited(tmp_path):
    """A sound SavedModel whose ``saved_model.pb`` has been edited."""

    def edit(change):
        from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

        module = made(tmp_path / "there", None, "nowhere")
        tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
        path, saved = tmp_path / "model" / "saved_model.pb", saved_model_pb2.SavedModel()
        saved.ParseFromString(path.read_bytes())
        change(saved.meta_graphs[0])
        path.write_bytes(saved.SerializeToString())
        return tmp_path / "model"

    return edit


def writer(graph, there):
    """Add a node to the main graph that writes a file; its name."""
    for name, text in (("to", str(there)), ("what", "text")):
        node = graph.graph_def.node.add(name=name, op="Const")
        node.attr["dtype"].type = tf.string.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
    return graph.graph_def.node.add(name="writes", op="WriteFile", input=["to", "what"]).name


def constant(graph):
    """A constant more in the main graph."""
    node = graph.graph_def.node.add(name="more", op="Const")
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([1.0]))
    return node.attr["value"].tensor


def saving(graph):
    return graph.saver_def.save_tensor_name.partition(":")[0]


EDITS = {
    "a main op": lambda g, there: g.collection_def["saved_model_main_op"].node_list.value.append(writer(g, there)),
    "an old initializer": lambda g, there: g.collection_def["legacy_init_op"].node_list.value.append(writer(g, there)),
    "what restores": lambda g, there: setattr(g.saver_def, "restore_op_name", writer(g, there)),
    "saving instead of restoring": lambda g, _: setattr(g.saver_def, "restore_op_name", saving(g)),
    "saving at the start": lambda g, _: g.collection_def["saved_model_main_op"].node_list.value.append(saving(g)),
    "an input of it": lambda g, there: g.graph_def.node[-1].input.append("^" + writer(g, there)),
    "another operation's name": lambda g, _: setattr(g.graph_def.node.add(name="odd"), "op", "NoSuchOperation"),
    "a negative size": lambda g, _: constant(g).tensor_shape.dim.add(size=-5),
    "a size of an exabyte": lambda g, _: constant(g).tensor_shape.dim.add(size=1 << 58),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_an_edited_file_is_refused(edited, checked, refused, tmp_path, change):
    folder = edited(lambda graph: change(graph, tmp_path / "there"))
    with pytest.raises(refused, match=r"WriteFile|NoSuchOperation|saves files|negative size|unpack to"):
        checked(folder)
    assert not (tmp_path / "there").exists()


def test_restoring_reads_the_folders_own_variables_only(edited, checked, refused, tmp_path):
    def elsewhere(graph):
        node = next(node for node in graph.graph_def.node if node.name == graph.saver_def.restore_op_name)
        reading = next(node for node in graph.graph_def.node if graph.saver_def.filename_tensor_name[:-2] in node.input)
        assert node.name in (reading.name, graph.saver_def.restore_op_name)
        writer(graph, tmp_path / "there")
        node.input[0] = "to"
        del graph.graph_def.node[-1]  # it does not even write

    with pytest.raises(refused, match="reads files other than its variables"):
        checked(edited(elsewhere))


def operations(folder):
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    return {node.op for part in (saved.meta_graphs[0].graph_def.node, *(f.node_def for f in functions)) for node in part}


def test_what_saves_is_cut_out_and_the_rest_loads(edited, checked):
    folder = edited(lambda _: None)
    copy = checked(folder)
    assert "SaveV2" in operations(folder)
    assert "SaveV2" not in operations(copy.folder)
    assert operations(copy.folder) < operations(folder)
    assert copy.loaded().signatures["serving_default"](tf.ones([1, 4]))["y"].numpy().tolist() == [[1.0] * 4]


def test_nothing_but_graph_and_variables_is_copied(edited, checked):
    folder = edited(lambda _: None)
    for name in (
        "saved_model.pbtxt",
        "saved_model.cpb",
        "fingerprint.pb",
        "assets/words",
        "assets.extra/words",
        "variables/other",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    copy = checked(folder).folder
    found = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert found == {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")
def test_variables_that_are_a_pipe(edited, checked):
    import os  # noqa: PLC0415

    import saved_model  # noqa: PLC0415

    folder = edited(lambda _: None)
    (folder / "variables" / "variables.index").unlink()
    os.mkfifo(folder / "variables" / "variables.index")
    with pytest.raises(saved_model.CorruptError, match=r"variables/variables\.index is no file"):
        checked(folder)


def test_the_whole_way(tmp_path):
    """As a user meets it: an initializer that saves to a chosen path."""
    there = tmp_path / "there"
    module = made(there, REACHING["SaveV2"], "initializer")
    tf.saved_model.save(module, tmp_path / "model", signatures=module.compute)
    with pytest.raises(UnsupportedError, match=r"model: it saves files where it is loaded or run: '\w+' depends on SaveV2"):
        load(tmp_path / "model")
    assert not list(tmp_path.glob("there*"))
