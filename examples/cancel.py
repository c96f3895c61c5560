"""Stopping a run: by a token, by the cancel verb, by cancelling the task. The session can always go on.

The model is scripted, so that this runs without a key.
"""

import asyncio
import contextlib

from power_loop import CancellationToken, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply

RUNNING = asyncio.Event()


@tool(effect="read")
async def wait_for_ever() -> str:
    """Wait for something that never comes."""
    RUNNING.set()
    await asyncio.Event().wait()
    return "never"


async def start(loop: StatefulAgentLoop, session: str, token: CancellationToken | None = None) -> asyncio.Task:
    RUNNING.clear()
    task = asyncio.create_task(loop.send("Wait.", session, stop_event=token))
    await RUNNING.wait()
    return task


async def main() -> None:
    asks = [reply("", call("wait_for_ever")) for _ in range(3)]
    async with StatefulAgentLoop(llm=ScriptedLLM(*asks, "Here I am again."), tools=[wait_for_ever]) as loop:
        session = await loop.new_session()

        token = CancellationToken()
        task = await start(loop, session, token)
        token.cancel("the user closed the tab")
        print(f"by token: {(await task).final_text}")

        task = await start(loop, session)
        print(f"by verb, accepted: {await loop.cancel(session, reason='out of time')}; {(await task).final_text}")

        task = await start(loop, session)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        [info] = await loop.list_sessions()
        print(f"by task: {info.status}, waiting for {info.waiting_for!r}")

        print(f"open calls: {await loop.get_pending(session)}")
        print(f"and on: {(await loop.send('Are you there?', session)).final_text}")


asyncio.run(main())
