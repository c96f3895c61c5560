"""Edges that random verbs have found, each as one short story."""

import asyncio
import gc

import msgspec
import pytest

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    LLMResponse,
    MemoryStore,
    StatefulAgentLoop,
    ToolDefinition,
    ToolRegistry,
    tool,
)
from power_loop.facts.chain import seal_all
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import (
    DefinitionChanged,
    Fact,
    InputReceived,
    Limits,
    ModelCalled,
    ModelReplied,
    RecordedCall,
    RunStarted,
)
from power_loop.facts.jsontext import encode
from power_loop.ports.store import Append, Claim, NewSession
from power_loop.testing import ScriptedLLM, call, reply

BEGUN = [InputReceived("question"), RunStarted(Limits()), DefinitionChanged("old"), ModelCalled()]


@pytest.fixture
def store():
    return MemoryStore()


async def leave(store, session, *facts: Fact):
    """Leave a session as a dead driver does: facts, no end, no lease."""
    now = SYSTEM_CLOCK.now()
    record = await store.create(NewSession(session, now.wall_ms))
    entries = seal_all(facts, head_seq=0, head_digest=record.head_digest, run=1, round_=0, time=1)
    claim = Claim(store.owner, now.plus(30), now)
    await store.append(Append(session, 0, 0, record.head_digest, entries, (), claim, release=True))


def elsewhere() -> ToolRegistry:
    registry = ToolRegistry()
    registry.register(ToolDefinition("elsewhere", "Runs in another system."), None)
    return registry


def waiting(store, *lines) -> StatefulAgentLoop:
    """Return a loop whose model asks for a tool that runs nowhere here."""
    return StatefulAgentLoop(llm=ScriptedLLM(*lines), store=store, tool_registry=elsewhere())


async def said(loop, session):
    return [(m["role"], m["content"]) for m in await loop.get_messages(session)]


# -- aborting


async def test_abort_pending_works_over_what_another_loop_wrote_meanwhile(store):
    one, two = waiting(store, reply("", call("elsewhere"))), waiting(store, reply("", call("elsewhere")))
    await one.new_session("s")
    await one.send("a", "s")
    await two.send("b", "s", on_pending="abort")
    assert await one.abort_pending("s") == 1
    assert await two.get_pending("s") is None


@pytest.mark.parametrize("kind", ["input", "cancel"])
async def test_abort_pending_frees_the_lease_although_commands_wait(store, kind):
    loop = waiting(store, reply("", call("elsewhere")), "fine")
    session = (await loop.send("a")).session_id
    body = encode(InputReceived("later")) if kind == "input" else "stop"
    await store.enqueue(session, kind, body, run=2, now=1)
    assert await loop.abort_pending(session) == 1
    assert (await store.get(session)).lease is None


# -- a reply that is shown to hooks late


async def test_a_late_edit_of_a_reply_keeps_the_input_behind_it(store):
    await leave(store, "s", *BEGUN, ModelReplied("rude"))
    hooks = AgentHooks()
    edits = iter(["polite"])

    def soften(ctx):
        ctx.output = msgspec.structs.replace(ctx.output, content=next(edits, ctx.output.content))

    hooks.register("llm.after", soften)
    loop = StatefulAgentLoop(llm=ScriptedLLM("hello"), store=store, hooks=hooks)
    await loop.send("and this", "s")
    assert await said(loop, "s") == [
        ("user", "question"), ("assistant", "polite"), ("user", "and this"), ("assistant", "hello"),
    ]  # fmt: skip


async def test_an_input_that_waited_for_dropped_calls_reaches_the_model(store):
    await leave(store, "s", *BEGUN, ModelReplied("", (RecordedCall("w0", "never"),)))
    hooks = AgentHooks()
    hooks.register("llm.after", lambda ctx: setattr(ctx, "output", LLMResponse("no tools")))
    loop = StatefulAgentLoop(llm=ScriptedLLM("x"), store=store, hooks=hooks)
    await loop.send("and this", "s", on_pending="resume")
    assert [m.text for m in loop.llm.requests[0].messages] == ["question", "no tools", "and this"]


