"""Sessions in the memory of one process: the same rules as every store, and nothing that outlives it."""

import os
import threading
from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Entry
from power_loop.facts.errors import SessionExistsError, SessionNotFoundError, StoreClosed, StoreForked
from power_loop.facts.ids import new_id
from power_loop.ports.store import Append, CommandKind, InboxRow, Lease, NewSession, Renewal, SessionRecord
from power_loop.stores import rules

PATH = ":memory:"


class _Session:
    """A session's row, journal and inbox; ``config`` and ``metadata`` as text, so that nobody shares them."""

    __slots__ = ("config", "entries", "inbox", "metadata", "record")

    def __init__(self, session: NewSession) -> None:
        self.config, self.metadata = rules.check_new(session)
        self.record = rules.new_record(session)
        self.entries = list(session.first)
        self.inbox: dict[int, InboxRow] = {}

    def change(self, **fields: Any) -> None:  # noqa: ANN401 -- the record checks them
        self.record = msgspec.structs.replace(self.record, **fields)

    def snapshot(self) -> SessionRecord:
        config, metadata = msgspec.json.decode(self.config), msgspec.json.decode(self.metadata)
        return msgspec.structs.replace(self.record, config=config, metadata=metadata)


def _nobody_died(_owner: str) -> bool:
    """Tell that a holder in this very process is alive."""
    return False


def _subtree(sessions: dict[str, _Session], session_id: str) -> tuple[list[str], list[str]]:
    """Return the ids that a cascade deletes, and those of detached children, which become roots."""
    doomed: list[str] = [session_id]
    freed: list[str] = []
    for parent in doomed:
        children = [row.record for row in sessions.values() if row.record.parent_id == parent]
        freed += [child.id for child in children if child.lifecycle == "detached"]
        doomed += [child.id for child in children if child.lifecycle != "detached"]
    return doomed, freed


