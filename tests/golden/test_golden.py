"""P18: what a release has written every later one reads, continues, and adds to; what is too new it leaves alone."""

import json
import sqlite3
from pathlib import Path

import pytest
from golden import FOLDER, SESSION, derived, read, summary

from power_loop import MemoryStore, SqliteStore, StatefulAgentLoop, tool
from power_loop.decisions.replay import replay
from power_loop.facts import jsontext
from power_loop.facts.chain import base_digest, chain, seal_all, verify
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.errors import JournalTooNew, StoreCorrupt
from power_loop.facts.journal import FACTS, Entry
from power_loop.ports.store import Append, Claim, NewSession
from power_loop.testing import ScriptedLLM

JOURNALS = sorted(FOLDER.glob("journal_v*.jsonl"), key=lambda path: int(path.stem.removeprefix("journal_v")))


@pytest.fixture(params=JOURNALS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sessions.db")
    yield made
    await made.close()


def test_the_newest_journal_has_every_kind_in_its_version():
    _, entries = read(JOURNALS[-1])
    assert {(entry.kind, entry.version) for entry in entries} == {(kind, fact.version) for kind, fact in FACTS.items()}


def test_numbers_and_digests_are_right(path):
    base, entries = read(path)
    assert base == base_digest(SESSION)
    last = entries[-1]
    verify(entries, base_seq=0, base=base, head_seq=len(entries), head=last.digest)


def test_every_entry_is_decoded_and_encoded_again_to_the_same_bytes(path):
    _, entries = read(path)
    for entry in entries:
        assert jsontext.encode(entry.fact).encode() == entry.body.encode(), f"entry {entry.seq}"


def test_states_and_events_are_what_they_were(path):
    expected = json.loads(path.with_suffix(".expected.json").read_text(encoding="utf-8"))
    found = summary(*read(path))
    assert found["events"] == expected["events"]
    for place, state in expected["states"].items():
        # a later release may derive more; what was derived then must still be so
        assert {key: found["states"][place][key] for key in state} == state, f"after entry {place}"


async def put(store, entries: list[Entry], *, session: str = SESSION) -> None:
    """Put a journal into a store, as the database of its time would hold it: nobody drives."""
    now = SYSTEM_CLOCK.now()
    record = await store.create(NewSession(session, entries[0].time, tuple(entries)))
    for _ in range(max(entry.run for entry in entries)):
        record = await store.get(session)
        claim = Claim(store.owner, now.plus(30), now)
        head = record.head_seq, record.head_digest
        await store.append(Append(session, record.epoch, *head, claim=claim, release=True))


@tool(effect="read")
async def look(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


async def test_an_old_session_goes_on(store, path):
    base, entries = read(path)
    await put(store, entries)
    before = [message.to_openai_message() for message in replay(entries, base_seq=0, base_digest=base).messages]
    loop = StatefulAgentLoop(llm=ScriptedLLM("still here"), store=store, tools=[look])
    assert await loop.get_messages(SESSION) == before
    assert (await loop.send("Are you there?", SESSION)).final_text == "still here"
    asked = [message.to_openai_message() for message in loop.llm.requests[0].messages]
    assert asked[: len(before)] == before
    kept = await store.read(SESSION)
    assert [(e.seq, e.body, e.digest) for e in kept[: len(entries)]] == [(e.seq, e.body, e.digest) for e in entries]


@pytest.mark.parametrize("place", range(1, len(read(JOURNALS[-1])[1]) + 1, 3))
async def test_an_old_session_cut_off_anywhere_goes_on(place):
    store = MemoryStore()
    entries = read(JOURNALS[-1])[1][:place]
    await put(store, entries)
    loop = StatefulAgentLoop(llm=ScriptedLLM("still here", repeat=True), store=store, tools=[look])
    await loop.resume(SESSION)
    await loop.abort_pending(SESSION)
    assert (await loop.send("Are you there?", SESSION)).final_text == "still here"


# -- journals of a newer release


def strange(entries: list[Entry], kind: str, version: int, body: str) -> Entry:
    """Seal an entry that this release does not know."""
    last = entries[-1]
    at = (last.seq + 1, kind, version, last.run, last.round, last.time)
    return Entry(*at, body, chain(last.digest, *at, body))


@pytest.mark.parametrize(("kind", "version"), [("teleported", 1), ("input_received", 99)])
async def test_an_unknown_essential_entry_makes_the_session_read_only(store, kind, version):
    _, entries = read(JOURNALS[-1])
    new = strange(entries, kind, version, '{"where":"elsewhere"}')
    await put(store, [*entries, new])
    before = await store.get(SESSION)
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, tools=[look])
    for verb in (
        loop.send("hi", SESSION),
        loop.send("hi", SESSION, on_pending="abort"),
        loop.resume(SESSION),
        loop.abort_pending(SESSION),
        loop.get_messages(SESSION),
    ):
        with pytest.raises(JournalTooNew, match=kind) as caught:
            await verb
        assert caught.value.code == "journal_too_new"
        assert "pgrade" in str(caught.value)
    assert loop.llm.calls == 0
    assert await store.get(SESSION) == before
    assert (await store.read(SESSION))[-1].body == new.body
    assert (await loop.list_sessions())[0].session_id == SESSION


async def test_events_of_such_a_session_are_told_up_to_the_unknown_one(store):
    _, entries = read(JOURNALS[-1])
    await put(store, [*entries, strange(entries, "teleported", 1, "{}")])
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store)
    seqs: set[int] = set()

    async def listen():
        async for event in loop.events(SESSION):
            seqs.add(event.seq)

    with pytest.raises(JournalTooNew):
        await listen()
    assert max(seqs) == len(entries)


