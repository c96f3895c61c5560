"""The wrapper that asks memory, once per input, before its first model call. Whatever memory does, the run goes on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from power_loop.decisions.steps import CallModel
from power_loop.engine.hooked import hooked_note
from power_loop.engine.interrupt import Interrupted
from power_loop.engine.run import Run
from power_loop.engine.services import MemoryAccess
from power_loop.facts.entries import Note
from power_loop.facts.errors import HookError
from power_loop.facts.events import (
    AgentEvent,
    AgentEventType,
    BaseEventPayload,
    MemoryFailedPayload,
    MemoryRecalledPayload,
)
from power_loop.facts.messages import AgentMessage, to_message
from power_loop.ports.hooks import HookDirective, HookPoint, MemoryRecalledCtx
from power_loop.ports.memory import MEMORY, Recalled, memory_note, within_budget

GRACE = 1.0
"""Seconds that a recall gets to end once it is given up; after that it is abandoned."""

logger = logging.getLogger("power_loop")
_abandoned: set[asyncio.Future[Recalled]] = set()


async def with_recall(call: Callable[[CallModel, Run], Awaitable[None]], step: CallModel, run: Run) -> None:
    """Tell the model what memory knows of a new input, then call it."""
    memory = run.services.memory
    if memory is None or not run.state.told.recall_due or await _recall(memory, run):
        await call(step, run)


async def _recall(memory: MemoryAccess, run: Run) -> bool:
    """Stage the note, where there is something to tell. Returns False when a cancel came first."""
    await run.flush()
    try:
        found = await _found(memory, run)
    except Interrupted:
        await run.record_cancel()
        return False
    except Exception as error:  # noqa: BLE001 -- a host's provider may raise anything
        logger.warning("Memory could not recall for %s: %s: %s", run.session_id, type(error).__name__, error)
        _tell(run, AgentEventType.MEMORY_FAILED, MemoryFailedPayload("recall", type(error).__name__, str(error)))
        return True
    kept = within_budget(await _hooked(found, memory, run), memory.budget_tokens)
    if not kept:
        _tell(run, AgentEventType.MEMORY_RECALLED, MemoryRecalledPayload(len(found), 0, memory.budget_tokens))
        return True
    figures = {"returned": len(found), "injected": len(kept), "budget_tokens": memory.budget_tokens}
    run.stage(await hooked_note(run, Note(MEMORY, memory_note(kept), figures=figures)))
    return True


async def _found(memory: MemoryAccess, run: Run) -> list[AgentMessage]:
    """Return what the provider recalls, in time and as messages. Raises what is wrong with it."""
    heard = run.state.messages[: len(run.state.messages) - run.state.told.behind]
    asked = asyncio.ensure_future(
        memory.provider.recall(messages=heard, session_id=run.session_id, budget_tokens=memory.budget_tokens)
    )
    try:
        with run.interrupt:
            done, _ = await asyncio.wait((asked,), timeout=memory.timeout)
    finally:
        if not asked.done():
            await _give_up(asked)
    if not done:
        raise TimeoutError(f"recall took longer than {memory.timeout:g} s")
    if asked.cancelled():
        raise RuntimeError("recall cancelled itself")
    answer = asked.result()
    if isinstance(answer, str | bytes) or not isinstance(answer, Sequence):
        raise TypeError(f"recall must return a list of texts or messages, got {type(answer).__name__}")
    return [to_message(item) for item in answer]


async def _give_up(asked: "asyncio.Future[Recalled]") -> None:
    asked.cancel()
    await asyncio.wait((asked,), timeout=GRACE)
    if asked.done():
        _look(asked)
    else:
        _abandoned.add(asked)
        asked.add_done_callback(_look)


def _look(asked: "asyncio.Future[Recalled]") -> None:
    """Look at what came too late, so that nobody complains that it was not looked at."""
    _abandoned.discard(asked)
    if not asked.cancelled():
        asked.exception()


async def _hooked(found: list[AgentMessage], memory: MemoryAccess, run: Run) -> list[AgentMessage]:
    """Run memory.recalled and return what it leaves."""
    hooks = run.services.hooks
    if not hooks.has(HookPoint.MEMORY_RECALLED):
        return found
    ctx = await hooks.run(
        MemoryRecalledCtx(session_id=run.session_id, recalled=list(found), budget_tokens=memory.budget_tokens)
    )
    if ctx.directive is HookDirective.SKIP:
        return []
    try:
        return [to_message(item) for item in ctx.recalled]
    except (TypeError, ValueError) as error:
        raise HookError(f"A memory.recalled hook left what cannot be told: {error}") from error


def _tell(run: Run, kind: AgentEventType, payload: BaseEventPayload) -> None:
    run.tell(AgentEvent(kind, payload, run.session_id, run.state.rounds, None, run.journal.run))
