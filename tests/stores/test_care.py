"""What is SQLite's own in blobs, care and search: what is in the file, old files, faults in between."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_faults import Doubtful, begun, fill, intact
from test_sqlite import change, rows, schema_of

from power_loop.decisions.replay import replay
from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import verify
from power_loop.facts.entries import Pruned
from power_loop.facts.erasure import erasure_of
from power_loop.facts.errors import BlobNotFound, JournalTooNew, StoreBusy, StoreCorrupt, StoreFull, StoreIOError
from power_loop.stores import SqliteStore
from power_loop.stores.sqlite import sql, workers
from power_loop.testing.conformance.base import (
    ANCHOR,
    NOW,
    Hand,
    about,
    named,
    new,
    note,
    verified,
)

OLD = Path(__file__).parent / "old"


@pytest.fixture
async def store(tmp_path: Path):
    store = SqliteStore(tmp_path / "sessions.db")
    yield store
    await store.close()


@pytest.fixture
async def hand(store: SqliteStore) -> Hand:
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    return hand


def old_database(path: Path) -> Path:
    """Make the file that the release with schema 2 wrote."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript((OLD / "schema_2.sql").read_text(encoding="utf-8"))
        db.execute(f"PRAGMA application_id={sql.APPLICATION_ID}")
    return path


async def test_a_file_of_the_first_release_opens_and_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(old_database(tmp_path / "old.db"))
    row, entries = await verified(store, "golden")
    assert (row.anchor_seq, row.anchor_digest, row.head_seq) == (1, row.base_digest, 57)
    assert row.config == {"a": 1}
    assert [command.body for command in await store.inbox("golden")] == ['{"content":"waiting"}']
    assert (await store.get("child")).parent_id == "golden"
    hand = Hand(store, row)
    (first,) = await hand.claim(about(b"data"))
    await hand.commit(erasure_of(entries[1]), ANCHOR, Pruned(first.seq, first.seq), blobs=named(b"data"))
    _, left = await verified(store, "golden")
    assert len(left) == 3
    await store.close()


async def test_a_migrated_file_equals_a_fresh_one(tmp_path: Path) -> None:
    found = []
    for path in (old_database(tmp_path / "old.db"), tmp_path / "fresh.db"):
        store = SqliteStore(path)
        await store.list()
        await store.close()
        with closing(sqlite3.connect(path)) as db:
            found.append(schema_of(db))
            assert db.execute("SELECT version, name FROM schema_migrations").fetchall() == list(sql.MIGRATIONS)
    assert found[0] == found[1]


async def test_nobody_pays_for_a_search_that_never_comes(store: SqliteStore, hand: Hand) -> None:
    await hand.commit(note("word"))
    before = rows(store.path, "SELECT name FROM sqlite_master")
    assert ("search",) not in before
    await hand.commit(ANCHOR, erasure_of((await store.read("s"))[0]))
    await hand.commit(Pruned(1, 1), release=True)
    await store.delete("s", now=NOW)
    assert rows(store.path, "SELECT name FROM sqlite_master") == before


async def test_the_index_costs_less_than_the_text(store: SqliteStore, hand: Hand) -> None:
    for start in range(0, 2000, 100):
        await hand.commit(*[note(f"number {n} says something or other") for n in range(start, start + 100)])
    before = (await store.stats()).database_bytes
    assert len(await store.search("n 1001 something")) == 1
    assert (await store.stats()).database_bytes < 2 * before


