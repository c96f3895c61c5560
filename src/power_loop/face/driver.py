"""Driver: what the verbs share. Takes the session's seat, runs the engine, keeps states at hand."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from power_loop.content import Intake
from power_loop.decisions.definitions import OnDefinitionChange, asking
from power_loop.decisions.state import State
from power_loop.decisions.verbs import OnPending, plan_send
from power_loop.engine.cancellation import CancellationToken, CancelSource
from power_loop.engine.execute import execute
from power_loop.engine.journal import Journal, Plan, Snapshot, load_state
from power_loop.engine.run import Run
from power_loop.engine.services import Definition, Listener, Services
from power_loop.engine.threads import run_in_thread
from power_loop.face.config import AgentLoopConfig, OnBusy, StatefulResult, checked_policy
from power_loop.face.environment import environment_note
from power_loop.face.inputs import Input, checked_metadata, input_fact, taken, to_drafts
from power_loop.face.observers import BusPublisher, MessageSink, SinkObserver
from power_loop.face.remembering import Remembering
from power_loop.face.reports import result_of
from power_loop.face.seats import SEATS
from power_loop.facts import jsontext
from power_loop.facts.blobs import blobs_in
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.clock import Clock
from power_loop.facts.entries import Fact, Note, RunStarted, SessionOpened
from power_loop.facts.errors import ConfigError, HookError, SessionBusy
from power_loop.facts.ids import new_id
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, to_message
from power_loop.facts.structured import RecordedOutput
from power_loop.llms.resolve import service_from_string
from power_loop.ports.blobs import NO_BLOBS
from power_loop.ports.bus import AgentEventBus
from power_loop.ports.hooks import AgentHooks, HookPoint, MessageAppendCtx
from power_loop.ports.llm import DescribedLLM, LLMService
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.store import NewSession, SessionRecord, SessionStore
from power_loop.ports.structured import OutputForm
from power_loop.prompt.builder import SystemPromptBuilder
from power_loop.prompt.environment import collect_environment

_SNAPSHOTS = 1024
"""Sessions whose state a loop keeps at hand."""
_BUSY_LOOK = (0.02, 0.5)
"""Seconds between looks at a session that another process drives: first, and at most."""


def to_service(llm: LLMService | str) -> LLMService:
    """Return the model service that a host named or made. Raises ConfigError."""
    if isinstance(llm, str):
        return service_from_string(llm)
    if not isinstance(llm, LLMService):
        raise ConfigError(
            f"llm must be an LLMService (complete, close) or 'provider:model' text, got {type(llm).__name__}."
        )
    return llm


def to_registry(tools: Iterable[Any] | ToolRegistry, registry: ToolRegistry | None) -> ToolRegistry:
    """Return the registry of a loop. Raises ConfigError when tools are given twice."""
    if isinstance(tools, ToolRegistry):
        if registry is not None:
            raise ConfigError("Pass tools= or tool_registry=, not both registries.")
        return tools
    registry = registry if registry is not None else ToolRegistry()
    for item in tools:
        registry.add(item)
    return registry


class _Seated:
    """The seat at a session, from taking to leaving it."""

    def __init__(self, store: SessionStore, session_id: str, at_hand: dict[str, Snapshot], *, wait: bool) -> None:
        self._store = store
        self._session_id = session_id
        self._at_hand = at_hand
        self._wait = wait

    async def __aenter__(self) -> Snapshot | None:
        await SEATS.take(self._store, self._session_id, wait=self._wait)
        return self._at_hand.pop(self._session_id, None)

    async def __aexit__(self, *_: object) -> None:
        SEATS.leave(self._store, self._session_id)


class Driver:
    """Drives the sessions of one loop."""

    def __init__(
        self,
        llm: LLMService,
        store: SessionStore,
        config: AgentLoopConfig,
        registry: ToolRegistry,
        hooks: AgentHooks,
        bus: AgentEventBus,
        sink: MessageSink | None,
        clock: Clock,
    ) -> None:
        self._llm = llm
        self._described = llm if isinstance(llm, DescribedLLM) else None
        self._told = False
        self._store = store
        self._config = config
        self._registry = registry
        self._hooks = hooks
        self._bus = bus
        self._clock = clock
        self._listeners: tuple[Listener, ...] = (BusPublisher(bus),)
        if sink is not None:
            self._listeners = (*self._listeners, SinkObserver(sink))
        self._intake = Intake(config.content_policy, self._needs_text, run_in_thread)
        self._remembering = Remembering(store, self._listeners)
        self._definition: tuple[object, Definition] | None = None
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()

    async def create(self, session_id: str | None, metadata: Mapping[str, Any]) -> str:
        """Create a session with its first entry."""
        identity = session_id or new_id("sess")
        now = self._clock.now().wall_ms
        config = {"max_rounds": self._config.max_rounds, "max_tokens": self._config.max_tokens}
        facts: list[Fact] = [SessionOpened(config, dict(metadata))]
        if self._config.environment:
            facts.append(await self._environment(identity))
        first = seal_all(facts, head_seq=0, head_digest=base_digest(identity), run=0, round_=0, time=now)
        await self._store.create(NewSession(identity, now, first, config=config, metadata=dict(metadata)))
        return identity

    async def send(
        self,
        user_input: Input,
        session_id: str | None,
        metadata: Mapping[str, Any] | None,
        on_pending: OnPending,
        on_busy: OnBusy | None,
        stop_event: CancelSource,
        listener: Listener | None = None,
        on_definition_change: OnDefinitionChange | None = None,
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> StatefulResult:
        """Add input and drive. Everything that can be wrong with the arguments is found before anything is written."""
        if on_pending not in {"raise", "resume", "abort"}:
            raise ConfigError(f"on_pending must be 'raise', 'resume' or 'abort', got {on_pending!r}.")
        await self.describe()
        messages, blobs = await taken(to_drafts(user_input), self._intake, self._store.read_blob)
        token = CancellationToken.from_any(stop_event)
        services = self.services(listener, on_definition_change, output_type)
        identity = session_id or await self.create(None, checked_metadata(metadata))
        inputs = [input_fact(await self._appended(message, identity, blobs)) for message in messages]
        if services.output is not None:
            inputs[-1] = msgspec.structs.replace(inputs[-1], output=RecordedOutput.of(services.output.spec))

        def plan(state: State) -> Sequence[Fact]:
            return plan_send(identity, state, inputs, self.started(services), on_pending)

        return await self.drive(identity, services, plan, on_busy, token, blobs)

    async def drive(
        self,
        session_id: str,
        services: Services,
        plan: Plan,
        on_busy: OnBusy | None,
        stop_event: CancelSource,
        blobs: Mapping[str, bytes] = NO_BLOBS,
    ) -> StatefulResult:
        """Run the engine on a session, from its seat. ``blobs`` are what the planned facts refer to."""
        token = CancellationToken.from_any(stop_event)
        pause, slowest = _BUSY_LOOK
        if services.on_definition_change == "ask":
            plan = asking(session_id, plan, services.definition.fact())
        while True:
            try:
                async with self.seat(session_id, on_busy) as snapshot:
                    run = Run(session_id, services, plan, snapshot, token, blobs)
                    SEATS.seat_run(self._store, session_id, run)
                    try:
                        state = await execute(run)
                    finally:
                        self.keep(session_id, run.journal)
                    result = result_of(session_id, state, services.output)
                    if services.memory is not None and run.journal.claimed:
                        self._remembering.soon(services.memory.provider, session_id, state)
            except SessionBusy:
                if on_busy != "wait":
                    raise
            else:
                await self._bus.drain()
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 2, slowest)

    def seat(self, session_id: str, on_busy: OnBusy | None) -> "_Seated":
        """Sit down at a session of this process; gives the state at hand, if any."""
        if on_busy not in {None, "raise", "wait"}:
            raise ConfigError(f"on_busy must be 'raise' or 'wait', got {on_busy!r}.")
        return _Seated(self._store, session_id, self._snapshots, wait=on_busy != "raise")

    def keep(self, session_id: str, journal: Journal) -> None:
        """Keep a session's state for its next verb."""
        snapshot = journal.snapshot
        if snapshot is None:
            return
        self._snapshots[session_id] = snapshot
        if len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Drop a session's state."""
        self._snapshots.pop(session_id, None)

    async def record(self, session_id: str, plan: Plan, looked_at: SessionRecord) -> None:
        """Write what is planned on the journal as it was looked at; from its seat. Raises SessionBusy if it moved."""

        def planned(state: State) -> Sequence[Fact]:
            if state.head_digest != looked_at.head_digest:
                raise SessionBusy(session_id, owner="another driver, which wrote meanwhile", until=0)
            return plan(state)

        await self.describe()
        journal = Journal(session_id, self.services(), planned, None, hears=False)
        await journal.open()
        await journal.commit_and_release()

    async def look(self, session_id: str) -> State:
        """Return what a session's journal says now, as durable."""
        record, entries = await self._store.load(session_id)
        return load_state(record, entries)

    async def look_back(self, session_id: str) -> tuple[SessionRecord, State, Sequence[Entry]]:
        """Return a session's row, what its journal says now, and all that the journal still has."""
        record, entries = await self._store.load(session_id, whole=True)
        return record, load_state(record, entries), entries

    def started(self, services: Services, *, force: bool = False) -> RunStarted:
        """Return the fact that opens a run."""
        return RunStarted(services.limits, self._store.owner, services.definition.digest, force)

    async def remembered(self, session_id: str | None = None) -> None:
        """Wait, within bounds, until memory has taken in the runs that ended; of one session, or of all."""
        await self._remembering.drain(session_id)

    async def describe(self) -> None:
        """Let the model service tell what it knows of its model; the first time in a thread, since it may load data.

        Raises what it raises; then the next verb asks again.
        """
        if self._described is not None and not self._told:
            await run_in_thread(self._described.describe)
            self._told = True

    def services(
        self,
        listener: Listener | None = None,
        on_definition_change: OnDefinitionChange | None = None,
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> Services:
        """Return what a run works with, as of now. Raises ConfigError for an output type that cannot be asked for."""
        config = self._config
        retry, model = config.retries(self._llm), config.model(self._described)
        return Services(
            store=self._store,
            llm=self._llm,
            registry=self._registry,
            definition=self._defined(),
            hooks=self._hooks,
            retry=retry,
            limits=config.limits(retry, model),
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            clock=self._clock,
            model=model,
            compactor=config.compactor,
            memory=config.memory_access,
            on_definition_change=checked_policy(on_definition_change or config.on_definition_change),
            listeners=self._listeners if listener is None else (*self._listeners, listener),
            intake=self._intake,
            output=None
            if output_type is None
            else OutputForm.of(output_type, max_repairs=self._config.max_output_repairs),
        )

    def _needs_text(self) -> bool:
        """Tell whether the model is known to take no PDF files."""
        info = None if self._described is None else self._described.describe()
        return info is not None and info.inputs_known and "pdf" not in info.inputs

    def _defined(self) -> Definition:
        tools = tuple(self._registry.definitions())
        key = (self._config.system_prompt, tools)
        if self._definition is None or self._definition[0] != key:
            prompt = self._config.system_prompt
            text = prompt.render(tools) if isinstance(prompt, SystemPromptBuilder) else prompt
            self._definition = (key, Definition.of(text, tools))
        return self._definition[1]

    async def _environment(self, session_id: str) -> Note:
        """Return the note that tells a new session where it works."""
        asked, prompt = self._config.environment, self._config.system_prompt
        folder = prompt.workspace_dir if isinstance(prompt, SystemPromptBuilder) else None
        collect = asked if callable(asked) else partial(collect_environment, folder, clock=self._clock)
        return await environment_note(collect, partial(self._appended, session_id=session_id, blobs={}))

    async def _appended(self, message: AgentMessage, session_id: str, blobs: dict[str, bytes]) -> AgentMessage:
        """Run message.append on an input; what it attaches is read, what it takes away leaves ``blobs``."""
        if not self._hooks.has(HookPoint.MESSAGE_APPEND):
            return message
        ctx = await self._hooks.run(MessageAppendCtx(session_id=session_id, message=message))
        try:
            drafts = to_drafts(to_message(ctx.message), known=blobs)
            messages, read = await taken(drafts, self._intake, self._store.read_blob)
        except ValueError as error:
            raise HookError(f"A message.append hook left an input that cannot be taken: {error}") from error
        blobs |= read
        if blobs:
            gone = blobs_in(jsontext.encode(message)) - blobs_in(jsontext.encode(messages[0]))
            for address in gone:
                blobs.pop(address, None)
        return messages[0]
