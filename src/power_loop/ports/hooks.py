"""Hooks: host code awaited at 16 named points, which may change what a step does.

A handler takes the point's context, may change its fields, and may return a directive. The first directive that
is not CONTINUE ends the chain. A handler that raises ends the run with ``HookError``; the session can go on.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias, TypeVar

import msgspec

from power_loop.facts.entries import RecordedCall
from power_loop.facts.errors import ConfigError, HookError
from power_loop.facts.messages import AgentMessage
from power_loop.ports.llm import LLMResponse
from power_loop.ports.tools import ToolDefinition


class HookPoint(StrEnum):
    """Where hooks run."""

    SESSION_START = "session.start"
    SESSION_END = "session.end"
    ROUND_START = "round.start"
    ROUND_END = "round.end"
    LLM_BEFORE = "llm.before"
    LLM_AFTER = "llm.after"
    ROUND_DECIDE = "round.decide"
    TOOLS_BATCH_BEFORE = "tools.batch.before"
    TOOLS_BATCH_AFTER = "tools.batch.after"
    TOOL_BEFORE = "tool.before"
    TOOL_AFTER = "tool.after"
    TOOL_ERROR = "tool.error"
    COMPACT_BEFORE = "compact.before"
    COMPACT_AFTER = "compact.after"
    MESSAGE_APPEND = "message.append"
    MEMORY_RECALLED = "memory.recalled"


class HookDirective(StrEnum):
    """What a handler may ask for."""

    CONTINUE = "continue"
    SKIP = "skip"
    BREAK = "break"
    SHORT_CIRCUIT = "short_circuit"


_D = HookDirective
_ONLY_CONTINUE = frozenset({_D.CONTINUE})


class BaseHookCtx(msgspec.Struct, kw_only=True):
    """What every context carries. ``point`` and ``honoured`` are fixed per class."""

    point: ClassVar[HookPoint]
    honoured: ClassVar[frozenset[HookDirective]] = _ONLY_CONTINUE

    session_id: str = ""
    round_index: int = 0
    directive: HookDirective = HookDirective.CONTINUE


class SessionStartCtx(BaseHookCtx, kw_only=True):
    """Before a run's first step; changed ``messages`` become an edit of the view."""

    point = HookPoint.SESSION_START
    scope: str = "main"
    messages: list[AgentMessage] = []


class SessionEndCtx(BaseHookCtx, kw_only=True):
    """After the run's last step."""

    point = HookPoint.SESSION_END
    scope: str = "main"
    reason: str = ""
    messages: list[AgentMessage] = []
    final_text: str = ""


class RoundStartCtx(BaseHookCtx, kw_only=True):
    """Before a round. SKIP uses the round up without a model call; BREAK ends the run."""

    point = HookPoint.ROUND_START
    honoured = frozenset({_D.CONTINUE, _D.SKIP, _D.BREAK})
    messages: list[AgentMessage] = []
    reason: str = ""


class RoundEndCtx(BaseHookCtx, kw_only=True):
    """After a round."""

    point = HookPoint.ROUND_END
    messages: list[AgentMessage] = []
    has_tools: bool = False
    response_text: str = ""
    used_todo: bool = False


class LlmBeforeCtx(BaseHookCtx, kw_only=True):
    """Before a model call; edits hold for this request only. SHORT_CIRCUIT takes ``output`` as the reply."""

    point = HookPoint.LLM_BEFORE
    honoured = frozenset({_D.CONTINUE, _D.SHORT_CIRCUIT, _D.BREAK})
    messages: list[AgentMessage] = []
    system_prompt: str | None = None
    tools: list[ToolDefinition] = []
    max_tokens: int | None = None
    temperature: float | None = None
    output: LLMResponse | None = None


class LlmAfterCtx(BaseHookCtx, kw_only=True):
    """After a reply is recorded; a changed ``output`` replaces it. BREAK drops its calls and ends the run."""

    point = HookPoint.LLM_AFTER
    honoured = frozenset({_D.CONTINUE, _D.BREAK})
    messages: list[AgentMessage] = []
    output: LLMResponse = LLMResponse()


class RoundDecideCtx(BaseHookCtx, kw_only=True):
    """A reply asks for tools. SKIP answers every call with ``output``; BREAK also ends the run."""

    point = HookPoint.ROUND_DECIDE
    honoured = frozenset({_D.CONTINUE, _D.SKIP, _D.BREAK})
    messages: list[AgentMessage] = []
    tool_calls: Sequence[RecordedCall] = ()
    assistant_text: str = ""
    output: str = "[skipped by round_decide hook]"


class ToolsBatchBeforeCtx(BaseHookCtx, kw_only=True):
    """Before a batch of tools. SKIP answers every call with ``output``."""

    point = HookPoint.TOOLS_BATCH_BEFORE
    honoured = frozenset({_D.CONTINUE, _D.SKIP})
    messages: list[AgentMessage] = []
    tool_calls: Sequence[RecordedCall] = ()
    output: str = "[skipped by batch hook]"


class ToolsBatchAfterCtx(BaseHookCtx, kw_only=True):
    """After a batch of tools."""

    point = HookPoint.TOOLS_BATCH_AFTER
    messages: list[AgentMessage] = []
    used_todo: bool = False


