"""``run`` and ``resume``: drive a session, show it, and say how it ended."""

import argparse
import asyncio
import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from rich.text import Text

from power_loop.cli.exits import Exit, exit_of_result
from power_loop.cli.live import LiveRun
from power_loop.cli.lookup import find_session, open_existing
from power_loop.cli.models import load_tools, model_service
from power_loop.cli.prepare import prepare_model
from power_loop.cli.safe import safe, safe_line
from power_loop.cli.screen import Screen, plain
from power_loop.cli.tables import status_text
from power_loop.cli.words import money, rounds, tokens
from power_loop.engine.cancellation import CancellationToken
from power_loop.face.config import DEFAULT_DB_PATH, AgentLoopConfig, StatefulResult
from power_loop.face.loop import StatefulAgentLoop
from power_loop.facts.errors import ConfigError
from power_loop.facts.events import AgentEvent
from power_loop.ports.bus import AgentEventBus
from power_loop.stores import open_store

Verb = Callable[[CancellationToken], Awaitable[StatefulResult]]
_SAYS_SOMETHING = frozenset({"completed", "hit_round_limit"})
"""Statuses whose final text is the model's own."""


async def run(args: argparse.Namespace, screen: Screen) -> int:
    """Send a task, to a new session or with ``--session`` to one that is there."""
    async with _opened(args, screen, existing=args.session is not None) as loop:
        session = await find_session(loop.store, args.session) if args.session is not None else None
        return await _drive(args, screen, loop, lambda token: loop.send(args.task, session, stop_event=token))


async def resume(args: argparse.Namespace, screen: Screen) -> int:
    """Continue a session where its last run stopped."""
    async with _opened(args, screen, existing=True) as loop:
        session = await find_session(loop.store, args.session)
        return await _drive(args, screen, loop, lambda token: loop.resume(session, force=args.force, stop_event=token))


@asynccontextmanager
async def _opened(args: argparse.Namespace, screen: Screen, *, existing: bool) -> AsyncIterator[StatefulAgentLoop]:
    if args.db == ":memory:":
        raise ConfigError("--db :memory: would forget the session at once; give the path of a file.")
    config = AgentLoopConfig(
        system_prompt=args.system, max_tokens=args.max_tokens, **_given(max_rounds=args.max_rounds)
    )
    tools = load_tools(args.tool)
    service = model_service(args.model)
    store = open_existing(args.db) if existing else open_store(args.db)
    try:
        await prepare_model(service, screen)
        yield StatefulAgentLoop(llm=service, store=store, tools=tools, config=config, event_bus=AgentEventBus())
    finally:
        await service.close()
        await store.close()


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 -- options of any type
    return {name: value for name, value in options.items() if value is not None}


async def _drive(args: argparse.Namespace, screen: Screen, loop: StatefulAgentLoop, verb: Verb) -> int:
    """Run a verb, showing its events; the first interrupt asks it to stop, a second one insists."""
    queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
    token = CancellationToken()
    live = LiveRun(screen, loop.store)
    if not screen.as_json:
        loop.event_bus.subscribe(None, queue.put_nowait)
    task = asyncio.ensure_future(verb(token))
    task.add_done_callback(lambda _task: queue.put_nowait(None))
    with _interrupts(token, task) as caught:
        try:
            await live.follow(queue)
            result = await task
        except asyncio.CancelledError:
            if not caught:
                raise
            screen.note(f"Interrupted. {_next(args, 'resume', live.session_id)}")
            return Exit.INTERRUPTED
        finally:
            await _ended(task)
    _report(args, screen, result, shown=live.shown_text)
    return Exit.INTERRUPTED if caught and result.status == "cancelled" else exit_of_result(result)


async def _ended(task: "asyncio.Future[StatefulResult]") -> None:
    """Leave no run behind, whatever ends the showing of it."""
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


@contextmanager
def _interrupts(token: CancellationToken, task: "asyncio.Future[StatefulResult]") -> Iterator[list[int]]:
    """Turn Ctrl-C into a cancel of the run; yields the list of interrupts so far."""
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    def on_interrupt() -> None:
        caught.append(signal.SIGINT)
        if len(caught) == 1:
            token.cancel()
        else:
            task.cancel()

    handled = False
    with suppress(NotImplementedError, RuntimeError, ValueError):  # only the main thread hears signals
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        handled = True
    try:
        yield caught
    finally:
        if handled:
            loop.remove_signal_handler(signal.SIGINT)


def _report(args: argparse.Namespace, screen: Screen, result: StatefulResult, *, shown: bool) -> None:
    if screen.as_json:
        screen.document(result_document(result))
        return
    if not shown and result.final_text and result.status in _SAYS_SOMETHING:
        screen.out.print(Text(safe(result.final_text)), soft_wrap=not screen.out.is_terminal)
    if result.error is not None:
        screen.note(f"{result.error.code}: {safe_line(result.error.message, 500)}", "red")
    figures = f" · {rounds(result.rounds)} · {tokens(result.usage)} · {money(result.cost)}"
    screen.err.print(status_text(result.status).append(figures, "dim"), soft_wrap=True)
    verb = "run" if result.status in _SAYS_SOMETHING | {"empty"} else "resume"
    screen.note(f"session {result.session_id}\n{_next(args, verb, result.session_id)}")


def _next(args: argparse.Namespace, verb: str, session_id: str) -> str:
    """Return the command that continues."""
    words = ["power-loop", verb, *(["--session", session_id, "TASK"] if verb == "run" else [session_id])]
    if args.db != DEFAULT_DB_PATH:
        words += ["--db", args.db]
    if args.model is not None:
        words += ["--model", args.model]
    for name in args.tool:
        words += ["--tool", name]
    return f"continue with: {shlex.join(words)}"


def result_document(result: StatefulResult) -> dict[str, Any]:
    """Return a result as JSON data."""
    return {
        "session_id": result.session_id,
        "status": result.status,
        "final_text": result.final_text,
        "rounds": result.rounds,
        "usage": result.usage.as_dict(),
        "cost": None if result.cost is None else str(result.cost),
        "pending_tool_calls": plain([call.to_openai_tool_call() for call in result.pending_tool_calls]),
        "error": None if result.error is None else {"code": result.error.code, "message": result.error.message},
    }
