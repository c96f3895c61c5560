"""A driver whose tool starts programs: ``crash_process_host.py FOLDER SESSION MODE``, for another to kill.

``running``: the tool's program runs. ``left``: the tool left one in the background and has its result; the next call
of the model never returns. ``ended``: it left one as well, and the run has ended, durably, a moment ago.
"""

import asyncio
import sys
from pathlib import Path

from power_loop import StatefulAgentLoop, ToolContext, tool
from power_loop.stores import SqliteStore
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore


async def main(folder: Path, session: str, mode: str) -> None:
    note = folder / f"{session}.pid"
    background = f"setsid sleep 1000 >/dev/null 2>&1 & echo $! > {note}.new; mv {note}.new {note}"
    script = background if mode != "running" else f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 1000"

    @tool(effect="once")
    async def run(ctx: ToolContext) -> str:
        """Run a program."""
        return (await ctx.run_process(["/bin/sh", "-c", script])).stdout

    async def never(_request) -> str:
        (folder / f"{session}.waits").touch()
        await asyncio.Event().wait()
        return "never"

    async def stop_behind_the_end(point: CommitPoint) -> None:
        if mode == "ended" and "run_ended" in point.kinds and point.moment == "after":
            await never(None)

    llm = ScriptedLLM(reply("", call("run")), never if mode == "left" else "fine")
    store = CrashingStore(SqliteStore(folder / "sessions.db"), stop_behind_the_end)
    loop = StatefulAgentLoop(llm=llm, tools=[run], store=store)
    await loop.new_session(session)
    await loop.send("go", session)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
