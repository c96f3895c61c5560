"""One tool call on its way to its result: check, record the start, run, record the result."""

import asyncio
import inspect
from typing import Any

import msgspec

from power_loop.decisions.calls import Fate, answer, fate, unknown
from power_loop.decisions.state import Call
from power_loop.engine.context import enter_session
from power_loop.engine.hooked_tool import after_tool, arguments_of, before_tool, on_tool_error
from power_loop.engine.run import Run
from power_loop.engine.threads import run_in_thread
from power_loop.facts.entries import Outcome, ToolFinished, ToolStarted
from power_loop.facts.errors import HookError, ToolTimeout
from power_loop.facts.events import AgentEvent, AgentEventType, ToolProgressPayload
from power_loop.facts.ids import idempotency_key
from power_loop.facts.jsontext import clean
from power_loop.ports.registry import clip, render_result, run_tool
from power_loop.ports.tools import RegisteredTool, ToolContext


class Outlook(msgspec.Struct):
    """Whether calls of a batch that have not started may still start: a hook may break, or fail."""

    broken: bool = False
    failure: HookError | None = None

    @property
    def over(self) -> bool:
        """Whether no further call may start."""
        return self.broken or self.failure is not None


class ToolRun:
    """One call of one step."""

    def __init__(self, call: Call, run: Run, slots: asyncio.Semaphore, outlook: Outlook) -> None:
        self.closed = False
        self._id = call.id
        self._run = run
        self._slots = slots
        self._outlook = outlook
        self._stopped = False
        self._began = 0.0

    @property
    def _call(self) -> Call:
        return self._run.state.calls[self._id]

    async def settle(self) -> None:
        """Give the call its result. What hooks say of it is known before the next call may take its slot."""
        enter_session(self._run.session_id)
        async with self._slots:
            if self._outlook.over:
                return
            try:
                await self._settle()
                if await after_tool(self._call, self._run):
                    self._outlook.broken = True
            except HookError as error:
                self._outlook.failure = self._outlook.failure or error
            except asyncio.CancelledError:
                self._stopped = True
                if self._call.open and self._call.started_run == self._run.journal.run:
                    text = f"<cancelled while running: whether {self._call.recorded.name} took effect is unknown>"
                    self._finish("cancelled", text)
                return
        if self._run.state.open_calls > 0:
            await self._run.flush()

    async def _settle(self) -> None:
        call, run = self._call, self._run
        tool = run.services.registry.get(call.recorded.name)
        assert tool is not None  # noqa: S101 -- fate() said that it can be run here
        if fate(call, run.state, run.limits.runnable) is Fate.RECONCILE and not await self._did_not_happen(tool):
            return
        arguments = await self._arguments()
        if arguments is None:
            return
        problem = self._problem(arguments)
        if problem is not None:
            self._finish("failed", f"Error: {problem}")
            return
        changed = arguments != call.recorded.arguments
        key = call.key or idempotency_key(run.session_id, call.id)
        await run.commit(
            ToolStarted(
                call.id,
                call.recorded.name,
                tool.definition.effect,
                call.attempt + 1,
                key if not call.key else "",
                arguments if changed else None,
            )
        )
        self._began = run.services.clock.monotonic()
        outcome, content = await self._execute(tool, arguments)
        self._finish(outcome, content)

    async def _arguments(self) -> dict[str, Any] | None:
        """Return the arguments to run with; None when a hook has answered the call itself."""
        call = self._call
        if call.started_run:
            return arguments_of(call)
        skipped, arguments, output = await before_tool(call, self._run)
        if skipped:
            self._finish("skipped", output)
            return None
        return arguments

    def _problem(self, arguments: dict[str, Any]) -> str | None:
        """Return what is wrong with the arguments; a validator of the host's that raises is wrong too."""
        try:
            return self._run.services.registry.validate(self._call.recorded.name, arguments)
        except Exception as error:  # noqa: BLE001 -- a host's types may raise anything; the model is told
            return f"the arguments could not be checked: {type(error).__name__}: {error}"

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
        except Exception as error:  # noqa: BLE001 -- a host's function may raise anything; then the truth stays unknown
            self._finish("unknown", f"{unknown(call)} (Asking failed: {type(error).__name__}: {error})")
            return False
        if told is None:
            return True
        text, failed = render_result(told)
        self._finish("failed" if failed else "ok", clip(text, tool.definition.output_limit))
        return False

    async def _execute(self, tool: RegisteredTool, arguments: dict[str, Any]) -> tuple[Outcome, str]:
        try:
            return await self._invoke(tool, arguments)
        except Exception as error:  # noqa: BLE001 -- a tool may raise anything; the model is told
            retry, outcome, content = await on_tool_error(self._call, self._run, arguments, error)
        if not retry:
            return outcome, content
        try:
            return await self._invoke(tool, arguments)
        except Exception as error:  # noqa: BLE001 -- as above
            return "failed", f"Error: {type(error).__name__}: {error}"

    async def _invoke(self, tool: RegisteredTool, arguments: dict[str, Any]) -> tuple[Outcome, str]:
        definition = tool.definition
        context = self._context() if tool.wants_context else None
        try:
            async with asyncio.timeout(definition.timeout) as bound:
                output = await run_tool(tool, arguments, context, in_thread=run_in_thread)
        except TimeoutError as error:
            self._stopped = True
            if not bound.expired():
                raise
            message = f"{definition.name} did not return within {definition.timeout:g} s"
            raise ToolTimeout(definition.name, message) from error
        return ("failed" if output.failed else "ok"), clip(output.text, definition.output_limit)

    def _finish(self, outcome: Outcome, content: str) -> None:
        """Stage the result, unless the call was given up: a late result is discarded."""
        if self.closed or not self._call.open:
            return
        text, dirty = clean(content)
        clock = self._run.services.clock
        elapsed = round((clock.monotonic() - self._began) * 1000) if self._began else 0
        base = answer(self._call, self._run.state, outcome, text)
        self._run.stage(
            ToolFinished(base.call, base.name, outcome, text, base.attempt, elapsed, base.closes_round, dirty)
        )

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
