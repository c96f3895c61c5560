"""Driver: what the verbs share. Takes the session's seat, runs the engine, keeps states at hand."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from power_loop.decisions.state import State
from power_loop.decisions.verbs import OnPending, plan_send
from power_loop.engine.cancellation import CancellationToken, CancelSource
from power_loop.engine.execute import execute
from power_loop.engine.journal import Journal, Plan, Snapshot, load_state
from power_loop.engine.run import Run
from power_loop.engine.services import Definition, Listener, Services
from power_loop.face.config import AgentLoopConfig, OnBusy, StatefulResult
from power_loop.face.inputs import Input, checked_metadata, input_fact, to_inputs
from power_loop.face.observers import BusPublisher, MessageSink, SinkObserver
from power_loop.face.reports import result_of
from power_loop.face.seats import SEATS
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.clock import Clock
from power_loop.facts.entries import Fact, RunStarted, SessionOpened
from power_loop.facts.errors import ConfigError, HookError, SessionBusy
from power_loop.facts.ids import new_id
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, to_message
from power_loop.facts.structured import RecordedOutput
from power_loop.llms.resolve import service_from_string
from power_loop.ports.bus import AgentEventBus
from power_loop.ports.hooks import AgentHooks, HookPoint, MessageAppendCtx
from power_loop.ports.llm import LLMService
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.store import NewSession, SessionStore
from power_loop.ports.structured import OutputForm

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
        self._store = store
        self._config = config
        self._registry = registry
        self._hooks = hooks
        self._bus = bus
        self._clock = clock
        self._listeners: tuple[Listener, ...] = (BusPublisher(bus),)
        if sink is not None:
            self._listeners = (*self._listeners, SinkObserver(sink))
        self._definition: tuple[object, Definition] | None = None
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()

    async def create(self, session_id: str | None, metadata: Mapping[str, Any]) -> str:
        """Create a session with its first entry."""
        identity = session_id or new_id("sess")
        now = self._clock.now().wall_ms
        config = {"max_rounds": self._config.max_rounds, "max_tokens": self._config.max_tokens}
        opened = SessionOpened(config, dict(metadata))
        first = seal_all([opened], head_seq=0, head_digest=base_digest(identity), run=0, round_=0, time=now)
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
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> StatefulResult:
        """Add input and drive. Everything that can be wrong with the arguments is found before anything is written."""
        if on_pending not in {"raise", "resume", "abort"}:
            raise ConfigError(f"on_pending must be 'raise', 'resume' or 'abort', got {on_pending!r}.")
        messages = to_inputs(user_input)
        token = CancellationToken.from_any(stop_event)
        services = self.services(listener, output_type)
        identity = session_id or await self.create(None, checked_metadata(metadata))
        inputs = [input_fact(await self._appended(message, identity)) for message in messages]
        if services.output is not None:
            inputs[-1] = msgspec.structs.replace(inputs[-1], output=RecordedOutput.of(services.output.spec))

        def plan(state: State) -> Sequence[Fact]:
            return plan_send(identity, state, inputs, self.started(services), on_pending)

        return await self.drive(identity, services, plan, on_busy, token)

    async def drive(
        self, session_id: str, services: Services, plan: Plan, on_busy: OnBusy | None, stop_event: CancelSource
    ) -> StatefulResult:
        """Run the engine on a session, from its seat."""
        token = CancellationToken.from_any(stop_event)
        pause, slowest = _BUSY_LOOK
        while True:
            try:
                async with self.seat(session_id, on_busy) as snapshot:
                    run = Run(session_id, services, plan, snapshot, token)
                    SEATS.seat_run(self._store, session_id, run)
                    try:
                        state = await execute(run)
                    finally:
                        self.keep(session_id, run.journal)
                    result = result_of(session_id, state, services.output)
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

    async def look(self, session_id: str) -> tuple[State, Sequence[Entry]]:
        """Return what a session's journal says now, as durable."""
        record, entries = await self._store.load(session_id)
        return load_state(record, entries), entries

    def started(self, services: Services, *, force: bool = False) -> RunStarted:
        """Return the fact that opens a run."""
        return RunStarted(services.limits, self._store.owner, services.definition.digest, force)

    def services(self, listener: Listener | None = None, output_type: Any = None) -> Services:  # noqa: ANN401 -- whatever pydantic takes
        """Return what a run works with, as of now. Raises ConfigError for an output type that cannot be asked for."""
        retry = self._config.retries(self._llm)
        return Services(
            store=self._store,
            llm=self._llm,
            registry=self._registry,
            definition=self._defined(),
            hooks=self._hooks,
            retry=retry,
            limits=self._config.limits(retry),
            temperature=self._config.temperature,
            max_tokens=self._config.max_tokens,
            clock=self._clock,
            listeners=self._listeners if listener is None else (*self._listeners, listener),
            output=None
            if output_type is None
            else OutputForm.of(output_type, max_repairs=self._config.max_output_repairs),
        )

    def _defined(self) -> Definition:
        tools = tuple(self._registry.definitions())
        key = (self._config.system_prompt, tools)
        if self._definition is None or self._definition[0] != key:
            self._definition = (key, Definition.of(self._config.system_prompt, tools))
        return self._definition[1]

    async def _appended(self, message: AgentMessage, session_id: str) -> AgentMessage:
        if not self._hooks.has(HookPoint.MESSAGE_APPEND):
            return message
        ctx = await self._hooks.run(MessageAppendCtx(session_id=session_id, message=message))
        try:
            return to_inputs(to_message(ctx.message))[0]
        except ValueError as error:
            raise HookError(f"A message.append hook left an input that cannot be taken: {error}") from error
