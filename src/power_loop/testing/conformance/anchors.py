"""Anchors: replay starts at the last compaction, and the row says where that is."""

import pytest

from power_loop.facts.chain import base_digest, seal_all, verify
from power_loop.facts.errors import HeadMoved, InboxNotEmpty
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import ANCHOR, ENDED, NOTE, Hand, Suite, claim_of, new, verified


@pytest.mark.asyncio
class Anchors(Suite):
    async def test_a_journal_without_a_compaction_is_anchored_at_its_base(
        self, store: SessionStore, hand: Hand
    ) -> None:
        await hand.commit(NOTE, NOTE)
        row, entries = await store.load("s")
        assert (row.anchor_seq, row.anchor_digest) == (1, base_digest("s"))
        assert [entry.seq for entry in entries] == [1, 2]

    async def test_load_begins_with_the_last_compaction(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, ANCHOR, NOTE)
        await hand.commit(NOTE)
        last, _, _ = await hand.commit(NOTE, ANCHOR, NOTE)
        row, entries = await store.load("s")
        assert [entry.seq for entry in entries] == [6, 7]
        assert (row.anchor_seq, row.anchor_digest) == (6, last.digest)

    async def test_what_load_returns_verifies_from_the_anchor(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, ANCHOR, NOTE)
        row, entries = await store.load("s")
        base = row.anchor_seq - 1
        verify(entries, base_seq=base, base=row.anchor_digest, head_seq=row.head_seq, head=row.head_digest)

    async def test_the_whole_journal_is_still_there(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE, ANCHOR)
        _, entries = await verified(store, "s")
        assert [entry.seq for entry in entries] == [1, 2, 3]
        assert [entry.seq for entry in await store.read("s")] == [1, 2, 3]

    async def test_a_compaction_that_opens_a_commit_is_anchored_on_the_head(
        self, store: SessionStore, hand: Hand
    ) -> None:
        (before,) = await hand.commit(NOTE)
        await hand.commit(ANCHOR)
        assert (await store.get("s")).anchor_digest == before.digest

    async def test_the_row_of_every_reading_tells_the_anchor(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, ANCHOR)
        row, _ = await store.load("s")
        assert row == await store.get("s") == (await store.list())[0]

    async def test_a_refused_commit_moves_no_anchor(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "{}", now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(ANCHOR, ENDED)
        hand.digest = b"\0" * 16
        with pytest.raises(HeadMoved):
            await hand.commit(ANCHOR)
        assert (await store.get("s")).anchor_seq == 1

    async def test_an_anchor_may_come_with_a_claim_and_a_release(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("s")))
        await hand.claim(NOTE, ANCHOR)
        await hand.commit(NOTE, release=True)
        append = hand.plan(ANCHOR, claim=claim_of(hand.owner), release=True)
        await store.append(append)
        record = await store.get("s")
        assert (record.anchor_seq, record.lease) == (4, None)

    async def test_first_entries_may_hold_an_anchor(self, store: SessionStore) -> None:
        facts = [NOTE, ANCHOR, NOTE]
        first = seal_all(facts, head_seq=0, head_digest=base_digest("s"), run=0, round_=0, time=7)
        record = await store.create(new("s", first=first))
        assert (record.anchor_seq, record.anchor_digest) == (2, first[0].digest)
        assert record == await store.get("s")
        assert len((await store.load("s"))[1]) == 2

    async def test_a_journal_from_elsewhere_keeps_its_base_and_its_epoch(self, store: SessionStore) -> None:
        first = seal_all([NOTE, NOTE], head_seq=10, head_digest=b"b" * 16, run=4, round_=0, time=7)
        record = await store.create(new("s", first=first, base_seq=10, base_digest=b"b" * 16, epoch=4))
        assert (record.base_seq, record.base_digest, record.epoch) == (10, b"b" * 16, 4)
        assert (record.anchor_seq, record.anchor_digest, record.head_seq) == (11, b"b" * 16, 12)
        await verified(store, "s")
        hand = Hand(store, record)
        await hand.claim(NOTE)
        assert [(entry.seq, entry.run) for entry in await store.read("s")] == [(11, 4), (12, 4), (13, 5)]
