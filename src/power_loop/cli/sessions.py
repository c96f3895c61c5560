"""``sessions`` and ``show``: look at what the journals say."""

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.text import Text

from power_loop.cli.exits import Exit
from power_loop.cli.lookup import find_session, open_existing
from power_loop.cli.safe import safe, safe_line
from power_loop.cli.screen import Screen, plain
from power_loop.cli.tables import journal_document, journal_table, session_table, status_text
from power_loop.cli.words import age, attached, call_text, day, money, tokens
from power_loop.decisions.state import State
from power_loop.engine.journal import load_state
from power_loop.face.config import SessionInfo
from power_loop.face.reports import info_of, pending_of
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.errors import JournalTooNew
from power_loop.facts.journal import Entry
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.ports.store import SessionRecord

_ROLE_STYLES = {
    MessageRole.USER: "bold cyan",
    MessageRole.ASSISTANT: "bold magenta",
    MessageRole.TOOL: "bold yellow",
    MessageRole.SYSTEM: "bold blue",
}
_LONGEST_RESULT = 2000
"""Characters of a tool result that ``show`` prints; ``--json`` has all of it."""


async def list_sessions(args: argparse.Namespace, screen: Screen) -> int:
    """Print one line per session, newest first."""
    store = open_existing(args.db)
    try:
        infos = [await info_of(store, record, SYSTEM_CLOCK.now()) for record in await store.list(limit=args.limit)]
    finally:
        await store.close()
    if screen.as_json:
        screen.document({"sessions": [_info(info) for info in infos]})
    elif infos:
        screen.out.print(session_table(infos))
    else:
        screen.note(f"No sessions in {args.db} yet. Start one with: power-loop run TASK")
    return Exit.DONE


async def show(args: argparse.Namespace, screen: Screen) -> int:
    """Print a session's conversation and journal."""
    store = open_existing(args.db)
    try:
        session_id = await find_session(store, args.session)
        record, entries = await store.load(session_id, whole=True)
        info = await info_of(store, record, SYSTEM_CLOCK.now())
    finally:
        await store.close()
    state = _state(record, entries)
    if screen.as_json:
        screen.document(_document(info, state, entries))
    else:
        _print(screen, info, state, entries)
    return Exit.DONE


def _state(record: SessionRecord, entries: Sequence[Entry]) -> State | None:
    """Derive the conversation; None where a newer release wrote what this one cannot read."""
    try:
        return load_state(record, entries)
    except JournalTooNew:
        return None


def _info(info: SessionInfo) -> dict[str, Any]:
    return {
        "session_id": info.session_id,
        "status": info.status,
        "waiting_for": info.waiting_for,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
        "entries": info.entries,
        "owner": info.owner,
        "metadata": plain(info.metadata),
    }


def _document(info: SessionInfo, state: State | None, entries: Sequence[Entry]) -> dict[str, Any]:
    document: dict[str, Any] = {"session": _info(info), "journal": journal_document(entries)}
    if state is None:
        return document | {"messages": None, "pending": None, "usage": None, "cost": None}
    return document | {
        "messages": [message.to_openai_message() for message in state.messages],
        "pending": plain(pending_of(state)),
        "usage": state.spent.total.usage.as_dict(),
        "cost": None if state.spent.total.cost is None else str(state.spent.total.cost),
    }


def _print(screen: Screen, info: SessionInfo, state: State | None, entries: Sequence[Entry]) -> None:
    head = Text.assemble((safe(info.session_id), "bold"), "  ", status_text(info.status))
    screen.out.print(head, soft_wrap=True)
    facts = [f"created {day(info.created_at)}", f"changed {age(info.updated_at)} ago"]
    if state is not None:
        facts += [tokens(state.spent.total.usage), money(state.spent.total.cost)]
    screen.out.print(Text(" · ".join(facts), "dim"))
    if info.waiting_for:
        screen.out.print(Text(f"waits for {safe_line(info.waiting_for)}", "yellow"))
    if info.metadata:
        screen.out.print(Text(f"metadata {safe_line(msgspec.json.encode(info.metadata).decode())}", "dim"))
    screen.out.print()
    if state is None:
        screen.out.print(Text("A newer release wrote parts of this journal; upgrade to see the conversation.", "red"))
    else:
        _print_messages(screen, state)
    screen.out.print(Text(f"journal, {len(entries)} entries", "bold"))
    screen.out.print(journal_table(entries, screen.out.width))


def _print_messages(screen: Screen, state: State) -> None:
    for message in state.messages:
        screen.out.print(Text.assemble((f"{message.role}", _ROLE_STYLES[message.role]), _name(message)))
        if text := message.text.rstrip():
            screen.out.print(Text(safe(_shortened(message, text))))
        for file in attached(message.content):
            screen.out.print(Text(file, "dim"))
        for call in message.tool_calls:
            screen.out.print(Text(f"→ {call_text(call.name, call.arguments, 400)}", "yellow"))
        screen.out.print()
    for pending in state.pending():
        call = pending.to_tool_call()
        screen.out.print(Text(f"no result yet: {call_text(call.name, call.arguments)}", "red"))


def _name(message: AgentMessage) -> str:
    return f" {safe_line(message.name)}" if message.name else ""


def _shortened(message: AgentMessage, text: str) -> str:
    if message.role is not MessageRole.TOOL or len(text) <= _LONGEST_RESULT:
        return text
    return f"{text[:_LONGEST_RESULT]}\n[… {len(text) - _LONGEST_RESULT:,} more characters; --json has all]"
