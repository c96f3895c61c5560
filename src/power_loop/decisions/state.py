"""State: what a journal says, kept up to date entry by entry in constant time.

Nothing here is stored; deleting a state loses nothing. It knows no stores, no models and no time.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from power_loop.decisions.call import Call
from power_loop.decisions.outputs import Output
from power_loop.facts.entries import (
    Cancelled,
    DefinitionChanged,
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
    RunStarted,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.ids import call_id
from power_loop.facts.journal import FACTS, Entry
from power_loop.facts.messages import AgentMessage, MessageRole, text_of
from power_loop.facts.structured import RecordedOutput
from power_loop.facts.usage import LLMTokenUsage, add_cost

WRAP_UP = "wrap_up"
"""Topic of the note that asks for a final answer at the round limit."""
CONTINUE = "continue"
"""Topic of the note that reopens a conversation whose last word was the model's."""


class State:
    """Everything that follows from a journal and is still needed."""

    __slots__ = (
        "attempts",
        "calls",
        "cancel",
        "cost",
        "cost_since_input",
        "deaths",
        "deferred",
        "definition",
        "ended_entry",
        "failure",
        "head_digest",
        "head_seq",
        "in_flight",
        "messages",
        "offered",
        "open_calls",
        "output",
        "reply_fresh",
        "reply_length",
        "reply_needed",
        "reply_position",
        "reply_seq",
        "reply_text",
        "rounds",
        "run",
        "run_open",
        "started_entry",
        "unheard",
        "usage",
        "usage_since_input",
        "wire_ids",
        "wrap_up",
    )  # fmt: skip

    def __init__(self, head_seq: int = 0, head_digest: bytes = b"") -> None:
        self.head_seq = head_seq
        self.head_digest = head_digest
        self.messages: list[AgentMessage] = []
        self.deferred: list[AgentMessage] = []
        self.calls: dict[str, Call] = {}
        self.open_calls = 0
        self.wire_ids: set[str] = set()
        self.offered: frozenset[str] = frozenset()
        self.definition = ""
        self.run = 0
        self.run_open = False
        self.started_entry: Entry | None = None
        self.ended_entry: Entry | None = None
        self.cancel: Cancelled | None = None
        self.in_flight = False
        self.attempts = 0
        self.failure: ModelFailed | None = None
        self.deaths = 0
        self.rounds = 0
        self.wrap_up = False
        self.reply_needed = False
        self.unheard = False
        self.reply_fresh = False
        self.reply_position = 0
        self.reply_length = 0
        self.reply_seq = 0
        self.reply_text = ""
        self.output = Output()
        self.usage = LLMTokenUsage()
        self.usage_since_input = LLMTokenUsage()
        self.cost: Decimal | None = None
        self.cost_since_input: Decimal | None = None

    def apply(self, entry: Entry) -> None:
        """Take in the next entry. Constant time, but for an edit of the view."""
        applier = _APPLIERS.get(entry.kind)
        if applier is not None:
            applier(self, entry)
        else:
            _ = entry.fact  # an unknown essential kind stops here
        self.head_seq = entry.seq
        self.head_digest = entry.digest

    @property
    def started(self) -> RunStarted | None:
        """The newest run's start."""
        return _fact(self.started_entry, RunStarted)

    @property
    def ended(self) -> RunEnded | None:
        """How the newest run ended; None while it is open or was cut off."""
        return _fact(self.ended_entry, RunEnded)

    def pending(self) -> list[Call]:
        """Return the calls without a result, in call order."""
        return [call for call in self.calls.values() if call.open] if self.open_calls else []

    def in_doubt(self, call: Call) -> bool:
        """Tell whether an older run started this call and left no result."""
        return call.open and 0 < call.started_run < self.run

    # -- one method per kind

    def _input_received(self, entry: Entry) -> None:
        fact = _of(entry, InputReceived)
        self._say(AgentMessage(fact.role, fact.content, name=fact.name))
        self.rounds = self.deaths = self.attempts = 0
        self.failure = None
        self.wrap_up = False
        self.reply_needed = True
        self._want(fact.output, entry.run)
        self.unheard = not self.run_open
        self.usage_since_input = LLMTokenUsage()
        self.cost_since_input = None

    def _want(self, wanted: RecordedOutput | None, run: int) -> None:
        """Take in what output an input wants. One that arrives in the middle of a run does not change what that is."""
        if wanted is None and self.run_open and run == self.run:
            wanted = self.output.wanted
        if wanted is not None or self.output.wanted is not None:
            self.output = self.output.asked(wanted)

    def _run_started(self, entry: Entry) -> None:
        self.started_entry = entry
        self.ended_entry = None
        self.run = entry.run
        self.run_open = True
        self.unheard = False
        self.cancel = None
        self.failure = None
        self.attempts = 0
        if self.in_flight:
            self.deaths += 1
            self.in_flight = False
        if '"force":true' in entry.body and _of(entry, RunStarted).force:
            self.deaths = 0

    def _definition_changed(self, entry: Entry) -> None:
        fact = _of(entry, DefinitionChanged)
        self.definition = fact.digest
        self.offered = frozenset(tool["function"]["name"] for tool in fact.tools)
        self.output = self.output.defined(fact)

    def _model_called(self, _entry: Entry) -> None:
        self.in_flight = True
        self.reply_fresh = False
        self.attempts += 1
        self.failure = None

    def _model_failed(self, entry: Entry) -> None:
        self.in_flight = False
        self.failure = _of(entry, ModelFailed)

    def _model_replied(self, entry: Entry) -> None:
        fact = _of(entry, ModelReplied)
        self.in_flight = False
        self.failure = None
        self.attempts = self.deaths = 0
        self.rounds += 1
        self.reply_needed = False
        self.reply_fresh = True
        self.reply_seq = entry.seq
        self.usage += fact.usage
        self.usage_since_input += fact.usage
        self.cost = add_cost(self.cost, fact.cost)
        self.cost_since_input = add_cost(self.cost_since_input, fact.cost)
        self.reply_position = len(self.messages)
        if self.output.wanted is not None:
            self.output = self.output.replied()
        self._take_reply(fact, fact.calls)

    def _reply_edited(self, entry: Entry) -> None:
        """Replace the reply where it stands; what came behind it stays behind it and behind the results it wants."""
        fact = _of(entry, ReplyEdited)
        behind = self.messages[self.reply_position + self.reply_length :]
        del self.messages[self.reply_position :]
        self._take_reply(fact, fact.calls)
        behind += self.deferred
        self.deferred = behind if self.open_calls else []
        if not self.open_calls:
            self.messages += behind

    def _take_reply(self, fact: ModelReplied | ReplyEdited, recorded: tuple[RecordedCall, ...]) -> None:
        """Put the reply where it belongs. One without any content leaves no message: providers refuse those."""
        self.reply_text = text_of(fact.content)
        self.calls = {}
        for index, item in enumerate(recorded):
            identity = call_id(self.reply_seq, index)
            self.calls[identity] = Call(identity, item, item.name in self.offered)
            self.wire_ids.add(item.id)
        self.open_calls = len(recorded)
        self.reply_length = int(bool(fact.content or recorded))
        if self.reply_length:
            calls = tuple(call.to_tool_call() for call in self.calls.values())
            self.messages.append(AgentMessage(MessageRole.ASSISTANT, fact.content, calls))

    def _tool_started(self, entry: Entry) -> None:
        fact = _of(entry, ToolStarted)
        call = self.calls[fact.call]
        call.started_run = entry.run
        call.attempt = fact.attempt
        call.key = call.key or fact.key
        call.once = fact.effect == "once"
        if fact.arguments is not None:
            call.arguments = fact.arguments
        self.reply_fresh = False

    def _tool_finished(self, entry: Entry) -> None:
        fact = _of(entry, ToolFinished)
        self.calls[fact.call].result = fact
        self.open_calls -= 1
        self.reply_fresh = False
        if self.open_calls == 0:
            self._close_batch()

    def _close_batch(self) -> None:
        """Results in call order, whatever order they came in; then what arrived meanwhile."""
        for call in self.calls.values():
            call.position = len(self.messages)
            content = call.result.content if call.result else ""
            self.messages.append(AgentMessage(MessageRole.TOOL, content, tool_call_id=call.recorded.id))
        self.messages.extend(self.deferred)
        self.deferred = []
        self.reply_needed = not self.output.settled

    def _result_edited(self, entry: Entry) -> None:
        fact = _of(entry, ResultEdited)
        call = self.calls[fact.call]
        if call.result is not None:
            outcome = "failed" if fact.failed else "ok"
            call.result = msgspec.structs.replace(call.result, content=fact.content, outcome=outcome)
        if call.position >= 0:
            old = self.messages[call.position]
            self.messages[call.position] = msgspec.structs.replace(old, content=fact.content)

    def _note(self, entry: Entry) -> None:
        fact = _of(entry, Note)
        self._say(AgentMessage(fact.role, fact.text))
        if fact.topic == WRAP_UP:
            self.wrap_up = True
        elif fact.topic == CONTINUE:
            self.wrap_up = False
            self.reply_needed = True
            self.output = self.output.reopened()
        elif self.output.wanted is not None:
            self.output = self.output.noted(fact.topic)

    def _output_checked(self, entry: Entry) -> None:
        self.output = self.output.checked(_of(entry, OutputChecked))
        self.reply_fresh = False
        if not self.open_calls:
            self.reply_needed = not self.output.settled

    def _round_skipped(self, _entry: Entry) -> None:
        self.rounds += 1

    def _view_edited(self, entry: Entry) -> None:
        fact = _of(entry, ViewEdited)
        self.messages[fact.start : fact.stop] = fact.messages
        if self.reply_position >= fact.stop:
            self.reply_position += len(fact.messages) - (fact.stop - fact.start)
        elif self.reply_position >= fact.start:
            self.reply_fresh = False
        for call in self.calls.values():
            call.position = -1

    def _cancelled(self, entry: Entry) -> None:
        fact = _of(entry, Cancelled)
        if self.run_open and fact.target == self.run:
            self.cancel = fact

    def _run_ended(self, entry: Entry) -> None:
        self.ended_entry = entry
        self.run_open = False
        self.in_flight = False
        self.reply_fresh = False

    def _say(self, message: AgentMessage) -> None:
        (self.deferred if self.open_calls else self.messages).append(message)


_APPLIERS: dict[str, Callable[[State, Entry], None]] = {
    kind: getattr(State, f"_{kind}") for kind in FACTS if hasattr(State, f"_{kind}")
}
_FactT = TypeVar("_FactT", bound=Fact)


def _of(entry: Entry, _kind: type[_FactT]) -> _FactT:
    """Return the entry's fact, typed; the dispatch by kind is what makes the type true."""
    return entry.decoded or entry.fact  # type: ignore[return-value]


def _fact(entry: Entry | None, kind: type[_FactT]) -> _FactT | None:
    return None if entry is None else _of(entry, kind)
