"""Erasing a message: which entries hold its content, and whether they may lose it. Pure."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from power_loop.decisions.endings import LIMIT_HEAD
from power_loop.decisions.events import reply_seq
from power_loop.decisions.state import State
from power_loop.facts.entries import (
    Compacted,
    ModelReplied,
    Note,
    OutputChecked,
    ReplyEdited,
    ResultEdited,
    RunEnded,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.erasure import ERASED, erased_body
from power_loop.facts.errors import InvalidInputError
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, Content, text_of
from power_loop.ports.todo import TODO_TOOL, parse_todos


class Holder(NamedTuple):
    """An entry that holds content to be erased; with ``parts`` only these of the messages in it do."""

    entry: Entry
    parts: tuple[int, ...] = ()

    @property
    def erased(self) -> bool:
        """Whether nothing of the content is left there. Raises what ``erased_body`` raises."""
        entry = self.entry
        return erased_body(entry.kind, entry.body, entry.version, self.parts) == entry.body


class _Wanted(NamedTuple):
    """What has to go: a message as these entries say it, its contents, the wire ids of its calls.

    ``edits`` are the edits of the view, which may repeat it; ``texts`` is all that it says in words, ``todos`` are the
    lists that it wrote, as JSON data.
    """

    seqs: frozenset[int]
    contents: frozenset[Content]
    calls: frozenset[str]
    edits: frozenset[int]
    texts: frozenset[str]
    todos: tuple[Any, ...]

    def is_said(self, message: AgentMessage, seq: int) -> bool:
        """Tell whether a message that entry ``seq`` said has to go."""
        return seq in self.seqs or (seq in self.edits and self.is_repeated(message))

    def is_repeated(self, message: AgentMessage) -> bool:
        """Tell whether an edit put it there again."""
        return message.content in self.contents or any(call.id in self.calls for call in message.tool_calls)

    def is_carried(self, values: dict[str, Any]) -> bool:
        """Tell whether a fold carries it over: as the todo list, or as the output that was checked last."""
        output = values.get("output", {})
        if not self.texts.isdisjoint({output.get("text"), output.get("problem")}):
            return True
        return values.get("told", {}).get("todos", {}).get("items") in self.todos

    def is_told_last(self, ended: RunEnded) -> bool:
        """Tell whether the end of a run repeats it: as its final text, or as what was wrong with it."""
        said = {(ended.final_text or "").removeprefix(LIMIT_HEAD), ended.error.message if ended.error else ""}
        return not self.texts.isdisjoint(said)


def holders_of(entries: Sequence[Entry], seq: int) -> list[Holder]:
    """Return where the content of the message at ``seq`` stands, oldest first.

    A reply and what a hook made of it, its arguments as a tool was started with them, a result and its edit are one
    message. What repeats it goes along: the view that a compaction left, an edit of the view, a run's final text. A
    summary that retells it does not: that is a message of its own. An entry that was pruned may still be said by such a
    view. Raises InvalidInputError where nothing says it.
    """
    message = next((_message(entry) for entry in entries if entry.seq == seq), ("entry", seq))
    own = [entry for entry in entries if _message(entry) == message]
    own += _checks(entries, message)
    if not own and not any(seq in fact.seqs for entry in entries if isinstance(fact := entry.fact, Compacted)):
        raise InvalidInputError(f"Entry {seq} is not in the journal; there is nothing to erase.")
    contents = frozenset(content for entry in own if (content := _content(entry)) and content != ERASED)
    problems = {entry.fact.problem for entry in own if isinstance(entry.fact, OutputChecked)}
    wanted = _Wanted(
        frozenset(entry.seq for entry in own) | {seq},
        contents,
        frozenset(call.id for entry in own for call in getattr(entry.fact, "calls", ())),
        frozenset(entry.seq for entry in entries if entry.kind == ViewEdited.kind),
        frozenset({*map(text_of, contents), *problems} - {"", ERASED}),
        tuple(_todos_of(own, entries, seq)),
    )
    found = [_holder(entry, wanted) for entry in entries]
    return [holder for holder in found if holder is not None]


def _todos_of(own: Sequence[Entry], entries: Sequence[Entry], seq: int) -> Iterator[Any]:
    """Yield the todo lists that a message wrote, also one that only the view of a fold still says."""
    calls = [call for entry in own for call in getattr(entry.fact, "calls", ())]
    for entry in entries:
        if isinstance(fact := entry.fact, Compacted) and seq in fact.seqs:
            calls += fact.view[fact.seqs.index(seq)].tool_calls
    for call in calls:
        if call.name == TODO_TOOL:
            with suppress(ValueError):
                yield msgspec.to_builtins(parse_todos(call.arguments.get("items")))


def _checks(entries: Sequence[Entry], message: tuple[str, object]) -> list[Entry]:
    """Return the checks of a reply, which repeat what it said as output, and what told the model of them."""
    kind, reply = message
    if kind != "reply" or not isinstance(reply, int):
        return []
    after = [entry for entry in entries if entry.seq > reply]
    until = next((entry.seq for entry in after if entry.kind == ModelReplied.kind), None)
    before = [entry for entry in after if until is None or entry.seq < until]
    checks = [entry for entry in before if entry.kind == OutputChecked.kind]
    refused = [fact for entry in checks if isinstance(fact := entry.fact, OutputChecked) and fact.problem]
    return checks + [entry for entry in before if _tells_of(entry, refused)]


def _tells_of(entry: Entry, refused: Sequence[OutputChecked]) -> bool:
    """Tell whether an entry says to the model what was wrong with an output."""
    match entry.fact:
        case ToolFinished(call=call):
            return any(check.call == call for check in refused)
        case Note(text=text):
            return any(check.problem in text for check in refused)
    return False


def holds_open_call(holders: Sequence[Holder], state: State) -> bool:
    """Tell whether one of these says what a call asks for that is still to be run."""
    return bool(state.open_calls) and any(_message(holder.entry) == ("reply", state.reply_seq) for holder in holders)


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


def _holder(entry: Entry, wanted: _Wanted) -> Holder | None:
    own = entry.seq in wanted.seqs
    match entry.fact:
        case Compacted(view=view, seqs=seqs):
            said = enumerate(zip(view, seqs, strict=True))
            parts = [at for at, (message, seq) in said if wanted.is_said(message, seq or entry.seq)]
            parts += [len(view)] * wanted.is_carried(entry.fact.carried)
            return Holder(entry, tuple(parts)) if parts else None
        case ViewEdited(messages=messages) if not own:
            parts = [at for at, message in enumerate(messages) if wanted.is_repeated(message)]
            return Holder(entry, tuple(parts)) if parts else None
        case RunEnded() as ended if not own and wanted.is_told_last(ended):
            return Holder(entry)
    return Holder(entry) if own else None
