"""What must hold of a session with everything on, whatever happened to it: in its journal and through the verbs."""

import io
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from context_world import ContextWorld

from power_loop import MemoryStore, StatefulAgentLoop
from power_loop.decisions.replay import replay
from power_loop.decisions.state import State
from power_loop.engine.journal import load_state
from power_loop.facts import jsontext
from power_loop.facts.blobs import blobs_in
from power_loop.facts.chain import verify
from power_loop.facts.entries import (
    Cancelled,
    Compacted,
    CompactionSkipped,
    InputReceived,
    ModelCalled,
    ModelFailed,
    ModelReplied,
    ToolFinished,
    ToolStarted,
)
from power_loop.facts.journal import Entry
from power_loop.facts.messages import text_of
from power_loop.facts.usage import LLMTokenUsage, add_cost
from power_loop.ports.store import STARTS, SessionStore
from power_loop.stores.archive import export_session, import_session

STATUSES = {
    "empty", "completed", "pending_tools", "cancelled", "hit_round_limit", "degraded", "crash_loop",
    "budget_exceeded", "context_full", "error", "cut_off",
}  # fmt: skip


async def check_session(world: ContextWorld, session: str, owners: set[str]) -> None:
    """Check all that holds between two verbs."""
    store = world.store
    record, entries = await store.load(session, whole=True)
    verify(
        entries, base_seq=record.base_seq, base=record.base_digest, head_seq=record.head_seq, head=record.head_digest
    )
    assert record.lease is None or record.lease.owner not in owners, "a lease is held although nobody drives"
    state = load_state(*await store.load(session))
    check_calls(entries)
    if not record.base_seq:
        whole = replay(entries, base_seq=0, base_digest=record.base_digest)
        assert plain(whole) == plain(state), "P21: the fold forgot something"
        check_paid(entries, state.spent.total.usage, state.spent.total.cost)
        made = sum(isinstance(entry.fact, ModelCalled) for entry in entries)
        assert world.provider.calls[session] <= made, "P17: a call was made that nobody announced"
        waiting = "".join(row.body for row in await store.inbox(session))
        check_said_once(world, session, entries, waiting)
    mentioned = {blob for entry in entries for blob in blobs_in(entry.body)}
    assert await store.list_blobs(session) == mentioned
    for blob in mentioned:
        assert await store.read_blob(blob)
    check_budget(world, session)


def plain(state: State) -> dict[str, Any]:
    """Return a state as data that can be compared, also where one of its entries was decoded already."""
    fields = msgspec.structs.asdict(state)
    return fields | {name: fields[name] and fields[name].fact for name in ("started_entry", "ended_entry")}


def check_calls(entries: Sequence[Entry]) -> None:
    """Each call has at most one result, its starts count up, none of them is behind its result or a cancel."""
    stopped: set[int] = set()
    attempts: Counter[str] = Counter()
    finished: set[str] = set()
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Cancelled):
            stopped.add(fact.target)
        assert entry.kind not in STARTS or entry.run not in stopped, f"P15: entry {entry.seq} starts behind a cancel"
        if isinstance(fact, ToolStarted):
            attempts[fact.call] += 1
            assert fact.attempt == attempts[fact.call]
            assert fact.call not in finished, f"P3: {fact.call} is started behind its result"
            assert fact.effect != "once" or fact.attempt == 1
        elif isinstance(fact, ToolFinished):
            assert fact.call not in finished, f"P3: {fact.call} has two results"
            finished.add(fact.call)


def check_paid(entries: Sequence[Entry], usage: LLMTokenUsage, cost: Decimal | None) -> None:
    """What a session says it has spent is what its entries say together."""
    paid = [
        fact
        for entry in entries
        if isinstance(fact := entry.fact, ModelReplied | ModelFailed | Compacted | CompactionSkipped)
    ]
    total: Decimal | None = None
    for fact in paid:
        total = add_cost(total, fact.cost)
    assert sum((fact.usage for fact in paid), LLMTokenUsage()) == usage
    assert total == cost


