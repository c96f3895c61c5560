"""A budget in money: set aside before each call, settled after it, and raised when the host says so.

The model is scripted, so that this runs without a key.
"""

import asyncio
from decimal import Decimal

from power_loop import AgentLoopConfig, Budget, LLMTokenUsage, ModelInfo, Prices, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply

DB = "budgets.db"


@tool(effect="read")
def look(place: int) -> str:
    """Look somewhere."""
    return f"nothing in place {place}"


class Priced(ScriptedLLM):
    """Knows what it costs; a service of a real provider takes that from the catalogue."""

    def describe(self, _model: str | None = None) -> ModelInfo:
        """Say what is known of the model."""
        return ModelInfo("priced", 100_000, prices=Prices(input=Decimal("2.50"), output=Decimal(10)))


SEARCH = [reply("", call("look", place=n), usage=LLMTokenUsage(1_000, 250), cost="0.005") for n in range(8)]


def loop(dollars: str, *lines: object) -> StatefulAgentLoop:
    config = AgentLoopConfig(session_budget=Budget(cost=dollars), max_tokens=1_000)
    return StatefulAgentLoop(llm=Priced(*lines), tools=[look], db_path=DB, config=config)


async def main() -> None:
    async with loop("0.022", *SEARCH) as first:
        result = await first.send("Find it.")
        print(f"{result.status} after {result.rounds} rounds, {result.cost} USD")
        print(result.final_text)
        session = result.session_id

    async with loop("0.022", *SEARCH) as same:
        print(f"the same budget: {(await same.resume(session)).status}, {same.llm.calls} calls made")

    async with loop("0.10", *SEARCH[:2], "Found it.") as more:
        result = await more.resume(session)
        print(f"a higher budget: {result.status}, {result.final_text} {result.cost} USD in all")


asyncio.run(main())
