"""The step that calls the model: record that it is called, call it, stage what came back."""

import re
from collections.abc import Sequence

import msgspec

from power_loop.decisions.outputs import last_words
from power_loop.decisions.state import WRAP_UP, State
from power_loop.decisions.steps import CallModel, Compact
from power_loop.decisions.todos import reminder_due, reminder_note
from power_loop.engine.ask_output import asked, output_notes, stage_own
from power_loop.engine.budget import reservation
from power_loop.engine.interrupt import Interrupted
from power_loop.engine.retry import failed_attempt
from power_loop.engine.run import Run
from power_loop.facts.entries import BudgetReached, Fact, ModelCalled, ModelFailed, ModelReplied, Note, RecordedCall
from power_loop.facts.events import (
    AgentEvent,
    AgentEventType,
    BaseEventPayload,
    StreamDeltaPayload,
    StreamToolDeltaPayload,
)
from power_loop.facts.ids import call_id
from power_loop.facts.jsontext import clean, clean_value, parse_object
from power_loop.facts.messages import clean_content
from power_loop.ports.llm import (
    LLMDelta,
    LLMRequest,
    LLMResponse,
    OnDelta,
    ReasoningDelta,
    ReplyCall,
    TextDelta,
    ignore_delta,
)
from power_loop.ports.todo import TODO_TOOL

WRAP_UP_TEXT = (
    "The limit of rounds for this task is reached and no further tool can be used. Sum up what was done, what was "
    "found and what is still open."
)
_WIRE_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def due_notes(step: CallModel, run: Run) -> list[Note]:
    """Return the notes that belong before this call and are not in the journal yet."""
    state, notes = run.state, output_notes(run)
    if step.wrap_up and not state.wrap_up:
        notes.append(Note(WRAP_UP, WRAP_UP_TEXT if state.output.wanted is None else last_words(state.output)))
    todos = state.told.todos
    if not step.wrap_up and reminder_due(todos) and TODO_TOOL in run.limits.runnable:
        notes.append(reminder_note(todos))
    return notes


def prepare(step: CallModel, run: Run) -> LLMRequest:
    """Stage what the request needs said first, and build it from the journal."""
    for note in due_notes(step, run):
        run.stage(note)
    services = run.services
    own = services.defined(run.state.told.definition)
    definition, response_format = asked(run, own)
    stage_own(run, own, definition)
    if run.state.definition != definition.digest:
        run.stage(definition.fact())
    return LLMRequest(
        messages=tuple(run.state.messages),
        system_prompt=definition.system_prompt,
        tools=definition.tools,
        tool_choice="none" if step.wrap_up else "auto",
        max_tokens=services.max_tokens,
        temperature=services.temperature,
        blobs=services.store.read_blob,
        response_format=response_format,
    )


async def pause(step: CallModel | Compact, run: Run) -> bool:
    """Make the pause before a retry. Returns False when a cancel cut it short."""
    if step.delay > 0:
        await run.flush()
        try:
            with run.interrupt:
                await run.services.clock.sleep(step.delay)
        except Interrupted:
            return False
    return True


async def call_model(step: CallModel, run: Run) -> None:
    """Make the pause that is due, build the request from the journal, and call."""
    if await pause(step, run):
        await make_call(step, run, prepare(step, run))


async def make_call(step: CallModel, run: Run, request: LLMRequest, edited: Sequence[str] = ()) -> None:
    """Record the call, make it, and stage the reply or the failure; the next commit writes it."""
    limits, state = run.limits.recorded, run.state
    held = reservation(run, state.size.tokens(state.messages), request.max_tokens) if run.reserves else None
    if isinstance(held, BudgetReached):
        await run.commit(held)
        return
    called = ModelCalled(step.attempt, wrap_up=step.wrap_up, max_rounds=limits.max_rounds, edited=tuple(edited))
    if held is not None:
        called = msgspec.structs.replace(called, reserved=held.cost, reserved_tokens=held.tokens)
        request = msgspec.structs.replace(request, max_tokens=held.max_tokens)
    await run.commit(called)
    run.stage(await _attempt(step, run, request))


