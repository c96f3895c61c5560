"""A real model in this process is held to a schema, by its grammar, from ``send`` to the instance."""

from dataclasses import dataclass
from typing import Literal

from power_loop import MemoryStore, StatefulAgentLoop, tool
from power_loop.ports.models import ModelInfo


@dataclass
class Trip:
    city: Literal["Lima", "Oslo"]
    nights: Literal[2, 3, 5, 8]


class Held:
    """The local model, saying of itself that it holds to a schema."""

    def __init__(self, llm):
        self.complete = llm.complete
        self.close = llm.close

    def describe(self, model=None):
        return ModelInfo(native_schema=True)


@tool(effect="read")
def weather(city: Literal["Lima", "Oslo"]) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


async def test_a_reply_that_is_held_to_a_schema_is_an_instance(llm):
    loop = StatefulAgentLoop(llm=Held(llm), tools=[weather], store=MemoryStore())
    result = await loop.send("Where is it sunny, in Lima or in Oslo? Plan a trip.", output_type=Trip)
    assert (result.status, result.error) == ("completed", None)
    assert isinstance(result.output, Trip)
    assert result.rounds == 2, "the tool, then the answer: nothing had to be repaired"


async def test_without_a_schema_mode_the_tool_takes_the_answer(llm):
    loop = StatefulAgentLoop(llm=ByTool(llm), store=MemoryStore())
    result = await loop.send("Plan a trip to Oslo for three nights.", output_type=Trip)
    assert (result.status, result.rounds) == ("completed", 1)
    assert isinstance(result.output, Trip)


class ByTool(Held):
    def describe(self, model=None):
        return ModelInfo()
