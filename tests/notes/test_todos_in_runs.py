"""The todo list of a session: derived entry by entry, told as events, and reminded of at the tail."""

import pytest
from notes_world import heard, notes

from power_loop import (
    AgentEventBus,
    AgentHooks,
    HookPoint,
    LLMOverloaded,
    MemoryStore,
    SqliteStore,
    StatefulAgentLoop,
    ToolDefinition,
    ToolRegistry,
    tool,
)
from power_loop.decisions.todos import REMINDER, REMINDER_ROUNDS
from power_loop.face.watch import watch_journal
from power_loop.ports.todo import TodoItem, parse_todos
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool

BUSY = [{"text": "write", "status": "in_progress"}, {"text": "test", "status": "pending"}]
DONE = [{"text": "write", "status": "completed"}]


@tool(effect="read")
def look() -> str:
    """Look."""
    return "seen"


def planned(*lines) -> ScriptedLLM:
    return ScriptedLLM(reply("", call("todo", items=BUSY)), *lines)


async def test_the_list_is_told_and_can_be_asked_for():
    bus = AgentEventBus()
    events = heard(bus, "todo_updated", "round_completed")
    model = planned(reply("", call("todo", items="nonsense"), call("look")), "Done.")
    async with StatefulAgentLoop(llm=model, tools=[todo_tool(), look], event_bus=bus, db_path=":memory:") as loop:
        session = (await loop.send("Go.")).session_id
        assert await loop.get_todos(session) == list(parse_todos(BUSY))
        told = [event async for event in loop.events(session)]
    updated, *rounds = events
    assert updated.payload["rendered"] == "[>] write\n[ ] test\n(0/2 completed)"
    assert [event.data.used_todo for event in rounds] == [True, True, False]
    assert [event for event in told if event.type in {"todo_updated", "round_completed"}] == events


async def test_a_session_without_a_list_has_an_empty_one():
    async with StatefulAgentLoop(llm=ScriptedLLM("Hi."), db_path=":memory:") as loop:
        assert await loop.get_todos((await loop.send("Go.")).session_id) == []


async def test_after_five_silent_replies_the_next_request_ends_with_a_reminder_which_then_is_history():
    looks = [reply("", call("look")) for _ in range(REMINDER_ROUNDS + 2)]
    model, bus = planned(*looks, "Done."), AgentEventBus()
    reminders = heard(bus, "user_notification")
    async with StatefulAgentLoop(llm=model, tools=[todo_tool(), look], event_bus=bus, db_path=":memory:") as loop:
        session = (await loop.send("Go.")).session_id
        recorded = notes(await loop.store.read(session))
    last = [request.messages[-1].text for request in model.requests]
    assert [position for position, text in enumerate(last) if text.startswith("<reminder>")] == [1 + REMINDER_ROUNDS]
    assert recorded == [(REMINDER, last[1 + REMINDER_ROUNDS])]
    assert [event.data.message for event in reminders] == [last[1 + REMINDER_ROUNDS]]
    at = len(model.requests[1 + REMINDER_ROUNDS].messages) - 1
    assert {request.messages[at].text for request in model.requests[1 + REMINDER_ROUNDS :]} == {recorded[0][1]}


async def test_a_reminder_waits_for_an_open_batch_and_a_retry_does_not_repeat_it():
    """An input arrives inside the batch; the reminder stands behind results and input."""
    registry = ToolRegistry([todo_tool(), look])
    registry.register(ToolDefinition("ring"), None)
    looks = [reply("", call("look")) for _ in range(REMINDER_ROUNDS - 1)]
    model = planned(*looks, reply("", call("ring"), call("look")), LLMOverloaded("later", retry_after=0), "Done.")
    async with StatefulAgentLoop(llm=model, tools=registry, db_path=":memory:") as loop:
        waiting = await loop.send("Go.")
        assert waiting.status == "pending_tools"
        registry.register(ToolDefinition("ring"), lambda: "rung", overwrite=True)
        await loop.send("More!", waiting.session_id, on_pending="resume")
    tail = [message.text.splitlines()[0] for message in model.requests[-1].messages[-4:]]
    assert tail == ["rung", "seen", "More!", "<reminder>"]
    assert model.requests[-1] == model.requests[-2]


