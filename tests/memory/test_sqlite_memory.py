"""SqliteMemory: finds what it was told, in any script, keeps apart what belongs apart, and forgets in earnest."""

import sqlite3
import threading
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power_loop import AgentMessage, MessageRole
from power_loop.facts.errors import ConfigError, StoreClosed, StoreCorrupt, StoreError, StoreUnavailable
from power_loop.memory import SqliteMemory
from power_loop.memory.words import MAX_QUERY_WORDS, query_of, terms_of
from power_loop.ports.memory import MemorySnapshot, memory_note, memory_tokens
from power_loop.testing import FakeClock


def user(text: str) -> AgentMessage:
    return AgentMessage(MessageRole.USER, text)


def snapshot(asked: str, answered: str, *, session: str = "s1", status: str = "completed") -> MemorySnapshot:
    return MemorySnapshot(session, (user(asked), AgentMessage(MessageRole.ASSISTANT, answered)), answered, 1, status)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "below" / "memory.db"


@pytest.fixture
async def memory(path):
    async with SqliteMemory(path) as memory:
        yield memory


async def recalled(memory, *messages, session="new", **options) -> list[str]:
    asked = [message if isinstance(message, AgentMessage) else user(message) for message in messages]
    return [message.text for message in await memory.recall(messages=asked, session_id=session, **options)]


async def found(memory, query, **options) -> list[str]:
    return [item.text for item in await memory.search(query, **options)]


# -- recall and remember


async def test_another_session_recalls_what_was_said(memory):
    told = snapshot("My cat is called Tom.", "A fine name.")
    await memory.remember(snapshot=told, session_id="s1")
    assert await recalled(memory, "What is the name of my cat?") == [
        "Asked: My cat is called Tom.\nAnswered: A fine name."
    ]


async def test_a_session_does_not_recall_itself(memory):
    await memory.remember(snapshot=snapshot("My cat is Tom.", "Ah."), session_id="s1")
    assert await recalled(memory, "cat", session="s1") == []


async def test_only_the_newest_input_is_asked_about(memory):
    await memory.add("cats sleep")
    await memory.add("dogs bark")
    assert await recalled(memory, "cats?", AgentMessage(MessageRole.ASSISTANT, "cats"), "and dogs?") == ["dogs bark"]
    assert await recalled(memory) == []


async def test_recalled_text_is_neither_asked_with_nor_recalled_again(memory):
    await memory.add("cats like tea")
    await memory.add("dogs like tea")
    await memory.add("parrots know what recalled tea is")
    note = user(memory_note([user("cats like tea")]))
    assert "cats like tea" not in await recalled(memory, "who likes tea", note)
    assert await recalled(memory, "dogs", note) == ["dogs like tea"]


async def test_recalled_text_is_not_remembered_as_news(memory):
    note = user(memory_note([user("the launch code is 4711")]))
    told = MemorySnapshot("s1", (user("hello there"), note), "General greeting.")
    await memory.remember(snapshot=told, session_id="s1")
    assert await found(memory, "launch code 4711") == []
    assert await found(memory, "hello") == ["Asked: hello there\nAnswered: General greeting."]


async def test_recall_keeps_its_budget(memory):
    for number in range(30):
        await memory.add(f"cat number {number} " + "purrs " * 20)
    some = await memory.recall(messages=[user("cat")], session_id="new", budget_tokens=200)
    assert 1 < len(some) < 30
    assert memory_tokens(memory_note(some)) <= 200
    assert await recalled(memory, "cat", budget_tokens=0) == []


@pytest.mark.parametrize(
    ("status", "count"), [("completed", 1), ("hit_round_limit", 1), ("cancelled", 0), ("error", 0)]
)
async def test_runs_that_gave_no_answer_are_not_remembered(memory, status, count):
    await memory.remember(snapshot=snapshot("cat?", "[said nothing]", status=status), session_id="s1")
    assert len(await memory.search("")) == count


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_host_says_what_is_worth_remembering(path, asynchronous):
    def facts(told):
        return [f"{told.metadata['user']} asked", " ", told.final_text]

    async def facts_async(told):
        return facts(told)

    async with SqliteMemory(path, extract=facts_async if asynchronous else facts) as memory:
        told = MemorySnapshot("s1", (), "Tom", metadata={"user": "ada"})
        await memory.remember(snapshot=told, session_id="s1")
        assert sorted(await found(memory, "")) == ["Tom", "ada asked"]


