"""What random histories with everything on have found, each as one small history of its own."""

from decimal import Decimal
from typing import Any

import pytest

from power_loop import (
    AgentLoopConfig,
    LLMContextTooLong,
    LLMRetryPolicy,
    LLMStalled,
    MemoryStore,
    StatefulAgentLoop,
    tool,
)
from power_loop.compaction import DefaultCompactor
from power_loop.compaction.default import SUMMARY_PROMPT
from power_loop.facts.entries import Budget
from power_loop.facts.tokens import estimate_tokens
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.compactor import CompactionPlan, CompactionRequest
from power_loop.ports.llm import LLMRequest
from power_loop.ports.models import ModelInfo, Prices
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool

DAYS = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
WORDS = "The quick brown fox jumps over the lazy dog and looks back once. "
PRICED = ModelInfo("priced", 100_000, known=True, prices=Prices(Decimal(10), Decimal(50)))
ONCE = LLMRetryPolicy(max_attempts=1)


class Model(ScriptedLLM):
    """A scripted model whose prices are known, and which sums up in one word."""

    def describe(self, model: str | None = None) -> ModelInfo:
        return PRICED

    async def complete(self, request: LLMRequest, **given: Any) -> Any:
        if request.system_prompt == SUMMARY_PROMPT:
            return await self.sum_up()
        return await super().complete(request, **given)

    async def sum_up(self) -> Any:
        return reply("Foxes.", usage=LLMTokenUsage(100, 10), cost="0.001")


def loop_of(model: ScriptedLLM, *tools: Any, **settings: Any) -> StatefulAgentLoop:
    return StatefulAgentLoop(llm=model, store=MemoryStore(), tools=tools, config=AgentLoopConfig(**settings))


async def stored(loop: StatefulAgentLoop) -> str:
    return "\n".join(entry.body for entry in await loop.store.read("s"))


async def erase(loop: StatefulAgentLoop, words: str) -> None:
    """Erase the message that says these words."""
    said = await loop.get_messages("s", include_compacted=True, with_seq=True)
    seq = next(message["seq"] for message in said if words in str(message))
    await loop.erase_message("s", seq)


# -- P17: what nobody knows the price of


async def test_a_last_attempt_that_stalled_counts_as_it_was_set_aside():
    model = Model(*[LLMStalled("silent")] * 50)
    loop = loop_of(model, max_tokens=200, retry_policy=ONCE, session_budget=Budget(cost="0.05"))
    session = (await loop.send("Hello.")).session_id
    for _ in range(20):
        result = await loop.resume(session)
    assert result.status == "budget_exceeded"
    assert model.calls <= 6, "about 0.01 USD are set aside for each"


async def test_a_summary_that_stalled_counts_as_it_was_set_aside():
    class Silent(Model):
        async def sum_up(self) -> Any:
            self.summaries += 1
            raise LLMStalled("silent")

        summaries = 0

    model = Silent(reply("fine", usage=LLMTokenUsage(400, 10), cost="0.0001"), repeat=True)
    compactor = DefaultCompactor(absolute_threshold=300, summary_max_tokens=200)
    loop = loop_of(model, max_tokens=64, retry_policy=ONCE, compactor=compactor, session_budget=Budget(cost="0.05"))
    session = await loop.new_session()
    statuses = [(await loop.send(WORDS * 20, session)).status for _ in range(30)]
    assert statuses[-1] == "budget_exceeded"
    assert model.summaries <= 5, "about 0.01 USD are set aside for each"


class Twice:
    """A compactor that asks twice before it folds; ``between`` happens in between."""

    def __init__(self, between: Any = None) -> None:
        self.between = between

    def threshold(self, context_window: int, max_reply: int) -> int:
        return 100

    async def compact(self, request: CompactionRequest) -> CompactionPlan | None:
        if len(request.cuts) < 3:
            return None
        first = await request.summarise(WORDS, system_prompt=SUMMARY_PROMPT, max_tokens=200)
        if self.between is not None:
            await self.between()
        second = await request.summarise(WORDS, system_prompt=SUMMARY_PROMPT, max_tokens=200)
        return CompactionPlan(0, request.cuts[-1], first + second)


