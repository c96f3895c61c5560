"""The journal in words, and figures as people read them. Pure: entries in, short safe text out."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from power_loop.cli.safe import safe_line
from power_loop.facts import jsontext
from power_loop.facts.entries import (
    BudgetReached,
    Cancelled,
    Compacted,
    CompactionSkipped,
    DefinitionChanged,
    Erased,
    InputReceived,
    ModelCalled,
    ModelFailed,
    ModelReplied,
    Note,
    OutputChecked,
    Pruned,
    RecordedCall,
    ReplyEdited,
    ResultEdited,
    RoundSkipped,
    RunEnded,
    RunStarted,
    SessionOpened,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import PowerLoopError
from power_loop.facts.journal import Entry
from power_loop.facts.messages import Content, Document, Image, text_of
from power_loop.facts.usage import LLMTokenUsage

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_KILO = 1000
_SHOWN_MS = 50
"""Milliseconds from which on a duration is shown: less would read 0.0 s."""
_WORDS = 120
"""Characters of a text that a line of a table quotes."""


def age(since_ms: int, now: float | None = None) -> str:
    """Return how long ago a wall time in milliseconds was, such as ``5 min``."""
    seconds = max(0, int((time.time() if now is None else now) - since_ms / 1000))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR} h"
    return f"{seconds // _DAY} days"


def clock(wall_ms: int) -> str:
    """Return the local time of day, to the millisecond."""
    return datetime.fromtimestamp(wall_ms / 1000).astimezone().strftime("%H:%M:%S.%f")[:-3]


def day(wall_ms: int) -> str:
    """Return local date and time, to the second."""
    return datetime.fromtimestamp(wall_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(number: int) -> str:
    """Return a number of bytes as people read it, such as ``1.2 MB``; units of 1000."""
    for unit in ("kB", "MB", "GB"):
        if number < _KILO * _KILO or unit == "GB":
            break
        number //= _KILO
    return f"{number} B" if number < _KILO and unit == "kB" else f"{number / _KILO:.1f} {unit}"


def tokens(usage: LLMTokenUsage) -> str:
    """Return token figures."""
    return f"{usage.input_tokens:,} in + {usage.output_tokens:,} out tokens"


def money(cost: Decimal | None) -> str:
    """Return a cost in USD, or that no price is known."""
    return "cost unknown" if cost is None else f"${cost.normalize():f}"


def rounds(count: int) -> str:
    """Return a number of rounds."""
    return f"{count} round" if count == 1 else f"{count} rounds"


def call_text(name: str, arguments: Mapping[str, Any], limit: int = _WORDS) -> str:
    """Return a tool call as one would write it."""
    given = ", ".join(f"{key}={jsontext.encode(value)}" for key, value in arguments.items())
    return safe_line(f"{name}({given})", limit)


def quoted(text: str, limit: int = _WORDS) -> str:
    """Return the beginning of a text in quotation marks."""
    return f'"{safe_line(text, limit)}"'


def describe(entry: Entry) -> str:
    """Return what an entry says; one that this release cannot read is said to be so."""
    try:
        fact = entry.fact
    except PowerLoopError as error:
        return safe_line(str(error))
    tell = _TELLERS.get(type(fact))
    return tell(fact) if tell is not None else safe_line(entry.body, _WORDS)


def attached(content: Content) -> list[str]:
    """Return the images and documents of a content, each in a few words."""
    blocks = () if isinstance(content, str) else content
    return [
        safe_line(f"[{_name_of(block)}, {block.media_type}, {size(block.size)}]")
        for block in blocks
        if isinstance(block, Image | Document)
    ]


def _name_of(block: Image | Document) -> str:
    return "image" if isinstance(block, Image) else f"document {block.name}".rstrip()


def _content(content: Content) -> str:
    files = attached(content)
    said = [quoted(text)] if (text := text_of(content)) or not files else []
    return " ".join([*said, *files])


def _opened(fact: SessionOpened) -> str:
    return f"metadata {safe_line(jsontext.encode(fact.metadata))}" if fact.metadata else "empty"


def _input(fact: InputReceived) -> str:
    return f"{fact.role}: {_content(fact.content)}"


def _started(fact: RunStarted) -> str:
    who = fact.owner.split("_")
    driver = f"process {safe_line(who[1])}" if len(who) > 1 else safe_line(fact.owner) or "unknown"
    return f"{driver}, at most {rounds(fact.limits.max_rounds)}{', forced' if fact.force else ''}"


def _definition(fact: DefinitionChanged) -> str:
    names = ", ".join(str(tool.get("function", {}).get("name", "?")) for tool in fact.tools) or "none"
    system = f"; system text {quoted(fact.system, 60)}" if fact.system else ""
    return f"tools: {safe_line(names)}{system}"


def _called(fact: ModelCalled) -> str:
    why = ", for a summary" if fact.purpose == "summary" else ""
    why += ", the last word at the round limit" if fact.wrap_up else ""
    held = f", {_dollars(fact.reserved)} set aside" if fact.reserved else ""
    return f"attempt {fact.attempt}{why}{held}"


def _dollars(figure: str) -> str:
    """Return a recorded figure without the zeros at its end."""
    text = safe_line(figure)
    return f"${text.rstrip('0').rstrip('.') if '.' in text else text}"


def _model_failed(fact: ModelFailed) -> str:
    then = f"; again in {fact.delay:.1f} s" if fact.retry else ""
    return f"attempt {fact.attempt}: {fact.code}: {safe_line(fact.message, _WORDS)}{then}"


def _calls(calls: tuple[RecordedCall, ...]) -> list[str]:
    return [f"asks for {call_text(call.name, call.arguments)}" for call in calls]


def _replied(fact: ModelReplied) -> str:
    said = [_content(fact.content)] if text_of(fact.content) else []
    return "; ".join([*said, *_calls(fact.calls), f"{fact.usage.input_tokens:,} + {fact.usage.output_tokens:,} tokens"])


def _reply_edited(fact: ReplyEdited) -> str:
    return "; ".join([f"a hook changed entry {fact.target}: {_content(fact.content)}", *_calls(fact.calls)])


def _tool_started(fact: ToolStarted) -> str:
    return f"{safe_line(fact.name)}, attempt {fact.attempt}, {safe_line(fact.call)}, {fact.effect}"


def _tool_finished(fact: ToolFinished) -> str:
    took = f" in {fact.duration_ms / 1000:.1f} s" if fact.duration_ms >= _SHOWN_MS else ""
    return f"{safe_line(fact.name)}, {safe_line(fact.call)}, {fact.outcome}{took}: {_content(fact.content)}"


def _result_edited(fact: ResultEdited) -> str:
    return f"a hook changed the result of {safe_line(fact.call)}: {_content(fact.content)}"


def _note(fact: Note) -> str:
    return f"{safe_line(fact.topic)}: {quoted(fact.text)}"


def _output(fact: OutputChecked) -> str:
    if fact.ok:
        return f"fits: {safe_line(fact.text, _WORDS)}" if fact.text else "fits"
    then = "no further try" if fact.final else f"repair {fact.repairs + 1}"
    return f"does not fit, {then}: {quoted(fact.problem)}"


def _compacted(fact: Compacted) -> str:
    folded = f"entries {fact.from_seq} to {fact.to_seq}" if fact.from_seq else f"{fact.stop - fact.start} messages"
    figures = f"about {fact.before_tokens:,} tokens became {fact.after_tokens:,}"
    told = fact.summary.partition("\n\n")[2].rpartition("\n")[0]  # without what stands around it in every note
    return f"{folded} folded, {figures} ({fact.trigger}): {quoted(told or fact.summary)}"


def _compaction_skipped(fact: CompactionSkipped) -> str:
    return fact.code + (f": {safe_line(fact.reason, _WORDS)}" if fact.reason else "")


def _budget(fact: BudgetReached) -> str:
    unit = {"cost": "US dollars"}.get(fact.unit, fact.unit)
    return f"{safe_line(fact.spent)} of {safe_line(fact.limit)} {unit} spent in this {fact.scope}"


def _skipped(fact: RoundSkipped) -> str:
    return safe_line(fact.reason) or "by a hook"


def _view(fact: ViewEdited) -> str:
    return f"a hook replaced messages {fact.start} to {fact.stop} by {len(fact.messages)}"


def _cancelled(fact: Cancelled) -> str:
    return f"run {fact.target}: {safe_line(fact.reason)}"


def _ended(fact: RunEnded) -> str:
    error = f": {fact.error.code}: {safe_line(fact.error.message, _WORDS)}" if fact.error else ""
    return f"{fact.status} after {rounds(fact.rounds)}{error}"


def _pruned(fact: Pruned) -> str:
    return f"entries up to {fact.through} were deleted, {fact.entries} of them"


def _erased(fact: Erased) -> str:
    parts = f"messages {', '.join(map(str, fact.parts))}" if fact.parts else "the content"
    return f"{parts} of entry {fact.target}" + (f": {safe_line(fact.reason, _WORDS)}" if fact.reason else "")


_TELLERS: Mapping[type | None, Callable[[Any], str]] = {
    SessionOpened: _opened,
    InputReceived: _input,
    RunStarted: _started,
    DefinitionChanged: _definition,
    ModelCalled: _called,
    ModelFailed: _model_failed,
    ModelReplied: _replied,
    ReplyEdited: _reply_edited,
    ToolStarted: _tool_started,
    ToolFinished: _tool_finished,
    ResultEdited: _result_edited,
    Note: _note,
    OutputChecked: _output,
    RoundSkipped: _skipped,
    Compacted: _compacted,
    CompactionSkipped: _compaction_skipped,
    BudgetReached: _budget,
    ViewEdited: _view,
    Cancelled: _cancelled,
    RunEnded: _ended,
    Pruned: _pruned,
    Erased: _erased,
}
