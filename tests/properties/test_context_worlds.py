"""Random histories with everything on: what a model sees, what it costs, what is kept and what is erased.

``POWER_LOOP_DEEP=1`` plays many more and longer histories, each time other ones.
"""

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from context_checks import STATUSES, check_gone, check_move, check_readers, check_session
from context_world import OUTPUT, PNG, WORDS, ContextProcess, ContextWorld
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from property_world import IN_DRIVE, Drive, Trouble

from power_loop import BlobNotFound, MemoryStore, SqliteStore, image
from power_loop.facts.entries import Budget, ToolFinished
from power_loop.facts.errors import SessionBusy, SessionPendingError, StoreBusy, StoreFull, StoreUnavailable
from power_loop.ports.store import SessionStore

DEEP = bool(os.environ.get("POWER_LOOP_DEEP"))
pytestmark = pytest.mark.timeout(0 if DEEP else 120)
SESSIONS = ("s", "t")
TOOLS = frozenset({"look", "put", "pay", "alone"})
EXPECTED = (asyncio.CancelledError, SessionPendingError, SessionBusy, StoreUnavailable, StoreFull, StoreBusy)
RETELLS = {"search_history", "read_result"}
QUOTES = ("<conversation_summary>", "not the answer that is wanted")
"""What tells a message that repeats another one, which stays when it goes."""

calls = st.tuples(
    st.sampled_from(
        ["look", "put", "pay", "much", "much", "draw", "todo", "todo", "read_result", "search_history", "elsewhere"]
    ),
    st.integers(0, 3),
)
tools = st.tuples(st.just("tools"), st.lists(calls, min_size=1, max_size=3))
lines = st.one_of(
    st.just(("text",)),
    tools,
    tools,
    tools,
    st.tuples(st.sampled_from(["output", "json"]), st.booleans()),
    st.tuples(st.just("fail"), st.sampled_from(["busy", "slow", "bug", "long", "stalled"])),
    st.just(("empty",)),
)
scripts = st.lists(lines, max_size=7)
troubles = st.lists(
    st.builds(
        lambda at, number: (*at, number),
        st.sampled_from(
            [(kind, place) for place in ("before commit", "after commit") for kind in ("die", "cancel_task")]
            + [("full", "before commit"), ("busy", "before commit"), ("die", "before commit")]
            + [
                (kind, place)
                for place in ("model", "tool", "summary", "memory")
                for kind in ("cancel_verb", "cancel_from_elsewhere", "input", "cancel_task", "die")
            ]
        ),
        st.integers(1, 8),
    ),
    max_size=2,
)
process = st.fixed_dictionaries(
    {
        "tools": st.sampled_from([TOOLS, TOOLS, frozenset({"look"})]),
        "system": st.sampled_from([None, "Be kind.", "Be brief."]),
        "rounds": st.integers(2, 8),
        "compactor": st.sampled_from(["default", "default", "any", "twice", "wild", "none"]),
        "fold_at": st.sampled_from([250, 400, 600]),
        "memory": st.sampled_from(["", "good", "raises", "nonsense"]),
        "policy": st.sampled_from(["adopt", "pin"]),
        "repairs": st.integers(0, 2),
    }
)
worlds = st.fixed_dictionaries(
    {
        "budget": st.sampled_from([None, None, Budget(tokens=6_000), Budget(cost="0.05"), Budget(seconds=3)]),
        "refuse_above": st.sampled_from([None, None, 500]),
        "native": st.booleans(),
        "process": process,
    }
)
session = st.sampled_from([*SESSIONS[:1] * 3, SESSIONS[1]])
sends = st.tuples(
    st.just("send"), session, st.sampled_from(["short", "long", "long", "picture"]), st.booleans(), scripts, troubles
)
steps = st.one_of(
    sends,
    sends,
    sends,
    st.tuples(st.just("resume"), session, st.booleans(), scripts, troubles),
    st.tuples(st.just("abort"), session),
    st.tuples(st.just("successor"), process),
    st.tuples(st.just("erase"), session, st.integers(0, 30)),
    st.tuples(st.just("prune"), session, st.integers(0, 2)),
    st.tuples(st.just("look"), session),
)


