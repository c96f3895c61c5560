"""``stats``, ``search``, ``prune``, ``erase``, ``export``, ``import``, ``vacuum``: look after what is stored."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.text import Text

from power_loop.cli.care_tables import hit_table, stats_table
from power_loop.cli.exits import Exit, UsageError
from power_loop.cli.lookup import find_session, open_existing
from power_loop.cli.safe import safe
from power_loop.cli.screen import Screen
from power_loop.cli.words import size
from power_loop.face.loop import StatefulAgentLoop
from power_loop.facts.errors import ConfigError
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta
from power_loop.stores import open_store


class _NoModel:
    """Stands where a model would be: none of these commands calls one."""

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:  # noqa: ARG002 -- the port's
        """Refuse. Raises ConfigError."""
        raise ConfigError("This command calls no model.")

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def _opened(args: argparse.Namespace, *, create: bool = False) -> AsyncIterator[StatefulAgentLoop]:
    store = open_store(args.db) if create else open_existing(args.db)
    try:
        yield StatefulAgentLoop(llm=_NoModel(), store=store)
    finally:
        await store.close()


async def _meant(loop: StatefulAgentLoop, typed: str | None) -> str | None:
    return None if typed is None else await find_session(loop.store, typed)


def _count(number: int, what: str) -> str:
    """Return a number and what it counts, such as ``2 entries``."""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


async def stats(args: argparse.Namespace, screen: Screen) -> int:
    """Print what each session takes, and the database."""
    async with _opened(args) as loop:
        found = await loop.stats(await _meant(loop, args.session))
    if screen.as_json:
        screen.document(msgspec.to_builtins(found))
        return Exit.DONE
    if found.sessions:
        screen.out.print(stats_table(found.sessions))
        screen.out.print()
    free = f", {size(found.free_bytes)} of it free (see: power-loop vacuum)" if found.free_bytes else ""
    screen.out.print(Text(f"database {size(found.database_bytes)}{free}"), soft_wrap=True)
    return Exit.DONE


async def search(args: argparse.Namespace, screen: Screen) -> int:
    """Print where all words were said, newest first."""
    async with _opened(args) as loop:
        hits = await loop.search(" ".join(args.words), session_id=await _meant(loop, args.session), limit=args.limit)
    if screen.as_json:
        screen.document({"hits": msgspec.to_builtins(hits)})
    elif hits:
        screen.out.print(hit_table(hits))
    else:
        screen.note(f"Nobody said {' '.join(args.words)!r} here.")
    return Exit.DONE


async def prune(args: argparse.Namespace, screen: Screen) -> int:
    """Delete ended sessions, or what one has folded away."""
    if args.session is None and args.older_than is None and args.max_size is None and args.keep_last is None:
        raise UsageError("Say what may go: --older-than AGE, --max-size SIZE, --keep-last N, or --session ID.")
    async with _opened(args) as loop:
        report = await loop.prune(
            older_than=args.older_than,
            max_bytes=args.max_size,
            keep_last=args.keep_last,
            session_id=await _meant(loop, args.session),
            dry_run=args.dry_run,
        )
    if screen.as_json:
        screen.document(msgspec.to_builtins(report))
        return Exit.DONE
    for session_id in report.sessions:
        screen.out.print(Text(safe(session_id)), soft_wrap=True)
    what = [_count(len(report.sessions), "session")] if args.session is None else []
    told = ", ".join([*what, f"{_count(report.entries, 'entry')}, {size(report.bytes)}"])
    screen.note(f"{'would delete' if report.dry_run else 'deleted'} {told}")
    return Exit.DONE


async def erase(args: argparse.Namespace, screen: Screen) -> int:
    """Erase one message."""
    async with _opened(args) as loop:
        session_id = await find_session(loop.store, args.session)
        erased = await loop.erase_message(session_id, args.seq, reason=args.reason)
    if screen.as_json:
        screen.document({"session_id": session_id, "erased": erased})
    elif erased:
        numbers = ", ".join(map(str, erased))
        screen.note(f"erased the content of {'entry' if len(erased) == 1 else 'entries'} {numbers} of {session_id}")
    else:
        screen.note(f"entry {args.seq} of {session_id} was erased before")
    return Exit.DONE


def _file(typed: str) -> Path:
    return Path(typed).expanduser()


def _new_file(typed: str) -> Path:
    path = _file(typed)
    if path.exists():
        raise UsageError(f"{path} is there already. Name a new file.")
    return path


async def export(args: argparse.Namespace, screen: Screen) -> int:
    """Write a session and its children to a file."""
    path = _new_file(args.file)
    async with _opened(args) as loop:
        written = await loop.export_session(await find_session(loop.store, args.session), path)
    return _told(screen, "wrote", written, f"to {path}, {size(path.stat().st_size)}", {"path": str(path)})


async def import_file(args: argparse.Namespace, screen: Screen) -> int:
    """Create the sessions of a file."""
    path = _file(args.file)
    async with _opened(args, create=True) as loop:
        made = await loop.import_session(path, session_id=args.as_id)
    return _told(screen, "imported", made, f"from {path}", {"path": str(path)})


def _told(screen: Screen, verb: str, ids: tuple[str, ...], where: str, more: dict[str, Any]) -> int:
    if screen.as_json:
        screen.document({"sessions": ids} | more)
        return Exit.DONE
    for session_id in ids:
        screen.out.print(Text(safe(session_id)), soft_wrap=True)
    screen.note(f"{verb} {_count(len(ids), 'session')} {where}")
    return Exit.DONE


async def vacuum(args: argparse.Namespace, screen: Screen) -> int:
    """Give free space back to the file system."""
    async with _opened(args) as loop:
        given_back = await loop.vacuum()
    if screen.as_json:
        screen.document({"bytes": given_back})
    else:
        screen.note(f"gave back {size(given_back)}")
    return Exit.DONE
