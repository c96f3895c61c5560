"""Retries: one policy, and the one place that turns a failed attempt into a recorded decision."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from power_loop.decisions.spending import UNSETTLED
from power_loop.engine.cancellation import CancellationToken
from power_loop.facts.entries import ModelFailed
from power_loop.facts.errors import ConfigError, LLMError, LLMRetryExhausted, LLMTimeout, PowerLoopError

_T = TypeVar("_T")


class LLMRetryPolicy(msgspec.Struct, frozen=True):
    """How often and how long to try a model call.

    ``backoff_initial`` and ``backoff_max`` are seconds, doubled per attempt; ``jitter`` spreads each pause by that
    share up and down. ``total_timeout`` bounds all attempts together and the call itself, in seconds; None for no
    bound. An error that says it is not retryable is never retried, whatever ``retry_on`` says. A provider's
    Retry-After lengthens the pause.
    """

    max_attempts: int = 3
    backoff_initial: float = 0.5
    backoff_max: float = 8.0
    total_timeout: float | None = 600.0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigError(f"LLMRetryPolicy.max_attempts must be at least 1, got {self.max_attempts}.")
        if self.backoff_initial < 0 or self.backoff_max < self.backoff_initial:
            raise ConfigError("LLMRetryPolicy needs 0 <= backoff_initial <= backoff_max.")
        if self.total_timeout is not None and self.total_timeout <= 0:
            raise ConfigError("LLMRetryPolicy.total_timeout must be positive, or None for no bound.")
        if not 0 <= self.jitter < 1:
            raise ConfigError("LLMRetryPolicy.jitter must be in [0, 1).")

    def backoff_for_attempt(self, attempt: int) -> float:
        """Return the pause in seconds after that many failed attempts, before jitter; 0 for none."""
        if attempt <= 0:
            return 0.0
        return float(min(self.backoff_max, self.backoff_initial * 2 ** min(attempt - 1, 60)))

    def pause(self, attempt: int, error: BaseException) -> float:
        """Return the pause to make: with jitter, and never shorter than the provider asks for."""
        spread = 1 + random.uniform(-self.jitter, self.jitter)  # noqa: S311 -- spreads load, guards nothing
        asked = getattr(error, "retry_after", None) or 0.0
        return max(self.backoff_for_attempt(attempt) * spread, float(asked))

    def retries(self, error: BaseException) -> bool:
        """Tell whether this kind of error may be tried again."""
        if isinstance(error, PowerLoopError) and not getattr(error, "retryable", False):
            return False
        return isinstance(error, self.retry_on)


def failed_attempt(error: Exception, attempt: int, policy: LLMRetryPolicy, remaining: float | None) -> ModelFailed:
    """Decide what follows a failed attempt; ``remaining`` are the seconds that ``total_timeout`` leaves."""
    code = error.code if isinstance(error, PowerLoopError) else LLMError.code
    message, kind, unsettled = str(error)[:500], type(error).__name__, code in UNSETTLED
    if policy.retries(error):
        if attempt < policy.max_attempts:
            delay = policy.pause(attempt, error)
            if remaining is None or delay < remaining:
                return ModelFailed(
                    attempt, code, message, kind, retry=True, delay=delay, max_attempts=policy.max_attempts
                )
            code = "llm_timeout"
        else:
            code = "llm_retry_exhausted"
    return ModelFailed(attempt, code, message, kind, max_attempts=policy.max_attempts, unsettled=unsettled)


async def with_retry(
    call: Callable[[], Awaitable[_T]],
    *,
    policy: LLMRetryPolicy,
    token: CancellationToken | None = None,
    on_retry: Callable[[int, BaseException, float], None] | None = None,
) -> _T:
    """Call until it works, for code outside a run.

    Raises LLMRetryExhausted, LLMTimeout, CancellationRequested, or the error itself when it is not retryable.
    """
    began = time.monotonic()
    deadline = None if policy.total_timeout is None else began + policy.total_timeout
    for attempt in range(1, policy.max_attempts + 1):
        if token is not None:
            token.raise_if_cancelled()
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()) as bound:
                return await call()
        except Exception as error:
            if bound.expired():
                raise _timed_out(policy, began, attempt) from error
            if not policy.retries(error):
                raise
            if attempt == policy.max_attempts:
                raise LLMRetryExhausted(attempts=attempt, last_error=error) from error
            delay = policy.pause(attempt, error)
            if deadline is not None and time.monotonic() + delay >= deadline:
                raise _timed_out(policy, began, attempt) from error
            if on_retry is not None:
                on_retry(attempt, error, delay)
            await asyncio.sleep(delay)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _timed_out(policy: LLMRetryPolicy, began: float, attempts: int) -> LLMTimeout:
    return LLMTimeout(elapsed=time.monotonic() - began, attempts=attempts, total_timeout=policy.total_timeout or 0.0)