async def _attempt(step: CallModel, run: Run, request: LLMRequest) -> Fact:
    try:
        with run.interrupt, run.deadline.within(run.call_time_left()):
            response = await run.services.llm.complete(request, on_delta=_teller(step, run))
        fact = replied(response, run.state, run.limits.recorded.max_rounds)
    except Interrupted:
        return ModelFailed(step.attempt, "cancelled", "The call was interrupted by a cancel.")
    except Exception as error:  # noqa: BLE001 -- a host's service may raise anything; each failure is a recorded fact
        if run.deadline.expired:
            timeout = run.call_timed_out(step.attempt)
            return ModelFailed(step.attempt, timeout.code, str(timeout), type(timeout).__name__)
        return failed_attempt(error, step.attempt, run.services.retry, run.call_time_left())
    run.call_settled()
    return fact


def _teller(step: CallModel, run: Run) -> OnDelta:
    """Return the listener that turns deltas into transient events: no work at all where nobody listens."""
    listeners = [listener.on_event for listener in run.services.listeners if listener.active]
    if not listeners:
        return ignore_delta
    session, number, attempt, rounds = run.session_id, run.journal.run, step.attempt, run.state.rounds

    def tell(delta: LLMDelta) -> None:
        kind = type(delta)
        payload: BaseEventPayload
        if kind is TextDelta:
            payload = StreamDeltaPayload("main", delta.text)  # type: ignore[union-attr]
            name = AgentEventType.STREAM_DELTA
        elif kind is ReasoningDelta:
            payload = StreamDeltaPayload("main", delta.text, is_think=True)  # type: ignore[union-attr]
            name = AgentEventType.STREAM_THINK_DELTA
        else:
            payload = StreamToolDeltaPayload("main", delta.index, delta.name, delta.arguments)  # type: ignore[union-attr]
            name = AgentEventType.STREAM_TOOL_DELTA
        event = AgentEvent(name, payload, session, rounds, None, number, attempt)
        for listener in listeners:
            listener(event)

    return tell


def replied(response: LLMResponse, state: State, max_rounds: int, *, provided: bool = False) -> ModelReplied:
    """Turn a response into the fact that records it: text cleaned, arguments parsed, wire ids fixed for good."""
    content, dirty = clean_content(response.content)
    return ModelReplied(
        content=content,
        calls=record_calls(response.tool_calls, state, state.head_seq + 1),
        finish_reason=response.finish_reason,
        usage=response.usage,
        cost=response.cost,
        model=response.model,
        provided=provided,
        max_rounds=max_rounds,
        payload=response.payload,
        cleaned=dirty,
    )


def record_calls(
    calls: Sequence[ReplyCall], state: State, seq: int, reusable: frozenset[str] = frozenset()
) -> tuple[RecordedCall, ...]:
    """Record calls of the reply at ``seq``: the provider's id where it is usable and new, else ours.

    ``reusable`` are ids that may stand again because the reply that had them is being replaced.
    """
    here: set[str] = set()
    recorded: list[RecordedCall] = []
    for index, call in enumerate(calls):
        wire_id = call.id if _WIRE_ID.fullmatch(call.id) else call_id(seq, index)
        if wire_id in here or (wire_id in state.wire_ids and wire_id not in reusable):
            wire_id = call_id(seq, index)
            while wire_id in here or wire_id in state.wire_ids:
                wire_id += "_"
        here.add(wire_id)
        recorded.append(_record(call, wire_id))
    return tuple(recorded)


def _record(call: ReplyCall, wire_id: str) -> RecordedCall:
    name = call.name if _TOOL_NAME.fullmatch(call.name) else re.sub(r"[^A-Za-z0-9_-]", "_", call.name)[:64] or "unnamed"
    try:
        arguments, _ = clean_value(parse_object(call.arguments))
    except ValueError as error:
        return RecordedCall(wire_id, name, raw=clean(call.arguments)[0], error=clean(str(error))[0])
    return RecordedCall(wire_id, name, arguments)
