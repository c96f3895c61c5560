"""Settings of a loop, and the results of its verbs."""

from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

from power_loop.compaction import DefaultCompactor
from power_loop.engine.retry import LLMRetryPolicy
from power_loop.facts.entries import Budget, ErrorRecord, Limits
from power_loop.facts.errors import ConfigError, PowerLoopError
from power_loop.facts.messages import ToolCall
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.compactor import Compactor
from power_loop.ports.llm import DescribedLLM, LLMService
from power_loop.ports.models import ModelInfo

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
        context_window: Tokens that request and reply may have together; None for what the model service knows.
        compactor: Folds older messages into a summary when the context becomes too large; None to leave that to an
            error.
        run_budget: What may be spent from one input on; ``session_budget`` in a whole session; ``tree_budget`` in a
            session with all its sub-agents. A run that reaches one ends with ``budget_exceeded``.
    """

    system_prompt: str | None = None
    max_rounds: int = 24
    temperature: float | None = None
    max_tokens: int | None = 8000
    retry_policy: LLMRetryPolicy | None = None
    max_parallel_tools: int = 8
    context_window: int | None = None
    compactor: Compactor | None = msgspec.field(default_factory=DefaultCompactor)
    run_budget: Budget | None = None
    session_budget: Budget | None = None
    tree_budget: Budget | None = None

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
        if self.context_window is not None and (not isinstance(self.context_window, int) or self.context_window < 1):
            raise ConfigError(
                f"AgentLoopConfig.context_window must be a whole number from 1 or None, got {self.context_window!r}."
            )
        if self.compactor is not None and not isinstance(self.compactor, Compactor):
            raise ConfigError(
                f"AgentLoopConfig.compactor must have threshold and compact, got {type(self.compactor).__name__}."
            )

    def retries(self, llm: LLMService) -> LLMRetryPolicy:
        """Return the policy for calls of this service."""
        if self.retry_policy is not None:
            return self.retry_policy
        retries = getattr(llm, "max_retries", None)
        return LLMRetryPolicy() if retries is None else LLMRetryPolicy(max_attempts=retries + 1)

    def model(self, llm: LLMService) -> ModelInfo | None:
        """Return what is known of the model, the host's own figure for its window first; None: nothing."""
        info = llm.describe() if isinstance(llm, DescribedLLM) else None
        if self.context_window is None:
            return info
        return msgspec.structs.replace(info or ModelInfo(), context_window=self.context_window)

    def limits(self, retry: LLMRetryPolicy, model: ModelInfo | None) -> Limits:
        """Return what a run records of these settings. Raises ConfigError for a budget that nobody can keep."""
        budgets = (self.run_budget, self.session_budget, self.tree_budget)
        if (model is None or model.prices is None) and any(budget and budget.cost is not None for budget in budgets):
            raise ConfigError(
                "A budget in money needs the model's prices, which are unknown here. Install power-loop[prices], give "
                "the model service its prices, or use a budget in tokens."
            )
        return Limits(
            self.max_rounds,
            retry.max_attempts,
            self.max_parallel_tools,
            compact_at=self._compact_at(model),
            run=self.run_budget,
            session=self.session_budget,
            tree=self.tree_budget,
        )

    def _compact_at(self, model: ModelInfo | None) -> int | None:
        if self.compactor is None or model is None:
            return None
        return self.compactor.threshold(model.context_window, self.max_tokens or model.max_output or 0)


class AgentLoopResult(msgspec.Struct, frozen=True):
    """How a run ended. ``status`` is one of completed, pending_tools, cancelled, hit_round_limit, degraded,
    hook_break, crash_loop, budget_exceeded, context_full, error, or ``empty`` for a session that never ran.
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
