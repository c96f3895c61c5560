"""Tables of sessions and journals, as rich draws them and as JSON says them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from power_loop.cli.safe import safe, safe_line
from power_loop.cli.words import age, clock, describe
from power_loop.face.config import SessionInfo
from power_loop.facts.errors import PowerLoopError
from power_loop.facts.journal import Entry

_WIDE = 100
"""Columns from which on times show milliseconds."""
_STYLES = {
    "completed": "green",
    "running": "cyan",
    "empty": "dim",
    "error": "red",
    "crash_loop": "red",
    "degraded": "red",
}
_KIND_STYLES = {
    "input_received": "bold",
    "model_called": "magenta",
    "model_replied": "magenta",
    "model_failed": "red",
    "tool_started": "yellow",
    "tool_finished": "yellow",
    "run_started": "cyan",
    "run_ended": "cyan",
    "cancelled": "red",
}


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return Text(safe_line(status), _STYLES.get(status, "yellow"))


def session_table(sessions: Sequence[SessionInfo]) -> Table:
    """Return one line per session; ids are never cut."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    longest = max((len(safe(info.session_id)) for info in sessions), default=0)
    table.add_column("session", no_wrap=True, min_width=min(longest, 40), overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("waits for", ratio=1)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("entries", justify="right", no_wrap=True)
    for info in sessions:
        waits = info.waiting_for or (f"its run, driven by {info.owner}" if info.owner else "")
        table.add_row(
            Text(safe(info.session_id)),
            status_text(info.status),
            Text(safe_line(waits), "dim"),
            age(info.updated_at),
            str(info.entries),
        )
    return table


def journal_table(entries: Sequence[Entry], width: int) -> Table:
    """Return one line per entry: number, run, time, kind, and what it says in words."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("time", no_wrap=True, style="dim")
    table.add_column("kind", no_wrap=True)
    table.add_column("what", ratio=1, overflow="fold")
    for entry in entries:
        kind = Text(safe_line(entry.kind).replace("_", " "), _KIND_STYLES.get(entry.kind, ""))
        table.add_row(
            str(entry.seq),
            str(entry.run),
            clock(entry.time)[: -4 if width < _WIDE else None],
            kind,
            Text(describe(entry)),
        )
    return table


def journal_document(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the journal as JSON data; a body that this release cannot read stays the text that it is."""
    return [
        {
            "seq": entry.seq,
            "run": entry.run,
            "round": entry.round,
            "time": entry.time,
            "kind": entry.kind,
            "version": entry.version,
            "words": describe(entry),
            "body": _body(entry),
        }
        for entry in entries
    ]


def _body(entry: Entry) -> Any:  # noqa: ANN401 -- any JSON value
    try:
        _ = entry.fact
        return msgspec.json.decode(entry.body)
    except (PowerLoopError, msgspec.MsgspecError):
        return entry.body
