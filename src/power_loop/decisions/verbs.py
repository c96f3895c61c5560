"""What a verb does to a session, decided from derived facts: the rows of the verb table."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

from power_loop.decisions.endings import abort_answers
from power_loop.decisions.outputs import repair_words
from power_loop.decisions.spending import raised
from power_loop.decisions.state import CONTINUE, State
from power_loop.facts.entries import Fact, InputReceived, Note, RunStarted
from power_loop.facts.errors import SessionPendingError

OnPending: TypeAlias = Literal["raise", "resume", "abort"]

CONTINUE_TEXT = "The round limit was raised. Continue with the task."


class Condition(StrEnum):
    """Where a session that nobody drives stands."""

    EMPTY = "empty"
    ENDED = "ended"
    CUT_OFF = "cut_off"
    CALLS_OPEN = "calls_open"
    WAITING_TOOLS = "pending_tools"


def condition(state: State) -> Condition:
    """Derive where the session stands."""
    if state.open_calls:
        ended = state.ended
        waiting = ended is not None and ended.status == "pending_tools"
        return Condition.WAITING_TOOLS if waiting else Condition.CALLS_OPEN
    if state.run_open or (state.reply_needed and state.ended is None):
        return Condition.CUT_OFF
    return Condition.EMPTY if state.ended is None and state.run == 0 else Condition.ENDED


def plan_send(
    session_id: str, state: State, inputs: Sequence[InputReceived], started: RunStarted, on_pending: OnPending
) -> list[Fact]:
    """Return the facts that open a run with new input. Raises SessionPendingError over open calls."""
    if state.open_calls and on_pending == "raise":
        raise pending_error(session_id, state)
    answers = abort_answers(state, "superseded by new input") if on_pending == "abort" else []
    return [*answers, *inputs, started]


def plan_resume(state: State, started: RunStarted, runnable: frozenset[str]) -> list[Fact]:
    """Return the facts that continue a session; empty where there is nothing to continue."""
    match condition(state):
        case Condition.EMPTY:
            return []
        case Condition.WAITING_TOOLS:
            ready = any(call.recorded.name in runnable for call in state.pending())
            return [started] if ready or state.unheard else []
        case Condition.CALLS_OPEN | Condition.CUT_OFF:
            return [started]
        case _:
            return _reopen(state, started)


def _reopen(state: State, started: RunStarted) -> list[Fact]:
    ended = state.ended
    if state.unheard:
        return [started]
    if ended is None or ended.status in {"completed", "hook_break"}:
        return []
    if ended.status == "hit_round_limit":
        if state.rounds > started.limits.max_rounds or not _raised(state, started):
            return []
        return [started, Note(CONTINUE, CONTINUE_TEXT)]
    if ended.status == "crash_loop" and not started.force:
        return []
    if state.budget_reached is not None and not raised(state.budget_reached, started.limits):
        return []
    if state.output.spent:
        return [started, Note(CONTINUE, repair_words(state.output))]
    return [started] if state.reply_needed or state.output.due else []


def _raised(state: State, started: RunStarted) -> bool:
    before = state.started
    return before is None or started.limits.max_rounds > before.limits.max_rounds


def pending_error(session_id: str, state: State) -> SessionPendingError:
    """Make the error that names the open calls."""
    calls = [call.to_tool_call() for call in state.pending()]
    return SessionPendingError(session_id, assistant_seq=state.reply_seq, pending_tool_calls=calls)
