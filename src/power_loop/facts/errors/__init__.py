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
    ├── SpecValidationError                ├── CompactionFailed
    ├── StructuredOutputError              └── CancellationRequested

Signals that steer the engine and never reach a host (``HeadMoved``, ``InboxNotEmpty``, ``CancelRequested``)
are drawn apart, under ``AppendRefused``: a store raises them, the engine answers them.
"""

from power_loop.facts.errors.base import (
    CancellationRequested,
    CompactionFailed,
    ConfigError,
    HookError,
    InvalidInputError,
    InvalidRequestError,
    MissingExtraError,
    NoProgress,
    PowerLoopError,
    SpecValidationError,
    StructuredOutputError,
    SyncInsideRun,
)
from power_loop.facts.errors.content import (
    BrokenContent,
    ContentError,
    ContentNotAllowed,
    ContentTooLarge,
    ContentUnavailable,
    UnsupportedContent,
)
from power_loop.facts.errors.models import (
    LLMAuthError,
    LLMBadRequest,
    LLMConnectionError,
    LLMContextTooLong,
    LLMError,
    LLMMalformed,
    LLMOverloaded,
    LLMRateLimited,
    LLMRefused,
    LLMRetryExhausted,
    LLMStalled,
    LLMTimeout,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.facts.errors.sessions import (
    DefinitionChangedError,
    SessionBusy,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SessionPendingError,
)
from power_loop.facts.errors.stores import (
    AppendRefused,
    BlobNotFound,
    CancelRequested,
    HeadMoved,
    InboxNotEmpty,
    JournalTooNew,
    LeaseLost,
    StoreBusy,
    StoreClosed,
    StoreCorrupt,
    StoreError,
    StoreForked,
    StoreFull,
    StoreIOError,
    StoreReadOnly,
    StoreUnavailable,
)
from power_loop.facts.errors.tools import (
    AsyncToolInSyncContext,
    ToolError,
    ToolNotFound,
    ToolTimeout,
    ToolValidationError,
)

__all__ = [
    "AppendRefused",
    "AsyncToolInSyncContext",
    "BlobNotFound",
    "BrokenContent",
    "CancelRequested",
    "CancellationRequested",
    "CompactionFailed",
    "ConfigError",
    "ContentError",
    "ContentNotAllowed",
    "ContentTooLarge",
    "ContentUnavailable",
    "DefinitionChangedError",
    "HeadMoved",
    "HookError",
    "InboxNotEmpty",
    "InvalidInputError",
    "InvalidRequestError",
    "JournalTooNew",
    "LLMAuthError",
    "LLMBadRequest",
    "LLMConnectionError",
    "LLMContextTooLong",
    "LLMError",
    "LLMMalformed",
    "LLMOverloaded",
    "LLMRateLimited",
    "LLMRefused",
    "LLMRetryExhausted",
    "LLMStalled",
    "LLMTimeout",
    "LLMTruncated",
    "LLMUnavailable",
    "LeaseLost",
    "MissingExtraError",
    "NoProgress",
    "PowerLoopError",
    "SessionBusy",
    "SessionError",
    "SessionExistsError",
    "SessionNotFoundError",
    "SessionPendingError",
    "SpecValidationError",
    "StoreBusy",
    "StoreClosed",
    "StoreCorrupt",
    "StoreError",
    "StoreForked",
    "StoreFull",
    "StoreIOError",
    "StoreReadOnly",
    "StoreUnavailable",
    "StructuredOutputError",
    "SyncInsideRun",
    "ToolError",
    "ToolNotFound",
    "ToolTimeout",
    "ToolValidationError",
    "UnsupportedContent",
]
