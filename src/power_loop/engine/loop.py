"""The loop. Starting, continuing, resuming after a crash or a cancel: all of it is this function."""

from power_loop.decisions.state import State
from power_loop.decisions.steps import next_step
from power_loop.engine.perform import perform
from power_loop.engine.run import Run


async def drive(run: Run) -> State:
    """Drive a session until its run has ended, and return what its journal then says."""
    state = await run.replay()
    while step := next_step(state, run.limits):  # pure: no I/O, no clock, no randomness
        state = await perform(step, run)  # records facts through run.commit(*entries)
    return state
