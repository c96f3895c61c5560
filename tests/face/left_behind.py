"""Sessions as dead drivers leave them: facts in the journal, no end, no lease."""

from power_loop.facts.chain import seal_all
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import (
    DefinitionChanged,
    Fact,
    InputReceived,
    Limits,
    ModelCalled,
    ModelReplied,
    RecordedCall,
    RunStarted,
)
from power_loop.ports.store import Append, Claim, NewSession


def offered(*names: str) -> DefinitionChanged:
    tools = [{"type": "function", "function": {"name": n, "description": "", "parameters": {}}} for n in names]
    return DefinitionChanged("old", None, tuple(tools))


def begun(*names: str) -> list[Fact]:
    return [InputReceived("question"), RunStarted(Limits()), offered(*names), ModelCalled()]


def asks(*calls: tuple[str, dict]) -> ModelReplied:
    recorded = tuple(RecordedCall(f"w{i}", name, args) for i, (name, args) in enumerate(calls))
    return ModelReplied(calls=recorded, finish_reason="tool_calls")


async def leave(store, session_id: str, *facts: Fact) -> None:
    """Append facts under a run of their own and free the lease, as a takeover would find them."""
    now = SYSTEM_CLOCK.now()
    try:
        record = await store.get(session_id)
    except Exception:
        record = await store.create(NewSession(session_id, now.wall_ms))
    entries = seal_all(
        facts,
        head_seq=record.head_seq,
        head_digest=record.head_digest,
        run=record.epoch + 1,
        round_=0,
        time=now.wall_ms,
    )
    claim = Claim(store.owner, now.plus(30), now)
    await store.append(
        Append(session_id, record.epoch, record.head_seq, record.head_digest, entries, (), claim, release=True)
    )
