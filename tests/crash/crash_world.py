"""A world to be killed in: a host that can be run again, a model that depends on its request only, a ledger."""

import asyncio
import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from power_loop import AgentLoopConfig, StatefulAgentLoop, ToolContext, ToolDefinition, ToolRegistry
from power_loop.compaction import DefaultCompactor
from power_loop.compaction.default import SUMMARY_PROMPT
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.entries import ToolFinished, ToolStarted
from power_loop.facts.errors import SessionNotFoundError
from power_loop.facts.messages import MessageRole
from power_loop.facts.tokens import estimate_tokens
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import LLMRequest, LLMResponse
from power_loop.ports.store import SessionStore
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite.connection import Connection, connect_sqlite3
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore
from power_loop.testing.ledger import EffectLedger

SESSION = "s"
EFFECTS = {"look": "read", "fire": "once", "put": "idempotent", "stop": "once"}
FINISHING = ("look", "fire", "stop", "put")
"""The order in which overlapping tools finish, whatever order they were called in."""


def batch(number: int) -> LLMResponse:
    """Three calls that overlap and finish in another order."""
    return reply("", *(call(name, id=f"w{number}_{name}") for name in ("put", "look", "fire")))


@dataclass(frozen=True)
class Scenario:
    script: tuple[LLMResponse, ...]
    inputs: tuple[str, ...] = ("begin",)
    stream: bool = False
    same_view: bool = True
    fold_at: int | None = None
    output: dict[str, Any] | None = None


def step(number: int) -> LLMResponse:
    """A round that says its number, so that a summary can say how far things have come."""
    return reply(f"step {number} " + "of many, told at some length " * 20, call("put", id=f"w{number}"))


SCENARIOS = {
    "text": Scenario((reply("Hello."),)),
    "one_tool": Scenario((reply("", call("put", id="w1")), reply("Done."))),
    "parallel": Scenario((batch(1), reply("All done."))),
    "stream": Scenario((reply("One moment.", call("fire", id="w1")), reply("Streamed to the end.")), stream=True),
    "cancel": Scenario(
        (reply("", *(call(name, id=f"w_{name}") for name in ("look", "stop", "put"))), reply("Well."), reply("Bye.")),
        inputs=("begin", "go on"),
        same_view=False,
    ),
    "mixed": Scenario((msgspec.structs.replace(batch(1), content="Let me see."), reply("Seen.")), stream=True),
    "talk": Scenario((batch(1), reply("First."), batch(2), reply("Second.")), inputs=("begin", "and then?")),
    "fold": Scenario((*(step(number) for number in range(1, 9)), reply("step 9: done.")), fold_at=500),
    "output": Scenario(
        (
            reply("Five."),
            reply("", call("put", id="w1"), call("final_answer", id="w2", days="5")),
            reply("", call("final_answer", id="w3", days=5)),
        ),
        output={"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]},
    ),
    "long": Scenario((*(batch(number) for number in range(5)), reply("At last."))),
}


@dataclass
class Fault:
    """Kills this process at one place: ``commit:3:after``, ``sql:17:before``, ``tool:fire:mid``, ``model:2:paid``.

    With ``stop@`` before the place it is stopped there instead.
    """

    spec: str
    sql: int = 0

    def at(self, place: str) -> None:
        if place == self.spec:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.spec == f"stop@{place}":
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread goes no further before it


class KillingConnection:
    """A writing connection that counts its statements."""

    def __init__(self, db: Connection, fault: Fault) -> None:
        self._db, self._fault = db, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, parameters: Any = (), /) -> Any:
        self._fault.sql += 1
        number = self._fault.sql
        self._fault.at(f"sql:{number}:before")
        result = self._db.execute(statement, parameters)
        self._fault.at(f"sql:{number}:after")
        return result


