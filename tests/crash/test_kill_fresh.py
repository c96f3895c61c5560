"""P1 to P5, P8: drivers in fresh interpreters; what a fork server could hide shows here."""

from pathlib import Path

import pytest
from crash_checks import problems
from crash_processes import die, driver
from crash_world import SESSION, World

POINTS = ["commit:2:after", "commit:4:before", "commit:4:after", "commit:5:after", "tool:fire:mid", "commit:7:before"]


@pytest.mark.parametrize("fault", POINTS)
async def test_another_interpreter_finishes_what_a_killed_one_began(tmp_path: Path, fault: str) -> None:
    await die(tmp_path, "parallel", fault)
    async with driver(tmp_path, "parallel", "-") as successor:
        assert await successor.ended() == (0, "")
    world = World(tmp_path, "parallel")
    assert await problems(world, None) == []
    assert world.ledger.count("effect") >= 2
    await world.store.close()


async def test_a_dead_holder_is_recognised_at_once(tmp_path: Path) -> None:
    """The lease of the dead has half a minute to go; nobody waits for it."""
    await die(tmp_path, "parallel", "tool:fire:mid")
    world = World(tmp_path, "parallel")
    record = await world.store.get(SESSION)
    assert record.lease is not None
    assert (await world.loop.resume(SESSION, on_busy="raise")).status == "completed"
    assert await problems(world, None) == []
    await world.store.close()


async def test_results_are_readable_while_siblings_run_and_a_kill_from_outside_keeps_them(tmp_path: Path) -> None:
    """P4, P10: each result commits as it arrives. The kill comes when rows say so, not at a place of our choice."""
    async with driver(tmp_path, "parallel", "stop@tool:fire:mid") as process:
        await process.stopped()
        world = World(tmp_path, "parallel")
        finished = [entry.fact.name for entry in await world.store.read(SESSION) if entry.kind == "tool_finished"]
        pending = await world.loop.get_pending(SESSION)
        assert finished == ["look"]
        assert pending is not None
        assert (pending["tool_call_ids"], pending["started"]) == (["w1_put", "w1_fire"], ["w1_put", "w1_fire"])
        process.kill()
        await process.ended()
        assert await world.host() == "completed"
        assert world.ledger.count("effect", f"{SESSION}.call_6_1") == 1
        assert await problems(world, None) == []
        await world.store.close()


async def test_results_stand_in_call_order_whatever_order_they_came_in(tmp_path: Path) -> None:
    world = World(tmp_path, "parallel")
    await world.host()
    came = [entry.fact.name for entry in await world.store.read(SESSION) if entry.kind == "tool_finished"]
    stand = [m["content"] for m in await world.loop.get_messages(SESSION) if m["role"] == "tool"]
    assert came == ["look", "fire", "put"]
    assert stand == ["put: done", "look: done", "fire: done"]
    await world.store.close()
