"""Estimates of tokens, and histories trimmed by them: valid, within the budget, and always an end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power_loop.decisions.trim import trim_history
from power_loop.facts.messages import AgentMessage, Document, Image, MessageRole, Text, ToolCall, to_message
from power_loop.facts.tokens import (
    PER_IMAGE,
    PER_MESSAGE,
    estimate_message_tokens,
    estimate_text_tokens,
    estimate_tokens,
)
from power_loop.ports.llm import LLMRequest, validate_request


def test_nothing_costs_nothing_and_anything_costs_something():
    assert estimate_text_tokens("") == 0
    assert estimate_text_tokens("a") == 1
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n": 1}'}}
    said = {"role": "assistant", "content": "Looking.", "tool_calls": [call]}
    assert estimate_tokens([said]) == estimate_message_tokens(to_message(said)) > estimate_text_tokens("Looking.")
    assert estimate_message_tokens(AgentMessage(MessageRole.USER, "")) == PER_MESSAGE


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("The quick brown fox jumps over the lazy dog. " * 10, 80, 130),
        ("def add(left: int, right: int) -> int:\n    return left + right\n" * 10, 150, 260),
        ("人工智能是计算机科学的一个分支" * 10, 100, 260),
        ('{"id":1234567,"score":3.14159}' * 10, 130, 260),
    ],
)
def test_estimates_are_near_what_tokenizers_say(text, low, high):
    assert low <= estimate_text_tokens(text) <= high


def test_a_long_text_is_sampled_and_comes_near_the_whole():
    text = "".join(f"line {n}: some words, then more words\n" for n in range(2_000))
    parts = sum(estimate_text_tokens(text[at : at + 1_000]) for at in range(0, len(text), 1_000))
    assert abs(estimate_text_tokens(text) - parts) < parts * 0.05


def test_pictures_files_and_calls_count():
    image = AgentMessage(MessageRole.USER, (Text("see"), Image("sha256:" + "0" * 64, "image/png", 10)))
    assert estimate_message_tokens(image) > PER_IMAGE
    small, large = (Document("sha256:" + "0" * 64, "application/pdf", size=size) for size in (1_000, 1_000_000))
    tokens = [estimate_message_tokens(AgentMessage(MessageRole.USER, (block,))) for block in (small, large)]
    assert tokens[0] < tokens[1]
    calls = AgentMessage(MessageRole.ASSISTANT, "", (ToolCall("1", "look", {"where": "behind the house"}),))
    assert estimate_message_tokens(calls) > PER_MESSAGE + 5


def turns():
    text = st.text(max_size=80)
    said = st.builds(lambda role, words: [AgentMessage(role, words)], st.sampled_from(["user", "assistant"]), text)
    orphan = st.builds(lambda words: [AgentMessage(MessageRole.TOOL, words, tool_call_id="lost")], text)

    def batch(count, words):
        calls = tuple(ToolCall(f"{words}{n}", "look", {"n": n}) for n in range(count))
        results = [AgentMessage(MessageRole.TOOL, words, tool_call_id=call.id) for call in calls]
        return [AgentMessage(MessageRole.ASSISTANT, words, calls), *results]

    unanswered = st.builds(lambda words: batch(2, words)[:2], text)
    return st.lists(st.one_of(said, st.builds(batch, st.integers(1, 3), text), orphan, unanswered), max_size=12)


@given(turns(), st.integers(-10, 600), st.booleans())
def test_a_trimmed_history_is_valid_within_its_budget_and_the_newest_part(parts, budget, keep_system):
    seen: set[str] = set()
    messages = [AgentMessage(MessageRole.SYSTEM, "Be brief.")]
    for part in parts:
        ids = {call.id for message in part for call in message.tool_calls}
        if not ids & seen:
            messages += part
        seen |= ids
    kept = trim_history(messages, budget, keep_system=keep_system)
    assert estimate_tokens(kept) <= max(budget, 0)
    if kept:
        validate_request(LLMRequest(kept))
    rest = iter(messages)
    assert all(message in rest for message in kept), "in order"


def test_dicts_come_back_as_they_were():
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "x" * 900},
        {"role": "user", "content": "y"},
    ]
    assert trim_history(messages, 40) == [messages[0], messages[2]]
    assert trim_history(messages, 40, keep_system=False) == [messages[2]]
    assert trim_history(messages, 0) == []