async def test_a_very_long_exchange_is_cut(memory):
    await memory.remember(snapshot=snapshot("cat " * 5000, "dog " * 5000), session_id="s1")
    (text,) = await found(memory, "dog")
    assert len(text) <= 4000
    assert "characters cut" in text


# -- finding


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("我每天早上喝绿茶", "绿茶"),
        ("我每天早上喝绿茶", "你喜欢绿茶吗?"),
        ("我每天早上喝绿茶", "茶"),
        ("東京に住んでいます", "東京"),
        ("コーヒーが好き", "コーヒー"),
        ("ｺｰﾋｰが好き", "コーヒー"),
        ("서울에 살아요", "서울"),
        ("ฉันชอบกาแฟ", "กาแฟ"),
        ("मुझे चाय पसंद है", "चाय"),
        ("Она живёт в Москве", "Москве".upper()),
        ("Er trinkt im Café", "cafe"),
        ("She likes dishes", "a dish"),
        ("error E1234 in parse_config()", "parse_config"),
        ("\uff26\uff55\uff4c\uff4c width", "full"),
        ("Version 3.11.7 of C++", "3.11.7"),
        ("lives in 杭州, drinks tea", "杭州"),
    ],
)
async def test_words_of_any_script_are_found(memory, text, query):
    await memory.add(text)
    await memory.add("something else entirely 完全に違う別件 전혀 다른")
    assert await found(memory, query) == [text]


@pytest.mark.parametrize(
    "query",
    ['"', "'", "NEAR(a b)", "a AND NOT", "terms:x", "(", "*", "^a", "-", "a\0b", "\ud800", "_", "{}", "ﷺ", "x" * 9999],
)
async def test_nothing_in_a_query_is_syntax(memory, query):
    await memory.add("some text")
    assert isinstance(await memory.search(query), list)
    assert isinstance(await recalled(memory, query), list)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_indexed_and_asked_for(index, text):
    index.execute("DELETE FROM t")
    index.execute("INSERT INTO t VALUES (?)", (terms_of(text),))
    query = query_of(text)
    if query:
        index.execute("SELECT count(*) FROM t WHERE t MATCH ?", (query,)).fetchone()


@pytest.fixture(scope="module")
def index():
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (x, tokenize='porter unicode61 remove_diacritics 2')")
        yield db


def test_words_that_tell_nothing_are_not_asked_for():
    assert query_of("What is it, and where would you have it?") == ""
    assert query_of("What is the CAPITAL of Peru? Peru!") == '"capital" OR "peru"'
    assert query_of("茶 绿茶") == '"茶" OR "绿茶"'


def test_a_long_question_is_bounded():
    assert query_of(" ".join(f"w{number}" for number in range(1000))).count(" OR ") == MAX_QUERY_WORDS - 1
    assert query_of("".join(chr(0x4E00 + number) for number in range(1000))).count(" OR ") == MAX_QUERY_WORDS - 1


async def test_nearer_ones_come_first_and_newer_ones_of_the_same_rank(path):
    clock = FakeClock()
    async with SqliteMemory(path, clock=clock) as memory:
        for text in ("tea one", "tea two", "tea and cake", "nothing of it"):
            await memory.add(text)
            clock.advance(1)
        assert await found(memory, "tea cake") == ["tea and cake", "tea two", "tea one"]
        assert await found(memory, "", limit=2) == ["nothing of it", "tea and cake"]
        assert await found(memory, "?!") == []


# -- apart and once


async def test_nothing_is_told_twice(path):
    clock = FakeClock()
    async with SqliteMemory(path, clock=clock) as memory:
        assert await memory.add("Cats like tea.")
        clock.advance(1)
        assert not await memory.add("  cats LIKE\ntea. ")
        (only,) = await memory.search("cats")
        assert (only.text, only.seen_at - only.created_at) == ("Cats like tea.", 1000)


async def test_a_snapshot_that_comes_again_after_a_crash_changes_nothing(memory):
    told = snapshot("My cat is Tom.", "Ah.")
    await memory.remember(snapshot=told, session_id="s1")
    await memory.remember(snapshot=told, session_id="s1")
    assert len(await memory.search("")) == 1


async def test_namespaces_share_nothing(path):
    async with SqliteMemory(path, namespace=lambda session: session.split("-")[0]) as memory:
        await memory.remember(snapshot=snapshot("My cat is Tom.", "Ah."), session_id="ada-1")
        await memory.remember(snapshot=snapshot("My cat is Tom.", "Ah."), session_id="bob-1")
        assert len(await recalled(memory, "cat", session="ada-2")) == 1
        assert await recalled(memory, "cat", session="eve-1") == []
        assert await found(memory, "cat", namespace="bob") != []
        assert await memory.forget_namespace("bob") == 1
        assert len(await recalled(memory, "cat", session="ada-2")) == 1
        assert await recalled(memory, "cat", session="bob-2") == []


