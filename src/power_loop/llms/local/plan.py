"""What the small model is asked next, made from the messages alone.

A model of this size never decides well to call a tool. So each offered tool is called once since the last input,
in the order offered, and then the question is answered. Knows nothing of how the model is run.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.local.schema import Schema, reduce_schema
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

ChatMessage: TypeAlias = dict[str, str]

_ANSWER: Final = "Answer the question in one short sentence from the tool results."
_CHAT: Final = "You are a helpful assistant. Answer briefly."
_EXAMPLES: Final = ("What about {}?", "How is {}?")
_WORDS: Final = ("alpha", "Beta", "gamma", "Delta", "omega", "Kappa")
_MAX_CHOICES_TOLD: Final = 40
_NUMBERS: Final = (3, 8, 12, 40, 7, 5)


class Prompt(NamedTuple):
    """One question to the model. ``tool`` is set, with the call's id, where the reply is its arguments."""

    messages: list[ChatMessage]
    schema: Schema | None = None
    tool: ToolDefinition | None = None
    call_id: str = ""


def plan(request: LLMRequest) -> Prompt:
    """Return the next prompt for a request: the arguments of a tool, or an answer."""
    tool = next_tool(request)
    if tool is None:
        return Prompt(_answer_messages(request), _answer_schema(request.response_format))
    schema = reduce_schema(tool.input_schema, tool.required_params)
    return Prompt(_tool_messages(request, tool, schema), schema, tool, _new_id(request.messages))


def next_tool(request: LLMRequest) -> ToolDefinition | None:
    """Return the first offered tool not called since the last input; None when it is time to answer."""
    if request.tool_choice == "none" or not request.tools:
        return None
    called = {call.name for message in _since_input(request.messages) for call in message.tool_calls}
    fresh = next((tool for tool in request.tools if tool.name not in called), None)
    return request.tools[-1] if fresh is None and request.tool_choice == "required" else fresh


def _since_input(messages: Sequence[AgentMessage]) -> Sequence[AgentMessage]:
    last = max((index for index, message in enumerate(messages) if message.role is MessageRole.USER), default=-1)
    return messages[last + 1 :]


def _new_id(messages: Sequence[AgentMessage]) -> str:
    taken = {call.id for message in messages for call in message.tool_calls}
    return next(name for name in (f"call_{n}" for n in itertools.count(len(taken) + 1)) if name not in taken)


def _say(role: str, text: str) -> ChatMessage:
    return {"role": role, "content": text}


def _split(messages: Sequence[AgentMessage]) -> tuple[Sequence[AgentMessage], Sequence[AgentMessage]]:
    """Return what was answered already, and the open question with its tool rounds."""
    answers = (index for index, message in enumerate(messages) if _is_answer(message))
    border = max(answers, default=-1) + 1
    return messages[:border], messages[border:]


def _is_answer(message: AgentMessage) -> bool:
    return message.role is MessageRole.ASSISTANT and not message.tool_calls


def _history(messages: Sequence[AgentMessage]) -> list[ChatMessage]:
    """Return inputs and answers; tool rounds of earlier questions only distract so small a model."""
    plain = (message for message in messages if message.role is MessageRole.USER or _is_answer(message))
    return [_say(str(message.role), message.text) for message in plain]


def _question(messages: Sequence[AgentMessage]) -> str:
    return "\n\n".join(message.text for message in messages if message.role is MessageRole.USER)


def _results(messages: Sequence[AgentMessage]) -> str:
    """Return the results of the tools in plain text, one line of words per call."""
    calls = {call.id: call for message in messages for call in message.tool_calls}
    lines = []
    for message in messages:
        call = calls.get(message.tool_call_id or "") if message.role is MessageRole.TOOL else None
        if call is not None:
            given = ", ".join(f"{name}={_plain(value)}" for name, value in call.arguments.items())
            lines.append(f"{call.name}({given}) returned: {message.text}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _system(request: LLMRequest, task: str) -> ChatMessage:
    own = [request.system_prompt] if request.system_prompt else []
    own += [message.text for message in request.messages if message.role is MessageRole.SYSTEM]
    return _say("system", "\n\n".join([*own, task]))


def _answer_messages(request: LLMRequest) -> list[ChatMessage]:
    before, now = _split(request.messages)
    results = _results(now)
    question = _question(now)
    system = _system(request, _ANSWER if results else _CHAT)
    return [system, *_history(before), _say("user", f"{results}\n\n{question}" if results else question)]


def _answer_schema(response_format: dict[str, Any] | None) -> Schema | None:
    wanted = (response_format or {}).get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    return reduce_schema(schema) if isinstance(schema, dict) else None


def _tool_messages(request: LLMRequest, tool: ToolDefinition, schema: Schema) -> list[ChatMessage]:
    before, now = _split(request.messages)
    task = f"Tool {tool.name}: {tool.description} Write its parameters as JSON."
    parts = [task, *_parameters(tool, schema), _results(now)]
    system = _system(request, "\n".join(part for part in parts if part))
    return [system, *_history(before), *_examples(schema), _say("user", _question(now))]


def _parameters(tool: ToolDefinition, schema: Schema) -> Iterator[str]:
    described = tool.input_schema.get("properties") or {}
    for name, reduced in schema.get("properties", {}).items():
        original = described.get(name)
        words = original.get("description", "") if isinstance(original, dict) else ""
        choices = reduced.get("enum", [])
        told = f"one of {', '.join(map(_plain, choices))}" if 0 < len(choices) <= _MAX_CHOICES_TOLD else ""
        yield f"- {name}: {' '.join(part for part in (words, told) if part)}".rstrip(": ")


def _examples(schema: Schema) -> Iterator[ChatMessage]:
    """Show twice how words of a question become arguments: copying is what so small a model does best."""
    if "properties" not in schema:
        return
    words, numbers = itertools.cycle(_WORDS), itertools.cycle(_NUMBERS)
    for index, asked in enumerate(_EXAMPLES):
        value = _Sampler(index, words, numbers).sample(schema)
        yield _say("user", asked.format(" and ".join(_leaves(value))))
        yield _say("assistant", json.dumps(value, indent=2, ensure_ascii=False))


class _Sampler:
    def __init__(self, index: int, words: Iterator[str], numbers: Iterator[int]) -> None:
        self._index = index
        self._words = words
        self._numbers = numbers

    def sample(self, schema: Schema) -> Any:  # noqa: ANN401 -- any JSON value
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            choices = schema["enum"]
            plain = all(isinstance(choice, str) for choice in choices)
            return next(self._words) if plain else choices[self._index % len(choices)]
        if "anyOf" in schema:
            return self.sample(next((part for part in schema["anyOf"] if part.get("type") != "null"), {}))
        return self._typed(schema)

    def _typed(self, schema: Schema) -> Any:  # noqa: ANN401 -- any JSON value
        match schema.get("type"):
            case "object":
                return {name: self.sample(part) for name, part in schema["properties"].items()}
            case "array":
                return [self.sample(schema["items"])]
            case "integer" | "number":
                return next(self._numbers)
            case "boolean":
                return self._index == 0
            case "null":
                return None
        return next(self._words)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield _plain(value)
