"""Store care: pruning what lies before the anchor, erasing what was said. The chain stays verifiable."""

import pytest

from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.entries import (
    Erased,
    InputReceived,
    ModelReplied,
    Pruned,
    RecordedCall,
    ToolFinished,
)
from power_loop.facts.erasure import ERASED, erasure_of
from power_loop.facts.errors import BlobNotFound, HeadMoved, InboxNotEmpty, InvalidInputError, LeaseLost
from power_loop.facts.messages import Image, Text
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import (
    ANCHOR,
    NOTE,
    NOW,
    TTL,
    Hand,
    Suite,
    about,
    claim_of,
    named,
    new,
    note,
    verified,
)

PICTURE = b"picture" * 100


@pytest.mark.asyncio
class Pruning(Suite):
    async def test_pruned_entries_are_gone_and_the_rest_verifies(self, store: SessionStore, hand: Hand) -> None:
        sealed = await hand.commit(NOTE, NOTE, NOTE, ANCHOR, NOTE)
        await hand.commit(Pruned(2, 2))
        row, entries = await verified(store, "s")
        assert [entry.seq for entry in entries] == [3, 4, 5, 6]
        assert (row.base_seq, row.base_digest) == (2, sealed[1].digest)
        assert (row.anchor_seq, row.anchor_digest) == (4, sealed[2].digest)

    async def test_everything_before_the_anchor_may_go(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE, ANCHOR)
        await hand.commit(Pruned(2, 2))
        row, entries = await store.load("s")
        assert [entry.seq for entry in entries] == [3, 4]
        assert (row.base_digest, row.base_seq + 1) == (row.anchor_digest, row.anchor_seq)

    async def test_a_compaction_and_its_prune_may_share_a_commit(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE)
        await hand.commit(ANCHOR, Pruned(2, 2))
        _, entries = await verified(store, "s")
        assert [entry.kind for entry in entries] == ["compacted", "pruned"]

    @pytest.mark.parametrize(("through", "entries"), [(3, 3), (4, 4), (99, 99), (0, 0), (-1, -1), (2, 1), (2, 3)])
    async def test_a_prune_that_cannot_be_is_refused(
        self, store: SessionStore, hand: Hand, through: int, entries: int
    ) -> None:
        await hand.commit(NOTE, NOTE, ANCHOR)
        before = await store.get("s")
        with pytest.raises(InvalidInputError):
            await hand.commit(NOTE, Pruned(through, entries))
        assert await store.get("s") == before
        assert len(await store.read("s")) == 3

    async def test_without_a_compaction_nothing_may_go(self, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE)
        with pytest.raises(InvalidInputError):
            await hand.commit(Pruned(1, 1))

    async def test_what_is_pruned_cannot_be_pruned_again(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE, NOTE, ANCHOR)
        await hand.commit(Pruned(2, 2))
        with pytest.raises(InvalidInputError):
            await hand.commit(Pruned(2, 2))
        await hand.commit(Pruned(3, 1))
        assert (await store.get("s")).base_seq == 3

    async def test_a_prune_is_fenced_like_every_commit(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE, ANCHOR)
        late = hand.plan(Pruned(2, 2))
        await hand.commit(NOTE)
        with pytest.raises(HeadMoved):
            await store.append(late)
        await store.enqueue("s", "input", "{}", now=1)
        with pytest.raises(InboxNotEmpty):
            await hand.commit(Pruned(2, 2), release=True)
        other = Hand(store, await store.get("s"), owner="driver_of_somebody_else")
        await other.claim(now=NOW.plus(TTL))
        with pytest.raises(LeaseLost):
            await hand.commit(Pruned(2, 2))
        assert (await store.get("s")).base_seq == 0

    async def test_a_session_that_nobody_drives_is_pruned_in_one_commit(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, ANCHOR, release=True)
        await store.append(hand.plan(Pruned(1, 1), claim=claim_of(hand.owner), release=True))
        row, _ = await verified(store, "s")
        assert (row.base_seq, row.lease) == (1, None)

    async def test_reading_from_before_the_base_begins_with_the_base(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE, NOTE, ANCHOR)
        await hand.commit(Pruned(3, 3))
        assert [entry.seq for entry in await store.read("s")] == [4, 5]
        assert [entry.seq for entry in await store.read("s", after=1, limit=1)] == [4]
        assert [entry.seq for entry in await store.read("s", after=4)] == [5]
        assert await store.last("s", ["note"]) is None

    async def test_a_pruned_session_goes_on(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, ANCHOR)
        await hand.commit(Pruned(1, 1))
        await hand.commit(NOTE, NOTE)
        row, entries = await verified(store, "s")
        assert (len(entries), row.head_seq) == (4, 5)

    async def test_only_the_session_itself_is_pruned(self, store: SessionStore, hand: Hand) -> None:
        other = Hand(store, await store.create(new("t")))
        await other.claim(NOTE, NOTE, ANCHOR)
        await hand.commit(NOTE, NOTE, ANCHOR)
        await hand.commit(Pruned(2, 2))
        assert len((await verified(store, "t"))[1]) == 3

    async def test_a_pruned_blob_goes_unless_it_is_mentioned_later(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(about(PICTURE), about(b"gone"), blobs=named(PICTURE, b"gone"))
        await hand.commit(ANCHOR, about(PICTURE))
        await hand.commit(Pruned(2, 2))
        assert await store.read_blob(blob_id(PICTURE)) == PICTURE
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(b"gone"))

    async def test_first_entries_that_tell_of_care_do_nothing_again(self, store: SessionStore) -> None:
        facts = [NOTE, ANCHOR, Pruned(1, 1), Erased(1, "")]
        first = seal_all(facts, head_seq=0, head_digest=base_digest("s"), run=0, round_=0, time=7)
        record = await store.create(new("s", first=first))
        assert record.base_seq == 0
        assert (await store.read("s"))[0].fact == NOTE


