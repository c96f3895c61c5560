"""What the suites share: the store under test, a fixed point in time, and the hand of a driver."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest_asyncio

from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import seal_all, verify
from power_loop.facts.clock import Instant
from power_loop.facts.entries import Fact, ModelCalled, Note, RunEnded, ToolStarted
from power_loop.facts.journal import Entry
from power_loop.ports.store import Append, Claim, NewSession, SessionRecord, SessionStore

NOW = Instant(1_700_000_000_000, "boot-of-the-suite", 5_000_000)
TTL = 30.0
OTHER = "driver_of_somebody_else"
NOTE = Note(topic="test", text="said")
CALLED = ModelCalled()
STARTED = ToolStarted(call="call_1_0", name="tool")
ENDED = RunEnded(status="completed")


class Anchor(Fact, frozen=True):
    """A compaction, as far as a store cares."""

    kind = "compacted"
    summary: str


ANCHOR = Anchor("what was said")


def new(session_id: str, **fields: object) -> NewSession:
    """Return a new session without entries."""
    return NewSession(id=session_id, created_at=NOW.wall_ms, **fields)  # type: ignore[arg-type]


def claim_of(owner: str, *, now: Instant = NOW, ttl: float = TTL) -> Claim:
    """Return a claim that lasts ``ttl`` seconds from ``now``."""
    return Claim(owner, now.plus(ttl), now)


def note(text: str) -> Note:
    """Return something to say."""
    return Note(topic="test", text=text)


def about(data: bytes, text: str = "see") -> Note:
    """Return a note that mentions a blob."""
    return note(f"{text} {blob_id(data)}")


def named(*blobs: bytes) -> dict[str, bytes]:
    """Return blobs by their addresses."""
    return {blob_id(data): data for data in blobs}


async def verified(store: SessionStore, session_id: str) -> tuple[SessionRecord, list[Entry]]:
    """Return row and whole journal, after checking the chain."""
    row, entries = await store.load(session_id, whole=True)
    verify(entries, base_seq=row.base_seq, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    return row, list(entries)


class Hand:
    """What one driver holds of one session: epoch and head. Commits move them as the store must."""

    def __init__(self, store: SessionStore, record: SessionRecord, *, owner: str | None = None) -> None:
        self.store = store
        self.id = record.id
        self.owner = owner if owner is not None else store.owner
        self.epoch = record.epoch
        self.seq = record.head_seq
        self.digest = record.head_digest

    def seal(self, *facts: Fact, run: int | None = None, time: int = NOW.wall_ms) -> tuple[Entry, ...]:
        """Make the entries that follow the head."""
        run = self.epoch if run is None else run
        return seal_all(facts, head_seq=self.seq, head_digest=self.digest, run=run, round_=0, time=time)

    def plan(
        self,
        *facts: Fact,
        claim: Claim | None = None,
        consumes: tuple[int, ...] = (),
        release: bool = False,
        time: int = NOW.wall_ms,
        blobs: Mapping[str, bytes] | None = None,
    ) -> Append:
        """Make a commit on the head."""
        entries = self.seal(*facts, run=self.epoch + 1 if claim else self.epoch, time=time)
        return Append(self.id, self.epoch, self.seq, self.digest, entries, consumes, claim, release, blobs or {})

    def moved(self, append: Append) -> None:
        """Take over what a commit left behind."""
        self.epoch += append.claim is not None
        if append.entries:
            self.seq, self.digest = append.entries[-1].seq, append.entries[-1].digest

    async def commit(
        self,
        *facts: Fact,
        consumes: tuple[int, ...] = (),
        release: bool = False,
        time: int = NOW.wall_ms,
        blobs: Mapping[str, bytes] | None = None,
    ) -> tuple[Entry, ...]:
        """Append facts under the lease held."""
        append = self.plan(*facts, consumes=consumes, release=release, time=time, blobs=blobs)
        await self.store.append(append)
        self.moved(append)
        return append.entries

    async def claim(self, *facts: Fact, now: Instant = NOW, ttl: float = TTL) -> tuple[Entry, ...]:
        """Take the lease, with facts of the new run."""
        append = self.plan(*facts, claim=claim_of(self.owner, now=now, ttl=ttl))
        await self.store.append(append)
        self.moved(append)
        return append.entries


class Suite:
    """The store under test, made anew for each test and closed after it."""

    async def make_store(self, tmp_path: Path) -> SessionStore:
        """Return a store to be tested; ``tmp_path`` is an empty folder of this test."""
        raise NotImplementedError(tmp_path)

    @pytest_asyncio.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SessionStore]:
        """The store of one test."""
        store = await self.make_store(tmp_path)
        yield store
        await store.close()

    @pytest_asyncio.fixture
    async def hand(self, store: SessionStore) -> Hand:
        """A driver that holds the lease of a new session ``s`` in epoch 1, without entries."""
        hand = Hand(store, await store.create(new("s")))
        await hand.claim()
        return hand
