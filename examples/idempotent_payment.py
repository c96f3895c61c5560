"""A payment whose process dies right after the bank booked it: reconcile asks the bank, nothing is paid twice.

The model is scripted and the bank is a file, so that this runs without a key.
"""

import asyncio
import os
import signal
from multiprocessing import get_context
from typing import Any

from power_loop import StatefulAgentLoop, ToolContext, tool
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.ledger import EffectLedger

BANK = EffectLedger("bank.jsonl")


def ask_the_bank(context: ToolContext, _arguments: dict[str, Any]) -> str | None:
    """Return the result of a payment in doubt; None would mean that it did not happen, and it would run again."""
    booked = BANK.read("booked", context.idempotency_key)
    return f"paid {booked[0].details['amount']} (as the bank confirms)" if booked else None


@tool(reconcile=ask_the_bank)
async def pay(context: ToolContext, amount: int) -> str:
    """Pay the bill. Each call has one key, the same in every attempt and every process."""
    BANK.record("booked", context.idempotency_key, amount=amount)
    if os.environ.get("DOOMED"):
        os.kill(os.getpid(), signal.SIGKILL)  # booked, and nobody was told
    return f"paid {amount}"


def drive_in_a_child() -> None:
    os.environ["DOOMED"] = "yes"
    StatefulAgentLoop(llm=ScriptedLLM(reply("", call("pay", amount=40))), tools=[pay]).send_sync("Pay the bill.")


async def main() -> None:
    async with StatefulAgentLoop(llm=ScriptedLLM("The bill is paid."), tools=[pay]) as loop:
        [session] = await loop.list_sessions()
        result = await loop.resume(session.session_id)
        outcome = next(m for m in await loop.get_messages(session.session_id) if m["role"] == "tool")
        print(f"the tool's result: {outcome['content']}")
        print(f"the model: {result.final_text}")
        print(f"bookings at the bank: {BANK.count('booked')}")


if __name__ == "__main__":
    child = get_context("spawn").Process(target=drive_in_a_child)
    child.start()
    child.join()
    print(f"the driver died with exit code {child.exitcode}")
    asyncio.run(main())
