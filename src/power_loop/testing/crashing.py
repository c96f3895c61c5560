"""A store that lets a test act at every commit: kill the process, stop it, hold it, or look."""

import asyncio
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from power_loop.facts.clock import Instant
from power_loop.facts.journal import Entry
from power_loop.ports.store import (
    Append,
    CommandKind,
    InboxRow,
    Lease,
    NewSession,
    Renewal,
    SearchHit,
    SessionRecord,
    SessionStore,
    StoreStats,
)

Moment: TypeAlias = Literal["before", "after"]
Operation: TypeAlias = Literal["create", "append", "release", "enqueue", "delete"]
_T = TypeVar("_T")


class CommitPoint(NamedTuple):
    """A place where a test may act: before the ``number``-th commit of this store object, or after its verdict.

    ``number`` counts from 1. ``entries`` are those of a create or an append. A commit that the store refuses or
    fails has no ``after``.
    """

    number: int
    moment: Moment
    operation: Operation
    entries: tuple[Entry, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the entries."""
        return tuple(entry.kind for entry in self.entries)


OnCommit: TypeAlias = Callable[[CommitPoint], "Awaitable[None] | None"]


def look_away(_point: CommitPoint) -> None:
    """Do nothing."""


def send_signal_at(number: int, moment: Moment, sent: signal.Signals = signal.SIGKILL) -> OnCommit:
    """Return a hook that sends this process a signal at one point: SIGKILL, or SIGSTOP."""

    def act(point: CommitPoint) -> None:
        if (point.number, point.moment) == (number, moment):
            os.kill(os.getpid(), sent)

    return act


class Hold:
    """A hook that holds a store at one point: wait for ``reached``, then set ``go``. For one event loop."""

    def __init__(self, number: int, moment: Moment) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()
        self._at = (number, moment)

    async def __call__(self, point: CommitPoint) -> None:
        """Hold when it is the point."""
        if (point.number, point.moment) == self._at:
            self.reached.set()
            await self.go.wait()


class CrashingStore:
    """Wraps a store; ``on_commit`` runs before and after each of its commits (heartbeats are not counted).

    The hook may be async, and may raise: the caller then meets the error as if the store had raised it.
    """

    def __init__(self, store: SessionStore, on_commit: OnCommit = look_away) -> None:
        self.commits = 0
        self.on_commit = on_commit
        self._store = store

    @property
    def path(self) -> str:
        """The wrapped store's path."""
        return self._store.path

    @property
    def identity(self) -> str:
        """The wrapped store's identity."""
        return self._store.identity

    @property
    def owner(self) -> str:
        """The wrapped store's driver id."""
        return self._store.owner

    async def _commit(self, operation: Operation, work: Awaitable[_T], entries: tuple[Entry, ...] = ()) -> _T:
        self.commits += 1
        before = CommitPoint(self.commits, "before", operation, entries)
        try:
            await self._act(before)
        except BaseException:
            if inspect.iscoroutine(work):
                work.close()
            raise
        result = await work
        await self._act(before._replace(moment="after"))
        return result

    async def _act(self, point: CommitPoint) -> None:
        told = self.on_commit(point)
        if told is not None:
            await told

    async def create(self, session: NewSession) -> SessionRecord:
        """Create a session; a commit."""
        return await self._commit("create", self._store.create(session), session.first)

    async def append(self, append: Append) -> None:
        """Append; a commit."""
        await self._commit("append", self._store.append(append), append.entries)

    async def release(self, session_id: str, epoch: int) -> bool:
        """Free the lease; a commit."""
        return await self._commit("release", self._store.release(session_id, epoch))

    async def enqueue(self, session_id: str, kind: CommandKind, body: str, *, run: int = 0, now: int) -> int:
        """Add a command; a commit."""
        return await self._commit("enqueue", self._store.enqueue(session_id, kind, body, run=run, now=now))

    async def delete(self, session_id: str, *, cascade: bool = True, now: Instant) -> int:
        """Delete a session; a commit."""
        return await self._commit("delete", self._store.delete(session_id, cascade=cascade, now=now))

    async def renew(self, session_id: str, epoch: int, until: Instant) -> Renewal:
        """Extend the lease."""
        return await self._store.renew(session_id, epoch, until)

    def is_live(self, lease: Lease, now: Instant) -> bool:
        """Ask the store."""
        return self._store.is_live(lease, now)

    async def get(self, session_id: str) -> SessionRecord:
        """Return a session's row."""
        return await self._store.get(session_id)

    async def list(
        self, *, limit: int = 100, before: str | None = None, parent_id: str | None = None
    ) -> Sequence[SessionRecord]:
        """Return sessions."""
        return await self._store.list(limit=limit, before=before, parent_id=parent_id)

    async def read(self, session_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        """Return entries."""
        return await self._store.read(session_id, after=after, limit=limit)

    async def load(self, session_id: str, *, whole: bool = False) -> tuple[SessionRecord, Sequence[Entry]]:
        """Return row and entries."""
        return await self._store.load(session_id, whole=whole)

    async def last(self, session_id: str, kinds: Sequence[str]) -> Entry | None:
        """Return the newest entry of some kinds."""
        return await self._store.last(session_id, kinds)

    async def inbox(self, session_id: str) -> Sequence[InboxRow]:
        """Return the unconsumed commands."""
        return await self._store.inbox(session_id)

    async def read_blob(self, blob: str) -> bytes:
        """Return the bytes at an address."""
        return await self._store.read_blob(blob)

    async def list_blobs(self, session_id: str) -> frozenset[str]:
        """Return the blobs that a session refers to."""
        return await self._store.list_blobs(session_id)

    async def search(self, query: str, *, session_id: str | None = None, limit: int = 20) -> Sequence[SearchHit]:
        """Find entries."""
        return await self._store.search(query, session_id=session_id, limit=limit)

    async def stats(self, session_id: str | None = None) -> StoreStats:
        """Measure sessions."""
        return await self._store.stats(session_id)

    async def vacuum(self) -> int:
        """Give back space."""
        return await self._store.vacuum()

    async def close(self) -> None:
        """Close the wrapped store."""
        await self._store.close()
