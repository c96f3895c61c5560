"""Leases: one driver at a time, told apart by the epoch; clocks may jump."""

import pytest

from power_loop.facts.clock import Instant
from power_loop.facts.errors import HeadMoved, LeaseLost, SessionBusy
from power_loop.ports.store import Append, Lease, SessionStore
from power_loop.testing.conformance.base import CALLED, NOTE, NOW, OTHER, TTL, Hand, Suite, claim_of, new


def jumped(wall_ms: int, boot_ms: int = 0) -> Instant:
    """Return the present of the suite after its clocks moved by so much."""
    return Instant(NOW.wall_ms + wall_ms, NOW.boot_id, NOW.boot_ms + boot_ms)


@pytest.mark.asyncio
class Leases(Suite):
    async def other(self, store: SessionStore) -> Hand:
        """A driver of another name that sees session ``s`` as it is now."""
        return Hand(store, await store.get("s"), owner=OTHER)

    async def test_a_claim_takes_a_free_lease_in_a_new_epoch(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        await hand.claim(NOTE)
        record = await store.get("s")
        assert (record.epoch, record.head_seq) == (1, 1)
        assert record.lease == Lease(hand.owner, NOW.plus(TTL))

    async def test_entries_of_a_claim_carry_the_new_epoch(self, store: SessionStore) -> None:
        await Hand(store, await store.create(new("s"))).claim(NOTE)
        assert [entry.run for entry in await store.read("s")] == [1]

    async def test_the_owner_is_one_text_that_stays(self, store: SessionStore) -> None:
        assert store.owner
        assert store.owner == store.owner

    async def test_a_live_lease_refuses_another_driver_and_names_the_holder(
        self, store: SessionStore, hand: Hand
    ) -> None:
        other = await self.other(store)
        with pytest.raises(SessionBusy) as caught:
            await other.claim(NOTE)
        assert (caught.value.session_id, caught.value.owner) == ("s", hand.owner)
        assert caught.value.until == NOW.plus(TTL).wall_ms

    async def test_a_refused_claim_changes_nothing(self, store: SessionStore, hand: Hand) -> None:
        before = await store.get("s")
        with pytest.raises(SessionBusy):
            await (await self.other(store)).claim(NOTE)
        assert await store.get("s") == before
        await hand.commit(NOTE)

    async def test_a_live_lease_is_named_before_a_moved_head(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await hand.commit(NOTE)
        with pytest.raises(SessionBusy):
            await other.claim()

    async def test_a_driver_may_claim_again_what_it_holds(self, store: SessionStore, hand: Hand) -> None:
        await hand.claim(NOTE)
        assert (await store.get("s")).epoch == 2

    async def test_a_lease_is_live_until_its_last_millisecond(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        with pytest.raises(SessionBusy):
            await other.claim(now=NOW.plus(TTL - 0.001))
        await other.claim(now=NOW.plus(TTL))
        assert hand.epoch < other.epoch

    async def test_a_wall_clock_jumping_ahead_does_not_free_a_lease(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        with pytest.raises(SessionBusy):
            await other.claim(now=jumped(wall_ms=10**9, boot_ms=1000))
        await hand.commit(NOTE)

    async def test_a_wall_clock_jumping_back_does_not_keep_a_lease(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await other.claim(now=jumped(wall_ms=-(10**9), boot_ms=31_000))
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE)

    async def test_after_a_takeover_the_old_driver_cannot_write(self, store: SessionStore, hand: Hand) -> None:
        await (await self.other(store)).claim(now=NOW.plus(TTL))
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE)
        assert list(await store.read("s")) == []

    async def test_a_zombie_is_stopped_before_it_starts_anything(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await other.claim(NOTE, now=NOW.plus(TTL))
        with pytest.raises(LeaseLost):
            await hand.commit(CALLED)
        await other.commit(CALLED)
        assert [entry.run for entry in await store.read("s")] == [2, 2]

    async def test_a_zombie_cannot_release_its_successors_lease(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await other.claim(now=NOW.plus(TTL))
        assert await store.release("s", hand.epoch) is False
        with pytest.raises(LeaseLost):
            await hand.commit(release=True)
        assert (await store.get("s")).lease == Lease(OTHER, NOW.plus(2 * TTL))

    async def test_a_zombie_cannot_renew_its_successors_lease(self, store: SessionStore, hand: Hand) -> None:
        await (await self.other(store)).claim(now=NOW.plus(TTL))
        assert (await store.renew("s", hand.epoch, NOW.plus(10**6))).held is False
        assert (await store.get("s")).lease == Lease(OTHER, NOW.plus(2 * TTL))

    async def test_an_expired_lease_that_nobody_took_still_writes(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, time=NOW.plus(10 * TTL).wall_ms)
        assert len(await store.read("s")) == 1

    async def test_a_driver_without_a_lease_cannot_write(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE)

    async def test_a_future_epoch_cannot_write(self, store: SessionStore, hand: Hand) -> None:
        hand.epoch += 1
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE)
        assert list(await store.read("s")) == []

    async def test_a_lost_lease_is_named_before_a_moved_head(self, store: SessionStore, hand: Hand) -> None:
        await (await self.other(store)).claim(NOTE, now=NOW.plus(TTL))
        with pytest.raises(LeaseLost):
            await store.append(Append("s", hand.epoch, 99, b"", ()))

    async def test_a_claim_on_an_old_epoch_is_a_moved_head(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await hand.commit(release=True)
        await hand.claim()
        await hand.commit(release=True)
        with pytest.raises(HeadMoved):
            await other.claim()

    async def test_a_claim_on_an_old_head_is_a_moved_head(self, store: SessionStore, hand: Hand) -> None:
        other = await self.other(store)
        await hand.commit(NOTE, release=True)
        with pytest.raises(HeadMoved):
            await other.claim(NOTE)
        assert (await store.get("s")).lease is None

    async def test_a_commit_can_release(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, release=True)
        record = await store.get("s")
        assert (record.lease, record.epoch, record.head_seq) == (None, 1, 1)

    async def test_after_release_another_driver_claims_at_once(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(release=True)
        await (await self.other(store)).claim(NOTE)
        assert (await store.get("s")).epoch == 2

    async def test_after_release_the_same_epoch_cannot_write(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(release=True)
        with pytest.raises(LeaseLost):
            await hand.commit(NOTE)
        assert list(await store.read("s")) == []

    async def test_one_commit_can_claim_and_release(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        entries = hand.seal(NOTE, run=1)
        await store.append(Append("s", 0, 0, hand.digest, entries, claim=claim_of(hand.owner), release=True))
        record = await store.get("s")
        assert (record.epoch, record.lease, record.head_seq) == (1, None, 1)

    async def test_release_without_an_entry(self, store: SessionStore, hand: Hand) -> None:
        assert await store.release("s", hand.epoch) is True
        assert (await store.get("s")).lease is None

    async def test_release_twice_is_not_ours_any_more(self, store: SessionStore, hand: Hand) -> None:
        await store.release("s", hand.epoch)
        assert await store.release("s", hand.epoch) is False

    async def test_release_of_a_missing_session_is_not_ours(self, store: SessionStore) -> None:
        assert await store.release("nobody", 0) is False

    async def test_renewal_moves_the_end(self, store: SessionStore, hand: Hand) -> None:
        assert (await store.renew("s", hand.epoch, NOW.plus(99))).held is True
        assert (await store.get("s")).lease == Lease(hand.owner, NOW.plus(99))

    async def test_a_lease_is_live_until_its_end(self, store: SessionStore, hand: Hand) -> None:
        lease = (await store.get("s")).lease
        assert lease == Lease(hand.owner, NOW.plus(TTL))
        assert store.is_live(lease, NOW) is True
        assert store.is_live(lease, lease.until) is False

    async def test_a_renewed_lease_is_live_past_its_first_end(self, store: SessionStore, hand: Hand) -> None:
        await store.renew("s", hand.epoch, NOW.plus(2 * TTL))
        with pytest.raises(SessionBusy):
            await (await self.other(store)).claim(now=NOW.plus(TTL))

    async def test_renewal_of_a_free_lease_is_not_held(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(release=True)
        assert (await store.renew("s", hand.epoch, NOW.plus(99))).held is False
        assert (await store.get("s")).lease is None

    async def test_renewal_of_a_missing_session_is_not_held(self, store: SessionStore) -> None:
        assert (await store.renew("nobody", 0, NOW)).held is False

    async def test_renewal_keeps_the_head(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        await store.renew("s", hand.epoch, NOW.plus(99))
        await hand.commit(NOTE)
        assert (await store.get("s")).head_seq == 2
