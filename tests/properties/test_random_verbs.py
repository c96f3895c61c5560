"""Random verbs, deaths, cancels, hooks and processes on two sessions, against what must always hold.

``POWER_LOOP_DEEP=1`` runs many more and longer histories, each time other ones.
"""

import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from property_world import IN_DRIVE, Drive, Process, Trouble, World

from power_loop import MemoryStore, SqliteStore
from power_loop.decisions.replay import replay
from power_loop.facts.chain import verify
from power_loop.facts.entries import Cancelled, InputReceived, ToolFinished, ToolStarted
from power_loop.facts.errors import SessionBusy, SessionPendingError, StoreUnavailable
from power_loop.facts.journal import Entry
from power_loop.facts.messages import text_of
from power_loop.ports.store import STARTS, SessionStore

DEEP = bool(os.environ.get("POWER_LOOP_DEEP"))
pytestmark = pytest.mark.timeout(0 if DEEP else 120)
SESSIONS = ("s", "t")
TOOLS = ("look", "put", "pay", "alone")

calls = st.tuples(
    st.sampled_from([*TOOLS, "elsewhere", "never offered"]),
    st.integers(0, 3),
    st.sampled_from(["", "own", "same", "unreadable", "list"]),
)
lines = st.one_of(
    st.just(("text",)),
    st.tuples(st.just("tools"), st.lists(calls, min_size=1, max_size=3)),
    st.tuples(st.just("tools"), st.lists(calls, min_size=1, max_size=3)),
    st.tuples(st.just("fail"), st.sampled_from(["busy", "slow", "key", "bug"])),
    st.just(("empty",)),
)
scripts = st.lists(lines, max_size=4)
troubles = st.lists(
    st.builds(
        lambda at, number: (*at, number),
        st.sampled_from(
            [(kind, place) for place in ("before commit", "after commit") for kind in ("die", "cancel_task", "wait")]
            + [
                (kind, place)
                for place in ("before commit", "after commit", "model", "tool")
                for kind in ("cancel_verb", "cancel_from_elsewhere", "input")
            ]
            + [("cancel_task", "model"), ("cancel_task", "tool")]
        ),
        st.integers(1, 6),
    ),
    max_size=2,
)
settings_of_a_process = st.fixed_dictionaries(
    {
        "tools": st.one_of(st.just(frozenset(TOOLS)), st.frozensets(st.sampled_from(TOOLS))),
        "system": st.sampled_from([None, "Be kind.", "Be brief."]),
        "rounds": st.integers(1, 4),
        "parallel": st.integers(1, 3),
        "hooks": st.one_of(st.none(), st.integers(0, 10_000)),
    }
)
whole = {"tools": frozenset(TOOLS), "system": None, "rounds": 24, "parallel": 8, "hooks": None}
verbs = st.sampled_from(["send", "send", "send", "resume", "resume", "abort_pending"])
pending = st.sampled_from(["raise", "resume", "resume", "abort"])


