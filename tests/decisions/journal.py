"""Builds journals by hand, for tests of pure code."""

from power_loop.decisions.replay import replay
from power_loop.decisions.state import State
from power_loop.facts.chain import base_digest, seal
from power_loop.facts.entries import (
    DefinitionChanged,
    Fact,
    InputReceived,
    Limits,
    ModelReplied,
    RecordedCall,
    RunStarted,
)
from power_loop.facts.journal import Entry

BASE = base_digest("sess_test")


def journal(*facts: Fact | tuple[int, Fact]) -> list[Entry]:
    """Seal facts into entries; a (run, fact) pair sets the run from there on."""
    entries: list[Entry] = []
    digest, run = BASE, 1
    for seq, item in enumerate(facts, 1):
        run, fact = item if isinstance(item, tuple) else (run, item)
        entry = seal(fact, digest, seq, run, 0, 1_000 + seq)
        entries.append(entry)
        digest = entry.digest
    return entries


def state_of(*facts: Fact | tuple[int, Fact]) -> State:
    return replay(journal(*facts), base_seq=0, base_digest=BASE)


def tool(name: str) -> dict:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": {}}}


DEFINED = DefinitionChanged("d1", None, (tool("a"), tool("b"), tool("c")))
STARTED = RunStarted(Limits())
ASKED = InputReceived("question")


def asks(*names: str) -> ModelReplied:
    return ModelReplied(calls=tuple(RecordedCall(f"w{i}", name) for i, name in enumerate(names)))