class ToolBeforeCtx(BaseHookCtx, kw_only=True):
    """Before a tool starts; may change ``tool_args``. SKIP takes ``output`` as the result."""

    point = HookPoint.TOOL_BEFORE
    honoured = frozenset({_D.CONTINUE, _D.SKIP})
    tool_call: RecordedCall
    tool_name: str = ""
    tool_args: dict[str, Any] = {}
    output: str = "[skipped by hook]"


class ToolAfterCtx(BaseHookCtx, kw_only=True):
    """After a result is recorded; may change ``output`` and ``failed``. BREAK answers the rest and ends the run."""

    point = HookPoint.TOOL_AFTER
    honoured = frozenset({_D.CONTINUE, _D.BREAK})
    tool_call: RecordedCall
    tool_name: str = ""
    tool_args: dict[str, Any] = {}
    output: str = ""
    failed: bool = False


class ToolErrorCtx(BaseHookCtx, kw_only=True):
    """A tool raised. SKIP takes ``output`` (or the error's words) as a good result; SHORT_CIRCUIT tries once more."""

    point = HookPoint.TOOL_ERROR
    honoured = frozenset({_D.CONTINUE, _D.SKIP, _D.SHORT_CIRCUIT})
    tool_call: RecordedCall
    tool_name: str = ""
    tool_args: dict[str, Any] = {}
    error: BaseException | None = None
    error_message: str = ""
    output: str = ""


class CompactBeforeCtx(BaseHookCtx, kw_only=True):
    """Before a compaction. SKIP leaves the history as it is."""

    point = HookPoint.COMPACT_BEFORE
    honoured = frozenset({_D.CONTINUE, _D.SKIP})
    messages: list[AgentMessage] = []


class CompactAfterCtx(BaseHookCtx, kw_only=True):
    """After a compaction."""

    point = HookPoint.COMPACT_AFTER
    messages: list[AgentMessage] = []
    messages_before_count: int = 0
    messages_after_count: int = 0


class MessageAppendCtx(BaseHookCtx, kw_only=True):
    """A message joins the view; a changed ``message`` replaces it (before the commit for inputs and notes)."""

    point = HookPoint.MESSAGE_APPEND
    message: AgentMessage


class MemoryRecalledCtx(BaseHookCtx, kw_only=True):
    """Memory was recalled. SKIP injects nothing."""

    point = HookPoint.MEMORY_RECALLED
    honoured = frozenset({_D.CONTINUE, _D.SKIP})
    recalled: list[AgentMessage] = []
    budget_tokens: int = 1500


HookHandler: TypeAlias = Callable[[Any], HookDirective | Awaitable[HookDirective | None] | None]
_H = TypeVar("_H", bound=HookHandler)
_Ctx = TypeVar("_Ctx", bound=BaseHookCtx)


class AgentHooks:
    """The handlers of a host. Registration order, then ``order`` (lower first), decides who runs first."""

    def __init__(self) -> None:
        self._handlers: dict[HookPoint, list[tuple[int, HookHandler]]] = {}

    def register(self, point: HookPoint | str, handler: HookHandler, *, order: int = 0) -> None:
        """Add a handler, sync or async. Raises ConfigError for an unknown point."""
        chain = self._handlers.setdefault(_point(point), [])
        chain.append((order, handler))
        chain.sort(key=lambda item: item[0])

    def on(self, point: HookPoint | str, *, order: int = 0) -> Callable[[_H], _H]:
        """Register the decorated function."""

        def decorate(handler: _H) -> _H:
            self.register(point, handler, order=order)
            return handler

        return decorate

    def unregister(self, point: HookPoint | str, handler: HookHandler) -> bool:
        """Remove a handler; False if it was not there."""
        chain = self._handlers.pop(_point(point), [])
        kept = [item for item in chain if item[1] is not handler]
        if kept:
            self._handlers[_point(point)] = kept
        return len(kept) < len(chain)

    def clear(self, point: HookPoint | str | None = None) -> None:
        """Remove all handlers, of one point or of all."""
        if point is None:
            self._handlers.clear()
        else:
            self._handlers.pop(_point(point), None)

    @property
    def registered(self) -> bool:
        """Whether there is any handler at all."""
        return bool(self._handlers)

    def has(self, *points: HookPoint) -> bool:
        """Tell whether any of these points has a handler."""
        return bool(self._handlers) and any(self._handlers.get(point) for point in points)

    async def run(self, ctx: _Ctx) -> _Ctx:
        """Run a point's chain on a context and return it with its directive.

        Raises HookError, with the cause chained, when a handler raises or asks for what the point cannot do.
        """
        for _, handler in self._handlers.get(ctx.point, ()):
            try:
                answer = handler(ctx)
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception as error:
                raise HookError(
                    f"A {ctx.point} hook raised {type(error).__name__}: {error}", point=ctx.point
                ) from error
            directive = ctx.directive if answer is None else answer
            if not isinstance(directive, str) or directive not in ctx.honoured:
                honoured = ", ".join(sorted(ctx.honoured))
                raise HookError(f"A {ctx.point} hook asked for {directive!r}; this point honours {honoured}.")
            ctx.directive = HookDirective(directive)
            if ctx.directive is not HookDirective.CONTINUE:
                break
        return ctx


def _point(point: HookPoint | str) -> HookPoint:
    try:
        return HookPoint(point)
    except ValueError as error:
        raise ConfigError(f"Unknown hook point {point!r}; use one of {', '.join(HookPoint)}.") from error
