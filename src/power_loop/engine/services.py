"""What a run works with: the host's choices, gathered once and shared by all runs of a loop."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol

import msgspec

from power_loop.engine.retry import LLMRetryPolicy
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.entries import DefinitionChanged, Limits, RecordedCall
from power_loop.facts.events import AgentEvent
from power_loop.facts.journal import Entry
from power_loop.ports.hooks import AgentHooks
from power_loop.ports.llm import LLMService, definition_digest_source
from power_loop.ports.registry import ToolRegistry
from power_loop.ports.store import SessionStore
from power_loop.ports.structured import OutputForm
from power_loop.ports.tools import ToolDefinition


class Definition(msgspec.Struct, frozen=True):
    """What the model is told before the conversation, with the digest that recognises it."""

    system_prompt: str | None
    tools: tuple[ToolDefinition, ...]
    digest: str
    output: str = ""

    @classmethod
    def of(cls, system_prompt: str | None, tools: tuple[ToolDefinition, ...], *, output: str = "") -> "Definition":
        """Make a definition; ``output`` names the tool whose arguments are the output that an input wants."""
        source = definition_digest_source(system_prompt, tools) + output
        return cls(system_prompt, tools, sha256(source.encode()).hexdigest()[:32], output)

    def fact(self) -> DefinitionChanged:
        """Return the entry that records it."""
        tools = tuple(tool.to_openai_tool() for tool in self.tools)
        return DefinitionChanged(self.digest, self.system_prompt, tools, self.output)


class Listener(Protocol):
    """Someone who hears of a run. Called on the run's event loop; must not raise."""

    @property
    def active(self) -> bool:
        """Whether telling is worth the work now."""
        ...

    def on_recall(self, session_id: str, calls: Mapping[str, RecordedCall]) -> None:
        """Hear, before the rest, which calls a resumed run goes on with, by kernel id. They are no news."""
        ...

    def on_entries(self, session_id: str, entries: Sequence[Entry]) -> None:
        """Hear the entries of a commit, which are durable now."""
        ...

    def on_event(self, event: AgentEvent) -> None:
        """Hear a transient event."""
        ...


class Services(msgspec.Struct, frozen=True):
    """The host's choices."""

    store: SessionStore
    llm: LLMService
    registry: ToolRegistry
    definition: Definition
    hooks: AgentHooks = msgspec.field(default_factory=AgentHooks)
    retry: LLMRetryPolicy = msgspec.field(default_factory=LLMRetryPolicy)
    limits: Limits = Limits()
    temperature: float | None = None
    max_tokens: int | None = None
    clock: Clock = SYSTEM_CLOCK
    listeners: tuple[Listener, ...] = ()
    output: OutputForm | None = None

    def runnable(self) -> frozenset[str]:
        """Return the names of the tools that this process can run."""
        return frozenset(
            name for name in self.registry.names if (tool := self.registry.get(name)) and tool.handler is not None
        )
