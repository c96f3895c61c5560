"""`make mutants` takes minutes; that every mutant still applies is checked with every change."""

import pytest
from run import MUTANTS, PACKAGE, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_what_a_mutant_replaces_is_there_exactly_once(mutant):
    for edit in mutant.edits:
        assert (ROOT / PACKAGE / edit.file).read_text(encoding="utf-8").count(edit.old) == 1


def test_the_critical_mechanisms_are_among_them():
    names = {mutant.name for mutant in MUTANTS}
    assert {
        "fence dropped", "NORMAL for FULL", "tool started not committed", "results out of call order",
        "end marker not required", "inbox check dropped", "cancel check dropped", "digest not chained",
    } <= names  # fmt: skip
