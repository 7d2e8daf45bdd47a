"""What the kinds share: abstract or final, nothing concrete overridden, and the facts that others ask for."""

import inspect

import pytest
import torch

from intact.errors import UnsupportedError
from intact.ops import KINDS
from intact.ops.base import Activated, Homogeneous, OpKind, SameAsInput, WeightedKind
from intact.ops.call import CLAMPS
from intact.ops.opaque import Opaque

#: Methods of OpKind with nothing to say: one class of a kind's bases, or the kind, may have something to say instead.
HOOKS = {"as_stored", "operands", "passes", "results", "softmax_factor", "unfused", "why_not_integer"}
FINAL = [*KINDS.values(), Opaque]
FUSING = {name: kind for name, kind in KINDS.items() if issubclass(kind, Activated)}


def overridden(kind, root=OpKind):
    """The concrete methods of the bases of ``kind``, up to ``root``, that a class below overrides, as ``Base.method``."""
    bases = [base for base in kind.__mro__ if issubclass(base, root)]
    for base in bases:
        for name, method in vars(base).items():
            concrete = inspect.isfunction(method) and not getattr(method, "__isabstractmethod__", False)
            hook = base is root and name in HOOKS
            if concrete and not name.startswith("__") and not hook and getattr(kind, name) is not method:
                yield f"{base.__name__}.{name}"


@pytest.mark.parametrize("kind", FINAL, ids=lambda kind: kind.__name__)
def test_a_kind_overrides_nothing_concrete(kind):
    assert not list(overridden(kind))
    assert not inspect.isabstract(kind)
    assert getattr(kind, "__final__", False)


def test_an_override_would_be_seen():
    base = type("Base", (OpKind,), {"macs": lambda _: 0, "passes": lambda _: None})
    kind, other = (type(name.title(), (base,), {name: lambda _: 1}) for name in ("macs", "passes"))
    assert (list(overridden(kind)), list(overridden(other))) == (["Base.macs"], ["Base.passes"])


def test_what_every_kind_has_to_say_is_abstract():
    assert {"compute", "compute_integers", "unit", "macs"} == OpKind.__abstractmethods__
    assert {name for name, method in vars(OpKind).items() if inspect.isfunction(method)} - HOOKS <= OpKind.__abstractmethods__


def test_a_kind_has_a_weight_only_as_a_weighted_kind():
    assert {name for name, kind in KINDS.items() if kind.weight is not None} == {
        name for name, kind in KINDS.items() if issubclass(kind, WeightedKind)
    }


@pytest.mark.parametrize("activation", CLAMPS)
@pytest.mark.parametrize("name", FUSING)
def test_an_activation_is_taken_off_and_put_on(name, activation):
    kind = FUSING[name]()
    fused = kind.activated(activation)
    assert type(fused) is FUSING[name]
    assert fused.activation == activation
    assert fused.plain == kind
    assert fused.unfused() == (kind, activation)
    assert fused.is_homogeneous == (activation in ("none", "relu"))


def test_a_kind_without_a_fused_activation_is_itself():
    lstm = KINDS["UNIDIRECTIONAL_SEQUENCE_LSTM"]()
    assert lstm.activation == "tanh"  # of its gates: what it gives is not tanh of anything
    assert lstm.unfused() == (lstm, "none")
    assert KINDS["SOFTMAX"](2.0).unfused() == (KINDS["SOFTMAX"](2.0), "none")


#: Facts and the kinds that have them; no other has.
FACTS = {
    ("converts", True): {"QUANTIZE", "DEQUANTIZE"},
    ("cheap", True): {"ADD", "SUB", "MUL", "HARD_SWISH"},
    ("probabilities", True): {"SOFTMAX", "LOGISTIC"},
    ("combines", "sum"): {"ADD"},
    ("combines", "difference"): {"SUB"},
    ("combines", "product"): {"MUL"},
    ("combines", "quotient"): {"DIV"},
    ("combines", "extreme"): {"MAXIMUM", "MINIMUM"},
    ("combines", "choice"): {"SELECT", "SELECT_V2"},
}


@pytest.mark.parametrize(("fact", "value"), FACTS)
def test_facts_are_of_these_kinds(fact, value):
    assert {name for name, kind in KINDS.items() if getattr(kind, fact) == value} == FACTS[fact, value]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.combines is not None])
def test_how_operands_combine_is_what_is_computed(name):
    a, b = torch.tensor([3.0, -2.0, 8.0]), torch.tensor([4.0, -8.0, 2.0])
    wanted = {
        "sum": [a + b],
        "difference": [a - b],
        "product": [a * b],
        "quotient": [a / b],
        "extreme": [torch.maximum(a, b), torch.minimum(a, b)],
        "choice": [torch.where(a > b, a, b)],
    }
    kind = KINDS[name]
    given = (a > b, a, b) if kind.combines == "choice" else (a, b)
    made = kind().compute(*given)
    assert any(torch.equal(made, y) for y in wanted[kind.combines])


def test_what_moves_numbers_shares_their_scale():
    assert all(isinstance(kind.range_rule, SameAsInput) and kind.takes_infinity for kind in KINDS.values() if kind.moves)
    for name in ("RESHAPE", "CONCATENATION", "PADV2", "SELECT", "TOPK_V2", "GATHER"):
        assert KINDS[name].moves
    assert not any(KINDS[name].moves for name in ("MAXIMUM", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "REDUCE_MAX"))


def test_a_kind_without_known_integers_says_so():
    for name in ("SIN", "CONV_3D"):
        with pytest.raises(UnsupportedError, match=f"the exact integer arithmetic of {name} is not known"):
            KINDS[name]().compute_integers(None)
    with pytest.raises(UnsupportedError, match="integer kernels of CONCATENATION take no fused activation"):
        KINDS["CONCATENATION"](activation="relu").compute_integers(None)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if issubclass(kind, Homogeneous)])
def test_a_homogeneous_kind_scales_with_what_it_reads(name):
    x = torch.tensor([-3.0, -0.5, 0.0, 2.0, 7.5])
    assert torch.equal(KINDS[name]().compute(4 * x), 4 * KINDS[name]().compute(x))
    assert torch.equal(KINDS[name]().passes(x)[0], x)
