"""Journals: appended in order, whole or not at all, under the head they were sealed on."""

import pytest

from power_loop.facts.chain import verify
from power_loop.facts.entries import Note
from power_loop.facts.errors import HeadMoved, InvalidInputError, SessionNotFoundError
from power_loop.ports.store import Append, SessionStore
from power_loop.testing.conformance.base import CALLED, ENDED, NOTE, NOW, Hand, Suite, claim_of, new


@pytest.mark.asyncio
class Journals(Suite):
    async def test_entries_come_back_as_they_were_sealed(self, store: SessionStore, hand: Hand) -> None:
        sealed = await hand.commit(NOTE, CALLED)
        stored = await store.read("s")
        for ours, theirs in zip(sealed, stored, strict=True):
            for field in ("seq", "kind", "version", "run", "round", "time", "body", "digest"):
                assert getattr(ours, field) == getattr(theirs, field)

    async def test_entries_decode_to_their_facts(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert (await store.read("s"))[0].fact == NOTE

    async def test_the_chain_verifies(self, store: SessionStore, hand: Hand) -> None:
        for _ in range(3):
            await hand.commit(NOTE, CALLED)
        row, entries = await store.load("s")
        verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)

    async def test_the_head_moves_with_the_commit(self, store: SessionStore, hand: Hand) -> None:
        entries = await hand.commit(NOTE, NOTE)
        record = await store.get("s")
        assert (record.head_seq, record.head_digest) == (2, entries[-1].digest)

    async def test_the_row_tells_the_time_of_the_last_entry(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, time=NOW.wall_ms + 5)
        record = await store.get("s")
        assert (record.created_at, record.updated_at) == (NOW.wall_ms, NOW.wall_ms + 5)

    async def test_numbers_have_no_gaps_over_many_commits(self, store: SessionStore, hand: Hand) -> None:
        for size in (1, 3, 2, 5):
            await hand.commit(*[NOTE] * size)
        assert [entry.seq for entry in await store.read("s")] == list(range(1, 12))

    async def test_entries_that_leave_a_gap_are_refused(self, store: SessionStore, hand: Hand) -> None:
        append = hand.plan(NOTE)
        hand.seq += 1
        entries = hand.seal(NOTE)
        with pytest.raises(InvalidInputError):
            await store.append(Append("s", 1, append.expected_head, append.expected_digest, entries))
        assert list(await store.read("s")) == []

    async def test_a_commit_on_an_old_head_is_refused(self, store: SessionStore, hand: Hand) -> None:
        late = hand.plan(CALLED)
        await hand.commit(NOTE)
        with pytest.raises(HeadMoved):
            await store.append(late)
        assert [entry.kind for entry in await store.read("s")] == ["note"]

    async def test_a_commit_on_another_digest_is_refused(self, store: SessionStore, hand: Hand) -> None:
        hand.digest = b"\0" * 16
        with pytest.raises(HeadMoved):
            await hand.commit(NOTE)
        assert list(await store.read("s")) == []

    async def test_a_repeated_commit_is_refused(self, store: SessionStore, hand: Hand) -> None:
        append = hand.plan(NOTE)
        await store.append(append)
        with pytest.raises(HeadMoved):
            await store.append(append)
        assert len(await store.read("s")) == 1

    async def test_a_refused_commit_leaves_nothing_at_all(self, store: SessionStore, hand: Hand) -> None:
        command = await store.enqueue("s", "input", "{}", now=1)
        await store.enqueue("s", "input", "{}", now=1)
        before = await store.get("s")
        with pytest.raises(Exception, match="inbox"):
            await hand.commit(NOTE, ENDED, consumes=(command,), release=True)
        assert await store.get("s") == before
        assert len(await store.inbox("s")) == 2
        assert list(await store.read("s")) == []

    async def test_after_a_refusal_the_same_driver_goes_on(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        with pytest.raises(HeadMoved):
            await store.append(Append("s", 1, 0, b"", ()))
        await hand.commit(NOTE)
        assert len(await store.read("s")) == 2

    async def test_a_commit_to_a_missing_session_says_so(self, store: SessionStore, hand: Hand) -> None:
        append = hand.plan(NOTE)
        with pytest.raises(SessionNotFoundError):
            await store.append(Append("nobody", 1, 0, append.expected_digest, append.entries))

    async def test_a_missing_session_is_named_before_a_live_lease(self, store: SessionStore) -> None:
        claim = claim_of("driver")
        with pytest.raises(SessionNotFoundError):
            await store.append(Append("nobody", 0, 0, b"", (), claim=claim))

    async def test_a_commit_without_entries_keeps_the_head(self, store: SessionStore, hand: Hand) -> None:
        before = await store.get("s")
        await hand.commit()
        assert await store.get("s") == before

    async def test_read_starts_after_a_number(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(*[NOTE] * 5)
        assert [entry.seq for entry in await store.read("s", after=3)] == [4, 5]

    async def test_read_after_the_head_is_empty(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert list(await store.read("s", after=1)) == list(await store.read("s", after=10**12)) == []

    async def test_read_stops_at_the_limit(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(*[NOTE] * 5)
        assert [entry.seq for entry in await store.read("s", after=1, limit=2)] == [2, 3]

    async def test_read_with_limit_zero_is_empty(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert list(await store.read("s", limit=0)) == []

    async def test_load_returns_row_and_journal(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, NOTE)
        row, entries = await store.load("s")
        assert row == await store.get("s")
        assert [entry.seq for entry in entries] == [1, 2]

    async def test_load_of_an_empty_journal(self, store: SessionStore) -> None:
        record = await store.create(new("s"))
        row, entries = await store.load("s")
        assert (row, list(entries)) == (record, [])

    async def test_last_finds_the_newest_of_a_kind(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, CALLED, Note(topic="test", text="newest"), CALLED)
        found = await store.last("s", ["note"])
        assert found is not None
        assert (found.seq, found.fact) == (3, Note(topic="test", text="newest"))

    async def test_last_takes_several_kinds(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, CALLED, NOTE)
        found = await store.last("s", ["model_called", "tool_started"])
        assert found is not None
        assert found.seq == 2

    async def test_last_of_an_absent_kind_is_none(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert await store.last("s", ["run_ended"]) is None
        assert await store.last("s", []) is None

    async def test_a_thousand_entries_in_one_commit(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(*[NOTE] * 1000)
        assert [entry.seq for entry in await store.read("s")] == list(range(1, 1001))
