"""The step that gives calls their results: in parallel, each start recorded before, each result as it arrives."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from power_loop.decisions.call import Call
from power_loop.decisions.calls import Fate, answer, fate, refusal, unknown
from power_loop.decisions.steps import RunTools
from power_loop.engine.interrupt import Interrupted
from power_loop.engine.run import Run
from power_loop.engine.tool_call import Outlook, ToolRun
from power_loop.facts.entries import ToolStarted

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
        self._waiting: deque[ToolRun] = deque()
        self._running: dict[asyncio.Task[None], ToolRun] = {}
        self._ended: asyncio.Future[None] | None = None

    async def run_group(self, calls: Sequence[Call]) -> None:
        """Run a group to its end, or until somebody asks to stop. No task outlives it but an abandoned one."""
        self._waiting = deque(ToolRun(call, self._run, self.outlook) for call in calls)
        try:
            with self._run.interrupt:
                while await self._start() or self._running:
                    await self._wait()
        except Interrupted:
            pass
        finally:
            self._run.journal.crowd = 0
            await _end(self._running)
        self._reap()

    async def _start(self) -> bool:
        """Start as many as may run side by side. Their starts are durable, with all results so far, before any runs."""
        admitted: dict[ToolRun, ToolStarted] = {}
        room = self._run.limits.recorded.max_parallel - len(self._running)
        while self._waiting and len(admitted) < room and not self.outlook.over:
            tool_run = self._waiting.popleft()
            start = await tool_run.admit()
            if start is not None:
                admitted[tool_run] = start
        if admitted or self._running:
            await self._run.commit(*admitted.values())
        for tool_run in admitted:
            self._running[asyncio.create_task(self._execute(tool_run))] = tool_run
        self._run.journal.crowd = len(self._running)
        return bool(admitted)

    async def _execute(self, tool_run: ToolRun) -> None:
        """Run one; its result is durable before this ends, unless something else is about to be written with it."""
        try:
            await tool_run.execute()
            if self._run.state.open_calls and not self._waiting:
                await self._run.flush()
        finally:
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

    async def _wait(self) -> None:
        """Wait until one has ended. A future of one's own costs a third of ``asyncio.wait``."""
        self._ended = asyncio.get_running_loop().create_future()
        if not any(task.done() for task in self._running):
            await self._ended
        self._reap()

    def _reap(self) -> None:
        """Let go of what has ended; raises what a task raised."""
        ended = [task for task in self._running if task.done()]
        errors = [task.exception() for task in ended if not task.cancelled()]
        for task in ended:
            del self._running[task]
        for error in filter(None, errors):
            raise error


async def _end(running: Mapping["asyncio.Task[None]", ToolRun]) -> None:
    """Cancel what still runs and wait for it, also while being cancelled; then take no more results."""
    unfinished = [task for task in running if not task.done()]
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
    for task, tool_run in running.items():
        tool_run.closed = True
        if task.done() and not task.cancelled():
            task.exception()  # looked at, also where another error goes first
    if cancelled is not None:
        raise cancelled