async def test_an_unknown_ancillary_entry_is_kept_and_skipped(store):
    base, entries = read(JOURNALS[-1])
    note = strange(entries, "aux_weather", 7, '{"sky":"blue"}')
    await put(store, [*entries, note])
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine"), store=store, tools=[look])
    assert (await loop.send("hi", SESSION)).final_text == "fine"
    kept = (await store.read(SESSION))[note.seq - 1]
    assert (kept.kind, kept.version, kept.body, kept.digest) == ("aux_weather", 7, note.body, note.digest)
    assert note.seq not in {event.seq async for event in loop.events(SESSION)}
    plain = derived(replay(entries, base_seq=0, base_digest=base))
    with_note = derived(replay([*entries, note], base_seq=0, base_digest=base))
    assert {key: plain[key] for key in plain if key != "head"} == {
        key: with_note[key] for key in plain if key != "head"
    }


async def test_what_sits_in_the_database_is_the_text_that_was_sealed(tmp_path: Path):
    _, entries = read(JOURNALS[-1])
    store = SqliteStore(tmp_path / "sessions.db")
    await put(store, entries)
    await store.close()
    with sqlite3.connect(tmp_path / "sessions.db") as db:
        rows = db.execute("SELECT kind, version, body FROM entries ORDER BY id").fetchall()
    db.close()
    assert rows == [(entry.kind, entry.version, entry.body) for entry in entries]


def test_sealing_the_same_facts_gives_the_same_digests():
    base, entries = read(JOURNALS[-1])
    seq, digest = 0, base
    for entry in entries:
        fact = entry.fact
        assert fact is not None
        (again,) = seal_all(
            [fact], head_seq=seq, head_digest=digest, run=entry.run, round_=entry.round, time=entry.time
        )
        assert again.digest == entry.digest, f"entry {entry.seq}"
        seq, digest = again.seq, again.digest


@pytest.mark.parametrize("place", [0, 20, 40])
def test_a_forged_entry_with_a_digest_of_its_own_is_noticed_by_the_next(place):
    base, entries = read(JOURNALS[-1])
    old = entries[place]
    before = entries[place - 1].digest if place else base
    columns = (old.seq, old.kind, old.version, old.run, old.round, old.time + 1)
    entries[place] = Entry(*columns, old.body, chain(before, *columns, old.body))
    with pytest.raises(StoreCorrupt, match=f"Entry {old.seq + 1} "):
        replay(entries, base_seq=0, base_digest=base)
