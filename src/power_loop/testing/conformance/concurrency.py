"""Concurrency: many callers at once, cancelled callers, several loops and threads, closing."""

import asyncio
import threading

import pytest

from power_loop.facts.chain import verify
from power_loop.facts.errors import HeadMoved, InboxNotEmpty, SessionBusy, SessionExistsError, StoreClosed
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import CALLED, ENDED, NOTE, NOW, TTL, Hand, Suite, new


@pytest.mark.asyncio
class Concurrency(Suite):
    async def test_fifty_sessions_append_at_once(self, store: SessionStore) -> None:
        async def drive(name: str) -> None:
            hand = Hand(store, await store.create(new(name)))
            await hand.claim(NOTE)
            for _ in range(4):
                await hand.commit(NOTE, CALLED)

        await asyncio.gather(*[drive(f"s{number}") for number in range(50)])
        for number in range(50):
            row, entries = await store.load(f"s{number}")
            verify(entries, base_seq=0, base=row.base_digest, head_seq=9, head=row.head_digest)

    async def test_one_sessions_refusal_leaves_its_neighbours_alone(self, store: SessionStore) -> None:
        hands = [Hand(store, await store.create(new(f"s{number}"))) for number in range(20)]
        for hand in hands:
            await hand.claim()
        for hand in hands[::3]:
            hand.digest = b"\0" * 16
        results = await asyncio.gather(*[hand.commit(NOTE) for hand in hands], return_exceptions=True)
        for number, (hand, result) in enumerate(zip(hands, results, strict=True)):
            assert isinstance(result, HeadMoved) is (number % 3 == 0)
            assert len(await store.read(hand.id)) == (number % 3 != 0)

    async def test_a_refusal_by_the_inbox_leaves_its_neighbours_alone(self, store: SessionStore) -> None:
        hands = [Hand(store, await store.create(new(f"s{number}"))) for number in range(20)]
        for hand in hands:
            await hand.claim()
        for hand in hands[::3]:
            await store.enqueue(hand.id, "input", "{}", now=1)
        results = await asyncio.gather(*[hand.commit(NOTE, ENDED) for hand in hands], return_exceptions=True)
        for number, (hand, result) in enumerate(zip(hands, results, strict=True)):
            assert isinstance(result, InboxNotEmpty) is (number % 3 == 0)
            row, entries = await store.load(hand.id)
            assert row.head_seq == len(entries) == (0 if number % 3 == 0 else 2)

    async def test_of_two_claims_one_wins(self, store: SessionStore) -> None:
        record = await store.create(new("s"))
        hands = [Hand(store, record, owner=f"driver-{number}") for number in range(8)]
        results = await asyncio.gather(*[hand.claim(NOTE) for hand in hands], return_exceptions=True)
        assert sum(isinstance(result, SessionBusy) for result in results) == 7
        assert len(await store.read("s")) == 1

    async def test_of_two_commits_on_one_head_one_wins(self, store: SessionStore, hand: Hand) -> None:
        plans = [hand.plan(NOTE) for _ in range(8)]
        results = await asyncio.gather(*[store.append(plan) for plan in plans], return_exceptions=True)
        assert sum(isinstance(result, HeadMoved) for result in results) == 7
        assert len(await store.read("s")) == 1

    async def test_of_two_creations_one_wins(self, store: SessionStore) -> None:
        results = await asyncio.gather(*[store.create(new("s")) for _ in range(8)], return_exceptions=True)
        assert sum(isinstance(result, SessionExistsError) for result in results) == 7

    async def test_of_many_takeovers_one_wins(self, store: SessionStore, hand: Hand) -> None:
        record = await store.get(hand.id)
        late = NOW.plus(TTL)
        hands = [Hand(store, record, owner=f"driver-{number}") for number in range(8)]
        results = await asyncio.gather(*[other.claim(NOTE, now=late) for other in hands], return_exceptions=True)
        assert sum(isinstance(result, SessionBusy) for result in results) == 7
        assert (await store.get("s")).epoch == 2

    async def test_appends_of_one_caller_keep_their_order(self, store: SessionStore, hand: Hand) -> None:
        plans = []
        for _ in range(30):
            plans.append(hand.plan(NOTE))
            hand.moved(plans[-1])
        await asyncio.gather(*[store.append(plan) for plan in plans])
        assert [entry.seq for entry in await store.read("s")] == list(range(1, 31))

    async def test_a_load_is_of_one_moment(self, store: SessionStore, hand: Hand) -> None:
        async def write() -> None:
            for _ in range(60):
                await hand.commit(NOTE, NOTE)
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        while not writing.done():
            row, entries = await store.load("s")
            assert len(entries) % 2 == 0
            verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
            await asyncio.sleep(0)
        await writing

    async def test_what_was_acknowledged_is_read_at_once(self, store: SessionStore, hand: Hand) -> None:
        for number in range(1, 41):
            await hand.commit(NOTE)
            assert (await store.get("s")).head_seq == number

    async def test_commands_of_many_senders_all_arrive(self, store: SessionStore, hand: Hand) -> None:
        ids = await asyncio.gather(*[store.enqueue(hand.id, "input", str(n), now=1) for n in range(40)])
        rows = await store.inbox("s")
        assert sorted(row.id for row in rows) == sorted(ids)
        assert {row.body for row in rows} == {str(n) for n in range(40)}

    async def test_a_cancelled_append_is_whole_or_absent(self, store: SessionStore, hand: Hand) -> None:
        for turns in range(8):
            append = hand.plan(NOTE, NOTE)
            task = asyncio.create_task(store.append(append))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            row, entries = await store.load("s")
            assert row.head_seq == len(entries)
            assert row.head_seq in {append.expected_head, append.expected_head + 2}
            if row.head_seq > append.expected_head:
                hand.moved(append)

    async def test_a_cancelled_append_is_decided_when_the_cancel_is_heard(
        self, store: SessionStore, hand: Hand
    ) -> None:
        task = asyncio.create_task(store.append(hand.plan(NOTE)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        first = await store.get("s")
        await store.create(new("later"))
        assert await store.get("s") == first

    async def test_a_cancelled_caller_is_cancelled(self, store: SessionStore, hand: Hand) -> None:
        task = asyncio.create_task(store.read(hand.id))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_after_a_cancelled_caller_the_store_goes_on(self, store: SessionStore, hand: Hand) -> None:
        for verb in (store.get, store.inbox, store.load):
            task = asyncio.ensure_future(verb("s"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await hand.commit(NOTE)
        assert len(await store.read("s")) == 1

    async def test_several_loops_use_one_store(self, store: SessionStore) -> None:
        failures: list[BaseException] = []

        async def drive(name: str) -> None:
            hand = Hand(store, await store.create(new(name)))
            await hand.claim(NOTE)
            for _ in range(5):
                await hand.commit(NOTE)

        def thread(name: str) -> None:
            try:
                asyncio.run(drive(name))
            except BaseException as error:  # noqa: BLE001 -- told to the test
                failures.append(error)

        threads = [threading.Thread(target=thread, args=(f"s{number}",)) for number in range(4)]
        for each in threads:
            each.start()
        await asyncio.gather(*[asyncio.to_thread(each.join) for each in threads])
        assert failures == []
        assert [record.head_seq for record in await store.list()] == [6, 6, 6, 6]

    async def test_closing_twice_is_closing_once(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        await store.close()
        await store.close()

    async def test_closing_finishes_what_is_queued(self, store: SessionStore, hand: Hand) -> None:
        task = asyncio.create_task(hand.commit(NOTE))
        await asyncio.sleep(0)
        await store.close()
        assert len(await task) == 1

    async def test_a_closed_store_says_so(self, store: SessionStore, hand: Hand) -> None:
        plan = hand.plan(NOTE)
        await store.close()
        with pytest.raises(StoreClosed) as caught:
            await store.append(plan)
        assert caught.value.path == store.path
        with pytest.raises(StoreClosed):
            await store.get("s")

    async def test_an_unused_store_closes(self, store: SessionStore) -> None:
        await store.close()

    async def test_a_store_reaches_what_it_says_it_reaches(self, store: SessionStore) -> None:
        assert store.identity
        assert store.path
