"""P18: care of journals that an older release wrote: erased, exported, pruned, and still valid."""

import pytest
from golden import FOLDER, SESSION, derived, read
from test_golden import put

from power_loop import InvalidInputError, MemoryStore, PruneReport, SqliteStore, StatefulAgentLoop, tool
from power_loop.decisions.replay import replay
from power_loop.facts import erasure
from power_loop.facts.erasure import ERASED
from power_loop.ports.llm import LLMRequest, validate_request
from power_loop.ports.store import ANCHORS
from power_loop.testing import ScriptedLLM
from power_loop.testing.conformance.base import verified

JOURNALS = sorted(FOLDER.glob("journal_v*.jsonl"))


@pytest.fixture(params=JOURNALS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "sessions.db")
    yield made
    await made.close()


@tool(effect="read")
async def look(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def loop(store):
    return StatefulAgentLoop(llm=ScriptedLLM("still here", repeat=True), store=store, tools=[look])


async def test_every_message_can_be_erased_and_the_session_goes_on(store, loop, path):
    _, entries = read(path)
    await put(store, entries)
    await loop.abort_pending(SESSION)
    before = await loop.get_messages(SESSION)
    refused = set()
    for entry in await store.read(SESSION):
        try:
            await loop.erase_message(SESSION, entry.seq)
        except InvalidInputError:
            refused.add(entry.kind)
    assert refused == {entry.kind for entry in entries} - erasure._ERASERS.keys()
    _, kept = await verified(store, SESSION)
    assert [entry.digest for entry in kept[: len(entries)]] == [entry.digest for entry in entries]
    after = await loop.get_messages(SESSION)
    assert [message["role"] for message in after] == [message["role"] for message in before]
    assert {message["content"] for message in after} <= {ERASED, "", None}
    assert (await loop.send("Are you there?", SESSION)).final_text == "still here"
    validate_request(LLMRequest(loop.llm.requests[-1].messages))


async def test_it_moves_to_another_store_and_is_the_same(store, loop, path, tmp_path):
    base, entries = read(path)
    await put(store, entries)
    await loop.export_session(SESSION, tmp_path / "s.jsonl")
    other = StatefulAgentLoop(llm=ScriptedLLM(), db_path=":memory:")
    await other.import_session(tmp_path / "s.jsonl")
    row, moved = await verified(other.store, SESSION)
    assert derived(replay(moved, base_seq=0, base_digest=row.base_digest)) == derived(
        replay(entries, base_seq=0, base_digest=base)
    )


async def test_it_is_pruned_when_it_is_over_and_not_before(store, loop, path):
    _, entries = read(path)
    await put(store, entries)
    folded = any(entry.kind in ANCHORS for entry in entries)
    assert bool((await loop.prune(session_id=SESSION)).entries) == folded
    over = replay(entries, base_seq=0, base_digest=read(path)[0])
    assert not over.open_calls
    assert await loop.prune(keep_last=1) == PruneReport()
    done = await loop.prune(keep_last=0)
    assert done.sessions == (() if over.run_open else (SESSION,))
