"""P15: ``asyncio`` cancellation at any await of a run. Afterwards the same store object goes on, and nothing is left.

Every suspension of every task of a run is counted. At the n-th, for n = 1, 2, ... until a run gets by without one,
either the host's task is cancelled, or the very task that suspends, or all tasks, as at the end of ``asyncio.run``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from crash_checks import problems
from crash_world import SESSION, World

from power_loop.ports.store import SessionStore
from power_loop.stores import MemoryStore, SqliteStore

Strike = Callable[["asyncio.Task[Any]"], None]


def strike_host(host: "asyncio.Task[Any]") -> None:
    host.cancel()


def strike_the_one_that_waits(_host: "asyncio.Task[Any]") -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def strike_all(_host: "asyncio.Task[Any]") -> None:
    for task in asyncio.all_tasks():
        if task.get_name() != KEEPER:
            task.cancel()


KEEPER = "the test itself"
STRIKES = {"host": strike_host, "waiting": strike_the_one_that_waits, "all": strike_all}


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are counted, with those of all others of one run."""

    def __init__(self, inner: Coroutine[Any, Any, Any], watch: "Watch") -> None:
        self._inner, self._watch = inner, watch
        self.__name__ = getattr(inner, "__name__", "coroutine")

    def send(self, value: Any) -> Any:
        return self._watch.suspended(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._watch.suspended(self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()


class Watch:
    """Counts suspensions, and strikes at one of them."""

    def __init__(self, at: int, strike: Strike) -> None:
        self.count = 0
        self.host: asyncio.Task[Any] | None = None
        self._at, self._strike = at, strike

    def suspended(self, what: Any) -> Any:
        self.count += 1
        if self.count == self._at and self.host is not None:
            self._strike(self.host)
        return what

    def factory(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(Counted(coro, self), loop=loop, **options)


async def struck(world: World, at: int, strike: Strike) -> bool:
    """Run the scenario and strike; tell whether there was an n-th suspension."""
    loop = asyncio.get_running_loop()
    watch = Watch(at, strike)
    loop.set_task_factory(watch.factory)
    try:
        watch.host = loop.create_task(world.host())
        await asyncio.wait((watch.host,))
    finally:
        loop.set_task_factory(None)
    if watch.host.cancelled():
        return True
    error = watch.host.exception()
    assert error is None, error
    return watch.count >= at


async def nothing_left() -> None:
    """What ends by itself may take a turn or two of the event loop; then only this task is left."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("strike", list(STRIKES))
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_cancelled_at_every_await(tmp_path: Path, kind: str, strike: str) -> None:
    this = asyncio.current_task()
    assert this is not None
    this.set_name(KEEPER)
    at = 1
    while True:
        folder = tmp_path / str(at)
        folder.mkdir()
        store: SessionStore = MemoryStore() if kind == "memory" else SqliteStore(folder / "sessions.db")
        if not await struck(World(folder, "mixed", store=store, ordered=False), at, STRIKES[strike]):
            break
        await nothing_left()
        world = World(folder, "mixed", store=store, ordered=False)
        owners = {record.lease.owner for record in await store.list() if record.lease}
        assert owners <= ({store.owner} if strike == "all" else set()), f"suspension {at}"
        assert await world.host() == "completed", f"suspension {at}"
        assert await problems(world, None) == [], f"suspension {at}"
        assert (await world.loop.send("and on", SESSION)).status == "completed"
        await nothing_left()
        await store.close()
        at += 1
    await store.close()
    assert at > {"memory": 12, "sqlite": 25}[kind]
