"""Help and refusals come at once: nothing heavy is loaded before options and paths are found good."""

import ast
import importlib
import inspect
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from nets import mobile

import intact
from intact import choices
from intact.formats import recognize, tflite
from intact.planning.ranges import ESTIMATORS
from intact.remedies import REMEDIES

SRC = Path(intact.__file__).parent
HEAVY = ("torch", "numpy", "scipy", "PIL", "jinja2", "rich", "flatbuffers", "ai_edge_litert")


def loaded_after(script, *args):
    """What of HEAVY is loaded when a fresh Python has run ``script``, its exit code, and what it printed."""
    end = "\nfinally:\n import sys\n sys.stderr.write('loaded: ' + ' '.join(m for m in HEAVY if m in sys.modules))"
    body = f"HEAVY = {HEAVY!r}\ntry:\n" + "\n".join(f" {line}" for line in script.splitlines()) + end
    ran = subprocess.run([sys.executable, "-c", body, *map(str, args)], capture_output=True, text=True, check=False)
    said, _, loaded = ran.stderr.rpartition("loaded: ")
    return loaded.split(), ran.returncode, ran.stdout + said


def command(*args):
    return loaded_after("from intact.cli.app import main\nmain()", *args)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models that are broken or foreign, each by a kind of its own, and data that is there."""
    path = tmp_path_factory.mktemp("startup")
    model = tflite.write(mobile())
    (path / "net.tflite").write_bytes(model)
    (path / "cut.tflite").write_bytes(model[:2000])
    (path / "text.tflite").write_text("not a model, but a text")
    (path / "empty.tflite").write_bytes(b"")
    for name in ("net.onnx", "net.pt", "net.safetensors", "net.xyz", "net.keras", "net.h5", "net.pt2"):
        (path / name).write_bytes(b"something else")
    with zipfile.ZipFile(path / "zip.keras", "w") as archive:
        archive.writestr("readme.txt", "no model")
    (path / "cut.h5").write_bytes((Path(__file__).parents[1] / "networks" / "keras2.h5").read_bytes()[:20_000])
    np.savez(path / "val.npz", x=np.zeros((4, 8, 8, 3), np.float32))
    (path / "data.xyz").write_text("no samples")
    return path


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--help"], 0, "quantize"),
        (["--version"], 0, f"intact {intact.__version__}"),
        (["quantize", "--help"], 0, "--max-drop"),
        (["quantise"], 2, "No such command"),
        (["quantize", "net.tflite", "--data", "val.npz", "--best"], 2, "No such option"),
        (["quantize", "net.tflite", "--data", "val.npz", "--seed", "x"], 2, "valid integer"),
        (["quantize", "net.tflite", "--data", "val.npz", "--scheme", "int7"], 2, "no scheme is called 'int7'"),
        (["quantize", "net.tflite", "--data", "val.npz", "--target", "tpu"], 2, "no target is called 'tpu'"),
        (["quantize", "net.tflite", "--data", "val.npz", "--ranges", "best"], 2, "no range estimator is called 'best'"),
        (["quantize", "net.tflite", "--data", "val.npz", "--weights", "per-row"], 2, "no weight granularity is called"),
        (["quantize", "net.tflite", "--data", "val.npz", "--remedies", "magic"], 2, "no remedy is called 'magic'"),
        (["quantize", "net.tflite", "--data", "val.npz", "--device", "tpu"], 2, "no device is called 'tpu'"),
        (["deploy", "net.tflite", "--runtime", "tflite"], 2, "no runtime is called 'tflite'"),
        (["quantize", "net.tflite", "--data", "val.npz", "--pixels=1,0"], 2, "is not a range"),
        (["quantize", "net.tflite", "--data", "val.npz", "--max-drop", "500"], 2, "must be percentage points"),
        (["quantize", "net.tflite", "--data", "val.npz", "--time-budget", "soon"], 2, "is no time"),
        (["quantize", "net.tflite", "--data", "val.npz", "--plan", "no.json"], 2, "cannot be read as a plan"),
        (["quantize", "net.tflite", "--data", "val.npz", "--label", "x"], 2, "--label names a column of a .csv"),
        (["quantize", "gone.tflite", "--data", "val.npz"], 2, "gone.tflite: there is no such file"),
        (["quantize", "net.tflite", "--data", "gone"], 2, "gone: no such file or folder"),
        (["quantize", "net.tflite", "--data", "val.npz", "--eval", "gone"], 2, "gone: no such file or folder"),
        (["quantize", "net.tflite", "--data", "data.xyz"], 2, "data.xyz: not data that can be read"),
        (["diagnose", "gone.tflite", "--data", "val.npz"], 2, "gone.tflite: there is no such file"),
        (["evaluate", "gone.tflite", "--data", "val.npz"], 2, "gone.tflite: there is no such file"),
        (["evaluate", "net.tflite", "--data", "val.npz", "--metric", "rmse"], 2, "no metric is called 'rmse'"),
        (["deploy", "net.tflite", "--board", "nano34ble"], 2, "did you mean nano33ble"),
        (["fit", "net.tflite", "--board", "nano34ble"], 2, "did you mean nano33ble"),
        (["fit", "gone.tflite"], 2, "gone.tflite: there is no such file"),
        (["fit", "net.tflite", "--data", "val.npz"], 2, "add --instructions"),
        (["benchmark", "gone.tflite"], 2, "gone.tflite: there is no such file"),
        (["inspect", "gone.tflite"], 2, "gone.tflite: there is no such file"),
        (["inspect", "cut.tflite"], 2, "cut.tflite: is corrupt or cut off"),
        (["inspect", "text.tflite"], 2, "text.tflite: is not a .tflite file"),
        (["benchmark", "text.tflite"], 2, "text.tflite: is not a .tflite file"),
        (["inspect", "empty.tflite"], 2, "empty.tflite: the file is empty"),
        (["inspect", "net.onnx"], 2, "net.onnx: the file is corrupt or no ONNX model"),
        (["inspect", "net.pt"], 2, "net.pt: a .pt file is a Python pickle"),
        (["inspect", "net.safetensors"], 2, "holds weights without the network"),
        (["inspect", "net.xyz"], 2, "a .xyz file is no known model"),
        (["inspect", "net.keras"], 2, "net.keras: the file is truncated or no Keras model"),
        (["inspect", "zip.keras"], 2, "zip.keras: it is a zip archive, but not a Keras model"),
        (["inspect", "net.h5"], 2, "net.h5: the file is truncated or no Keras model"),
        (["inspect", "cut.h5"], 2, "cut.h5: the file is corrupt (truncated: it holds 20,000 of"),
        (["inspect", "net.pt2"], 2, "net.pt2: the file is truncated, corrupt or no .pt2 archive"),
        (["inspect", "."], 2, "it is a folder, but no TensorFlow SavedModel"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_help_and_refusals_load_nothing(folder, monkeypatch, args, code, says):
    monkeypatch.chdir(folder)
    loaded, exit_code, printed = command(*args)
    assert (exit_code, loaded) == (code, [])
    assert says in printed
    assert "Traceback" not in printed
    assert code == 0 or printed.count("error: ") <= 1


def test_the_check_can_fail(folder, monkeypatch):
    monkeypatch.chdir(folder)
    loaded, code, printed = command("inspect", "net.tflite")
    assert (code, set(loaded)) == (0, set(HEAVY) - {"PIL", "jinja2"}), printed  # no pictures are read, no page is written


@pytest.mark.parametrize(
    "script",
    [
        "import intact\nintact.__version__\nintact.IntactError\ndir(intact)",
        "import intact\nintact.data\nintact.data.Preprocessing(pixels=(-1, 1))\ndir(intact.data)",
        "import intact\nintact.Settings(scheme='w4a8', remedies=('equalize',))",
        "import intact.cli.app",
    ],
)
def test_import_is_light(script):
    assert loaded_after(script) == ([], 0, "")


# ---- lazy names -----------------------------------------------------------------------------------------------------


def typed(package):
    """``{public name: (module, name there)}`` as type checkers read them, and the literal table that Python reads."""
    tree = ast.parse((SRC / package / "__init__.py").read_text())
    (branch,) = (node for node in tree.body if isinstance(node, ast.If))
    prefix = ".".join(["intact", *package.parts])
    names = {}
    for line in branch.body:
        (alias,) = line.names
        names[alias.asname] = (line.module.removeprefix(prefix).removeprefix("."), alias.name)
    table = ast.literal_eval(branch.orelse[-1].value.args[1])
    return names, table


def test_statistics_wait_until_they_are_asked_for():
    script = "import sys, intact.measure.figures\nsys.exit('scipy.stats' in sys.modules or 'scipy.optimize' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("package", [Path(), Path("data"), Path("formats/tflite")])
def test_checkers_and_python_see_the_same_names(package):
    names, table = typed(package)
    found = {name: (where.partition(":")[0], where.partition(":")[2] or name) for name, where in table.items()}
    assert found == names
    module = importlib.import_module(".".join(["intact", *package.parts]))
    for name, (where, there) in found.items():
        whole = importlib.import_module(f"{module.__name__}.{where or name}")
        assert getattr(module, name) is (getattr(whole, there) if where else whole)
    assert set(table) <= set(dir(module))


@pytest.mark.parametrize("package", ["intact", "intact.data", "intact.formats.tflite"])
def test_a_package_shows_its_public_names_and_no_other(package):
    module = importlib.import_module(package)
    importlib.import_module("intact.run.quantize")  # what is loaded since does not show
    table = typed(Path(*package.split(".")[1:]))[1]
    shown = [name for name in dir(module) if not name.startswith("_") or name == "__version__"]
    assert shown == sorted(table)
    assert {"__all__", "__doc__", "__name__"} & set(vars(module)) <= set(dir(module))


@pytest.mark.parametrize("name", intact.__all__)
def test_every_public_name_says_what_it_is(name):
    found = getattr(intact, name)
    if name == "__version__":
        assert found[0].isdigit()
        return
    assert len(inspect.getdoc(found).split()) > 3
    if isinstance(found, type):  # not what dataclass writes where there is nothing, nor what is inherited
        assert found.__doc__ == ast.get_docstring(ast.parse(inspect.getsource(found)).body[0], clean=False)


def test_the_public_list_is_complete():
    assert sorted(intact.__all__) == sorted(typed(Path())[1])
    with pytest.raises(AttributeError, match="module 'intact' has no attribute 'quantise'"):
        _ = intact.quantise
    with pytest.raises(ImportError, match="cannot import name 'folders'"):
        exec("from intact.data import folders")


@pytest.mark.parametrize(
    "before",
    [
        "from intact.formats import tflite\nimport intact.formats.tflite.{name}",
        "import importlib\nimportlib.import_module('intact.formats.tflite.{name}')\nfrom intact.formats import tflite",
        "from intact.formats import tflite\ntflite.{name}\n"
        "import importlib\nimportlib.reload(importlib.import_module('intact.formats.tflite.{name}'))",
        "import intact.run.quantize\nfrom intact.formats import tflite",
    ],
)
def test_a_function_is_not_hidden_by_the_module_of_its_name(before):
    check = "\nimport types\nassert type(tflite.{name}) is types.FunctionType\nfrom intact.formats.tflite import {name}\n"
    script = "".join(
        (before + check + "assert type({name}) is types.FunctionType\n").format(name=name) for name in ("read", "write")
    )
    _, code, printed = loaded_after(script)
    assert code == 0, printed


def test_other_submodules_and_values_are_set_as_usual(monkeypatch):
    assert isinstance(intact.files, types.ModuleType)
    monkeypatch.setattr(intact, "quantize", len)
    assert intact.quantize("abc") == 3


# ---- facts that are known by name without what they stand for -----------------------------------------------------------


def test_choices_are_those_there_are():
    assert tuple(REMEDIES) == choices.REMEDIES
    assert tuple(ESTIMATORS) == choices.RANGES


def test_a_foreign_file_is_refused_in_python_as_in_the_shell(folder):
    for name in ("net.onnx", "cut.h5", "zip.keras", "cut.tflite"):
        with pytest.raises(intact.IntactError) as caught:
            intact.load(folder / name)
        assert str(caught.value).count(str(folder / name)) == 1


def test_a_whole_h5_is_let_through():
    whole = Path(__file__).parents[1] / "networks" / "keras2.h5"
    assert recognize.check(whole) == whole


def test_public_functions_stay_what_they_are_when_modules_of_their_names_are_loaded():
    script = (
        "import importlib, pkgutil, types, intact\n"
        "for name in ('run.quantize', 'run.evaluate', 'run.diagnose', 'diagnosis.diagnose', 'cli.diagnose', 'formats.load'):\n"
        "    importlib.import_module(f'intact.{name}')\n"
        "for name in ('quantize', 'evaluate', 'diagnose', 'load', 'verify', 'clean'):\n"
        "    assert type(getattr(intact, name)) is types.FunctionType, name\n"
        "hidden = [name for name in dir(intact) if name not in intact.__all__ and not name.startswith('__')]\n"
        "assert not hidden, hidden\n"
    )
    _, code, printed = loaded_after(script)
    assert code == 0, printed
