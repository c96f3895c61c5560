"""The property world with everything on: folds, budgets, output, memory, todos, definitions, pictures, large results.

The model plays the script of the verb that calls it, charges for what it says, and holds each request against the one
before it. What is wrong is written down in ``ContextWorld.wrong``.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from property_world import Drive, ProcessStore, World

from power_loop import (
    AgentLoopConfig,
    InvalidRequestError,
    LLMContextTooLong,
    LLMOverloaded,
    LLMRateLimited,
    LLMRetryPolicy,
    LLMStalled,
    StatefulAgentLoop,
    StoreBusy,
    StoreFull,
    ToolContext,
    ToolRegistry,
    image,
    tool,
)
from power_loop.compaction import DefaultCompactor
from power_loop.compaction.default import SUMMARY_PROMPT
from power_loop.facts.entries import Budget, ModelCalled
from power_loop.facts.journal import Entry
from power_loop.facts.tokens import estimate_text_tokens, estimate_tokens
from power_loop.facts.usage import LLMTokenUsage
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.ports.compactor import CompactionPlan, CompactionRequest
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ReplyCall, ignore_delta, validate_request
from power_loop.ports.models import ModelInfo, Prices
from power_loop.testing import call, reply
from power_loop.testing.validator import ProtocolValidator, ProtocolViolation
from power_loop.toolkits.history import search_history_tool
from power_loop.toolkits.results import read_result_tool
from power_loop.toolkits.todo import todo_tool

PNG = b"\x89PNG\r\n\x1a\n picture "
OUTPUT = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
WORDS = "The quick brown fox jumps over the lazy dog and looks back once. "
PRICES = Prices(Decimal(10), Decimal(50))
CHANGES = {"compacted", "view_edited", "definition_changed", "erased"}
FAULTS = {
    "busy": lambda: LLMOverloaded("busy"),
    "slow": lambda: LLMRateLimited("slow down", retry_after=1),
    "bug": lambda: ValueError("a bug in the service"),
    "long": lambda: LLMContextTooLong("too long, says the provider"),
}


class ContextWorld(World):
    """What all processes share; budgets belong to the history, other settings to a process."""

    def __post_init__(self) -> None:
        self.provider: ContextModel = ContextModel(self)  # type: ignore[assignment]
        self.budget: Budget | None = None
        self.window = 6_000

    def token(self, kind: str) -> str:
        """Return a word that nothing else in this world says."""
        return f"{kind}{self.next():06d}"

    async def _full(self, _drive: Drive) -> None:
        raise StoreFull("No space left.", path="here")

    async def _busy(self, _drive: Drive) -> None:
        raise StoreBusy("Somebody writes.", path="here")

    def registry(self, names: frozenset[str]) -> ToolRegistry:
        """Return the tools of a process: the world's own, the kernel's, one that says much and one that draws."""
        registry = super().registry(names)
        for item in (todo_tool(), read_result_tool(), search_history_tool()):
            registry.add(item)
        registry.add(tool(name="much", effect="read", output_limit=300)(self._much))
        registry.add(tool(name="draw", effect="read")(self._draw))
        return registry

    async def _much(self, context: ToolContext, n: int) -> str:
        """Say much."""
        await self._begin(context, "much", "read")
        await self.happen("tool")
        return f"{self.token('much')} " + WORDS * (5 + n)

    async def _draw(self, context: ToolContext, n: int) -> Any:
        """Draw a picture; one of three."""
        await self._begin(context, "draw", "read")
        await self.happen("tool")
        return [f"{self.token('drawn')}", image(PNG + str(n % 3).encode())]


class ContextProcess:
    """A loop with a store connection of its own; ``dead`` once it has been killed."""

    def __init__(self, world: ContextWorld, settings: dict[str, Any]) -> None:
        self.world, self.dead, self.settings = world, False, settings
        self.store = ProcessStore(world, self, f"driver_{world.next()}")  # type: ignore[arg-type]
        config = AgentLoopConfig(
            system_prompt=settings["system"],
            max_rounds=settings["rounds"],
            max_tokens=200,
            retry_policy=LLMRetryPolicy(max_attempts=2, backoff_initial=0.1, backoff_max=1),
            compactor=compactor_of(settings, world),
            session_budget=world.budget,
            memory=Memory(world, settings["memory"]) if settings["memory"] else None,
            environment=lambda: "Somewhere.",
            on_definition_change=settings["policy"],
            max_output_repairs=settings["repairs"],
        )
        self.loop = StatefulAgentLoop(
            llm=world.provider, store=self.store, tools=world.registry(settings["tools"]), config=config,
            clock=world.clock,
        )  # fmt: skip


# -- those that may misbehave


@dataclass
class Memory:
    """Recalls a line, fails, or returns nonsense."""

    world: ContextWorld
    kind: str

    async def recall(self, *, messages: Any, session_id: str, budget_tokens: int = 0) -> Any:
        await self.world.happen("memory")
        if self.kind == "raises":
            raise OSError("no memory today")
        return 7 if self.kind == "nonsense" else [f"Remember {self.world.next()}."]

    async def remember(self, *, snapshot: Any, session_id: str) -> None:
        if any("Remember" in message.text for message in snapshot.messages):
            self.world.wrong.append("memory is told what it recalled")
        if self.kind == "raises":
            raise OSError("no memory today")


def compactor_of(settings: dict[str, Any], world: ContextWorld) -> Any:
    kind = settings["compactor"]
    if kind == "none":
        return None
    if kind == "default":
        return DefaultCompactor(absolute_threshold=settings["fold_at"])
    return Folder(world, kind, settings["fold_at"], random.Random(settings["fold_at"]))


@dataclass
class Folder:
    """A compactor that folds at any cut (``any``), asks twice (``twice``), or misbehaves (``wild``)."""

    world: ContextWorld
    kind: str
    fold_at: int
    dice: random.Random

    def threshold(self, context_window: int, max_reply: int) -> int:
        return self.fold_at

    async def compact(self, request: CompactionRequest) -> Any:
        if self.kind == "wild":
            return self._wild(request)
        said = [await request.summarise("Sum up.", system_prompt=SUMMARY_PROMPT) for _ in range(self._calls)]
        cuts = [cut for cut in request.cuts if cut > (request.note or 0)]
        return CompactionPlan(0, self.dice.choice(cuts), " ".join(said)) if cuts else None

    @property
    def _calls(self) -> int:
        return 2 if self.kind == "twice" else 1

    def _wild(self, request: CompactionRequest) -> Any:
        places = range(-1, len(request.messages) + 2)
        match self.dice.randrange(5):
            case 0:
                raise ZeroDivisionError("a bug in a compactor")
            case 1:
                return "nonsense"
            case 2:
                return CompactionPlan(0, len(request.messages) + 3, "s")
            case _:
                return CompactionPlan(self.dice.choice(places), self.dice.choice(places), self.dice.choice(["", "s"]))


# -- the model


@dataclass
class ContextModel:
    """Says what the script of the verb says, charges for it, and checks what it is asked."""

    world: ContextWorld
    calls: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    largest: int = 0
    refuse_above: int | None = None
    native: bool = False

    def __post_init__(self) -> None:
        self._encoder = RequestEncoder(
            "m", max_tokens=None, max_tokens_field="max_tokens", temperature=None, extra={}, reasoning_field=None
        )
        self._validators: dict[str, ProtocolValidator] = {}
        self._seen: dict[str, int] = {}

    def describe(self, model: str | None = None) -> ModelInfo:
        return ModelInfo("m", self.world.window, native_schema=self.native, known=True, prices=PRICES)

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Check the request, let happen what is planned, and say the next line."""
        world, drive = self.world, self.world.drive
        session = drive.session
        summary = request.system_prompt == SUMMARY_PROMPT
        self.calls[session] += 1
        entries = await world.store.read(session)
        await self._check(session, request, list(entries), summary=summary)
        await world.happen("summary" if summary else "model")
        prompt = round(1.2 * (estimate_tokens(request.messages) + estimate_text_tokens(request.system_prompt or "")))
        if self.refuse_above is not None and not summary and prompt > self.refuse_above:
            raise LLMContextTooLong("too long")
        line = drive.script.pop(0) if drive.script else ("text",)
        output = min(20, request.max_tokens or 20)
        if line[0] == "fail":
            if line[1] == "stalled":
                self._charge(session, prompt + output)
                raise LLMStalled("silent")
            failure = FAULTS[line[1]]()
            raise failure
        self._charge(session, prompt + output)
        usage = LLMTokenUsage(prompt, output)
        cost = f"{(prompt * PRICES.input + output * PRICES.output) / 1_000_000:f}"
        return reply("Foxes.", usage=usage, cost=cost) if summary else self._say(line, usage, cost)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _charge(self, session: str, tokens: int) -> None:
        self.charged[session] += tokens
        self.largest = max(self.largest, tokens)

    def _say(self, line: tuple[Any, ...], usage: LLMTokenUsage, cost: str) -> LLMResponse:
        text = self.world.token("reply")
        match line:
            case ("empty",):
                return reply("", usage=usage, cost=cost)
            case ("tools", calls):
                return reply(text, *(self._call(*item) for item in calls), usage=usage, cost=cost)
            case ("output", good):
                days: Any = 5 if good else self.world.token("bad")
                return reply("", call("final_answer", days=days), usage=usage, cost=cost)
            case ("json", good):
                return reply('{"days": 5}' if good else f'{{"days": "{text}"}}', usage=usage, cost=cost)
            case _:
                return reply(f"{text} {WORDS}", usage=usage, cost=cost)

    def _call(self, name: str, n: int) -> ReplyCall:
        world = self.world
        if name == "todo":
            return call("todo", items=[{"text": world.token("todo"), "status": "in_progress"}])
        if name == "read_result":
            return call("read_result", handle=f"call_{n}_0")
        if name == "search_history":
            return call("search_history", query="fox")
        return call(name, n=n, id="same" if n == 2 else "")

    async def _check(self, session: str, request: LLMRequest, entries: list[Entry], *, summary: bool) -> None:
        wrong = self.world.wrong
        called = entries[-1].fact
        if not isinstance(called, ModelCalled) or (called.purpose == "summary") is not summary:
            wrong.append(f"P4: the model is called, but the last entry is {called}")
            return
        try:
            validate_request(request)
        except InvalidRequestError as error:
            wrong.append(f"P5: {error}")
        if summary:
            return
        news = {entry.kind for entry in entries if entry.seq > self._seen.get(session, 0)}
        self._seen[session] = entries[-1].seq
        body = self._encoder.encode(request, await self._encoder.media(request))
        validator = self._validators.setdefault(session, ProtocolValidator())
        try:
            validator.check(
                body,
                view_edited=bool(news & CHANGES),
                definition_changed="definition_changed" in news,
            )
        except ProtocolViolation as violation:
            wrong.append(f"P5/P20: {violation}")
