"""StatefulAgentLoop: the verbs. Each decides with a pure plan what a run starts with; the engine does the rest."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Self

import msgspec

from power_loop.decisions.definitions import OnDefinitionChange
from power_loop.decisions.endings import abort_answers
from power_loop.decisions.history import said_by, unfolded
from power_loop.decisions.state import State
from power_loop.decisions.verbs import OnPending, plan_resume
from power_loop.engine.cancellation import CancelSource
from power_loop.engine.journal import Journal
from power_loop.face.care import StoreCare
from power_loop.face.config import (
    DEFAULT_DB_PATH,
    AgentLoopConfig,
    OnBusy,
    SessionInfo,
    StatefulResult,
    UsageReport,
)
from power_loop.face.driver import Driver, to_registry, to_service
from power_loop.face.inputs import Input, checked_id, checked_metadata
from power_loop.face.kernel_thread import sync_twin
from power_loop.face.observers import MessageSink
from power_loop.face.reports import conversation, info_of, pending_of, usage_of
from power_loop.face.seats import SEATS
from power_loop.face.watch import AgentStream, watch_journal
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.entries import Fact
from power_loop.facts.events import AgentEvent
from power_loop.ports.bus import AgentEventBus
from power_loop.ports.hooks import AgentHooks
from power_loop.ports.llm import LLMService
from power_loop.ports.memory import MemoryProvider
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.store import SessionStore
from power_loop.ports.todo import TodoItem
from power_loop.stores import open_store


class StatefulAgentLoop(StoreCare):
    """Drives durable sessions: newest input and session id in, result out.

    Args:
        llm: A model service, or ``provider:model`` such as ``openai:gpt-5-mini`` or ``local``.
        tools: Functions made with ``@tool``, plain functions, or a ToolRegistry (also as ``tool_registry``).
        db_path: The SQLite file; ``:memory:`` keeps sessions in this process only.
        store: A store of your own instead of ``db_path``.
        config: Settings; see AgentLoopConfig.
        hooks: Host code at named points.
        event_bus: Who hears of events.
        sink: Callbacks per committed message.
        memory: What is known from other sessions; the same as ``AgentLoopConfig.memory``.

    Constructing does no I/O. Raises ConfigError for settings that cannot work.
    """

    def __init__(
        self,
        *,
        llm: LLMService | str,
        tools: Iterable[Any] | ToolRegistry = (),
        db_path: str = DEFAULT_DB_PATH,
        store: SessionStore | None = None,
        config: AgentLoopConfig | None = None,
        tool_registry: ToolRegistry | None = None,
        hooks: AgentHooks | None = None,
        event_bus: AgentEventBus | None = None,
        sink: MessageSink | None = None,
        memory: MemoryProvider | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.llm = to_service(llm)
        self.store = store if store is not None else open_store(db_path)
        self.config = config or AgentLoopConfig()
        if memory is not None:
            self.config = msgspec.structs.replace(self.config, memory=memory)
        self.tool_registry = to_registry(tools, tool_registry)
        self.hooks = hooks or AgentHooks()
        self.event_bus = event_bus or AgentEventBus()
        self._owns_llm = isinstance(llm, str)
        self._owns_store = store is None
        self._clock = clock
        self._driver = Driver(
            self.llm, self.store, self.config, self.tool_registry, self.hooks, self.event_bus, sink, clock
        )

    # -- verbs that drive

    async def new_session(self, session_id: str | None = None, *, metadata: Mapping[str, Any] | None = None) -> str:
        """Create an empty session and return its id. Raises SessionExistsError, InvalidInputError."""
        identity = checked_id(session_id) if session_id is not None else None
        return await self._driver.create(identity, checked_metadata(metadata))

    async def send(
        self,
        user_input: Input,
        session_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        on_pending: OnPending = "raise",
        on_busy: OnBusy | None = None,
        stop_event: CancelSource = None,
        on_definition_change: OnDefinitionChange | None = None,
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> StatefulResult:
        """Add newest input and drive the session until it is answered.

        Args:
            user_input: Text, an OpenAI-style message, an AgentMessage, or several of them.
            session_id: The session to continue; None creates one.
            metadata: Kept with a session that is created here.
            on_pending: What to do about tool calls that a dead run left open: raise, resume or abort them.
            on_busy: What to do when somebody drives the session: by default wait inside this process and raise
                SessionBusy across processes.
            stop_event: A CancellationToken, an event or a callable that stops the run.
            on_definition_change: adopt, pin or ask, for this verb; None for what the configuration says.
            output_type: What the answer must be: a pydantic model, a dataclass, a TypedDict or another type that
                pydantic takes, a JSON Schema as a dict, or a StructuredOutputSpec. ``result.output`` is its instance;
                where the model does not manage, the run ends with the error ``structured_output_invalid``.

        Raises: SessionNotFoundError, SessionPendingError, SessionBusy, DefinitionChangedError, InvalidInputError,
            ConfigError, StoreError.
        """
        return await self._driver.send(
            user_input, session_id, metadata, on_pending, on_busy, stop_event, None, on_definition_change, output_type
        )

    def stream(
        self,
        user_input: Input,
        session_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        on_pending: OnPending = "raise",
        on_busy: OnBusy | None = None,
        stop_event: CancelSource = None,
        on_definition_change: OnDefinitionChange | None = None,
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> AgentStream:
        """Send, and iterate over typed events while it runs. Leaving the iteration early cancels the run."""
        return AgentStream(
            lambda listener: self._driver.send(
                user_input,
                session_id,
                metadata,
                on_pending,
                on_busy,
                stop_event,
                listener,
                on_definition_change,
                output_type,
            )
        )

    async def resume(
        self,
        session_id: str,
        *,
        force: bool = False,
        on_busy: OnBusy | None = None,
        stop_event: CancelSource = None,
        on_definition_change: OnDefinitionChange | None = None,
        output_type: Any = None,  # noqa: ANN401 -- whatever pydantic takes
    ) -> StatefulResult:
        """Continue a session exactly where its last run stopped; a session with nothing to do returns its last result.

        ``force`` tries again after a crash loop; ``on_definition_change`` as in :meth:`send`. What output is wanted
        stands in the journal; ``output_type`` is the type that ``result.output`` is made an instance of, else it is
        plain JSON data. Raises SessionNotFoundError, SessionBusy, DefinitionChangedError, StoreError, and
        StructuredOutputError where recorded output does not fit ``output_type``.
        """
        driver = self._driver
        await driver.describe()
        services = driver.services(None, on_definition_change, output_type)

        def plan(state: State) -> Sequence[Fact]:
            return plan_resume(state, driver.started(services, force=force), services.runnable())

        return await driver.drive(session_id, services, plan, on_busy, stop_event)

    async def abort_pending(self, session_id: str, *, reason: str = "aborted", on_busy: OnBusy | None = None) -> int:
        """Answer every open call with ``<aborted: reason>``; returns how many there were."""
        count = 0

        def plan(state: State) -> Sequence[Fact]:
            nonlocal count
            answers = abort_answers(state, reason)
            count = len(answers)
            return answers

        await self._driver.describe()
        async with self._driver.seat(session_id, on_busy) as snapshot:
            journal = Journal(session_id, self._driver.services(), plan, snapshot, hears=False)
            await journal.open()
            await journal.commit_and_release()
            self._driver.keep(session_id, journal)
        return count

    async def cancel(self, session_id: str, *, reason: str = "cancelled") -> bool:
        """Stop this process's run of a session; False where there is none.

        The wish is durable when this returns: no new model call or tool starts after it. The run ends soon after.
        """
        run = SEATS.running(self.store, session_id)
        if run is None:
            return False
        if run.journal.claimed:  # before, nothing is durable yet that a durable wish could speak of
            now = self._clock.now().wall_ms
            await self.store.enqueue(session_id, "cancel", reason, run=run.journal.run, now=now)
        run.cancel(reason)
        return True

    async def close_session(self, session_id: str, *, cascade: bool = True, on_busy: OnBusy | None = None) -> int:
        """Delete a session and, with ``cascade``, its children; returns how many. 0 for an unknown one.

        Memory first takes in what it was told of the session, for which it gets ten seconds.
        """
        await self._driver.remembered(session_id)
        async with self._driver.seat(session_id, on_busy):
            self._driver.forget(session_id)
            return await self.store.delete(session_id, cascade=cascade, now=self._clock.now())

    # -- verbs that look

    async def get_messages(
        self, session_id: str, *, include_compacted: bool = False, with_seq: bool = False
    ) -> list[dict[str, Any]]:
        """Return the model's view as OpenAI-style dicts.

        ``include_compacted``: also what compactions have folded away, each with ``"compacted": True``, in front of
        the summary that took its place. ``with_seq``: each with ``"seq"``, the number of its entry.
        """
        if not include_compacted:
            return conversation(said_by(await self._driver.look(session_id)), with_seq=with_seq)
        record, _, entries = await self._driver.look_back(session_id)
        return conversation(unfolded(entries, pruned=record.base_seq > 0), with_seq=with_seq)

    async def get_pending(self, session_id: str) -> dict[str, Any] | None:
        """Return the open tool calls, or None."""
        return pending_of(await self._driver.look(session_id))

    async def get_todos(self, session_id: str) -> list[TodoItem]:
        """Return the todo list, as the last successful call of the ``todo`` tool left it."""
        state = await self._driver.look(session_id)
        return list(state.told.todos.items)

    async def get_usage(self, session_id: str) -> UsageReport:
        """Return tokens and cost of a session, in total and by reply."""
        _, state, entries = await self._driver.look_back(session_id)
        return usage_of(state, entries)

    async def list_sessions(self, *, limit: int = 100, before: str | None = None) -> list[SessionInfo]:
        """Return sessions, newest first, with what each waits for; ``before`` is the last id of the previous page."""
        records = await self.store.list(limit=limit, before=before)
        return [await info_of(self.store, record, self._clock.now()) for record in records]

    def events(self, session_id: str, *, after: int = 0, follow: bool = False) -> AsyncIterator[AgentEvent]:
        """Iterate over a session's durable events behind ``after``, from any process, without owning it."""
        return watch_journal(self.store, session_id, after=after, follow=follow)

    async def close(self) -> None:
        """Close what this loop opened itself: its store and its model service.

        Memory first takes in the runs that have ended, for which it gets ten seconds.
        """
        await self._driver.remembered()
        if self._owns_llm:
            await self.llm.close()
        if self._owns_store:
            await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    new_session_sync = sync_twin(new_session)
    send_sync = sync_twin(send)
    resume_sync = sync_twin(resume)
    abort_pending_sync = sync_twin(abort_pending)
    cancel_sync = sync_twin(cancel)
    close_session_sync = sync_twin(close_session)
    get_messages_sync = sync_twin(get_messages)
    get_pending_sync = sync_twin(get_pending)
    get_todos_sync = sync_twin(get_todos)
    get_usage_sync = sync_twin(get_usage)
    list_sessions_sync = sync_twin(list_sessions)
    close_sync = sync_twin(close)
