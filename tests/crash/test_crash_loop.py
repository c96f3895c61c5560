"""P17: calls of the model that keep killing their process do not go on for ever."""

from pathlib import Path

from crash_processes import die
from crash_world import SESSION, World


async def test_three_deaths_in_model_calls_end_the_run(tmp_path: Path) -> None:
    for _ in range(3):
        await die(tmp_path, "text", "model:1:paid")
    world = World(tmp_path, "text")
    result = await world.loop.resume(SESSION)
    assert result.status == "crash_loop"
    assert "3 model calls" in result.final_text
    assert (await world.loop.resume(SESSION)).status == "crash_loop", "asking again is not enough"
    assert world.ledger.count("model") == 3
    (listed,) = await world.loop.list_sessions()
    assert "force=True" in listed.waiting_for
    assert (await world.loop.resume(SESSION, force=True)).status == "completed"
    assert world.ledger.count("model") == 4
    await world.store.close()


async def test_a_new_input_forgets_the_deaths(tmp_path: Path) -> None:
    for _ in range(3):
        await die(tmp_path, "text", "model:1:paid")
    world = World(tmp_path, "text")
    assert (await world.loop.resume(SESSION)).status == "crash_loop"
    assert (await world.loop.send("try again", SESSION)).status == "completed"
    assert [m["content"] for m in await world.loop.get_messages(SESSION)] == ["begin", "try again", "Hello."]
    await world.store.close()


async def test_a_failed_call_is_no_death(tmp_path: Path) -> None:
    """Two deaths and a failure that was recorded are not three deaths."""
    for _ in range(2):
        await die(tmp_path, "text", "model:1:paid")
    world = World(tmp_path, "text")
    task = world.loop.resume(SESSION)
    assert (await task).status == "completed"
    await world.store.close()