def check_said_once(world: ContextWorld, session: str, entries: Sequence[Entry], waiting: str) -> None:
    """P1, P9: what was accepted is there once, or still waits in the inbox."""
    told = [f"{text_of(entry.fact.content)} " for entry in entries if isinstance(entry.fact, InputReceived)]
    erased = told.count("[erased] ")
    for where, text in world.accepted:
        if where == session:
            count = sum(said.startswith(f"{text} ") for said in told)
            count += f'"{text}"' in waiting
            assert count == 1 or (erased and not count), f"{text} is {count} times there"


def check_budget(world: ContextWorld, session: str) -> None:
    """P17: what the provider charged passes a budget by no more than one call."""
    if world.budget is not None and world.budget.tokens is not None:
        charged, largest = world.provider.charged[session], world.provider.largest
        assert charged <= world.budget.tokens + largest, f"P17: {charged} tokens of {world.budget.tokens}"


async def check_readers(loop: StatefulAgentLoop, store: SessionStore, session: str) -> None:
    """The verbs that look work, and tell the same conversation."""
    (info,) = [info for info in await loop.list_sessions() if info.session_id == session]
    assert info.status in STATUSES | {"running"}, info
    seen = await loop.get_messages(session)
    whole = await loop.get_messages(session, include_compacted=True)
    assert [message for message in whole if "compacted" not in message] == seen
    record, entries = await store.load(session, whole=True)
    state = load_state(*await store.load(session))
    inputs = [entry.fact for entry in entries if isinstance(entry.fact, InputReceived)]
    if not record.base_seq and not state.open_calls:  # what arrives inside a batch is shown behind its last result
        told = {str(message["content"])[:40] for message in whole}
        for fact in inputs:
            if isinstance(fact.content, str):
                assert fact.content[:40] in told, f"{fact.content[:40]} cannot be read any more"
    usage = await loop.get_usage(session)
    assert record.base_seq or usage.total == state.spent.total.usage
    await loop.get_pending(session)
    await loop.get_todos(session)
    seqs = [event.seq or 0 async for event in loop.events(session)]
    assert seqs == sorted(seqs)


async def check_move(loop: StatefulAgentLoop, store: SessionStore, session: str) -> None:
    """Export and import give an equal session elsewhere."""
    file, elsewhere = io.BytesIO(), MemoryStore()
    await export_session(store, session, file)
    file.seek(0)
    assert await import_session(elsewhere, file) == (session,)
    assert plain(load_state(*await elsewhere.load(session))) == plain(load_state(*await store.load(session)))
    assert await elsewhere.list_blobs(session) == await store.list_blobs(session)
    other = StatefulAgentLoop(llm=loop.llm, store=elsewhere, tools=loop.tool_registry, config=loop.config)
    for deep in (False, True):
        there = await other.get_messages(session, include_compacted=deep, with_seq=True)
        assert there == await loop.get_messages(session, include_compacted=deep, with_seq=True)
    found = [hit.seq for hit in await store.search("fox", session_id=session)]
    assert [hit.seq for hit in await elsewhere.search("fox", session_id=session)] == found


async def check_gone(store: SessionStore, session: str, word: str) -> None:
    """An erased word stands nowhere: in no body, no blob, no find. Summaries, which retell, aside."""
    for entry in await store.read(session):
        assert word not in without_summary(entry), f"{word} is still in entry {entry.seq}, a {entry.kind}"
    for blob in await store.list_blobs(session):
        assert word.encode() not in await store.read_blob(blob)
    hits = [hit for hit in await store.search(word, session_id=session) if hit.kind != "compacted"]
    assert not hits, hits


def without_summary(entry: Entry) -> str:
    """Return a body without what it says in the words of a summary."""
    fact = entry.fact
    if not isinstance(fact, Compacted):
        return entry.body
    return entry.body.replace(jsontext.encode(fact.summary)[1:-1], "")
