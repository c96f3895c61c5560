"""Events: what subscribers hear. Durable ones are told by an entry and share its seq; the others are transient."""

from enum import StrEnum
from typing import Any

import msgspec

__all__ = [
    "AgentErrorPayload",
    "AgentEvent",
    "AgentEventType",
    "AutoCompactStatusPayload",
    "BaseEventPayload",
    "BudgetStatusPayload",
    "HitRoundLimitStatusPayload",
    "InputReceivedPayload",
    "LlmDegradedPayload",
    "LlmRetryAttemptedPayload",
    "LoopCancelledPayload",
    "MemoryFailedPayload",
    "MemoryRecalledPayload",
    "RoundCompletedPayload",
    "RoundStartedPayload",
    "RoundToolsPresentPayload",
    "RoundUsageStatusPayload",
    "SessionEndedPayload",
    "SessionOpenedPayload",
    "SessionStartedPayload",
    "StatusChangedPayload",
    "StreamCompletedPayload",
    "StreamDeltaPayload",
    "StreamStartedPayload",
    "StreamToolDeltaPayload",
    "SubagentCompletedPayload",
    "SubagentLimitPayload",
    "SubagentTaskStartPayload",
    "SubagentTextPayload",
    "SystemLogPayload",
    "TodoUpdatedPayload",
    "ToolCallCompletedPayload",
    "ToolCallFailedPayload",
    "ToolCallStartedPayload",
    "ToolProgressPayload",
    "UsageUpdatedPayload",
    "UserNotificationPayload",
]


class AgentEventType(StrEnum):
    """Names of events. The first group is the reference's; the second names facts that had no event there."""

    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    ROUND_STARTED = "round_started"
    ROUND_COMPLETED = "round_completed"
    ROUND_TOOLS_PRESENT = "round_tools_present"
    LLM_RETRY_ATTEMPTED = "llm_retry_attempted"
    LLM_DEGRADED = "llm_degraded"
    LOOP_CANCELLED = "loop_cancelled"
    MEMORY_RECALLED = "memory_recalled"
    MEMORY_FAILED = "memory_failed"
    STREAM_STARTED = "stream_started"
    STREAM_COMPLETED = "stream_completed"
    STREAM_DELTA = "stream_delta"
    STREAM_THINK_DELTA = "stream_think_delta"
    TOOL_CALL_STARTED = "tool_call_started"
    TOOL_CALL_COMPLETED = "tool_call_completed"
    TOOL_CALL_FAILED = "tool_call_failed"
    STATUS_CHANGED = "status_changed"
    USAGE_UPDATED = "usage_updated"
    TODO_UPDATED = "todo_updated"
    USER_NOTIFICATION = "user_notification"
    AGENT_ERROR = "agent_error"
    SYSTEM_LOG = "system_log"
    SUBAGENT_TASK_START = "subagent_task_start"
    SUBAGENT_TEXT = "subagent_text"
    SUBAGENT_COMPLETED = "subagent_completed"
    SUBAGENT_LIMIT = "subagent_limit"

    SESSION_OPENED = "session_opened"
    INPUT_RECEIVED = "input_received"
    STREAM_TOOL_DELTA = "stream_tool_delta"
    TOOL_PROGRESS = "tool_progress"


class BaseEventPayload(msgspec.Struct, frozen=True):
    """Base of all payloads."""

    def to_dict(self) -> dict[str, Any]:
        """Return the payload as plain data."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class SessionStartedPayload(BaseEventPayload, frozen=True):
    """A run began."""

    scope: str = "main"


class SessionEndedPayload(BaseEventPayload, frozen=True):
    """A run ended; ``reason`` is its status."""

    reason: str


class RoundStartedPayload(BaseEventPayload, frozen=True):
    """A round began; rounds count from 0 since the last input."""

    round_index: int


class RoundCompletedPayload(BaseEventPayload, frozen=True):
    """A round is complete, tool results included."""

    round_index: int
    has_tools: bool
    used_todo: bool = False


class RoundToolsPresentPayload(BaseEventPayload, frozen=True):
    """Whether the reply asks for tools."""

    has_tools: bool


class LlmRetryAttemptedPayload(BaseEventPayload, frozen=True):
    """An attempt failed and another follows; ``attempt`` counts from 0."""

    attempt: int
    max_attempts: int
    error_type: str
    error_message: str
    next_sleep_seconds: float


class LlmDegradedPayload(BaseEventPayload, frozen=True):
    """The model could not be had; ``reason`` is ``retry_exhausted`` or ``timeout``."""

    reason: str
    attempts: int
    error_type: str
    error_message: str


class LoopCancelledPayload(BaseEventPayload, frozen=True):
    """Someone asked the run to stop."""

    reason: str = "cancelled"
    round_index: int = 0


class MemoryRecalledPayload(BaseEventPayload, frozen=True):
    """Memory was recalled."""

    returned: int
    injected: int
    budget_tokens: int


class MemoryFailedPayload(BaseEventPayload, frozen=True):
    """A memory provider failed in ``phase`` recall or remember."""

    phase: str
    error_type: str
    error_message: str


class StreamStartedPayload(BaseEventPayload, frozen=True):
    """An attempt at a model call began."""

    stream_id: str = "main"


class StreamCompletedPayload(BaseEventPayload, frozen=True):
    """A reply is complete and recorded."""

    stream_id: str = "main"


class StreamDeltaPayload(BaseEventPayload, frozen=True, gc=False):
    """A piece of text or thought."""

    stream_id: str
    text: str
    is_think: bool = False


class StreamToolDeltaPayload(BaseEventPayload, frozen=True, gc=False):
    """A piece of a tool call's arguments."""

    stream_id: str
    index: int
    name: str
    text: str


