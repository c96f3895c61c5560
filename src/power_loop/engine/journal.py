"""The journal of one session, as its driver writes it: stage, commit, and only then tell.

Knows the store's append rules. A refused commit is written again without what the store refused, followed by the
commands that wait as entries; whoever committed a refused fact is told by :class:`Redirected`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from power_loop.decisions.replay import replay
from power_loop.decisions.state import State
from power_loop.engine.commands import command_fact
from power_loop.engine.services import Services
from power_loop.engine.shield import finished, settled
from power_loop.facts.chain import seal, verify
from power_loop.facts.entries import Fact
from power_loop.facts.errors import (
    CancelRequested,
    HeadMoved,
    InboxNotEmpty,
    LeaseLost,
    SessionError,
    StoreCorrupt,
    StoreError,
)
from power_loop.facts.journal import Entry
from power_loop.ports.blobs import NO_BLOBS
from power_loop.ports.store import ENDS, LEASE_TTL, STARTS, Append, Claim, InboxRow, SessionRecord

Plan = Callable[[State], Sequence[Fact]]


class Redirected(Exception):
    """Not everything just committed was taken: look at the state again."""


class Snapshot(NamedTuple):
    """A state that was true when it was put aside, and the session's epoch then."""

    state: State
    epoch: int


def load_state(record: SessionRecord, entries: Sequence[Entry]) -> State:
    """Replay a journal, whole or from its anchor on, and check it against its session row."""
    before = max(record.anchor_seq - entries[0].seq, 0) if entries else 0
    if before:
        verify(  # all of it: what was erased before the anchor is recorded behind it
            entries,
            base_seq=record.base_seq,
            base=record.base_digest,
            head_seq=record.head_seq,
            head=record.head_digest,
            where=f"Session {record.id!r}",
        )
    state = replay(entries[before:], base_seq=record.anchor_seq - 1, base_digest=record.anchor_digest)
    if (state.head_seq, state.head_digest) != (record.head_seq, record.head_digest):
        raise StoreCorrupt(
            f"Session {record.id!r}: the journal ends at entry {state.head_seq}, its row says {record.head_seq}.",
            seq=state.head_seq,
        )
    return state


