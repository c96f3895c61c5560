"""The whole conversation: what compactions have folded away, and the view as it is now. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from power_loop.decisions.state import State
from power_loop.facts.entries import Compacted
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage


class Said(NamedTuple):
    """A message, the entry that said it, and whether the model sees it no more."""

    message: AgentMessage
    seq: int
    compacted: bool = False


def said_by(state: State) -> list[Said]:
    """Return the model's view."""
    return [Said(message, seq) for message, seq in zip(state.messages, state.seqs, strict=True)]


def unfolded(entries: Sequence[Entry], *, pruned: bool = False) -> list[Said]:
    """Return every message that a checked journal still has, in order; what was folded stands before its summary.

    With ``pruned`` the journal begins in the middle, and what it has left before its first compaction cannot be told.
    """
    if pruned:
        first = next((at for at, entry in enumerate(entries) if entry.kind == Compacted.kind), len(entries))
        entries = entries[first:]
    state, gone = State(), []
    for entry in entries:
        if isinstance(fact := entry.fact, Compacted):
            folded = said_by(state)[fact.start : fact.stop]
            gone += [Said(item.message, item.seq, compacted=True) for item in folded if item.seq != state.compacted]
        state.apply(entry)
    return [*gone, *said_by(state)]
