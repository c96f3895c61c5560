"""A strict validator of request bodies, written apart from the code that makes them.

Knows the OpenAI Chat wire format and nothing of the kernel. Give it every body that a client sends:

    wire = ProtocolValidator()
    wire.check(body)                   # raises ProtocolViolation naming the place
    wire.check(next_body)              # must extend the one before, byte for byte
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Body: TypeAlias = "Mapping[str, Any] | bytes | str"

MAX_CALL_ID = 40
"""Characters of a tool call id that every endpoint takes."""
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[^\s<|\\/>]{1,64}")
_HOTTEST = 2
_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "reasoning_content", "reasoning"},
    "tool": {"role", "content", "tool_call_id"},
}


class ProtocolViolation(AssertionError):
    """A request that a provider may refuse, or that does not extend the one before it."""


def _expect(condition: object, where: str, rule: str) -> None:
    if not condition:
        raise ProtocolViolation(f"{where}: {rule}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def parse(body: Body) -> dict[str, Any]:
    """Return a body as data; text is parsed strictly. Raises ProtocolViolation where it is not one JSON object."""
    try:
        text = body if isinstance(body, bytes | str) else json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, TypeError) as error:
        raise ProtocolViolation(f"body: not valid JSON: {error}") from error
    _expect(isinstance(value, dict), "body", "must be an object")
    return dict(value)


# -- the format


def check_chat_request(body: Body) -> None:
    """Check a body of ``/chat/completions``. Raises ProtocolViolation naming the first thing that is wrong."""
    data = parse(body)
    _expect(isinstance(data.get("model"), str) and data["model"], "model", "must be a name")
    names = _check_tools(data)
    _check_settings(data, names)
    messages = data.get("messages")
    _expect(isinstance(messages, list) and messages, "messages", "must be a list of at least one message")
    _check_conversation(data["messages"])


def _check_tools(data: Mapping[str, Any]) -> set[str]:
    if "tools" not in data:
        return set()
    tools = data["tools"]
    _expect(isinstance(tools, list) and tools, "tools", "must be left out where there is none")
    names: set[str] = set()
    for number, tool in enumerate(tools):
        where = f"tools[{number}]"
        _expect(isinstance(tool, dict) and tool.get("type") == "function", where, "must be of type 'function'")
        function = tool.get("function")
        _expect(isinstance(function, dict), where, "needs a function")
        name = function.get("name")
        _expect(isinstance(name, str) and _TOOL_NAME.fullmatch(name), where, f"bad name {name!r}")
        _expect(name not in names, where, f"name {name!r} is used twice")
        names.add(name)
        _expect(isinstance(function.get("description", ""), str), where, "the description must be text")
        _check_schema(function.get("parameters"), f"{where}.parameters")
    return names


def _check_schema(schema: object, where: str) -> None:
    if not isinstance(schema, dict):
        raise ProtocolViolation(f"{where}: must be a JSON Schema object")
    _expect(schema.get("type") == "object", where, "must be of type 'object'")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    _expect(isinstance(properties, dict), where, "properties must be an object")
    _expect(
        isinstance(required, list) and all(isinstance(name, str) for name in required), where, "required must be names"
    )
    _expect(len(set(required)) == len(required), where, "required names something twice")


def _check_settings(data: Mapping[str, Any], names: set[str]) -> None:
    choice = data.get("tool_choice")
    if isinstance(choice, dict):
        wanted = choice.get("function", {}).get("name")
        _expect(wanted in names, "tool_choice", f"names {wanted!r}, which is not offered")
    else:
        _expect(choice in {None, "auto", "none", "required"}, "tool_choice", f"unknown value {choice!r}")
        _expect(choice is None or names, "tool_choice", "is refused where no tool is offered")
    for field in ("max_tokens", "max_completion_tokens"):
        cap = data.get(field, 1)
        _expect(isinstance(cap, int) and not isinstance(cap, bool) and cap >= 1, field, "must be a number from 1")
    heat = data.get("temperature", 0)
    _expect(isinstance(heat, int | float) and 0 <= heat <= _HOTTEST, "temperature", "must be between 0 and 2")
    _expect("stream_options" not in data or data.get("stream") is True, "stream_options", "is refused without stream")


def _check_conversation(messages: list[Any]) -> None:
    seen: set[str] = set()
    due: list[str] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        _check_message(message, where)
        if due:
            _expect(
                message["role"] == "tool" and message["tool_call_id"] == due[0],
                where,
                f"the result of call {due[0]!r} must stand here",
            )
            due.pop(0)
        else:
            _expect(message["role"] != "tool", where, f"result of {message.get('tool_call_id')!r} without its call")
        for position, call in enumerate(message.get("tool_calls", ())):
            _check_call(call, seen, f"{where}.tool_calls[{position}]")
            due.append(call["id"])
    _expect(not due, "messages", f"call {due[:1]} has no result")
    _expect(messages[-1]["role"] != "assistant", "messages", "the last word is the assistant's: nothing is asked")


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, dict):
        raise ProtocolViolation(f"{where}: must be an object")
    role = message.get("role")
    _expect(role in _FIELDS, where, f"unknown role {role!r}")
    strange = set(message) - _FIELDS[str(role)]
    _expect(not strange, where, f"a {role} message has no {sorted(strange)}")
    if "name" in message:
        _expect(isinstance(message["name"], str) and _NAME.fullmatch(message["name"]), where, "bad name")
    if role == "tool":
        _expect(isinstance(message.get("tool_call_id"), str), where, "needs the tool_call_id it answers")
        _expect(isinstance(message.get("content"), str), where, "a result's content must be text")
        return
    if "tool_calls" in message:
        calls = message["tool_calls"]
        _expect(isinstance(calls, list) and calls, where, "tool_calls must be left out where there is none")
    if "tool_calls" not in message or message.get("content"):
        _check_content(message.get("content"), where)


def _check_content(content: object, where: str) -> None:
    if isinstance(content, str):
        _expect(content.strip(), where, "empty content is refused")
        return
    if not isinstance(content, list) or not content:
        raise ProtocolViolation(f"{where}: content must be text or a list of parts")
    for part in content:
        known = isinstance(part, dict) and isinstance(part.get("type"), str)
        _expect(known, where, "a part needs a type")
        if part["type"] == "text":
            _expect(isinstance(part.get("text"), str) and part["text"], where, "an empty text part is refused")


def _check_call(call: object, seen: set[str], where: str) -> None:
    if not isinstance(call, dict) or call.get("type") != "function" or not isinstance(call.get("function"), dict):
        raise ProtocolViolation(f"{where}: must be of type 'function' with a function")
    identity = call.get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= MAX_CALL_ID:
        raise ProtocolViolation(f"{where}: the id must be text of 1 to {MAX_CALL_ID} characters, got {identity!r}")
    _expect(identity not in seen, where, f"id {identity!r} is used twice")
    seen.add(identity)
    name, arguments = call["function"].get("name"), call["function"].get("arguments")
    _expect(isinstance(name, str) and _TOOL_NAME.fullmatch(name), where, f"bad name {name!r}")
    _expect(isinstance(arguments, str), where, "arguments must be JSON text")
    try:
        value = json.loads(arguments, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ProtocolViolation(f"{where}: the arguments are not JSON: {error}") from error
    _expect(isinstance(value, dict), where, "the arguments must be one JSON object")


# -- from one request to the next


def check_extends(earlier: Body, later: Body, *, messages: bool = True, definition: bool = True) -> None:
    """Check that ``later`` is ``earlier`` with messages appended, each compared as its JSON text.

    ``messages`` False allows for an edit of the view, ``definition`` False for other tools or system text. Raises
    ProtocolViolation.
    """
    before, after = parse(earlier), parse(later)
    if definition:
        for field in ("model", "tools"):
            _expect(_text(before.get(field)) == _text(after.get(field)), field, "changed between two requests")
        _expect(_text(_system(before)) == _text(_system(after)), "system", "changed between two requests")
    if not messages:
        return
    old, new = _spoken(before), _spoken(after)
    for number, message in enumerate(old):
        where = f"message {number} behind the system text"
        _expect(number < len(new), where, f"is gone: {_text(message)[:200]}")
        same = _text(message) == _text(new[number])
        _expect(same, where, f"was {_text(message)[:200]}, is now {_text(new[number])[:200]}")


def _system(data: Mapping[str, Any]) -> object:
    first = data["messages"][0]
    return first if first["role"] in {"system", "developer"} else None


def _spoken(data: Mapping[str, Any]) -> list[Any]:
    messages = list(data["messages"])
    return messages if _system(data) is None else messages[1:]


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # keys in their order: a reordered object is another text


class ProtocolValidator:
    """Checks each body of one conversation by itself and against the one before it.

    Args:
        check: What one body must satisfy; other wire formats pass their own.

    ``bodies`` counts what was checked.
    """

    def __init__(self, check: Callable[[Body], None] = check_chat_request) -> None:
        self.bodies = 0
        self._check = check
        self._last: bytes | None = None

    def check(self, body: Body, *, view_edited: bool = False, definition_changed: bool = False) -> None:
        """Check the next body; say so where the journal records a reason for a new prefix.

        Raises ProtocolViolation.
        """
        self._check(body)
        if self._last is not None:
            check_extends(self._last, body, messages=not view_edited, definition=not definition_changed)
        self.bodies += 1
        self._last = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else _dump(body)

    def check_alone(self, body: Body) -> None:
        """Check a body that is outside the conversation's prefix, such as one that a hook edited for once."""
        self._check(body)
        self.bodies += 1

    def forget(self) -> None:
        """Begin a new prefix."""
        self._last = None


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
