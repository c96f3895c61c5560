"""Memory across sessions: what one user said helps his next session, and nobody else's. Needs no key."""

import asyncio

from power_loop import AgentLoopConfig, LLMRequest, StatefulAgentLoop
from power_loop.memory import SqliteMemory
from power_loop.testing import ScriptedLLM


def answer(request: LLMRequest) -> str:
    """Stand in for a model: answer from what was recalled, where something was."""
    recalled = [message.text for message in request.messages if message.text.startswith("<recalled_memory>")]
    return "You told me: ceviche." if recalled else "I do not know you yet."


class Broken:
    """A memory that fails; a run does not care."""

    async def recall(self, **_: object) -> list[str]:
        """Fail."""
        raise OSError("the memory's disk is gone")

    async def remember(self, **_: object) -> None:
        """Fail likewise."""
        raise OSError("the memory's disk is gone")


async def main() -> None:
    """Two users, three sessions, one memory; then one that is broken."""
    memory = SqliteMemory("memory.db", namespace=lambda session_id: session_id.split("-")[0])
    model = ScriptedLLM("Noted.", answer, answer)
    async with memory, StatefulAgentLoop(llm=model, memory=memory, db_path="sessions.db") as loop:
        for session in ("ada-1", "ada-2", "bob-1"):
            await loop.new_session(session)
        await loop.send("My favourite dish is ceviche.", "ada-1")
        await loop.close_session("ada-1")  # waits until memory has taken it in
        for session in ("ada-2", "bob-1"):
            result = await loop.send("What is my favourite dish?", session)
            print(f"{session}: {result.final_text}")
        print("\n".join(message["content"] for message in await loop.get_messages("ada-2")))

    config = AgentLoopConfig(memory=Broken(), memory_timeout=2.0)
    loop = StatefulAgentLoop(llm=ScriptedLLM("Still here."), config=config, db_path=":memory:")
    loop.event_bus.subscribe(
        "memory_failed", lambda event: print(f"{event.data.phase} failed: {event.data.error_type}")
    )
    async with loop:
        print((await loop.send("Hello?")).final_text)


asyncio.run(main())