class Life:
    """One world, and the process that drives it now."""

    def __init__(self, store: SessionStore, given_world: dict[str, Any]) -> None:
        self.world = ContextWorld(store)
        self.world.budget = given_world["budget"]
        self.world.provider.refuse_above = given_world["refuse_above"]
        self.world.provider.native = given_world["native"]
        self.process = ContextProcess(self.world, given_world["process"])

    async def live(self, history: list[tuple[Any, ...]]) -> None:
        for name in SESSIONS:
            await self.process.loop.new_session(name)
        for step in history:
            await getattr(self, f"_{step[0]}")(*step[1:])
            await self.check()
        await self.heal()
        await self.close()

    async def check(self) -> None:
        assert not self.world.wrong, self.world.wrong
        for key in self.world.once:
            assert self.world.effects[key] <= 1, f"P3: {key} had its effect {self.world.effects[key]} times"
        for name in SESSIONS:
            await check_session(self.world, name, {self.process.store.owner})

    # -- what may happen

    async def _send(
        self, name: str, kind: str, output: bool, script: list[Any], planned: list[Any]
    ) -> None:  # fmt: skip
        word = self.world.token("input")
        text = f"{word} {WORDS * (6 if kind == 'long' else 1)}"
        value = [text, image(PNG + b"0")] if kind == "picture" else text
        options = {"on_pending": "resume", "output_type": OUTPUT if output else None}
        if await self.drive(name, "send", (value, name), options, script, planned):
            self.world.accepted.append((name, word))

    async def _resume(self, name: str, output: bool, script: list[Any], planned: list[Any]) -> None:
        await self.drive(name, "resume", (name,), {}, script, planned)

    async def _abort(self, name: str) -> None:
        await self.process.loop.abort_pending(name)

    async def _successor(self, settings: dict[str, Any]) -> None:
        self.process = ContextProcess(self.world, settings)

    async def _erase(self, name: str, place: int) -> None:
        loop = self.process.loop
        said = await loop.get_messages(name, include_compacted=True, with_seq=True)
        if not said:
            return
        message = said[place % len(said)]
        entries = await self.world.store.read(name)
        retold = "".join(
            entry.body for entry in entries if isinstance(entry.fact, ToolFinished) and entry.fact.name in RETELLS
        )
        try:
            await loop.erase_message(name, message["seq"])
        except SessionPendingError:
            return
        for word in re.findall(r"(?:input|reply|much|drawn|bad)\d{6}", str(message)):
            if word not in retold and not any(words in str(message) for words in QUOTES):
                await check_gone(self.world.store, name, word)

    async def _prune(self, name: str, keep: int) -> None:
        seen = await self.process.loop.get_messages(name, with_seq=True)
        await self.process.loop.prune(session_id=name, keep_last=keep)
        assert await self.process.loop.get_messages(name, with_seq=True) == seen

    async def _look(self, name: str) -> None:
        await check_readers(self.process.loop, self.world.store, name)
        await check_move(self.process.loop, self.world.store, name)

    async def drive(
        self, name: str, verb: str, arguments: Any, options: dict[str, Any], script: list[Any], planned: list[Any]
    ) -> bool:
        process, number = self.process, self.world.next()
        drive = Drive(list(script), [Trouble(*trouble) for trouble in planned], process, name)  # type: ignore[arg-type]
        self.world.drives[number] = drive
        IN_DRIVE.set(number)
        drive.task = asyncio.create_task(getattr(process.loop, verb)(*arguments, **options))
        done = False
        try:
            result = await drive.task
            assert result.status in STATUSES, result
            done = True
        except (
            asyncio.CancelledError,
            SessionPendingError,
            SessionBusy,
            StoreUnavailable,
            StoreFull,
            StoreBusy,
        ) as error:
            if not may_raise(error, drive):
                raise
        del self.world.drives[number]
        if process.dead:
            self.world.clock.advance(31)
            self.process = ContextProcess(self.world, process.settings)
        else:
            await process.loop._driver.remembered()
        return done

    # -- and in the end

    async def heal(self) -> None:
        """P22: when faults stop, every session comes to an end that has a name, and can be read."""
        self.world.clock.advance(31)
        for name in SESSIONS:
            await self.drive(name, "resume", (name,), {"force": True}, [], [])
            await self.process.loop.abort_pending(name)
            for _ in range(2):
                await self._send(name, "short", False, [], [])
            await self.check()
            await self._look(name)
            assert not await self.world.store.inbox(name)

    async def close(self) -> None:
        """What a closed session leaves behind is nothing."""
        store = self.world.store
        blobs = set().union(*[await store.list_blobs(name) for name in SESSIONS])
        for name in SESSIONS:
            assert await self.process.loop.close_session(name) == 1
        for blob in blobs:
            with pytest.raises(BlobNotFound):
                await store.read_blob(blob)
        assert await store.search("fox") == [] == list(await store.list())


def may_raise(error: BaseException, drive: Drive) -> bool:
    """Tell whether a verb has a reason for an error."""
    struck = {trouble.kind for trouble in drive.troubles if trouble.count >= trouble.number}
    match error:
        case SessionPendingError():
            return bool(error.pending_tool_calls)
        case SessionBusy():
            return error.owner != drive.process.store.owner
        case StoreUnavailable():
            return drive.process.dead
        case StoreFull():
            return "full" in struck
        case StoreBusy():
            return "busy" in struck
    return drive.cancelled


def bounded(examples: int, deep: int) -> settings:
    return settings(
        max_examples=deep if DEEP else examples,
        derandomize=not DEEP,
        print_blob=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@bounded(200, 5_000)
@given(worlds, st.lists(steps, min_size=3, max_size=30 if DEEP else 12))
def test_random_histories_in_memory(given_world: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    asyncio.run(Life(MemoryStore(), given_world).live(history))


async def on_a_file(given_world: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "sessions.db")
        await Life(store, given_world).live(history)
        await store.close()


@bounded(20, 500)
@given(worlds, st.lists(steps, min_size=3, max_size=30 if DEEP else 10))
def test_random_histories_on_sqlite(given_world: dict[str, Any], history: list[tuple[Any, ...]]) -> None:
    asyncio.run(on_a_file(given_world, history))
