"""Errors of model calls; ``retryable`` tells the engine whether the same call may work later."""

from typing import Any, ClassVar

from power_loop.facts.errors.base import PowerLoopError


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
