"""Perform: from a step to the code that takes it, with what holds for every step."""

import contextlib
from collections.abc import Awaitable

from power_loop.decisions.state import State
from power_loop.decisions.steps import CallModel, CheckOutput, Compact, EndRun, RunTools, Step
from power_loop.engine.call_model import call_model
from power_loop.engine.check_output import check_output
from power_loop.engine.compact import compact
from power_loop.engine.end_run import end_run
from power_loop.engine.hooked import (
    hooked_call_model,
    hooked_check_output,
    hooked_compact,
    hooked_end_run,
    hooked_run_tools,
    hooked_start,
)
from power_loop.engine.journal import Redirected
from power_loop.engine.recall import with_recall
from power_loop.engine.run import Run
from power_loop.engine.run_tools import run_tools
from power_loop.facts.entries import ErrorRecord
from power_loop.facts.errors import HookError, NoProgress


async def perform(step: Step, run: Run) -> State:
    """Take one step. When it returns or raises, every task it started has ended."""
    before = run.journal.progress
    try:
        if run.cancel_requested():
            await run.record_cancel()
        else:
            if run.fresh:
                await _begin(run)
            if run.journal.progress == before:
                await _taken(step, run)
    except Redirected:
        pass
    except HookError as error:
        record = ErrorRecord(error.code, str(error), type(error).__name__)
        with contextlib.suppress(Redirected):
            await end_run(run, "error", error=record)
    if run.journal.progress == before:
        raise NoProgress(f"The step {step} recorded nothing.")
    return run.state


async def _begin(run: Run) -> None:
    """Do what comes before the first step of a run."""
    run.fresh = False
    await run.end_leftovers()
    if run.services.hooks.registered:
        await hooked_start(run)


def _taken(step: Step, run: Run) -> Awaitable[object]:
    """Return the step under way; with its hooks where there are any."""
    hooked = run.services.hooks.registered
    match step:
        case CallModel():
            call = hooked_call_model if hooked else call_model
            return with_recall(call, step, run) if run.services.memory else call(step, run)
        case Compact():
            return hooked_compact(step, run) if hooked else compact(step, run)
        case RunTools():
            return hooked_run_tools(step, run) if hooked else run_tools(step, run)
        case CheckOutput():
            return hooked_check_output(step, run) if hooked else check_output(step, run)
        case EndRun():
            return hooked_end_run(step, run) if hooked else end_run(run, step.status)
