"""How a run ends: the words and figures of ``run_ended``, and the answers that open calls still get."""

from power_loop.decisions.calls import answer
from power_loop.decisions.state import State
from power_loop.facts.entries import ErrorRecord, Outcome, RunEnded, RunStatus, ToolFinished
from power_loop.facts.errors import StructuredOutputError

BY_USER = "cancelled"
"""The reason that a cancel has when nobody gave one."""
_UNITS = {"tokens": "tokens", "seconds": "seconds", "cost": "US dollars"}
LIMIT_HEAD = "[hit_round_limit]\n"
"""What stands before the last reply in the final text of a run that came to its round limit."""
_KEEPS_CALLS = frozenset({"pending_tools"})


def ending(
    state: State, status: RunStatus, *, reason: str = "", error: ErrorRecord | None = None, elapsed_ms: int = 0
) -> RunEnded:
    """Make the last entry of a run; ``elapsed_ms`` is how long it took, where a budget counts that."""
    if error is None and status in {"degraded", "error", "context_full"} and state.failure is not None:
        failure = state.failure
        error = ErrorRecord(failure.code, failure.message, failure.error_type)
    if error is None and status in {"hit_round_limit", "error"} and state.output.spent:
        error = ErrorRecord(StructuredOutputError.code, state.output.problem, StructuredOutputError.__name__)
    if status == "cancelled" and state.cancel is not None:
        reason = reason or state.cancel.reason
    text = _final_text(state, status, reason, error)
    return RunEnded(status, text, state.rounds, "" if reason == status else reason, error, elapsed_ms)


def final_text(state: State) -> str:
    """Return what the newest run had to say in the end."""
    ended = state.ended
    if ended is None:
        return ""
    if ended.final_text is not None:
        return ended.final_text
    return _said_last(state)


def _final_text(state: State, status: RunStatus, reason: str, error: ErrorRecord | None) -> str | None:
    if status in {"completed", "pending_tools", "hook_break"}:
        return None if state.rounds else ""
    if status == "cancelled":
        return "[cancelled by user]" if reason == BY_USER else f"[cancelled: {reason}]"
    if status == "hit_round_limit":
        return f"{LIMIT_HEAD}{_said_last(state)}"
    if error is not None and error.code == StructuredOutputError.code:
        return None
    return _limit_text(state, status) or _failure_text(status, error)


def _said_last(state: State) -> str:
    return state.output.text if state.output.by_tool else state.reply_text


def _limit_text(state: State, status: RunStatus) -> str:
    """Say which limit ended the run; empty where none did."""
    if status == "crash_loop":
        return f"[crash_loop: {state.deaths} model calls ended in process death; resume(force=True) tries again]"
    if status == "context_full":
        return "[context_full: the conversation does not fit the model's context window, however it is folded]"
    budget = state.budget_reached
    if status != "budget_exceeded" or budget is None:
        return ""
    return (
        f"[budget_exceeded: {budget.spent} of {budget.limit} {_UNITS[budget.unit]} spent in this {budget.scope}; "
        f"resume() with a higher budget goes on]"
    )


def _failure_text(status: RunStatus, error: ErrorRecord | None) -> str:
    said = f"{error.type or error.code}: {error.message[:200]}" if error else "unknown"
    if status == "degraded":
        kind = "timeout" if error and error.code == "llm_timeout" else "retry_exhausted"
        return f"[degraded: LLM {kind} — {said}]"
    return f"[error: {said}]"


def last_answers(state: State, status: RunStatus, reason: str = "") -> list[ToolFinished]:
    """Answer every open call, so that no end leaves the history invalid; waiting calls stay open."""
    if status in _KEEPS_CALLS:
        return []
    answers: list[ToolFinished] = []
    pending = state.pending()
    for position, call in enumerate(pending):
        outcome, content = _last_words(status, reason, started=call.started_run > 0, name=call.recorded.name)
        result = answer(call, state, outcome, content)
        if position == len(pending) - 1:
            result = ToolFinished(result.call, result.name, outcome, content, result.attempt, closes_round=True)
        answers.append(result)
    return answers


def _last_words(status: RunStatus, reason: str, *, started: bool, name: str) -> tuple[Outcome, str]:
    if status == "cancelled":
        if started:
            return "cancelled", f"<cancelled while running: whether {name} took effect is unknown>"
        return "cancelled", "<cancelled before it started>"
    if started:
        return "unknown", f"<not finished: {reason or status}; whether {name} took effect is unknown>"
    return "skipped", f"<not run: {reason or status}>"


def abort_answers(state: State, reason: str) -> list[ToolFinished]:
    """Answer every open call with ``<aborted: reason>``."""
    pending = state.pending()
    return [
        ToolFinished(
            call.id, call.recorded.name, "aborted", f"<aborted: {reason}>", call.attempt,
            closes_round=position == len(pending) - 1,
        )
        for position, call in enumerate(pending)
    ]  # fmt: skip
