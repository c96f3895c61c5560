"""Where a session works is said once, when it begins, and never again."""

import asyncio
from functools import partial

import pytest
from notes_world import heard, notes

from power_loop import (
    AgentEventBus,
    AgentHooks,
    AgentLoopConfig,
    ConfigError,
    HookPoint,
    MemoryStore,
    StatefulAgentLoop,
    SystemPromptBuilder,
    SystemPromptContext,
)
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.prompt import Environment
from power_loop.testing import FakeClock, ScriptedLLM

HERE = Environment("2026-01-02 (Friday)", "Linux", "3.12.1", "/work")


def loop_of(store, model, environment, **more) -> StatefulAgentLoop:
    return StatefulAgentLoop(llm=model, store=store, config=AgentLoopConfig(environment=environment), **more)


async def test_a_session_begins_with_it_and_keeps_it_whatever_becomes_of_the_world():
    store, model, bus = MemoryStore(), ScriptedLLM("One.", "Two."), AgentEventBus()
    events = heard(bus, "system_log", "user_notification")
    session = (await loop_of(store, model, lambda: HERE, event_bus=bus).send("a")).session_id
    await loop_of(store, model, lambda: "Elsewhere.").send("b", session)
    assert [m.text for m in model.requests[1].messages] == [HERE.render(), "a", "One.", "b"]
    assert model.requests[1].messages[:2] == model.requests[0].messages
    assert [entry.kind for entry in (await store.read(session))[:3]] == ["session_opened", "note", "input_received"]
    assert [str(event.type) for event in events] == ["system_log"], "news for a log, not for a person"


async def test_a_session_that_exists_is_not_told():
    store, model = MemoryStore(), ScriptedLLM("One.")
    session = await loop_of(store, model, environment=False).new_session()
    await loop_of(store, model, environment=True).send("a", session)
    assert notes(await store.read(session)) == []


async def test_a_new_session_is_empty_until_something_is_sent():
    store = MemoryStore()
    loop = loop_of(store, ScriptedLLM("One."), lambda: HERE)
    session = await loop.new_session("mine")
    (info,) = await loop.list_sessions()
    assert (info.status, (await loop.resume(session)).status) == ("empty", "empty")
    await loop.send("a", session)
    assert notes(await store.read(session)) == [("environment", HERE.render())]


async def test_true_collects_the_facts_of_the_folder_that_the_prompt_speaks_of(tmp_path):
    store, model = MemoryStore(), ScriptedLLM("One.")
    builder = SystemPromptBuilder().about(SystemPromptContext(workspace_dir=str(tmp_path)))
    config = AgentLoopConfig(environment=True, system_prompt=builder)
    loop = StatefulAgentLoop(llm=model, store=store, config=config, clock=FakeClock())
    await loop.send("a")
    told = model.requests[0].messages[0].text
    assert f"- Working directory: {tmp_path}\n" in told
    assert told.startswith("<environment>")


async def collected() -> Environment:
    await asyncio.sleep(0)
    return HERE


class Collector:
    def facts(self):
        return collected()


@pytest.mark.parametrize(
    ("collect", "told"),
    [
        (collected, HERE.render()),
        (partial(collected), HERE.render()),
        (Collector().facts, HERE.render()),
        (lambda: "A \0 room.", "A \ufffd room."),
    ],
)
async def test_a_collector_is_a_function_or_a_coroutine_function_that_returns_facts_or_text(collect, told):
    store, model = MemoryStore(), ScriptedLLM("One.")
    await loop_of(store, model, collect).send("a")
    assert model.requests[0].messages[0].text == told


@pytest.mark.parametrize("collect", [lambda: 1 / 0, lambda: 7, lambda: " "])
async def test_a_collector_that_fails_is_a_typed_error_and_nothing_is_written(collect):
    store = MemoryStore()
    with pytest.raises(ConfigError, match=r"AgentLoopConfig\.environment"):
        await loop_of(store, ScriptedLLM("One."), collect).send("a")
    assert await store.list() == []


async def test_a_hook_sees_it_before_it_is_written():
    hooks = AgentHooks()

    @hooks.on(HookPoint.MESSAGE_APPEND)
    def shorten(ctx):
        if ctx.message.text == HERE.render():
            ctx.message = {"role": "system", "content": "At work."}

    store, model = MemoryStore(), ScriptedLLM("One.")
    await loop_of(store, model, lambda: HERE, hooks=hooks, clock=SYSTEM_CLOCK).send("a")
    assert [(str(m.role), m.text) for m in model.requests[0].messages] == [("system", "At work."), ("user", "a")]
