"""Errors about one session."""

from collections.abc import Sequence
from typing import Any

from power_loop.facts.errors.base import PowerLoopError


class SessionError(PowerLoopError):
    """Something about one session; ``session_id`` names it."""

    def __init__(self, message: str, session_id: str, **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, session_id=session_id, **details)
        self.session_id = session_id


class SessionNotFoundError(SessionError):
    """No session has this id."""

    code = "session_not_found"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"No session {session_id!r} in this store. Check the id and the db_path, or create it with new_session().",
            session_id,
        )


class SessionExistsError(SessionError):
    """A session with this id is already there."""

    code = "session_exists"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id!r} already exists; use another id or send() to this one.", session_id)


class SessionPendingError(SessionError):
    """The session has tool calls without results; finish or abort them first."""

    code = "session_pending"

    def __init__(self, session_id: str, *, assistant_seq: int, pending_tool_calls: Sequence[Any]) -> None:
        super().__init__(
            f"Session {session_id!r} has {len(pending_tool_calls)} unfinished tool call(s). Call resume() to finish "
            f"them, abort_pending() to answer them, or send(..., on_pending='resume' or 'abort').",
            session_id,
            assistant_seq=assistant_seq,
            pending_tool_calls=list(pending_tool_calls),
        )
        self.assistant_seq = assistant_seq
        self.pending_tool_calls = list(pending_tool_calls)


class SessionBusy(SessionError):
    """Another driver holds the session's lease until ``until`` (wall milliseconds) or until it dies."""

    code = "session_busy"

    def __init__(self, session_id: str, *, owner: str, until: int) -> None:
        super().__init__(
            f"Session {session_id!r} is being driven by {owner}. Retry later, or pass on_busy='wait'.",
            session_id,
            owner=owner,
            until=until,
        )
        self.owner = owner
        self.until = until


class DefinitionChangedError(SessionError):
    """System prompt or tools are not those that the session was told; nothing was written, and a policy is asked for.

    ``system`` tells whether the prompt differs; ``added``, ``removed`` and ``changed`` name tools. All three are empty
    and ``system`` is false where only the order of the tools differs.
    """

    code = "definition_changed"

    def __init__(
        self, session_id: str, *, system: bool, added: Sequence[str], removed: Sequence[str], changed: Sequence[str]
    ) -> None:
        parts = ["the system prompt"] if system else []
        named = (("new tools", added), ("tools gone", removed), ("tools changed", changed))
        parts += [f"{words}: {', '.join(names)}" for words, names in named if names]
        what = "; ".join(parts) or "the order of the tools"
        super().__init__(
            f"Session {session_id!r} was told another definition: {what}. Repeat the verb with "
            f"on_definition_change='adopt' to go on with the new one, 'pin' to keep the recorded one; "
            f"'ask' raises this.",
            session_id,
            system=system,
            added=list(added),
            removed=list(removed),
            changed=list(changed),
        )
        self.system = system
        self.added, self.removed, self.changed = list(added), list(removed), list(changed)
