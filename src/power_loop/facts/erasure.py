"""Erasure: what takes the place of a body whose content must go, so that the history around it stays valid.

Roles, call ids, tool names, usage and cost stay; what people, models and tools said goes. Knows nothing of stores.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.chain import body_hash
from power_loop.facts.entries import (
    Cancelled,
    Compacted,
    CompactionSkipped,
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


def erased_body(kind: str, body: str, version: int = 1, parts: Sequence[int] = ()) -> str:
    """Return the body that replaces one whose content is erased; the same again for one that is erased already.

    It decodes to the same kind. Content that was empty stays empty, so that a history keeps its messages and their
    number. Calls keep id and name and lose their arguments: erase no reply whose calls are still open, or they would
    run without. With ``parts`` only these messages go, by place, of an entry that holds several (``view_edited``,
    ``compacted``, whose summary goes with its note; the place behind the last is what it carries over of todo list and
    output). Raises InvalidInputError for a kind without content of its own,
    JournalTooNew, StoreCorrupt.
    """
    whole, some = _ERASERS.get(kind), _PART_ERASERS.get(kind)
    fact = decode(kind, version, body) if whole else None
    if whole is None or fact is None:
        raise InvalidInputError(f"An entry of kind {kind!r} has no content to erase.")
    if not parts:
        return jsontext.encode(whole(fact))
    if some is None:
        raise InvalidInputError(f"An entry of kind {kind!r} has no parts; erase all of it.")
    return jsontext.encode(some(fact, parts))


def erasure_of(entry: Entry, reason: str = "", parts: Sequence[int] = ()) -> Erased:
    """Return the fact whose append erases the content of ``entry``. Raises what :func:`erased_body` raises."""
    body = erased_body(entry.kind, entry.body, entry.version, parts)
    return Erased(entry.seq, body_hash(body).hex(), reason, tuple(parts))


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


def _fold(fact: Compacted) -> Fact:
    """Erase the summary and every message that was kept: any of them may repeat what has to go."""
    view = tuple(map(_message, fact.view))
    return _replace(fact, summary=_gone(fact.summary), view=view, carried=_carried(fact.carried))


def _carried(carried: dict[str, Any]) -> dict[str, Any]:
    """Erase what is carried of what was said: the todo list, and the output that was checked last."""
    told = {name: value for name, value in carried.get("told", {}).items() if name != "todos"}
    output = dict(carried.get("output", {}))
    output |= {name: ERASED if name == "problem" else "" for name in ("text", "problem") if output.get(name)}
    known = {"told": told, "output": output}
    return carried | {name: value for name, value in known.items() if name in carried}


def _some(messages: tuple[AgentMessage, ...], parts: Sequence[int]) -> tuple[AgentMessage, ...]:
    return tuple(_message(message) if at in parts else message for at, message in enumerate(messages))


def _edit_parts(fact: ViewEdited, parts: Sequence[int]) -> Fact:
    return _replace(fact, messages=_some(fact.messages, parts))


def _fold_parts(fact: Compacted, parts: Sequence[int]) -> Fact:
    """Erase messages that were kept; the one that no older entry said is the note that tells the summary."""
    told = any(at in parts and seq == 0 for at, seq in enumerate(fact.seqs))
    return _replace(
        fact,
        summary=_gone(fact.summary) if told else fact.summary,
        view=_some(fact.view, parts),
        carried=_carried(fact.carried) if len(fact.view) in parts else fact.carried,
    )


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
    ToolFinished.kind: lambda fact: _replace(fact, content=_gone(fact.content), whole=None),
    ResultEdited.kind: lambda fact: _replace(fact, content=_gone(fact.content)),
    Note.kind: lambda fact: _replace(fact, text=_gone(fact.text)),
    OutputChecked.kind: lambda fact: _replace(fact, text="", problem=_gone(fact.problem)),
    ViewEdited.kind: lambda fact: _replace(fact, messages=tuple(map(_message, fact.messages))),
    Compacted.kind: _fold,
    CompactionSkipped.kind: lambda fact: _replace(fact, reason=_gone(fact.reason)),
    Cancelled.kind: lambda fact: _replace(fact, reason=_gone(fact.reason)),
    RunEnded.kind: _ended,
}
_PART_ERASERS: dict[str, Callable[[Any, Sequence[int]], Fact]] = {
    ViewEdited.kind: _edit_parts,
    Compacted.kind: _fold_parts,
}
