"""Perform: from a step to the code that takes it, with what holds for every step."""

import contextlib

from power_loop.decisions.state import State
from power_loop.decisions.steps import CallModel, EndRun, RunTools, Step
from power_loop.engine.end_run import end_run
from power_loop.engine.hooked import hooked_call_model, hooked_end_run, hooked_run_tools, hooked_start
from power_loop.engine.journal import Redirected
from power_loop.engine.run import Run
from power_loop.facts.entries import ErrorRecord
from power_loop.facts.errors import HookError, NoProgress


async def perform(step: Step, run: Run) -> State:
    """Take one step. When it returns or raises, every task it started has ended."""
    before = _mark(run)
    try:
        if run.cancel_requested():
            await run.record_cancel()
        else:
            await _take(step, run)
    except Redirected:
        pass
    except HookError as error:
        record = ErrorRecord(error.code, str(error), type(error).__name__)
        with contextlib.suppress(Redirected):
            await end_run(run, "error", error=record)
    if _mark(run) == before:
        raise NoProgress(f"The step {step} recorded nothing.")
    return run.state


def _mark(run: Run) -> tuple[int, int]:
    return run.state.head_seq, run.journal.commits


async def _take(step: Step, run: Run) -> None:
    await run.end_leftovers()
    if run.fresh:
        run.fresh = False
        before = _mark(run)
        await hooked_start(run)
        if _mark(run) != before:
            return
    match step:
        case CallModel():
            await hooked_call_model(step, run)
        case RunTools():
            await hooked_run_tools(step, run)
        case EndRun():
            await hooked_end_run(step, run)
