"""The base of all errors, and those that belong to no other group."""

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


class InvalidRequestError(PowerLoopError):
    """A provider request breaks the pairing rules; raised before it is sent."""

    code = "invalid_request"


class SyncInsideRun(PowerLoopError):
    """A ``_sync`` verb was called on the kernel's own loop thread, where waiting would never end."""

    code = "sync_inside_run"


class NoProgress(PowerLoopError):
    """A step returned without recording anything; the loop would spin for ever."""

    code = "no_progress"


class HookError(PowerLoopError):
    """A hook raised; the run ended and the session can go on. The cause is chained."""

    code = "hook_failed"


class SpecValidationError(PowerLoopError, ValueError):
    """A specification given by the host is not valid; ``field`` names the part."""

    code = "invalid_spec"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.field = field


class CompactionFailed(PowerLoopError):
    """A compactor could not make a summary; recorded, and never raised by a verb."""

    code = "compaction_failed"


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
