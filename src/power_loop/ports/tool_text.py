"""Text that models read: what is wrong with their arguments, and what a tool returned."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from power_loop.facts.messages import Text
from power_loop.ports.content import Attachment
from power_loop.ports.tools import ToolHandlerResult

MAX_ERRORS = 5
"""Mistakes that one message about arguments names."""
_SHOWN = 200
_HUGE_BITS = 256
_ROOM_FOR_NOTE = 2
"""A note may take the n-th part of what is shown."""


def path_text(path: Sequence[object], root: str = "arguments") -> str:
    """Return a path into a value, such as ``items[2].name``; ``root`` for the value itself."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text[:_SHOWN] or root


def shown(value: object) -> str:
    """Return a short form of a value of any size."""
    if isinstance(value, str | bytes):
        return repr(value[:_SHOWN]) + ("..." if len(value) > _SHOWN else "")
    if isinstance(value, int) and value.bit_length() > _HUGE_BITS:
        return "a huge number"
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)[:_SHOWN]


def complaint(tool: str, mistakes: Sequence[str]) -> str:
    """Return what a model is told about its arguments; the first five mistakes by name."""
    lines = [f"Invalid arguments for tool {tool!r}. Correct them and call it again."]
    lines += [f"- {mistake}" for mistake in mistakes[:MAX_ERRORS]]
    if len(mistakes) > MAX_ERRORS:
        lines.append("- and more")
    return "\n".join(lines)


def _plain_of(value: object) -> object:
    if isinstance(value, Attachment):
        raise TypeError("return images and documents by themselves, or in a list with text")
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = msgspec.json.Encoder(order="deterministic", enc_hook=_plain_of)


def _slowly(value: object) -> str:
    plain = msgspec.to_builtins(value, str_keys=True, enc_hook=_plain_of)
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _json(value: object) -> str:
    try:
        text = _ENCODER.encode(value).decode()
    except (TypeError, UnicodeEncodeError):  # keys that are not text, lone surrogates
        return _slowly(value)
    return _slowly(value) if "null" in text else text  # NaN and Infinity became null: say them instead


def render_result(value: Any) -> tuple[str, bool]:  # noqa: ANN401 -- whatever a handler returned
    """Return the text for the model, and whether the tool failed.

    Text stays as it is, None is empty text, a ToolHandlerResult speaks for itself, everything else becomes
    canonical JSON. Never raises: what has no text form gives a failed result that says so.
    """
    if isinstance(value, str):
        return value, False
    if value is None:
        return "", False
    if isinstance(value, ToolHandlerResult):
        return value.content, not value.ok
    if isinstance(value, bytes | bytearray | memoryview):
        return f"The tool returned {len(value)} bytes; it must return text. Decode them or describe them.", True
    try:
        return _json(value), False
    except Exception as error:  # noqa: BLE001 -- the value's own code may raise anything
        return f"The tool returned a {type(value).__name__} that cannot be written as JSON: {shown(str(error))}", True


def parts_of(value: Any) -> tuple[Text | Attachment, ...]:  # noqa: ANN401 -- whatever a handler returned
    """Return what a tool returned as text and attachments, in order; empty where there is no attachment in it."""
    if isinstance(value, Attachment):
        return (value,)
    if not isinstance(value, list | tuple) or not any(isinstance(item, Attachment) for item in value):
        return ()
    return tuple(
        item if isinstance(item, Attachment | Text) else Text(render_result(item)[0]) for item in value if item != ""
    )


def clip(text: str, limit: int, note: str = "") -> str:
    """Return at most ``limit`` characters: head and tail, and between them a line that says how much was cut.

    ``note`` goes into that line, where there is room for it.
    """
    size = len(text)
    if size <= limit:
        return text
    if note and limit < _ROOM_FOR_NOTE * len(_marker(size, size, note)):
        note = ""
    room = limit - len(_marker(size, size, note))
    if room <= 0:
        return text[: max(limit, 0)]
    tail = room // 2
    head = room - tail
    return text[:head] + _marker(size - room, size, note) + text[size - tail :]


def _marker(cut: int, size: int, note: str) -> str:
    return f"\n[... {cut} of {size} characters cut{note} ...]\n"
