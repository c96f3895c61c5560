"""What the writer does: one class per write. ``apply`` runs inside the group's transaction.

``committed`` answers, after a commit whose outcome is unknown, whether the job's writes are there.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from power_loop.facts import jsontext
from power_loop.facts.clock import Instant
from power_loop.facts.errors import SessionExistsError, SessionNotFoundError, StoreCorrupt
from power_loop.facts.journal import Entry
from power_loop.ports.store import Append, CommandKind, NewSession, Renewal, SessionRecord
from power_loop.stores import rules
from power_loop.stores.sqlite import care, sql
from power_loop.stores.sqlite.connection import Connection
from power_loop.stores.sqlite.queries import Row, find, find_key, to_record
from power_loop.stores.sqlite.tickets import Ticket

T = TypeVar("T")

_FRAME = 4096
_ENTRIES_ON_A_PAGE = 8
_KEYS_KEPT = 10_000
"""Sessions whose key a database remembers, so that a commit in the middle of a run need not look it up."""


class Job(ABC, Generic[T]):
    """One write and the ticket of its caller, which it gets when it is handed in."""

    durable = True
    """Whether its commit must reach the disk before the caller hears of it."""
    grouped = True
    """Whether it shares a transaction with others; else it runs outside of any."""

    ticket: Ticket[T]

    @abstractmethod
    def apply(self, db: Connection) -> T:
        """Write inside the open transaction; raise to have it undone."""

    def committed(self, db: Connection) -> bool:  # noqa: ARG002 -- others look
        """Tell whether the writes are there, after an error at COMMIT. False: nothing of it was kept."""
        return False

    @property
    def pages(self) -> int:
        """About how many pages of the write-ahead log it fills."""
        return 3


class AppendJob(Job[None]):
    """One commit of one session: fence, inbox rules, entries."""

    def __init__(self, append: Append, path: str, dead: rules.Dead, keys: dict[str, int]) -> None:
        rules.check_append(append)
        self.append = append
        self._takes_care = rules.takes_care(append)
        self._deleted = 0
        self._path = path
        self._dead = dead
        self._keys = keys

    def apply(self, db: Connection) -> None:
        """Write the entries if everything that the port names allows it."""
        append = self.append
        key = self._at_once(db)
        if key is None:
            row = find(db, append.session_id)
            if append.claim is not None and not rules.may_claim(row.lease, append.claim, self._dead):
                raise rules.busy(append.session_id, row.lease)
            self._move_head(db, row)
            key = self._remember(row.key)
            self._consume(db, key)
            self._check_inbox(db, key)
        _insert(db, key, append.entries)
        if append.blobs:
            care.add_blobs(db, key, append.blobs)
        if self._takes_care:
            self._deleted = care.take_care(db, key, append)

    def _at_once(self, db: Connection) -> int | None:
        """Move the head in one statement; None where the case is not a usual one, or is refused."""
        append = self.append
        key = self._keys.get(append.session_id)
        if key is None or append.consumes or not append.entries:
            return None
        last, claim = append.entries[-1], append.claim
        head = (last.seq, last.digest, last.time)
        held = (key, append.session_id, append.epoch, append.expected_head, append.expected_digest)
        if claim is None:
            moved = db.execute(sql.END_AT_HEAD if append.release else sql.MOVE_HEAD, (*head, *held))
        elif append.release:
            return None
        else:
            until = claim.until
            lease = (claim.owner, until.wall_ms, until.boot_id, until.boot_ms)
            moved = db.execute(sql.CLAIM_AT_HEAD, (*head, *lease, *held))
        return key if moved.rowcount == 1 else None

    def _remember(self, key: int) -> int:
        if len(self._keys) > _KEYS_KEPT:
            self._keys.clear()
        self._keys[self.append.session_id] = key
        return key

    def _move_head(self, db: Connection, row: Row) -> None:
        append = self.append
        last = append.entries[-1] if append.entries else None
        lease = rules.lease_after(row.lease, append)
        moved = db.execute(
            sql.MOVE_HEAD_AND_LEASE,
            {
                "key": row.key,
                "epoch": append.epoch,
                "head": append.expected_head,
                "digest": append.expected_digest,
                "claims": append.claim is not None,
                "new_epoch": rules.epoch_after(append),
                "new_head": last.seq if last else append.expected_head,
                "new_digest": last.digest if last else append.expected_digest,
                "time": last.time if last else None,
                "owner": lease.owner if lease else None,
                "wall_ms": lease.until.wall_ms if lease else None,
                "boot_id": lease.until.boot_id if lease else None,
                "boot_ms": lease.until.boot_ms if lease else None,
            },
        )
        if moved.rowcount == 1:
            return
        refusal = rules.fence_refusal(
            append,
            epoch=row.epoch,
            head_seq=row.head_seq,
            head_digest=row.head_digest,
            lease=row.lease,
            path=self._path,
        )
        raise refusal or StoreCorrupt(f"The row of {append.session_id!r} did not change.", path=self._path)

    def _consume(self, db: Connection, key: int) -> None:
        for command in set(self.append.consumes) if self.append.consumes else ():
            if db.execute(sql.CONSUME, (key, command)).rowcount != 1:
                raise rules.consumed_twice(self.append, self._path)

    def _check_inbox(self, db: Connection, key: int) -> None:
        append = self.append
        if rules.ends(append) and db.execute(sql.INBOX_WAITS, (key,)).fetchone():
            raise rules.inbox_refusal(append, self._path)
        for run in rules.starting_runs(append):
            if db.execute(sql.CANCEL_WAITS, (key, run)).fetchone():
                raise rules.cancel_refusal(append, self._path)

    def committed(self, db: Connection) -> bool:
        """Re-read session, epoch and head: what this append wrote is there, or it is not."""
        append = self.append
        try:
            row = find(db, append.session_id)
        except SessionNotFoundError:
            return False
        if append.entries:
            last = append.entries[-1]
            stored = db.execute(sql.ENTRY_DIGEST, (sql.entry_id(row.key, last.seq),)).fetchone()
            return stored is not None and stored[0] == last.digest
        owner = row.lease.owner if row.lease else None
        expected = None if append.release else append.claim.owner if append.claim else owner
        return (row.epoch, owner) == (rules.epoch_after(append), expected) and not append.consumes

    @property
    def pages(self) -> int:
        """Three pages of tables, the bodies, the blobs, and what was deleted."""
        written = sum(map(len, self.append.blobs.values())) if self.append.blobs else 0
        for entry in self.append.entries:
            written += len(entry.body)
        return 3 + written // _FRAME + self._deleted // _ENTRIES_ON_A_PAGE


def _insert(db: Connection, key: int, entries: tuple[Entry, ...]) -> None:
    first = sql.entry_id(key, 0)
    rows = [
        (first + e.seq, e.kind, e.version, e.run, e.round, e.time, e.body, e.digest, e.body_digest) for e in entries
    ]
    db.executemany(sql.ADD_ENTRY, rows)


class CreateJob(Job[SessionRecord]):
    """A new session with its first entries."""

    def __init__(self, session: NewSession) -> None:
        self._config, self._metadata = rules.check_new(session)
        self._session = session

    def apply(self, db: Connection) -> SessionRecord:
        """Insert the row and the first entries."""
        session = self._session
        new = rules.new_record(session)
        if db.execute(sql.FIND_KEY, (session.id,)).fetchone():
            raise SessionExistsError(session.id)
        if session.parent_id is not None:
            find_key(db, session.parent_id)
        values = (
            *(new.id, new.parent_id, new.kind, new.lifecycle, new.depth, new.created_at, new.updated_at),
            *(new.base_seq, new.base_digest, new.head_seq, new.head_digest, new.epoch),
            *(*(rules.anchor_after(session.first, new.base_digest) or (None, None)), self._config, self._metadata),
        )
        key = db.execute(sql.CREATE, values).lastrowid or 0
        _insert(db, key, session.first)
        care.add_blobs(db, key, session.blobs)
        return to_record(db.execute(sql.GET, (session.id,)).fetchone())

    def committed(self, db: Connection) -> bool:
        """Tell whether the session is there as this job made it."""
        row = db.execute(sql.GET, (self._session.id,)).fetchone()
        return row is not None and to_record(row) == self.ticket.result


class EnqueueJob(Job[int]):
    """A command for a session's driver."""

    def __init__(self, session_id: str, kind: CommandKind, body: str, run: int, now: int) -> None:
        self._session_id = session_id
        self._row = (kind, run, jsontext.clean(body)[0], now)

    def apply(self, db: Connection) -> int:
        """Insert the row; returns its id."""
        return db.execute(sql.ENQUEUE, (find_key(db, self._session_id), *self._row)).lastrowid or 0

    def committed(self, db: Connection) -> bool:
        """Tell whether the row is there."""
        key = db.execute(sql.FIND_KEY, (self._session_id,)).fetchone()
        if key is None:
            return False
        stored: object = db.execute(sql.ENQUEUED, (self.ticket.result, key[0])).fetchone()
        return stored == self._row


