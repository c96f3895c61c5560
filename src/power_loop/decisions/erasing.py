"""Erasing a message: which entries hold its content, and whether they may lose it. Pure."""

from collections.abc import Sequence

from power_loop.decisions.events import reply_seq
from power_loop.decisions.state import State
from power_loop.facts.entries import (
    ModelReplied,
    ReplyEdited,
    ResultEdited,
    RunEnded,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, Content, text_of


def holders_of(entries: Sequence[Entry], seq: int) -> list[Entry]:
    """Return the entries that hold the content of the message at ``seq``, oldest first.

    A reply and what a hook made of it, its arguments as a tool was started with them, a result and its edit are one
    message; what repeats it word for word, in an edit of the view or as a run's final text, goes along. A summary that
    retells it does not: it is an entry of its own. Raises InvalidInputError where there is no such entry.
    """
    target = next((entry for entry in entries if entry.seq == seq), None)
    if target is None:
        raise InvalidInputError(f"Entry {seq} is not in the journal; there is nothing to erase.")
    message = _message(target)
    own = [entry for entry in entries if _message(entry) == message]
    contents = {content for entry in own if entry.body_digest is None and (content := _content(entry))}
    calls = {call.id for entry in own for call in getattr(entry.fact, "calls", ())}
    return [entry for entry in entries if _message(entry) == message or _repeats(entry, contents, calls)]


def holds_open_call(entries: Sequence[Entry], state: State) -> bool:
    """Tell whether one of these says what a call asks for that is still to be run."""
    return bool(state.open_calls) and ("reply", state.reply_seq) in map(_message, entries)


def _message(entry: Entry) -> tuple[str, object]:
    """Return what the versions of one message have in common."""
    match entry.fact:
        case ReplyEdited(target=target):
            return "reply", target
        case ModelReplied():
            return "reply", entry.seq
        case ToolStarted(call=call, arguments=arguments) if arguments is not None:
            return "reply", reply_seq(call)
        case ToolFinished(call=call) | ResultEdited(call=call):
            return "result", call
    return "entry", entry.seq


def _content(entry: Entry) -> Content:
    fact = entry.fact
    content: Content = getattr(fact, "content", "") or getattr(fact, "text", "")
    return content


def _repeats(entry: Entry, contents: set[Content], calls: set[str]) -> bool:
    match entry.fact:
        case ViewEdited(messages=messages):
            return any(_copies(message, contents, calls) for message in messages)
        case RunEnded(final_text=str(text)):
            return text in map(text_of, contents)
    return False


def _copies(message: AgentMessage, contents: set[Content], calls: set[str]) -> bool:
    return message.content in contents or any(call.id in calls for call in message.tool_calls)
