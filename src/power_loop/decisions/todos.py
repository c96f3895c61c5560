"""What a journal says of the todo list, and when the model is to be reminded of it. Pure, and constant per entry."""

from typing import Any

import msgspec

from power_loop.facts.entries import Note
from power_loop.facts.events import TodoUpdatedPayload
from power_loop.ports.tagged import tagged
from power_loop.ports.todo import TodoItem, completed_of, parse_todos, render_todos

REMINDER = "todo_reminder"
"""Topic of the note that reminds the model of its list."""
REMINDER_ROUNDS = 5
"""Replies without a word about an item in progress before the model is reminded."""


class Todos(msgspec.Struct, frozen=True):
    """The list, and ``silent`` replies since the model last wrote it or was last reminded of it."""

    items: tuple[TodoItem, ...] = ()
    silent: int = 0

    def replied(self) -> "Todos":
        """Return what follows from a reply of the model."""
        return Todos(self.items, self.silent + 1) if self.items else self

    def written(self, arguments: dict[str, Any]) -> "Todos":
        """Return what follows from a successful todo call with these arguments; unreadable ones change nothing.

        Of a call that was erased no list is left.
        """
        if "items" not in arguments:
            return Todos()
        try:
            return Todos(parse_todos(arguments.get("items")))
        except ValueError:
            return self

    def reminded(self) -> "Todos":
        """Return what follows from a reminder."""
        return Todos(self.items)


def reminder_due(todos: Todos) -> bool:
    """Tell whether, before the next model call, a note about the list is due."""
    return todos.silent >= REMINDER_ROUNDS and any(todo.status == "in_progress" for todo in todos.items)


def snapshot_text(todos: Todos) -> str:
    """Return the list in its tags, for a note where the model may no longer see its last call; empty without items."""
    return tagged("current_todos", render_todos(todos.items)) if todos.items else ""


def reminder_note(todos: Todos) -> Note:
    """Make the note that reminds the model of its list."""
    words = f"You have not updated your todo list for {todos.silent} replies. If it no longer fits, update it."
    return Note(REMINDER, tagged("reminder", f"{words}\n{snapshot_text(todos)}"))


def todo_payload(items: tuple[TodoItem, ...]) -> TodoUpdatedPayload:
    """Make the payload of ``todo_updated``."""
    rendered = render_todos(items)
    return TodoUpdatedPayload(
        items=[msgspec.to_builtins(item) for item in items],
        counts={"total": len(items), "completed": completed_of(items)},
        rendered=rendered,
        text=rendered,
    )
