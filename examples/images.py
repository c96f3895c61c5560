"""Pictures and files: from the host, from a tool, from an allowed folder; and what is refused.

The model is scripted, so that this runs without a key. Nothing is fetched.
"""

import asyncio
import base64
from pathlib import Path

from power_loop import AgentLoopConfig, Attachment, ContentError, LLMRequest, StatefulAgentLoop, document, image, tool
from power_loop.testing import ScriptedLLM, call, reply

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@tool(effect="read")
def camera() -> list[str | Attachment]:
    """Take a picture."""
    return ["From the front:", image(DOT)]


def kinds(request: LLMRequest) -> str:
    """Tell what the last message is made of; a real model would look at it."""
    content = request.messages[-1].content
    return "text" if isinstance(content, str) else ", ".join(type(block).__name__.lower() for block in content)


async def main() -> None:
    model = ScriptedLLM(
        lambda request: reply(f"the model saw: {kinds(request)}", call("camera")),
        lambda request: f"then from the tool: {kinds(request)}",
    )
    config = AgentLoopConfig(content_roots=["photos"])
    async with StatefulAgentLoop(llm=model, tools=[camera], config=config) as loop:
        result = await loop.send(["Compare:", image(Path("dot.png")), document(b"a dot", name="expected.txt")])
        _, asked, *_ = await loop.get_messages(result.session_id)
        print(asked["content"])
        print(result.final_text)

        for source in (Path("/etc/hostname"), "https://example.com/dot.png"):
            try:
                await loop.send(image(source), result.session_id)
            except ContentError as error:
                print(f"refused: {error.code}: {error}")

        (stats,) = (await loop.store.stats(result.session_id)).sessions
        print(f"stored: {stats.blobs} blobs, since equal pictures are one")


if __name__ == "__main__":
    Path("photos").mkdir(exist_ok=True)
    Path("photos/dot.png").write_bytes(DOT)
    asyncio.run(main())
