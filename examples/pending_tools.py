"""A tool that this process cannot run: the run ends as pending_tools, a process that has the tool finishes it.

The model is scripted, so that this runs without a key.
"""

import asyncio

from power_loop import SessionPendingError, StatefulAgentLoop, ToolDefinition, ToolRegistry
from power_loop.testing import ScriptedLLM, call, reply

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
PRINT_LABEL = ToolDefinition("print_label", "Print a label in the warehouse.", SCHEMA)


def registry(handler=None) -> ToolRegistry:
    tools = ToolRegistry()
    tools.register(PRINT_LABEL, handler)
    return tools


async def main() -> None:
    office = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("print_label", label="A-7"))), tools=registry())
    result = await office.send("Print label A-7.")
    print(f"office: {result.status}, open: {[call.name for call in result.pending_tool_calls]}")
    try:
        await office.send("Are you done?", result.session_id)
    except SessionPendingError as error:
        print(f"office: {error.code}")
    await office.close()

    printed = []
    handler = lambda label: printed.append(label) or f"printed {label}"  # noqa: E731 -- the whole printer
    warehouse = StatefulAgentLoop(llm=ScriptedLLM("The label is printed."), tools=registry(handler))
    result = await warehouse.resume(result.session_id)
    print(f"warehouse: {result.status}, {result.final_text!r}, printed {printed}")
    await warehouse.close()


asyncio.run(main())
