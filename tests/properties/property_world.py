"""A small world for property tests: one provider, one store, effects on paper, and processes that may die.

Everything that is wrong is written down in ``World.wrong`` at once, since models and tools may raise whatever they
like without the kernel minding.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from property_hooks import random_hooks

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    LLMAuthError,
    LLMOverloaded,
    LLMRateLimited,
    LLMRetryPolicy,
    StatefulAgentLoop,
    ToolContext,
    ToolDefinition,
    ToolRegistry,
    tool,
)
from power_loop.facts.entries import (
    DefinitionChanged,
    InputReceived,
    ModelCalled,
    ModelReplied,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import StoreUnavailable
from power_loop.facts.journal import Entry
from power_loop.facts.jsontext import encode
from power_loop.facts.messages import MessageRole, text_of
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ReplyCall, ignore_delta
from power_loop.ports.store import SessionStore
from power_loop.testing import reply
from power_loop.testing.clock import FakeClock
from power_loop.testing.crashing import CommitPoint, CrashingStore
from power_loop.testing.validator import ProtocolValidator, ProtocolViolation

IN_DRIVE: ContextVar[int] = ContextVar("property_drive")
FAILURES = {
    "busy": lambda: LLMOverloaded("busy"),
    "slow": lambda: LLMRateLimited("slow down", retry_after=1),
    "key": lambda: LLMAuthError("wrong key"),
    "bug": lambda: ValueError("a bug in the service"),
}


@dataclass
class Trouble:
    """Something that happens once, at the ``number``-th moment of its ``place`` within one verb."""

    kind: str
    place: str
    number: int
    count: int = 0

    def strikes(self, place: str) -> bool:
        """Count a moment; tell whether it is the one."""
        if place != self.place:
            return False
        self.count += 1
        return self.count == self.number


@dataclass
class Drive:
    """One verb on its way: what the model will say to it, and what will happen to it."""

    script: list[Any]
    troubles: list[Trouble]
    process: "Process"
    session: str
    task: "asyncio.Task[Any] | None" = None
    cancelled: bool = False


class Process:
    """A loop object with a store connection of its own; ``die`` makes it one that has been killed."""

    def __init__(self, world: "World", number: int, settings: dict[str, Any]) -> None:
        self.world, self.dead = world, False
        self.store = ProcessStore(world, self, f"driver_{number}")
        self.hooked = settings["hooks"] is not None
        hooks = random_hooks(random.Random(settings["hooks"])) if self.hooked else AgentHooks()
        config = AgentLoopConfig(
            system_prompt=settings["system"],
            max_rounds=settings["rounds"],
            retry_policy=LLMRetryPolicy(max_attempts=2, backoff_initial=0.1, backoff_max=1),
            max_parallel_tools=settings["parallel"],
        )
        self.loop = StatefulAgentLoop(
            llm=world.provider,
            store=self.store,
            tool_registry=world.registry(settings["tools"]),
            config=config,
            hooks=hooks,
            clock=world.clock,
        )


class ProcessStore(CrashingStore):
    """The world's store as one process sees it. Behind its death nothing reaches the store any more."""

    def __init__(self, world: "World", process: Process, owner: str) -> None:
        super().__init__(world.store, self._on_commit)
        self._world, self._process, self._owner = world, process, owner

    @property
    def identity(self) -> str:
        return f"{self._world.store.identity}/{self._owner}"

    @property
    def owner(self) -> str:
        return self._owner

    async def _on_commit(self, point: CommitPoint) -> None:
        self._alive()
        if point.operation == "append":
            await self._world.happen(f"{point.moment} commit")
        self._alive()

    def _alive(self) -> None:
        if self._process.dead:
            raise StoreUnavailable("This process was killed.", path=self.path)

    async def load(self, session_id: str, *, whole: bool = False) -> Any:
        self._alive()
        return await super().load(session_id, whole=whole)

    async def renew(self, *args: Any, **kwargs: Any) -> Any:
        self._alive()
        return await super().renew(*args, **kwargs)


