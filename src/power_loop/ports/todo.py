"""The todo list: what a model may say of its plan, and how it is shown. A list is a value; nothing is stored here."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from power_loop.facts import jsontext

TODO_TOOL = "todo"
"""Name of the tool whose last successful call is the list."""
MAX_TODOS = 20
"""Items that a list may have."""
MAX_TODO_TEXT = 500
"""Characters that one item may have."""

TodoStatus: TypeAlias = Literal["pending", "in_progress", "completed"]

_STATUSES: tuple[TodoStatus, ...] = get_args(TodoStatus)
_MARKS: dict[TodoStatus, str] = {"pending": "[ ]", "in_progress": "[>]", "completed": "[x]"}


class TodoItem(msgspec.Struct, frozen=True):
    """One thing to do. ``id`` is the model's own name for it, or its place in the list, from 1."""

    id: str
    text: str
    status: TodoStatus = "pending"


def parse_todos(items: object) -> tuple[TodoItem, ...]:
    """Read the ``items`` of a todo call; raises ValueError in words a model can act on."""
    if not isinstance(items, list | tuple):
        raise ValueError("items must be a list.")  # noqa: TRY004 -- a model's mistake, not the caller's
    if len(items) > MAX_TODOS:
        raise ValueError(f"items has {len(items)} items; at most {MAX_TODOS} are allowed. Merge or drop some.")
    todos = tuple(_item(index, item) for index, item in enumerate(items))
    busy = [todo.text for todo in todos if todo.status == "in_progress"]
    if len(busy) > 1:
        raise ValueError(f"{len(busy)} items are in_progress; at most one may be. Finish or postpone the others.")
    return todos


def _item(index: int, item: object) -> TodoItem:
    if not isinstance(item, dict):
        raise ValueError(f"items[{index}] must be an object with text and status.")  # noqa: TRY004 -- as above
    text = item.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"items[{index}].text is missing or empty.")
    if len(text) > MAX_TODO_TEXT:
        raise ValueError(f"items[{index}].text has {len(text)} characters; at most {MAX_TODO_TEXT} are allowed.")
    status = item.get("status", "pending")
    if status not in _STATUSES:
        raise ValueError(f"items[{index}].status must be one of {', '.join(_STATUSES)}.")
    return TodoItem(_id(index, item.get("id")), _one_line(text), status)


def _id(index: int, given: object) -> str:
    known = isinstance(given, str | int) and not isinstance(given, bool)
    return (_one_line(str(given))[:MAX_TODO_TEXT] if known else "") or str(index + 1)


def _one_line(text: str) -> str:
    return " ".join(jsontext.clean(text)[0].split())


def completed_of(todos: Sequence[TodoItem]) -> int:
    """Return how many items are completed."""
    return sum(todo.status == "completed" for todo in todos)


def render_todos(todos: Sequence[TodoItem]) -> str:
    """Return the list as the model reads it: a line per item, ``[ ]`` pending, ``[>]`` in progress, ``[x]`` completed.

    The last line counts: ``(done/total completed)``. An empty list is said to be empty.
    """
    if not todos:
        return "The todo list is empty."
    lines = [f"{_MARKS[todo.status]} {todo.text}" for todo in todos]
    return "\n".join([*lines, f"({completed_of(todos)}/{len(todos)} completed)"])


def todo_schema() -> dict[str, Any]:
    """Return the JSON Schema of the todo tool's arguments."""
    item = {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "integer"], "description": "Your own name for the item; optional."},
            "text": {
                "type": "string",
                "description": "What is to be done.",
                "minLength": 1,
                "maxLength": MAX_TODO_TEXT,
            },
            "status": {"type": "string", "enum": list(_STATUSES), "default": "pending"},
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    items = {"type": "array", "items": item, "maxItems": MAX_TODOS, "description": "The whole list, in order."}
    return {"type": "object", "properties": {"items": items}, "required": ["items"], "additionalProperties": False}
