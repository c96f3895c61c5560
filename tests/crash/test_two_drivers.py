"""P6: one driver. Who comes second waits inside one process, and is told across processes before anything is paid."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from crash_checks import problems
from crash_processes import driver
from crash_world import SESSION, World

from power_loop import StatefulAgentLoop
from power_loop.facts.errors import SessionBusy
from power_loop.testing import ScriptedLLM
from power_loop.testing.crashing import CommitPoint

VERBS: dict[str, Callable[[StatefulAgentLoop], object]] = {
    "send": lambda loop: loop.send("me too", SESSION),
    "send over open calls": lambda loop: loop.send("me too", SESSION, on_pending="abort"),
    "resume": lambda loop: loop.resume(SESSION),
    "abort_pending": lambda loop: loop.abort_pending(SESSION),
    "erase_message": lambda loop: loop.erase_message(SESSION, 2),
    "close_session": lambda loop: loop.close_session(SESSION),
}


@pytest.mark.parametrize("place", ["tool:put:begun", "model:2:asked"])
async def test_a_second_process_is_told_before_it_pays(tmp_path: Path, place: str) -> None:
    async with driver(tmp_path, "parallel", f"stop@{place}") as first:
        await first.stopped()
        world = World(tmp_path, "parallel")
        journal = await world.store.read(SESSION)
        for name, verb in VERBS.items():
            with pytest.raises(SessionBusy) as caught:
                await verb(world.loop)
            assert str(first.pid) in caught.value.owner, name
            assert caught.value.until > 0
        assert world.ledger.count("model") == 1
        assert not [line for line in world.ledger.read() if line.pid == os.getpid()]
        assert await world.store.read(SESSION) == journal
        first.go_on()
        assert await first.ended() == (0, "")
        assert await problems(world, None) == []
        await world.store.close()


async def test_waiting_works_across_processes(tmp_path: Path) -> None:
    async with driver(tmp_path, "parallel", "stop@tool:put:begun") as first:
        await first.stopped()
        world = World(tmp_path, "parallel")
        refused = asyncio.Event()
        watch = world.store.on_commit

        def on_commit(point: CommitPoint) -> None:
            if point.moment == "before":
                refused.set()
            watch(point)

        world.store.on_commit = on_commit
        waiting = asyncio.create_task(world.loop.send("and then?", SESSION, on_busy="wait"))
        await refused.wait()
        first.go_on()
        assert await first.ended() == (0, "")
        assert (await waiting).status == "completed"
        kinds = [entry.kind for entry in await world.store.read(SESSION)]
        assert kinds.index("run_ended") < len(kinds) - 1 - kinds[::-1].index("input_received")
        assert await problems(world, None) == []
        await world.store.close()


@pytest.mark.parametrize("loops", [1, 2])
async def test_sends_of_one_process_queue_in_order(tmp_path: Path, loops: int) -> None:
    """Also when each comes through a loop object and a store object of its own."""
    path = str(tmp_path / "sessions.db")
    answers = iter(range(10))
    made = [
        StatefulAgentLoop(llm=ScriptedLLM(lambda _: f"answer {next(answers)}", repeat=True), db_path=path)
        for _ in range(loops)
    ]
    session = await made[0].new_session()
    results = await asyncio.gather(*(made[n % loops].send(f"question {n}", session) for n in range(6)))
    assert [result.final_text for result in results] == [f"answer {n}" for n in range(6)]
    said = [message["content"] for message in await made[0].get_messages(session)]
    assert said == [text for n in range(6) for text in (f"question {n}", f"answer {n}")]
    with pytest.raises(SessionBusy):
        await asyncio.gather(*(made[-1].send("x", session, on_busy="raise") for _ in range(2)))
    for loop in made:
        await loop.close()


async def test_a_waiter_that_is_cancelled_leaves_the_queue(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def slow(_request) -> str:
        await gate.wait()
        return "done"

    loop = StatefulAgentLoop(llm=ScriptedLLM(slow, repeat=True), db_path=str(tmp_path / "sessions.db"))
    session = await loop.new_session()
    first, second, third = (asyncio.create_task(loop.send(f"question {n}", session)) for n in range(3))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    assert [(await task).status for task in (first, third)] == ["completed", "completed"]
    assert [m["content"] for m in await loop.get_messages(session)][::2] == ["question 0", "question 2"]
    await loop.close()
