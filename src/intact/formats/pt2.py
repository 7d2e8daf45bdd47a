"""What a ``.pt2`` file may hold before anything of it is loaded: ``torch.export.load`` trusts its file, we do not.

The archive is a zip of JSON, raw weights and one pickled sample. Loading it evaluates or executes what stands in several
of its places: pickled weights and objects; sample inputs (``torch.load`` falls back to plain unpickling), which are read by
``pt2_samples.py`` and not handed on; symbolic sizes (sympy evaluates them as Python); operator names (any attribute of torch,
``torch.os.system`` too); argument and node names (pasted into generated Python); tree specifications (they import modules);
compiled libraries. Each is checked here against a closed form, on the JSON alone. Written after the reader of torch 2.13
(``torch/_export/serde/serialize.py``,
``torch/export/pt2_archive/_package.py``).
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from intact.errors import ModelError, OutputError
from intact.formats import pt2_samples
from intact.runtime.scripts import zips

#: A parsed JSON document, of unknown form.
Json: TypeAlias = Any

_ADVICE: Final = "export it again with torch.export.save(torch.export.export(module, (sample,)), 'model.pt2')"

#: Operators of the tensor library, arithmetic on sizes, and the control flow that export itself inserts.
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(?!aten\.from_file)(aten|prims|quantized_decomposed)\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|wrap_set_grad_enabled)"
    r"|torch\.(sym_int|sym_float|sym_max|sym_min|sym_not|sym_sum|sym_ite|sym_sqrt)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|abs)"
    r"|math\.(floor|ceil|trunc|sqrt)"
)
#: Names of tensors and arguments, which become Python source: dotted identifiers and numbers.
_NAME: Final = re.compile(r"[A-Za-z0-9_.]*")
#: Names of parameters and modules, which stand between quotes there.
_QUOTED: Final = re.compile(r"[\w.\-:/ @+=]*")
_QUOTED_KEYS: Final = frozenset({"parameter_name", "buffer_name", "tensor_constant_name", "fqn"})
#: What torch writes sizes with (sympy's ``srepr``): ``Add(FloorDiv(Symbol('s16', positive=True), Integer(2)), Integer(1))``.
_FUNCTION_NAMES: Final = """
    Symbol Integer Float Rational Add Mul Pow Max Min Abs floor ceiling Equality Unequality StrictLessThan LessThan
    StrictGreaterThan GreaterThan Eq Ne Lt Le Gt Ge And Or Not Mod FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt
    FloorToInt CeilDiv LShift RShift PowByNatural FloatPow FloatTrueDiv IntTrueDiv TruncToFloat TruncToInt RoundToInt
    RoundDecimal ToFloat Identity
