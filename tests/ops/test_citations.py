"""Integer arithmetic is what some kernel does: each piece of it names the kernel that it follows."""

import ast
import re
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "intact"
#: Where a docstring says what it follows, or a kernel's file. A library's name alone may be said in passing.
SOURCE = re.compile(r"\bSources?\b.*:|\w\.(cc|c|h)\b")


def classes(folder):
    """(module, its tree, class) of every class in a wing."""
    for path in sorted((SRC / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        yield from ((path.stem, tree, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def docstring(node):
    return ast.get_docstring(node) or ""


def test_every_integer_kernel_of_an_op_cites_its_source():
    lacking, seen = {}, 0
    for module, tree, node in classes("ops"):
        methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "compute_integers"]
        if not methods or module == "base":  # which moves, counts or refuses
            continue
        if all(isinstance(part.body[-1], ast.Raise) for part in methods):
            continue
        seen += 1
        if not any(SOURCE.search(docstring(part)) for part in (tree, node, *methods)):
            lacking.setdefault(module, set()).add(node.name)
    assert seen > 25
    assert lacking == {}


def test_every_arithmetic_cites_its_source():
    found = list(classes("numbers"))
    kinds = {"Arithmetic"}
    while more := {node.name for _, _, node in found if kinds & {ast.unparse(base) for base in node.bases}} - kinds:
        kinds |= more
    assert {"Reference", "Micro", "Default"} <= kinds
    cited = {node.name for _, tree, node in found if any(SOURCE.search(docstring(part)) for part in (tree, node))}
    assert kinds - {"Arithmetic"} <= cited, "the abstract class is every kernel set's"


def test_a_citation_is_told_from_other_words():
    assert SOURCE.search("Source: LiteRT kernels/internal/reference/softmax.h.")
    assert SOURCE.search("as add_n.cc does")
    assert not SOURCE.search("Rounded half to even, e.g. 2.5 to 2.")
