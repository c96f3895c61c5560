"""A session is rows in a SQLite file. Ask it with any SQL tool; the views are read-only by nature.

The model is scripted, so that this runs without a key.
"""

import asyncio
import sqlite3

from power_loop import StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply


@tool(effect="read")
def weigh(thing: str) -> str:
    """Weigh a thing in grams."""
    if thing == "ghost":
        raise ValueError("nothing on the scale")
    return f"{thing}: 80 g"


async def talk() -> None:
    asks = reply("", call("weigh", thing="pear"), call("weigh", thing="ghost"), cost="0.0004")
    async with StatefulAgentLoop(llm=ScriptedLLM(asks, "The pear weighs 80 g."), tools=[weigh]) as loop:
        await loop.send("Weigh the pear and the ghost.")


def show(title: str, query: str) -> None:
    print(title)
    database = sqlite3.connect("file:power_loop_sessions.db?mode=ro", uri=True)
    for row in database.execute(query):
        print("  ", " | ".join(str(value) for value in row))
    database.close()


asyncio.run(talk())
show("every fact:", "SELECT seq, run, kind FROM journal ORDER BY seq")
show("tools:", "SELECT name, arguments_json, outcome, result FROM tool_calls ORDER BY call_id")
show("tokens:", "SELECT model, sum(total_tokens), sum(cost) FROM usage_rounds GROUP BY model")
show("sessions:", "SELECT last_kind, last_status, head_seq FROM session_state")
