"""Mirroring conversations elsewhere: a sink hears of each message once it is durable, and never writes history.

The model is scripted, so that this runs without a key.
"""

import asyncio

from power_loop import NullSink, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply


class Mirror(NullSink):
    """Keeps a copy; NullSink supplies the callbacks that are not wanted."""

    def __init__(self) -> None:
        self.copy = []

    def on_message_appended(self, message, *, round_index):
        """Take a durable message, in OpenAI Chat shape."""
        print(f"round {round_index}: {message['role']} {message['content']!r}")
        self.copy.append(message)

    def on_round_ended(self, round_index, *, usage=None):
        """Take the end of a round."""
        print(f"round {round_index} ended: {usage['total_tokens']} tokens")


@tool(effect="read")
def tide(day: str) -> str:
    """Return the time of high tide."""
    return f"{day} 14:20"


async def main() -> None:
    mirror = Mirror()
    model = ScriptedLLM(reply("", call("tide", day="Friday")), "At 14:20.")
    async with StatefulAgentLoop(llm=model, tools=[tide], sink=mirror) as loop:
        result = await loop.send("When is high tide on Friday?")
        print(f"the copy is equal: {mirror.copy == await loop.get_messages(result.session_id)}")


asyncio.run(main())
