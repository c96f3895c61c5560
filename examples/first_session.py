"""A conversation in a file: continue it by its id, read it back in another process or after a restart.

The model is scripted, so that this runs without a key; a real one is llm="openai:gpt-5-mini" or llm="local".
"""

import asyncio

from power_loop import StatefulAgentLoop
from power_loop.testing import ScriptedLLM


async def talk() -> str:
    model = ScriptedLLM("Nice to meet you, Ada.", "You said your name is Ada.")
    async with StatefulAgentLoop(llm=model, db_path="sessions.db") as loop:
        first = await loop.send("Hello, I am Ada.", metadata={"channel": "example"})
        print(f"model: {first.final_text}")
        second = await loop.send("What is my name?", first.session_id)
        print(f"model: {second.final_text}  ({second.status}, {second.usage.total_tokens} tokens)")
        return first.session_id


async def read_back(session_id: str) -> None:
    async with StatefulAgentLoop(llm=ScriptedLLM(), db_path="sessions.db") as loop:
        for message in await loop.get_messages(session_id):
            print(f"  {message['role']:9} {message['content']}")
        for info in await loop.list_sessions():
            print(f"{info.session_id}: {info.status}, {info.entries} entries, {info.metadata}")


session = asyncio.run(talk())
print("read back from sessions.db:")
asyncio.run(read_back(session))
