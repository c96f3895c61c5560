"""What is to become of a tool call that has no result yet."""

from enum import Enum

from power_loop.decisions.call import Call
from power_loop.decisions.state import State
from power_loop.facts.entries import Outcome, ToolFinished

MAX_ATTEMPTS = 3
"""Attempts at one call that may end in process death before its outcome counts as unknown."""


class Fate(Enum):
    """What to do about an open call."""

    RUN = "run"
    WAIT = "wait"
    RECONCILE = "reconcile"
    REFUSE = "refuse"
    UNKNOWN = "unknown"


def fate(call: Call, state: State, runnable: frozenset[str]) -> Fate:
    """Decide what to do about an open call, from facts and the names of the tools that this process can run."""
    if not call.offered or state.wrap_up or call.recorded.raw is not None:
        return Fate.REFUSE
    if call.recorded.name not in runnable:
        return Fate.WAIT
    if not state.in_doubt(call):
        return Fate.RUN
    if call.once:
        return Fate.RECONCILE
    return Fate.UNKNOWN if call.attempt >= MAX_ATTEMPTS else Fate.RUN


def refusal(call: Call, state: State) -> str:
    """Say, in words the model can act on, why a call was not run."""
    name = call.recorded.name
    if not call.offered:
        offered = ", ".join(sorted(state.offered)) or "none"
        return f"Error: unknown tool {name!r}. Available tools: {offered}."
    if call.recorded.raw is not None:
        return (
            f"Error: {call.recorded.error or 'the arguments are not valid JSON'}. Call {name} again with a JSON object."
        )
    return f"Error: {name} was not run: the round limit is reached. Answer with what you know."


def unknown(call: Call) -> str:
    """Say truthfully that a call's outcome is not known."""
    return (
        f"Error: the process died while {call.recorded.name} was running (attempt {call.attempt}). Whether it took "
        f"effect is unknown; it was not run again. Check before repeating it."
    )


def answer(call: Call, state: State, outcome: Outcome, content: str) -> ToolFinished:
    """Make the result of a call that is not run."""
    return ToolFinished(
        call.id, call.recorded.name, outcome, content, attempt=call.attempt, closes_round=state.open_calls == 1
    )
