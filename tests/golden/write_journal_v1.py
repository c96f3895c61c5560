"""Writes the first golden journal: ``python tests/golden/write_journal_v1.py``. Refuses to overwrite it.

A real journal, by the real kernel, with every kind of entry, in fixed time. When a release adds a kind or a version,
write the next file beside this one and keep both.
"""

import asyncio
import json
import sys

import msgspec
from golden import FOLDER, SESSION, read, summary, write

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    AgentMessage,
    HookDirective,
    LLMOverloaded,
    LLMResponse,
    LLMRetryPolicy,
    LLMTokenUsage,
    MemoryStore,
    MessageRole,
    Reasoning,
    ReplyCall,
    StatefulAgentLoop,
    Text,
    tool,
)
from power_loop.facts.entries import InputReceived
from power_loop.facts.journal import FACTS
from power_loop.facts.jsontext import encode
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.clock import FakeClock

JOURNAL = FOLDER / "journal_v1.jsonl"
EXPECTED = FOLDER / "journal_v1.expected.json"


class Store(MemoryStore):
    """A memory store whose driver always has the same id."""

    owner = "driver_1_golden"  # type: ignore[assignment]


@tool(effect="read")
async def look(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city} ☀"


@tool(effect="idempotent")
async def book(city: str, nights: int = 1) -> str:
    """Book a bed."""
    return f"booked {nights} night(s) in {city}"


@tool
async def pay(amount: int) -> str:
    """Pay."""
    raise LookupError("no such account")


SCRIPT = (
    LLMOverloaded("one moment"),
    LLMResponse(
        (Reasoning("hm, the weather", "signature=="), Text("I look.")),
        (ReplyCall("call_abc", "look", '{"city": "Lima"}'), ReplyCall("call_abc", "book", "{oops")),
        "tool_calls", LLMTokenUsage(120, 30, 100, 0, 12), "model-1", "0.0125", {"native": {"id": "resp_1"}},
    ),
    reply("", call("look", city="Quito"), call("pay", amount=3), call("vanish"), cost="0.002"),
    reply("rude words", cost="0.001"),
    "a second answer, naïve é 漢字 \ud800 \x00",
    "an answer to the inbox",
    reply("", call("book", city="Cusco"), call("look", city="Puno")),
    "so far: Cusco",
)  # fmt: skip


def round_hooks(run: list[int]) -> AgentHooks:
    """Return hooks that put a word in front and skip a round in the second run."""
    hooks = AgentHooks()

    def first_word(ctx):
        if run == [2]:
            ctx.messages.insert(0, AgentMessage(MessageRole.USER, "Earlier we spoke of Peru."))

    def skip_one(ctx):
        if run == [2] and ctx.round_index == 0:
            ctx.reason = "not yet"
            return HookDirective.SKIP
        return None

    hooks.register("session.start", first_word)
    hooks.register("round.start", skip_one)
    return hooks


def hooks_for(run: list[int]) -> AgentHooks:
    """Return hooks that leave every kind of edit in the journal."""
    hooks = round_hooks(run)

    def polite(ctx):
        if ctx.output.text == "rude words":
            ctx.output = msgspec.structs.replace(ctx.output, content="kind words")

    def more_nights(ctx):
        if ctx.tool_name == "book":
            ctx.tool_args["nights"] = 2

    def hide(ctx):
        if "Quito" in ctx.output:
            ctx.output = "[hidden]"

    hooks.register("llm.after", polite)
    hooks.register("tool.before", more_nights)
    hooks.register("tool.after", hide)
    return hooks


async def make() -> None:
    """Drive one session through everything."""
    store, clock, run = Store(), FakeClock(passes=True), [1]
    quick = LLMRetryPolicy(max_attempts=2, backoff_initial=1, backoff_max=1, jitter=0)

    def loop(llm: ScriptedLLM, **config: object) -> StatefulAgentLoop:
        settings = AgentLoopConfig(retry_policy=quick, **config)  # type: ignore[arg-type]
        return StatefulAgentLoop(
            llm=llm, store=store, clock=clock, tools=[look, book, pay], config=settings, hooks=hooks_for(run)
        )

    model = ScriptedLLM(*SCRIPT)
    plain = loop(model)
    await plain.new_session(SESSION, metadata={"user": "ann", "née": True})
    await plain.send("Where is it warm?", SESSION)
    run[:] = [2]
    await store.enqueue(
        SESSION, "input", encode(InputReceived("And with an inbox?", name="bob")), now=clock.now().wall_ms
    )
    await plain.send([{"role": "system", "content": "Speak plainly."}, "Thanks!"], SESSION)
    run[:] = [3]
    brief = loop(model, max_rounds=1, system_prompt="Be brief.")
    await brief.send("Book something.", SESSION)
    clock.jump(-3600)

    async def stopped(_request):
        await store.enqueue(SESSION, "cancel", "enough", run=(await store.get(SESSION)).epoch, now=1)
        return reply("", call("look", city="Ica"), call("book", city="Ica"))

    run[:] = [4]
    await loop(ScriptedLLM(stopped)).send("Once more.", SESSION)
    record, entries = await store.load(SESSION)
    write(JOURNAL, record.base_digest, entries)
    missing = set(FACTS) - {entry.kind for entry in entries}
    if missing:
        raise SystemExit(f"missing: {missing}")
    base, again = read(JOURNAL)
    text = json.dumps(summary(base, again), indent=1, ensure_ascii=False)
    EXPECTED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if JOURNAL.exists():
        sys.exit(f"{JOURNAL.name} is there already; golden journals are written once.")
    asyncio.run(make())
