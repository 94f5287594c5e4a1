"""The list of deliberate mistakes fits the sources.  Trying them all takes minutes: ``make mutants``."""

import ast
from pathlib import Path

import pytest

from tests.mutants.trial import FAMILIES, ROOT, Copy, Mutant, load_mutants

MUTANTS = [mutant for family in FAMILIES for mutant in load_mutants(family)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_every_mistake_has_one_place_and_changes_what_the_function_does(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    assert ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mistake_is_found_and_taken_back(family: str, tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy")
    mutant = load_mutants(family)[0]
    finding = copy.finding(family, mutant)
    assert finding is not None
    assert finding.startswith("line ")
    assert (copy.home / mutant.file).read_text() == (ROOT / mutant.file).read_text()


def test_a_place_that_is_not_there_is_an_error() -> None:
    mutant = Mutant("netemu/net/page_pool.py", "page_pool_init", "no such line", "", "")
    with pytest.raises(ValueError, match="'no such line' stands 0 times"):
        mutant.applied((ROOT / mutant.file).read_text())