class Journal:
    """Staged and durable facts of one driver at one session."""

    def __init__(
        self,
        session_id: str,
        services: Services,
        plan: Plan,
        snapshot: Snapshot | None,
        *,
        hears: bool = True,
        blobs: Mapping[str, bytes] = NO_BLOBS,
    ) -> None:
        """Make the journal of a verb that plans facts with ``blobs``; ``hears``: input in the inbox starts a run."""
        self.session_id = session_id
        self.claimed = False
        self.progress = 0
        """Grows with every fact and every commit."""
        self.crowd = 0
        self.cut_off = False
        self._services = services
        self._store = services.store
        self._plan = plan
        self._hears = hears
        self.state = snapshot.state if snapshot else State()
        """What the journal says, staged facts included."""
        self._known = snapshot is not None
        self._epoch = snapshot.epoch if snapshot else 0
        self._durable = (0, b"")
        self._planned_blobs = blobs
        self._staged: list[Entry] = []
        self._blobs: dict[str, bytes] = {}
        self._count = 0
        self._done = 0
        self._plans = 0
        self._release = False
        self._refused: list[Fact] = []
        self._consumes: list[int] = []
        self._writing = False
        self._turns: list[asyncio.Future[None]] = []
        self._broken: Exception | None = None
        self._time = 0

    @property
    def writable(self) -> bool:
        """Whether there is a state to go on from: not before the journal is open, nor after a failed write."""
        return self._known and self._broken is None

    @property
    def run(self) -> int:
        """The fencing epoch under which this driver writes."""
        return self._epoch if self.claimed else self._epoch + 1

    @property
    def snapshot(self) -> Snapshot | None:
        """The state to keep for the next verb; None when it does not match what is durable."""
        if not self._known or self._staged or self.state.head_seq != self._durable[0]:
            return None
        return Snapshot(self.state, self._epoch)

    async def open(self) -> None:
        """Load the session, unless a snapshot was given, and stage what the verb plans.

        A plan that finds nothing to do, or refuses, is made on what the store says now.
        """
        facts: Sequence[Fact] = ()
        if self._known:
            self._durable = (self.state.head_seq, self.state.head_digest)
            try:
                facts = self._plan(self.state)
            except SessionError:
                facts = ()
        if not facts:
            await self._reload()
            try:
                facts = await self._planned()
            finally:
                if not facts and self.claimed:
                    await self.release()
        self.cut_off = self.state.run_open
        if self.state.open_calls:
            calls = {call.id: call.as_started for call in self.state.calls.values()}
            for listener in self._services.listeners:
                listener.on_recall(self.session_id, calls)
        self._stage_planned(facts)

    def _stage_planned(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self.stage(fact)
        if facts and self._planned_blobs:
            self._blobs.update(self._planned_blobs)

    async def _planned(self) -> Sequence[Fact]:
        """Plan on what the store says now; where that leaves nothing to do, an input in the inbox may."""
        facts = self._plan(self.state)
        if facts or not self._hears:
            return facts
        rows = await self._store.inbox(self.session_id)
        if not any(row.kind == "input" for row in rows):
            return facts
        self.take(rows)
        facts = self._plan(self.state)
        if not facts and self._consumes:
            await self._write_staged()  # nothing of what waited can be read
        return facts

    async def release(self) -> None:
        """Free the lease without an entry."""
        if self.claimed:
            await self._store.release(self.session_id, self._epoch)
            self.claimed = False

    async def commit_and_release(self) -> None:
        """Make what is staged durable and free the lease in the same transaction."""
        self._release = True
        while self._staged:
            with contextlib.suppress(Redirected):  # planned again on what another driver wrote
                await self.flush()
        if self._release:
            await self.release()

    async def _reload(self) -> None:
        record, entries = await self._store.load(self.session_id)
        while not self.claimed and record.lease is not None and record.lease.owner != self._store.owner:
            await self._take_over(record)
            record, entries = await self._store.load(self.session_id)
        self._adopt(record, entries)

    def _adopt(self, record: SessionRecord, entries: Sequence[Entry]) -> None:
        if self.claimed and record.epoch != self._epoch:
            raise LeaseLost(f"Session {self.session_id!r} was taken over by another driver.", path=self._store.path)
        self._epoch = record.epoch
        self.state = load_state(record, entries)
        self._known = True
        self._durable = (record.head_seq, record.head_digest)

    async def _take_over(self, record: SessionRecord) -> None:
        """Take the lease that somebody seems to hold, before anything is decided. Raises SessionBusy if he lives."""
        now = self._services.clock.now()
        claim = Claim(self._store.owner, now.plus(LEASE_TTL), now)
        seq, digest = record.head_seq, record.head_digest
        append = Append(self.session_id, record.epoch, seq, digest, claim=claim)

        async def claimed() -> None:
            with contextlib.suppress(HeadMoved):
                await self._store.append(append)
                self._epoch, self.claimed = record.epoch + 1, True

        await settled(asyncio.ensure_future(claimed()))

    def stage(self, fact: Fact, blobs: Mapping[str, bytes] = NO_BLOBS) -> None:
        """Apply a fact tentatively; the next commit writes it, with its blobs. Facts of one commit share their time."""
        state = self.state
        if not self._staged:
            self._time = self._services.clock.now().wall_ms
        run = self._epoch if self.claimed else self._epoch + 1
        rounds = state.rounds if state.reply_needed or not state.rounds else state.rounds - 1
        round_ = 0 if fact.kind == "input_received" else rounds  # counted from 0 since the last input
        entry = seal(fact, state.head_digest, state.head_seq + 1, run, round_, self._time)
        state.apply(entry)
        self._staged.append(entry)
        if blobs:
            self._blobs.update(blobs)
        self._count += 1
        self.progress += 1

    async def commit(self, *facts: Fact) -> None:
        """Make these and all staged facts durable, then tell. Raises Redirected when one of these was refused."""
        if self.state.cancel is not None and any(fact.kind in STARTS for fact in facts):
            raise Redirected
        for fact in facts:
            self.stage(fact)
        await self.flush()
        if self._refused and any(fact is refused for fact in facts for refused in self._refused):
            raise Redirected

    async def flush(self) -> None:
        """Make all facts staged so far durable. A cancelled caller still waits for the store's verdict.

        Whoever finds no write under way writes for all; the others wait for it. Raises Redirected when the verb
        had to be planned again because another driver wrote meanwhile.
        """
        wanted, plans = self._count, self._plans
        while self._done < wanted:
            if self._broken is not None:
                raise self._broken
            if self._writing:
                await self._turn()
            else:
                await self._write()
        if self._plans != plans:
            raise Redirected

    async def _turn(self) -> None:
        """Wait until the write under way is over, also while being cancelled; then be cancelled, or return."""
        cancelled: asyncio.CancelledError | None = None
        while self._writing:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            try:
                await turn
                break
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _write(self) -> None:
        self._writing = True
        try:
            if self.crowd > 1:
                await asyncio.sleep(0)  # others that are ready stage what they have
            await self._write_staged()
        except Exception as error:
            self._broken = error
            raise
        finally:
            self._writing = False
            turns, self._turns = self._turns, []
            for turn in turns:
                if not turn.done():
                    turn.set_result(None)

    async def _write_staged(self) -> None:
        append = self._gathered()
        try:
            await self._store.append(append)
        except asyncio.CancelledError:
            if await finished(asyncio.ensure_future(self._landed(append))):
                self._acknowledge(append)
            else:  # nothing of it was kept: the next commit writes it
                self._staged[:0] = append.entries
                self._consumes[:0] = append.consumes
                self._blobs |= append.blobs
            raise
        except HeadMoved:
            await settled(asyncio.ensure_future(self._start_over(append.entries)))
        except (InboxNotEmpty, CancelRequested) as signal:
            refused = ENDS if isinstance(signal, InboxNotEmpty) else STARTS
            await settled(asyncio.ensure_future(self._yield_to_inbox(append, refused)))
        else:
            self._acknowledge(append)

    def _gathered(self) -> Append:
        """Take what is staged, and the commands that it consumes, as one append."""
        entries, self._staged = tuple(self._staged), []
        consumes, self._consumes = tuple(self._consumes), []
        blobs, self._blobs = self._blobs, {}
        claim = None
        if not self.claimed:
            now = self._services.clock.now()
            claim = Claim(self._store.owner, now.plus(LEASE_TTL), now)
        seq, digest = self._durable
        release = self._release
        for entry in entries:
            release = release or entry.kind in ENDS
        return Append(self.session_id, self._epoch, seq, digest, entries, consumes, claim, release, blobs)

    async def _landed(self, append: Append) -> bool:
        """Look up what became of an append whose verdict a cancellation hid."""
        try:
            record = await self._store.get(self.session_id)
        except (StoreError, SessionError):
            return False
        return bool(append.entries) and record.head_digest == append.entries[-1].digest

    def _acknowledge(self, append: Append) -> None:
        """Take note that entries are durable, and only then tell."""
        if append.claim is not None:
            self._epoch += 1
            self.claimed = True
            self._planned_blobs = NO_BLOBS  # they are durable, and need no memory any more
        entries = append.entries
        self._done += len(entries)
        self.progress += 1
        self._release = self._release and not append.release
        if entries:
            self._durable = (entries[-1].seq, entries[-1].digest)
        for listener in self._services.listeners:
            listener.on_entries(self.session_id, entries)

    async def _start_over(self, entries: tuple[Entry, ...]) -> None:
        """Another driver wrote since our snapshot, and is gone: plan the verb again on what is there now."""
        if self.claimed:
            raise LeaseLost(f"Session {self.session_id!r} was taken over by another driver.", path=self._store.path)
        self._refused.extend(entry.decoded for entry in (*entries, *self._staged) if entry.decoded is not None)
        self._done = self._count
        self._staged = []
        self._blobs = {}
        self._plans += 1
        await self._reload()
        self.cut_off = self.state.run_open
        self._stage_planned(self._plan(self.state))
        self.progress += 1

    async def _yield_to_inbox(self, append: Append, refused: frozenset[str]) -> None:
        """Write again without what was refused, followed by the commands. What is staged meanwhile goes along."""
        rows = await self._store.inbox(self.session_id)
        record, journal = await self._store.load(self.session_id)
        self._consumes[:0] = append.consumes  # their entries are among these facts already
        self._blobs |= append.blobs  # as are those that refer to these: what is refused refers to none
        facts = [entry.decoded for entry in (*append.entries, *self._staged) if entry.decoded is not None]
        self._refused.extend(fact for fact in facts if fact.kind in refused)
        self._done = self._count
        self._staged = []
        self._adopt(record, journal)
        for fact in facts:
            if fact.kind not in refused:
                self.stage(fact)
        self.take(rows)
        await self._write_staged()

    def take(self, rows: Sequence[InboxRow]) -> None:
        """Stage commands as entries; the commit that writes them consumes their rows."""
        for row in rows:
            if row.id in self._consumes:
                continue
            fact = command_fact(row, self.run)
            if fact is not None:
                self.stage(fact)
            self._consumes.append(row.id)
