"""Memory is told of a run once its end is durable, without delaying the reply and never of its own recall."""

import asyncio

import pytest
from notes_world import Door, Memory, heard

from power_loop import (
    AgentEventBus,
    AgentHooks,
    HookPoint,
    MemoryStore,
    MessageRole,
    StatefulAgentLoop,
    ToolDefinition,
    ToolRegistry,
    tool,
)
from power_loop.decisions.said import said
from power_loop.face import remembering
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.entries import (
    InputReceived,
    ModelReplied,
    Note,
    RecordedCall,
    ReplyEdited,
    ResultEdited,
    ToolFinished,
)
from power_loop.facts.messages import to_message
from power_loop.memory import SqliteMemory
from power_loop.ports.memory import memory_note
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool


@tool(effect="read")
def look() -> str:
    """Look."""
    return "seen"


def lines(snapshot) -> list[tuple[str, str]]:
    return [(str(message.role), message.text) for message in snapshot.messages]


async def test_a_snapshot_holds_what_was_said_since_the_input_and_no_notes():
    memory = Memory()
    model = ScriptedLLM("One.", reply("I look.", call("look")), "Two.")
    async with StatefulAgentLoop(llm=model, tools=[look], memory=memory, db_path=":memory:") as loop:
        first = await loop.send("What?", metadata={"user": "ada"})
        await loop.send(["And", "then?"], first.session_id)
    one, two = memory.told
    assert lines(one) == [("user", "What?"), ("assistant", "One.")]
    assert lines(two) == [
        ("user", "And"), ("user", "then?"), ("assistant", "I look."), ("tool", "seen"), ("assistant", "Two."),
    ]  # fmt: skip
    assert (two.final_text, two.rounds, two.status, two.metadata) == ("Two.", 2, "completed", {"user": "ada"})


async def test_the_end_is_durable_first_and_the_reply_does_not_wait():
    store, door, seen = MemoryStore(), Door(), []

    class Slow(Memory):
        async def remember(self, *, snapshot, session_id):
            seen.extend(entry.kind for entry in await store.read(session_id))
            await door()
            self.told.append(snapshot)

    memory = Slow([])
    loop = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, store=store)
    result = await loop.send("What?")
    await door.reached.wait()
    assert (result.final_text, memory.told, seen[-1]) == ("One.", [], "run_ended")
    closing = asyncio.create_task(loop.close())
    door.open.set()
    await closing
    assert len(memory.told) == 1


async def test_a_memory_that_fails_is_an_event():
    class Failing(Memory):
        async def remember(self, **_):
            raise OSError("disk full")

    bus = AgentEventBus()
    events = heard(bus, "memory_failed")
    async with StatefulAgentLoop(llm=ScriptedLLM("One."), memory=Failing(), event_bus=bus, db_path=":memory:") as loop:
        assert (await loop.send("What?")).status == "completed"
    assert [event.payload for event in events] == [
        {"phase": "remember", "error_type": "OSError", "error_message": "disk full"}
    ]


async def test_closing_cuts_off_what_takes_too_long(monkeypatch):
    monkeypatch.setattr(remembering, "PATIENCE", 0.01)
    door, bus = Door(), AgentEventBus()
    events = heard(bus, "memory_failed")

    class Hanging(Memory):
        async def remember(self, **_):
            await door()

    async with StatefulAgentLoop(llm=ScriptedLLM("One."), memory=Hanging(), event_bus=bus, db_path=":memory:") as loop:
        await loop.send("What?")
        await door.reached.wait()
    assert [(event.data.phase, event.data.error_type) for event in events] == [("remember", "TimeoutError")]


async def test_what_hangs_ends_by_itself(monkeypatch):
    monkeypatch.setattr(remembering, "LONGEST", 0.01)
    bus, told = AgentEventBus(), asyncio.Event()
    events = heard(bus, "memory_failed")
    bus.subscribe("memory_failed", lambda _event: told.set())

    class Hanging(Memory):
        async def remember(self, **_):
            await Door()()

    async with StatefulAgentLoop(llm=ScriptedLLM("One."), memory=Hanging(), event_bus=bus, db_path=":memory:") as loop:
        await loop.send("What?")
        await told.wait()
    assert [event.data.error_type for event in events] == ["TimeoutError"]


async def test_who_stops_waiting_for_memory_does_not_disturb_it():
    door = Door()

    class Slow(Memory):
        async def remember(self, *, snapshot, session_id):
            await door()
            self.told.append(snapshot)

    memory = Slow([])
    loop = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, store=MemoryStore())
    await loop.send("What?")
    await door.reached.wait()
    closing = asyncio.create_task(loop.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait((closing,))
    door.open.set()
    await loop.close()
    assert len(memory.told) == 1


async def test_a_session_is_deleted_after_memory_has_read_it():
    memory = Memory()
    async with StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, db_path=":memory:") as loop:
        result = await loop.send("What?")
        await loop.close_session(result.session_id)
        assert lines(memory.told[0]) == [("user", "What?"), ("assistant", "One.")]


