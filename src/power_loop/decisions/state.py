"""State: what a journal says, kept up to date entry by entry in constant time.

Nothing here is stored; deleting a state loses nothing. It knows no stores, no models and no time.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from power_loop.decisions.call import Call
from power_loop.decisions.carried import carried
from power_loop.decisions.folding import Folding
from power_loop.decisions.outputs import Output
from power_loop.decisions.size import ContextSize
from power_loop.decisions.spending import Spent
from power_loop.decisions.told import Told
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
from power_loop.ports.todo import TODO_TOOL

WRAP_UP = "wrap_up"
"""Topic of the note that asks for a final answer at the round limit."""
CONTINUE = "continue"
"""Topic of the note that reopens a conversation whose last word was the model's."""


class State(msgspec.Struct):
    """Everything that follows from a journal and is still needed."""

    head_seq: int = 0
    head_digest: bytes = b""
    time: int = 0
    messages: list[AgentMessage] = msgspec.field(default_factory=list)
    seqs: list[int] = msgspec.field(default_factory=list)
    deferred: list[tuple[AgentMessage, int]] = msgspec.field(default_factory=list)
    calls: dict[str, Call] = msgspec.field(default_factory=dict)
    open_calls: int = 0
    wire_ids: set[str] = msgspec.field(default_factory=set)
    offered: frozenset[str] = frozenset()
    definition: str = ""
    run: int = 0
    run_open: bool = False
    run_began: int = 0
    started_entry: Entry | None = None
    started_fact: RunStarted | None = None
    ended_entry: Entry | None = None
    cancel: Cancelled | None = None
    in_flight: bool = False
    attempts: int = 0
    failure: ModelFailed | None = None
    deaths: int = 0
    rounds: int = 0
    wrap_up: bool = False
    reply_needed: bool = False
    unheard: bool = False
    reply_fresh: bool = False
    reply_position: int = 0
    reply_length: int = 0
    reply_seq: int = 0
    reply_text: str = ""
    spent: Spent = msgspec.field(default_factory=Spent)
    budget_reached: BudgetReached | None = None
    size: ContextSize = msgspec.field(default_factory=ContextSize)
    folding: Folding = msgspec.field(default_factory=Folding)
    told: Told = Told()
    output: Output = Output()
    compacted: int = 0

    def apply(self, entry: Entry) -> None:
        """Take in the next entry. Constant time, but for an edit of the view."""
        applier = _APPLIERS.get(entry.kind)
        if applier is not None:
            applier(self, entry)
        else:
            _ = entry.fact  # an unknown essential kind stops here
        self.head_seq = entry.seq
        self.head_digest = entry.digest
        self.time = entry.time

    @property
    def started(self) -> RunStarted | None:
        """The newest run's start."""
        return self.started_fact if self.started_entry is None else _fact(self.started_entry, RunStarted)

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
        waiting = self.reply_needed or self.open_calls > 0 or self.run_open
        self.told = self.told.asked(entry.seq, more=waiting)
        self._say(AgentMessage(fact.role, fact.content, name=fact.name), entry.seq)
        self.rounds = self.deaths = self.attempts = 0
        self.failure = None
        self.wrap_up = False
        self.reply_needed = True
        self._want(fact.output, entry.run)
        self.unheard = not self.run_open
        self.spent.asked()
        self.budget_reached = None
        self.folding.renewed()

    def _want(self, wanted: RecordedOutput | None, run: int) -> None:
        """Take in what output an input wants. One that arrives in the middle of a run does not change what that is."""
        if wanted is None and self.run_open and run == self.run:
            wanted = self.output.wanted
        if wanted is not None or self.output.wanted is not None:
            self.output = self.output.asked(wanted)

    def _run_started(self, entry: Entry) -> None:
        if self.run_open and self.started is not None:
            self.spent.cut_off(self.started.limits, self.time - self.run_began)
        self.started_entry = entry
        self.ended_entry = None
        self.run = entry.run
        self.run_began = entry.time
        self.run_open = True
        self.unheard = False
        self.cancel = None
        self.failure = None
        self.budget_reached = None
        self.folding.renewed()
        self.attempts = 0
        if self.in_flight:
            self.deaths += 1
            self.in_flight = False
            self.spent.lost()
        if '"force":true' in entry.body and _of(entry, RunStarted).force:
            self.deaths = 0

    def _definition_changed(self, entry: Entry) -> None:
        fact = _of(entry, DefinitionChanged)
        self.definition = fact.digest
        self.told = self.told.defined(fact)
        self.offered = frozenset(tool["function"]["name"] for tool in fact.tools)
        self.size.defined(fact)
        self.output = self.output.defined(fact)

    def _model_called(self, entry: Entry) -> None:
        self.in_flight = True
        self.reply_fresh = False
        self.attempts += 1
        self.failure = None
        if '"reserved' in entry.body:
            self.spent.called(_of(entry, ModelCalled))
        if '"purpose":' not in entry.body:
            self.size.asked(len(self.messages))
            self.told = self.told.called()

    def _model_failed(self, entry: Entry) -> None:
        fact = self.failure = _of(entry, ModelFailed)
        self.in_flight = False
        if self.folding.failed(fact):
            self.attempts = 0
        self.spent.failed(fact)

    def _model_replied(self, entry: Entry) -> None:
        fact = _of(entry, ModelReplied)
        self.in_flight = False
        self.failure = None
        self.attempts = self.deaths = 0
        self.rounds += 1
        self.reply_needed = False
        self.reply_fresh = True
        self.reply_seq = entry.seq
        self.spent.paid(fact.usage, fact.cost)
        self.reply_position = len(self.messages)
        self.told = self.told.replied()
        if self.output.wanted is not None:
            self.output = self.output.replied()
        self._take_reply(fact, fact.calls)
        self.size.replied(fact.usage, len(self.messages))
        self.folding.replied()

    def _reply_edited(self, entry: Entry) -> None:
        """Replace the reply where it stands; what came behind it stays behind it and behind the results it wants."""
        fact = _of(entry, ReplyEdited)
        at = self.reply_position + self.reply_length
        behind = [*zip(self.messages[at:], self.seqs[at:], strict=True), *self.deferred]
        del self.messages[self.reply_position :], self.seqs[self.reply_position :]
        self._take_reply(fact, fact.calls)
        self.deferred = behind
        if not self.open_calls:
            self._undefer()

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
            self.seqs.append(self.reply_seq)

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
        call = self.calls[fact.call]
        call.result, call.result_seq = fact, entry.seq
        if fact.outcome == "ok" and call.recorded.name == TODO_TOOL:
            self.told = self.told.wrote_todos(call.as_started.arguments)
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
            self.seqs.append(call.result_seq)
        self._undefer()
        self.reply_needed = not self.output.settled

    def _undefer(self) -> None:
        for message, seq in self.deferred:
            self.messages.append(message)
            self.seqs.append(seq)
        self.deferred = []

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
        self._say(AgentMessage(fact.role, fact.text), entry.seq)
        self.told = self.told.noted(fact.topic)
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
        self.told = self.told.called()

    def _view_edited(self, entry: Entry) -> None:
        fact = _of(entry, ViewEdited)
        self.messages[fact.start : fact.stop] = fact.messages
        self.seqs[fact.start : fact.stop] = [entry.seq] * len(fact.messages)
        self.size.edited()
        if self.reply_position >= fact.stop:
            self.reply_position += len(fact.messages) - (fact.stop - fact.start)
        elif self.reply_position >= fact.start:
            self.reply_fresh = False
        for call in self.calls.values():
            call.position = -1

    def _compacted(self, entry: Entry) -> None:
        """Start from what the fold left: the same state, whether what came before it was replayed or not."""
        fact = _of(entry, Compacted)
        self.messages = list(fact.view)
        self.seqs = [seq or entry.seq for seq in fact.seqs]
        for name, value in carried(fact.carried).items():
            setattr(self, name, value)
        self.started_entry = self.ended_entry = None
        self.run, self.run_open = entry.run, True
        self.calls, self.wire_ids = {}, {call.id for message in fact.view for call in message.tool_calls}
        replies = [at for at, message in enumerate(fact.view) if message.role is MessageRole.ASSISTANT]
        self.reply_position = replies[-1] if replies else 0
        self.reply_length = int(bool(replies))
        self.reply_text = fact.view[replies[-1]].text if replies else ""
        self.reply_seq = self.seqs[replies[-1]] if replies else 0
        self.compacted = entry.seq
        self.size.edited()
        self.folding.compacted()
        self._folding_settled(fact)
        self.deaths = 0

    def _compaction_skipped(self, entry: Entry) -> None:
        fact = _of(entry, CompactionSkipped)
        self.folding.skipped(fact)
        if fact.unsettled:
            self.spent.lost()
        self._folding_settled(fact)

    def _folding_settled(self, fact: Compacted | CompactionSkipped) -> None:
        self.spent.paid(fact.usage, fact.cost)
        self.in_flight = self.reply_fresh = False
        self.failure = None
        self.attempts = 0

    def _budget_reached(self, entry: Entry) -> None:
        self.budget_reached = _of(entry, BudgetReached)

    def _cancelled(self, entry: Entry) -> None:
        fact = _of(entry, Cancelled)
        if self.run_open and fact.target == self.run:
            self.cancel = fact

    def _run_ended(self, entry: Entry) -> None:
        self.ended_entry = entry
        self.run_open = False
        if self.in_flight:
            self.spent.lost()
        self.in_flight = False
        self.reply_fresh = False
        if '"elapsed_ms":' in entry.body:
            self.spent.took(_of(entry, RunEnded).elapsed_ms)

    def _say(self, message: AgentMessage, seq: int) -> None:
        if self.open_calls:
            self.deferred.append((message, seq))
        else:
            self.messages.append(message)
            self.seqs.append(seq)


_APPLIERS: dict[str, Callable[[State, Entry], None]] = {
    kind: getattr(State, f"_{kind}") for kind in FACTS if hasattr(State, f"_{kind}")
}
_FactT = TypeVar("_FactT", bound=Fact)


def _of(entry: Entry, _kind: type[_FactT]) -> _FactT:
    """Return the entry's fact, typed; the dispatch by kind is what makes the type true."""
    return entry.decoded or entry.fact  # type: ignore[return-value]


def _fact(entry: Entry | None, kind: type[_FactT]) -> _FactT | None:
    return None if entry is None else _of(entry, kind)
