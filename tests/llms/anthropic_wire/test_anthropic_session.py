"""A session with tools, driven by the loop: what the model thought comes back to it, and the prefix holds."""

from itertools import pairwise
from pathlib import Path

from anthropic_scripts import call, reply, text, text_reply, thought

from power_loop import StatefulAgentLoop, tool
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.testing.faulty_server import FaultyServer

MARKER = b',"cache_control":{"type":"ephemeral"}'


@tool(effect="read")
def lookup(city: str) -> str:
    """Return the weather of a city."""
    return f"rain in {city}"


async def test_thoughts_and_order_survive_the_journal(tmp_path: Path):
    path = str(tmp_path / "sessions.db")
    first = reply(
        thought(0, "hm", signature="sig1"),
        call(1, "toolu_1", "lookup", '{"city": "Lima"}'),
        text(2, "and"),
        call(3, "toolu_2", "lookup", '{"city": "Oslo"}'),
        reason="tool_use",
    )
    async with FaultyServer([first, text_reply("Rain."), text_reply("Still.")]) as server:
        settings = {"model": "scripted", "base_url": server.base_url, "thinking": {"type": "adaptive"}}
        session = None
        for words in ("How is the weather?", "And now?"):
            llm = AnthropicLLM(**settings)
            loop = StatefulAgentLoop(llm=llm, tools=[lookup], db_path=path)
            result = await loop.send(words, session_id=session)
            assert result.status == "completed"
            session = result.session_id
            await llm.close()
        sent = server.requests[-1].json["messages"]
        bodies = [request.body.replace(MARKER, b"") for request in server.requests]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "user"]
    assert [block["type"] for block in sent[1]["content"]] == ["thinking", "tool_use", "text", "tool_use"]
    assert sent[1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig1"}
    assert [block["tool_use_id"] for block in sent[2]["content"]] == ["toolu_1", "toolu_2"]
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier[: earlier.index(b'],"tool_choice"') - 2])