@pytest.mark.asyncio
class Erasure(Suite):
    async def test_erased_content_is_gone_and_the_chain_verifies(self, store: SessionStore, hand: Hand) -> None:
        _, secret, _ = await hand.commit(NOTE, InputReceived(content="my secret", name="ann"), NOTE)
        await hand.commit(erasure_of(secret, "asked for"))
        row, entries = await verified(store, "s")
        assert row.head_seq == 4
        assert entries[1].fact == InputReceived(content=ERASED)
        assert (entries[1].digest, entries[1].seq, entries[1].kind) == (secret.digest, secret.seq, secret.kind)
        assert "secret" not in "".join(entry.body for entry in await store.read("s"))

    async def test_an_erased_reply_keeps_its_calls_and_what_it_cost(self, store: SessionStore, hand: Hand) -> None:
        call = RecordedCall(id="wire", name="look", arguments={"where": "secret"})
        reply = ModelReplied(content=(Text("secret"),), calls=(call,), cost="0.5", payload={"signature": "secret"})
        result = ToolFinished(call="call_1_0", name="look", content="secret", closes_round=True)
        for entry in await hand.commit(reply, result):
            await hand.commit(erasure_of(entry))
        _, entries = await verified(store, "s")
        assert entries[0].fact == ModelReplied(
            content=ERASED, calls=(RecordedCall(id="wire", name="look"),), cost="0.5"
        )
        assert entries[1].fact == ToolFinished(call="call_1_0", name="look", content=ERASED, closes_round=True)

    async def test_erasing_twice_is_the_same_as_once(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("secret"))
        for _ in range(2):
            (stored, *_) = await store.read("s", limit=1)
            await hand.commit(erasure_of(stored))
        _, entries = await verified(store, "s")
        assert entries[0].fact == note(ERASED)

    @pytest.mark.parametrize("target", [0, -1, 2, 7, 2**40])
    async def test_what_is_not_there_cannot_be_erased(self, store: SessionStore, hand: Hand, target: int) -> None:
        await hand.commit(NOTE)
        with pytest.raises(InvalidInputError):
            await hand.commit(Erased(target, ""))
        assert len(await store.read("s")) == 1

    async def test_what_was_pruned_cannot_be_erased(self, hand: Hand) -> None:
        sealed = await hand.commit(NOTE, ANCHOR)
        await hand.commit(Pruned(1, 1))
        with pytest.raises(InvalidInputError):
            await hand.commit(erasure_of(sealed[0]))

    async def test_another_tombstone_than_ours_is_refused(self, store: SessionStore, hand: Hand) -> None:
        (entry,) = await hand.commit(note("secret"))
        with pytest.raises(InvalidInputError):
            await hand.commit(NOTE, Erased(entry.seq, "00" * 16))
        _, entries = await verified(store, "s")
        assert [entry.fact for entry in entries] == [note("secret")]

    async def test_a_refused_erasure_erases_nothing(self, store: SessionStore, hand: Hand) -> None:
        (entry,) = await hand.commit(note("secret"))
        hand.digest = b"\0" * 16
        with pytest.raises(HeadMoved):
            await hand.commit(erasure_of(entry))
        assert (await store.read("s"))[0].fact == note("secret")

    async def test_several_entries_are_erased_in_one_commit_or_none_is(self, store: SessionStore, hand: Hand) -> None:
        one, two = await hand.commit(note("one"), note("two"))
        with pytest.raises(InvalidInputError):
            await hand.commit(erasure_of(one), Erased(99, ""))
        assert (await store.read("s"))[0].body_digest is None
        await hand.commit(erasure_of(one), erasure_of(two))
        assert [entry.fact for entry in (await verified(store, "s"))[1][:2]] == [note(ERASED)] * 2

    async def test_what_was_read_before_an_erasure_does_not_change(self, store: SessionStore, hand: Hand) -> None:
        (entry,) = await hand.commit(note("said"))
        (read,) = await store.read("s")
        await hand.commit(erasure_of(entry))
        assert read.body == entry.body
        assert read.body_digest is None

    async def test_the_blob_of_an_erased_entry_goes_unless_mentioned_elsewhere(
        self, store: SessionStore, hand: Hand
    ) -> None:
        picture = Image(blob=blob_id(PICTURE), media_type="image/png")
        seen, again = await hand.commit(InputReceived(content=(picture,)), about(PICTURE), blobs=named(PICTURE))
        await hand.commit(erasure_of(seen))
        assert await store.read_blob(blob_id(PICTURE)) == PICTURE
        await hand.commit(erasure_of(again))
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(PICTURE))

    async def test_an_erased_blob_stays_with_another_session(self, store: SessionStore, hand: Hand) -> None:
        await store.create(new("t", blobs=named(PICTURE)))
        (entry,) = await hand.commit(about(PICTURE), blobs=named(PICTURE))
        await hand.commit(erasure_of(entry))
        assert await store.read_blob(blob_id(PICTURE)) == PICTURE

    async def test_an_erased_journal_can_be_pruned_and_goes_on(self, store: SessionStore, hand: Hand) -> None:
        entry, _ = await hand.commit(note("secret"), NOTE)
        await hand.commit(erasure_of(entry), ANCHOR)
        await hand.commit(Pruned(2, 2))
        await hand.commit(NOTE)
        assert [entry.seq for entry in (await verified(store, "s"))[1]] == [3, 4, 5, 6]

    async def test_a_journal_from_elsewhere_keeps_its_tombstones(self, store: SessionStore, hand: Hand) -> None:
        (entry,) = await hand.commit(note("secret"))
        await hand.commit(erasure_of(entry), release=True)
        row, entries = await verified(store, "s")
        await store.delete("s", now=NOW)
        await store.create(new("s", first=tuple(entries), epoch=row.epoch))
        assert (await verified(store, "s"))[1] == entries
