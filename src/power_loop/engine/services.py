"""What a run works with: the host's choices, gathered once and shared by all runs of a loop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeAlias

from power_loop.engine.retry import LLMRetryPolicy
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.entries import DefinitionChanged, Entry, Limits
from power_loop.facts.events import AgentEvent
from power_loop.ports.hooks import AgentHooks
from power_loop.ports.llm import LLMService, definition_digest_source
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.store import SessionStore
from power_loop.ports.tools import ToolDefinition


@dataclass(frozen=True, slots=True)
class Definition:
    """What the model is told before the conversation, with the digest that recognises it."""

    system_prompt: str | None
    tools: tuple[ToolDefinition, ...]
    digest: str

    @classmethod
    def of(cls, system_prompt: str | None, tools: tuple[ToolDefinition, ...]) -> "Definition":
        """Make a definition."""
        source = definition_digest_source(system_prompt, tools)
        return cls(system_prompt, tools, sha256(source.encode()).hexdigest()[:32])

    def fact(self) -> DefinitionChanged:
        """Return the entry that records it."""
        return DefinitionChanged(self.digest, self.system_prompt, tuple(tool.to_openai_tool() for tool in self.tools))


EntryListener: TypeAlias = Callable[[str, Entry], None]
EventListener: TypeAlias = Callable[[AgentEvent], None]


@dataclass(frozen=True, slots=True)
class Services:
    """The host's choices. ``on_entry`` hears what became durable, ``on_event`` what is transient."""

    store: SessionStore
    llm: LLMService
    registry: ToolRegistry
    definition: Definition
    hooks: AgentHooks = field(default_factory=AgentHooks)
    retry: LLMRetryPolicy = field(default_factory=LLMRetryPolicy)
    limits: Limits = field(default_factory=Limits)
    temperature: float | None = None
    max_tokens: int | None = None
    clock: Clock = SYSTEM_CLOCK
    on_entry: tuple[EntryListener, ...] = ()
    on_event: tuple[EventListener, ...] = ()

    def runnable(self) -> frozenset[str]:
        """Return the names of the tools that this process can run."""
        return frozenset(
            name for name in self.registry.names if (tool := self.registry.get(name)) and tool.handler is not None
        )