class RenewJob(Job[Renewal]):
    """A heartbeat: never numbered, and not worth a sync of its own."""

    durable = False

    def __init__(self, session_id: str, epoch: int, until: Instant) -> None:
        self._session_id, self._epoch, self._until = session_id, epoch, until

    def apply(self, db: Connection) -> Renewal:
        """Move the lease's end, and look whether commands wait."""
        until = self._until
        values = (until.wall_ms, until.boot_id, until.boot_ms, self._session_id, self._epoch)
        if db.execute(sql.RENEW, values).rowcount != 1:
            return Renewal(held=False)
        return Renewal(held=True, inbox=db.execute(sql.INBOX_WAITS_BY_ID, (self._session_id,)).fetchone() is not None)

    @property
    def pages(self) -> int:
        """One page of one table."""
        return 1


class ReleaseJob(Job[bool]):
    """A driver gives up without an entry."""

    def __init__(self, session_id: str, epoch: int) -> None:
        self._session_id, self._epoch = session_id, epoch

    def apply(self, db: Connection) -> bool:
        """Free the lease if it is ours."""
        return db.execute(sql.RELEASE, (self._session_id, self._epoch)).rowcount == 1

    def committed(self, db: Connection) -> bool:
        """Tell whether the lease is free in this epoch, or was never ours."""
        row = find(db, self._session_id)
        return self.ticket.result is False or (row.epoch == self._epoch and row.lease is None)


