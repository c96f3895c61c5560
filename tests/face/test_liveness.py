import subprocess
import sys

from power_loop import StatefulAgentLoop
from power_loop.testing import ScriptedLLM

DRIVER = """
import asyncio, sys
from power_loop import StatefulAgentLoop
from power_loop.testing import ScriptedLLM

async def hangs(_request):
    print("called", flush=True)
    await asyncio.Event().wait()

asyncio.run(StatefulAgentLoop(llm=ScriptedLLM(hangs), db_path=sys.argv[1]).send("go"))
"""


async def test_a_list_tells_a_driver_at_work_from_a_dead_one(tmp_path):
    path = str(tmp_path / "s.db")
    with subprocess.Popen([sys.executable, "-c", DRIVER, path], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "called\n"
        async with StatefulAgentLoop(llm=ScriptedLLM("answer"), db_path=path) as loop:
            (info,) = await loop.list_sessions()
            assert (info.status, bool(info.owner)) == ("running", True)
            driver.kill()
            driver.wait()
            (info,) = await loop.list_sessions()
            assert (info.status, info.owner) == ("cut_off", None)
            assert (await loop.resume(info.session_id)).final_text == "answer"
