"""The three wire formats side by side, for what all of them promise."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic
import anthropic_scripts
import msgspec
import openai
import pytest
import responses_script

from power_loop.facts.messages import Content, Reasoning
from power_loop.llms.anthropic import AnthropicLLM
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.llms.openai_responses import OpenAIResponsesLLM
from power_loop.ports.llm import LLMResponse, ReplyCall
from power_loop.testing.faulty_server import FaultyServer, Reply, text_reply, tool_reply


class WireFormat(NamedTuple):
    """A service, its SDK's client, and replies as its provider sends them."""

    service: Callable[..., Any]
    client: Callable[..., Any]
    text: Callable[[str], Reply]
    calls: Callable[..., Reply]

    def at(self, server: FaultyServer, **settings: Any) -> Any:
        return self.service(model="scripted", base_url=server.base_url, **settings)


def _chat_calls(*calls: ReplyCall) -> Reply:
    return tool_reply(*((call.id, call.name, call.arguments) for call in calls))


def _responses_calls(*calls: ReplyCall) -> Reply:
    items = [responses_script.called(call.id, call.name, call.arguments) for call in calls]
    return responses_script.replying(responses_script.thought("hm", name=f"rs_{calls[0].id}"), *items)


def _anthropic_calls(*calls: ReplyCall) -> Reply:
    blocks = [anthropic_scripts.call(at, call.id, call.name, call.arguments) for at, call in enumerate(calls, 1)]
    return anthropic_scripts.reply(anthropic_scripts.thought(0, "hm"), *blocks, reason="tool_use")


CHAT = WireFormat(OpenAIChatLLM, openai.AsyncOpenAI, text_reply, _chat_calls)
RESPONSES = WireFormat(
    OpenAIResponsesLLM,
    openai.AsyncOpenAI,
    lambda text: responses_script.replying(responses_script.spoken(text)),
    _responses_calls,
)
ANTHROPIC = WireFormat(AnthropicLLM, anthropic.AsyncAnthropic, anthropic_scripts.text_reply, _anthropic_calls)

FORMATS = [
    pytest.param(CHAT, id="chat"),
    pytest.param(RESPONSES, id="responses"),
    pytest.param(ANTHROPIC, id="anthropic"),
]


def placeless(response: LLMResponse) -> Content:
    """The content of a reply, its reasoning without the name of the server that it came from."""
    if isinstance(response.content, str):
        return response.content
    return tuple(
        msgspec.structs.replace(block, origin=block.origin.partition("@")[0]) if isinstance(block, Reasoning) else block
        for block in response.content
    )


def asks(number: int, name: str, **arguments: Any) -> ReplyCall:
    return ReplyCall(f"call_{number}", name, json.dumps(arguments))
