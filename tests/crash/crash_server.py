"""The fork server: imports everything once, opens no store and starts no thread, and forks for each process it plays.

One JSON job per line in, one JSON verdict per line out. ``crash_server.py FOLDER SCENARIO FAULT`` instead plays one
driver in this very interpreter.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash_checks import problems
from crash_world import SCENARIOS, SESSION, World

HUNG = 30
"""Seconds after which a process of a test counts as hung."""


async def drive(folder: Path, scenario: str, fault: str) -> None:
    world = World(folder, scenario, fault)
    await world.host()
    await world.store.close()


async def finish(folder: Path, scenario: str, expected: Any) -> dict[str, Any]:
    """Continue to the end and check; tells how far the counters of fault points go in this process."""
    world = World(folder, scenario, "-")
    before = asyncio.all_tasks()
    status = await world.host()
    commits, statements = world.store.commits, world.fault.sql
    found = [] if status == "completed" else [f"status {status}"]
    found += await problems(world, expected if SCENARIOS[scenario].same_view else None)
    if left := asyncio.all_tasks() - before:
        found.append(f"tasks left: {left}")
    view = await world.loop.get_messages(SESSION)
    kinds = [entry.kind for entry in await world.store.read(SESSION)]
    await world.store.close()
    return {"problems": found, "view": view, "kinds": kinds, "commits": commits, "sql": statements}


def forked(work: Callable[[], Any], out: Path) -> int:
    """Run in a forked process; returns its exit code, minus the signal's number. A traceback goes to ``out``."""
    assert threading.active_count() == 1
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(HUNG)
    code = 1
    try:
        result = work()
        out.write_text(json.dumps(result))
        code = 0
    except BaseException:
        out.write_text(json.dumps({"problems": [traceback.format_exc()]}))
    finally:
        os._exit(code)


def play(job: dict[str, Any]) -> dict[str, Any]:
    """One driver per fault, each of which should die of it, and a last one that comes to the end."""
    folder, scenario = Path(job["folder"]), job["scenario"]
    folder.mkdir(parents=True)
    out = folder / "out.json"
    killed = []
    for fault in job["faults"]:
        code = forked(lambda fault=fault: asyncio.run(drive(folder, scenario, fault)), out)
        if code not in {0, -signal.SIGKILL}:
            text = out.read_text() if out.exists() else ""
            return {"killed": killed, "problems": [f"driver with {fault} ended with {code}: {text}"]}
        killed.append(code == -signal.SIGKILL)
    code = forked(lambda: asyncio.run(finish(folder, scenario, job.get("expected"))), out)
    verdict = json.loads(out.read_text()) if code in {0, 1} else {"problems": [f"the last driver ended with {code}"]}
    return {**verdict, "killed": killed}


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(drive(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
        return
    for line in sys.stdin:
        sys.stdout.write(json.dumps(play(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