async def test_an_append_without_blobs_and_care_is_two_statements(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    hand = await begun(doubtful.store)
    said: list[str] = []
    doubtful.opened[-1].db.set_trace_callback(said.append)
    await hand.commit(note("x"))
    doubtful.opened[-1].db.set_trace_callback(None)
    words = [statement.split()[0] for statement in said if "PRAGMA" not in statement]
    assert words == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
    await doubtful.store.close()


@pytest.mark.parametrize("how", ["prune", "delete"])
async def test_mass_deletion_does_not_leave_a_long_log(
    store: SqliteStore, hand: Hand, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CHECKPOINT_AT_LATEST", workers.CHECKPOINT_WHEN_IDLE)
    for _ in range(30):
        await hand.commit(*[note("x" * 300)] * 400)
    await hand.commit(ANCHOR)
    await store.vacuum()
    log = Path(f"{store.path}-wal")
    if how == "prune":
        await hand.commit(Pruned(hand.seq - 1, hand.seq - 1), release=True)
    else:
        await hand.commit(release=True)
        await store.delete("s", now=NOW)
    size = log.stat().st_size
    await store.create(new("t"))
    await store.create(new("u"))
    assert log.stat().st_size == size, "the log was written to its end and begun again"


SECRET = b"open sesame"


@pytest.mark.parametrize("searched", [False, True])
async def test_after_vacuum_nothing_of_what_was_erased_is_on_the_disk(
    store: SqliteStore, hand: Hand, tmp_path: Path, searched: bool
) -> None:
    words = SECRET.decode()
    await hand.commit(about(SECRET, words), note(words), ANCHOR, blobs=named(SECRET))
    (erased,) = await hand.commit(note(words))
    await hand.commit(*[note(f"{n} {'filler' * 20}") for n in range(200)])
    deleted = Hand(store, await store.create(new("t", metadata={"k": words})))
    await deleted.claim(note(words))
    if searched:
        assert len(await store.search("sesame")) == 4
    await hand.commit(erasure_of(erased), Pruned(2, 2))
    await deleted.commit(release=True)
    await store.delete("t", now=NOW)
    await store.vacuum()
    found = [path.name for path in tmp_path.iterdir() if path.is_file() and b"sesame" in path.read_bytes()]
    assert found == []


async def test_vacuum_says_who_is_in_the_way(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db", busy_timeout=0.2)
    hand = await begun(store)
    with closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        await hand.commit(note("x"))
        with pytest.raises(StoreBusy) as caught:
            await store.vacuum()
        assert caught.value.path == store.path
    await store.vacuum()
    await intact(store, hand)
    await store.close()


# -- damage


async def test_a_damaged_blob_is_not_handed_out(store: SqliteStore, hand: Hand) -> None:
    await hand.commit(about(b"data"), blobs=named(b"data"))
    change(store.path, "UPDATE blobs SET body = x'00'")
    with pytest.raises(StoreCorrupt) as caught:
        await store.read_blob(blob_id(b"data"))
    assert caught.value.path == store.path


@pytest.mark.parametrize(
    "tampering",
    [
        'UPDATE entries SET body = \'{"text":"evil","topic":"t"}\' WHERE id & 4294967295 = 1',
        "UPDATE entries SET body_digest = NULL WHERE id & 4294967295 = 1",
        "UPDATE entries SET body_digest = zeroblob(16) WHERE id & 4294967295 = 1",
        "UPDATE entries SET body = '{}' WHERE kind = 'erased'",
        "UPDATE sessions SET base_digest = zeroblob(16)",
    ],
)
async def test_tampering_with_an_erasure_is_detected(store: SqliteStore, hand: Hand, tampering: str) -> None:
    entry, _ = await hand.commit(note("said"), note("also"))
    await hand.commit(erasure_of(entry))
    change(store.path, tampering)
    row, entries = await store.load("s", whole=True)
    with pytest.raises((StoreCorrupt, JournalTooNew)):
        verify(entries, base_seq=row.base_seq, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    with pytest.raises((StoreCorrupt, JournalTooNew)):
        replay(entries, base_seq=row.base_seq, base_digest=row.base_digest)


# -- faults


async def test_care_whose_answer_is_lost_is_done_once(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    store = doubtful.store
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    doubtful.fail("after")
    secret, _ = await hand.commit(about(b"secret"), about(b"kept"), blobs=named(b"secret", b"kept"))
    doubtful.fail("after")
    await hand.commit(erasure_of(secret))
    doubtful.fail("after")
    await hand.commit(ANCHOR, Pruned(1, 1))
    assert await store.list_blobs("s") == {blob_id(b"kept")}
    _, entries = await verified(store, "s")
    assert [entry.seq for entry in entries] == [2, 3, 4, 5]
    await store.close()


async def test_care_that_was_not_done_changes_nothing(tmp_path: Path) -> None:
    doubtful = Doubtful(tmp_path / "sessions.db")
    store = doubtful.store
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    secret, _, _ = await hand.commit(about(b"secret"), note("kept"), ANCHOR, blobs=named(b"secret"))
    before = await verified(store, "s")
    for fact in (erasure_of(secret), Pruned(2, 2)):
        doubtful.fail("before")
        with pytest.raises(StoreIOError):
            await hand.commit(fact, blobs=named(b"more"))
        assert await verified(store, "s") == before
        assert await store.list_blobs("s") == {blob_id(b"secret")}
        with pytest.raises(BlobNotFound):
            await store.read_blob(blob_id(b"more"))
    await hand.commit(Pruned(2, 2))
    await store.close()


async def test_refused_care_leaves_its_neighbours_alone(store: SqliteStore) -> None:
    hands = [Hand(store, await store.create(new(f"s{number}"))) for number in range(6)]
    for hand in hands:
        await hand.claim(note("x"), ANCHOR)
    appends = [hand.plan(Pruned(1 if number % 2 else 2, 1 if number % 2 else 2)) for number, hand in enumerate(hands)]
    jobs = [store.append(append) for append in appends]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [result is None for result in results] == [False, True] * 3
    assert [(await store.get(hand.id)).base_seq for hand in hands] == [0, 1] * 3


async def test_a_full_disk_keeps_no_part_of_a_blob(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    store = SqliteStore(small_disk / "sessions.db")
    hand = await begun(store)
    data = bytes(range(256)) * 1600
    with pytest.raises(StoreFull) as caught:
        await hand.commit(about(data), blobs=named(data))
    assert caught.value.path == store.path
    with pytest.raises(BlobNotFound):
        await store.read_blob(blob_id(data))
    ballast.unlink()
    await intact(store, hand)
    await store.close()


async def test_a_disk_too_full_for_vacuum_loses_nothing(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "sessions.db")
    hand = await begun(store)
    with pytest.raises(StoreFull):
        await fill(hand)
    with pytest.raises(StoreFull):
        await store.vacuum()
    row, entries = await store.load("s")
    verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    assert row.head_seq == hand.seq
    await store.close()