"""
_FUNCTIONS: Final = frozenset(_FUNCTION_NAMES.split())
_SYMBOL: Final = re.compile(r"[a-z]{1,4}\d+|oo|int_oo|true|false")
_ARITHMETIC: Final = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop, ast.Load, ast.Expression)
#: Exponents in sizes, and how many.
_MOST_POWER, _MOST_POWERS = 16, 4
_TREE_TYPES: Final = frozenset(
    {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", "collections.namedtuple"}
)
#: Free text that is never executed, or that the loader only looks at.
_FREE_TEXT: Final = frozenset({"metadata", "torch_version", "as_string", "guards_code"})
#: Python takes some twenty times as much for it.
_LARGEST_JSON: Final = 32 << 20
_SAMPLE: Final = "data/sample_inputs/model.pt"


def checked_copy(source: Path, copy: Path) -> list[dict[str, Any]]:
    """Write to ``copy`` what ``source`` holds but its sample input, or raise :class:`ModelError` if loading it could run more.

    More than operators, that is. A copy, because two readers of zip archives need not agree on what a crafted one holds: torch
    gets to see exactly the entries that were checked here. The sample inputs come back as :func:`pt2_samples.read` gives them,
    with their numbers in files beside ``copy``.
    """
    try:
        with zips.opened(source) as archive:
            sample = _archive(archive)
            with zipfile.ZipFile(copy, "w") as out:
                for name in archive.namelist():
                    with out.open(name, "w", force_zip64=True) as written:
                        if name != sample:  # torch takes an empty one for none
                            with archive.open(name) as read:
                                shutil.copyfileobj(read, written)
            return pt2_samples.read(zips.read(archive, sample), copy.parent, _ADVICE) if sample else []
    except zips.UnsoundError as error:
        raise ModelError(f"the file is truncated, corrupt or no .pt2 archive ({error})") from error
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"no room for a copy of it in {copy.parent} ({why}); set TMPDIR to a folder with more") from error


def _archive(archive: zipfile.ZipFile) -> str:
    """The name of the entry that holds the sample inputs, empty for none, if all entries may be loaded."""
    inner = _entries(archive)
    for name in inner:
        if name.startswith(("data/aotinductor", "data/executorch", "data/mtia", "xl_model_weights")):
            raise ModelError(f"it holds compiled code or foreign data ({name}); {_ADVICE}")
        if name.startswith("data/constants/") and name.split("/")[-1].startswith(("custom_obj_", "opaque_obj_")):
            raise ModelError(f"it holds a pickled object ({name}), which can run any code; {_ADVICE}")
        if name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
            raise ModelError(f"it holds pickled weights ({name}), which can run any code; {_ADVICE}")
    programs = sorted(name for name in inner if name.startswith("models/"))
    if programs != ["models/model.json"]:
        raise ModelError(f"it holds {len(programs)} programs ({', '.join(programs[:3])}); one is expected, models/model.json")
    for name, full in inner.items():
        if name.endswith(("_weights_config.json", "_constants_config.json")):
            _payloads(name, _json(archive, full))
        elif name.startswith("data/sample_inputs/") and name != _SAMPLE:
            raise ModelError(f"it holds the sample of another program ({name}); {_ADVICE}")
    _program(_json(archive, inner["models/model.json"]))
    return inner.get(_SAMPLE, "")


def _entries(archive: zipfile.ZipFile) -> dict[str, str]:
    """The names in an exported program's archive, below its root and in full."""
    entries = archive.infolist()
    if not entries or min(entry.header_offset for entry in entries) != 0:  # the sample inputs are a zip within the zip
        raise zipfile.BadZipFile("its end is missing")
    names = [entry.filename for entry in entries if not entry.is_dir()]
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        raise ModelError(f"it is a pickle of torch.save or TorchScript, which can run any code; {_ADVICE}")
    if "serialized_exported_program.json" in names:
        raise ModelError(f"it was written by a torch before 2.8, in a format that holds pickles; with a newer torch {_ADVICE}")
    roots = {name.split("/", 1)[0] for name in names}
    if len(roots) != 1 or not any(name.count("/") == 1 and name.endswith("/archive_version") for name in names):
        raise ModelError(f"it is a zip archive, but no exported program; {_ADVICE}")
    return {name.split("/", 1)[1]: name for name in names}


def _json(archive: zipfile.ZipFile, name: str) -> Json:
    if archive.getinfo(name).file_size > _LARGEST_JSON:
        raise ModelError(f"{name} in the archive is larger than any real one")
    try:
        return json.loads(zips.read(archive, name))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} in the archive is corrupt") from error


def _payloads(name: str, document: Json) -> None:
    """Weights and constants: raw bytes of an entry in the same folder, never pickled."""
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise ModelError(f"{name} in the archive is corrupt")
    for key, payload in config.items():
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise ModelError(f"{key!r} is pickled, which can run any code; {_ADVICE}")
        if not re.fullmatch(r"(weight|tensor)_\d+", str(payload.get("path_name"))):
            raise ModelError(f"{key!r} lies at {payload.get('path_name')!r}, outside its folder")
        if not _QUOTED.fullmatch(key):
            raise ModelError(f"{key!r} is not a parameter's name")
        for text in _symbolic(payload):
            _expression(text)


