"""What the model that sums up reads: everything, as far as there is room for it."""

import pytest

from power_loop.compaction.transcript import shortened, transcript
from power_loop.facts.messages import AgentMessage, Image, MessageRole, Text, ToolCall

TALK = [
    AgentMessage(MessageRole.USER, "Where is it warm?"),
    AgentMessage(MessageRole.ASSISTANT, "I look.", (ToolCall("w1", "look", {"city": "Lima"}),)),
    AgentMessage(MessageRole.TOOL, "Sunny.", tool_call_id="w1"),
    AgentMessage(MessageRole.USER, (Text("And here?"), Image("sha256:" + "0" * 64, "image/png", 5))),
]


def test_it_tells_who_said_what_and_which_tools_were_called_how():
    assert transcript(TALK, 10_000).split("\n\n") == [
        "[user]\nWhere is it warm?",
        "[assistant]\nI look.",
        '[assistant calls] look({"city":"Lima"})',
        "[result of look]\nSunny.",
        "[user]\nAnd here?\n[image/png]",
    ]


@pytest.mark.parametrize("room", [300, 3_000, 30_000])
def test_what_is_too_long_loses_its_middle(room):
    long = [AgentMessage(MessageRole.USER, f"begin{n} " + "x" * 9_000 + f" end{n}") for n in range(9)]
    text = transcript(long, room)
    assert len(text) <= room
    assert text.startswith("[user]\nbegin0")
    assert text.endswith("end8")
    assert "characters left out" in text


@pytest.mark.parametrize("limit", [0, 1, 10, 60, 200])
def test_a_shortened_text_keeps_its_limit_where_there_is_room_for_the_gap(limit):
    assert len(shortened("x" * 1_000, limit)) <= max(limit, 45)
    assert shortened("short", 5) == "short"
