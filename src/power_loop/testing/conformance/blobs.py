"""Blobs: stored with the entries that speak of them, once, and freed with the last session that does."""

import asyncio

import pytest

from power_loop.facts.blobs import blob_id
from power_loop.facts.errors import BlobNotFound, HeadMoved, InvalidInputError, SessionNotFoundError
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import NOTE, NOW, TTL, Hand, Suite, about, named, new

PICTURE = bytes(range(256)) * 8
TEXT = "caf\u00e9\0\ud7ff".encode()


@pytest.mark.asyncio
class Blobs(Suite):
    async def test_a_blob_comes_back_as_it_was(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(about(PICTURE), about(TEXT), blobs=named(PICTURE, TEXT, b""))
        for data in (PICTURE, TEXT, b""):
            assert await store.read_blob(blob_id(data)) == data

    async def test_a_missing_blob_is_named(self, store: SessionStore) -> None:
        with pytest.raises(BlobNotFound) as caught:
            await store.read_blob(blob_id(PICTURE))
        assert (caught.value.path, caught.value.details["blob"]) == (store.path, blob_id(PICTURE))

    @pytest.mark.parametrize("address", ["", "sha256:", "sha256:" + "A" * 64, "md5:" + "0" * 64, "x" * 71, "\ud800"])
    async def test_what_is_no_address_is_not_found(self, store: SessionStore, address: str) -> None:
        with pytest.raises(BlobNotFound):
            await store.read_blob(address)

    @pytest.mark.parametrize("address", ["picture", blob_id(TEXT), blob_id(PICTURE).upper()])
    async def test_a_blob_under_another_address_is_refused(self, store: SessionStore, hand: Hand, address: str) -> None:
        with pytest.raises(InvalidInputError):
            await hand.commit(NOTE, blobs={address: PICTURE})
        with pytest.raises(InvalidInputError):
            await store.create(new("t", blobs={address: PICTURE}))
        assert list(await store.read("s")) == []
        await hand.commit(NOTE)

    async def test_blobs_without_entries_are_refused(self, store: SessionStore, hand: Hand) -> None:
        with pytest.raises(InvalidInputError):
            await hand.commit(blobs=named(PICTURE))
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(PICTURE))

    async def test_a_refused_commit_leaves_no_blob(self, store: SessionStore, hand: Hand) -> None:
        hand.digest = b"\0" * 16
        with pytest.raises(HeadMoved):
            await hand.commit(about(PICTURE), blobs=named(PICTURE))
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(PICTURE))

    async def test_a_new_session_may_bring_blobs(self, store: SessionStore) -> None:
        await store.create(new("s", blobs=named(PICTURE)))
        assert await store.read_blob(blob_id(PICTURE)) == PICTURE
        await store.delete("s", now=NOW)
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(PICTURE))

    async def test_a_blob_outlives_all_but_the_last_session_that_has_it(self, store: SessionStore) -> None:
        for name in ("a", "b"):
            hand = Hand(store, await store.create(new(name)))
            await hand.claim()
            for _ in range(2):
                await hand.commit(about(PICTURE), blobs=named(PICTURE))
        await store.delete("a", now=NOW.plus(TTL))
        assert await store.read_blob(blob_id(PICTURE)) == PICTURE
        await store.delete("b", now=NOW.plus(TTL))
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(PICTURE))

    async def test_a_blob_goes_with_a_child_that_is_deleted_with_its_parent(self, store: SessionStore) -> None:
        await store.create(new("p", blobs=named(TEXT)))
        await store.create(new("c", parent_id="p", blobs=named(PICTURE)))
        await store.delete("p", now=NOW)
        for data in (TEXT, PICTURE):
            with pytest.raises(BlobNotFound):
                await store.read_blob(blob_id(data))

    async def test_a_session_knows_its_blobs(self, store: SessionStore, hand: Hand) -> None:
        assert await store.list_blobs("s") == frozenset()
        await hand.commit(about(PICTURE), blobs=named(PICTURE, TEXT))
        await store.create(new("t", blobs=named(PICTURE)))
        assert await store.list_blobs("s") == {blob_id(PICTURE), blob_id(TEXT)}
        assert await store.list_blobs("t") == {blob_id(PICTURE)}
        with pytest.raises(SessionNotFoundError):
            await store.list_blobs("nobody")

    async def test_the_same_bytes_are_stored_once(self, store: SessionStore) -> None:
        data = b"\1" * 1_000_000
        for number in range(5):
            hand = Hand(store, await store.create(new(f"s{number}")))
            await hand.claim()
            await hand.commit(about(data), blobs=named(data))
        stats = await store.stats()
        assert [session.blob_bytes for session in stats.sessions] == [len(data)] * 5
        assert stats.database_bytes < 2 * len(data)

    async def test_a_deleted_blob_may_come_again(self, store: SessionStore) -> None:
        for _ in range(2):
            await store.create(new("s", blobs=named(PICTURE)))
            assert await store.read_blob(blob_id(PICTURE)) == PICTURE
            await store.delete("s", now=NOW)

    async def test_a_big_blob_does_not_hold_up_the_event_loop(self, store: SessionStore, hand: Hand) -> None:
        data = b"\2" * (24 << 20)
        blobs = named(data)
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.ensure_future(turn())
        await asyncio.sleep(0)
        before = turns
        await hand.commit(about(data), blobs=blobs)
        assert turns > before + 10
        turning.cancel()
        assert await store.read_blob(blob_id(data)) == data

    async def test_fifty_sessions_bring_the_same_blob_at_once(self, store: SessionStore) -> None:
        async def bring(name: str) -> None:
            hand = Hand(store, await store.create(new(name)))
            await hand.claim(NOTE)
            await hand.commit(about(PICTURE), blobs=named(PICTURE, name.encode()))

        await asyncio.gather(*[bring(f"s{number}") for number in range(50)])
        assert {session.blobs for session in (await store.stats()).sessions} == {2}
        for number in range(50):
            assert await store.read_blob(blob_id(f"s{number}".encode())) == f"s{number}".encode()
