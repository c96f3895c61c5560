"""Memory is asked once per input, before its first model call; what it does can cost a recall, never a run."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from notes_world import Door, Memory, heard, notes

from power_loop import (
    AgentEventBus,
    AgentHooks,
    AgentLoopConfig,
    ConfigError,
    HookDirective,
    HookPoint,
    LLMBadRequest,
    LLMOverloaded,
    MemoryStore,
    MessageRole,
    StatefulAgentLoop,
    tool,
)
from power_loop.decisions.todos import REMINDER_ROUNDS
from power_loop.engine import recall
from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived
from power_loop.facts.messages import AgentMessage
from power_loop.memory import SqliteMemory
from power_loop.ports.memory import memory_note, memory_tokens
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool

TEA = memory_note([AgentMessage(MessageRole.USER, "Ada likes tea.")])


@tool(effect="read")
def look() -> str:
    """Look."""
    return "seen"


def texts(request) -> list[str]:
    return [message.text for message in request.messages]


async def test_what_is_recalled_is_a_note_behind_the_input_and_then_history():
    memory, model, bus = Memory(), ScriptedLLM(reply("", call("look")), "Tea.", "Yes."), AgentEventBus()
    events = heard(bus, "memory_recalled", "user_notification")
    async with StatefulAgentLoop(llm=model, tools=[look], memory=memory, event_bus=bus, db_path=":memory:") as loop:
        result = await loop.send("What does Ada drink?")
        memory.recalls = []
        await loop.send("Sure?", result.session_id)
        entries = await loop.store.read(result.session_id)
    assert memory.asked == [["What does Ada drink?"], ["What does Ada drink?", TEA, "", "seen", "Tea.", "Sure?"]]
    assert [texts(request)[:2] for request in model.requests] == [["What does Ada drink?", TEA]] * 3
    assert texts(model.requests[2])[-1] == "Sure?"
    assert notes(entries) == [("memory", TEA)]
    assert [(event.payload, event.durable) for event in events] == [
        ({"returned": 1, "injected": 1, "budget_tokens": 1500}, True),
        ({"returned": 0, "injected": 0, "budget_tokens": 1500}, False),
    ]


async def test_the_input_is_durable_before_memory_is_asked_and_the_note_before_the_model_is():
    store, seen = MemoryStore(), []

    async def look_at_the_store():
        (record,) = await store.list()
        seen.append([entry.kind for entry in await store.read(record.id)])
        return ["Ada likes tea."]

    async def answer(_request):
        (record,) = await store.list()
        seen.append([entry.kind for entry in await store.read(record.id)])
        return "Tea."

    loop = StatefulAgentLoop(llm=ScriptedLLM(answer), memory=Memory(look_at_the_store), store=store)
    await loop.send("What?")
    await loop.close()
    asked = ["session_opened", "input_received", "run_started"]
    assert seen == [asked, [*asked, "note", "definition_changed", "model_called"]]


async def fails():
    raise OSError("disk gone")


async def cancels_itself():
    raise asyncio.CancelledError


async def hangs():
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("recalls", "error"),
    [
        (ValueError("no idea"), "ValueError"),
        (fails, "OSError"),
        (cancels_itself, "RuntimeError"),
        (hangs, "TimeoutError"),
        (None, "TypeError"),
        ("one text", "TypeError"),
        (b"bytes", "TypeError"),
        (7, "TypeError"),
        ({"role": "user"}, "TypeError"),
        ([7], "InvalidInputError"),
        ([{"role": "nobody", "content": "x"}], "InvalidInputError"),
        ([{"role": "user", "content": {"a": 1}}], "InvalidInputError"),
    ],
)
async def test_a_provider_that_fails_hangs_or_talks_nonsense_costs_a_recall_and_not_the_run(recalls, error):
    memory, model, bus = Memory(recalls), ScriptedLLM("One.", "Two."), AgentEventBus()
    events = heard(bus, "memory_failed")
    config = AgentLoopConfig(memory_timeout=0.02 if recalls is hangs else 5)
    loop = StatefulAgentLoop(llm=model, memory=memory, event_bus=bus, db_path=":memory:", config=config)
    async with loop:
        result = await loop.send("What?")
        memory.recalls = ["Ada likes tea."]
        after = await loop.send("And now?", result.session_id)
    assert (result.status, after.final_text) == ("completed", "Two.")
    assert [(event.data.phase, event.data.error_type) for event in events] == [("recall", error)]
    assert texts(model.requests[1]) == ["What?", "One.", "And now?", TEA]


async def test_a_provider_that_will_not_be_cancelled_is_abandoned(monkeypatch):
    monkeypatch.setattr(recall, "GRACE", 0.01)
    stubborn = Door()

    async def hold():
        while not stubborn.open.is_set():
            try:
                await stubborn()
            except asyncio.CancelledError:
                continue
        return ["too late"]

    config = AgentLoopConfig(memory_timeout=0.01)
    model = ScriptedLLM("One.")
    async with StatefulAgentLoop(llm=model, memory=Memory(hold), db_path=":memory:", config=config) as loop:
        result = await loop.send("What?")
        assert len(recall._abandoned) == 1
        stubborn.open.set()
        await asyncio.wait(tuple(recall._abandoned))
    assert (result.status, texts(model.requests[0])) == ("completed", ["What?"])
    assert not recall._abandoned


async def test_what_is_not_a_coroutine_is_no_recall():
    class Plain(Memory):
        def recall(self, **_):
            return ["Ada likes tea."]

    model = ScriptedLLM("One.")
    async with StatefulAgentLoop(llm=model, memory=Plain(), db_path=":memory:") as loop:
        assert (await loop.send("What?")).status == "completed"
    assert texts(model.requests[0]) == ["What?"]


async def test_the_budget_holds_whatever_the_provider_returns():
    model = ScriptedLLM("One.")
    memory = Memory([f"{number} " + "word " * 100 for number in range(50)])
    config = AgentLoopConfig(memory=memory, memory_budget_tokens=700)
    async with StatefulAgentLoop(llm=model, config=config, db_path=":memory:") as loop:
        await loop.send("What?")
    told = texts(model.requests[0])[1]
    assert memory_tokens(told) <= 700
    assert "- 0 word" in told
    assert "- 9 word" not in told


# -- once per input


async def test_a_retry_and_a_resume_do_not_ask_again():
    memory = Memory()
    model = ScriptedLLM(LLMOverloaded("later", retry_after=0), LLMBadRequest("no"), "Tea.")
    async with StatefulAgentLoop(llm=model, memory=memory, db_path=":memory:") as loop:
        result = await loop.send("What?")
        assert result.status == "error"
        resumed = await loop.resume(result.session_id)
    assert resumed.final_text == "Tea."
    assert len(memory.asked) == 1
    assert [texts(request) for request in model.requests] == [["What?", TEA]] * 3


async def test_an_input_that_comes_while_tools_run_is_recalled_for_when_it_is_taken():
    store, memory = MemoryStore(), Memory()

    @tool(effect="read")
    async def wait() -> str:
        """Wait."""
        (record,) = await store.list()
        await store.enqueue(record.id, "input", jsontext.encode(InputReceived("And Bob?")), now=1)
        return "waited"

    model = ScriptedLLM(reply("", call("wait")), "Ada.", "Bob.")
    loop = StatefulAgentLoop(llm=model, tools=[wait], memory=memory, store=store)
    await loop.send("What?")
    await loop.close()
    assert [asked[-1] for asked in memory.asked] == ["What?", "And Bob?"]
    assert texts(model.requests[-1])[-2:] == ["And Bob?", TEA]


async def test_a_round_that_a_hook_skips_does_not_ask_twice():
    hooks, memory = AgentHooks(), Memory([])
    skips = iter([HookDirective.SKIP, HookDirective.CONTINUE])
    hooks.register(HookPoint.ROUND_START, lambda _ctx: next(skips))
    async with StatefulAgentLoop(llm=ScriptedLLM("Tea."), memory=memory, hooks=hooks, db_path=":memory:") as loop:
        assert (await loop.send("What?")).final_text == "Tea."
    assert len(memory.asked) == 1


async def test_a_note_that_was_told_is_not_told_again_where_no_model_was_called():
    hooks, memory, model = AgentHooks(), Memory(), ScriptedLLM("Tea.")
    hooks.register(HookPoint.LLM_BEFORE, lambda _ctx: 1 / 0)
    async with StatefulAgentLoop(llm=model, memory=memory, hooks=hooks, db_path=":memory:") as loop:
        result = await loop.send("What?")
        hooks.clear()
        await loop.resume(result.session_id)
    assert len(memory.asked) == 1
    assert texts(model.requests[0]) == ["What?", TEA]


async def test_the_newest_input_is_last_for_memory_also_behind_a_reminder():
    """A run that failed after it had reminded the model, and before it called: memory is asked again."""
    hooks, memory = AgentHooks(), Memory([])
    busy = call("todo", items=[{"text": "write", "status": "in_progress"}])
    model = ScriptedLLM(reply("", busy), *["No."] * REMINDER_ROUNDS, "Yes.")
    loop = StatefulAgentLoop(llm=model, tools=[todo_tool()], memory=memory, hooks=hooks, db_path=":memory:")
    async with loop:
        session = (await loop.send("0")).session_id
        for number in range(1, REMINDER_ROUNDS):
            await loop.send(str(number), session)
        hooks.register(HookPoint.LLM_BEFORE, lambda _ctx: 1 / 0)
        await loop.send("now", session)
        hooks.clear()
        memory.recalls = ["Ada likes tea."]
        await loop.resume(session)
    assert [asked[-1] for asked in memory.asked[-2:]] == ["now", "now"]
    assert [text.splitlines()[0] for text in texts(model.requests[-1])[-3:]] == ["now", "<reminder>", TEA.split()[0]]


async def test_a_cancel_is_heard_also_where_nothing_else_is_to_be_written():
    """The input came at the end of a run and is durable already when memory is asked."""
    store, door = MemoryStore(), Door()
    memory = Memory([])

    async def answer(_request):
        await store.enqueue("s", "input", jsontext.encode(InputReceived("And Bob?")), now=1)
        memory.recalls = door
        return "Ada."

    loop = StatefulAgentLoop(llm=ScriptedLLM(answer, "Bob."), memory=memory, store=store)
    await loop.new_session("s")
    sending = asyncio.create_task(loop.send("What?", "s"))
    await door.reached.wait()
    await loop.cancel("s")
    assert (await sending).status == "cancelled"
    memory.recalls = []
    assert (await loop.resume("s")).final_text == "Bob."
    await loop.close()


async def test_a_cancel_cuts_a_recall_short_and_the_session_goes_on():
    door, model = Door(), ScriptedLLM("Tea.")
    memory = Memory(door)
    async with StatefulAgentLoop(llm=model, memory=memory, db_path=":memory:") as loop:
        session = await loop.new_session()
        sending = asyncio.create_task(loop.send("What?", session))
        await door.reached.wait()
        assert await loop.cancel(session)
        assert (await sending).status == "cancelled"
        assert model.calls == 0
        memory.recalls = ["Ada likes tea."]
        assert (await loop.resume(session)).final_text == "Tea."
    assert texts(model.requests[0]) == ["What?", TEA]


# -- hooks


async def test_a_hook_sees_what_was_recalled_and_changes_it():
    hooks, seen = AgentHooks(), []

    @hooks.on(HookPoint.MEMORY_RECALLED)
    def edit(ctx):
        seen.append(([message.text for message in ctx.recalled], ctx.budget_tokens))
        ctx.recalled = ["Ada likes coffee.", *ctx.recalled[:1]]

    @hooks.on(HookPoint.MESSAGE_APPEND)
    def shout(ctx):
        if "recalled_memory" in ctx.message.text:
            ctx.message = {"role": "user", "content": ctx.message.text.replace("coffee", "COFFEE")}

    model = ScriptedLLM("Tea.")
    memory = Memory(["Ada likes tea.", "Bob likes milk."])
    async with StatefulAgentLoop(llm=model, memory=memory, hooks=hooks, db_path=":memory:") as loop:
        await loop.send("What?")
    assert seen == [(["Ada likes tea.", "Bob likes milk."], 1500)]
    assert texts(model.requests[0])[1].splitlines()[2:4] == ["- Ada likes COFFEE.", "- Ada likes tea."]


async def test_a_hook_may_keep_memory_from_the_model():
    hooks, model = AgentHooks(), ScriptedLLM("Tea.")
    hooks.register(HookPoint.MEMORY_RECALLED, lambda _ctx: HookDirective.SKIP)
    async with StatefulAgentLoop(llm=model, memory=Memory(), hooks=hooks, db_path=":memory:") as loop:
        await loop.send("What?")
    assert texts(model.requests[0]) == ["What?"]


async def test_a_hook_that_leaves_nonsense_ends_the_run_and_the_session_goes_on():
    hooks = AgentHooks()

    def spoil(ctx):
        ctx.recalled = [7]

    hooks.register(HookPoint.MEMORY_RECALLED, spoil)
    async with StatefulAgentLoop(llm=ScriptedLLM("Tea."), memory=Memory(), hooks=hooks, db_path=":memory:") as loop:
        result = await loop.send("What?")
        hooks.clear()
        again = await loop.resume(result.session_id)
    assert (result.status, result.error.code) == ("error", "hook_failed")
    assert again.final_text == "Tea."


# -- settings


@pytest.mark.parametrize(
    "settings", [{"memory": 7}, {"memory_budget_tokens": 0}, {"memory_timeout": 0}, {"on_definition_change": "maybe"}]
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ConfigError):
        AgentLoopConfig(**settings)


# -- death

DRIVER = """
import asyncio, os, signal, sys
from power_loop import AgentLoopConfig, StatefulAgentLoop
from power_loop.memory import SqliteMemory
from power_loop.testing import ScriptedLLM