@dataclass
class World:
    """What all processes share."""

    store: SessionStore
    clock: FakeClock = field(default_factory=lambda: FakeClock(passes=True))
    wrong: list[str] = field(default_factory=list)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    once: set[tuple[str, str]] = field(default_factory=set)
    accepted: list[tuple[str, str]] = field(default_factory=list)
    drives: dict[int, Drive] = field(default_factory=dict)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.provider = Provider(self)

    def next(self) -> int:
        self.numbers += 1
        return self.numbers

    @property
    def drive(self) -> Drive:
        return self.drives[IN_DRIVE.get()]

    # -- troubles

    async def happen(self, place: str) -> None:
        """Let strike what is planned for this moment."""
        key = IN_DRIVE.get(None)
        if key is None or key not in self.drives:
            return
        drive = self.drives[key]
        for trouble in drive.troubles:
            if trouble.strikes(place):
                await getattr(self, f"_{trouble.kind}")(drive)

    async def _die(self, drive: Drive) -> None:
        drive.process.dead = True

    async def _cancel_task(self, drive: Drive) -> None:
        if drive.task is not None:
            drive.cancelled = True
            drive.task.cancel()
        await asyncio.sleep(0)

    async def _cancel_verb(self, drive: Drive) -> None:
        if not drive.process.dead:
            await drive.process.loop.cancel(drive.session, reason="a person said stop")

    async def _cancel_from_elsewhere(self, drive: Drive) -> None:
        record = await self.store.get(drive.session)
        await self.store.enqueue(drive.session, "cancel", "from elsewhere", run=record.epoch, now=1)

    async def _input(self, drive: Drive) -> None:
        await self.enqueue(drive.session)

    async def _wait(self, _drive: Drive) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def enqueue(self, session: str) -> None:
        """Leave an input in a session's inbox, as another process would."""
        text = f"inbox {self.next()}"
        await self.store.enqueue(session, "input", encode(InputReceived(text)), now=1)
        self.accepted.append((session, text))

    # -- tools

    def registry(self, names: frozenset[str]) -> ToolRegistry:
        """Return the named tools; ``elsewhere`` is offered by everyone and runs nowhere."""
        registry = ToolRegistry()
        for name, effect, exclusive in (
            ("look", "read", False), ("put", "idempotent", False), ("pay", "once", False), ("alone", "once", True),
        ):  # fmt: skip
            if name in names:
                registry.add(tool(name=name, effect=effect, exclusive=exclusive)(self._handler(name, effect)))
        registry.register(ToolDefinition("elsewhere", "Runs in another system."), None)
        return registry

    def _handler(self, name: str, effect: str) -> Callable[..., Any]:
        async def run(context: ToolContext, n: int) -> str:
            """Do something with a number."""
            await self._begin(context, name, effect)
            for _ in range(n):
                await asyncio.sleep(0)
            await self.happen("tool")
            if n == 3:
                raise RuntimeError("three is not possible")
            return f"{name} {n} done {self.next()}"

        return run

    async def _begin(self, context: ToolContext, name: str, effect: str) -> None:
        """A tool begins: its start must be durable, under the epoch that drives, and its result must not be there."""
        key = (context.session_id, context.idempotency_key)
        self.effects[key] += 1
        if effect == "once":
            self.once.add(key)
        record, entries = await self.store.load(context.session_id)
        facts = [(entry.run, entry.fact) for entry in entries]
        starts = [run for run, fact in facts if isinstance(fact, ToolStarted) and fact.call == context.call_id]
        if any(isinstance(fact, ToolFinished) and fact.call == context.call_id for _, fact in facts):
            self.wrong.append(f"P3: {name} {context.call_id} runs although its result is recorded")
        if not starts or starts[-1] != record.epoch:
            self.wrong.append(f"P4: {name} {context.call_id} runs, but no start of this run is recorded")
        if len(starts) != context.attempt:
            self.wrong.append(f"P4: {name} {context.call_id} runs as attempt {context.attempt} of {len(starts)}")


