"""What the kernel itself told the model, and what it still has to tell. Pure, and constant per entry."""

from typing import Any

import msgspec

from power_loop.decisions.todos import REMINDER, Todos
from power_loop.facts.entries import DefinitionChanged
from power_loop.ports.memory import MEMORY


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What follows from a journal for notes and definition; a value, so a compaction can carry it as JSON.

    ``since`` is the seq of the first input that is answered now: what memory is told of a run begins there.
    ``recall_due``: behind the newest input stands neither a note of memory nor a model call. ``behind`` counts the
    notes behind the newest input, whose seq is ``newest``.
    """

    todos: Todos = Todos()
    definition: DefinitionChanged | None = None
    since: int = 0
    recall_due: bool = False
    behind: int = 0
    newest: int = 0

    def asked(self, seq: int, *, more: bool) -> "Told":
        """Return what follows from an input at ``seq``; ``more``: what came before is not answered yet."""
        since = self.since if more and self.since else seq
        return Told(self.todos, self.definition, since, recall_due=True, newest=seq)

    def called(self) -> "Told":
        """Return what follows from a model call, or from a round that a hook used up instead."""
        if not self.recall_due:
            return self
        return Told(self.todos, self.definition, self.since, newest=self.newest)

    def replied(self) -> "Told":
        """Return what follows from a reply."""
        told = self.called()
        return msgspec.structs.replace(told, todos=told.todos.replied()) if told.todos.items else told

    def wrote_todos(self, arguments: dict[str, Any]) -> "Told":
        """Return what follows from a successful todo call with these arguments."""
        return msgspec.structs.replace(self, todos=self.todos.written(arguments))

    def noted(self, topic: str) -> "Told":
        """Return what follows from a note."""
        todos = self.todos.reminded() if topic == REMINDER else self.todos
        due = self.recall_due and topic != MEMORY
        return msgspec.structs.replace(self, todos=todos, recall_due=due, behind=self.behind + 1 if due else 0)

    def defined(self, fact: DefinitionChanged) -> "Told":
        """Return what follows from another definition of the host's; one for an output is the kernel's own."""
        return self if fact.output else msgspec.structs.replace(self, definition=fact)
