"""Watching a run as it goes: text while the model speaks, tools while they work, and a bus for everything else.

The model is scripted, so that this runs without a key.
"""

import asyncio

from power_loop import AgentEventBus, AgentEventType, StatefulAgentLoop, ToolContext, tool
from power_loop.testing import ScriptedLLM, call, reply


@tool(effect="read")
async def search(context: ToolContext, words: str) -> str:
    """Search the library."""
    for shelf in ("A", "B"):
        context.progress(f"shelf {shelf}")
    return f"2 books about {words}"


async def main() -> None:
    bus = AgentEventBus()
    bus.subscribe(AgentEventType.USAGE_UPDATED, lambda event: print(f"[bus] {event.payload['usage']}"))
    model = ScriptedLLM(reply("", call("search", words="tides")), "There are two books about tides.", chunk=8)
    async with StatefulAgentLoop(llm=model, tools=[search], event_bus=bus) as loop:
        stream = loop.stream("What do we have about tides?")
        async for event in stream:
            data = event.payload
            match event.type:
                case AgentEventType.STREAM_DELTA:
                    print(f"[delta] {data['text']!r}")
                case AgentEventType.TOOL_CALL_STARTED:
                    print(f"[entry {event.seq}] {data['name']}({data['tool_input']})")
                case AgentEventType.TOOL_PROGRESS:
                    print(f"[progress] {data['text']}")
                case AgentEventType.TOOL_CALL_COMPLETED:
                    print(f"[entry {event.seq}] {data['name']} -> {data['output']}")
        assert stream.result is not None
        print(f"{stream.result.status}: {stream.result.final_text}")


asyncio.run(main())
