"""A tool call of the newest reply, as the journal tells of it."""

import msgspec

from power_loop.facts.entries import RecordedCall, ToolFinished
from power_loop.facts.messages import ToolCall


class Call(msgspec.Struct):
    """A tool call of the newest reply, and how far it has come."""

    id: str
    recorded: RecordedCall
    offered: bool
    started_run: int = 0
    attempt: int = 0
    key: str = ""
    once: bool = True
    arguments: dict[str, object] | None = None
    result: ToolFinished | None = None
    position: int = -1
    result_seq: int = 0

    @property
    def open(self) -> bool:
        """Whether it still lacks its result."""
        return self.result is None

    def to_tool_call(self) -> ToolCall:
        """Return what the model sees of it; unreadable arguments are shown as they came."""
        recorded = self.recorded
        arguments = recorded.arguments if recorded.raw is None else {"unreadable_arguments": recorded.raw}
        return ToolCall(recorded.id, recorded.name, arguments)
