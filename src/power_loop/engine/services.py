"""What a run works with: the host's choices, gathered once and shared by all runs of a loop."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from power_loop.decisions.definitions import OnDefinitionChange
from power_loop.engine.retry import LLMRetryPolicy
from power_loop.facts import jsontext
from power_loop.facts.clock import SYSTEM_CLOCK, Clock
from power_loop.facts.entries import DefinitionChanged, Limits, RecordedCall
from power_loop.facts.events import AgentEvent
from power_loop.facts.journal import Entry
from power_loop.ports.compactor import Compactor
from power_loop.ports.content import ContentIntake, NoIntake
from power_loop.ports.hooks import AgentHooks
from power_loop.ports.llm import LLMService, definition_digest_source
from power_loop.ports.memory import DEFAULT_MEMORY_BUDGET, MemoryProvider
from power_loop.ports.models import ModelInfo
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

    def recorded(self, fact: DefinitionChanged) -> "Definition":
        """Return the definition that an entry recorded; a tool that is the same here is this definition's."""
        tools = msgspec.json.decode(fact.wire, type=list[_WireTool]) if fact.wire else None
        if tools is None:
            tools = msgspec.convert(fact.tools, list[_WireTool])
        here = {_wire(tool): tool for tool in self.tools}
        told = (tool.function.definition() for tool in tools)
        return Definition(fact.system, tuple(here.get(_wire(tool), tool) for tool in told), fact.digest)

    def fact(self) -> DefinitionChanged:
        """Return the entry that records it."""
        tools = tuple(tool.to_openai_tool() for tool in self.tools)
        wire = f"[{','.join(map(_wire, self.tools))}]"
        wire = wire if wire != jsontext.encode(tools) else ""
        return DefinitionChanged(self.digest, self.system_prompt, tools, wire, self.output)


def _wire(tool: ToolDefinition) -> str:
    """Return a tool as the model is told of it, in the order of its keys."""
    return msgspec.json.encode(tool.to_openai_tool()).decode()


class _WireFunction(msgspec.Struct):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}

    def definition(self) -> ToolDefinition:
        return ToolDefinition(self.name, self.description, self.parameters)


class _WireTool(msgspec.Struct):
    """A tool as an entry records it."""

    function: _WireFunction


class MemoryAccess(msgspec.Struct, frozen=True):
    """A memory provider, the tokens that a recall may add, and the seconds that it may take."""

    provider: MemoryProvider
    budget_tokens: int = DEFAULT_MEMORY_BUDGET
    timeout: float = 5.0


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
    model: ModelInfo | None = None
    """What is known of the model; None: nothing."""
    compactor: Compactor | None = None
    intake: ContentIntake = NoIntake()
    memory: MemoryAccess | None = None
    on_definition_change: OnDefinitionChange = "adopt"

    def defined(self, recorded: DefinitionChanged | None) -> Definition:
        """Return the definition in force for a session whose journal says ``recorded``."""
        here = self.definition
        if self.on_definition_change != "pin" or recorded is None or recorded.digest == here.digest:
            return here
        return here.recorded(recorded)

    output: OutputForm | None = None

    def runnable(self) -> frozenset[str]:
        """Return the names of the tools that this process can run."""
        return frozenset(
            name for name in self.registry.names if (tool := self.registry.get(name)) and tool.handler is not None
        )
