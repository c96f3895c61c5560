"""A model behind another one, a model for each kind of request, and replies recorded once: three wrappers.

All models are scripted, so that this runs without a key; any other service takes their places.
"""

import asyncio
from pathlib import Path

from power_loop import LLMOverloaded, LLMRefused, LLMRequest, LLMService, StatefulAgentLoop
from power_loop.llms.fallback import FallbackLLM
from power_loop.llms.routing import RoutingLLM
from power_loop.testing import ScriptedLLM, reply
from power_loop.testing.recording import RecordingLLM, ReplayingLLM

CASSETTE = Path("replies.jsonl")


async def fall_back() -> None:
    first = ScriptedLLM(LLMOverloaded("Too many people ask.", status=529), LLMRefused("Not this."), "I am the first.")
    second = ScriptedLLM(reply("I am the second.", cost="0.002"))
    async with StatefulAgentLoop(llm=FallbackLLM(first, second), db_path=":memory:") as loop:
        result = await loop.send("Who are you?")
        print(f"{result.final_text}  ({result.status}, {result.rounds} round, {result.cost} USD)")

        result = await loop.send("Something rude.", result.session_id)
        print(f"a refusal stays one: {result.status}, {result.error and result.error.code}")

        result = await loop.send("And now?", result.session_id)
        print(result.final_text)


def size(request: LLMRequest) -> str:
    """Choose by the request alone, so that a retry or a resume goes the same way."""
    return "large" if sum(len(message.text) for message in request.messages) > 100 else "small"


async def route() -> None:
    models = {"small": ScriptedLLM("From the small one."), "large": ScriptedLLM("From the large one.")}
    async with StatefulAgentLoop(llm=RoutingLLM(size, models), db_path=":memory:") as loop:
        print((await loop.send("Short.")).final_text)
        print((await loop.send("Long. " * 40)).final_text)


async def ask(model: LLMService) -> None:
    async with StatefulAgentLoop(llm=model, db_path=":memory:") as loop:
        result = await loop.send("What should I eat in Lima?")
        print(f"{type(model).__name__}: {result.final_text}")


asyncio.run(fall_back())
asyncio.run(route())
asyncio.run(ask(RecordingLLM(ScriptedLLM("Ceviche."), CASSETTE)))
asyncio.run(ask(ReplayingLLM(CASSETTE)))
