"""P6 to P8: a stopped driver is alive until its lease runs out; once taken over, it writes nothing more."""

import os
from pathlib import Path

import pytest
from crash_checks import problems
from crash_processes import driver
from crash_world import SESSION, World

from power_loop import StatefulAgentLoop
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.errors import SessionBusy, StoreBusy
from power_loop.ports.store import LEASE_TTL
from power_loop.stores import SqliteStore
from power_loop.testing import ScriptedLLM
from power_loop.testing.clock import FakeClock

PLACES = ["model:1:paid", "tool:look:begun", "tool:fire:mid", "commit:4:before", "commit:5:after", "model:2:paid"]


def late(seconds: float) -> FakeClock:
    """The clock of a process for which that much more time has passed."""
    return FakeClock(SYSTEM_CLOCK.now().plus(seconds))


@pytest.mark.parametrize("place", PLACES)
async def test_a_zombie_writes_nothing_after_a_takeover(tmp_path: Path, place: str) -> None:
    async with driver(tmp_path, "parallel", f"stop@{place}") as zombie:
        await zombie.stopped()
        early = World(tmp_path, "parallel", "-", clock=late(LEASE_TTL - 10))
        with pytest.raises(SessionBusy) as caught:
            await early.loop.resume(SESSION)
        assert str(zombie.pid) in caught.value.owner
        await early.store.close()
        world = World(tmp_path, "parallel", "-", clock=late(LEASE_TTL + 10))
        assert await world.host() == "completed"
        assert await problems(world, None) == []
        journal = await world.store.read(SESSION)
        models = world.ledger.count("model")
        zombie.go_on()
        code, said = await zombie.ended()
        assert code == 1
        assert "LeaseLost" in said
        assert await world.store.read(SESSION) == journal
        assert await problems(world, None) == []
        assert world.ledger.count("model") == models, "it called no model after it was taken over"
        assert {line.pid for line in world.ledger.read()[-1:]} <= {os.getpid(), zombie.pid}
        await world.store.close()


async def test_a_driver_stopped_inside_a_transaction_is_named(tmp_path: Path) -> None:
    """StoreBusy says who, soon; when the stopped one goes on, it loses nothing and finishes."""
    other = StatefulAgentLoop(
        llm=ScriptedLLM("hello", "hello again"), store=SqliteStore(tmp_path / "sessions.db", busy_timeout=0.1)
    )
    await other.new_session("other")
    await other.store.close()
    statement = await statement_of_a_commit(tmp_path / "probe")
    async with driver(tmp_path, "parallel", f"stop@sql:{statement}:after") as stopped:
        await stopped.stopped()
        store = SqliteStore(tmp_path / "sessions.db", busy_timeout=0.1)
        other = StatefulAgentLoop(llm=ScriptedLLM("hello", "hello again"), store=store)
        with pytest.raises(StoreBusy) as caught:
            await other.send("hello", "other")
        assert str(stopped.pid) in str(caught.value)
        stopped.go_on()
        assert await stopped.ended() == (0, "")
        assert (await other.send("hello", "other")).status == "completed"
        assert len(await other.get_messages("other")) == 2, "nothing of the refused send was kept"
        await store.close()
    world = World(tmp_path, "parallel")
    assert await problems(world, None) == []
    await world.store.close()


async def statement_of_a_commit(folder: Path) -> int:
    """Count, in a run of our own, the statements up to the inside of the transaction of the fourth commit."""
    world = World(folder, "parallel", "-")
    counted: list[int] = []
    watch = world.store.on_commit

    def on_commit(point):
        if point.moment == "before":
            counted.append(world.fault.sql)
        return watch(point)

    await world.store.list()
    world.store.on_commit = on_commit
    begun = world.fault.sql
    await world.host()
    await world.store.close()
    reopened = World(folder, "parallel", "-")
    await reopened.store.list()
    opening = reopened.fault.sql
    await reopened.store.close()
    return opening + counted[3] - begun + 2