class Provider:
    """The model of the whole world: plays the script of the verb that calls it, and checks what it is asked."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls = 0
        self._encoder = RequestEncoder(
            "m", max_tokens=None, max_tokens_field="max_tokens", temperature=None, extra={}, reasoning_field=None
        )
        self._validators: dict[str, ProtocolValidator] = {}
        self._seen: dict[str, int] = {}
        self._answered: dict[tuple[str, bytes], int] = {}

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Check the request, let happen what is planned, and say the next line."""
        self.calls += 1
        drive = self.world.drive
        body = self._encoder.encode(request)
        entries = await self.world.store.read(drive.session)
        self._check(drive, request, body, entries)
        await self.world.happen("model")
        line = drive.script.pop(0) if drive.script else ("text",)
        answer = self._say(line)
        self._answered[drive.session, body] = len(entries)
        return answer

    async def close(self) -> None:
        """Nothing to let go of."""

    def _say(self, line: tuple[Any, ...]) -> LLMResponse:
        match line:
            case ("fail", kind):
                failure = FAILURES[kind]()
                raise failure
            case ("empty",):
                return reply("")
            case ("tools", calls):
                return reply(f"reply {self.world.next()}", *(self._call(*item) for item in calls))
            case _:
                return reply(f"reply {self.world.next()}")

    def _call(self, name: str, n: int, identity: str) -> ReplyCall:
        arguments = {"unreadable": "{oops", "list": "[1]"}.get(identity, f'{{"n": {n}}}')
        return ReplyCall({"own": f"c{self.world.next()}", "same": "same"}.get(identity, ""), name, arguments)

    def _check(self, drive: Drive, request: LLMRequest, body: bytes, entries: list[Entry]) -> None:
        wrong, session = self.world.wrong, drive.session
        called = entries[-1].fact
        if not isinstance(called, ModelCalled):
            wrong.append(f"P4: the model is called, but the last entry is {called}")
            return
        news = [entry.fact for entry in entries[self._seen.get(session, 0) :]]
        validator = self._validators.setdefault(session, ProtocolValidator())
        try:
            if called.edited:
                validator.check_alone(body)
                return
            validator.check(
                body,
                view_edited=any(isinstance(fact, ViewEdited) for fact in news),
                definition_changed=any(isinstance(fact, DefinitionChanged) for fact in news),
            )
        except ProtocolViolation as violation:
            wrong.append(f"P5/P20: {violation}")
        self._seen[session] = len(entries)
        self._check_inputs(request, entries)
        self._check_paid_once(session, body, entries)

    def _check_inputs(self, request: LLMRequest, entries: list[Entry]) -> None:
        """Every recorded input is there, in order, unless the view was edited."""
        facts = [entry.fact for entry in entries]
        if any(isinstance(fact, ViewEdited) for fact in facts):
            return
        told = [text_of(fact.content) for fact in facts if isinstance(fact, InputReceived)]
        heard = [message.text for message in request.messages if message.role is MessageRole.USER]
        if [text for text in heard if text in told] != told:
            self.world.wrong.append(f"P5: inputs {told} reach the model as {heard}")

    def _check_paid_once(self, session: str, body: bytes, entries: list[Entry]) -> None:
        """The same question is not asked again once its answer is recorded."""
        since = self._answered.get((session, body))
        if since is None:
            return
        recorded = [entry.fact for entry in entries[since:] if isinstance(entry.fact, ModelReplied | ViewEdited)]
        if any(isinstance(fact, ModelReplied) and (fact.content or fact.calls) for fact in recorded) and not any(
            isinstance(fact, ViewEdited) for fact in recorded
        ):
            self.world.wrong.append("P3: a question whose reply is recorded is asked again")
