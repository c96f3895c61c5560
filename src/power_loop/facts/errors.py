"""Every error the kernel raises, each with a stable ``code`` and the fields a program needs.

    PowerLoopError
    ├── ConfigError (also ValueError)      ├── MissingExtraError      ├── SyncInsideRun
    ├── InvalidInputError (also ValueError)├── NoProgress             ├── InvalidRequestError
    │   └── ContentError
    │       ├── UnsupportedContent ├── BrokenContent  ├── ContentTooLarge    ├── ContentNotAllowed
    │       └── ContentUnavailable
    ├── SessionError
    │   ├── SessionNotFoundError           ├── SessionExistsError
    │   ├── SessionPendingError            ├── SessionBusy
    │   └── DefinitionChangedError
    ├── StoreError
    │   ├── StoreFull          ├── StoreBusy         ├── StoreIOError       ├── StoreReadOnly
    │   ├── StoreUnavailable   ├── StoreCorrupt      ├── StoreClosed        ├── StoreForked
    │   ├── JournalTooNew      ├── LeaseLost         └── BlobNotFound
    ├── LLMError (retryable or not)
    │   ├── LLMRateLimited     ├── LLMOverloaded     ├── LLMConnectionError ├── LLMTruncated
    │   ├── LLMMalformed       ├── LLMStalled        ├── LLMRefused         ├── LLMContextTooLong
    │   ├── LLMAuthError       ├── LLMBadRequest     └── LLMUnavailable
    │   └── LLMTimeout         └── LLMRetryExhausted
    ├── ToolError
    │   ├── ToolNotFound       ├── ToolValidationError   └── ToolTimeout
    ├── AsyncToolInSyncContext (also TypeError)
    ├── HookError
    ├── SpecValidationError                ├── StructuredOutputError
    └── CancellationRequested

Signals that steer the engine and never reach a host (``HeadMoved``, ``InboxNotEmpty``, ``CancelRequested``)
are drawn apart, under ``AppendRefused``: a store raises them, the engine answers them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class PowerLoopError(Exception):
    """Base of all errors of the kernel. ``code`` is stable; ``details`` holds the machine fields."""

    code: ClassVar[str] = "power_loop_error"

    def __init__(self, message: str, **details: Any) -> None:  # noqa: ANN401 -- each subclass names its own
        super().__init__(message)
        self.message = message
        self.details = details


class ConfigError(PowerLoopError, ValueError):
    """A setting cannot work as given."""

    code = "invalid_config"


class MissingExtraError(PowerLoopError, ImportError):
    """An optional package is needed and not installed; the message names the command that installs it."""

    code = "missing_extra"


class InvalidInputError(PowerLoopError, ValueError):
    """The input of a verb is empty or of a kind that the kernel does not take."""

    code = "invalid_input"


class ContentError(InvalidInputError):
    """An image or a document cannot be taken. ``source`` says which, without its bytes and without secrets."""

    code = "content_error"

    def __init__(self, message: str, *, source: str = "", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, source=source, **details)
        self.source = source


class UnsupportedContent(ContentError):
    """Its bytes are of a type that is not supported there; ``details["media_type"]`` where it is known."""

    code = "unsupported_content"


class BrokenContent(ContentError):
    """It is not what it claims to be: undecodable, cut off, encrypted."""

    code = "broken_content"


class ContentTooLarge(ContentError):
    """It is larger than the setting allows; ``details["limit"]`` is in bytes."""

    code = "content_too_large"


class ContentNotAllowed(ContentError):
    """Its path or URL is not one that the host allows."""

    code = "content_not_allowed"


class ContentUnavailable(ContentError):
    """It is allowed and could not be read or fetched."""

    code = "content_unavailable"


class InvalidRequestError(PowerLoopError):
    """A provider request breaks the pairing rules; raised before it is sent."""

    code = "invalid_request"


class SyncInsideRun(PowerLoopError):
    """A ``_sync`` verb was called on the kernel's own loop thread, where waiting would never end."""

    code = "sync_inside_run"


class NoProgress(PowerLoopError):
    """A step returned without recording anything; the loop would spin for ever."""

    code = "no_progress"


# -- sessions


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


# -- stores


class StoreError(PowerLoopError):
    """The store could not do it. ``path`` says where. Everything acknowledged is intact."""

    code = "store_error"

    def __init__(self, message: str, *, path: str = "", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, path=path, **details)
        self.path = path


class StoreFull(StoreError):
    """No space left; nothing of the refused commit was kept."""

    code = "store_full"


class StoreBusy(StoreError):
    """Another process holds the write lock; ``holder`` says which, where known."""

    code = "store_busy"


class StoreIOError(StoreError):
    """The disk or file system answered with an error."""

    code = "store_io_error"


class StoreReadOnly(StoreError):
    """The file or file system cannot be written."""

    code = "store_read_only"


class StoreUnavailable(StoreError):
    """The database cannot be reached or opened."""

    code = "store_unavailable"


class StoreCorrupt(StoreError):
    """Stored bytes do not match their digests or cannot be read as what they claim to be."""

    code = "store_corrupt"


