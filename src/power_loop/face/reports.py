"""What the verbs that only look return: derived from a journal, never stored."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from power_loop.decisions.endings import final_text
from power_loop.decisions.history import Said
from power_loop.decisions.state import State
from power_loop.engine.journal import load_state
from power_loop.face.config import RoundUsage, SessionInfo, StatefulResult, UsageReport
from power_loop.facts.clock import SYSTEM_CLOCK, Instant
from power_loop.facts.entries import Compacted, ModelReplied, RunEnded
from power_loop.facts.errors import JournalTooNew
from power_loop.facts.journal import Entry
from power_loop.ports.store import SessionRecord, SessionStore
from power_loop.ports.structured import OutputForm

_WAITS = {
    "pending_tools": "results of tools that run elsewhere",
    "cut_off": "resume: its driver died or was stopped",
    "cancelled": "resume or a new input",
    "degraded": "resume: the model could not be had",
    "error": "resume or a new input: the last run ended with an error",
    "crash_loop": "resume(force=True) or a new input: model calls kept dying",
    "too_new": "a newer release of power-loop: this one can only read it",
    "budget_exceeded": "resume with a higher budget, or a new input",
    "context_full": "resume or a new input: the conversation does not fit the model's context window",
    "hit_round_limit": "resume with a higher max_rounds, or a new input",
}

_PAID = frozenset({ModelReplied.kind, Compacted.kind})


def result_of(session_id: str, state: State, form: OutputForm | None = None) -> StatefulResult:
    """Return what a session's last run came to; its output as the type of a form, or else as plain JSON data."""
    ended = state.ended
    pending = [call.to_tool_call() for call in state.pending()]
    if ended is None:
        status, text, error = ("empty" if state.run == 0 else "cut_off"), "", None
    else:
        status, text, error = ended.status, final_text(state), ended.error
    return StatefulResult(
        status=status,
        final_text=text,
        rounds=state.rounds,
        pending_tool_calls=pending,
        session_id=session_id,
        usage=state.spent.since_input.usage,
        cost=state.spent.since_input.cost,
        output=_output_of(state, form),
        error=error,
    )


def _output_of(state: State, form: OutputForm | None) -> Any:  # noqa: ANN401 -- an instance of the host's type
    output = state.output
    if not output.accepted or not output.text or output.wanted is None:
        return None
    return (form or OutputForm(output.wanted.spec())).build(output.text)


def pending_of(state: State) -> dict[str, Any] | None:
    """Return the open calls in the reference's shape, with what is known of each; None where there is none."""
    pending = state.pending()
    if not pending:
        return None
    return {
        "assistant_seq": state.reply_seq,
        "round_index": max(state.rounds - 1, 0),
        "tool_call_ids": [call.recorded.id for call in pending],
        "tool_calls": [call.to_tool_call().to_openai_tool_call() for call in pending],
        "started": [call.recorded.id for call in pending if call.started_run],
    }


def conversation(said: Sequence[Said], *, with_seq: bool) -> list[dict[str, Any]]:
    """Return messages as a host reads them, folded ones marked."""
    return [
        item.message.to_openai_message()
        | ({"compacted": True} if item.compacted else {})
        | ({"seq": item.seq} if with_seq else {})
        for item in said
    ]


def usage_of(state: State, entries: Sequence[Entry]) -> UsageReport:
    """Return tokens and cost, in total and by reply; summaries of older messages are among the replies."""
    rounds: list[RoundUsage] = []
    for entry in entries:
        if entry.kind in _PAID and isinstance(fact := entry.fact, ModelReplied | Compacted):
            cost = None if fact.cost is None else Decimal(fact.cost)
            rounds.append(RoundUsage(entry.seq, entry.round, fact.model, fact.usage, cost))
    return UsageReport(state.spent.total.usage, state.spent.total.cost, rounds)


def _status_of(last: Entry) -> str:
    """Return what the newest start, end or input says of a session that nobody drives."""
    try:
        fact = last.fact
    except JournalTooNew:
        return "too_new"
    return fact.status if isinstance(fact, RunEnded) else "cut_off"


async def _status_behind_anchor(store: SessionStore, record: SessionRecord) -> str:
    """Return the status of a session whose newest start, end and input were pruned: what the compaction says."""
    try:
        return result_of(record.id, load_state(*await store.load(record.id))).status
    except JournalTooNew:
        return "too_new"


async def info_of(store: SessionStore, record: SessionRecord, now: Instant | None = None) -> SessionInfo:
    """Return a session's line in a list."""
    lease = record.lease
    if lease is not None and not store.is_live(lease, now or SYSTEM_CLOCK.now()):
        lease = None
    last = await store.last(record.id, ("run_started", "run_ended", "input_received"))
    if lease is not None:
        status = "running"
    elif last is None:
        status = await _status_behind_anchor(store, record) if record.base_seq else "empty"
    else:
        status = _status_of(last)
    waits = _WAITS.get(status, "")
    if lease is None and any(row.kind == "input" for row in await store.inbox(record.id)):
        waits = "resume: input waits in the inbox"
    return SessionInfo(
        record.id,
        status,
        waits,
        record.created_at,
        record.updated_at,
        record.head_seq - record.base_seq,
        lease.owner if lease is not None else None,
        record.metadata,
    )
