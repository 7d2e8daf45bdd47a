"""The house stays livable: imports point one way, modules stay short, and importing costs nothing that was not asked for."""

import ast
import builtins
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from intact.ops import KINDS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "intact"

PORCH = {
    "annotations", "choices", "errors", "files", "installed", "lazy", "locks", "notebook", "progress", "reading", "scratch",
    "spool", "wording",
}  # fmt: skip
#: The wings of the house, and from which others each imports: all of them, and no more. A wing stands below what it imports.
#: What lies beside the wings is the porch, which every wing may use.
WINGS = {
    "numbers": set(),
    "ops": {"numbers"},
    "network": {"numbers", "ops"},
    "rewrite": {"numbers", "ops", "network"},
    "runtime": set(),
    "formats": {"numbers", "ops", "network", "runtime"},
    "data": {"numbers", "network", "runtime"},
    "planning": {"numbers", "ops", "network", "rewrite"},
    "simulate": {"numbers", "ops", "network", "data", "planning"},
    "remedies": {"numbers", "ops", "network", "data", "planning", "simulate"},
    "measure": {"numbers", "network", "runtime", "formats", "data", "planning", "simulate"},
    "diagnosis": {
        "numbers", "ops", "network", "rewrite", "runtime", "formats", "data", "planning", "simulate", "measure",
    },
    "search": {"numbers", "network", "formats", "data", "planning", "simulate", "remedies", "measure"},
    "deploy": {"numbers", "ops", "network", "runtime", "formats", "data", "planning"},
    "report": {"data", "measure", "diagnosis", "search"},
    "run": {
        "numbers", "ops", "network", "rewrite", "runtime", "formats", "data", "planning", "simulate", "remedies", "measure",
        "diagnosis", "search", "deploy", "report",
    },
    "": {"network", "rewrite", "formats", "data", "planning", "simulate", "diagnosis", "run"},  # intact/__init__.py
    "cli": {"runtime", "formats", "data", "planning", "measure", "deploy", "run", "report"},
    "__main__": {"cli"},
}  # fmt: skip
LINES = 430  # in a module: a few screens
WORDS = 2_600  # names, operators and literals in a module: what there is to understand, however it is laid out
BUDGET = 390_000  # words in all of src; raise it on purpose, or delete something

MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(SRC.rglob("*.py"))
}


def wing(module):
    return module.partition(".")[0]


def imported(path):
    """Modules of the package that a file imports anywhere in it, ``""`` for the package itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "intact":
                yield module if module in MODULES else module.rpartition(".")[0]


IMPORTS = {module: set(imported(path)) for module, path in MODULES.items()}


def test_every_module_lies_in_a_wing_or_on_the_porch():
    assert {wing(module) for module in MODULES} == PORCH | WINGS.keys()


@pytest.mark.parametrize("name", WINGS)
def test_a_wing_imports_what_the_map_says(name):
    others = {wing(other) for module in MODULES if wing(module) == name for other in IMPORTS[module]}
    assert others - PORCH - {name} == WINGS[name]


def test_imports_point_upward():
    order = list(WINGS)
    assert not [f"{name} imports {other}" for name in order for other in WINGS[name] if order.index(other) >= order.index(name)]
    assert not [f"{name} imports {other}" for name in PORCH for other in IMPORTS[name] if wing(other) not in PORCH]
    tuple(TopologicalSorter(IMPORTS).static_order())  # CycleError


def test_tests_lie_in_the_same_wings():
    folders = {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders - {"tests", "fuzz", "chaos", "examples"} <= WINGS.keys()


#: Who may name the class of an op's kind: those who make ops, and the tables of the formats.
MAKERS = ("ops.", "rewrite.", "formats.", "deploy.c.", "planning.integer_graph")
#: Who asks for a kind by its class all the same, where others ask for a fact of OpKind.
ASKING = {
    "network.weighted": "an op with a weight is told from others here, for all: weighted(graph, op).kind has the methods",
}


def asks_for_a_kind(source):
    """Whether a module imports an op kind, or asks for one by ``isinstance(op.kind, Class)``."""
    families = [module.removeprefix("ops.") for module in MODULES if module.startswith("ops.")]
    kinds = "|".join(name for name in families if name not in {"base", "call", "inference", "scales"})
    if re.search(rf"^from intact\.ops\.({kinds}) import|^from intact\.ops import .*\b({kinds})\b", source, re.MULTILINE):
        return True
    calls = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
    ]
    return any(re.fullmatch(r"(.*\.)?kind", ast.unparse(call.args[0])) for call in calls)


def test_an_op_is_asked_for_its_facts_and_not_for_its_class():
    others = [module for module in MODULES if IMPORTS[module] and not f"{module}.".startswith(MAKERS)]
    assert {module for module in others if asks_for_a_kind(MODULES[module].read_text())} == ASKING.keys()


def test_asking_for_a_class_is_seen():
    assert asks_for_a_kind("from intact.ops.elementwise import Add")
    assert asks_for_a_kind("from intact.ops import resize, shaping")
    assert asks_for_a_kind("def f(graph):\n    return [op for op in graph.ops if isinstance(op.kind, (A, B))]")
    assert not asks_for_a_kind("from intact.ops.base import OpKind\nisinstance(op.kind.range_rule, Free)")


SCRIPTS = [
    module
    for module, path in MODULES.items()
    if module.startswith("runtime.scripts.")
    and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
]


@pytest.mark.parametrize("module", SCRIPTS)
def test_child_scripts_start_without_the_package(module):
    assert not list(imported(MODULES[module])), f"{module} runs by file path in a child process and must not import intact"


@pytest.mark.parametrize("module", MODULES)
def test_no_hasattr_probing(module):
    names = [node.id for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Name)]
    assert "hasattr" not in names


def words(text):
    """How many names, operators and literals a program has, its documentation aside: dense lines do not hide them."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    bodies = [node.body for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
    docs = {(body[0].lineno, body[0].col_offset) for body in bodies if body and isinstance(body[0], ast.Expr)}
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(t.type not in layout and t.start not in docs and t.string not in tuple("()[]{},:") for t in tokens)