class Dying(SqliteMemory):
    async def recall(self, **asked):
        found = await super().recall(**asked)
        if sys.argv[2] == "recalled":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

def die(_request):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(folder):
    memory = Dying(f"{folder}/memory.db")
    await memory.add("Ada likes tea.")
    async with StatefulAgentLoop(llm=ScriptedLLM(die), memory=memory, db_path=f"{folder}/sessions.db") as loop:
        await loop.new_session("s")
        await loop.send("What does Ada like?", "s")

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(("when", "recorded"), [("recalled", 0), ("told", 1)])
async def test_after_a_kill_a_successor_asks_again_only_where_nothing_was_told(tmp_path: Path, when, recorded):
    """Killed between the recall and its note, or between the note and the reply."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error", "-c", DRIVER, str(tmp_path), when)
    assert await process.wait() == -signal.SIGKILL
    asked = []

    class Counting(SqliteMemory):
        async def recall(self, **given):
            asked.append(given["session_id"])
            return await super().recall(**given)

    model = ScriptedLLM("Tea.")
    async with (
        Counting(tmp_path / "memory.db") as memory,
        StatefulAgentLoop(llm=model, memory=memory, db_path=str(tmp_path / "sessions.db")) as loop,
    ):
        assert len(notes(await loop.store.read("s"))) == recorded
        result = await loop.resume("s")
        assert len(notes(await loop.store.read("s"))) == 1
    assert result.final_text == "Tea."
    assert len(asked) == 1 - recorded
    assert texts(model.requests[0]) == ["What does Ada like?", TEA]
