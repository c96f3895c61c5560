"""Tables of sizes and of search hits."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from power_loop.cli.safe import safe, safe_line
from power_loop.cli.words import age, size
from power_loop.ports.store import SearchHit, SessionStats

_EXCERPT = 160
"""Characters of what was said that a line quotes."""


def _table(ids: Sequence[str]) -> Table:
    """Return a table whose first column has ids, which are never cut."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    longest = max((len(safe(session_id)) for session_id in ids), default=0)
    table.add_column("session", no_wrap=True, min_width=min(longest, 40), overflow="fold")
    return table


def stats_table(sessions: Sequence[SessionStats]) -> Table:
    """Return one line per session."""
    table = _table([session.session_id for session in sessions])
    for name in ("entries", "content", "blobs", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for session in sessions:
        table.add_row(
            Text(safe(session.session_id)),
            f"{session.entries:,}",
            size(session.entry_bytes),
            f"{session.blobs:,}, {size(session.blob_bytes)}" if session.blobs else "",
            age(session.newest) if session.newest is not None else "",
        )
    return table


def hit_table(hits: Sequence[SearchHit]) -> Table:
    """Return one line per entry that was found."""
    table = _table([hit.session_id for hit in hits])
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("said", ratio=1, overflow="fold")
    for hit in hits:
        table.add_row(Text(safe(hit.session_id)), str(hit.seq), age(hit.time), Text(safe_line(hit.excerpt, _EXCERPT)))
    return table