async def test_nobody_is_reminded_of_a_tool_that_is_not_there_nor_at_the_last_word():
    store = MemoryStore()
    first = StatefulAgentLoop(llm=planned("Busy."), tools=[todo_tool(), look], store=store)
    session = (await first.send("Go.")).session_id
    model = ScriptedLLM(*["No."] * (REMINDER_ROUNDS + 1))
    second = StatefulAgentLoop(llm=model, tools=[look], store=store)
    for _ in range(REMINDER_ROUNDS + 1):
        await second.send("And?", session)
    assert notes(await store.read(session)) == []


async def test_a_hook_sees_a_reminder_before_it_is_written():
    hooks = AgentHooks()

    @hooks.on(HookPoint.MESSAGE_APPEND)
    def soften(ctx):
        if ctx.message.text.startswith("<reminder>"):
            ctx.message = {"role": "user", "content": "Your list, please."}

    seen = []
    hooks.register(HookPoint.TOOLS_BATCH_AFTER, lambda ctx: seen.append(("batch", ctx.used_todo)))
    hooks.register(HookPoint.ROUND_END, lambda ctx: seen.append(("round", ctx.used_todo)))
    looks = [reply("", call("look")) for _ in range(REMINDER_ROUNDS)]
    model = planned(*looks, "Done.")
    async with StatefulAgentLoop(llm=model, tools=[todo_tool(), look], hooks=hooks, db_path=":memory:") as loop:
        session = (await loop.send("Go.")).session_id
        assert notes(await loop.store.read(session)) == [(REMINDER, "Your list, please.")]
    assert model.requests[-1].messages[-1].text == "Your list, please."
    assert seen[:4] == [("batch", True), ("round", True), ("batch", False), ("round", False)]
    assert seen[-1] == ("round", False)


async def test_arguments_that_a_hook_changed_are_told_from_wherever_one_starts_to_listen():
    hooks, bus = AgentHooks(), AgentEventBus()
    updates = heard(bus, "todo_updated")

    @hooks.on(HookPoint.TOOL_BEFORE)
    def finish(ctx):
        ctx.tool_args = {"items": DONE}

    async with StatefulAgentLoop(
        llm=planned("Done."), tools=[todo_tool()], hooks=hooks, event_bus=bus, db_path=":memory:"
    ) as loop:
        session = (await loop.send("Go.")).session_id
        assert await loop.get_todos(session) == [TodoItem("1", "write", "completed")]
        finished = next(entry.seq for entry in await loop.store.read(session) if entry.kind == "tool_finished")
        whole = [event async for event in watch_journal(loop.store, session)]
        for after in range(finished + 1):
            told = [event async for event in watch_journal(loop.store, session, after=after)]
            assert told == [event for event in whole if event.seq > after]
    assert [event for event in whole if event.type == "todo_updated"] == updates
    assert [event.data.tool_input for event in whole if event.type == "tool_call_completed"] == [{"items": DONE}]
    assert updates[0].data.counts == {"total": 1, "completed": 1}


@pytest.mark.parametrize("where", ["same loop", "other process"])
async def test_the_list_outlives_the_loop_that_wrote_it(tmp_path, where):
    path = str(tmp_path / "sessions.db")
    registry = ToolRegistry([todo_tool()])
    registry.register(ToolDefinition("elsewhere"), None)
    model = planned(reply("", call("elsewhere", id="c1")), "Done.")
    async with StatefulAgentLoop(llm=model, tools=registry, db_path=path) as loop:
        session = (await loop.send("Go.")).session_id
        if where == "same loop":
            assert await loop.get_todos(session) == list(parse_todos(BUSY))
    store = SqliteStore(path)
    async with StatefulAgentLoop(llm=ScriptedLLM(), store=store) as loop:
        assert await loop.get_todos(session) == list(parse_todos(BUSY))
        await loop.abort_pending(session)
        assert await loop.get_todos(session) == list(parse_todos(BUSY))
    await store.close()
