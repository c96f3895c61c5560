"""Errors of tools."""

from power_loop.facts.errors.base import PowerLoopError


class ToolError(PowerLoopError):
    """A tool call cannot be carried out. ``tool_name`` names the tool."""

    code = "tool_error"

    def __init__(self, tool_name: str, message: str) -> None:
        super().__init__(message, tool_name=tool_name)
        self.tool_name = tool_name


class ToolNotFound(ToolError):
    """No tool of this name is registered."""

    code = "tool_not_found"

    def __init__(self, tool_name: str) -> None:
        super().__init__(tool_name, f"Unknown tool: {tool_name}")


class ToolValidationError(ToolError):
    """The arguments do not fit the tool's schema."""

    code = "tool_validation_error"


class ToolTimeout(ToolError):
    """The tool did not return within its timeout."""

    code = "tool_timeout"


class AsyncToolInSyncContext(PowerLoopError, TypeError):
    """An async tool was invoked without an event loop; use ``invoke_async``."""

    code = "async_tool_in_sync_context"
