"""Settings of a loop, and the results of its verbs."""

from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from power_loop.engine.retry import LLMRetryPolicy
from power_loop.facts.entries import ErrorRecord, Limits
from power_loop.facts.errors import ConfigError, PowerLoopError
from power_loop.facts.messages import ToolCall
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import LLMService

DEFAULT_DB_PATH = "./power_loop_sessions.db"

OnBusy: TypeAlias = Literal["raise", "wait"]


class AgentLoopConfig(msgspec.Struct):
    """How a loop drives its sessions.

    Args:
        system_prompt: Said before every conversation; None for nothing.
        max_rounds: Rounds (a model call and its tools) per input; then one last call sums up.
        temperature: None leaves it to the provider; several models refuse any value.
        max_tokens: Cap of one reply, in tokens; None leaves it to the provider. Not the context window.
        retry_policy: How often and how long to try a model call; None for what the model service was configured with
            (``max_retries``), else the policy's defaults.
        max_parallel_tools: Tools of one round that may run at the same time.
        max_output_repairs: How often the model is told what was wrong with output that an ``output_type`` wants, and
            asked again, per input; a StructuredOutputSpec has a number of its own.
    """

    system_prompt: str | None = None
    max_rounds: int = 24
    temperature: float | None = None
    max_tokens: int | None = 8000
    retry_policy: LLMRetryPolicy | None = None
    max_parallel_tools: int = 8
    max_output_repairs: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.max_rounds, int) or self.max_rounds < 1:
            raise ConfigError(f"AgentLoopConfig.max_rounds must be a whole number from 1, got {self.max_rounds!r}.")
        if self.max_tokens is not None and (not isinstance(self.max_tokens, int) or self.max_tokens < 1):
            raise ConfigError(
                f"AgentLoopConfig.max_tokens must be a whole number from 1 or None, got {self.max_tokens!r}."
            )
        if self.temperature is not None and not 0 <= self.temperature <= 2:  # noqa: PLR2004 -- the widest range of any provider
            raise ConfigError(f"AgentLoopConfig.temperature must be between 0 and 2 or None, got {self.temperature!r}.")
        if not isinstance(self.max_parallel_tools, int) or self.max_parallel_tools < 1:
            raise ConfigError(
                f"AgentLoopConfig.max_parallel_tools must be a whole number from 1, got {self.max_parallel_tools!r}."
            )

        if not isinstance(self.max_output_repairs, int) or self.max_output_repairs < 0:
            raise ConfigError(
                f"AgentLoopConfig.max_output_repairs must be a whole number from 0, got {self.max_output_repairs!r}."
            )

    def retries(self, llm: LLMService) -> LLMRetryPolicy:
        """Return the policy for calls of this service."""
        if self.retry_policy is not None:
            return self.retry_policy
        retries = getattr(llm, "max_retries", None)
        return LLMRetryPolicy() if retries is None else LLMRetryPolicy(max_attempts=retries + 1)

    def limits(self, retry: LLMRetryPolicy) -> Limits:
        """Return what a run records of these settings."""
        return Limits(self.max_rounds, retry.max_attempts, self.max_parallel_tools)


class AgentLoopResult(msgspec.Struct, frozen=True):
    """How a run ended. ``status`` is one of completed, pending_tools, cancelled, hit_round_limit, degraded,
    hook_break, crash_loop, error, or ``empty`` for a session that never ran.
    """  # noqa: D205 -- the list is the summary

    status: str
    final_text: str = ""
    rounds: int = 0
    pending_tool_calls: list[ToolCall] = []


class StatefulResult(AgentLoopResult, frozen=True):
    """What ``send`` and ``resume`` return. ``usage`` and ``cost`` (USD) count from the last input on.

    ``error`` is set for the statuses degraded and error; its ``code`` is stable. ``output`` is the parsed reply
    where structured output was asked for.
    """

    session_id: str = ""
    usage: LLMTokenUsage = LLMTokenUsage()
    cost: Decimal | None = None
    output: Any = None
    error: ErrorRecord | None = None

    def raise_for_error(self) -> "StatefulResult":
        """Raise PowerLoopError for the statuses degraded, error and crash_loop; else return the result itself."""
        if self.status in {"degraded", "error", "crash_loop"}:
            details = {"status": self.status, "session_id": self.session_id, "error": self.error}
            raise PowerLoopError(self.final_text, **details)
        return self


class RoundUsage(msgspec.Struct, frozen=True):
    """Tokens and cost of one recorded reply."""

    seq: int
    round_index: int
    model: str
    usage: LLMTokenUsage
    cost: Decimal | None


class UsageReport(msgspec.Struct, frozen=True):
    """Tokens and cost of a whole session; ``cost`` is None where no price is known."""

    total: LLMTokenUsage
    cost: Decimal | None
    rounds: list[RoundUsage]


class SessionInfo(msgspec.Struct, frozen=True):
    """One line of ``list_sessions``.

    ``status`` is ``empty``, ``running``, ``cut_off`` or the status with which the last run ended; ``waiting_for``
    says in words what a session that is not finished waits for.
    """

    session_id: str
    status: str
    waiting_for: str
    created_at: int
    updated_at: int
    entries: int
    owner: str | None
    metadata: dict[str, Any]
