"""The step that gives calls their results: in parallel, each start recorded before, each result as it arrives."""

import asyncio
from collections.abc import Iterator, Sequence

from power_loop.decisions.calls import Fate, answer, fate, refusal, unknown
from power_loop.decisions.state import Call
from power_loop.decisions.steps import RunTools
from power_loop.engine.interrupt import Interrupted
from power_loop.engine.run import Run
from power_loop.engine.tool_call import Outlook, ToolRun

CANCEL_GRACE = 5.0
"""Seconds that a cancelled tool gets to end; after that it is abandoned and its late result discarded."""


async def run_tools(step: RunTools, run: Run) -> bool:
    """Give these calls their results. Returns True when a ``tool.after`` hook asked to break."""
    chosen: list[Call] = []
    for identity in step.calls:
        call = run.state.calls[identity]
        match fate(call, run.state, run.limits.runnable):
            case Fate.REFUSE:
                run.stage(answer(call, run.state, "refused", refusal(call, run.state)))
            case Fate.UNKNOWN:
                run.stage(answer(call, run.state, "unknown", unknown(call)))
            case _:
                chosen.append(call)
    batch = _Batch(run)
    for group in _groups(chosen, run):
        await batch.run_group(group)
    if batch.outlook.failure is not None:
        raise batch.outlook.failure
    return batch.outlook.broken


def _groups(calls: Sequence[Call], run: Run) -> Iterator[list[Call]]:
    """Split into groups that may overlap: an exclusive tool is a group of its own."""
    group: list[Call] = []
    for call in calls:
        tool = run.services.registry.get(call.recorded.name)
        if tool is not None and tool.definition.exclusive:
            if group:
                yield group
            yield [call]
            group = []
        else:
            group.append(call)
    if group:
        yield group


class _Batch:
    """The calls of one step while they run. A hook that fails or breaks lets running siblings finish."""

    def __init__(self, run: Run) -> None:
        self.outlook = Outlook()
        self._run = run
        self._slots = asyncio.Semaphore(run.limits.recorded.max_parallel)

    async def run_group(self, calls: Sequence[Call]) -> None:
        """Run a group to its end, or until somebody asks to stop. No task outlives it but an abandoned one."""
        runs = [ToolRun(call, self._run, self._slots, self.outlook) for call in calls]
        tasks = [asyncio.create_task(tool_run.settle()) for tool_run in runs]
        self._run.journal.crowd = len(tasks)
        try:
            async with self._run.interrupt:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        except Interrupted:
            pass
        finally:
            self._run.journal.crowd = 0
            await _end(tasks, runs)
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for error in filter(None, errors):
            raise error


async def _end(tasks: Sequence["asyncio.Task[None]"], runs: Sequence[ToolRun]) -> None:
    """Cancel what still runs and wait for it, also while being cancelled; then take no more results."""
    unfinished = [task for task in tasks if not task.done()]
    for task in unfinished:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    loop = asyncio.get_running_loop()
    until = loop.time() + CANCEL_GRACE
    while unfinished and loop.time() < until:
        try:
            await asyncio.wait(unfinished, timeout=until - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
        unfinished = [task for task in unfinished if not task.done()]
    for tool_run in runs:
        tool_run.closed = True
    if cancelled is not None:
        raise cancelled
