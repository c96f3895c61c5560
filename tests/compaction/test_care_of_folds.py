"""Care of sessions that were folded: what is erased is gone from every view, what is pruned is not missed."""

import json

import pytest
from folding_world import WORDS, Model, facts_of, folding_loop

from power_loop.facts.errors import StoreIOError
from power_loop.testing.conformance.base import verified
from power_loop.testing.crashing import CrashingStore


async def talk(loop, count=14):
    session = await loop.new_session("s")
    for number in range(count):
        await loop.send(f"secret {number}: {WORDS * 6}", session)
    return session


async def stored(store, session):
    """Return every body, as the store holds it."""
    return "\n".join(entry.body for entry in await store.read(session))


async def test_each_message_that_is_still_seen_can_be_erased_alone(store):
    loop = folding_loop(Model(rounds=1), store)
    session = await talk(loop)
    assert len(await facts_of(store, session, "compacted")) > 1
    messages = await loop.get_messages(session, with_seq=True)
    for place, message in enumerate(messages):
        if not message["content"]:
            continue  # a reply that only asks for a tool
        assert message["seq"] in await loop.erase_message(session, message["seq"])
        now = await loop.get_messages(session, with_seq=True)
        assert now[place]["content"] == "[erased]"
        assert now[place + 1 :] == messages[place + 1 :], "the others stay"
        assert [one["seq"] for one in now] == [one["seq"] for one in messages]
    await verified(store, session)
    assert (await loop.send("And now?", session)).status == "completed"


async def test_what_was_folded_away_is_gone_from_every_fold_that_had_kept_it(store):
    loop = folding_loop(Model(), store)
    session = await talk(loop)
    said = await loop.get_messages(session, include_compacted=True, with_seq=True)
    inputs = [message for message in said if message["content"].startswith("secret ")]
    assert len(inputs) == 14
    for number, message in enumerate(inputs):
        words = json.dumps(message["content"])[1:-1]
        assert words in await stored(store, session)
        await loop.erase_message(session, message["seq"])
        assert words not in await stored(store, session), number
    assert await loop.search("secret") == []
    await verified(store, session)
    whole = await loop.get_messages(session, include_compacted=True)
    assert [message["role"] for message in whole] == [message["role"] for message in said]


async def test_a_prune_leaves_what_the_model_sees(store):
    loop = folding_loop(Model(rounds=2), store)
    session = await talk(loop)
    seen = await loop.get_messages(session)
    (before,) = await loop.list_sessions()
    report = await loop.prune(session_id=session)
    assert report.entries > 20
    assert await loop.get_messages(session) == seen
    assert await loop.get_messages(session, include_compacted=True) == seen
    (after,) = await loop.list_sessions()
    assert (after.status, after.waiting_for) == (before.status, before.waiting_for)
    await verified(store, session)
    assert (await folding_loop(Model(), store).send("And now?", session)).status == "completed"


async def test_what_was_pruned_and_is_still_seen_can_be_erased(store):
    loop = folding_loop(Model(), store)
    session = await talk(loop)
    await loop.prune(session_id=session)
    seen = await loop.get_messages(session, with_seq=True)
    base = (await store.get(session)).base_seq
    place = next(at for at, message in enumerate(seen) if message["seq"] <= base)
    assert len(await loop.erase_message(session, seen[place]["seq"])) == 1
    now = await loop.get_messages(session, with_seq=True)
    assert [message["content"] for message in now] == [
        "[erased]" if at == place else message["content"] for at, message in enumerate(seen)
    ]
    await verified(store, session)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("verb", ["erase", "prune"])
async def test_a_driver_that_dies_in_it_leaves_all_of_it_or_nothing(store, moment, verb):
    session = await talk(folding_loop(Model(), store))
    seq = (await folding_loop(Model(), store).get_messages(session, with_seq=True))[-2]["seq"]
    before = await stored(store, session)

    async def crash(point):
        if point.moment == moment:
            raise StoreIOError("the end of this driver")

    loop = folding_loop(Model(), CrashingStore(store, crash))
    with pytest.raises(StoreIOError):
        await (loop.erase_message(session, seq) if verb == "erase" else loop.prune(session_id=session))
    assert (await stored(store, session) == before) == (moment == "before")
    await verified(store, session)
    assert (await folding_loop(Model(), store).send("And now?", session)).status == "completed"