def _program(document: Json) -> None:
    """The graph: every operator, name, size and tree of a closed form."""
    if not isinstance(document, dict) or not isinstance(document.get("graph_module"), dict):
        raise ModelError("models/model.json in the archive is corrupt")
    try:
        _walk(document, "")
    except RecursionError as error:
        raise ModelError("models/model.json in the archive is nested too deeply") from error


def _walk(node: Json, key: str) -> None:
    if key in _FREE_TEXT:
        return
    if key in ("target", "as_operator"):
        if not isinstance(node, str) or not _OPERATOR.fullmatch(node):
            raise ModelError(f"it calls {str(node)[:80]!r}, which is not an operator of PyTorch; {_ADVICE}")
    elif key == "expr_str":
        _expression(node)
    elif key in ("in_spec", "out_spec"):
        _tree(node)
    elif isinstance(node, dict):
        for name, value in node.items():
            if key != "range_constraints" and not _NAME.fullmatch(name):
                raise ModelError(f"it holds the name {name[:80]!r}, which is not one that torch.export gives; {_ADVICE}")
            if key == "range_constraints":
                _expression(name)
            _walk(value, name)
    elif isinstance(node, list):
        for value in node:
            _walk(value, key)
    elif isinstance(node, str) and not (_QUOTED if key in _QUOTED_KEYS else _NAME).fullmatch(node):
        raise ModelError(f"it holds the text {node[:80]!r} where a name belongs; {_ADVICE}")


def _symbolic(node: Json) -> Iterator[Json]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr_str":
                yield value
            yield from _symbolic(value)
    elif isinstance(node, list):
        for value in node:
            yield from _symbolic(value)


def _expression(text: Json) -> None:
    """A symbolic size: numbers, symbols, arithmetic and the listed functions of them, as Python source."""
    try:
        tree = ast.parse(text, mode="eval") if isinstance(text, str) and len(text) < 10_000 else None
        sound = tree is not None and all(_is_arithmetic(node) for node in ast.walk(tree)) and _is_small(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        sound = False
    if not sound:
        raise ModelError(f"it has the size {str(text)[:80]!r}, which is not arithmetic on sizes; {_ADVICE}")


def _is_arithmetic(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS
        case ast.Name(id=name):
            return name in _FUNCTIONS or _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=str() as value):  # a symbol's name, or a float written out
            return re.fullmatch(r"[a-z]{1,4}\d+|[-+.e\d]+", value) is not None
        case ast.Constant(value=value):
            return isinstance(value, (bool, int, float))
        case ast.keyword(arg=name):
            return name in ("positive", "integer", "nonnegative", "real", "precision", "evaluate")
        case _:
            return isinstance(node, _ARITHMETIC)


def _is_small(tree: ast.AST) -> bool:
    """Whether its numbers stay small: a tower of powers of nine takes for ever."""
    powers = 0
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=int(number)) if abs(number) >= 1 << 63:
                return False
            case (
                ast.BinOp(op=ast.Pow() | ast.LShift(), right=exponent)
                | ast.Call(func=ast.Name(id="Pow" | "PowByNatural" | "FloatPow" | "LShift"), args=[_, exponent, *_])
            ):
                powers += 1
                numbers = [leaf.value for leaf in ast.walk(exponent) if isinstance(leaf, ast.Constant)]
                if any(isinstance(number, int) and abs(number) > _MOST_POWER for number in numbers):
                    return False
    return powers <= _MOST_POWERS


def _tree(text: Json) -> None:
    """How arguments and results nest: tuples, lists and dictionaries with plain keys."""
    try:
        document = json.loads(text)
    except (ValueError, TypeError) as error:
        raise ModelError("the nesting of its inputs or outputs is corrupt") from error

    def check(node: Json) -> None:
        if isinstance(node, list):
            for value in node:
                check(value)
        elif isinstance(node, dict):
            context = node.get("context")
            if node.get("type") not in _TREE_TYPES or "__enum__" in str(context) or "default_factory" in str(context):
                raise ModelError(
                    f"its inputs or outputs are of the type {str(node.get('type'))[:80]!r}; only tuples, lists and "
                    f"dictionaries of tensors can be converted; {_ADVICE}"
                )
            check(node.get("children_spec", []))

    check(document)
