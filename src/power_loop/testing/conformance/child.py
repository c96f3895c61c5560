"""A process of its own for the durability suite: ``child FILE CLASS FOLDER SCENARIO``."""

import asyncio
import importlib.util
import sys
from collections.abc import Awaitable, Callable
from operator import attrgetter
from pathlib import Path

from power_loop.facts.entries import Pruned
from power_loop.facts.erasure import erasure_of
from power_loop.facts.errors import LeaseLost
from power_loop.ports.store import SessionStore
from power_loop.testing.conformance.base import ANCHOR, NOTE, Hand, Suite, about, named


def _say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _hold(store: SessionStore) -> None:
    await Hand(store, await store.get("s")).claim()
    _say(store.owner)
    await asyncio.Event().wait()


async def _append(store: SessionStore) -> None:
    hand = Hand(store, await store.get("s"))
    await hand.claim()
    while True:
        await hand.commit(NOTE)
        _say(hand.seq)


async def _append_until_lost(store: SessionStore) -> None:
    try:
        await _append(store)
    except LeaseLost as error:
        _say(error.code)


async def _care(store: SessionStore) -> None:
    """Add, compact, prune and erase, each with a blob that must come and go with what mentions it."""
    hand = Hand(store, await store.get("s"))
    await hand.claim()
    number = 0
    base = 0
    while True:
        number += 1
        data = f"blob {number} ".encode() * 2000
        secret, kept = await hand.commit(about(data, "secret"), about(b"shared"), blobs=named(data, b"shared"))
        _say(hand.seq)
        await hand.commit(erasure_of(secret))
        _say(hand.seq)
        await hand.commit(ANCHOR, Pruned(kept.seq - 1, kept.seq - 1 - base))
        base = kept.seq - 1
        _say(hand.seq)


SCENARIOS: dict[str, Callable[[SessionStore], Awaitable[None]]] = {
    "hold": _hold,
    "append": _append,
    "care": _care,
    "append-until-lost": _append_until_lost,
}


def _load(file: str, name: str) -> Suite:
    spec = importlib.util.spec_from_file_location("suite_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suite = attrgetter(name)(module)()
    assert isinstance(suite, Suite)
    return suite


async def main(file: str, name: str, folder: str, scenario: str) -> None:
    """Open the sessions of a suite and play a scenario."""
    store = await _load(file, name).make_store(Path(folder))
    await SCENARIOS[scenario](store)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