class ToolCallStartedPayload(BaseEventPayload, frozen=True):
    """A call's start is recorded; it runs now."""

    name: str
    tool_input: dict[str, Any]
    tool_call_id: str


class ToolCallCompletedPayload(BaseEventPayload, frozen=True):
    """A call has its result."""

    name: str
    output: str
    tool_input: dict[str, Any]
    tool_call_id: str


class ToolCallFailedPayload(BaseEventPayload, frozen=True):
    """A call's result is a failure; ``tool_call_completed`` follows."""

    name: str
    output: str
    tool_input: dict[str, Any]
    tool_call_id: str


class ToolProgressPayload(BaseEventPayload, frozen=True):
    """What a running tool says of its progress."""

    name: str
    text: str
    tool_call_id: str


class StatusChangedPayload(BaseEventPayload, frozen=True):
    """Something changed; ``kind`` says what."""

    kind: str


class AutoCompactStatusPayload(StatusChangedPayload, frozen=True):
    """Compaction; kind ``auto_compact``. ``phase`` is started, completed or skipped; ``trigger`` says why."""

    phase: str = ""
    round_index: int = 0
    trigger: str = ""
    before_tokens: int = 0
    after_tokens: int = 0


class BudgetStatusPayload(StatusChangedPayload, frozen=True):
    """A budget is reached; kind ``budget_reached``. ``limit`` and ``spent`` are tokens, seconds or US dollars."""

    scope: str = ""
    unit: str = ""
    limit: str = ""
    spent: str = ""


class RoundUsageStatusPayload(StatusChangedPayload, frozen=True):
    """Tokens of one round; kind ``round_usage``."""

    time_iso: str = ""
    round_index: int = 0
    round_number: int = 0
    max_rounds: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    reasoning_tokens: int = 0


class HitRoundLimitStatusPayload(StatusChangedPayload, frozen=True):
    """The round limit is reached; kind ``hit_round_limit``."""

    max_rounds: int = 0


class UsageUpdatedPayload(BaseEventPayload, frozen=True):
    """Tokens of the last reply."""

    usage: dict[str, Any]


class TodoUpdatedPayload(BaseEventPayload, frozen=True):
    """The todo list changed."""

    kind: str = "todo_snapshot"
    items: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    rendered: str = ""
    text: str = ""


class UserNotificationPayload(BaseEventPayload, frozen=True):
    """Something a person may want to read."""

    message: str


class AgentErrorPayload(BaseEventPayload, frozen=True):
    """An error ended the run; ``details['code']`` is stable."""

    error: str
    error_type: str
    details: dict[str, Any] = {}


class SystemLogPayload(BaseEventPayload, frozen=True):
    """A line for the log."""

    message: str
    level: str = "info"


class SubagentTaskStartPayload(BaseEventPayload, frozen=True):
    """A sub-agent began."""

    task: str
    preset: str = "core"
    sub_session_id: str = ""
    depth: int = 0


class SubagentTextPayload(BaseEventPayload, frozen=True):
    """A sub-agent said something."""

    sub_session_id: str
    status: str
    rounds: int
    final_text: str


class SubagentCompletedPayload(BaseEventPayload, frozen=True):
    """A sub-agent ended."""

    sub_session_id: str
    status: str
    rounds: int
    final_text: str


class SubagentLimitPayload(BaseEventPayload, frozen=True):
    """A sub-agent hit its round limit."""

    sub_session_id: str
    max_rounds: int


class SessionOpenedPayload(BaseEventPayload, frozen=True):
    """The session exists."""

    metadata: dict[str, Any] = {}


class InputReceivedPayload(BaseEventPayload, frozen=True):
    """An input is durable."""

    text: str
    role: str = "user"


class AgentEvent(msgspec.Struct, frozen=True):
    """One event. ``seq`` is its entry's number, None for a transient one; ``run`` and ``attempt`` place a delta."""

    type: AgentEventType
    data: BaseEventPayload
    session_id: str
    round_index: int = 0
    seq: int | None = None
    run: int = 0
    attempt: int = 0
    stream_id: str = "main"
    source: str = "power_loop"

    @property
    def payload(self) -> dict[str, Any]:
        """The payload as plain data."""
        return self.data.to_dict()

    @property
    def durable(self) -> bool:
        """Whether an entry tells it."""
        return self.seq is not None
