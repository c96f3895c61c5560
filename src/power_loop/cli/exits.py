"""Exit codes, and the one line that an error becomes. The numbers are stable; docs/cli.md lists them."""

from enum import IntEnum
from typing import Any

from power_loop.face.config import AgentLoopResult
from power_loop.facts.errors import (
    ConfigError,
    InvalidInputError,
    MissingExtraError,
    PowerLoopError,
    SessionBusy,
    SessionError,
    SessionNotFoundError,
    SessionPendingError,
    SpecValidationError,
    StoreError,
)

_FINISH = "Finish them first: power-loop resume"


class Exit(IntEnum):
    """What the process says when it leaves."""

    DONE = 0
    ENDED_OTHERWISE = 1
    USAGE = 2
    SESSION = 3
    STORE = 4
    INTERRUPTED = 130


class UsageError(ConfigError):
    """The arguments do not make sense together."""

    code = "usage"


class AmbiguousSession(SessionError):
    """An abbreviated id means more than one session."""

    code = "ambiguous_session"


def exit_of(error: BaseException) -> Exit:
    """Return the exit code that an error stands for."""
    match error:
        case ConfigError() | InvalidInputError() | MissingExtraError() | SpecValidationError():
            return Exit.USAGE
        case SessionError():
            return Exit.SESSION
        case StoreError():
            return Exit.STORE
        case _:
            return Exit.ENDED_OTHERWISE


def exit_of_result(result: AgentLoopResult) -> Exit:
    """Return the exit code of a run that ended; a session with nothing to do is done."""
    return Exit.DONE if result.status in {"completed", "empty"} else Exit.ENDED_OTHERWISE


def error_document(error: BaseException) -> dict[str, Any]:
    """Return what ``--json`` says of an error."""
    code = error.code if isinstance(error, PowerLoopError) else "internal_error"
    body: dict[str, Any] = {"code": code, "message": error_line(error)}
    for name in ("session_id", "path"):
        value = getattr(error, name, None)
        if isinstance(value, str) and value:
            body[name] = value
    return {"error": body}


def error_line(error: BaseException) -> str:
    """Return an error in one line: the cause, and what to do next."""
    match error:
        case SessionPendingError(session_id=session_id, pending_tool_calls=calls):
            return f"Session {session_id} has {len(calls)} unfinished tool call(s). {_FINISH} {session_id}"
        case SessionNotFoundError(session_id=session_id):
            return f"No session {session_id!r} here. See which there are with: power-loop sessions (and check --db)"
        case SessionBusy(session_id=session_id, owner=owner):
            return f"Session {session_id} is being driven by {owner}. Try again when that process is done."
        case PowerLoopError():
            return " ".join(error.message.split())
    words = " ".join(str(error).split())
    return f"Unexpected {type(error).__name__}: {words} (set POWER_LOOP_DEBUG=1 to see where)"
