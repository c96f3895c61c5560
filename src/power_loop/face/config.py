"""Settings of a loop, and the results of its verbs."""

import math
import os
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from power_loop.compaction import DefaultCompactor
from power_loop.decisions.definitions import OnDefinitionChange
from power_loop.engine.retry import LLMRetryPolicy
from power_loop.engine.services import MemoryAccess
from power_loop.facts.entries import Budget, ErrorRecord, Limits
from power_loop.facts.errors import ConfigError, PowerLoopError
from power_loop.facts.messages import ToolCall
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.compactor import Compactor
from power_loop.ports.content import MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES, ContentPolicy
from power_loop.ports.llm import DescribedLLM, LLMService
from power_loop.ports.memory import DEFAULT_MEMORY_BUDGET, MemoryProvider
from power_loop.ports.models import ModelInfo
from power_loop.prompt.builder import SystemPromptBuilder
from power_loop.prompt.environment import Environment

DEFAULT_DB_PATH = "./power_loop_sessions.db"

OnBusy: TypeAlias = Literal["raise", "wait"]
EnvironmentCollector: TypeAlias = Callable[[], Environment | str | Awaitable[Environment | str]]
"""Says where a session works; a sync one is called in a thread."""


def checked_policy(policy: OnDefinitionChange) -> OnDefinitionChange:
    """Return a policy for changed definitions. Raises ConfigError."""
    if policy not in get_args(OnDefinitionChange):
        raise ConfigError(f"on_definition_change must be 'adopt', 'pin' or 'ask', got {policy!r}.")
    return policy


class AgentLoopConfig(msgspec.Struct):
    """How a loop drives its sessions.

    Args:
        system_prompt: Said before every conversation; None for nothing. A SystemPromptBuilder is rendered for the tools
            really registered, once, and again when they change; to change the builder, set another one.
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
        memory: Asked with each new input and told of each run that has ended.
        memory_budget_tokens: Tokens that one recall may add to the conversation.
        memory_timeout: Seconds that a recall may take; then the run goes on without it.
        environment: Tell a new session, before its first input, the date, system, folder and branch; or what a
            function of yours returns. Sessions that exist already are not told.
        on_definition_change: What to do when prompt or tools are not those that a session was told: ``adopt`` records
            the new ones and goes on, ``pin`` goes on with the recorded ones, ``ask`` raises DefinitionChangedError.
        content_roots: Folders beneath which images and documents may be read by path; none by default.
        content_hosts: From where they may be fetched by URL; nowhere by default. A host name (``example.com``,
            ``*.example.com``) allows https at port 443 to public addresses; an origin (``http://127.0.0.1:8080``)
            allows that scheme, host and port, wherever they lead.
        max_image_bytes: The largest image taken: 20 MB, OpenAI's documented limit for one.
        max_document_bytes: The largest document taken: 32 MB, Anthropic's documented limit for a request.
        content_timeout: Seconds that fetching one image or document may take, or reading the text of a PDF file.
        max_output_repairs: How often the model is told what was wrong with output that an ``output_type`` wants, and
            asked again, per input; a StructuredOutputSpec has a number of its own.
    """

    system_prompt: str | SystemPromptBuilder | None = None
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
    memory: MemoryProvider | None = None
    memory_budget_tokens: int = DEFAULT_MEMORY_BUDGET
    memory_timeout: float = 5.0
    environment: bool | EnvironmentCollector = False
    on_definition_change: OnDefinitionChange = "adopt"
    content_roots: Sequence[str | os.PathLike[str]] = ()
    content_hosts: Sequence[str] = ()
    max_image_bytes: int = MAX_IMAGE_BYTES
    max_document_bytes: int = MAX_DOCUMENT_BYTES
    content_timeout: float = 30.0
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
        if self.context_window is not None and (not isinstance(self.context_window, int) or self.context_window < 1):
            raise ConfigError(
                f"AgentLoopConfig.context_window must be a whole number from 1 or None, got {self.context_window!r}."
            )
        if self.compactor is not None and not isinstance(self.compactor, Compactor):
            raise ConfigError(
                f"AgentLoopConfig.compactor must have threshold and compact, got {type(self.compactor).__name__}."
            )
        self._check_notes()

    def _check_notes(self) -> None:
        if self.memory is not None and not isinstance(self.memory, MemoryProvider):
            raise ConfigError(
                f"AgentLoopConfig.memory must be a MemoryProvider (recall, remember), got {type(self.memory).__name__}."
            )
        if not isinstance(self.memory_budget_tokens, int) or self.memory_budget_tokens < 1:
            raise ConfigError(
                f"AgentLoopConfig.memory_budget_tokens must be a whole number from 1, "
                f"got {self.memory_budget_tokens!r}."
            )
        if not self.memory_timeout > 0:
            raise ConfigError(f"AgentLoopConfig.memory_timeout must be above 0 seconds, got {self.memory_timeout!r}.")
        checked_policy(self.on_definition_change)

        if not isinstance(self.max_output_repairs, int) or self.max_output_repairs < 0:
            raise ConfigError(
                f"AgentLoopConfig.max_output_repairs must be a whole number from 0, got {self.max_output_repairs!r}."
            )
        self.content_policy()

    def content_policy(self) -> ContentPolicy:
        """Return what may be read and fetched. Raises ConfigError for settings that cannot work."""
        for name in ("content_roots", "content_hosts"):
            if isinstance(getattr(self, name), str | bytes):
                raise ConfigError(f"AgentLoopConfig.{name} must be a list or tuple, got one text.")
        for name in ("max_image_bytes", "max_document_bytes", "content_timeout"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"AgentLoopConfig.{name} must be above 0, got {getattr(self, name)!r}.")
        return ContentPolicy(
            tuple(os.fspath(root) for root in self.content_roots),
            tuple(self.content_hosts),
            self.max_image_bytes,
            self.max_document_bytes,
            self.content_timeout,
        )

    def retries(self, llm: LLMService) -> LLMRetryPolicy:
        """Return the policy for calls of this service."""
        if self.retry_policy is not None:
            return self.retry_policy
        retries = getattr(llm, "max_retries", None)
        return LLMRetryPolicy() if retries is None else LLMRetryPolicy(max_attempts=retries + 1)

    @property
    def memory_access(self) -> MemoryAccess | None:
        """What a run needs to ask memory; None without one."""
        if self.memory is None:
            return None
        return MemoryAccess(self.memory, self.memory_budget_tokens, self.memory_timeout)

    def model(self, llm: DescribedLLM | None) -> ModelInfo | None:
        """Return what is known of the model, the host's own figure for its window first; None: nothing."""
        info = None if llm is None else llm.describe()
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
