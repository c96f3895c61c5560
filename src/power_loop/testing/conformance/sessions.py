"""Sessions: rows, pages, deletion."""

import pytest

from power_loop.facts.chain import base_digest, seal_all
from power_loop.facts.errors import InvalidInputError, SessionBusy, SessionExistsError, SessionNotFoundError
from power_loop.ports.store import SessionStore, SubagentLifecycle
from power_loop.testing.conformance.base import CALLED, NOTE, NOW, OTHER, TTL, Hand, Suite, new


@pytest.mark.asyncio
class Sessions(Suite):
    async def test_a_new_session_has_an_anchored_empty_journal(self, store: SessionStore) -> None:
        record = await store.create(new("s"))
        assert (record.base_seq, record.head_seq, record.epoch, record.lease) == (0, 0, 0, None)
        assert record.base_digest == record.head_digest == base_digest("s")

    async def test_create_returns_what_get_returns(self, store: SessionStore) -> None:
        assert await store.create(new("s", depth=2, metadata={"k": [1, None, "v"]})) == await store.get("s")

    async def test_first_entries_are_there_with_the_session(self, store: SessionStore) -> None:
        first = seal_all([NOTE, NOTE], head_seq=0, head_digest=base_digest("s"), run=0, round_=0, time=7)
        record = await store.create(new("s", first=first))
        assert (record.head_seq, record.head_digest) == (2, first[-1].digest)
        assert [entry.body for entry in await store.read("s")] == [entry.body for entry in first]

    async def test_first_entries_with_a_gap_are_refused(self, store: SessionStore) -> None:
        first = seal_all([NOTE], head_seq=4, head_digest=base_digest("s"), run=0, round_=0, time=7)
        with pytest.raises(InvalidInputError):
            await store.create(new("s", first=first))
        with pytest.raises(SessionNotFoundError):
            await store.get("s")

    async def test_an_id_is_used_once(self, store: SessionStore) -> None:
        record = await store.create(new("s", metadata={"first": True}))
        with pytest.raises(SessionExistsError) as caught:
            await store.create(new("s"))
        assert caught.value.session_id == "s"
        assert await store.get("s") == record

    async def test_an_empty_id_is_refused(self, store: SessionStore) -> None:
        with pytest.raises(InvalidInputError):
            await store.create(new(""))

    async def test_a_missing_parent_is_named(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError) as caught:
            await store.create(new("child", parent_id="nobody"))
        assert caught.value.session_id == "nobody"
        assert await store.list() == []

    async def test_a_child_knows_parent_kind_lifecycle_and_depth(self, store: SessionStore) -> None:
        await store.create(new("p"))
        child = await store.create(
            new("c", parent_id="p", kind="subagent", lifecycle=SubagentLifecycle.LINKED, depth=1)
        )
        assert (child.parent_id, child.kind, child.lifecycle, child.depth) == ("p", "subagent", "linked", 1)

    async def test_config_and_metadata_come_back_as_json(self, store: SessionStore) -> None:
        config = {"nested": {"list": [1, 2.5, True, None, "x"]}, "": "empty key"}
        await store.create(new("s", config=config, metadata={"big": 2**53}))
        record = await store.get("s")
        assert (record.config, record.metadata) == (config, {"big": 2**53})

    async def test_changing_what_was_returned_changes_nothing(self, store: SessionStore) -> None:
        mine = {"k": "v"}
        record = await store.create(new("s", config=mine))
        mine["k"] = record.config["k"] = "changed"
        (await store.get("s")).config["k"] = "changed"
        assert (await store.get("s")).config == {"k": "v"}

    async def test_config_that_is_not_json_is_refused(self, store: SessionStore) -> None:
        with pytest.raises(InvalidInputError):
            await store.create(new("s", config={"k": object()}))

    @pytest.mark.parametrize("verb", ["get", "read", "load", "inbox"])
    async def test_reading_a_missing_session_says_so(self, store: SessionStore, verb: str) -> None:
        with pytest.raises(SessionNotFoundError) as caught:
            await getattr(store, verb)("nobody")
        assert caught.value.session_id == "nobody"

    async def test_last_of_a_missing_session_says_so(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.last("nobody", ["note"])

    async def test_sessions_are_independent(self, store: SessionStore) -> None:
        one, two = [Hand(store, await store.create(new(name))) for name in ("one", "two")]
        await one.claim(NOTE)
        await two.claim(CALLED, NOTE)
        assert [entry.kind for entry in await store.read("one")] == ["note"]
        assert [entry.kind for entry in await store.read("two")] == ["model_called", "note"]

    async def test_list_is_newest_first_by_creation(self, store: SessionStore) -> None:
        for name in ("b", "a", "c"):
            await store.create(new(name))
        assert [record.id for record in await store.list()] == ["c", "a", "b"]

    async def test_list_ignores_what_happened_since_creation(self, store: SessionStore) -> None:
        hand = Hand(store, await store.create(new("old")))
        await store.create(new("young"))
        await hand.claim(NOTE)
        assert [record.id for record in await store.list()] == ["young", "old"]

    async def test_pages_follow_each_other_without_overlap(self, store: SessionStore) -> None:
        for number in range(7):
            await store.create(new(f"s{number}"))
        seen: list[str] = []
        while page := await store.list(limit=3, before=seen[-1] if seen else None):
            seen += [record.id for record in page]
        assert seen == [f"s{number}" for number in reversed(range(7))]

    async def test_a_page_of_nothing_is_empty(self, store: SessionStore) -> None:
        await store.create(new("s"))
        assert list(await store.list(limit=0)) == []

    async def test_list_after_an_unknown_session_says_so(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.list(before="nobody")

    async def test_list_of_children_is_paged_too(self, store: SessionStore) -> None:
        await store.create(new("p"))
        for name in ("c1", "c2", "c3"):
            await store.create(new(name, parent_id="p"))
            await store.create(new(f"not-{name}"))
        assert [record.id for record in await store.list(parent_id="p", limit=2)] == ["c3", "c2"]
        assert [record.id for record in await store.list(parent_id="p", before="c2")] == ["c1"]

    async def test_list_shows_the_rows_that_get_shows(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE)
        assert list(await store.list()) == [await store.get("s")]


@pytest.mark.asyncio
class Deletion(Suite):
    async def test_deleting_nothing_deletes_nothing(self, store: SessionStore) -> None:
        assert await store.delete("nobody", now=NOW) == 0

    async def test_a_deleted_session_is_gone(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, release=True)
        assert await store.delete("s", now=NOW) == 1
        with pytest.raises(SessionNotFoundError):
            await store.load("s")
        assert list(await store.list()) == []

    async def test_a_new_session_with_a_deleted_id_starts_empty(self, store: SessionStore, hand: Hand) -> None:
        await hand.commit(NOTE, release=True)
        await store.enqueue("s", "input", "{}", now=1)
        await store.delete("s", now=NOW)
        record = await store.create(new("s"))
        assert (record.head_seq, record.epoch) == (0, 0)
        assert list(await store.read("s")) == []
        assert list(await store.inbox("s")) == []

    async def test_delete_cascades_to_children_of_children(self, store: SessionStore) -> None:
        await store.create(new("p"))
        await store.create(new("c", parent_id="p", lifecycle=SubagentLifecycle.LINKED))
        await store.create(new("g", parent_id="c", lifecycle=SubagentLifecycle.EPHEMERAL))
        await store.create(new("bystander"))
        assert await store.delete("p", now=NOW) == 3
        assert [record.id for record in await store.list()] == ["bystander"]

    async def test_a_detached_child_becomes_a_root_and_keeps_its_own(self, store: SessionStore) -> None:
        await store.create(new("p"))
        await store.create(new("c", parent_id="p", kind="subagent", lifecycle=SubagentLifecycle.DETACHED))
        await store.create(new("g", parent_id="c", kind="subagent", lifecycle=SubagentLifecycle.LINKED))
        assert await store.delete("p", now=NOW) == 1
        child = await store.get("c")
        assert (child.parent_id, child.kind) == (None, "root")
        assert (await store.get("g")).parent_id == "c"

    async def test_without_cascade_children_stay(self, store: SessionStore) -> None:
        await store.create(new("p"))
        await store.create(new("c", parent_id="p"))
        assert await store.delete("p", cascade=False, now=NOW) == 1
        assert (await store.get("c")).parent_id == "p"

    async def test_a_driven_session_is_not_deleted(self, store: SessionStore, hand: Hand) -> None:
        with pytest.raises(SessionBusy) as caught:
            await store.delete("s", now=NOW)
        assert caught.value.owner == hand.owner
        await hand.commit(NOTE)

    async def test_a_driven_child_protects_the_whole_tree(self, store: SessionStore) -> None:
        await store.create(new("p"))
        await store.create(new("idle", parent_id="p"))
        await Hand(store, await store.create(new("c", parent_id="p"))).claim()
        with pytest.raises(SessionBusy) as caught:
            await store.delete("p", now=NOW)
        assert caught.value.session_id == "c"
        assert len(await store.list()) == 3

    async def test_a_driven_detached_child_does_not_protect_its_parent(self, store: SessionStore) -> None:
        await store.create(new("p"))
        child = Hand(store, await store.create(new("c", parent_id="p", lifecycle=SubagentLifecycle.DETACHED)))
        await child.claim()
        assert await store.delete("p", now=NOW) == 1
        await child.commit(NOTE)

    async def test_an_expired_lease_does_not_protect(self, store: SessionStore) -> None:
        await Hand(store, await store.create(new("s")), owner=OTHER).claim()
        assert await store.delete("s", now=NOW.plus(TTL)) == 1
