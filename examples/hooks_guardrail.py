"""Host code at named points: keep a secret out of the journal, refuse a dangerous call, correct a reply.

The model is scripted, so that this runs without a key.
"""

import asyncio
import re

from power_loop import AgentHooks, AgentMessage, HookDirective, HookPoint, LLMResponse, StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply

hooks = AgentHooks()


@hooks.on(HookPoint.MESSAGE_APPEND)
def mask_card_numbers(ctx):
    masked = re.sub(r"\b\d{16}\b", "****", ctx.message.text)
    ctx.message = AgentMessage(ctx.message.role, masked, tool_call_id=ctx.message.tool_call_id)


@hooks.on(HookPoint.TOOL_BEFORE)
def only_below_tmp(ctx):
    if not ctx.tool_args["path"].startswith("/tmp/"):  # noqa: S108 -- compared, never opened
        ctx.output = f"Refused: {ctx.tool_args['path']} is outside /tmp."
        return HookDirective.SKIP
    return HookDirective.CONTINUE


@hooks.on(HookPoint.LLM_AFTER)
async def no_promises(ctx):
    if "guarantee" in ctx.output.text:
        ctx.output = LLMResponse(ctx.output.text.replace("I guarantee", "I believe"))


@tool
def delete(path: str) -> str:
    """Delete a file (this one only says so)."""
    return f"deleted {path}"


async def main() -> None:
    calls = call("delete", path="/etc/passwd"), call("delete", path="/tmp/old.txt")  # noqa: S108 -- never opened
    model = ScriptedLLM(reply("", *calls), "I guarantee that all is clean.")
    async with StatefulAgentLoop(llm=model, tools=[delete], hooks=hooks) as loop:
        result = await loop.send("Clean up. My card is 4111111111111111.")
        for message in await loop.get_messages(result.session_id):
            print(f"{message['role']:9} {message['content']}")
        bodies = [entry.body for entry in await loop.store.read(result.session_id)]
        print(f"card number in the journal: {any('4111111111111111' in body for body in bodies)}")


asyncio.run(main())
