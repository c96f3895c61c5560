"""From entries to events: a pure function, so that any process tells the same story of a journal at any time."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from power_loop.decisions.todos import todo_payload
from power_loop.facts.entries import (
    BudgetReached,
    Cancelled,
    Compacted,
    CompactionSkipped,
    DefinitionChanged,
    Fact,
    InputReceived,
    ModelCalled,
    ModelFailed,
    ModelReplied,
    Note,
    OutputChecked,
    RecordedCall,
    ReplyEdited,
    RunEnded,
    RunStarted,
    SessionOpened,
    ToolFinished,
    ToolStarted,
)
from power_loop.facts.events import (
    AgentErrorPayload,
    AgentEvent,
    AgentEventType,
    AutoCompactStatusPayload,
    BaseEventPayload,
    BudgetStatusPayload,
    HitRoundLimitStatusPayload,
    InputReceivedPayload,
    LlmDegradedPayload,
    LlmRetryAttemptedPayload,
    LoopCancelledPayload,
    MemoryRecalledPayload,
    RoundCompletedPayload,
    RoundStartedPayload,
    RoundToolsPresentPayload,
    RoundUsageStatusPayload,
    SessionEndedPayload,
    SessionOpenedPayload,
    SessionStartedPayload,
    StreamCompletedPayload,
    StreamStartedPayload,
    SystemLogPayload,
    ToolCallCompletedPayload,
    ToolCallFailedPayload,
    ToolCallStartedPayload,
    UsageUpdatedPayload,
    UserNotificationPayload,
)
from power_loop.facts.ids import call_id
from power_loop.facts.journal import Entry
from power_loop.facts.messages import text_of
from power_loop.ports.memory import MEMORY
from power_loop.ports.todo import TODO_TOOL, parse_todos
from power_loop.prompt.environment import ENVIRONMENT

_T = AgentEventType
_Told = list[tuple[AgentEventType, BaseEventPayload]]
_GOOD = frozenset({"ok", "skipped"})


class Narrator:
    """Turns one session's entries, in order, into events. Remembers the last reply, whose calls later entries name."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._calls: dict[str, RecordedCall] = {}

    def tell(self, entry: Entry) -> tuple[AgentEvent, ...]:
        """Return the events of an entry, in the order in which subscribers hear them; they share its seq."""
        fact = entry.fact
        teller = _TELLERS.get(entry.kind)
        if fact is None:
            return ()
        told = teller(self, fact, entry) if teller else [_log(f"{entry.kind} (entry {entry.seq})")]
        return tuple(
            AgentEvent(kind, payload, self.session_id, entry.round, entry.seq, entry.run) for kind, payload in told
        )

    def recall(self, calls: Mapping[str, RecordedCall]) -> None:
        """Take in the calls that entries to come speak of, where the telling starts in the middle of a round."""
        self._calls = dict(calls)

    def _call(self, identity: str) -> tuple[str, dict[str, Any]]:
        call = self._calls.get(identity)
        return (call.id, call.arguments) if call else (identity, {})

    def _opened(self, fact: SessionOpened, _entry: Entry) -> _Told:
        return [(_T.SESSION_OPENED, SessionOpenedPayload(fact.metadata))]

    def _input(self, fact: InputReceived, _entry: Entry) -> _Told:
        return [(_T.INPUT_RECEIVED, InputReceivedPayload(text_of(fact.content), str(fact.role)))]

    def _started(self, _fact: RunStarted, _entry: Entry) -> _Told:
        return [(_T.SESSION_STARTED, SessionStartedPayload())]

    def _definition(self, fact: DefinitionChanged, _entry: Entry) -> _Told:
        return [_log(f"definition {fact.digest[:8]}: {len(fact.tools)} tool(s)")]

    def _called(self, fact: ModelCalled, entry: Entry) -> _Told:
        if fact.purpose == "summary":
            started = AutoCompactStatusPayload("auto_compact", "started", entry.round)
            return [(_T.STATUS_CHANGED, started)] if fact.attempt == 1 else []
        begun: _Told = [(_T.STREAM_STARTED, StreamStartedPayload())]
        if fact.wrap_up:
            limit = HitRoundLimitStatusPayload("hit_round_limit", fact.max_rounds)
            return [(_T.STATUS_CHANGED, limit), *begun]
        if fact.attempt == 1:
            return [(_T.ROUND_STARTED, RoundStartedPayload(entry.round)), *begun]
        return begun

    def _failed(self, fact: ModelFailed, _entry: Entry) -> _Told:
        if fact.retry:
            payload = LlmRetryAttemptedPayload(
                fact.attempt - 1, fact.max_attempts, fact.error_type, fact.message, fact.delay
            )
            return [(_T.LLM_RETRY_ATTEMPTED, payload)]
        if fact.code in {"llm_retry_exhausted", "llm_timeout"}:
            reason = "timeout" if fact.code == "llm_timeout" else "retry_exhausted"
            return [(_T.LLM_DEGRADED, LlmDegradedPayload(reason, fact.attempt, fact.error_type, fact.message))]
        return [_log(f"model call failed: {fact.code}: {fact.message}")]

    def _replied(self, fact: ModelReplied, entry: Entry) -> _Told:
        self.recall({call_id(entry.seq, index): call for index, call in enumerate(fact.calls)})
        usage = fact.usage
        round_usage = RoundUsageStatusPayload(
            "round_usage",
            datetime.fromtimestamp(entry.time / 1000, UTC).isoformat(),
            entry.round,
            entry.round + 1,
            fact.max_rounds,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.reasoning_tokens,
        )
        told: _Told = [
            (_T.STREAM_COMPLETED, StreamCompletedPayload()),
            (_T.STATUS_CHANGED, round_usage),
            (_T.USAGE_UPDATED, UsageUpdatedPayload(usage.as_dict())),
            (_T.ROUND_TOOLS_PRESENT, RoundToolsPresentPayload(bool(fact.calls))),
        ]
        if not fact.calls:
            told.append((_T.ROUND_COMPLETED, RoundCompletedPayload(entry.round, has_tools=False)))
        return told

    def _reply_edited(self, fact: ReplyEdited, entry: Entry) -> _Told:
        self.recall({call_id(fact.target, index): call for index, call in enumerate(fact.calls)})
        return [_log(f"a hook changed the reply at entry {fact.target} (entry {entry.seq})")]

    def _tool_started(self, fact: ToolStarted, _entry: Entry) -> _Told:
        wire_id, arguments = self._call(fact.call)
        given = arguments if fact.arguments is None else fact.arguments
        if given is not arguments and fact.call in self._calls:
            self._calls[fact.call] = msgspec.structs.replace(self._calls[fact.call], arguments=given)
        return [(_T.TOOL_CALL_STARTED, ToolCallStartedPayload(fact.name, given, wire_id))]

    def _tool_finished(self, fact: ToolFinished, entry: Entry) -> _Told:
        wire_id, arguments = self._call(fact.call)
        output = text_of(fact.content)
        told: _Told = []
        if fact.outcome not in _GOOD:
            told.append((_T.TOOL_CALL_FAILED, ToolCallFailedPayload(fact.name, output, arguments, wire_id)))
        told.append((_T.TOOL_CALL_COMPLETED, ToolCallCompletedPayload(fact.name, output, arguments, wire_id)))
        if fact.name == TODO_TOOL and fact.outcome == "ok":
            told += _todos(arguments)
        if fact.closes_round:
            used_todo = any(call.name == TODO_TOOL for call in self._calls.values())
            told.append((_T.ROUND_COMPLETED, RoundCompletedPayload(entry.round, True, used_todo)))  # noqa: FBT003 -- has_tools
        return told

    def _note(self, fact: Note, entry: Entry) -> _Told:
        if fact.topic == MEMORY:
            figures = (fact.figures.get(name, 0) for name in MemoryRecalledPayload.__struct_fields__)
            return [(_T.MEMORY_RECALLED, MemoryRecalledPayload(*figures))]
        if fact.topic == ENVIRONMENT:
            return [_log(f"environment noted (entry {entry.seq})")]
        return [(_T.USER_NOTIFICATION, UserNotificationPayload(fact.text))]

    def _compacted(self, fact: Compacted, entry: Entry) -> _Told:
        payload = AutoCompactStatusPayload(
            "auto_compact", "completed", entry.round, fact.trigger, fact.before_tokens, fact.after_tokens
        )
        return [(_T.STATUS_CHANGED, payload)]

    def _compaction_skipped(self, fact: CompactionSkipped, entry: Entry) -> _Told:
        why = f"{fact.code}: {fact.reason}" if fact.reason else fact.code
        payload = AutoCompactStatusPayload("auto_compact", "skipped", entry.round, why, fact.tokens, fact.tokens)
        return [(_T.STATUS_CHANGED, payload)]

    def _budget(self, fact: BudgetReached, _entry: Entry) -> _Told:
        payload = BudgetStatusPayload("budget_reached", fact.scope, fact.unit, fact.limit, fact.spent)
        return [(_T.STATUS_CHANGED, payload)]

    def _output_checked(self, fact: OutputChecked, _entry: Entry) -> _Told:
        if fact.ok:
            return [_log("the reply is the output that was asked for")]
        then = "no further try" if fact.final else f"repair {fact.repairs + 1}"
        return [_log(f"the reply is not the output that was asked for, {then}: {fact.problem}")]

    def _cancelled(self, fact: Cancelled, entry: Entry) -> _Told:
        return [(_T.LOOP_CANCELLED, LoopCancelledPayload(fact.reason, entry.round))]

    def _ended(self, fact: RunEnded, _entry: Entry) -> _Told:
        told: _Told = []
        if fact.error is not None and fact.status == "error":
            details = {"code": fact.error.code}
            told.append((_T.AGENT_ERROR, AgentErrorPayload(fact.error.message, fact.error.type, details)))
        told.append((_T.SESSION_ENDED, SessionEndedPayload(fact.status)))
        return told