def test_words_are_what_a_program_says():
    spread = (
        '"""Adds."""\n\n\ndef add(a: int, b: int) -> int:\n    """The sum."""\n    # why\n    total = a + b\n    return total\n'
    )
    dense = "def add(a: int, b: int) -> int:\n    total = a + b; return total\n"
    assert words(spread) == words(dense) - 1 == 15


def test_modules_are_short_and_the_whole_stays_within_budget():
    texts = {module: path.read_text() for module, path in MODULES.items()}
    said = {module: words(text) for module, text in texts.items()}
    assert {module: len(text.splitlines()) for module, text in texts.items() if len(text.splitlines()) > LINES} == {}
    assert {module: n for module, n in said.items() if n > WORDS} == {}
    assert sum(said.values()) <= BUDGET


def test_nothing_is_there_for_the_tests_alone():
    texts = [path.read_text() for path in MODULES.values()]
    used = Counter(word for text in texts for word in re.findall(r"\w+", text))
    kinds = {type_.__name__ for type_ in KINDS.values()}
    alone = {
        node.name
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and used[node.name] == 1 and not node.name.startswith("__")
    }
    assert alone == kinds & alone


def test_import_brings_no_optional_package_and_opens_no_connection():
    script = """
import sys
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise SystemExit(f"import intact: {event} {args}")
sys.addaudithook(watch)
import intact
heavy = {"tensorflow", "keras", "tf_keras", "jax", "litert_torch", "transformers", "sklearn"} & set(sys.modules)
sys.exit(f"import intact brings {heavy}" if heavy else 0)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def tracked():
    """Files of the repository, or of the folder where there is no repository (a source archive)."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for top in ("src", "tests", "bench", "docs") for path in (ROOT / top).rglob("*") if path.is_file()]


def test_text_names_no_place_on_a_developers_machine_and_no_registry():
    private = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|[p]ypi\.|[p]ythonhosted|[s]ubagent")
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # pictures and model files
        found += [f"{os.path.relpath(path, ROOT)}: {match[0]}" for match in private.finditer(text)]
    assert not found


BENCHES = sorted((ROOT / "bench").glob("*.py"))


def embedded(path):
    """The programs that a file holds as texts, to be run by another interpreter."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [ast.parse(text) for text in texts if isinstance(text, str) and re.search(r"^from intact", text, re.MULTILINE)]


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_what_a_bench_imports_is_there(path):
    trees = [ast.parse(path.read_text()), *embedded(path)]
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        if (node.module or "").partition(".")[0] == "intact":
            found = importlib.import_module(node.module)
            gone = [a.name for a in node.names if not (hasattr(found, a.name) or f"{node.module}.{a.name}"[7:] in MODULES)]
            assert not gone, f"{path.name} imports {gone} from {node.module}"


@pytest.mark.parametrize("path", [path for path in BENCHES if embedded(path)], ids=lambda path: path.stem)
def test_what_a_bench_has_another_interpreter_run_knows_its_names(path):
    for tree in embedded(path):
        bound = {alias.asname or alias.name for node in ast.walk(tree) for alias in getattr(node, "names", ())}
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        bound |= {node.id for node in names if not isinstance(node.ctx, ast.Load)} | set(dir(builtins))
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        bound |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        assert {node.id for node in names} <= bound
