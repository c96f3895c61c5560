"""P22: an accepted command reaches the journal exactly once and is answered, whenever in a run it arrives."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from crash_checks import problems
from crash_world import SESSION, World

from power_loop import StatefulAgentLoop, tool
from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived
from power_loop.facts.errors import StoreIOError
from power_loop.ports.store import SessionStore
from power_loop.stores import MemoryStore, SqliteStore
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CommitPoint, CrashingStore, OnCommit

MORE = "one more thing"


def make(kind: str, folder: Path) -> SessionStore:
    folder.mkdir(exist_ok=True)
    return MemoryStore() if kind == "memory" else SqliteStore(folder / "sessions.db")


async def put_in(store: SessionStore, text: str = MORE) -> None:
    await store.enqueue(SESSION, "input", jsontext.encode(InputReceived(text)), now=1)


def at_commit(number: int, moment: str, then: Callable[[], Awaitable[None]], watch: OnCommit) -> OnCommit:
    async def on_commit(point: CommitPoint) -> None:
        watch(point)
        if (point.number, point.moment) == (number, moment):
            await then()

    return on_commit


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("scenario", ["text", "parallel"])
async def test_an_input_at_every_commit_of_a_run(tmp_path: Path, kind: str, scenario: str) -> None:
    """The first commit creates the session; one behind the last, it waits for the next verb and is taken then."""
    number, points = 1, 0
    while True:
        for moment in ("before", "after"):
            store = make(kind, tmp_path / f"{number}-{moment}")
            world = World(tmp_path / f"{number}-{moment}", scenario, store=store)
            world.store.on_commit = at_commit(number, moment, lambda: put_in(store), world.store.on_commit)  # noqa: B023
            if (number, moment) == (1, "before"):
                continue
            await world.host()
            ended = world.store.commits < number
            if not ended:
                points += 1
                await consumed_and_answered(world, store)
            await store.close()
        if ended:
            break
        number += 1
    assert points >= {"text": 5, "parallel": 13}[scenario]


async def consumed_and_answered(world: World, store: SessionStore) -> None:
    late = bool(await store.inbox(SESSION))
    if late:
        await world.loop.send("next", SESSION)
    assert await store.inbox(SESSION) == []
    assert await problems(world, None) == []
    said = [(m["role"], m["content"]) for m in await world.loop.get_messages(SESSION)]
    assert said.count(("user", MORE)) == 1
    assert said[-1][0] == "assistant"
    assert said[-1][1], "the last word is the model's"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_an_input_inside_an_open_batch_stands_behind_its_results(tmp_path: Path, kind: str) -> None:
    store = make(kind, tmp_path)
    world = World(tmp_path, "parallel", store=store)
    world.store.on_commit = at_commit(4, "before", lambda: put_in(store), world.store.on_commit)
    await world.host()
    assert await problems(world, None) == []
    await store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_aborting_with_a_command_waiting_frees_the_session(tmp_path: Path, kind: str) -> None:
    """``abort_pending`` takes what waits into the journal, and holds the session no longer than its own commit."""
    store = make(kind, tmp_path)

    @tool(effect="once")
    async def work() -> str:
        """Work."""
        return "done"

    async def crash(point: CommitPoint) -> None:
        if "tool_finished" in point.kinds:
            raise StoreIOError("the end of this driver")

    crashing = CrashingStore(store, crash)
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("work")), "fine"), tools=[work], store=crashing)
    await loop.new_session(SESSION)
    with pytest.raises(StoreIOError):
        await loop.send("go", SESSION)
    await put_in(store)
    other = StatefulAgentLoop(llm=ScriptedLLM("fine"), tools=[work], store=store)
    assert await other.abort_pending(SESSION, reason="enough") == 1
    assert (await store.get(SESSION)).lease is None
    assert (await other.resume(SESSION)).final_text == "fine"
    assert await store.inbox(SESSION) == []
    assert [m["content"] for m in await other.get_messages(SESSION)] == ["go", "", "<aborted: enough>", MORE, "fine"]
    await store.close()
