"""Execute: the loop with what must hold when it is left by an exception: nothing half-said, nothing left running."""

import asyncio
import contextlib
import logging

from power_loop.decisions.state import State
from power_loop.engine.end_run import end_run
from power_loop.engine.journal import Redirected
from power_loop.engine.loop import drive
from power_loop.engine.run import Run
from power_loop.engine.shield import settled
from power_loop.facts.entries import Cancelled, ErrorRecord, ModelFailed, RunStatus
from power_loop.facts.errors import SessionError, StoreError

logger = logging.getLogger("power_loop")
_TRIES = 5


async def execute(run: Run) -> State:
    """Drive a run to its end. Whatever happens, the session stays valid and can be continued."""
    try:
        try:
            return await drive(run)
        except asyncio.CancelledError:
            await settled(asyncio.ensure_future(_leave(run, "cancelled", None)))
            raise
        except (StoreError, SessionError):
            await settled(asyncio.ensure_future(_let_go(run)))
            raise
        except Exception as error:
            record = ErrorRecord("internal_error", str(error)[:500], type(error).__name__)
            await settled(asyncio.ensure_future(_leave(run, "error", record)))
            raise
    finally:
        if run.close_now():
            await settled(asyncio.ensure_future(run.close()))


async def _leave(run: Run, status: RunStatus, error: ErrorRecord | None) -> None:
    """Record how the run was left. A store that cannot be written leaves a session that was merely cut off."""
    if not run.journal.claimed:
        return
    if not run.journal.writable or not run.state.run_open:
        await _let_go(run)
        return
    try:
        if run.state.in_flight:
            run.stage(ModelFailed(run.state.attempts, "cancelled", "The call was abandoned."))
        if status == "cancelled" and run.state.cancel is None:
            run.stage(Cancelled(run.journal.run, "task cancelled"))
        for _ in range(_TRIES):
            with contextlib.suppress(Redirected):
                await end_run(run, status, error=error)
                return
    except StoreError as store_error:
        logger.warning("Could not record the end of a run of %s: %s", run.session_id, store_error)
        await _let_go(run)


async def _let_go(run: Run) -> None:
    """Free the lease without an entry, so that the next driver need not wait for it to run out."""
    with contextlib.suppress(StoreError, SessionError):
        await run.journal.release()