class DeleteJob(Job[int]):
    """A session goes, with the children that may not outlive it."""

    def __init__(self, session_id: str, now: Instant, dead: rules.Dead, *, cascade: bool) -> None:
        self._session_id, self._cascade, self._now, self._dead = session_id, cascade, now, dead
        self._deleted = 0

    def apply(self, db: Connection) -> int:
        """Delete unless someone drives it; returns how many sessions went."""
        if db.execute(sql.FIND_KEY, (self._session_id,)).fetchone() is None:
            return 0
        doomed, freed = [self._session_id], list[str]()
        for parent in doomed if self._cascade else ():
            for child, lifecycle in db.execute(sql.CHILDREN, (parent,)).fetchall():
                (freed if lifecycle == "detached" else doomed).append(child)
        rows = [find(db, name) for name in doomed]
        for name, row in zip(doomed, rows, strict=True):
            if rules.is_live(row.lease, self._now, self._dead):
                raise rules.busy(name, row.lease)
        for row in rows:
            care.forget(db, row.key)
            self._deleted += db.execute(sql.DELETE_ENTRIES, sql.entry_ids(row.key)).rowcount
            db.execute(sql.DELETE_INBOX, (row.key,))
            db.execute(sql.DELETE_SESSION, (row.key,))
        for name in freed:
            db.execute(sql.BECOME_ROOT, (name,))
        return len(doomed)

    def committed(self, db: Connection) -> bool:
        """Tell whether the session is gone."""
        return db.execute(sql.FIND_KEY, (self._session_id,)).fetchone() is None

    @property
    def pages(self) -> int:
        """A few for each session, and what its entries took."""
        return 3 + self._deleted // _ENTRIES_ON_A_PAGE
