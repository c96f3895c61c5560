"""P20 over whole histories: each request is the one before it with more behind, on every wire, whoever asks.

Sessions with memory, todo list, environment, retries, last words, deaths at any commit and successors with other code;
only a recorded change of the definition may change what stands before the conversation.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power_loop import (
    AgentLoopConfig,
    LLMOverloaded,
    LLMRetryPolicy,
    MemoryStore,
    SessionStore,
    SqliteStore,
    StatefulAgentLoop,
    ToolDefinition,
    ToolRegistry,
)
from power_loop.facts.entries import DefinitionChanged
from power_loop.facts.errors import SessionPendingError, StoreUnavailable
from power_loop.llms import anthropic_request, openai_chat_request, openai_responses_request
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta, validate_request
from power_loop.testing import call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore
from power_loop.toolkits.todo import todo_tool

DEEP = bool(os.environ.get("POWER_LOOP_DEEP"))
pytestmark = pytest.mark.timeout(0 if DEEP else 120)
SESSION = "s"
QUICK = LLMRetryPolicy(max_attempts=3, backoff_initial=0, backoff_max=0)
SCHEMA = {"type": "object", "required": ["zeta"], "properties": {"zeta": {"type": "string"}, "alpha": {}}}
OTHER = {"properties": {"alpha": {"type": "integer"}}, "type": "object"}


def chat() -> Callable[[LLMRequest], bytes]:
    return openai_chat_request.RequestEncoder(
        "m", max_tokens=None, max_tokens_field="max_tokens", temperature=None, extra={}, reasoning_field=None
    ).encode


def responses() -> Callable[[LLMRequest], bytes]:
    return openai_responses_request.RequestEncoder("m", official=True).encode


def anthropic() -> Callable[[LLMRequest], bytes]:
    return anthropic_request.RequestEncoder(
        "m", max_tokens=9, temperature=None, thinking=None, extra={}, cache="5m", documents="text"
    ).encode


WIRES = {"chat": chat, "responses": responses, "anthropic": anthropic}


def parts(wire: str, body: bytes) -> tuple[list[str], list[str]]:
    """What stands before the conversation, and the conversation, in pieces of JSON text; cache markers aside."""
    data = json.loads(body, object_hook=lambda item: {k: v for k, v in item.items() if k != "cache_control"})
    if wire == "chat":
        first = data["messages"][0]
        system = [first] if first["role"] == "system" and first["content"].startswith("Be ") else []
        said = data["messages"][len(system) :]
    elif wire == "responses":
        system, said = [data.get("instructions")], data["input"]
    else:
        system = data.get("system", [])
        said = [[m["role"], block] for m in data["messages"] for block in m["content"]]
    return [json.dumps(item) for item in [data.get("tools"), *system]], [json.dumps(item) for item in said]


class Memory:
    """Recalls something else each time, or nothing, or fails."""

    def __init__(self) -> None:
        self.turns = 0

    async def recall(self, **_: object) -> list[str]:
        self.turns += 1
        if self.turns % 4 == 0:
            raise OSError("no memory today")
        return [f"memory {self.turns}"] * (self.turns % 3)

    async def remember(self, **_: object) -> None:
        pass


class Model:
    """Plays a script and holds each request against the one before it, in bytes."""

    def __init__(self, store: SessionStore) -> None:
        self.script: list[Any] = []
        self.store = store
        self.before: dict[str, tuple[list[str], list[str]]] = {}
        self.definitions = 0
        self.calls = 0
        self.wrong: list[str] = []
        self.encoders: dict[str, Callable[[LLMRequest], bytes]] = {}

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        self.calls += 1
        validate_request(request)
        entries = await self.store.read(SESSION)
        definitions = sum(isinstance(entry.fact, DefinitionChanged) for entry in entries)
        for wire, encode in self.encoders.items():
            head, said = parts(wire, encode(request))
            old_head, old_said = self.before.get(wire, (head, []))
            if said[: len(old_said)] != old_said:
                self.wrong.append(f"{wire}: what was said has changed: {old_said} is now {said}")
            if definitions == self.definitions and head != old_head:
                self.wrong.append(f"{wire}: what stands before it has changed: {old_head} is now {head}")
            self.before[wire] = head, said
        self.definitions = definitions
        line = self.script.pop(0) if self.script else "text"
        return self._say(line)

    def _say(self, line: str) -> LLMResponse:
        if line == "busy":
            raise LLMOverloaded("later", retry_after=0)
        if line == "text":
            return reply(f"reply {self.calls}")
        if line == "todo":
            return reply(
                "", call("todo", items=[{"text": f"step {self.calls}", "status": "in_progress"}]), call("look")
            )
        return reply(f"calls {line}", call(line), call("look", id="same"))

    async def close(self) -> None:
        pass


Process = dict[str, Any]
processes = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from([None, "Be brief.", "Be kind."]),
        "tools": st.sampled_from(["old", "old", "other", "fewer"]),
        "policy": st.sampled_from(["adopt", "pin"]),
        "memory": st.booleans(),
    }
)
scripts = st.lists(st.sampled_from(["look", "look", "todo", "text", "busy", "gone"]), max_size=8)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), scripts, st.integers(0, 14)),
        st.tuples(st.just("send"), scripts, st.just(0)),
        st.tuples(st.just("resume"), scripts, st.integers(0, 8)),
        st.tuples(st.just("successor"), processes),
    ),
    min_size=3,
    max_size=14,
)


class World:
    """One session, the process that drives it now, and a store that may die at a commit."""

    def __init__(self, process: Process, store: SessionStore) -> None:
        self.model = Model(store)
        self.memory = Memory()
        self.store = CrashingStore(self.model.store)
        self.begin(process)

    def begin(self, process: Process) -> None:
        """Another process takes over: it knows nothing but the journal, and may have other code."""
        registry = ToolRegistry([todo_tool()])
        schema = OTHER if process["tools"] == "other" else SCHEMA
        for name in ("look",) if process["tools"] == "fewer" else ("look", "gone"):
            registry.register(ToolDefinition(name, "Look.", schema), lambda **_: "seen")
        config = AgentLoopConfig(
            process["prompt"],
            max_rounds=6,
            retry_policy=QUICK,
            memory=self.memory if process["memory"] else None,
            environment=lambda: f"At {process['prompt']}.",
            on_definition_change=process["policy"],
        )
        self.model.encoders = {wire: make() for wire, make in WIRES.items()}
        self.process = process
        self.loop = StatefulAgentLoop(llm=self.model, tools=registry, store=self.store, config=config)

    async def take(self, kind: str, *given: Any) -> None:
        if kind == "successor":
            self.begin(given[0])
            return
        self.model.script = list(given[0])
        self.store.commits, self.store.on_commit = 0, dying(given[1])
        try:
            if kind == "send":
                await self.loop.send(f"input {self.model.calls}", SESSION, on_pending="resume")
            else:
                await self.loop.resume(SESSION)
        except (StoreUnavailable, SessionPendingError):
            self.store.on_commit = dying(0)
            self.begin(self.process)


def dying(at: int) -> Callable[[CommitPoint], None]:
    """Die at the n-th commit, after it where n is even; 0 never."""

    def act(point: CommitPoint) -> None:
        if at and point.number >= (at + 1) // 2 and (point.moment == "after") is (at % 2 == 0):
            raise StoreUnavailable("the process is dead")

    return act


async def live(process: Process, history: list[tuple[Any, ...]], store: SessionStore) -> World:
    world = World(process, store)
    await world.loop.new_session(SESSION)
    for step in history:
        await world.take(*step)
    await world.take("send", [], 0)
    await world.loop.close()
    assert world.model.wrong == []
    return world


@settings(
    max_examples=600 if DEEP else 40, deadline=None, derandomize=not DEEP, suppress_health_check=[HealthCheck.too_slow]
)
@given(processes, steps)
def test_each_request_is_the_one_before_it_with_more_behind(process, history):
    world = asyncio.run(live(process, history, MemoryStore()))
    assert world.model.calls


async def test_a_history_with_everything_in_it(tmp_path):
    """Not left to chance: reminder, recall, failure, last word, death, successors that adopt and pin."""
    brief = {"prompt": "Be brief.", "tools": "old", "policy": "adopt", "memory": True}
    kind = {"prompt": "Be kind.", "tools": "other", "policy": "pin", "memory": True}
    history = [
        ("send", ["todo", "busy", "look", "look", "look", "look", "look"], 0),
        ("send", ["look", "look", "text"], 0),
        ("successor", kind),
        ("send", ["gone", "look", "text"], 9),
        ("resume", ["text"], 0),
        ("successor", {**kind, "policy": "adopt"}),
        ("send", ["gone", "todo", "text"], 0),
        ("send", [], 0),
    ]
    store = SqliteStore(tmp_path / "sessions.db")
    world = await live(brief, history, store)
    entries = await store.read(SESSION)
    topics = [entry.fact.topic for entry in entries if entry.kind == "note"]
    assert {"environment", "memory", "todo_reminder", "wrap_up"} <= set(topics)
    assert topics.count("environment") == 1
    assert [entry.kind for entry in entries].count("definition_changed") == 2
    assert world.model.calls > 15
    await store.close()