class RandomVerbs(RuleBasedStateMachine):
    """Two sessions, up to three processes at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World(self.make_store())
        self.started = 0
        self.processes: list[Process] = []
        self.checked: dict[str, bytes] = {}

    def make_store(self) -> SessionStore:
        return MemoryStore()

    @initialize(settings=settings_of_a_process)
    def begin(self, settings: dict[str, Any]) -> None:
        self.processes = [self.new(settings), self.new(whole)]
        for session in SESSIONS:
            self.runner.run(self.processes[1].loop.new_session(session))

    def new(self, settings: dict[str, Any]) -> Process:
        self.started += 1
        return Process(self.world, self.started, settings)

    # -- what may happen

    @rule(place=st.integers(0, 1), settings=settings_of_a_process)
    def another_process(self, place: int, settings: dict[str, Any]) -> None:
        self.processes[place] = self.new(settings)

    @rule(session=st.sampled_from(SESSIONS))
    def an_input_from_elsewhere(self, session: str) -> None:
        self.runner.run(self.world.enqueue(session))

    @rule(seconds=st.sampled_from([-86_400, -60, 60, 86_400]))
    def the_wall_clock_jumps(self, seconds: int) -> None:
        self.world.clock.jump(seconds)

    @rule()
    def time_passes(self) -> None:
        self.world.clock.advance(31)

    @rule(
        session=st.sampled_from(SESSIONS), who=st.integers(0, 1), verb=verbs, on_pending=pending,
        script=scripts, troubles=troubles,
    )  # fmt: skip
    def a_verb(
        self, session: str, who: int, verb: str, on_pending: str, script: list[Any], troubles: list[Any]
    ) -> None:
        self.runner.run(self.drive(session, who, verb, on_pending, script, troubles))

    @rule(
        session=st.sampled_from(SESSIONS), first=verbs, second=verbs, on_pending=pending,
        script=scripts, troubles=troubles,
    )  # fmt: skip
    def two_at_once(
        self, session: str, first: str, second: str, on_pending: str, script: list[Any], troubles: list[Any]
    ) -> None:
        async def both() -> None:
            one = self.drive(session, 0, first, on_pending, script, troubles)
            two = self.drive(session, 1, second, on_pending, [], [])
            await asyncio.gather(one, two)

        self.runner.run(both())

    async def drive(
        self, session: str, who: int, verb: str, on_pending: str, script: list[Any], troubles: list[Any]
    ) -> None:
        process = self.processes[who]
        drive = Drive(list(script), [Trouble(*trouble) for trouble in troubles], process, session)
        number = self.world.next()
        self.world.drives[number] = drive
        IN_DRIVE.set(number)
        text = f"input {number}"
        arguments = (text, session) if verb == "send" else (session,)
        options = {"on_pending": on_pending} if verb == "send" else {}
        drive.task = asyncio.create_task(getattr(process.loop, verb)(*arguments, **options))
        try:
            await drive.task
        except (asyncio.CancelledError, SessionPendingError, SessionBusy, StoreUnavailable) as error:
            if not may_raise(error, drive):
                raise
        else:
            if verb == "send":
                self.world.accepted.append((session, text))
        if process.dead:
            self.processes[who] = self.new(whole if who else {**whole, "rounds": 2})

    # -- what must hold

    @invariant()
    def promises_are_kept(self) -> None:
        assert not self.world.wrong, self.world.wrong
        for key in self.world.once:
            assert self.world.effects[key] <= 1, f"P3: {key} had its effect {self.world.effects[key]} times"
        for session in SESSIONS if self.processes else ():
            self.check_session(session)

    def check_session(self, session: str) -> None:
        record, entries = self.runner.run(self.world.store.load(session))
        if self.checked.get(session) == record.head_digest:
            return
        self.checked[session] = record.head_digest
        verify(entries, base_seq=0, base=record.base_digest, head_seq=record.head_seq, head=record.head_digest)
        living = {process.store.owner for process in self.processes}
        assert record.lease is None or record.lease.owner not in living, "a lease is held although nobody drives"
        state = replay(entries, base_seq=0, base_digest=record.base_digest)
        assert state.head_seq == record.head_seq
        check_calls(entries)

    # -- and in the end

    def teardown(self) -> None:
        try:
            if self.processes:
                self.promises_are_kept()
                self.world.clock.advance(31)
                process = self.new(whole)
                for session in SESSIONS:
                    self.runner.run(self.heal(process, session))
                self.promises_are_kept()
        finally:
            self.runner.run(self.world.store.close())
            self.runner.close()

    async def heal(self, process: Process, session: str) -> None:
        """P22: when faults stop, every accepted input is answered, or waits for a reason that has a name."""
        world = self.world
        number = world.next()
        world.drives[number] = Drive([], [], process, session)
        IN_DRIVE.set(number)
        result = await process.loop.resume(session, force=True)
        if result.status == "pending_tools":
            assert await process.loop.abort_pending(session)
            result = await process.loop.resume(session, force=True)
        if result.status not in {"completed", "hook_break", "empty"} or await world.store.inbox(session):
            result = await process.loop.send("and now", session)
            if result.status == "cancelled":  # by a cancel that waited for a run of this number
                result = await process.loop.send("and then", session)
            assert result.status == "completed"
        record, entries = await world.store.load(session)
        state = replay(entries, base_seq=0, base_digest=record.base_digest)
        assert state.ended is not None or not entries[1:]
        assert not state.open_calls
        assert not state.deferred
        assert record.lease is None
        assert not await world.store.inbox(session)
        told = [text_of(entry.fact.content) for entry in entries if isinstance(entry.fact, InputReceived)]
        for where, text in world.accepted:
            if where == session:
                assert sum(said.rstrip("!") == text for said in told) == 1, f"{text} is {told.count(text)} times there"
        seqs = [event.seq async for event in process.loop.events(session)]
        assert sorted(set(seqs)) == [entry.seq for entry in entries if entry.seq in set(seqs)]
        assert seqs == sorted(seqs)


def may_raise(error: BaseException, drive: Drive) -> bool:
    """Tell whether a verb has a reason for an error."""
    match error:
        case SessionPendingError():
            return bool(error.pending_tool_calls)
        case SessionBusy():
            return error.owner != drive.process.store.owner
        case StoreUnavailable():
            return drive.process.dead
    return drive.cancelled


def check_calls(entries: list[Entry]) -> None:
    """Each call has at most one result, its starts count up, none of them is behind its result or a cancel."""
    stopped: set[int] = set()
    attempts: Counter[str] = Counter()
    finished: set[str] = set()
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Cancelled):
            stopped.add(fact.target)
        assert entry.kind not in STARTS or entry.run not in stopped, f"P15: entry {entry.seq} starts behind a cancel"
        if isinstance(fact, ToolStarted):
            attempts[fact.call] += 1
            assert fact.attempt == attempts[fact.call]
            assert bool(fact.key) is (fact.attempt == 1), "the key is written once"
            assert fact.call not in finished, f"{fact.call} is started behind its result"
            assert fact.effect != "once" or fact.attempt == 1
        elif isinstance(fact, ToolFinished):
            assert fact.call not in finished, f"{fact.call} has two results"
            finished.add(fact.call)


class RandomVerbsOnSqlite(RandomVerbs):
    """The same on a file."""

    def make_store(self) -> SessionStore:
        self.folder = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.folder.name) / "sessions.db")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


def bounded(examples: int, steps: int, deep: int) -> settings:
    return settings(
        max_examples=deep if DEEP else examples,
        stateful_step_count=80 if DEEP else steps,
        derandomize=not DEEP,
        print_blob=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


TestInMemory = RandomVerbs.TestCase
TestInMemory.settings = bounded(200, 30, 20_000)
TestOnSqlite = RandomVerbsOnSqlite.TestCase
TestOnSqlite.settings = bounded(10, 25, 500)