async def test_open_calls_are_no_end_and_their_results_are_told_with_the_question():
    registry, memory = ToolRegistry([look]), Memory([])
    registry.register(ToolDefinition("print_label"), None)
    model = ScriptedLLM(reply("", call("print_label", id="c1")), "Printed.")
    store = MemoryStore()
    loop = StatefulAgentLoop(llm=model, tools=registry, memory=memory, store=store)
    result = await loop.send("Print!")
    assert result.status == "pending_tools"
    registry.register(ToolDefinition("print_label"), lambda: "done", overwrite=True)
    await loop.resume(result.session_id)
    assert (await loop.resume(result.session_id)).final_text == "Printed."  # nothing to do: not told again
    await loop.close()
    assert [lines(snapshot) for snapshot in memory.told] == [
        [("user", "Print!"), ("assistant", ""), ("tool", "done"), ("assistant", "Printed.")]
    ]


async def test_an_answer_given_by_a_successor_is_told_with_its_question():
    hooks, memory, store = AgentHooks(), Memory([]), MemoryStore()
    hooks.register(HookPoint.LLM_BEFORE, lambda _ctx: 1 / 0)
    first = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, store=store, hooks=hooks)
    result = await first.send("What?")
    await first.close()
    second = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, store=store)
    await second.resume(result.session_id)
    await second.close()
    assert [(snapshot.status, lines(snapshot)) for snapshot in memory.told] == [
        ("error", [("user", "What?")]),
        ("completed", [("user", "What?"), ("assistant", "One.")]),
    ]


def test_sync_verbs_remember_too():
    memory = Memory()
    loop = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, db_path=":memory:")
    loop.send_sync("What?")
    loop.close_sync()
    assert len(memory.told) == 1


async def test_a_loop_may_be_closed_on_another_event_loop_than_it_was_used_on():
    memory = Memory()
    loop = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=memory, db_path=":memory:")
    await asyncio.to_thread(loop.send_sync, "What?")
    await loop.close()
    assert len(memory.told) == 1


@pytest.mark.parametrize("waits", [True, False])
def test_an_event_loop_that_ends_too_early_costs_a_memory_and_is_told(waits):
    bus, doors = AgentEventBus(), []

    class Hanging(Memory):
        async def recall(self, **_):
            doors.append(Door())
            return []

        async def remember(self, **_):
            await doors[0]()

    events = heard(bus, "memory_failed")
    loop = StatefulAgentLoop(llm=ScriptedLLM("One."), memory=Hanging(), event_bus=bus, store=MemoryStore())

    async def send() -> str:
        result = await loop.send("What?")
        if waits:
            await doors[0].reached.wait()
        return result.status

    assert asyncio.run(send()) == "completed"
    asyncio.run(loop.close())
    assert [event.data.phase for event in events] == ["remember"]


async def test_what_one_session_was_told_helps_another(tmp_path):
    model = ScriptedLLM("Ada likes green tea.", "Tea!", "None that I know.")
    async with (
        SqliteMemory(tmp_path / "memory.db") as memory,
        StatefulAgentLoop(llm=model, memory=memory, db_path=":memory:") as loop,
    ):
        first = await loop.send("What tea does Ada like?")
        await loop.close_session(first.session_id)
        second = await loop.send("Which tea shall I buy?")
        await loop.send("And which other tea?", second.session_id)
    told = [message.text for message in model.requests[1].messages]
    assert "Answered: Ada likes green tea." in told[1]
    again = [message.text for message in model.requests[2].messages]
    assert again == [*told, "Tea!", "And which other tea?"], "told once"


async def test_without_memory_a_run_has_no_more_tasks_and_commits():
    counts = []
    for memory in (None, Memory([])):
        store = MemoryStore()
        loop = StatefulAgentLoop(llm=ScriptedLLM("One."), tools=[todo_tool()], memory=memory, store=store)
        result = await loop.send("What?")
        counts.append((len(asyncio.all_tasks()), len(await store.read(result.session_id))))
        await loop.close()
    assert counts[0] == (1, counts[1][1])


# -- what was said


def test_said_leaves_out_notes_and_answers_to_what_came_before(journal):
    entries = journal(
        ToolFinished("call_1_0", "look", "aborted", "<aborted>"),
        ReplyEdited(1, "older"),
        InputReceived("What?"),
        InputReceived(memory_note([to_message("a copy of what was recalled")])),
        Note("memory", "recalled"),
        ModelReplied("I look.", (RecordedCall("w", "look"),)),
        ReplyEdited(6, "I look twice.", (RecordedCall("w", "look"),)),
        ToolFinished("call_6_0", "look", "ok", "seen"),
        ResultEdited("call_6_0", "seen!"),
        Note("other", "words"),
        ModelReplied("Done."),
    )
    assert [(message.role, message.text) for message in said(entries)] == [
        (MessageRole.USER, "What?"),
        (MessageRole.ASSISTANT, "I look twice."),
        (MessageRole.TOOL, "seen!"),
        (MessageRole.ASSISTANT, "Done."),
    ]


@pytest.fixture
def journal():
    return lambda *facts: seal_all(facts, head_seq=0, head_digest=base_digest("s"), run=1, round_=0, time=1)
