"""P4, P10: tools of one reply overlap in time; each result is durable before its siblings end."""

import asyncio
import threading
from pathlib import Path

import pytest

from power_loop import StatefulAgentLoop, tool
from power_loop.stores import MemoryStore, SqliteStore
from power_loop.testing import ScriptedLLM, call, reply


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_two_tools_meet(kind: str) -> None:
    """Each waits for the other: one after the other they would never return."""
    meeting = threading.Barrier(2)
    both: list[str] = []
    arrived = asyncio.Event()

    @tool(effect="read")
    def blocking(name: str) -> str:
        """Meet in a thread."""
        meeting.wait(20)
        return name

    @tool(effect="read")
    async def awaiting(name: str) -> str:
        """Meet on the event loop."""
        both.append(name)
        if len(both) == 2:
            arrived.set()
        await arrived.wait()
        return name

    name = "awaiting" if kind == "async" else "blocking"
    llm = ScriptedLLM(reply("", call(name, name="a"), call(name, name="b")), "fine")
    loop = StatefulAgentLoop(llm=llm, tools=[blocking, awaiting], store=MemoryStore())
    result = await loop.send("go")
    told = [m["content"] for m in await loop.get_messages(result.session_id) if m["role"] == "tool"]
    assert told == ["a", "b"]


async def test_the_first_result_is_readable_while_the_second_tool_runs(tmp_path: Path) -> None:
    """The second tool itself waits until it sees, through another store object, the first one's result."""
    store = SqliteStore(tmp_path / "sessions.db")
    seen: list[str] = []

    @tool(effect="read")
    async def quick() -> str:
        """Return at once."""
        return "quick"

    @tool(effect="read")
    async def patient() -> str:
        """Return when the sibling's result is durable."""
        while not seen:
            await asyncio.sleep(0)
            entries = await store.read("s")
            seen.extend(entry.fact.content for entry in entries if entry.kind == "tool_finished")
        return "patient"

    llm = ScriptedLLM(reply("", call("patient"), call("quick")), "fine")
    async with StatefulAgentLoop(llm=llm, tools=[quick, patient], db_path=str(tmp_path / "sessions.db")) as loop:
        await loop.new_session("s")
        assert (await loop.send("go", "s")).status == "completed"
        assert seen == ["quick"]
        assert [m["content"] for m in await loop.get_messages("s") if m["role"] == "tool"] == ["patient", "quick"]
    await store.close()
