"""Checked by mypy, run by pytest: the types a user sees."""

from typing import assert_type

from power_loop import AgentStream, StatefulAgentLoop, StatefulResult, UsageReport, parse_structured, tool
from power_loop.testing import ScriptedLLM


@tool(effect="read")
def lookup(city: str) -> str:
    """Look up a dish."""
    return city


async def test_the_types_a_user_sees() -> None:
    loop = StatefulAgentLoop(llm=ScriptedLLM("hello", "again"), tools=[lookup], db_path=":memory:")
    result = await loop.send("hi")
    assert_type(result, StatefulResult)
    assert_type(result.session_id, str)
    assert_type(loop.stream("again", session_id=result.session_id), AgentStream)
    assert_type(await loop.get_usage(result.session_id), UsageReport)
    assert_type(lookup("lima"), str)
    assert_type(parse_structured("5", int), int)
