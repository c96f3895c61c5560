"""A real language model in this process: SmolLM2-135M, no key and no server. The first use fetches it (98 MB).

Needs pip install 'power-loop[local]'. So small a model is there to see the machinery work, not for good answers: it
calls each offered tool once and then answers.
"""

import asyncio
from typing import Literal

from power_loop import AgentEventType, StatefulAgentLoop, tool

HEIGHTS = {"Everest": 8849, "Denali": 6190, "Matterhorn": 4478}


@tool(effect="read")
def height_of(mountain: Literal["Everest", "Denali", "Matterhorn"]) -> str:
    """Return the height of a mountain.

    Args:
        mountain: The mountain that the question is about.
    """
    return f"{mountain} is {HEIGHTS[mountain]} metres high."


async def main() -> None:
    async with StatefulAgentLoop(llm="local", tools=[height_of]) as loop:
        stream = loop.stream("How high is the Matterhorn?")
        async for event in stream:
            if event.type is AgentEventType.TOOL_CALL_STARTED:
                print(f"\n{event.payload['name']}({event.payload['tool_input']['mountain']})")
            elif event.type is AgentEventType.STREAM_DELTA:
                print(event.payload["text"], end="", flush=True)
        assert stream.result is not None
        print(f"\n{stream.result.status} after {stream.result.rounds} rounds")


asyncio.run(main())
