"""The one context variable: which session runs, for code that cannot take a parameter."""

from contextvars import ContextVar

_SESSION: ContextVar[str | None] = ContextVar("power_loop_session_id", default=None)


def current_session_id() -> str | None:
    """Return the id of the session whose tool or hook is running, or None outside of one."""
    return _SESSION.get()


def enter_session(session_id: str) -> None:
    """Make a session the current one for this task and what it starts."""
    _SESSION.set(session_id)
