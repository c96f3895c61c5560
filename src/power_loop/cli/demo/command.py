"""``power-loop demo``: directs the processes, then counts."""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from power_loop.cli.demo.ledger import Ledger
from power_loop.cli.demo.stage import Actor, ActorFailed, Stage, open_stage
from power_loop.cli.demo.story import Story
from power_loop.cli.demo.subject import question
from power_loop.cli.demo.verdict import Check, Evidence, judge
from power_loop.cli.demo.watcher import Target
from power_loop.cli.demo.worker import Order
from power_loop.cli.exits import Exit, UsageError
from power_loop.cli.models import model_service
from power_loop.cli.prepare import prepare_model
from power_loop.cli.screen import Screen
from power_loop.cli.tables import journal_document
from power_loop.stores import SqliteStore

_DEADLINE = 600.0
"""Seconds after which the demo gives up."""


async def demo(args: argparse.Namespace, screen: Screen) -> int:
    """Run the demo; 0 when every assertion holds."""
    with _folder(args.keep) as folder:
        service = model_service(args.model)
        try:
            await prepare_model(service, screen)
        finally:
            await service.close()
        with Story(screen) as story:
            return await _tell(args, screen, story, folder)


async def _tell(args: argparse.Namespace, screen: Screen, story: Story, folder: Path) -> int:
    story.open(question(), args.model, str(folder) if args.keep else "")
    try:
        async with asyncio.timeout(_DEADLINE), open_stage(folder, story.hear) as stage:
            session, killed_by = await _play(stage, story, folder, args.model)
    except TimeoutError:
        raise ActorFailed(f"The demo did not end within {_DEADLINE:g} s; a process or the model hangs.") from None
    evidence = await _evidence(folder, session, killed_by)
    checks = judge(evidence)
    story.reckon(evidence, checks)
    ok = all(check.ok for check in checks)
    _report(screen, evidence, checks, story.seconds, folder if args.keep else None)
    return Exit.DONE if ok else Exit.ENDED_OTHERWISE


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """Yield the folder for database, ledger and logs; without ``keep`` it is gone afterwards."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="power-loop-demo-") as name:
            yield Path(name)
        return
    folder = Path(keep).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"--keep {keep}: {error.strerror}. Name a folder that can be written.") from error
    if occupied:
        raise UsageError(f"--keep {keep}: the folder is not empty. Name a new or an empty one.")
    yield folder.resolve()


async def _play(stage: Stage, story: Story, folder: Path, model: str) -> tuple[str, int]:
    """Have the session started, cut off and finished; returns its id and how worker 1 ended."""
    order = Order(str(folder / "sessions.db"), str(folder / "ledger.jsonl"), model)
    worker = await stage.start("worker 1", "worker", order)
    story.enter("worker 1", worker.pid, "starts the session")
    session = str((await worker.wait_for("opened"))["session"])
    watcher = await stage.start("watcher", "watcher", Target(order.db, order.ledger, session, worker.pid))
    story.enter("watcher", watcher.pid, "watches the journal, read-only")
    await _kill(watcher, worker)
    killed_by = await worker.ended()
    story.cut_off("worker 1")
    second = await stage.start("worker 2", "worker", Order(order.db, order.ledger, model, session))
    story.enter("worker 2", second.pid, "resumes the session")
    await second.wait_for("result")
    await second.ended()
    return session, killed_by


async def _kill(watcher: Actor, worker: Actor) -> None:
    """Wait for the shot. Raises ActorFailed where there was none to fire."""
    if (await watcher.wait_for("killed", "missed"))["event"] == "killed":
        return
    await worker.ended()
    ended = next((told for told in worker.told if told["event"] == "result"), None)
    said = f" Its run ended: {ended['status']} {ended['error'].get('message', '')}".rstrip() if ended else ""
    raise worker.failure(
        f"was never inside one tool call with another finished.{said} Was the model able to call both tools?"
    )


async def _evidence(folder: Path, session: str, killed_by: int) -> Evidence:
    store = SqliteStore(folder / "sessions.db")
    try:
        record, entries = await store.load(session, whole=True)
    finally:
        await store.close()
    return Evidence(record, entries, Ledger(folder / "ledger.jsonl").read(), killed_by)


def _report(screen: Screen, evidence: Evidence, checks: list[Check], seconds: float, kept: Path | None) -> None:
    ok = all(check.ok for check in checks)
    if screen.as_json:
        screen.document(_document(evidence, checks, seconds, kept))
        return
    paid, runs, calls = evidence.calls_paid, evidence.tool_runs, len(evidence.results)
    screen.out.print()
    verdict = ("nothing was lost, nothing was done twice", "bold green") if ok else ("the demo failed", "bold red")
    counts = f"  {paid} model calls paid, {runs} tool runs for {calls} calls, {seconds:.0f} s"
    screen.out.print(Text.assemble(verdict, (counts, "dim")))
    if kept is not None:
        look = f"look at it with: power-loop show last --db {kept / 'sessions.db'}"
        screen.out.print(Text(look, "dim"), soft_wrap=True)


def _document(evidence: Evidence, checks: list[Check], seconds: float, kept: Path | None) -> dict[str, Any]:
    return {
        "ok": all(check.ok for check in checks),
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
        "session_id": evidence.record.id,
        "question": question(),
        "final_text": evidence.final_text,
        "model_calls_paid": evidence.calls_paid,
        "tool_runs": evidence.tool_runs,
        "tools": [
            {
                "call": call,
                "name": result.name,
                "result": result.content,
                "attempts": list(evidence.deeds[call].attempts) if call in evidence.deeds else [],
                "keys": sorted(evidence.deeds[call].keys) if call in evidence.deeds else [],
            }
            for call, result in evidence.results.items()
        ],
        "journal": journal_document(evidence.entries),
        "seconds": round(seconds, 1),
        "kept": None if kept is None else str(kept),
    }
