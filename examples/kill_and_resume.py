"""A worker process is killed with SIGKILL between two tool calls; this process finishes its session.

The model is scripted, so that this runs without a key. What the tools really did is counted in a file of its own.
"""

import asyncio
import os
import signal
from multiprocessing import get_context

from power_loop import AgentEventType, StatefulAgentLoop, ToolContext, tool
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.ledger import EffectLedger

LEDGER = EffectLedger("effects.jsonl")


@tool(effect="read")
async def step(context: ToolContext, number: int) -> str:
    """Do one step of the work."""
    LEDGER.record("step", str(number))
    if number == 2 and context.attempt == 1:
        await asyncio.Event().wait()  # busy for as long as this process lives
    return f"step {number} done"


def work(session: str) -> None:
    model = ScriptedLLM(reply("", call("step", number=1)), reply("", call("step", number=2)))
    StatefulAgentLoop(llm=model, tools=[step]).send_sync("Do both steps.", session)


async def main() -> None:
    model = ScriptedLLM("Both steps are done.")
    async with StatefulAgentLoop(llm=model, tools=[step]) as loop:
        session = await loop.new_session()
        worker = get_context("spawn").Process(target=work, args=(session,))
        worker.start()
        async for event in loop.events(session, follow=True):  # from its journal, in the other process's file
            if event.type is AgentEventType.TOOL_CALL_STARTED and event.payload["tool_input"] == {"number": 2}:
                break
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        print(f"worker ended with {worker.exitcode}, step 1 finished, step 2 inside")

        result = await loop.resume(session)
        print(f"resumed here: {result.status}, {result.final_text!r}")
        print(f"model calls paid here: {model.calls}")
        for number in ("1", "2"):
            print(f"step {number} ran {LEDGER.count('step', number)} time(s)")


if __name__ == "__main__":
    asyncio.run(main())
