"""A process drives a session; this one watches it, leaves, and takes the events up again where it stopped.

The model is scripted, so that this runs without a key.
"""

import asyncio
from multiprocessing import get_context

from power_loop import AgentEventType, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply


@tool(effect="read")
def measure(day: str) -> str:
    """Measure the level of the river."""
    return f"{day}: 3.1 m"


def drive(session: str) -> None:
    model = ScriptedLLM(reply("", call("measure", day="Monday"), call("measure", day="Tuesday")), "It is steady.")
    StatefulAgentLoop(llm=model, tools=[measure]).send_sync("How is the river?", session)


async def main() -> None:
    async with StatefulAgentLoop(llm=ScriptedLLM()) as loop:  # watching needs neither model nor tools
        session = await loop.new_session()
        driver = get_context("spawn").Process(target=drive, args=(session,))
        driver.start()
        last = 0
        async for event in loop.events(session, follow=True):
            print(f"{event.seq:3} {event.type}")
            last = event.seq or last
            if event.type is AgentEventType.TOOL_CALL_COMPLETED:
                break  # watching owns nothing: the run goes on
        print(f"left at entry {last}; back again:")
        async for event in loop.events(session, after=last, follow=True):
            print(f"{event.seq:3} {event.type}")
            if event.type is AgentEventType.SESSION_ENDED:
                break
        driver.join()


if __name__ == "__main__":
    asyncio.run(main())