class BlobNotFound(StoreError):
    """The store does not hold these bytes: never written, erased, or gone with the last session that had them."""

    code = "blob_not_found"


class StoreClosed(StoreError):
    """The store object was closed."""

    code = "store_closed"


class StoreForked(StoreError):
    """The store object was made before a ``fork`` and is used after it; open a new one in the child."""

    code = "store_forked"


class JournalTooNew(StoreError):
    """The journal holds an essential entry of a newer release; this release can only read it."""

    code = "journal_too_new"


class LeaseLost(StoreError):
    """This driver's epoch is no longer the session's: another one took over, and nothing was written."""

    code = "lease_lost"


class AppendRefused(StoreError):
    """Base of the signals by which a store tells the engine to look again; nothing was written."""

    code = "append_refused"


class HeadMoved(AppendRefused):
    """The head is not where the append expected it."""

    code = "head_moved"


class InboxNotEmpty(AppendRefused):
    """The append would end a run or free a lease over an unconsumed inbox row."""

    code = "inbox_not_empty"


class CancelRequested(AppendRefused):
    """The append would start a model call or a tool over an unconsumed cancel."""

    code = "cancel_requested"


# -- models


class LLMError(PowerLoopError):
    """A model call gave no usable reply. ``retryable`` tells whether the same call may work later."""

    code = "llm_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        **details: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(message, retry_after=retry_after, status=status, **details)
        self.retry_after = retry_after
        self.status = status


class LLMRateLimited(LLMError):
    """The provider asks to slow down; ``retry_after`` is in seconds, where it said so."""

    code = "llm_rate_limited"
    retryable = True


class LLMOverloaded(LLMError):
    """The provider is overloaded (503, 529)."""

    code = "llm_overloaded"
    retryable = True


class LLMUnavailable(LLMError):
    """The provider failed on its side (other 5xx)."""

    code = "llm_unavailable"
    retryable = True


class LLMConnectionError(LLMError):
    """The provider could not be reached or the connection broke."""

    code = "llm_connection_error"
    retryable = True


class LLMTruncated(LLMError):
    """The stream ended without the provider's end marker."""

    code = "llm_truncated"
    retryable = True


class LLMMalformed(LLMError):
    """The reply cannot be decoded."""

    code = "llm_malformed"
    retryable = True


class LLMStalled(LLMError):
    """Nothing arrived for longer than the idle limit."""

    code = "llm_stalled"
    retryable = True


class LLMRefused(LLMError):
    """The provider refused the content."""

    code = "llm_refused"


class LLMContextTooLong(LLMError):
    """The request does not fit the model's context window."""

    code = "llm_context_too_long"


class LLMAuthError(LLMError):
    """The key is missing, wrong or not allowed to do this."""

    code = "llm_auth_error"


class LLMBadRequest(LLMError):
    """The provider does not accept the request."""

    code = "llm_bad_request"


class LLMTimeout(LLMError):
    """The policy's ``total_timeout`` passed before a reply was complete."""

    code = "llm_timeout"

    def __init__(self, *, elapsed: float, attempts: int, total_timeout: float) -> None:
        super().__init__(
            f"No complete reply within {total_timeout:g} s ({attempts} attempt(s), {elapsed:.1f} s elapsed). Raise "
            f"LLMRetryPolicy.total_timeout or check the provider.",
            elapsed=elapsed,
            attempts=attempts,
            total_timeout=total_timeout,
        )
        self.elapsed = elapsed
        self.attempts = attempts
        self.total_timeout = total_timeout


class LLMRetryExhausted(LLMError):
    """Every attempt that the policy allows has failed; ``last_error`` is the last failure."""

    code = "llm_retry_exhausted"

    def __init__(self, *, attempts: int, last_error: BaseException) -> None:
        super().__init__(f"All {attempts} attempt(s) failed; the last: {last_error}", attempts=attempts)
        self.attempts = attempts
        self.last_error = last_error


# -- tools, hooks, the rest


class CompactionFailed(PowerLoopError):
    """A compactor could not make a summary; recorded, and never raised by a verb."""

    code = "compaction_failed"


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


class HookError(PowerLoopError):
    """A hook raised; the run ended and the session can go on. The cause is chained."""

    code = "hook_failed"


class SpecValidationError(PowerLoopError, ValueError):
    """A specification given by the host is not valid; ``field`` names the part."""

    code = "invalid_spec"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.field = field


class StructuredOutputError(PowerLoopError):
    """Text is not the output that was asked for. ``text`` is the text, ``problem`` says what is wrong with it."""

    code = "structured_output_invalid"

    def __init__(self, problem: str, *, text: str) -> None:
        super().__init__(f"The text is not the output that was asked for. {problem}", text=text, problem=problem)
        self.text = text
        self.problem = problem


class CancellationRequested(PowerLoopError):
    """A cancellation token was set; ``reason`` says why."""

    code = "cancelled"

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(f"Cancelled: {reason}", reason=reason)
        self.reason = reason
