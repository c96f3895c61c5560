"""From arguments to an exit code. Every error becomes one line or one document, never a traceback."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

from power_loop.cli import care
from power_loop.cli.demo.command import demo
from power_loop.cli.exits import Exit, UsageError, exit_of
from power_loop.cli.parser import build_parser
from power_loop.cli.run import resume, run
from power_loop.cli.screen import Screen
from power_loop.cli.sessions import list_sessions, show
from power_loop.facts.errors import CancellationRequested, PowerLoopError

_COMMANDS: dict[str, Callable[[argparse.Namespace, Screen], Awaitable[int]]] = {
    "demo": demo,
    "run": run,
    "resume": resume,
    "sessions": list_sessions,
    "show": show,
    "stats": care.stats,
    "search": care.search,
    "prune": care.prune,
    "erase": care.erase,
    "export": care.export,
    "import": care.import_file,
    "vacuum": care.vacuum,
}


def run_command(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    screen = Screen(as_json="--json" in argv, no_color="--no-color" in argv)
    try:
        args = build_parser().parse_args(argv)
        _read_task(args)
        return int(asyncio.run(_command(args, screen)))
    except KeyboardInterrupt:
        screen.fail(CancellationRequested("interrupted"))
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return Exit.ENDED_OTHERWISE
    except SystemExit as left:  # --help and --version
        return left.code if isinstance(left.code, int) else Exit.DONE
    except Exception as error:
        if not isinstance(error, PowerLoopError) and os.environ.get("POWER_LOOP_DEBUG"):
            raise
        screen.fail(error)
        return exit_of(error)


async def _command(args: argparse.Namespace, screen: Screen) -> int:
    return await _COMMANDS[args.command](args, screen)


def _read_task(args: argparse.Namespace) -> None:
    if getattr(args, "task", None) == "-":
        if sys.stdin.isatty():
            raise UsageError("'-' reads the task from stdin, which is a terminal here. Pipe a text in, or type TASK.")
        args.task = sys.stdin.read()
    if hasattr(args, "task") and not args.task.strip():
        raise UsageError("TASK is empty. Say what to do, or continue without new input: power-loop resume SESSION")


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: whoever read our output is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
