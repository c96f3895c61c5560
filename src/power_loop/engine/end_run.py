"""The step that ends a run: its processes are gone, open calls get their answers, the lease is freed in one commit."""

from power_loop.decisions.endings import ending, last_answers
from power_loop.decisions.spending import counts_seconds
from power_loop.engine.run import Run
from power_loop.facts.entries import ErrorRecord, RunStatus


async def end_run(run: Run, status: RunStatus, *, reason: str = "", error: ErrorRecord | None = None) -> None:
    """End the run. Raises Redirected where an input arrived meanwhile, which then keeps it going."""
    if run.has_processes:
        await run.flush()
        await run.end_processes()
    for answer in last_answers(run.state, status, reason):
        run.stage(answer)
    elapsed_ms = round(run.elapsed() * 1000) if counts_seconds(run.limits.recorded) else 0
    await run.commit(ending(run.state, status, reason=reason, error=error, elapsed_ms=elapsed_ms))
