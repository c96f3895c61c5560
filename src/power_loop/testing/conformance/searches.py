"""Finding what was said, measuring what there is, and giving back what is no longer used."""

import asyncio

import pytest

from power_loop.facts.entries import (
    InputReceived,
    ModelReplied,
    Note,
    Pruned,
    RecordedCall,
    ResultEdited,
    ToolFinished,
)
from power_loop.facts.erasure import ERASED, erasure_of
from power_loop.facts.errors import SessionNotFoundError
from power_loop.facts.messages import Reasoning, Text
from power_loop.ports.store import SessionStats, SessionStore
from power_loop.testing.conformance.base import (
    ANCHOR,
    CALLED,
    NOTE,
    NOW,
    Hand,
    Suite,
    about,
    named,
    new,
    note,
    verified,
)
from power_loop.testing.conformance.texts import HOSTILE


async def found(store: SessionStore, query: str, **options: object) -> list[tuple[str, int]]:
    """Return session and number of what a query finds."""
    return [(hit.session_id, hit.seq) for hit in await store.search(query, **options)]  # type: ignore[arg-type]


@pytest.mark.asyncio
class Searches(Suite):
    async def test_every_word_must_stand_in_the_entry(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("the quick brown fox"), note("a brown dog"), note("the quick dog"))
        assert await found(store, "brown") == [("s", 2), ("s", 1)]
        assert await found(store, "dog quick") == [("s", 3)]
        assert await found(store, "quick cat") == []

    async def test_case_and_accents_make_no_difference(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("Caf\u00e9 STRASSE \uff21\uff22\uff23"))
        for query in ("cafe", "CAFE\u0301", "stra\u00dfe", "abc"):
            assert await found(store, query) == [("s", 1)], query

    async def test_a_word_may_be_the_beginning_of_one(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("deployment of read_file"))
        assert await found(store, "deploy") == await found(store, "read_f") == await found(store, "file") == [("s", 1)]
        assert await found(store, "ployment") == []

    @pytest.mark.parametrize("query", ["\u5929\u6c14", "\u6c14", "\u4eca\u5929\u5929\u6c14", "\u304c\u597d"])
    async def test_any_part_of_a_text_without_spaces_is_found(
        self, store: SessionStore, hand: Hand, query: str
    ) -> None:
        await hand.commit(note("\u4eca\u5929\u5929\u6c14\u304c\u597d"), note("\u6c34 \u5929 \u98ce"))
        assert await found(store, query) == [("s", 1)]

    @pytest.mark.parametrize(
        "query", ["", " ", '"', '"" AND', "* -- ^", "()", "\0", "\ud800", "\U0001f600", "'; DROP TABLE entries; --x"]
    )
    async def test_no_query_is_a_syntax_error(self, store: SessionStore, hand: Hand, query: str) -> None:
        await hand.commit(NOTE)
        assert await found(store, query) == []

    async def test_a_query_may_be_long(self, store: SessionStore, hand: Hand) -> None:
        text = " ".join(f"word{number}" for number in range(3000))
        await hand.commit(note(text), note(text.replace("word2000 ", "")))
        assert await found(store, text) == await found(store, "\u5929" * 3000 + " word2000") + [("s", 1)]

    async def test_words_of_a_query_language_are_words(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("NOT near, AND words: OR columns"), note("columns only"))
        assert await found(store, "NOT columns") == await found(store, "words:") == [("s", 1)]

    async def test_hostile_text_is_no_obstacle(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(*[note(f"{text} needle") for text in HOSTILE.values()])
        assert len(await found(store, "needle", limit=100)) == len(HOSTILE)

    async def test_what_was_said_is_searched_and_nothing_else(self, store: SessionStore, hand: Hand) -> None:
        call = RecordedCall(id="needle", name="look", arguments={"city": "lima"})
        await hand.commit(
            InputReceived(content=(Text("one"), Text("two"))),
            ModelReplied(content=(Reasoning("needle"), Text("three")), calls=(call,), model="needle"),
            ToolFinished(call="needle", name="needle", content="four"),
            ResultEdited(call="needle", content="five"),
            Note(topic="needle", text="six"),
            ANCHOR,
            CALLED,
        )
        words = ["one", "two", "three", "look", "lima", "four", "five", "six", ANCHOR.summary]
        assert [(await found(store, word))[0][1] for word in words] == [1, 1, 2, 2, 2, 3, 4, 5, 6]
        assert await found(store, "needle") == []

    async def test_the_newest_comes_first(self, store: SessionStore) -> None:
        for name in ("b", "a", "c"):
            hand = Hand(store, await store.create(new(name)))
            await hand.claim(note("word"), note("word"))
        assert await found(store, "word") == [("c", 2), ("c", 1), ("a", 2), ("a", 1), ("b", 2), ("b", 1)]
        assert await found(store, "word", limit=3) == [("c", 2), ("c", 1), ("a", 2)]
        assert await found(store, "word", limit=0) == []

    async def test_one_session_is_searched_alone(self, store: SessionStore) -> None:
        for name in ("a", "b"):
            await Hand(store, await store.create(new(name))).claim(note("word"))
        assert await found(store, "word", session_id="a") == [("a", 1)]
        assert await found(store, "word") == [("b", 1), ("a", 1)]
        with pytest.raises(SessionNotFoundError):
            await store.search("word", session_id="nobody")

    async def test_a_hit_shows_where_it_was_found(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("x " * 5000 + "Needle here " + "y " * 5000), time=77)
        (hit,) = await store.search("needle")
        assert (hit.kind, hit.time) == ("note", 77)
        assert "Needle here" in hit.excerpt
        assert len(hit.excerpt) < 300

    async def test_what_was_said_since_the_last_search_is_found(self, store: SessionStore, hand: Hand) -> None:
        for number in range(1, 4):
            await hand.commit(note(f"word{number} common"))
            assert await found(store, f"word{number}") == [("s", number)]
        assert len(await found(store, "common")) == 3

    async def test_many_entries_are_found_at_the_first_search(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(*[note(f"number{n} {'filler ' * 20}") for n in range(1500)])
        assert await found(store, "number1499") == [("s", 1500)]
        assert len(await found(store, "filler", limit=2000)) == 1500

    async def test_searches_and_commits_at_once(self, store: SessionStore, hand: Hand) -> None:
        async def say() -> None:
            for number in range(100):
                await hand.commit(note(f"word number{number}"))

        await asyncio.gather(say(), *[store.search("word") for _ in range(10)])
        assert [seq for _, seq in await found(store, "word", limit=200)] == list(range(100, 0, -1))

    @pytest.mark.parametrize("searched", [False, True], ids=["before a search", "after one"])
    async def test_what_was_erased_is_not_found(self, store: SessionStore, hand: Hand, searched: bool) -> None:
        secret, _ = await hand.commit(note("secret word"), note("word"))
        if searched:
            assert await found(store, "secret") == [("s", 1)]
        await hand.commit(erasure_of(secret))
        assert await found(store, "secret") == await found(store, ERASED) == []
        assert await found(store, "word") == [("s", 2)]

    @pytest.mark.parametrize("searched", [False, True], ids=["before a search", "after one"])
    async def test_what_was_pruned_is_not_found(self, store: SessionStore, hand: Hand, searched: bool) -> None:
        await hand.commit(note("word one"), note("word two"), ANCHOR, note("word three"))
        if searched:
            await store.search("word")
        await hand.commit(Pruned(1, 1))
        assert await found(store, "word") == [("s", 4), ("s", 2)]

    async def test_what_was_deleted_is_not_found_in_its_successor(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("old word"), note("old word"), release=True)
        assert len(await found(store, "word")) == 2
        await store.delete("s", now=NOW)
        assert await found(store, "word") == []
        await Hand(store, await store.create(new("s"))).claim(note("new word"))
        assert await found(store, "word") == [("s", 1)]
        assert await found(store, "old") == []


@pytest.mark.asyncio
class Statistics(Suite):
    async def test_an_empty_store(self, store: SessionStore) -> None:
        assert (await store.stats()).sessions == ()

    async def test_a_session_is_measured_in_bytes(self, store: SessionStore, hand: Hand) -> None:
        first = await hand.commit(note("caf\u00e9 \U0001f600"), time=5)
        second = await hand.commit(about(b"data"), NOTE, time=9, blobs=named(b"data", b"more"))
        size = sum(len(entry.body.encode()) for entry in (*first, *second))
        (stats,) = (await store.stats("s")).sessions
        assert stats == SessionStats("s", 3, size, 2, 8, oldest=5, newest=9)

    async def test_all_sessions_are_measured_newest_first(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        await store.create(new("t"))
        stats = await store.stats()
        assert [session.session_id for session in stats.sessions] == ["t", "s"]
        assert stats.sessions[0] == SessionStats("t", 0, 0, 0, 0, None, None)
        assert stats.database_bytes >= stats.sessions[1].entry_bytes

    async def test_a_missing_session_has_no_statistics(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.stats("nobody")

    async def test_pruning_and_vacuum_give_space_back(self, store: SessionStore, hand: Hand) -> None:
        data = b"\3" * 300_000
        await hand.commit(*[note("x" * 1000)] * 300, about(data), blobs=named(data))
        await hand.commit(ANCHOR)
        full = (await store.stats()).database_bytes
        await hand.commit(Pruned(301, 301))
        await store.vacuum()
        stats = await store.stats()
        assert stats.database_bytes < full - 500_000
        assert stats.free_bytes == 0
        assert stats.sessions[0].entries == 2
        await verified(store, "s")

    async def test_a_store_goes_on_after_vacuum(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(note("word"), about(b"data"), blobs=named(b"data"))
        await store.search("word")
        results = await asyncio.gather(store.vacuum(), hand.commit(note("word")), store.vacuum())
        assert results[0] >= 0
        assert await found(store, "word") == [("s", 3), ("s", 1)]
        await hand.commit(NOTE)
        await verified(store, "s")
