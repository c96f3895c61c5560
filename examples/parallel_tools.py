"""Tools of one reply run side by side, up to a bound; an exclusive one runs alone; results keep the order of calls.

The model is scripted, so that this runs without a key.
"""

import asyncio

from power_loop import AgentLoopConfig, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply

RUNNING: set[str] = set()
SEEN: dict[str, int] = {}
TRIO = asyncio.Barrier(3)


@tool(effect="read")
async def fetch(name: str) -> str:
    """Fetch a page. It waits until three of them run at once."""
    RUNNING.add(name)
    await TRIO.wait()
    SEEN[name] = len(RUNNING)
    await TRIO.wait()
    RUNNING.discard(name)
    return f"page {name}"


@tool(exclusive=True)
def save(name: str) -> str:
    """Save everything. Nothing else may run meanwhile; a sync function runs in a thread."""
    SEEN[name] = 1 + len(RUNNING)
    return f"saved {name}"


async def main() -> None:
    calls = [call("fetch", name=letter) for letter in "abc"]
    model = ScriptedLLM(reply("", *calls, call("save", name="all")), "Done.")
    config = AgentLoopConfig(max_parallel_tools=3)
    async with StatefulAgentLoop(llm=model, tools=[fetch, save], config=config) as loop:
        result = await loop.send("Fetch a, b and c, then save.")
        for name, at_once in sorted(SEEN.items()):
            print(f"{name}: {at_once} running at once")
        messages = await loop.get_messages(result.session_id)
        print([message["content"] for message in messages if message["role"] == "tool"])


asyncio.run(main())
