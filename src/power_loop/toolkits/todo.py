"""The ``todo`` tool: a pure function of its arguments. The recorded call is the list; there is nothing to lose."""

from typing import Any

from power_loop.ports.registry import ToolRegistry
from power_loop.ports.todo import TODO_TOOL, parse_todos, render_todos, todo_schema
from power_loop.ports.tools import RegisteredTool, ToolDefinition, ToolHandlerResult

TODO_DEFINITION = ToolDefinition(
    name=TODO_TOOL,
    description=(
        "Write down the plan of a task with several steps, and keep it up to date. Each call replaces the whole "
        "list. At most one item is in_progress: the one you are working on now."
    ),
    input_schema=todo_schema(),
    required_params=("items",),
    effect="read",
)


async def todo(items: list[dict[str, Any]]) -> ToolHandlerResult:
    """Check a list and return it as the model reads it."""
    try:
        return ToolHandlerResult(ok=True, content=render_todos(parse_todos(items)))
    except ValueError as error:
        return ToolHandlerResult(ok=False, content=f"Error: {error} The list is as it was.")


def todo_tool() -> RegisteredTool:
    """Return the tool, ready for ``ToolRegistry.add`` or ``tools=[...]``."""
    return ToolRegistry().register(TODO_DEFINITION, todo)
