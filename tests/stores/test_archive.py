"""Export and import: a session as a file, checked both ways."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.entries import InputReceived, Pruned
from power_loop.facts.erasure import erasure_of
from power_loop.facts.errors import (
    InvalidInputError,
    JournalTooNew,
    SessionExistsError,
    SessionNotFoundError,
    StoreCorrupt,
    StoreError,
    StoreFull,
)
from power_loop.ports.store import SessionRecord, SessionStore, SubagentLifecycle
from power_loop.stores import MemoryStore, SqliteStore
from power_loop.stores import archive_format as form
from power_loop.stores.archive import export_session, import_session
from power_loop.stores.archive_format import PIECE, EntryLine, entry_line
from power_loop.testing.conformance.base import ANCHOR, NOW, Hand, about, named, new, note, verified
from power_loop.testing.conformance.texts import HOSTILE

BIG = bytes(range(256)) * (PIECE // 100)


def made(kind: str, folder: Path, name: str) -> SessionStore:
    return MemoryStore() if kind == "memory" else SqliteStore(folder / f"{name}.db")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    store = made(request.param, tmp_path, "here")
    yield store
    await store.close()


@pytest.fixture(params=["memory", "sqlite"])
async def there(request, tmp_path):
    store = made(request.param, tmp_path, "there")
    yield store
    await store.close()


async def told(store: SessionStore, session_id: str = "s") -> Hand:
    """A session with everything: pruned, erased, compacted, with blobs, hostile text and a waiting command."""
    hand = Hand(store, await store.create(new(session_id, config={"a": [1]}, metadata={"née": None})))
    await hand.claim(note("first"), about(b"gone"))
    await hand.commit(note("more"), blobs=named(b"gone"))
    await hand.commit(ANCHOR, *[note(text) for text in HOSTILE.values()])
    secret, _ = await hand.commit(InputReceived(content="secret"), about(BIG), blobs=named(BIG, b"", b"gone"))
    await hand.commit(erasure_of(secret))
    await hand.commit(Pruned(3, 3), release=True)
    await store.enqueue(session_id, "input", '{"content":"waiting"}', now=5)
    return hand


async def whole(store: SessionStore, session_id: str) -> tuple[SessionRecord, list[EntryLine]]:
    row, entries = await verified(store, session_id)
    return row, [entry_line(entry) for entry in entries]


async def test_a_session_comes_back_as_it_was(store, there, tmp_path):
    await told(store)
    path = tmp_path / "s.jsonl"
    assert await export_session(store, "s", path) == ("s",)
    assert await import_session(there, path) == ("s",)
    assert await whole(there, "s") == await whole(store, "s")
    assert await there.list_blobs("s") == await store.list_blobs("s")
    assert await there.read_blob(blob_id(BIG)) == BIG
    assert [row.body for row in await there.inbox("s")] == ['{"content":"waiting"}']
    hand = Hand(there, await there.get("s"))
    await hand.claim(note("goes on"))
    await verified(there, "s")


async def test_a_file_object_will_do(store, there):
    await told(store)
    file = io.BytesIO()
    await export_session(store, "s", file)
    file.seek(0)
    await import_session(there, file)
    assert await whole(there, "s") == await whole(store, "s")


async def test_children_follow_their_parent(store, there, tmp_path):
    linked = SubagentLifecycle.LINKED
    await told(store, "p")
    await store.create(new("c", parent_id="p", kind="subagent", lifecycle=linked, depth=1))
    await store.create(new("g", parent_id="c", kind="subagent", depth=2))
    await store.create(new("d", parent_id="p", kind="subagent", lifecycle=SubagentLifecycle.DETACHED, depth=1))
    assert await export_session(store, "p", tmp_path / "p", children=True) == ("p", "d", "c", "g")
    assert await import_session(there, tmp_path / "p") == ("p", "d", "c", "g")
    for name in ("p", "c", "g", "d"):
        assert await there.get(name) == await store.get(name)
    await export_session(store, "p", tmp_path / "alone")
    assert (tmp_path / "alone").read_text().count('"line":"session"') == 1


async def test_a_child_without_its_parent_becomes_a_root(store, there, tmp_path):
    await store.create(new("p"))
    await store.create(new("c", parent_id="p", kind="subagent"))
    await export_session(store, "c", tmp_path / "c")
    await import_session(there, tmp_path / "c")
    record = await there.get("c")
    assert (record.parent_id, record.kind) == (None, "root")


async def test_an_id_that_is_there_is_not_touched(store, tmp_path):
    await told(store)
    before = await verified(store, "s")
    await export_session(store, "s", tmp_path / "s")
    with pytest.raises(SessionExistsError):
        await import_session(store, tmp_path / "s")
    assert await verified(store, "s") == before


async def test_under_a_new_id_the_journal_is_sealed_anew(store, tmp_path):
    await told(store)
    await export_session(store, "s", tmp_path / "s")
    assert await import_session(store, tmp_path / "s", new_id="copy") == ("copy",)
    row, entries = await verified(store, "copy")
    _, originals = await verified(store, "s")
    assert row.base_digest == base_digest("copy")
    assert [(e.seq, e.body, e.body_digest) for e in entries] == [(e.seq, e.body, e.body_digest) for e in originals]
    assert entries[0].digest != originals[0].digest
    await store.delete("s", now=NOW)
    assert await store.read_blob(blob_id(BIG)) == BIG
    await Hand(store, row).claim(note("goes on"))
    await verified(store, "copy")


async def test_a_family_keeps_its_ids(store, tmp_path):
    await store.create(new("p"))
    await store.create(new("c", parent_id="p"))
    await export_session(store, "p", tmp_path / "p", children=True)
    with pytest.raises(InvalidInputError, match="new_id"):
        await import_session(store, tmp_path / "p", new_id="q")
    assert {record.id for record in await store.list()} == {"p", "c"}


async def test_a_family_is_imported_whole_or_not_at_all(store, there, tmp_path):
    for name, parent in (("p", None), ("a", "p"), ("b", "p")):
        await store.create(new(name, parent_id=parent))
    await export_session(store, "p", tmp_path / "p", children=True)
    await there.create(new("a", metadata={"mine": True}))
    with pytest.raises(SessionExistsError):
        await import_session(there, tmp_path / "p")
    assert [(record.id, record.metadata) for record in await there.list()] == [("a", {"mine": True})]


async def test_a_missing_session_leaves_no_file(store, tmp_path):
    with pytest.raises(SessionNotFoundError):
        await export_session(store, "nobody", tmp_path / "s")
    assert [path for path in tmp_path.iterdir() if "db" not in path.name] == []


async def test_a_session_that_is_driven_is_exported_at_one_moment(store, there, tmp_path):
    hand = Hand(store, await store.create(new("s")))
    await hand.claim()

    async def drive():
        for number in range(60):
            await hand.commit(note(f"{number}"), about(f"{number}".encode()), blobs=named(f"{number}".encode()))

    driving = asyncio.ensure_future(drive())
    while not (await store.get("s")).head_seq:
        await asyncio.sleep(0)
    await export_session(store, "s", tmp_path / "s")
    await driving
    await import_session(there, tmp_path / "s")
    row, entries = await verified(there, "s")
    all_of_it = (await verified(store, "s"))[1]
    assert [entry.digest for entry in entries] == [entry.digest for entry in all_of_it[: len(entries)]]
    assert (row.lease, row.epoch) == (None, 1)


# -- files that are not what they should be


@pytest.fixture
async def lines(tmp_path) -> list[bytes]:
    store = MemoryStore()
    await told(store)
    await export_session(store, "s", tmp_path / "s")
    return (tmp_path / "s").read_bytes().splitlines(keepends=True)


def changed(lines: list[bytes], kind: str, /, **fields: Any) -> list[bytes]:
    """Change fields of the last line of a kind."""
    place = max(number for number, line in enumerate(lines) if json.loads(line).get("line") == kind)
    return [*lines[:place], json.dumps({**json.loads(lines[place]), **fields}).encode() + b"\n", *lines[place + 1 :]]


async def refused(lines: list[bytes], error: type[Exception]) -> None:
    store = MemoryStore()
    with pytest.raises(error):
        await import_session(store, io.BytesIO(b"".join(lines)))
    assert list(await store.list()) == []
    assert (await store.stats()).database_bytes == 0


@pytest.mark.parametrize("what", [b"", b"a letter\n", b"{}\n", b'{"power_loop_archive":"one"}\n', b"\xff\xfe\n"])
async def test_what_is_no_archive_is_refused(what):
    await refused([what], StoreCorrupt)


async def test_an_archive_of_a_newer_format_is_refused_in_words(lines):
    future = b'{"power_loop_archive":2,"more":"unheard of"}\n'
    await refused([future, *lines[1:]], JournalTooNew)
    await refused([future, b"binary \x00\xff"], JournalTooNew)


async def test_an_archive_that_was_cut_off_imports_nothing(lines):
    for end in range(len(lines)):
        await refused(lines[:end], StoreCorrupt)
    await refused([*lines[:-1], lines[-1][:5]], StoreCorrupt)


async def test_a_line_that_is_missing_or_doubled_is_noticed(lines):
    for place in range(1, len(lines)):
        await refused([*lines[:place], *lines[place + 1 :]], StoreCorrupt)
        await refused([*lines[: place + 1], *lines[place:]], StoreCorrupt)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("session", {"id": "t"}),
        ("session", {"head_seq": 3}),
        ("session", {"base_seq": 1}),
        ("entry", {"body": "{}"}),
        ("entry", {"time": 1}),
        ("entry", {"digest": "AAAA"}),
        ("entry", {"kind": "note"}),
        ("entry", {"unheard": "of"}),
        ("blob", {"data": "AAAA"}),
        ("blob", {"blob": blob_id(b"other")}),
        ("end", {"pieces": 7}),
        ("closing", {"sessions": 2}),
    ],
)
async def test_a_changed_line_is_noticed(lines, kind, fields):
    if kind == "session" and "id" in fields:  # an id is proved by the chain of a journal that was never pruned
        store = MemoryStore()
        await store.create(new("s"))
        await export_session(store, "s", file := io.BytesIO())
        lines = file.getvalue().splitlines(keepends=True)
    await refused(changed(lines, kind, **fields), StoreCorrupt)


LARGE = 1 << 70
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("session", {"epoch": LARGE}),
        ("session", {"epoch": -1}),
        ("session", {"created_at": LARGE}),
        ("session", {"depth": LARGE}),
        ("session", {"base_seq": 1 << 40}),
        ("entry", {"run": LARGE}),
        ("entry", {"seq": 1 << 32}),
        ("command", {"created_at": LARGE}),
        ("session", {"base_digest": "AAAA"}),
        ("session", {"config": "deep"}),
    ],
)
async def test_figures_that_no_store_can_keep_are_refused(lines, tmp_path, kind, fields):
    """A forged file has right digests: they are no secret."""
    lines = [line.replace(b'"deep"', b'{"a":%s}' % DEEP.encode()) for line in changed(lines, kind, **fields)]
    await refused(lines, StoreCorrupt)
    store = SqliteStore(tmp_path / "here.db")
    with pytest.raises(StoreCorrupt, match="line"):
        await import_session(store, io.BytesIO(b"".join(lines)))
    await store.close()


async def test_entries_beyond_the_numbers_of_a_session_reach_no_other(tmp_path):
    """SQLite keeps key and number in one column: entry 2**32 + 1 of one session would be entry 1 of the next."""
    store = SqliteStore(tmp_path / "here.db")
    (entry,) = seal_all([note("forged")], head_seq=1 << 32, head_digest=bytes(16), run=1, round_=0, time=1)
    row = form.SessionLine("s", 1, 1 << 32, bytes(16), entry.seq, entry.digest, 1)
    lines = [form.Header(1), row, entry_line(entry), form.EndLine(1, 0, 0), form.ClosingLine(1)]
    with pytest.raises(StoreCorrupt, match="base_seq"):
        await import_session(store, io.BytesIO(b"".join(map(form.encode, lines))))
    await store.close()


async def test_a_damaged_journal_is_not_exported(tmp_path):
    store = MemoryStore()
    await told(store)
    store._sessions["s"].entries[2].time += 1
    with pytest.raises(StoreCorrupt):
        await export_session(store, "s", tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_cannot_be_read_or_written_is_typed(tmp_path):
    store = MemoryStore()
    await told(store)
    for attempt in (
        import_session(store, tmp_path / "nowhere"),
        import_session(store, tmp_path),
        export_session(store, "s", tmp_path / "no folder" / "s"),
    ):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert str(tmp_path) in caught.value.path


async def test_a_full_disk_keeps_the_old_file(small_disk):
    store = MemoryStore()
    await told(store)
    (small_disk / "s").write_text("old")
    with pytest.raises(StoreFull):
        await export_session(store, "s", small_disk / "s")
    assert (small_disk / "s").read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["s"]
