"""The fact that folds, and what it carries over, so that replay can start at it: all that is derived."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from power_loop.decisions.folding import Folding, note_of
from power_loop.decisions.outputs import Output
from power_loop.decisions.size import ContextSize
from power_loop.decisions.spending import Spent
from power_loop.decisions.told import Told
from power_loop.facts.entries import Compacted, CompactTrigger, RunStarted
from power_loop.ports.compactor import CompactionPlan

if TYPE_CHECKING:
    from power_loop.decisions.state import State

_CARRIED: dict[str, Any] = {
    "definition": str,
    "offered": frozenset[str],
    "started_fact": RunStarted | None,
    "run_began": int,
    "rounds": int,
    "wrap_up": bool,
    "reply_needed": bool,
    "spent": Spent,
    "size": ContextSize,
    "folding": Folding,
    "told": Told,
    "output": Output,
}


def carry(state: "State") -> dict[str, Any]:
    """Return the fields as JSON data; what a new state has anyway is left out."""
    values = {name: msgspec.to_builtins(getattr(state, name)) for name in _CARRIED}
    values["started_fact"] = msgspec.to_builtins(state.started)
    return {name: value for name, value in values.items() if value not in (None, False, 0, "", [], {})}


def carried(values: dict[str, Any]) -> dict[str, Any]:
    """Return the typed fields of what was carried, by name. Raises msgspec.ValidationError."""
    return {name: msgspec.convert(value, _CARRIED[name]) for name, value in values.items() if name in _CARRIED}


def fold(plan: CompactionPlan, state: "State", trigger: CompactTrigger, sizes: Sequence[int]) -> Compacted:
    """Make the fact that folds, from a plan without objection; ``sizes`` are the messages' estimated tokens."""
    start, stop = plan.fold_start, plan.fold_end
    note = note_of(plan.summary_text)
    before = state.size.tokens(state.messages)
    gone = sum(sizes[start:stop]) - state.size.of(note)
    return Compacted(
        note.text,
        start,
        stop,
        view=(*state.messages[:start], note, *state.messages[stop:]),
        seqs=(*state.seqs[:start], 0, *state.seqs[stop:]),
        carried=carry(state),
        from_seq=state.seqs[start],
        to_seq=state.seqs[stop - 1],
        trigger=trigger,
        before_tokens=before,
        after_tokens=max(before - gone, 0),
    )
