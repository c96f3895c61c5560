"""A tool to try ``power-loop run`` with: ``--tool power_loop.cli.tools:current_time``."""

from datetime import datetime

from power_loop.ports.tool_decorator import tool


@tool(effect="read")
def current_time() -> str:
    """Return the current local date and time, with the time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
