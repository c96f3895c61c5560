"""What is read, and how rows become records. Each query runs inside one transaction of its caller."""

from collections.abc import Sequence
from itertools import starmap
from typing import Any, NamedTuple

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.clock import Instant
from power_loop.facts.errors import SessionNotFoundError
from power_loop.facts.journal import Entry
from power_loop.ports.store import InboxRow, Lease, SessionRecord, SubagentLifecycle
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connection

_NEWEST_KEY = (1 << 63) - 1
_LEASE = 8
"""Where the lease's columns begin in a session's row."""


class Row(NamedTuple):
    """What an append checks of a session's row."""

    key: int
    epoch: int
    head_seq: int
    head_digest: bytes
    lease: Lease | None


def _lease(owner: str | None, wall_ms: int, boot_id: str, boot_ms: int) -> Lease | None:
    return None if owner is None else Lease(owner, Instant(wall_ms, boot_id, boot_ms))


def _one(db: Connection, statement: str, session_id: str) -> Any:  # noqa: ANN401 -- a row of SQLite values
    try:
        row = db.execute(statement, (session_id,)).fetchone()
    except UnicodeEncodeError:  # a lone surrogate: no session has such an id
        row = None
    if row is None:
        raise SessionNotFoundError(session_id)
    return row


def find(db: Connection, session_id: str) -> Row:
    """Return what an append checks. Raises SessionNotFoundError."""
    key, epoch, head_seq, head_digest, *lease = _one(db, sql.FIND, session_id)
    return Row(key, epoch, head_seq, head_digest, _lease(*lease))


def find_key(db: Connection, session_id: str) -> int:
    """Return a session's key. Raises SessionNotFoundError."""
    key: int = _one(db, sql.FIND_KEY, session_id)[0]
    return key


def to_record(row: Sequence[Any]) -> SessionRecord:
    """Make the record of a row of ``sql.RECORD_COLUMNS``."""
    session_id, created_at, updated_at, base_seq, base_digest, head_seq, head_digest, epoch = row[:_LEASE]
    parent_id, kind, lifecycle, depth, config, metadata, anchor_seq, anchor_digest = row[_LEASE + 4 : _LEASE + 12]
    return SessionRecord(
        id=session_id,
        created_at=created_at,
        updated_at=updated_at,
        base_seq=base_seq,
        base_digest=base_digest,
        head_seq=head_seq,
        head_digest=head_digest,
        epoch=epoch,
        anchor_seq=anchor_seq,
        anchor_digest=anchor_digest,
        lease=_lease(*row[_LEASE : _LEASE + 4]),
        parent_id=parent_id,
        kind=kind,
        lifecycle=SubagentLifecycle(lifecycle),
        depth=depth,
        config=msgspec.json.decode(config),
        metadata=msgspec.json.decode(metadata),
    )


def get(db: Connection, session_id: str) -> SessionRecord:
    """Return a session's row. Raises SessionNotFoundError."""
    return to_record(_one(db, sql.GET, session_id))


def page(db: Connection, limit: int, before: str | None, parent_id: str | None) -> list[SessionRecord]:
    """Return sessions, newest first."""
    bound = _NEWEST_KEY if before is None else find_key(db, before)
    limit = max(limit, 0)
    if parent_id is None:
        rows = db.execute(sql.LIST, (bound, limit))
    else:
        rows = db.execute(sql.LIST_CHILDREN, (jsontext.clean(parent_id)[0], bound, limit))
    return [to_record(row) for row in rows.fetchall()]


def read(db: Connection, session_id: str, after: int, limit: int | None) -> list[Entry]:
    """Return entries with ``seq > after``. Raises SessionNotFoundError."""
    return _entries(db, find_key(db, session_id), min(max(after, 0), sql.MAX_SEQ), limit)


def _entries(db: Connection, key: int, after: int, limit: int | None) -> list[Entry]:
    ids = (sql.entry_id(key, after), sql.entry_id(key, sql.MAX_SEQ))
    return list(starmap(Entry, db.execute(sql.READ, (*ids, -1 if limit is None else max(limit, 0)))))


def load(db: Connection, session_id: str, *, whole: bool) -> tuple[SessionRecord, list[Entry]]:
    """Return row and entries from the anchor on, or all. Raises SessionNotFoundError."""
    row = _one(db, sql.GET, session_id)
    record = to_record(row)
    return record, _entries(db, row[-1], 0 if whole else record.anchor_seq - 1, None)


def last(db: Connection, session_id: str, kinds: Sequence[str]) -> Entry | None:
    """Return the newest entry of one of these kinds. Raises SessionNotFoundError."""
    key = find_key(db, session_id)
    names = jsontext.encode([jsontext.clean(kind)[0] for kind in kinds])
    row = db.execute(sql.LAST, (*sql.entry_ids(key), names)).fetchone()
    return None if row is None else Entry(*row)


def inbox(db: Connection, session_id: str) -> list[InboxRow]:
    """Return the unconsumed commands, oldest first. Raises SessionNotFoundError."""
    return list(starmap(InboxRow, db.execute(sql.INBOX, (find_key(db, session_id),))))
