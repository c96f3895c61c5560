"""A result that is too long to be shown: kept whole, searched by handle, and there for later processes.

The model is scripted, so that this runs without a key.
"""

import asyncio
import re

from power_loop import LLMRequest, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.history import search_history_tool
from power_loop.toolkits.results import read_result_tool

LOG = "\n".join(f"boiler {n % 7} {'FAILED' if n == 777 else 'ran'} at minute {n}" for n in range(2000))
TOOLS = [read_result_tool(), search_history_tool()]


@tool(effect="once", output_limit=500)
def read_log() -> str:
    """Return the log of the boiler room."""
    return LOG.replace("boiler 0 FAILED", "boiler 3 FAILED")


def look_for_failures(request: LLMRequest) -> object:
    """Do what a model does that is told of a handle."""
    shown = request.messages[-1].text
    print(f"the model saw {len(shown)} of {len(LOG)} characters")
    handle = re.findall(r'read_result\(handle="(\w+)"\)', shown)[0]
    return reply("", call("read_result", handle=handle, pattern="FAILED"))


def answer(request: LLMRequest) -> str:
    """Answer from what was found."""
    found = request.messages[-1].text
    print(found)
    return "boiler 3, at line " + re.findall(r"line (\d+)", found)[0]


async def main() -> None:
    model = ScriptedLLM(reply("", call("read_log")), look_for_failures)
    async with StatefulAgentLoop(llm=model, tools=[read_log, *TOOLS]) as loop:
        session = (await loop.send("Which boiler failed?")).session_id  # its script ends here: the run fails

    # a later process: the tool does not run again, and the handle still leads to all of its result
    model = ScriptedLLM(answer, reply("", call("search_history", query="boiler fail")), lambda r: r.messages[-1].text)
    async with StatefulAgentLoop(llm=model, tools=[read_log, *TOOLS]) as loop:
        print("resumed by a later process:", (await loop.resume(session)).final_text)
        print((await loop.send("What had I asked?", session)).final_text)


if __name__ == "__main__":
    asyncio.run(main())