async def test_a_compactor_that_asks_twice_is_held_against_what_its_first_call_set_aside():
    model = Model(reply("fine", usage=LLMTokenUsage(90, 10), cost="0.0001"), repeat=True)
    loop = loop_of(model, max_tokens=64, compactor=Twice(), session_budget=Budget(cost="0.02"))
    session = (await loop.send(WORDS * 5)).session_id
    await loop.send(WORDS * 5, session)
    entries = await loop.store.read(session)
    reserved = [entry.fact.reserved for entry in entries if entry.kind == "model_called" and '"summary"' in entry.body]
    assert len(reserved) == 2
    assert sum(map(Decimal, reserved)) <= Decimal("0.02")


async def test_what_a_compaction_has_paid_before_a_cancel_is_counted():
    model = Model(reply("fine", usage=LLMTokenUsage(90, 10), cost="0.01"), repeat=True)

    async def from_elsewhere() -> None:
        epoch = (await loop.store.get("s")).epoch
        await loop.store.enqueue("s", "cancel", "stop", run=epoch, now=1)

    loop = loop_of(model, max_tokens=64, compactor=Twice(from_elsewhere))
    await loop.new_session("s")
    await loop.send(WORDS * 5, "s")
    result = await loop.send(WORDS * 5, "s")
    assert (result.status, result.cost) == ("cancelled", Decimal("0.001"))


# -- P5: nothing is folded unheard


async def test_an_input_with_a_note_behind_it_is_not_folded_before_it_is_heard():
    class Recalling:
        async def recall(self, **_: Any) -> list[str]:
            return [WORDS * 3]

        async def remember(self, **_: Any) -> None:
            pass

    asked = "What " + "exactly " * 400 + "is this?"
    model = Model(WORDS * 20, LLMContextTooLong("too long"), "An answer.")
    loop = loop_of(model, memory=Recalling(), compactor=DefaultCompactor(keep_ratio=0), retry_policy=ONCE)
    session = (await loop.send(WORDS * 20)).session_id
    assert (await loop.send(asked, session)).status == "completed"
    heard = [message.text for message in model.requests[-1].messages]
    assert "Foxes." in heard[0], "what was heard is folded"
    assert asked in heard


# -- what is erased leaves no echo


@pytest.mark.parametrize("by_tool", [False, True])
async def test_an_erased_output_is_gone_from_what_was_said_of_it(by_tool):
    bad = reply("", call("final_answer", days="secret")) if by_tool else '{"days": "secret"}'
    loop = loop_of(ScriptedLLM(bad, repeat=True), max_output_repairs=1)
    await loop.new_session("s")
    result = await loop.send("How long?", "s", output_type=DAYS)
    assert "secret" in result.error.message
    await loop.resume("s")
    for message in await loop.get_messages("s", with_seq=True):
        if message["role"] == "assistant":
            await loop.erase_message("s", message["seq"])
    assert "secret" not in await stored(loop)


async def test_an_erased_reply_is_gone_from_the_end_of_a_run_at_its_round_limit():
    @tool
    async def look() -> str:
        return "nothing"

    loop = loop_of(ScriptedLLM(reply("", call("look")), "So far: a secret."), look, max_rounds=1)
    await loop.new_session("s")
    assert (await loop.send("Look.", "s")).final_text == "[hit_round_limit]\nSo far: a secret."
    await erase(loop, "secret")
    assert "secret" not in await stored(loop)
    assert (await loop.resume("s")).final_text == "[erased]"


async def test_an_erased_todo_list_is_gone_from_what_a_fold_carries_over():
    todos = reply("", call("todo", items=[{"text": "buy a secret", "status": "pending"}]))

    def talk(request: LLMRequest) -> Any:
        return reply(WORDS * 3, usage=LLMTokenUsage(estimate_tokens(request.messages), 40))

    script = [todos, "Planned.", *[talk] * 30]
    loop = loop_of(Model(*script), todo_tool(), compactor=DefaultCompactor(absolute_threshold=200))
    await loop.new_session("s")
    for _ in range(16):
        await loop.send(WORDS, "s")
    kinds = [entry.kind for entry in await loop.store.read("s")]
    assert "compacted" in kinds
    said = await loop.get_messages("s", include_compacted=True, with_seq=True)
    for message in said:
        if "secret" in str(message):
            await loop.erase_message("s", message["seq"])
    for entry in await loop.store.read("s"):
        if entry.kind == "compacted" and "secret" in entry.body:  # a summary that is folded away itself
            await loop.erase_message("s", entry.seq)
    assert "secret" not in await stored(loop)
    assert await loop.get_todos("s") == []
    assert (await loop.send("And now?", "s")).status == "completed"
