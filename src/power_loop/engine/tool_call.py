"""One tool call on its way to its result: check, say what its start is, run, stage the result."""

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from power_loop.decisions.call import Call
from power_loop.decisions.calls import Fate, answer, fate, unknown
from power_loop.engine.context import enter_session
from power_loop.engine.hooked_tool import after_tool, arguments_of, before_tool, on_tool_error
from power_loop.engine.reader import StoreReader
from power_loop.engine.results import to_record
from power_loop.engine.run import Run
from power_loop.engine.threads import run_in_thread
from power_loop.facts.entries import Outcome, ToolFinished, ToolStarted
from power_loop.facts.errors import HookError, ToolTimeout, ToolValidationError
from power_loop.facts.events import AgentEvent, AgentEventType, ToolProgressPayload
from power_loop.facts.ids import idempotency_key
from power_loop.facts.jsontext import clean
from power_loop.facts.messages import Content
from power_loop.ports.blobs import NO_BLOBS
from power_loop.ports.reader import READ_RESULT
from power_loop.ports.registry import ToolOutput, call_tool, checked_args, output_of
from power_loop.ports.tools import DEFAULT_OUTPUT_LIMIT, RegisteredTool, ToolContext


class Outlook(msgspec.Struct):
    """Whether calls of a batch that have not started may still start: a hook may break, or fail."""

    broken: bool = False
    failure: HookError | None = None

    @property
    def over(self) -> bool:
        """Whether no further call may start."""
        return self.broken or self.failure is not None