@dataclass
class Turns:
    """Lets tools of one reply begin together and finish in the order of FINISHING, each durably before the next."""

    running: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, point: CommitPoint) -> None:
        for entry in point.entries:
            if isinstance(fact := entry.fact, ToolStarted) and point.moment == "before":
                self.running[fact.call] = fact.name
            if isinstance(fact, ToolFinished) and point.moment == "after":
                self.running.pop(fact.call, None)
                self.turn()

    def turn(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def _may_finish(self, identity: str) -> bool:
        reply_part = identity.rpartition("_")[0]
        siblings = {other: name for other, name in self.running.items() if other.rpartition("_")[0] == reply_part}
        rank = FINISHING.index(self.running[identity])
        earlier = [name for name in siblings.values() if name in FINISHING[:rank]]
        return not earlier and self.begun >= siblings.keys()

    async def wait(self, identity: str) -> None:
        self.begun.add(identity)
        self.turn()
        while not self._may_finish(identity):
            await self.changed.wait()


class World:
    """One process's view of a folder: database, ledger, and the fault that will kill it."""

    def __init__(
        self,
        folder: Path,
        scenario: str,
        fault: str = "",
        *,
        store: SessionStore | None = None,
        clock: Clock = SYSTEM_CLOCK,
        busy_timeout: float = 5.0,
        ordered: bool = True,
    ) -> None:
        self.ordered = ordered
        self.scenario = SCENARIOS[scenario]
        self.fault = Fault(fault)
        self.ledger = EffectLedger(folder / "ledger.jsonl")
        self.turns = Turns()
        connect = self._connect if fault else None
        store = store or SqliteStore(folder / "sessions.db", connect=connect, clock=clock, busy_timeout=busy_timeout)
        self.store = CrashingStore(store, self._on_commit)
        config = AgentLoopConfig()
        if self.scenario.fold_at is not None:
            compactor = DefaultCompactor(absolute_threshold=self.scenario.fold_at)
            config = AgentLoopConfig(compactor=compactor, context_window=100_000)
        self.loop = StatefulAgentLoop(
            llm=self._model(), tools=self._tools(), store=self.store, config=config, clock=clock
        )

    def _connect(self, path: str, *, readonly: bool) -> Connection:
        db = connect_sqlite3(path, readonly=readonly)
        return db if readonly else KillingConnection(db, self.fault)  # type: ignore[return-value]

    def _on_commit(self, point: CommitPoint) -> None:
        self.turns.saw(point)
        if point.moment == "after" and point.entries:
            for entry in point.entries:
                self.ledger.record("ack", str(entry.seq), kind=entry.kind, digest=entry.digest.hex())
        self.fault.at(f"commit:{point.number}:{point.moment}")

    def _model(self) -> ScriptedLLM:
        def answer(request: LLMRequest) -> LLMResponse:
            steps = [int(found) for message in request.messages for found in re.findall(r"step (\d+)", message.text)]
            if request.system_prompt == SUMMARY_PROMPT:
                self.fault.at("summary")
                return reply(f"It came as far as step {max(steps)}.")
            number = 1 + sum(message.role is MessageRole.ASSISTANT for message in request.messages)
            number = max([number, *(done + 1 for done in steps)]) if self.scenario.fold_at else number
            self.fault.at(f"model:{number}:asked")
            self.ledger.record("model", str(number))
            self.fault.at(f"model:{number}:paid")
            said = self.scenario.script[min(number, len(self.scenario.script)) - 1]
            if self.scenario.fold_at is None:
                return said
            return msgspec.structs.replace(said, usage=LLMTokenUsage(estimate_tokens(request.messages), 20))

        return ScriptedLLM(answer, repeat=True, chunk=3 if self.scenario.stream else 0)

    def _tools(self) -> ToolRegistry:
        registry = ToolRegistry()
        for name, effect in EFFECTS.items():
            handler = self._stop if name == "stop" else self._work(name)
            registry.register(ToolDefinition(name, f"To {name}.", effect=effect), handler)
        return registry

    def _work(self, name: str) -> Callable[..., Any]:
        async def work(ctx: ToolContext) -> str:
            self._begin(name, ctx)
            await (self.turns.wait(ctx.call_id) if self.ordered else asyncio.sleep(0))
            self.ledger.record("effect", ctx.idempotency_key, name=name, attempt=ctx.attempt)
            self.fault.at(f"tool:{name}:mid")
            return f"{name}: done"

        return work

    async def _stop(self, ctx: ToolContext) -> str:
        self._begin("stop", ctx)
        await self.turns.wait(ctx.call_id)
        await self.loop.cancel(SESSION)
        self.ledger.record("cancel-acknowledged")
        await asyncio.Event().wait()
        return "never"

    def _begin(self, name: str, ctx: ToolContext) -> None:
        self.fault.at(f"tool:{name}:enter")
        self.ledger.record("begun", ctx.idempotency_key, name=name, attempt=ctx.attempt)
        self.fault.at(f"tool:{name}:begun")

    async def host(self) -> str:
        """Do the scenario, or what is left of it, as a host would that remembers nothing; return the last status."""
        try:
            await self.store.get(SESSION)
        except SessionNotFoundError:
            await self.loop.new_session(SESSION)
        entries = await self.store.read(SESSION)
        accepted = sum(entry.kind == "input_received" for entry in entries)
        status = "empty"
        if accepted:
            self.ledger.record("verb", "resume")
            status = (await self.loop.resume(SESSION)).status
        for text in self.scenario.inputs[accepted:]:
            self.ledger.record("verb", "send")
            status = await self._send(text)
        return status

    async def _send(self, text: str) -> str:
        if not self.scenario.stream:
            return (await self.loop.send(text, SESSION, output_type=self.scenario.output)).status
        stream = self.loop.stream(text, SESSION)
        async for event in stream:
            if event.seq is None:
                self.fault.at("delta")
        assert stream.result is not None
        return stream.result.status
