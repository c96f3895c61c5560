"""Texts: what people and models write comes back unchanged; what no store can hold is replaced at the border."""

import pytest

from power_loop.facts.chain import verify
from power_loop.facts.entries import Note
from power_loop.facts.errors import InvalidInputError, SessionNotFoundError
from power_loop.facts.jsontext import REPLACEMENT
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import Hand, Suite, new

HOSTILE = {
    "quotes": "'; DROP TABLE entries; -- \" ` \\ \\' %s %% ? :x $1 {}",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85",
    "four bytes": "\U0001f469\u200d\U0001f680 \U0010ffff",
    "right to left": "\u202eabc\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "combining": "Z\u0351\u0310a\u0301 e\u0301 \u00e9",
    "line ends": "a\r\nb\u2028c\u2029d\ve\f",
    "not characters": "\ufeff\ufffe\uffff\ufffd",
    "json": '{"kind":"run_ended"}\\u0000\\ud800 null NaN',
    "blank": " \t\n ",
    "empty": "",
}


@pytest.mark.asyncio
class Texts(Suite):
    @pytest.mark.parametrize("name", HOSTILE)
    async def test_hostile_text_comes_back_unchanged(self, store: SessionStore, hand: Hand, name: str) -> None:
        await hand.commit(Note(topic="test", text=HOSTILE[name]))
        row, entries = await store.load("s")
        assert entries[0].fact == Note(topic="test", text=HOSTILE[name])
        verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)

    async def test_a_megabyte_comes_back_unchanged(self, store: SessionStore, hand: Hand) -> None:
        text = "0123456789\u00e9\U0001f680" * 80_000
        await hand.commit(Note(topic="test", text=text))
        assert (await store.read("s"))[0].fact == Note(topic="test", text=text)

    async def test_a_deeply_nested_body_comes_back_unchanged(self, store: SessionStore) -> None:
        nested: dict[str, object] = {}
        for _ in range(100):
            nested = {"d": nested}
        await store.create(new("s", metadata=nested))
        assert (await store.get("s")).metadata == nested

    async def test_hostile_ids_name_their_own_session(self, store: SessionStore) -> None:
        names = [text for text in HOSTILE.values() if text] + ["S", "s", "s ", " s", "%", "_"]
        for name in names:
            await store.create(new(name))
        assert [(await store.get(name)).id for name in names] == names

    @pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
    async def test_an_id_that_no_store_can_hold_is_refused(self, store: SessionStore, name: str) -> None:
        with pytest.raises(InvalidInputError):
            await store.create(new(name))

    @pytest.mark.parametrize("name", ["a\0b", "a\ud800", ""])
    async def test_asking_for_such_an_id_finds_nothing(self, store: SessionStore, name: str) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.get(name)
        with pytest.raises(SessionNotFoundError):
            await store.enqueue(name, "input", "{}", now=1)

    async def test_metadata_is_cleaned_at_the_border(self, store: SessionStore) -> None:
        await store.create(new("s", metadata={"k\ud800": ["a\0b", {"x": "\udfff"}]}))
        expected = {f"k{REPLACEMENT}": [f"a{REPLACEMENT}b", {"x": REPLACEMENT}]}
        assert (await store.get("s")).metadata == expected

    async def test_commands_are_cleaned_at_the_border(self, store: SessionStore, hand: Hand) -> None:
        await store.enqueue("s", "input", "a\0b\ud800", now=1)
        (row,) = await store.inbox(hand.id)
        assert row.body == f"a{REPLACEMENT}b{REPLACEMENT}"

    async def test_commands_carry_hostile_text(self, store: SessionStore, hand: Hand) -> None:
        for text in HOSTILE.values():
            await store.enqueue(hand.id, "input", text, now=1)
        assert [row.body for row in await store.inbox("s")] == list(HOSTILE.values())

    async def test_hostile_kinds_find_nothing(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(Note(topic="test", text="x"))
        assert await store.last("s", ["'; --", "no\0te", "note\ud800", "NOTE", "not_"]) is None
