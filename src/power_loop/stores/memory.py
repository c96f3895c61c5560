"""Sessions in the memory of one process: the same rules as every store, and nothing that outlives it."""

import os
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from power_loop.facts import jsontext
from power_loop.facts.chain import body_hash
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Erased, Pruned
from power_loop.facts.errors import SessionExistsError, SessionNotFoundError, StoreClosed, StoreForked
from power_loop.facts.ids import new_id
from power_loop.facts.journal import Entry
from power_loop.facts.words import excerpt, has_phrases, phrases_of, searchable
from power_loop.ports.store import (
    ANCHORS,
    Append,
    CommandKind,
    InboxRow,
    Lease,
    NewSession,
    Renewal,
    SearchHit,
    SessionRecord,
    SessionStats,
    StoreStats,
)
from power_loop.stores import rules
from power_loop.stores.blobs import check_address, check_blobs, check_stored, let_go, not_found

PATH = ":memory:"


class _Session:
    """A session's row, journal, inbox and blobs; ``config`` and ``metadata`` as text, so that nobody shares them."""

    __slots__ = ("blobs", "config", "entries", "inbox", "metadata", "record")

    def __init__(self, session: NewSession) -> None:
        self.config, self.metadata = rules.check_new(session)
        self.record = rules.new_record(session)
        self.entries = list(session.first)
        self.inbox: dict[int, InboxRow] = {}
        self.blobs = set(session.blobs)

    def change(self, **fields: Any) -> None:  # noqa: ANN401 -- the record checks them
        self.record = msgspec.structs.replace(self.record, **fields)

    def snapshot(self) -> SessionRecord:
        config, metadata = msgspec.json.decode(self.config), msgspec.json.decode(self.metadata)
        return msgspec.structs.replace(self.record, config=config, metadata=metadata)

    def extend(self, entries: tuple[Entry, ...], digest: bytes) -> None:
        """Take entries that follow ``digest``, and do what they say beyond themselves: all of it, or nothing."""
        before = self.record, self.entries, self.blobs
        self.entries = [*self.entries, *entries]
        try:
            for entry in entries:
                self._take_care(entry, digest)
                digest = entry.digest
        except BaseException:
            self.record, self.entries, self.blobs = before
            raise

    def _take_care(self, entry: Entry, digest: bytes) -> None:
        if entry.kind not in rules.CARE:
            return
        if entry.kind in ANCHORS:
            self.change(anchor_seq=entry.seq, anchor_digest=digest)
            return
        fact = entry.fact
        if isinstance(fact, Pruned):
            self._prune(fact)
        elif isinstance(fact, Erased):
            self._erase(fact)

    def _prune(self, fact: Pruned) -> None:
        rules.check_prune(fact, self.record.base_seq, self.record.anchor_seq)
        gone, self.entries = self.entries[: fact.entries], self.entries[fact.entries :]
        self.change(base_seq=fact.through, base_digest=gone[-1].digest)
        self._let_go([entry.body for entry in gone])

    def _erase(self, fact: Erased) -> None:
        place = fact.target - self.record.base_seq - 1
        if not 0 <= place < len(self.entries):
            raise rules.no_target(fact)
        old = self.entries[place]
        body = rules.tombstone(fact, old.kind, old.version, old.body)
        kept = old.body_digest or body_hash(old.body)
        self.entries[place] = msgspec.structs.replace(old, body=body, decoded=None, body_digest=kept)
        self._let_go([old.body])

    def _let_go(self, bodies: list[str]) -> None:
        self.blobs = self.blobs - let_go(bodies, [self.config, self.metadata, *(entry.body for entry in self.entries)])

    def measured(self, blobs: dict[str, bytes]) -> SessionStats:
        times = [entry.time for entry in self.entries]
        return SessionStats(
            self.record.id,
            entries=len(self.entries),
            entry_bytes=sum(len(entry.body.encode()) for entry in self.entries),
            blobs=len(self.blobs),
            blob_bytes=sum(len(blobs[blob]) for blob in self.blobs),
            oldest=min(times, default=None),
            newest=max(times, default=None),
        )

    def found(self, phrases: list[str], query: str) -> Iterator[SearchHit]:
        for entry in reversed(self.entries):
            text = searchable(entry.kind, entry.body) if entry.body_digest is None else ""
            if text and has_phrases(text, phrases):
                yield SearchHit(self.record.id, entry.seq, entry.kind, entry.time, excerpt(text, query))


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
        self._blobs: dict[str, bytes] = {}
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
        await check_blobs(session.blobs)
        with self._lock:
            if session.id in self._sessions:
                raise SessionExistsError(session.id)
            if session.parent_id is not None:
                self._find(session.parent_id)
            self._sessions[session.id] = row
            self._blobs.update(session.blobs)
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

    async def load(self, session_id: str, *, whole: bool = False) -> tuple[SessionRecord, Sequence[Entry]]:
        """Return row and entries from the anchor on, or all; see the port."""
        with self._lock:
            row = self._find(session_id)
            start = 0 if whole else row.record.anchor_seq - row.record.base_seq - 1
            return row.snapshot(), row.entries[start:]

    async def last(self, session_id: str, kinds: Sequence[str]) -> Entry | None:
        """Return the newest entry of one of these kinds; see the port."""
        with self._lock:
            return next((entry for entry in reversed(self._find(session_id).entries) if entry.kind in kinds), None)

    async def append(self, append: Append) -> None:
        """Commit; see the port."""
        rules.check_append(append)
        if append.blobs:
            await check_blobs(append.blobs)
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
        if rules.takes_care(append):
            row.extend(append.entries, append.expected_digest)
            self._sweep()
        else:
            row.entries.extend(append.entries)
        for command in append.consumes:
            row.inbox.pop(command, None)
        if append.blobs:
            row.blobs.update(append.blobs)
            self._blobs.update(append.blobs)
        row.change(epoch=rules.epoch_after(append), lease=rules.lease_after(row.record.lease, append))
        if append.entries:
            last = append.entries[-1]
            row.change(head_seq=last.seq, head_digest=last.digest, updated_at=last.time)

    def _sweep(self) -> None:
        """Free the blobs that no session refers to."""
        if not self._blobs:
            return
        used = set().union(*(row.blobs for row in self._sessions.values()))
        for blob in self._blobs.keys() - used:
            del self._blobs[blob]

    async def read_blob(self, blob: str) -> bytes:
        """Return the bytes at a content address; see the port."""
        self._check_usable()
        check_address(blob, PATH)
        with self._lock:
            data = self._blobs.get(blob)
        if data is None:
            raise not_found(blob, PATH)
        return check_stored(blob, data, PATH)

    async def list_blobs(self, session_id: str) -> frozenset[str]:
        """Return the blobs that a session refers to; see the port."""
        with self._lock:
            return frozenset(self._find(session_id).blobs)

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
            self._sweep()
            return len(doomed)

    async def search(self, query: str, *, session_id: str | None = None, limit: int = 20) -> Sequence[SearchHit]:
        """Find entries by words; see the port."""
        with self._lock:
            rows = self._chosen(session_id)
            phrases = phrases_of(query)
            hits = (hit for row in rows for hit in row.found(phrases, query)) if phrases else iter(())
            return list(islice(hits, max(limit, 0)))

    async def stats(self, session_id: str | None = None) -> StoreStats:
        """Measure one session, or all; see the port."""
        with self._lock:
            chosen = tuple(row.measured(self._blobs) for row in self._chosen(session_id))
            taken = sum(len(entry.body.encode()) for row in self._sessions.values() for entry in row.entries)
            return StoreStats(chosen, taken + sum(map(len, self._blobs.values())))

    def _chosen(self, session_id: str | None) -> Sequence[_Session]:
        self._check_usable()
        return [self._find(session_id)] if session_id is not None else [*reversed(self._sessions.values())]

    async def vacuum(self) -> int:
        """Give back nothing: what was deleted here is gone; see the port."""
        self._check_usable()
        return 0

    async def close(self) -> None:
        """Forget everything."""
        if not self._closed:
            self._closed = True
            self._sessions.clear()
            self._blobs.clear()