class ToolRun:
    """One call of one step: ``admit`` it, commit its start, then ``execute`` it in a task of its own."""

    def __init__(self, call: Call, run: Run, outlook: Outlook) -> None:
        self.closed = False
        self._id = call.id
        self._run = run
        self._outlook = outlook
        self._stopped = False
        self._began = 0.0
        self._tool: RegisteredTool | None = None
        self._arguments: dict[str, Any] = {}
        self._ready: dict[str, Any] = {}

    @property
    def _call(self) -> Call:
        return self._run.state.calls[self._id]

    async def admit(self) -> ToolStarted | None:
        """Check the call and return its start, for the caller to commit. None: it has its result without running."""
        try:
            start = await self._checked()
            if start is None:
                await self._look_after()
        except HookError as error:
            self._outlook.failure = self._outlook.failure or error
            return None
        return start

    async def execute(self) -> None:
        """Run the tool and stage its result. What hooks say of it is known when this returns."""
        enter_session(self._run.session_id)
        self._began = self._run.services.clock.monotonic()
        try:
            self._finish(*await self._execute())
            await self._look_after()
        except HookError as error:
            self._outlook.failure = self._outlook.failure or error
        except asyncio.CancelledError:
            self._stopped = True
            if self._call.open and self._call.started_run == self._run.journal.run:
                text = f"<cancelled while running: whether {self._call.recorded.name} took effect is unknown>"
                self._finish("cancelled", text)

    async def _look_after(self) -> None:
        if self._run.services.hooks.registered and await after_tool(self._call, self._run):
            self._outlook.broken = True

    async def _checked(self) -> ToolStarted | None:
        call, run = self._call, self._run
        tool = self._tool = run.services.registry.get(call.recorded.name)
        assert tool is not None  # noqa: S101 -- fate() said that it can be run here
        if fate(call, run.state, run.limits.runnable) is Fate.RECONCILE and not await self._did_not_happen(tool):
            return None
        arguments = await self._wanted()
        if arguments is None:
            return None
        problem = self._problem(tool, arguments)
        if problem is not None:
            self._finish("failed", f"Error: {problem}")
            return None
        self._arguments = arguments
        return ToolStarted(
            call.id,
            call.recorded.name,
            tool.definition.effect,
            call.attempt + 1,
            "" if call.key else idempotency_key(run.session_id, call.id),
            arguments if arguments != call.recorded.arguments else None,
        )

    async def _wanted(self) -> dict[str, Any] | None:
        """Return the arguments to run with; None when a hook has answered the call itself."""
        call = self._call
        if call.started_run or not self._run.services.hooks.registered:
            return arguments_of(call)
        skipped, arguments, output = await before_tool(call, self._run)
        if skipped:
            self._finish("skipped", output)
            return None
        return arguments

    def _problem(self, tool: RegisteredTool, arguments: dict[str, Any]) -> str | None:
        """Return what is wrong with the arguments; a validator of the host's that raises is wrong too."""
        try:
            self._ready = checked_args(tool, arguments)
        except ToolValidationError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 -- a host's types may raise anything; the model is told
            return f"the arguments could not be checked: {type(error).__name__}: {error}"
        return None

    async def _did_not_happen(self, tool: RegisteredTool) -> bool:
        """Ask the tool what became of a call in doubt. True: it may run; else it has its result now."""
        call, ask = self._call, tool.reconcile
        if ask is None:
            self._finish("unknown", unknown(call))
            return False
        await self._run.flush()
        given = (self._context(), arguments_of(call))
        try:
            told: Any = ask(*given) if inspect.iscoroutinefunction(ask) else await run_in_thread(ask, *given)
            if inspect.isawaitable(told):
                told = await told
            result = await self._told(output_of(told)) if told is not None else None
        except Exception as error:  # noqa: BLE001 -- a host's function may raise anything; then the truth stays unknown
            self._finish("unknown", f"{unknown(call)} (Asking failed: {type(error).__name__}: {error})")
            return False
        if result is None:
            return True
        self._finish(*result)
        return False

    async def _execute(self) -> tuple[Outcome, Content, Mapping[str, bytes]]:
        tool = self._tool
        assert tool is not None  # noqa: S101 -- admit() has found it
        try:
            return await self._invoke(tool, self._ready)
        except Exception as error:  # noqa: BLE001 -- a tool may raise anything; the model is told
            retry, outcome, content = await on_tool_error(self._call, self._run, self._arguments, error)
        if not retry:
            return outcome, content, NO_BLOBS
        try:
            return await self._invoke(tool, checked_args(tool, self._arguments))
        except Exception as error:  # noqa: BLE001 -- as above
            return "failed", f"Error: {type(error).__name__}: {error}", NO_BLOBS

    async def _invoke(
        self, tool: RegisteredTool, ready: dict[str, Any]
    ) -> tuple[Outcome, Content, Mapping[str, bytes]]:
        definition = tool.definition
        context = self._context() if tool.wants_context else None
        if definition.timeout is None:
            output = await call_tool(tool, ready, context, in_thread=run_in_thread)
        else:
            output = await self._in_time(tool, ready, context, definition.timeout)
        return await self._told(output)

    async def _told(self, output: ToolOutput) -> tuple[Outcome, Content, Mapping[str, bytes]]:
        """Return a result with its images and documents read. Raises a ContentError."""
        outcome: Outcome = "failed" if output.failed else "ok"
        if not output.parts:
            return outcome, output.text, NO_BLOBS
        run = self._run
        taken = await run.services.intake.take(output.parts, StoreReader(run.services.store, run.session_id).blob)
        return outcome, taken.content, taken.blobs

    async def _in_time(
        self, tool: RegisteredTool, ready: dict[str, Any], context: ToolContext | None, seconds: float
    ) -> ToolOutput:
        name = tool.definition.name
        try:
            async with asyncio.timeout(seconds) as bound:
                return await call_tool(tool, ready, context, in_thread=run_in_thread)
        except TimeoutError as error:
            if not bound.expired():
                raise
            self._stopped = True
            raise ToolTimeout(name, f"{name} did not return within {seconds:g} s") from error

    def _finish(self, outcome: Outcome, content: Content, blobs: Mapping[str, bytes] = NO_BLOBS) -> None:
        """Stage the result, unless the call was given up: a late result is discarded."""
        if self.closed or not self._call.open:
            return
        clock, registry = self._run.services.clock, self._run.services.registry
        limit = self._tool.definition.output_limit if self._tool is not None else DEFAULT_OUTPUT_LIMIT
        result = to_record(content, limit, self._id, readable=READ_RESULT in registry, blobs=blobs)
        elapsed = round((clock.monotonic() - self._began) * 1000) if self._began else 0
        base = answer(self._call, self._run.state, outcome, "")
        fact = ToolFinished(
            base.call, base.name, outcome, result.content, base.attempt, elapsed, base.closes_round, result.cleaned,
            result.whole,
        )  # fmt: skip
        self._run.stage(fact, result.blobs)

    def _context(self) -> ToolContext:
        call, run = self._call, self._run
        return ToolContext(
            session_id=run.session_id,
            call_id=call.id,
            idempotency_key=call.key or idempotency_key(run.session_id, call.id),
            attempt=max(call.attempt, 1),
            progress=self._progress,
            is_cancelled=lambda: self._stopped,
            run_process=run.processes,
            session=StoreReader(run.services.store, run.session_id),
        )

    def _progress(self, text: str) -> None:
        """Tell progress, from whatever thread the tool runs on."""
        run, call = self._run, self._call
        payload = ToolProgressPayload(call.recorded.name, clean(str(text))[0], call.recorded.id)
        event = AgentEvent(
            AgentEventType.TOOL_PROGRESS, payload, run.session_id, max(run.state.rounds - 1, 0), None, run.journal.run,
            call.attempt,
        )  # fmt: skip
        run.call_on_loop(run.tell, event)
