"""What was said in a part of a journal, without what the kernel added to it. Pure."""

from collections.abc import Iterable

from power_loop.decisions.state import State
from power_loop.facts.entries import InputReceived, ModelReplied, ReplyEdited, ResultEdited, ToolFinished
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage
from power_loop.ports.memory import without_recalled


def said(entries: Iterable[Entry]) -> tuple[AgentMessage, ...]:
    """Return the inputs, replies and results of these entries as messages; a result of an earlier reply is left out."""
    state = State()
    for entry in entries:
        if _belongs(entry, state):
            state.apply(entry)
    return without_recalled(state.messages)


def _belongs(entry: Entry, state: State) -> bool:
    match entry.fact:
        case InputReceived() | ModelReplied():
            return True
        case ReplyEdited(target=target):
            return target == state.reply_seq
        case ToolFinished(call=call) | ResultEdited(call=call):
            return call in state.calls
        case _:
            return False
