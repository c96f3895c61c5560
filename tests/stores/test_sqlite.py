"""What is SQLite's own: the file, the schema, the views, the settings, the digests over stored bytes."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from power_loop.facts.chain import verify
from power_loop.facts.entries import (
    InputReceived,
    ModelCalled,
    ModelReplied,
    Note,
    RecordedCall,
    RunEnded,
    ToolFinished,
    ToolStarted,
)
from power_loop.facts.errors import ConfigError, JournalTooNew, StoreCorrupt, StoreForked, StoreUnavailable
from power_loop.facts.messages import Text
from power_loop.facts.usage import LLMTokenUsage
from power_loop.stores import MemoryStore, SqliteStore, open_store
from power_loop.stores.sqlite import sql
from power_loop.stores.sqlite.connection import Connection, connect_sqlite3, run_script
from power_loop.testing.conformance.base import NOW, Hand, new
from power_loop.testing.conformance.texts import HOSTILE

VIEWS = ["journal", "messages", "tool_calls", "usage_rounds", "compactions", "session_state"]


def rows(path: str | Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def change(path: str | Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


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


def test_making_a_store_touches_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sub" / "sessions.db")
    assert store.path == str(tmp_path / "sub" / "sessions.db")
    assert store.identity
    assert list(tmp_path.iterdir()) == []


async def test_closing_cleanly_leaves_one_database_file(store: SqliteStore, tmp_path: Path) -> None:
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    await hand.commit(Note(topic="t", text="x"), release=True)
    await store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "sessions.db",
        "sessions.db-drivers",
        "sessions.db-lock",
    ]
    assert list((tmp_path / "sessions.db-drivers").iterdir()) == []


@pytest.mark.parametrize("path", ["", ":memory:", "file:x.db"])
def test_what_is_not_a_file_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="MemoryStore"):
        SqliteStore(path)


def test_open_store_knows_memory(tmp_path: Path) -> None:
    assert isinstance(open_store(":memory:"), MemoryStore)
    assert isinstance(open_store(str(tmp_path / "x.db")), SqliteStore)


async def test_the_threads_end_with_the_last_store(tmp_path: Path) -> None:
    def ours() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("power-loop-sqlite")}

    before = ours()
    first, second = [SqliteStore(tmp_path / "sessions.db") for _ in range(2)]
    await first.create(new("a"))
    await second.list()
    started = ours() - before
    assert len(started) == 2
    await first.close()
    assert all(thread.is_alive() for thread in started)
    await second.get("a")
    await second.close()
    for thread in started:
        await asyncio.to_thread(thread.join)
    assert ours() <= before


async def test_every_connection_that_writes_is_full_in_wal_and_overwrites_what_it_deletes(tmp_path: Path) -> None:
    opened: list[Connection] = []

    def connect(path: str, *, readonly: bool) -> Connection:
        db = connect_sqlite3(path, readonly=readonly)
        db.execute("PRAGMA secure_delete=OFF")  # as most builds have it
        if not readonly:
            opened.append(db)
        return db

    store = SqliteStore(tmp_path / "sessions.db", connect=connect)
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()
    await store.renew("s", hand.epoch, NOW.plus(60))
    (db,) = opened
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    assert db.execute("PRAGMA secure_delete").fetchone() == (1,)
    await store.close()


async def test_a_driver_that_does_not_take_full_is_refused(tmp_path: Path) -> None:
    class Careless:
        def __init__(self, db: Any) -> None:
            self.db = db

        def __getattr__(self, name: str) -> Any:
            return getattr(self.db, name)

        def execute(self, statement: str, *parameters: Any) -> Any:
            return self.db.execute(statement.replace("synchronous=FULL", "synchronous=NORMAL"), *parameters)

    store = SqliteStore(
        tmp_path / "sessions.db", connect=lambda path, *, readonly: Careless(connect_sqlite3(path, readonly=readonly))
    )
    with pytest.raises(StoreUnavailable, match="FULL"):
        await store.create(new("s"))
    await store.close()


async def test_readers_cannot_write(tmp_path: Path) -> None:
    modes: list[bool] = []

    def connect(path: str, *, readonly: bool) -> Connection:
        modes.append(readonly)
        return connect_sqlite3(path, readonly=readonly)

    store = SqliteStore(tmp_path / "sessions.db", connect=connect)
    await store.list()
    assert sorted(modes) == [False, True]
    await store.close()


def schema_of(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    found = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {(kind, name, "".join((text or "").split())) for kind, name, text in found}


def test_migrations_make_the_schema() -> None:
    def made(*scripts: str) -> set[tuple[str, str, str]]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            for script in scripts:
                run_script(db, script)
            return schema_of(db)

    assert made(sql.schema()) == made(*(sql.migration(*which) for which in sql.MIGRATIONS))


async def test_an_older_schema_is_migrated(store: SqliteStore, hand: Hand) -> None:
    await hand.commit(Note(topic="t", text="kept"))
    await store.close()
    with closing(sqlite3.connect(store.path)) as db, db:
        for view in reversed(VIEWS):
            db.execute(f"DROP VIEW {view}")
        db.execute("DELETE FROM schema_migrations WHERE version = 2")
    again = SqliteStore(store.path)
    assert len(await again.read("s")) == 1
    assert rows(store.path, "SELECT content FROM messages") == [("kept",)]
    assert rows(store.path, "SELECT version, name FROM schema_migrations") == list(sql.MIGRATIONS)
    await again.close()


async def test_a_newer_schema_is_not_touched(store: SqliteStore) -> None:
    await store.create(new("s"))
    await store.close()
    change(store.path, "INSERT INTO schema_migrations VALUES (99, 'future', 0)")
    again = SqliteStore(store.path)
    with pytest.raises(JournalTooNew) as caught:
        await again.get("s")
    assert caught.value.path == store.path
    await again.close()


async def test_another_programs_database_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    change(path, "CREATE TABLE sessions (session_id TEXT)")
    before = path.read_bytes()
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="another program"):
        await store.create(new("s"))
    await store.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries SET body = replace(body, 'two', 'too')",
        "UPDATE entries SET time = time + 1 WHERE id & 4294967295 = 2",
        "UPDATE entries SET kind = 'model_failed' WHERE id & 4294967295 = 2",
        "UPDATE entries SET run = run + 1 WHERE id & 4294967295 = 2",
        "DELETE FROM entries WHERE id & 4294967295 = 2",
        "DELETE FROM entries WHERE id & 4294967295 = 3",
        "UPDATE entries SET digest = zeroblob(16) WHERE id & 4294967295 = 2",
        "UPDATE sessions SET head_digest = zeroblob(16)",
        "UPDATE sessions SET head_seq = 2",
    ],
)
async def test_tampering_is_detected(store: SqliteStore, hand: Hand, tampering: str) -> None:
    await hand.commit(*[Note(topic="t", text=word) for word in ("one", "two", "three")])
    await store.close()
    change(store.path, tampering)
    again = SqliteStore(store.path)
    row, entries = await again.load("s")
    with pytest.raises(StoreCorrupt):
        verify(entries, base_seq=0, base=row.base_digest, head_seq=row.head_seq, head=row.head_digest)
    await again.close()


async def test_text_that_is_not_utf8_is_corrupt(store: SqliteStore, hand: Hand) -> None:
    await hand.commit(Note(topic="t", text="x"))
    await store.close()
    change(store.path, "UPDATE entries SET body = CAST(x'ff00fe' AS TEXT)")
    again = SqliteStore(store.path)
    with pytest.raises(StoreCorrupt):
        await again.load("s")
    assert (await again.get("s")).head_seq == 1
    await again.close()


async def test_views_are_readable_when_empty(store: SqliteStore) -> None:
    await store.list()
    for view in VIEWS:
        assert rows(store.path, f"SELECT * FROM {view}") == []


async def test_views_tell_a_conversation(store: SqliteStore, hand: Hand) -> None:
    call = RecordedCall(id="wire-1", name="add", arguments={"a": 1})
    usage = LLMTokenUsage(input_tokens=10, output_tokens=4, cache_read_tokens=3)
    await hand.commit(
        InputReceived(content="what is"),
        ModelCalled(),
        ModelReplied(content=(Text("let me"), Text(" see")), calls=(call,), usage=usage, cost="0.01", model="m"),
        ToolStarted(call="call_3_0", name="add", effect="read", attempt=2),
        ToolFinished(call="call_3_0", name="add", content="2"),
        ModelReplied(content="it is 2", usage=usage),
        RunEnded(status="completed"),
    )
    assert rows(store.path, "SELECT seq, role, content FROM messages ORDER BY seq") == [
        (1, "user", "what is"),
        (3, "assistant", "let me see"),
        (5, "tool", "2"),
        (6, "assistant", "it is 2"),
    ]
    columns = "call_id, wire_id, name, arguments_json, effect, attempts, outcome, result"
    assert rows(store.path, f"SELECT {columns} FROM tool_calls") == [
        ("call_3_0", "wire-1", "add", '{"a":1}', "read", 2, "ok", "2")
    ]
    assert rows(store.path, "SELECT seq, prompt_tokens, total_tokens, cost FROM usage_rounds ORDER BY seq") == [
        (3, 10, 14, "0.01"),
        (6, 10, 14, None),
    ]
    assert rows(store.path, "SELECT run, head_seq, last_kind, last_status, inbox_rows FROM session_state") == [
        (1, 7, "run_ended", "completed", 0)
    ]


async def test_every_view_stays_readable_with_hostile_text(store: SqliteStore, hand: Hand) -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"d": deep}
    for text in HOSTILE.values():
        call = RecordedCall(id=text, name=text, arguments={text: [text]}, raw=text)
        await hand.commit(
            InputReceived(content=text),
            ModelReplied(content=(Text(text),), calls=(call, RecordedCall(id="deep", name="deep", arguments=deep))),
            ToolFinished(call=text, name=text, content=text),
            RunEnded(status="completed", final_text=text),
        )
    change(store.path, "UPDATE entries SET body = 'not json' WHERE id & 4294967295 = 1")
    for view in VIEWS:
        assert rows(store.path, f"SELECT * FROM {view}") or view == "compactions"
    contents = {content for (content,) in rows(store.path, "SELECT content FROM messages")}
    assert contents >= set(HOSTILE.values())


async def test_a_message_costs_less_than_600_bytes(store: SqliteStore, hand: Hand) -> None:
    text = "x" * 100
    for number in range(0, 1000, 5):
        call = RecordedCall(id=f"call_{number}", name="search", arguments={"query": "words"})
        call_id = f"call_{hand.seq + 3}_0"
        usage = LLMTokenUsage(input_tokens=1000, output_tokens=50)
        await hand.commit(InputReceived(content=text), ModelCalled(request="0" * 32), time=1_700_000_000_000)
        await hand.commit(
            ModelReplied(content=text, calls=(call,), usage=usage, model="model-name", finish_reason="tool_calls"),
            ToolStarted(call=call_id, name="search", key=f"s.{call_id}"),
        )
        await hand.commit(ToolFinished(call=call_id, name="search", content=text), ModelCalled(request="0" * 32))
        await hand.commit(ModelReplied(content=text, usage=usage, model="model-name"), Note(topic="todo", text=text))
        await hand.commit(RunEnded(status="completed", final_text=text, rounds=2))
    await store.close()
    assert Path(store.path).stat().st_size / 1000 < 600


async def test_a_replaced_file_is_noticed(store: SqliteStore, hand: Hand, tmp_path: Path) -> None:
    await hand.commit(Note(topic="t", text="x"))
    for path in tmp_path.glob("sessions.db*"):
        if path.is_file():
            path.unlink()
    assert list(await store.list()) == []
    await store.create(new("s"))
    await store.close()
    assert rows(store.path, "SELECT id FROM sessions") == [("s",)]


def test_a_store_made_before_a_fork_is_refused_although_unused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sessions.db")
    store._pid -= 1  # as in a child
    with pytest.raises(StoreForked):
        _ = store.owner
