"""The steps a session can need next, and the pure rule that says which one."""

from typing import TypeAlias

import msgspec

from power_loop.decisions.calls import Fate, fate
from power_loop.decisions.folding import fold_due, folding_is_over
from power_loop.decisions.outputs import is_answer
from power_loop.decisions.state import State
from power_loop.facts.entries import CompactTrigger, Limits, ModelFailed, RunStatus


class RunLimits(msgspec.Struct, frozen=True):
    """What a run may do: the recorded limits, the names of the tools that this process can run, can it compact?"""

    recorded: Limits
    runnable: frozenset[str] = frozenset()
    compacts: bool = False


class CallModel(msgspec.Struct, frozen=True):
    """Call the model: ``attempt`` counts from 1, after ``delay`` seconds. ``wrap_up``: a last word, no tools."""

    attempt: int = 1
    delay: float = 0.0
    wrap_up: bool = False


class Compact(msgspec.Struct, frozen=True):
    """Fold older messages into a summary, for this reason: ``attempt`` and ``delay`` as for a model call."""

    trigger: CompactTrigger
    attempt: int = 1
    delay: float = 0.0


class RunTools(msgspec.Struct, frozen=True):
    """Give these calls their results, by running them or by saying why not."""

    calls: tuple[str, ...]


class CheckOutput(msgspec.Struct, frozen=True):
    """Compare the newest reply with the output that its input wants: its text, or the arguments of a ``call``."""

    call: str | None = None


class EndRun(msgspec.Struct, frozen=True):
    """End the run with this status."""

    status: RunStatus


Step: TypeAlias = CallModel | Compact | RunTools | CheckOutput | EndRun


def next_step(state: State, limits: RunLimits) -> Step | None:
    """Return the step that the session needs next; None when its run has ended."""
    if not state.run_open:
        return None
    if state.cancel is not None:
        return EndRun("cancelled")
    if state.open_calls:
        return _next_tools(state, limits)
    if not state.reply_needed:
        return _after_reply(state)
    if state.budget_reached is not None:
        return EndRun("budget_exceeded")
    if state.deaths >= limits.recorded.max_deaths:
        return EndRun("crash_loop")
    return _next_call(state, limits)


def _next_call(state: State, limits: RunLimits) -> Step:
    delay = state.failure.delay if state.failure is not None else 0.0
    trigger = fold_due(state, limits.recorded.compact_at) if limits.compacts else None
    if trigger is not None:
        return EndRun("context_full") if folding_is_over(state) else Compact(trigger, state.attempts + 1, delay)
    if state.failure is not None and not state.failure.retry:
        return EndRun(_failed_status(state.failure))
    wrap_up = state.wrap_up or state.rounds >= limits.recorded.max_rounds
    return CallModel(state.attempts + 1, delay, wrap_up)


def _next_tools(state: State, limits: RunLimits) -> Step:
    """Run tools first: an answer that came with other calls is looked at when they have their results."""
    answers, ready = [], []
    for call in state.pending():
        if is_answer(call, state.output):
            answers.append(call.id)
        elif fate(call, state, limits.runnable) is not Fate.WAIT:
            ready.append(call.id)
    if ready:
        return RunTools(tuple(ready))
    return CheckOutput(answers[0]) if answers else EndRun("pending_tools")


def _after_reply(state: State) -> Step:
    """Decide what follows a reply that wants nothing; at the round limit the limit is what ended the run."""
    if state.output.due:
        return CheckOutput()
    if state.wrap_up:
        return EndRun("hit_round_limit")
    return EndRun("error" if state.output.spent else "completed")


def _failed_status(failure: ModelFailed) -> RunStatus:
    """A model that could not be had degrades the answer; a request that cannot work is an error."""
    return "degraded" if failure.code in {"llm_retry_exhausted", "llm_timeout"} else "error"
