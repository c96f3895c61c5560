"""A process dies with SIGKILL inside three tool calls. What becomes of each, its effect decides.

The model is scripted, so that this runs without a key.
"""

import asyncio
import os
import signal
from multiprocessing import get_context

from power_loop import StatefulAgentLoop, ToolContext, tool
from power_loop.testing import ScriptedLLM, call, reply

NAMES = ("look_up", "reserve", "buy")
ALL_RUNNING = asyncio.Barrier(len(NAMES))


async def work(done: str) -> str:
    if os.environ.get("DOOMED"):
        await ALL_RUNNING.wait()
        os.kill(os.getpid(), signal.SIGKILL)
    return done


@tool(effect="read")
async def look_up(context: ToolContext, city: str) -> str:
    """Look up a price. It changes nothing, so it may run again."""
    return await work(f"{city}: 420, told by attempt {context.attempt}")


@tool(effect="idempotent")
async def reserve(context: ToolContext, city: str) -> str:
    """Reserve a seat. The airline knows context.idempotency_key, so asking again reserves no second one."""
    return await work(f"{city}: one seat, reserved by attempt {context.attempt}")


@tool
async def buy(city: str) -> str:
    """Buy the ticket. The default effect is "once": it is never simply run again."""
    return await work(f"{city}: bought")


def drive_in_a_child() -> None:
    os.environ["DOOMED"] = "yes"
    model = ScriptedLLM(reply("", *(call(name, city="Lima") for name in NAMES)))
    StatefulAgentLoop(llm=model, tools=[look_up, reserve, buy]).send_sync("Book Lima.")


if __name__ == "__main__":
    child = get_context("spawn").Process(target=drive_in_a_child)
    child.start()
    child.join()
    print(f"the child died with exit code {child.exitcode}")
    loop = StatefulAgentLoop(llm=ScriptedLLM("I will check the ticket."), tools=[look_up, reserve, buy])
    session = loop.list_sessions_sync()[0].session_id
    loop.resume_sync(session)
    for message in loop.get_messages_sync(session):
        print(f"{message['role']:9} {message['content']}")