async def test_calls_that_a_late_edit_adds_are_answered_before_the_input_behind_it(store):
    ran = []

    @tool
    async def act() -> str:
        """Act."""
        ran.append(1)
        return "acted"

    hooks = AgentHooks()
    added = iter([(call("act"),)])
    hooks.register(
        "llm.after",
        lambda ctx: setattr(ctx, "output", msgspec.structs.replace(ctx.output, tool_calls=next(added, ()))),
    )
    offers = DefinitionChanged("act", None, ({"type": "function", "function": {"name": "act"}},))
    await leave(store, "t", *BEGUN, offers, ModelReplied("first"))
    loop = StatefulAgentLoop(llm=ScriptedLLM("x"), store=store, hooks=hooks, tools=[act])
    await loop.send("and this", "t")
    assert [role for role, _ in await said(loop, "t")] == ["user", "assistant", "tool", "user", "assistant"]
    assert ran == [1]


async def test_an_edit_of_the_view_does_not_misplace_the_edit_of_a_reply(store):
    facts = [*BEGUN, ModelReplied("one"), InputReceived("more"), ModelCalled(), ModelReplied("two")]
    await leave(store, "s", *facts)
    hooks = AgentHooks()

    def trim(ctx):
        del ctx.messages[:2]

    def reword(ctx):
        ctx.output = msgspec.structs.replace(ctx.output, content=f"{ctx.output.text}!")

    hooks.register("session.start", trim)
    hooks.register("llm.after", reword)
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, hooks=hooks)
    await loop.resume("s")
    assert await said(loop, "s") == [("user", "more"), ("assistant", "two!")]


async def test_a_reply_is_not_shown_again_once_the_model_was_called_after_it(store):
    facts = [*BEGUN, ModelReplied("one"), InputReceived("more"), ModelCalled()]
    await leave(store, "s", *facts)
    hooks = AgentHooks()
    shown = []
    hooks.register("llm.after", lambda ctx: shown.append(ctx.output.text))
    loop = StatefulAgentLoop(llm=ScriptedLLM("two"), store=store, hooks=hooks)
    await loop.resume("s")
    assert shown == ["two"]


# -- several tools at once


async def test_a_cancel_that_stops_several_tools_at_once_leaves_no_error_unheard(store):
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context["message"]))

    @tool
    async def act() -> str:
        """Act."""
        return "acted"

    async def ask(_request):
        run = (await store.get("s")).epoch
        await store.enqueue("s", "cancel", "stop", run=run, now=1)
        return reply("", call("act"), call("act"), call("act"))

    loop = StatefulAgentLoop(llm=ScriptedLLM(ask), store=store, tools=[act], config=AgentLoopConfig())
    await loop.new_session("s")
    assert (await loop.send("go", "s")).status == "cancelled"
    del loop

    gc.collect()
    await asyncio.sleep(0)
    assert heard == []


@pytest.mark.parametrize("turns", range(9))
async def test_no_sibling_starts_behind_a_recorded_cancel(store, turns):
    ran = []

    @tool
    async def act(n: int) -> str:
        """Act."""
        ran.append(n)
        return "acted"

    async def ask(_request):
        await store.enqueue("s", "cancel", "stop", run=(await store.get("s")).epoch, now=1)
        return reply("", *(call("act", n=n) for n in range(2)))

    async def later(ctx):
        for _ in range(turns if ctx.tool_args["n"] else 0):
            await asyncio.sleep(0)

    hooks = AgentHooks()
    hooks.register("tool.before", later)
    loop = StatefulAgentLoop(llm=ScriptedLLM(ask), store=store, tools=[act], hooks=hooks)
    await loop.new_session("s")
    assert (await loop.send("go", "s")).status == "cancelled"
    kinds = [entry.kind for entry in await store.read("s")]
    assert "tool_started" not in kinds[kinds.index("cancelled") :]
    assert ran == []


class Late(MemoryStore):
    """A store at which an input arrives right before each of the first commits that would free the lease."""

    late = 0

    async def append(self, append):
        if self.late and append.release:
            self.late -= 1
            await self.enqueue("s", "input", encode(InputReceived(f"late {self.late}")), now=1)
        await super().append(append)


async def test_a_command_that_is_refused_twice_is_recorded_once():
    store = Late()
    asked = ModelReplied(calls=(RecordedCall("a", "elsewhere"),))
    await leave(store, "s", *BEGUN, asked)
    store.late = 2
    loop = waiting(store, "answer")
    assert await loop.abort_pending("s") == 1
    inputs = [entry.fact.content for entry in await store.read("s") if isinstance(entry.fact, InputReceived)]
    assert inputs == ["question", "late 1", "late 0"]
    assert not await store.inbox("s")
