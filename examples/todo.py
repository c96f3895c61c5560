"""A todo list that is part of the journal: told as events, reminded of, and there after a restart. Needs no key."""

import asyncio
from datetime import UTC, datetime

from power_loop import AgentLoopConfig, StatefulAgentLoop, SystemPromptBuilder, tool
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.todo import todo_tool


@tool(effect="read")
def read_page(number: int) -> str:
    """Read a page."""
    return f"page {number}: nothing new"


def plan(first: str, second: str) -> dict[str, list[dict[str, str]]]:
    """Return the arguments of a todo call."""
    return {"items": [{"text": "read the book", "status": first}, {"text": "write a summary", "status": second}]}


def today() -> str:
    """Say where the session works; once, when it begins."""
    return f"It is the year {datetime.now(UTC).year}."


async def main() -> None:
    """A model plans, forgets its plan, is reminded; another loop finishes."""
    pages = [reply("", call("read_page", number=number)) for number in range(1, 6)]
    model = ScriptedLLM(reply("", call("todo", **plan("in_progress", "pending"))), *pages, "I have read it.")
    config = AgentLoopConfig(system_prompt=SystemPromptBuilder().use("identity", "todo_discipline"), environment=today)
    tools = [todo_tool(), read_page]
    loop = StatefulAgentLoop(llm=model, tools=tools, config=config, db_path="sessions.db")
    loop.event_bus.subscribe("todo_updated", lambda event: print(f"told:\n{event.data.rendered}"))
    async with loop:
        session = (await loop.send("Sum the book up.")).session_id
    print(f"the prompt has {len((model.requests[0].system_prompt or '').splitlines())} lines")
    print(f"first: {model.requests[0].messages[0].text}")
    print(f"last: {model.requests[-1].messages[-1].text}")

    model = ScriptedLLM(reply("", call("todo", **plan("completed", "completed"))), "Done.")
    async with StatefulAgentLoop(llm=model, tools=tools, config=config, db_path="sessions.db") as loop:
        print("kept:", [f"{item.text}: {item.status}" for item in await loop.get_todos(session)])
        await loop.send("Go on.", session)
        print("then:", [f"{item.text}: {item.status}" for item in await loop.get_todos(session)])


asyncio.run(main())