class MemoryStore:
    """Sessions that end with the process, or with ``close()``. Safe to use from several threads and event loops."""

    path = PATH

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._next_command = 1
        self._closed = False
        self._owner = new_id(f"driver_{self._pid}")

    @property
    def identity(self) -> str:
        """A name of this very object: no other one reaches its sessions."""
        return f"memory:{self._owner}"

    @property
    def owner(self) -> str:
        """This process's driver id at this store."""
        return self._owner

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StoreForked("This store was made before a fork. Open a new one in the child.", path=PATH)
        if self._closed:
            raise StoreClosed("This store is closed. Open a new one.", path=PATH)

    def _find(self, session_id: str) -> _Session:
        self._check_usable()
        try:
            return self._sessions[session_id]
        except KeyError:
            raise SessionNotFoundError(session_id) from None

    def is_live(self, lease: Lease, now: Instant) -> bool:
        """Tell whether a lease's holder may still be driving; see the port."""
        return rules.is_live(lease, now, _nobody_died)

    async def create(self, session: NewSession) -> SessionRecord:
        """Create a session; see the port."""
        self._check_usable()
        row = _Session(session)
        with self._lock:
            if session.id in self._sessions:
                raise SessionExistsError(session.id)
            if session.parent_id is not None:
                self._find(session.parent_id)
            self._sessions[session.id] = row
        return row.snapshot()

    async def get(self, session_id: str) -> SessionRecord:
        """Return a session's row; see the port."""
        with self._lock:
            return self._find(session_id).snapshot()

    async def list(
        self, *, limit: int = 100, before: str | None = None, parent_id: str | None = None
    ) -> Sequence[SessionRecord]:
        """Return sessions, newest first; see the port."""
        self._check_usable()
        with self._lock:
            ids = list(self._sessions)
            if before is not None:
                self._find(before)
                ids = ids[: ids.index(before)]
            rows = (self._sessions[name] for name in reversed(ids))
            wanted = (row for row in rows if parent_id is None or row.record.parent_id == parent_id)
            return [row.snapshot() for row in islice(wanted, max(limit, 0))]

    async def read(self, session_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        """Return entries with ``seq > after``; see the port."""
        with self._lock:
            row = self._find(session_id)
            start = max(after - row.record.base_seq, 0)
            return row.entries[start:] if limit is None else row.entries[start : start + max(limit, 0)]

    async def load(self, session_id: str) -> tuple[SessionRecord, Sequence[Entry]]:
        """Return row and all entries; see the port."""
        with self._lock:
            row = self._find(session_id)
            return row.snapshot(), list(row.entries)

    async def last(self, session_id: str, kinds: Sequence[str]) -> Entry | None:
        """Return the newest entry of one of these kinds; see the port."""
        with self._lock:
            return next((entry for entry in reversed(self._find(session_id).entries) if entry.kind in kinds), None)

    async def append(self, append: Append) -> None:
        """Commit; see the port."""
        rules.check_numbering(append.entries, append.expected_head)
        with self._lock:
            row = self._find(append.session_id)
            record = row.record
            if append.claim and not rules.may_claim(record.lease, append.claim, _nobody_died):
                raise rules.busy(append.session_id, record.lease)
            refusal = rules.fence_refusal(
                append,
                epoch=record.epoch,
                head_seq=record.head_seq,
                head_digest=record.head_digest,
                lease=record.lease,
                path=PATH,
            )
            if refusal is not None:
                raise refusal
            self._check_inbox(row, append)
            self._write(row, append)

    def _check_inbox(self, row: _Session, append: Append) -> None:
        if not row.inbox.keys() >= set(append.consumes):
            raise rules.consumed_twice(append, PATH)
        waiting = [command for command in row.inbox.values() if command.id not in append.consumes]
        if waiting and rules.ends(append):
            raise rules.inbox_refusal(append, PATH)
        starting = rules.starting_runs(append)
        if any(command.kind == "cancel" and command.run in starting for command in waiting):
            raise rules.cancel_refusal(append, PATH)

    def _write(self, row: _Session, append: Append) -> None:
        for command in append.consumes:
            row.inbox.pop(command, None)
        row.entries.extend(append.entries)
        row.change(epoch=rules.epoch_after(append), lease=rules.lease_after(row.record.lease, append))
        if append.entries:
            last = append.entries[-1]
            row.change(head_seq=last.seq, head_digest=last.digest, updated_at=last.time)

    async def renew(self, session_id: str, epoch: int, until: Instant) -> Renewal:
        """Extend the lease while the epoch is ours; see the port."""
        with self._lock:
            self._check_usable()
            row = self._sessions.get(session_id)
            if row is None or row.record.lease is None or row.record.epoch != epoch:
                return Renewal(held=False)
            row.change(lease=Lease(row.record.lease.owner, until))
            return Renewal(held=True, inbox=bool(row.inbox))

    async def release(self, session_id: str, epoch: int) -> bool:
        """Free the lease without an entry; see the port."""
        with self._lock:
            self._check_usable()
            row = self._sessions.get(session_id)
            if row is None or row.record.lease is None or row.record.epoch != epoch:
                return False
            row.change(lease=None)
            return True

    async def enqueue(self, session_id: str, kind: CommandKind, body: str, *, run: int = 0, now: int) -> int:
        """Add a command to the inbox; see the port."""
        with self._lock:
            row = self._find(session_id)
            command, self._next_command = self._next_command, self._next_command + 1
            row.inbox[command] = InboxRow(command, kind, run, jsontext.clean(body)[0], now)
            return command

    async def inbox(self, session_id: str) -> Sequence[InboxRow]:
        """Return the unconsumed commands, oldest first; see the port."""
        with self._lock:
            return list(self._find(session_id).inbox.values())

    async def delete(self, session_id: str, *, cascade: bool = True, now: Instant) -> int:
        """Delete a session; see the port."""
        with self._lock:
            self._check_usable()
            if session_id not in self._sessions:
                return 0
            doomed, freed = _subtree(self._sessions, session_id) if cascade else ([session_id], [])
            for name in doomed:
                lease = self._sessions[name].record.lease
                if rules.is_live(lease, now, _nobody_died):
                    raise rules.busy(name, lease)
            for name in doomed:
                del self._sessions[name]
            for name in freed:
                self._sessions[name].change(parent_id=None, kind="root")
            return len(doomed)

    async def close(self) -> None:
        """Forget everything."""
        if not self._closed:
            self._closed = True
            self._sessions.clear()
