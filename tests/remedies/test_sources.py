"""Every method says in which publication it can be looked up."""

import inspect
import re

import pytest

from intact.remedies import REMEDIES, distillation, straight_through
from intact.remedies.clip import Clip

#: A name, a year, and where it is: "Nagel et al. 2019 (arXiv 1906.04721), section 4.1".
CITED = re.compile(r"Source: .*\b[A-Z]\w+ et al\. 20\d\d\b.*\(arXiv \d{4}\.\d{5}\)", re.DOTALL)


def cites(what):
    return bool(CITED.search(inspect.getdoc(what) or ""))


@pytest.mark.parametrize("remedy", REMEDIES.values(), ids=REMEDIES)
def test_a_remedy_cites_its_source(remedy):
    assert cites(type(remedy))


@pytest.mark.parametrize("module", [distillation, straight_through], ids=lambda module: module.__name__)
def test_what_remedies_learn_by_cites_its_source(module):
    assert cites(module)


def test_a_method_without_a_source_is_found():
    class Rumour:
        """A source is of no use without a year: Nagel et al. (arXiv 1906.04721)."""

    assert not cites(Rumour)
    assert not cites(type("Nothing", (), {}))
    assert not cites(type("Vague", (), {"__doc__": inspect.getdoc(Clip).replace("2019", "some years ago")}))
