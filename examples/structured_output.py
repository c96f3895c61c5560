"""An answer that is an instance of your type: asked for, checked, repaired, and built again after a kill.

The model is scripted, so that this runs without a key: it first forgets a field, and its process dies then.
"""

import asyncio
import os
import signal
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal

from power_loop import StatefulAgentLoop, parse_structured
from power_loop.testing import ScriptedLLM, call, reply


@dataclass
class Ticket:
    """What a support mail is about."""

    product: str
    urgency: Literal["low", "high"]


def die(_request) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never said"


def work(session: str) -> None:
    model = ScriptedLLM(reply("", call("final_answer", product="toaster")), die)
    StatefulAgentLoop(llm=model).send_sync("My toaster is on fire!", session, output_type=Ticket)


async def main() -> None:
    model = ScriptedLLM(reply("", call("final_answer", product="toaster", urgency="high")))
    async with StatefulAgentLoop(llm=model) as loop:
        session = await loop.new_session()
        worker = get_context("spawn").Process(target=work, args=(session,))
        worker.start()
        await asyncio.to_thread(worker.join)
        print(f"worker ended with {worker.exitcode}")

        result = await loop.resume(session, output_type=Ticket)
        print(f"{result.status}: {result.output}")
        print(f"told what was wrong: {model.requests[0].messages[-1].text.splitlines()[1]}")

    text = 'Here you are:\n```json\n{"product": "fridge", "urgency": "low"}\n```'
    print(f"from text: {parse_structured(text, Ticket)}")


if __name__ == "__main__":
    asyncio.run(main())
