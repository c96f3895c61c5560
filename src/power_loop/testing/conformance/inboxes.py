"""Inboxes: commands from anyone, consumed once, never passed by an end or a start."""

import pytest

from power_loop.facts.errors import CancelRequested, HeadMoved, InboxNotEmpty, LeaseLost, SessionNotFoundError
from power_loop.ports.store import InboxRow, SessionStore
from power_loop.testing.conformance.base import CALLED, ENDED, NOTE, NOW, STARTED, Hand, Suite, claim_of, new


@pytest.mark.asyncio
class Inboxes(Suite):
    async def test_a_command_waits_as_it_was_given(self, store: SessionStore, hand: Hand) -> None:
        command = await store.enqueue(hand.id, "cancel", '{"reason":"enough"}', run=1, now=77)
        assert list(await store.inbox("s")) == [InboxRow(command, "cancel", 1, '{"reason":"enough"}', 77)]

    async def test_a_new_inbox_is_empty(self, store: SessionStore) -> None:
        await store.create(new("s"))
        assert list(await store.inbox("s")) == []

    async def test_commands_wait_in_order(self, store: SessionStore, hand: Hand) -> None:
        for number in range(5):
            await store.enqueue(hand.id, "input", str(number), now=9 - number)
        rows = await store.inbox("s")
        assert [row.body for row in rows] == ["0", "1", "2", "3", "4"]

    async def test_ids_ascend_across_sessions(self, store: SessionStore, hand: Hand) -> None:
        await store.create(new("t"))
        ids = [await store.enqueue(name, "input", "{}", now=1) for name in (hand.id, "t", hand.id)]
        assert ids == sorted(set(ids))

    async def test_ids_are_not_used_again(self, store: SessionStore, hand: Hand) -> None:
        first = await store.enqueue("s", "input", "{}", now=1)
        await hand.commit(NOTE, consumes=(first,))
        assert await store.enqueue("s", "input", "{}", now=1) > first

    async def test_a_command_for_a_missing_session_says_so(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.enqueue("nobody", "input", "{}", now=1)

    async def test_a_command_needs_no_lease_and_moves_no_head(self, store: SessionStore) -> None:
        before = await store.create(new("s"))
        await store.enqueue("s", "input", "{}", now=1)
        assert await store.get("s") == before

    async def test_a_consumed_command_is_gone(self, store: SessionStore, hand: Hand) -> None:
        first, second = [await store.enqueue("s", "input", "{}", now=1) for _ in range(2)]
        await hand.commit(NOTE, consumes=(first,))
        assert [row.id for row in await store.inbox("s")] == [second]

    async def test_a_command_is_consumed_once(self, store: SessionStore, hand: Hand) -> None:
        command = await store.enqueue("s", "input", "{}", now=1)
        await hand.commit(NOTE, consumes=(command,))
        with pytest.raises(HeadMoved):
            await hand.commit(NOTE, consumes=(command,))
        assert len(await store.read("s")) == 1

    async def test_another_sessions_command_is_not_consumed(self, store: SessionStore, hand: Hand) -> None:
        await store.create(new("t"))
        command = await store.enqueue("t", "input", "{}", now=1)
        with pytest.raises(HeadMoved):
            await hand.commit(NOTE, consumes=(command,))
        assert len(await store.inbox("t")) == 1

    async def test_a_claim_can_consume(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        command = await store.enqueue("s", "input", "{}", now=1)
        await store.append(hand.plan(NOTE, claim=claim_of(hand.owner), consumes=(command,)))
        assert list(await store.inbox("s")) == []

    async def test_a_zombie_consumes_nothing(self, store: SessionStore, hand: Hand) -> None:
        command = await store.enqueue("s", "input", "{}", now=1)
        await store.release("s", hand.epoch)
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE, consumes=(command,))
        assert len(await store.inbox("s")) == 1

    async def test_a_run_does_not_end_over_an_input(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(ENDED)

    async def test_a_run_does_not_end_over_a_cancel_of_any_run(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=99, now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(ENDED, release=True)

    async def test_a_lease_is_not_freed_over_an_input(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(NOTE, release=True)
        assert (await store.get("s")).lease is not None

    async def test_a_run_ends_that_consumes_all(self, store: SessionStore, hand: Hand) -> None:
        ids = [await store.enqueue("s", "input", "{}", now=1) for _ in range(2)]
        await hand.commit(NOTE, ENDED, consumes=tuple(ids), release=True)
        assert (await store.get("s")).lease is None

    async def test_other_facts_pass_an_input(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        await hand.commit(NOTE, CALLED, STARTED)
        assert len(await store.read("s")) == 3

    async def test_another_sessions_inbox_does_not_matter(self, store: SessionStore, hand: Hand) -> None:
        await store.create(new("t"))
        await store.enqueue("t", "input", "{}", now=1)
        await hand.commit(ENDED, release=True)

    async def test_no_model_call_starts_over_a_cancel(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        with pytest.raises(CancelRequested):
            await hand.commit(NOTE, CALLED)
        assert list(await store.read("s")) == []

    async def test_no_tool_starts_over_a_cancel(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        with pytest.raises(CancelRequested):
            await hand.commit(STARTED)

    async def test_a_cancel_of_an_older_run_is_void(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        await hand.claim()
        await hand.commit(CALLED)
        assert len(await store.read("s")) == 1

    async def test_a_cancel_of_the_run_that_a_claim_begins_counts(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        with pytest.raises(CancelRequested):
            await hand.claim(CALLED)
        assert (await store.get("s")).epoch == 0

    async def test_a_consumed_cancel_stops_nothing(self, store: SessionStore, hand: Hand) -> None:
        command = await store.enqueue("s", "cancel", "{}", run=1, now=1)
        await hand.commit(NOTE, CALLED, consumes=(command,))
        assert len(await store.read("s")) == 2

    async def test_results_and_notes_pass_a_cancel(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        await hand.commit(NOTE)
        assert len(await store.read("s")) == 1

    async def test_a_lost_lease_is_named_before_the_inbox(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        await store.release("s", hand.epoch)
        with pytest.raises(LeaseLost):
            await hand.commit(CALLED, ENDED)

    async def test_a_moved_head_is_named_before_the_inbox(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        hand.digest = b"\0" * 16
        with pytest.raises(HeadMoved):
            await hand.commit(ENDED)

    async def test_an_inbox_is_named_before_a_cancel(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "cancel", "{}", run=1, now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(CALLED, ENDED)

    async def test_renewal_tells_that_commands_wait(self, store: SessionStore, hand: Hand) -> None:
        assert (await store.renew("s", hand.epoch, NOW)).inbox is False
        command = await store.enqueue("s", "input", "{}", now=1)
        assert (await store.renew("s", hand.epoch, NOW)).inbox is True
        await hand.commit(NOTE, consumes=(command,))
        assert (await store.renew("s", hand.epoch, NOW)).inbox is False

    async def test_giving_up_needs_no_empty_inbox(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        assert await store.release("s", hand.epoch) is True
