"""The real model for the tests of the local adapter; fetched once through the way that users take."""

import pytest

from power_loop.facts import jsontext
from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.llms.local import LocalLLM, ensure_weights
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition


@pytest.fixture(scope="session")
def weights():
    return ensure_weights()


@pytest.fixture(scope="session")
def llm(weights):
    return LocalLLM(weights)


class Conversation:
    """Plays the kernel's part: asks the model, answers its calls with the given results, until it is done."""

    def __init__(self, llm, tools, results):
        self.llm = llm
        self.tools = tools
        self.results = results
        self.messages = []
        self.calls = []

    async def ask(self, question, **fields):
        self.messages.append(AgentMessage(MessageRole.USER, question))
        while True:
            reply = await self.llm.complete(LLMRequest(self.messages, tools=self.tools, **fields))
            if not reply.tool_calls:
                self.messages.append(AgentMessage(MessageRole.ASSISTANT, reply.content))
                return reply
            self._run(reply.tool_calls)

    def _run(self, calls):
        made = tuple(ToolCall(call.id, call.name, jsontext.parse_object(call.arguments)) for call in calls)
        self.messages.append(AgentMessage(MessageRole.ASSISTANT, "", made))
        for call in made:
            self.calls.append((call.name, call.arguments))
            self.messages.append(AgentMessage(MessageRole.TOOL, self.results[call.name], tool_call_id=call.id))


@pytest.fixture
def conversation(llm):
    return lambda tools, results: Conversation(llm, tools, results)


@pytest.fixture
def make_tool():
    def make(name="tool", description="", **properties):
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return ToolDefinition(name, description, schema)

    return make
