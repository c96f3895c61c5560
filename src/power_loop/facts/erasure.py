"""Erasure: what takes the place of a body whose content must go, so that the history around it stays valid.

Roles, call ids, tool names, usage and cost stay; what people, models and tools said goes. Knows nothing of stores.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.chain import body_hash
from power_loop.facts.entries import (
    Cancelled,
    Erased,
    Fact,
    InputReceived,
    ModelFailed,
    ModelReplied,
    Note,
    OutputChecked,
    RecordedCall,
    ReplyEdited,
    ResultEdited,
    RunEnded,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.journal import Entry, decode
from power_loop.facts.messages import AgentMessage, Content, ToolCall

ERASED = "[erased]"
"""What stands where content was."""

_replace = msgspec.structs.replace


def erased_body(kind: str, body: str, version: int = 1) -> str:
    """Return the body that replaces one whose content is erased; the same again for one that is erased already.

    It decodes to the same kind. Content that was empty stays empty, so that a history keeps its messages and their
    number. Calls keep id and name and lose their arguments: erase no reply whose calls are still open, or they would
    run without. Raises InvalidInputError for a kind without content of its own, JournalTooNew, StoreCorrupt.
    """
    summary = _SUMMARIES.get(kind)
    if summary is not None:
        return _without(body, summary)
    eraser = _ERASERS.get(kind)
    fact = decode(kind, version, body) if eraser else None
    if eraser is None or fact is None:
        raise InvalidInputError(f"An entry of kind {kind!r} has no content to erase.")
    return jsontext.encode(eraser(fact))


def erasure_of(entry: Entry, reason: str = "") -> Erased:
    """Return the fact whose append erases the content of ``entry``. Raises what :func:`erased_body` raises."""
    return Erased(entry.seq, body_hash(erased_body(entry.kind, entry.body, entry.version)).hex(), reason)


def _gone(content: Content) -> str:
    return ERASED if content else ""


def _calls(calls: tuple[RecordedCall, ...]) -> tuple[RecordedCall, ...]:
    """Empty the calls; one whose arguments were unreadable stays so, since such a call is never run."""
    return tuple(
        _replace(
            call,
            arguments={},
            raw=None if call.raw is None else ERASED,
            error=None if call.error is None else ERASED,
        )
        for call in calls
    )


def _message(message: AgentMessage) -> AgentMessage:
    calls = tuple(ToolCall(call.id, call.name, {}) for call in message.tool_calls)
    return _replace(message, content=_gone(message.content), tool_calls=calls, name=None)


def _reply(fact: ModelReplied) -> Fact:
    return _replace(fact, content=_gone(fact.content), calls=_calls(fact.calls), payload=None)


def _started(fact: ToolStarted) -> Fact:
    return fact if fact.arguments is None else _replace(fact, arguments={})


def _ended(fact: RunEnded) -> Fact:
    error = fact.error and _replace(fact.error, message=_gone(fact.error.message))
    final_text = fact.final_text and ERASED
    return _replace(fact, final_text=final_text, reason=_gone(fact.reason), error=error)


_ERASERS: dict[str, Callable[[Any], Fact]] = {
    InputReceived.kind: lambda fact: _replace(fact, content=_gone(fact.content), name=None),
    ModelReplied.kind: _reply,
    ModelFailed.kind: lambda fact: _replace(fact, message=_gone(fact.message)),
    ReplyEdited.kind: lambda fact: _replace(fact, content=_gone(fact.content), calls=_calls(fact.calls)),
    ToolStarted.kind: _started,
    ToolFinished.kind: lambda fact: _replace(fact, content=_gone(fact.content)),
    ResultEdited.kind: lambda fact: _replace(fact, content=_gone(fact.content)),
    Note.kind: lambda fact: _replace(fact, text=_gone(fact.text)),
    OutputChecked.kind: lambda fact: _replace(fact, text="", problem=_gone(fact.problem)),
    ViewEdited.kind: lambda fact: _replace(fact, messages=tuple(map(_message, fact.messages))),
    Cancelled.kind: lambda fact: _replace(fact, reason=_gone(fact.reason)),
    RunEnded.kind: _ended,
}
_SUMMARIES = {"compacted": "summary"}
"""Kinds whose one text stands in a field, among much that is derived and must stay."""


def _without(body: str, field: str) -> str:
    values: dict[str, Any] = msgspec.json.decode(body)
    if values.get(field):
        values[field] = ERASED
    return jsontext.encode(values)