# -- forgetting


def bytes_of(path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_what_is_forgotten_leaves_no_bytes_in_the_files(memory, path):
    await memory.add("the password is xyzzyplugh", session_id="s1")
    await memory.add("the weather is fine")
    assert b"xyzzyplugh" in bytes_of(path)
    (found_,) = await memory.search("xyzzyplugh")
    assert await memory.forget(found_.id) == 1
    assert await memory.search("xyzzyplugh") == []
    assert b"xyzzyplugh" not in bytes_of(path)
    assert await found(memory, "weather") == ["the weather is fine"]


async def test_a_session_can_be_forgotten(memory):
    for session in ("s1", "s2"):
        await memory.add(f"cats of {session}", session_id=session)
    assert await memory.forget_session("s1") == 1
    assert await found(memory, "cats") == ["cats of s2"]
    assert await memory.forget_session("s1") == await memory.forget() == await memory.forget(99) == 0


async def test_what_was_forgotten_can_be_told_anew(memory):
    await memory.add("cats")
    (found_,) = await memory.search("cats")
    await memory.forget(found_.id)
    assert await memory.add("cats")
    assert (await memory.search("cats"))[0].id != found_.id


# -- the file


async def test_memories_outlive_the_object(path):
    async with SqliteMemory(path) as memory:
        await memory.add("cats")
    async with SqliteMemory(path) as memory:
        assert await found(memory, "cats") == ["cats"]
    assert not path.with_name("memory.db-wal").exists()


async def test_nothing_runs_on_the_event_loop(path):
    threads = set()
    memory = SqliteMemory(path)
    work = memory._file._write
    memory._file._write = lambda *args, **options: (threads.add(threading.current_thread()), work(*args, **options))[1]
    await memory.add("cats")
    await memory.close()
    assert threads
    assert threading.main_thread() not in threads


async def test_durability_is_not_lowered(memory):
    assert await memory._file.read(lambda db: db.execute("PRAGMA synchronous").fetchone()[0]) == 2
    assert await memory._file.read(lambda db: db.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


async def test_text_that_no_file_can_hold_is_made_holdable(memory):
    await memory.add("cats\0 \ud800")
    assert await found(memory, "cats") == ["cats\ufffd \ufffd"]


async def test_a_closed_memory_says_so(memory):
    await memory.add("cats")
    await memory.close()
    await memory.close()
    with pytest.raises(StoreClosed):
        await memory.add("dogs")


async def test_a_damaged_file_is_said_and_left_alone(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database, but quite long" * 100)
    async with SqliteMemory(path) as memory:
        with pytest.raises(StoreCorrupt, match=str(path)):
            await memory.add("cats")
    assert path.read_bytes().startswith(b"not a database")


async def test_a_database_of_another_program_is_left_alone(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    async with SqliteMemory(path) as memory:
        with pytest.raises(StoreUnavailable, match="another program"):
            await memory.search("cats")
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_release_is_left_alone(path):
    async with SqliteMemory(path) as memory:
        await memory.add("cats")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")
    async with SqliteMemory(path) as memory:
        with pytest.raises(StoreUnavailable, match="newer release"):
            await memory.add("dogs")


async def test_it_goes_on_when_the_cause_is_gone(path):
    path.parent.write_text("a file where a folder should be")
    async with SqliteMemory(path) as memory:
        with pytest.raises(StoreError):
            await memory.add("cats")
        path.parent.unlink()
        assert await memory.add("cats")


async def test_a_failed_write_leaves_nothing(memory):
    def work(db):
        db.execute("INSERT INTO memories VALUES (NULL, '', x'00', '', 0, 0, 'half', 'half')")
        db.execute("INSERT INTO memories VALUES (NULL, '', x'00', '', 0, 0, 'half', 'half')")

    with pytest.raises(StoreError):
        await memory._file.write(work)
    assert await memory.search("half") == []
    assert await memory.add("whole")


@pytest.mark.parametrize("path_", ["", ":memory:"])
def test_a_path_is_needed(path_):
    with pytest.raises(ConfigError):
        SqliteMemory(path_)


async def test_a_blank_memory_is_refused(memory):
    with pytest.raises(ConfigError):
        await memory.add(" \n")