def _todos(arguments: dict[str, Any]) -> _Told:
    """Tell the list that a call wrote; one that cannot be read is none."""
    try:
        return [(_T.TODO_UPDATED, todo_payload(parse_todos(arguments.get("items"))))]
    except ValueError:
        return []


def _log(message: str) -> tuple[AgentEventType, BaseEventPayload]:
    return _T.SYSTEM_LOG, SystemLogPayload(message)


_TELLERS: dict[str, Callable[[Narrator, Any, Entry], _Told]] = {
    "session_opened": Narrator._opened,  # noqa: SLF001 -- the class's own table
    "input_received": Narrator._input,  # noqa: SLF001
    "run_started": Narrator._started,  # noqa: SLF001
    "definition_changed": Narrator._definition,  # noqa: SLF001
    "model_called": Narrator._called,  # noqa: SLF001
    "model_failed": Narrator._failed,  # noqa: SLF001
    "model_replied": Narrator._replied,  # noqa: SLF001
    "reply_edited": Narrator._reply_edited,  # noqa: SLF001
    "tool_started": Narrator._tool_started,  # noqa: SLF001
    "tool_finished": Narrator._tool_finished,  # noqa: SLF001
    "note": Narrator._note,  # noqa: SLF001
    "compacted": Narrator._compacted,  # noqa: SLF001
    "compaction_skipped": Narrator._compaction_skipped,  # noqa: SLF001
    "budget_reached": Narrator._budget,  # noqa: SLF001
    "output_checked": Narrator._output_checked,  # noqa: SLF001
    "cancelled": Narrator._cancelled,  # noqa: SLF001
    "run_ended": Narrator._ended,  # noqa: SLF001
}


def reply_seq(call: str) -> int:
    """Return the seq of the reply that a call id names."""
    return int(call.split("_")[1])


def names_call(fact: Fact | None) -> str | None:
    """Return the call id that a fact speaks of, where it does."""
    return getattr(fact, "call", None)
