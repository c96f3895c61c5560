"""What holds when the process ends: reopening, other processes, SIGKILL."""

import asyncio
import inspect
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from power_loop.facts.blobs import blobs_in
from power_loop.facts.chain import verify
from power_loop.facts.entries import Erased
from power_loop.facts.errors import LeaseLost, SessionBusy, StoreForked
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import NOTE, NOW, TTL, Hand, Suite, new, verified


async def check(store: SessionStore, session_id: str, *, at_least: int) -> int:
    """Verify a whole journal; return its length."""
    row, entries = await store.load(session_id)
    verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    assert row.head_seq >= at_least
    return row.head_seq


@pytest.mark.asyncio
class Durability(Suite):
    async def child(self, scenario: str, tmp_path: Path) -> Process:
        """Start a process that opens the same sessions and plays a scenario of ``child.py``."""
        suite = type(self)
        where = (inspect.getfile(suite), suite.__qualname__, str(tmp_path), scenario)
        module = "power_loop.testing.conformance.child"
        return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *where, stdout=PIPE)

    async def told(self, child: Process) -> str:
        """Return the next line that a child says."""
        assert child.stdout is not None
        return (await child.stdout.readline()).decode().strip()

    async def kill(self, child: Process) -> int:
        """SIGKILL a child; return the last number that it had said."""
        assert child.stdout is not None
        child.kill()
        lines = (await child.stdout.read()).decode().split("\n")[:-1]
        await child.wait()
        return int(lines[-1]) if lines else 0

    async def test_sessions_outlive_the_store_object(self, store: SessionStore, hand: Hand, tmp_path: Path) -> None:
        await hand.commit(NOTE, NOTE)
        await store.enqueue("s", "input", "{}", now=1)
        before, rows = await store.load("s"), await store.inbox("s")
        await store.close()
        again = await self.make_store(tmp_path)
        row, entries = await again.load("s")
        assert (row, [entry.digest for entry in entries]) == (before[0], [entry.digest for entry in before[1]])
        assert list(await again.inbox("s")) == list(rows)
        await again.close()

    async def test_two_objects_see_each_others_commits(self, store: SessionStore, hand: Hand, tmp_path: Path) -> None:
        twin = await self.make_store(tmp_path)
        await hand.commit(NOTE)
        assert len(await twin.read("s")) == 1
        assert (twin.identity, twin.owner) == (store.identity, store.owner)
        await twin.close()
        await hand.commit(NOTE)

    async def test_inbox_ids_ascend_after_reopening(self, store: SessionStore, hand: Hand, tmp_path: Path) -> None:
        first = await store.enqueue("s", "input", "{}", now=1)
        await hand.commit(NOTE, consumes=(first,))
        await store.close()
        again = await self.make_store(tmp_path)
        assert await again.enqueue("s", "input", "{}", now=1) > first
        await again.close()

    async def test_another_processes_lease_is_respected(self, store: SessionStore, tmp_path: Path) -> None:
        await store.create(new("s"))
        child = await self.child("hold", tmp_path)
        owner = await self.told(child)
        with pytest.raises(SessionBusy) as caught:
            await Hand(store, await store.get("s")).claim()
        assert caught.value.owner == owner != store.owner
        await self.kill(child)

    async def test_after_a_kill_the_lease_ends_with_its_time_at_the_latest(
        self, store: SessionStore, tmp_path: Path
    ) -> None:
        await store.create(new("s"))
        child = await self.child("hold", tmp_path)
        await self.told(child)
        await self.kill(child)
        await Hand(store, await store.get("s")).claim(NOTE, now=NOW.plus(TTL))
        assert await check(store, "s", at_least=1) == 1

    async def test_what_a_killed_process_acknowledged_is_there(self, store: SessionStore, tmp_path: Path) -> None:
        await store.create(new("s"))
        child = await self.child("append", tmp_path)
        while int(await self.told(child)) < 20:
            pass
        said = await self.kill(child)
        length = await check(store, "s", at_least=max(said, 20))
        hand = Hand(store, await store.get("s"))
        await hand.claim(NOTE, now=NOW.plus(TTL))
        assert await check(store, "s", at_least=1) == length + 1

    async def test_a_kill_amid_blobs_prunes_and_erasures_leaves_all_or_nothing_of_each(
        self, store: SessionStore, tmp_path: Path
    ) -> None:
        await store.create(new("s"))
        for _ in range(3):
            child = await self.child("care", tmp_path)
            for _ in range(8):
                await self.told(child)
            said = await self.kill(child)
            row, entries = await verified(store, "s")
            assert row.head_seq >= said
            mentioned = {blob for entry in entries for blob in blobs_in(entry.body)}
            for blob in mentioned:
                assert await store.read_blob(blob)
            (stats,) = (await store.stats("s")).sessions
            assert stats.blobs == len(mentioned)
            facts = [entry.fact for entry in entries if entry.kind == Erased.kind]
            erased = {fact.target for fact in facts if isinstance(fact, Erased)}
            assert {entry.seq for entry in entries if entry.body_digest} == erased - set(range(row.base_seq + 1))
            await store.delete("s", now=NOW.plus(TTL))
            await store.create(new("s"))

    async def test_two_processes_write_at_once(self, store: SessionStore, tmp_path: Path) -> None:
        await store.create(new("s"))
        mine = Hand(store, await store.create(new("mine")))
        await mine.claim()
        child = await self.child("append", tmp_path)
        while int(await self.told(child)) < 20:
            await mine.commit(NOTE)
        said = await self.kill(child)
        await check(store, "s", at_least=said)
        await check(store, "mine", at_least=mine.seq)

    async def test_a_taken_over_process_cannot_write(self, store: SessionStore, tmp_path: Path) -> None:
        await store.create(new("s"))
        child = await self.child("append-until-lost", tmp_path)
        while int(await self.told(child)) < 5:
            pass
        while True:  # the child's head moves until we win
            hand = Hand(store, await store.get("s"))
            try:
                await hand.claim(NOTE, now=NOW.plus(TTL))
            except Exception as error:  # noqa: BLE001 -- only one kind may come
                assert type(error).__name__ == "HeadMoved"  # noqa: PT017 -- then again
                continue
            break
        assert child.stdout is not None
        assert (await child.stdout.read()).decode().split()[-1] == LeaseLost.code
        assert await child.wait() == 0
        entries = await store.read("s")
        assert [entry.run for entry in entries] == [1] * (len(entries) - 1) + [2]

    async def test_a_store_used_after_a_fork_says_so(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert _told_by_a_fork(store)
        await hand.commit(NOTE)
        assert len(await store.read("s")) == 2


def _told_by_a_fork(store: SessionStore) -> bool:
    """Fork; the child drives one coroutine by hand, for it owns no event loop, and tells by its exit status."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    status = 1
    try:
        store.get("s").__await__().send(None)
    except StoreForked:
        status = 0
    finally:
        os._exit(status)
