"""P4, P17: what output is wanted, and how often it was asked for, survives the process that asked."""

from dataclasses import dataclass
from pathlib import Path

from crash_processes import die
from crash_world import SESSION, World

from power_loop import StatefulAgentLoop
from power_loop.facts.entries import OutputChecked
from power_loop.testing import ScriptedLLM


@dataclass
class Stay:
    days: int


async def checks(world: World) -> list[tuple[bool, int, bool]]:
    facts = [entry.fact for entry in await world.store.read(SESSION)]
    return [(fact.ok, fact.repairs, fact.final) for fact in facts if isinstance(fact, OutputChecked)]


async def test_killed_between_a_bad_reply_and_its_repair_twice(tmp_path: Path) -> None:
    await die(tmp_path, "output", "model:2:paid")
    await die(tmp_path, "output", "model:3:paid")
    world = World(tmp_path, "output")
    result = await world.loop.resume(SESSION, output_type=Stay)
    assert (result.status, result.output) == ("completed", Stay(5))
    assert await checks(world) == [(False, 0, False), (False, 1, False), (True, 2, False)]
    await world.store.close()


async def test_deaths_buy_no_repairs(tmp_path: Path) -> None:
    await die(tmp_path, "output", "model:2:paid")
    world = World(tmp_path, "output")
    never = ScriptedLLM("never", repeat=True)
    result = await StatefulAgentLoop(llm=never, store=world.store).resume(SESSION)
    assert (result.status, result.final_text, never.calls) == ("error", "never", 2)
    assert await checks(world) == [(False, 0, False), (False, 1, False), (False, 2, True)]
    await world.store.close()
