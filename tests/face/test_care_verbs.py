"""Care at the face: prune, erase, find, measure, export, import; on every store, and never under a driver."""

import asyncio
from datetime import timedelta

import pytest
from left_behind import asks, begun, leave

from power_loop import (
    ConfigError,
    InvalidInputError,
    MemoryStore,
    PruneReport,
    SessionBusy,
    SessionExistsError,
    SessionNotFoundError,
    SessionPendingError,
    SqliteStore,
    StatefulAgentLoop,
    StoreCorrupt,
    tool,
)
from power_loop.face import pruning
from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import seal_all
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import (
    Compacted,
    InputReceived,
    ModelCalled,
    ModelReplied,
    Note,
    ReplyEdited,
    ResultEdited,
    RunEnded,
    RunStatus,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import BlobNotFound
from power_loop.facts.messages import AgentMessage, Image, MessageRole, Text
from power_loop.ports.store import Append, Claim, NewSession, SubagentLifecycle
from power_loop.testing import FakeClock, ScriptedLLM, call, reply
from power_loop.testing.conformance.base import NOW, Hand, about, note, verified

SECRET = "4929 1234 5678 9012"


@tool(effect="read")
def look(city: str) -> str:
    """Look."""
    return f"{city}: {SECRET}"


@pytest.fixture
def loop(store):
    return StatefulAgentLoop(llm=ScriptedLLM("fine", repeat=True), store=store, tools=[look])


async def talked(store, session_id, text="hello", *, clock=SYSTEM_CLOCK, metadata=None):
    """A session with one completed run."""
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine"), store=store, clock=clock)
    await loop.new_session(session_id, metadata=metadata)
    await loop.send(text, session_id)


async def ids(loop):
    return {info.session_id for info in await loop.list_sessions()}


# -- whole sessions


async def test_sessions_that_did_not_change_for_long_go(store):
    clock = FakeClock()
    await talked(store, "old", clock=clock)
    clock.advance(3600)
    await talked(store, "new", clock=clock)
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, clock=clock)
    size = (await loop.stats("old")).sessions[0]
    would = await loop.prune(older_than=timedelta(minutes=30), dry_run=True)
    assert would == PruneReport(("old",), size.entries, size.entry_bytes, dry_run=True)
    assert await ids(loop) == {"old", "new"}
    done = await loop.prune(older_than=timedelta(minutes=30))
    assert (done.sessions, done.entries, done.bytes, done.dry_run) == (("old",), size.entries, size.entry_bytes, False)
    assert await ids(loop) == {"new"}
    assert await loop.prune(older_than=timedelta(minutes=30)) == PruneReport()


async def test_the_longest_unchanged_go_until_the_rest_fits(store):
    clock = FakeClock()
    for name in ("a", "b", "c"):
        await talked(store, name, "x" * 5000, clock=clock)
        clock.advance(60)
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine"), store=store, clock=clock)
    await loop.send("again", "a")  # the oldest is the newest now
    sizes = {size.session_id: size.entry_bytes for size in (await loop.stats()).sessions}
    assert await loop.prune(max_bytes=sum(sizes.values())) == PruneReport()
    done = await loop.prune(max_bytes=sizes["a"] + sizes["c"])
    assert (done.sessions, done.bytes) == (("b",), sizes["b"])
    assert (await loop.prune(max_bytes=0, keep_last=1)).sessions == ("c",)
    assert await ids(loop) == {"a"}


async def test_an_erasure_makes_no_session_young_again(store):
    clock = FakeClock()
    await talked(store, "old", clock=clock)
    clock.advance(3600)
    await talked(store, "new", clock=clock)
    clock.advance(3600)
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, clock=clock)
    await loop.erase_message("old", 2)
    assert (await loop.prune(older_than=timedelta(minutes=90), keep_last=1)).sessions == ("old",)


async def test_so_many_of_the_newest_stay(store):
    clock = FakeClock()
    for name in ("a", "b", "c"):
        await talked(store, name, clock=clock)
        clock.advance(60)
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, clock=clock)
    assert (await loop.prune(keep_last=2, older_than=timedelta())).sessions == ("a",)
    assert (await loop.prune(keep_last=1)).sessions == ("b",)
    assert (await loop.prune(keep_last=5, max_bytes=0)).sessions == ()


async def test_what_is_driven_or_waits_for_something_stays(store, loop):
    await talked(store, "done")
    await talked(store, "told")
    await store.enqueue("told", "input", '{"content":"and?"}', now=0)
    await leave(store, "cut off", *begun("look"))
    await leave(store, "calls open", *begun("look"), asks(("look", {"city": "Lima"})))
    ended = RunEnded("error", "gave up")
    await leave(store, "open at the end", *begun("look"), asks(("look", {"city": "Lima"})), ended)
    await leave(store, "waits for tools", *begun("away"), asks(("away", {})), RunEnded("pending_tools"))
    await leave(store, "gave up", *begun(), RunEnded("degraded"))
    await talked(store, "driven")
    record, now = await store.get("driven"), SYSTEM_CLOCK.now()
    claim = Claim(store.owner, now.plus(30), now)
    await store.append(Append("driven", record.epoch, record.head_seq, record.head_digest, claim=claim))
    done = await loop.prune(keep_last=0)
    assert set(done.sessions) == {"done", "gave up"}


def test_of_every_status_it_is_decided_whether_a_prune_may_delete():
    """A status that is new and not listed keeps its sessions for ever."""
    assert set(RunStatus.__args__) - pruning._ENDED == {"pending_tools"}


async def test_who_drives_in_this_process_keeps_his_session(store):
    begun_, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        begun_.set()
        await go_on.wait()
        return "done"

    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("wait")), "fine"), store=store, tools=[wait])
    session = await loop.new_session()
    sending = asyncio.ensure_future(loop.send("go", session))
    await begun_.wait()
    assert await loop.prune(keep_last=0) == PruneReport()
    with pytest.raises(SessionBusy):
        await loop.erase_message(session, 2, on_busy="raise")
    go_on.set()
    assert (await sending).status == "completed"
    assert (await loop.prune(keep_last=0)).sessions == (session,)


async def test_a_family_goes_as_a_whole_or_stays(store, loop):
    await talked(store, "parent")
    linked, detached = SubagentLifecycle.LINKED, SubagentLifecycle.DETACHED
    for name, parent, lifecycle in (
        ("child", "parent", linked),
        ("grandchild", "child", linked),
        ("freed", "parent", detached),
    ):
        await store.create(NewSession(name, 0, parent_id=parent, kind="subagent", lifecycle=lifecycle))
    await leave(store, "grandchild", *begun())  # cut off
    await leave(store, "freed", *begun())
    assert await loop.prune(keep_last=0) == PruneReport()
    await leave(store, "grandchild", RunEnded("cancelled"))
    assert set((await loop.prune(keep_last=0)).sessions) == {"parent", "child", "grandchild"}
    assert (await store.get("freed")).parent_id is None


async def test_prune_wants_to_know_what(loop):
    for bounds in (
        {},
        {"older_than": timedelta(seconds=-1)},
        {"older_than": 30},
        {"max_bytes": -1},
        {"keep_last": 1.5},
    ):
        with pytest.raises(ConfigError, match="prune"):
            await loop.prune(**bounds)
    with pytest.raises(SessionNotFoundError):
        await loop.prune(session_id="nobody")


async def test_a_session_that_never_compacted_has_nothing_folded_away(store, loop):
    await talked(store, "s")
    before = await store.get("s")
    assert await loop.prune(session_id="s", older_than=timedelta()) == PruneReport()
    assert await store.get("s") == before


# -- erasing


async def seq_of(store, session_id, kind):
    return [entry.seq for entry in await store.read(session_id) if entry.kind == kind]


async def everywhere(store, loop, session_id):
    """All that a host can see of a session."""
    messages = await loop.get_messages(session_id)
    events = [event async for event in loop.events(session_id)]
    return f"{messages} {events} {await store.read(session_id)} {await loop.search(SECRET)}"


async def test_an_erased_input_is_gone_and_the_session_goes_on(store, loop):
    session = (await loop.send(f"My card is {SECRET}.")).session_id
    (hit,) = await loop.search("card 4929")
    assert await loop.erase_message(session, hit.seq, reason="asked for") == [hit.seq]
    assert SECRET not in await everywhere(store, loop, session)
    await verified(store, session)
    assert (await store.last(session, ["erased"])).fact.reason == "asked for"
    assert (await loop.send("Go on.", session)).status == "completed"
    asked = [message.text for message in loop.llm.requests[-1].messages]
    assert asked == ["[erased]", "fine", "Go on."]
    assert await loop.erase_message(session, hit.seq) == []


async def test_messages_come_with_the_number_that_erases_them(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("hm", call("look", city="Lima")), "ok"), store=store, tools=[look])
    session = (await loop.send("Look.")).session_id
    messages = await loop.get_messages(session, with_seq=True)
    kinds = {entry.seq: entry.kind for entry in await store.read(session)}
    assert [kinds[message["seq"]] for message in messages] == [
        "input_received", "model_replied", "tool_finished", "model_replied",
    ]  # fmt: skip
    assert await loop.get_messages(session, with_seq=True, include_compacted=True) == messages
    assert "seq" not in (await loop.get_messages(session))[0]
    for message in messages:
        assert await loop.erase_message(session, message["seq"]) == [message["seq"]]
    assert {message["content"] for message in await loop.get_messages(session)} == {"[erased]"}


async def test_a_result_is_erased_and_its_call_stays(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM(reply("", call("look", city="Lima")), "seen"), store=store, tools=[look])
    session = (await loop.send("Look.")).session_id
    (seq,) = await seq_of(store, session, "tool_finished")
    await loop.erase_message(session, seq)
    assert SECRET not in await everywhere(store, loop, session)
    messages = await loop.get_messages(session)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[2]["content"] == "[erased]"
    assert "Lima" in str(messages[1]["tool_calls"])


@pytest.mark.parametrize("aim", [5, 6, 7], ids=["reply", "edit", "start"])
async def test_a_reply_goes_with_what_hooks_made_of_it_and_what_repeats_it(store, loop, aim):
    asked = asks(("look", {"city": SECRET}))
    told = AgentMessage(MessageRole.ASSISTANT, f"{SECRET} again")
    other = AgentMessage(MessageRole.USER, "untouched")
    await leave(
        store,
        "s",
        *begun("look"),
        asked,
        ReplyEdited(5, f"{SECRET} again", asked.calls),
        ToolStarted("call_5_0", "look", "read", arguments={"city": SECRET}),
        ToolFinished("call_5_0", "look", content="seen", closes_round=True),
        ViewEdited(0, 0, (other, told)),
        ModelCalled(),
        ModelReplied("bye"),
        RunEnded("completed", f"{SECRET} again"),
    )
    gone = await loop.erase_message("s", aim)
    kinds = {entry.seq: entry.kind for entry in await store.read("s")}
    assert [kinds[seq] for seq in gone] == ["model_replied", "reply_edited", "tool_started", "view_edited", "run_ended"]
    assert SECRET not in await everywhere(store, loop, "s")
    assert "seen" in str(await loop.get_messages("s"))
    assert "untouched" in str(await loop.get_messages("s")), "of an edit only what repeats the message goes"
    await verified(store, "s")
    assert (await loop.send("Go on.", "s")).status == "completed"


async def test_a_result_goes_with_its_edit(store, loop):
    await leave(
        store,
        "s",
        *begun("look"),
        asks(("look", {"city": "Lima"}), ("look", {"city": "Rome"})),
        *[ToolStarted(f"call_5_{n}", "look", "read") for n in (0, 1)],
        ToolFinished("call_5_0", "look", content=SECRET),
        ToolFinished("call_5_1", "look", content="Roman", closes_round=True),
        ResultEdited("call_5_0", f"{SECRET}, edited"),
    )
    gone = await loop.erase_message("s", 10)
    assert gone == [8, 10]
    assert SECRET not in await everywhere(store, loop, "s")
    assert "Roman" in str(await loop.get_messages("s"))


async def test_a_reply_whose_calls_are_open_is_not_erased(store, loop):
    await leave(
        store,
        "s",
        *begun("look"),
        asks(("look", {"city": SECRET})),
        ToolStarted("call_5_0", "look", arguments={"a": 1}),
    )
    before = await verified(store, "s")
    for seq in (5, 6):
        with pytest.raises(SessionPendingError) as caught:
            await loop.erase_message("s", seq)
        assert caught.value.code == "session_pending"
    row, entries = await verified(store, "s")
    assert (row.lease, row.head_seq, entries) == (None, before[0].head_seq, before[1])
    await loop.erase_message("s", 1)  # the input before it may go
    await loop.abort_pending("s")
    await loop.erase_message("s", 5)
    assert SECRET not in await everywhere(store, loop, "s")


async def test_what_says_nothing_or_is_not_there_is_refused(store, loop):
    await talked(store, "s")
    before = await store.get("s")
    for seq in (1, 0, -1, 99, 1 << 70):  # the first is session_opened
        with pytest.raises(InvalidInputError):
            await loop.erase_message("s", seq)
    with pytest.raises(SessionNotFoundError):
        await loop.erase_message("nobody", 1)
    assert await store.get("s") == before


async def test_a_picture_that_only_the_erased_message_showed_is_freed(store, loop):
    picture, shared = b"a picture", b"shown twice"
    await talked(store, "s")
    record, now = await store.get("s"), SYSTEM_CLOCK.now()
    content = (Text(SECRET), *(Image(blob_id(data), "image/png") for data in (picture, shared)))
    facts = [InputReceived(content), Note("test", f"see {blob_id(shared)}")]
    head = {"head_seq": record.head_seq, "head_digest": record.head_digest}
    entries = seal_all(facts, **head, run=record.epoch + 1, round_=0, time=now.wall_ms)
    claim = Claim(store.owner, now.plus(30), now)
    blobs = {blob_id(data): data for data in (picture, shared)}
    at = "s", record.epoch, record.head_seq, record.head_digest
    await store.append(Append(*at, entries, (), claim, release=True, blobs=blobs))
    await loop.erase_message("s", entries[0].seq)
    with pytest.raises(BlobNotFound):
        await store.read_blob(blob_id(picture))
    assert await store.read_blob(blob_id(shared)) == shared


async def test_the_state_at_hand_is_forgotten(store, loop):
    """A loop that has just driven the session must not send from memory what was erased."""
    session = (await loop.send(f"My card is {SECRET}.")).session_id
    await loop.erase_message(session, 2)
    await loop.send("Go on.", session)
    assert SECRET not in str(loop.llm.requests[-1])


@pytest.mark.parametrize("verb", ["erase", "prune"])
async def test_what_another_process_wrote_meanwhile_is_not_judged_by_what_was_there_before(verb):
    class Meddled(MemoryStore):
        """Another process, which finishes a run right after a verb has looked."""

        meddles = False

        async def load(self, session_id, *, whole=False):
            found = await super().load(session_id, whole=whole)
            if whole and self.meddles:
                self.meddles = False
                await leave(self, session_id, *begun(), ModelReplied(f"Your card is {SECRET}."), RunEnded("completed"))
            return found

    store = Meddled()
    await folded(store, "s")
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine"), store=store)
    store.meddles = True
    with pytest.raises(SessionBusy):
        await (loop.erase_message("s", 1) if verb == "erase" else loop.prune(session_id="s"))
    row, entries = await verified(store, "s")
    assert (row.lease, row.base_seq) == (None, 0)
    assert "erased" not in {entry.kind for entry in entries}
    assert (await loop.send("Go on.", "s")).status == "completed"


async def test_waiting_input_is_not_lost_by_an_erasure(store, loop):
    await talked(store, "s", SECRET)
    await store.enqueue("s", "input", '{"content":"waiting"}', now=0)
    await loop.erase_message("s", 2)
    assert SECRET not in await everywhere(store, loop, "s")
    assert (await loop.resume("s")).status == "completed"
    assert [message.text for message in loop.llm.requests[-1].messages] == ["[erased]", "fine", "waiting"]


async def test_erased_content_is_not_in_the_file_after_a_vacuum(tmp_path):
    path = tmp_path / "sessions.db"
    store = SqliteStore(path)
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine", "gone too"), store=store)
    await talked(store, "other", f"pruned {SECRET}")
    session = (await loop.send(f"My card is {SECRET}.")).session_id
    assert len(await loop.search("4929")) == 2
    await loop.erase_message(session, 2)
    await loop.prune(keep_last=1)
    await loop.vacuum()
    await store.close()
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    assert b"4929" not in left
    assert b"[erased]" in left


# -- within one session


def fold_of(summary, *kept):
    """A compaction that keeps these messages, each with the entry that said it."""
    note = AgentMessage(MessageRole.USER, summary)
    view, seqs = (note, *(message for message, _ in kept)), (0, *(seq for _, seq in kept))
    return Compacted(summary, 0, 1, view=view, seqs=seqs, carried={})


async def folded(store, session_id, *blobs):
    """A session that was compacted twice, a minute apart."""
    record = await store.create(NewSession(session_id, 0))
    hand = Hand(store, record)
    await hand.claim(*[note(f"oldest {SECRET} {n}") for n in range(3)], about(b"picture"))
    await hand.commit(fold_of("first summary"), note("older"), blobs={blob_id(b"picture"): b"picture"})
    await hand.commit(note("old"), time=NOW.wall_ms + 60_000)
    await hand.commit(fold_of("second summary"), RunEnded("completed"), time=NOW.wall_ms + 120_000, release=True)


async def test_what_is_folded_away_can_go(store, loop):
    await folded(store, "s")
    size = (await loop.stats("s")).sessions[0]
    would = await loop.prune(session_id="s", dry_run=True)
    assert (await loop.stats("s")).sessions[0] == size
    done = await loop.prune(session_id="s")
    assert (done.sessions, done.entries, done.bytes) == ((), 7, would.bytes)
    row, entries = await verified(store, "s")
    assert [entry.kind for entry in entries] == ["compacted", "run_ended", "pruned"]
    assert (row.base_seq, row.lease) == (7, None)
    left = (await loop.stats("s")).sessions[0]
    assert done.bytes == size.entry_bytes + size.blob_bytes - (left.entry_bytes - len(entries[-1].body))
    assert left.blobs == 0
    assert await loop.search(SECRET) == []
    assert await loop.prune(session_id="s") == PruneReport()
    assert (await loop.send("Go on.", "s")).status == "completed"


@pytest.mark.parametrize(
    ("bounds", "base"),
    [
        ({"keep_last": 1}, 4),
        ({"keep_last": 2}, 0),
        ({"older_than": timedelta(seconds=90)}, 4),
        ({"older_than": timedelta(seconds=30)}, 7),
        ({"older_than": timedelta(seconds=300)}, 0),
        ({"max_bytes": 0}, 7),
        ({"max_bytes": "one less"}, 4),
        ({"max_bytes": 10_000}, 0),
    ],
)
async def test_a_journal_begins_with_a_compaction_whatever_is_kept(store, bounds, base):
    clock = FakeClock(NOW.plus(120))
    loop = StatefulAgentLoop(llm=ScriptedLLM(), store=store, clock=clock)
    await folded(store, "s")
    if bounds == {"max_bytes": "one less"}:
        size = (await loop.stats("s")).sessions[0]
        bounds = {"max_bytes": size.entry_bytes + size.blob_bytes - 1}
    done = await loop.prune(session_id="s", **bounds)
    row, entries = await verified(store, "s")
    assert (row.base_seq, done.entries) == (base, base)
    assert not base or entries[0].kind == "compacted"
    assert row.anchor_seq == 8


async def test_a_session_whose_last_run_is_folded_away_keeps_its_status(store, loop):
    await leave(store, "s", *begun(), fold_of("all of it"))
    assert (await loop.prune(session_id="s")).entries == 4
    assert [info.status for info in await loop.list_sessions()] == ["cut_off"]
    assert await loop.prune(keep_last=0) == PruneReport()
    assert (await loop.resume("s")).status == "completed"


async def kept_over(store, loop):
    """A session that was folded twice; an input with the secret was kept by both, beside another."""
    secret, other = (AgentMessage(MessageRole.USER, text) for text in (f"My card is {SECRET}.", "untouched"))
    await leave(store, "s", InputReceived(secret.content), InputReceived(other.content), *begun(), ModelReplied("yes"))
    await leave(store, "s", fold_of("folded once", (secret, 1), (other, 2)), ModelCalled(), ModelReplied("a reply"))
    reply = AgentMessage(MessageRole.ASSISTANT, "a reply")
    await leave(store, "s", fold_of("folded again", (secret, 1), (other, 2), (reply, 10)), RunEnded("completed"))


async def test_a_message_that_compactions_kept_goes_from_their_views_alone(store, loop):
    await kept_over(store, loop)
    assert await loop.erase_message("s", 1) == [1, 8, 11]
    assert SECRET not in await everywhere(store, loop, "s")
    texts = ["folded again", "[erased]", "untouched", "a reply"]
    assert [message["content"] for message in await loop.get_messages("s")] == texts
    await verified(store, "s")
    assert await loop.erase_message("s", 1) == []
    assert await loop.erase_message("s", 10) == [10, 11]
    assert [message["content"] for message in await loop.get_messages("s")] == [*texts[:3], "[erased]"]
    await verified(store, "s")
    assert (await loop.send("Go on.", "s")).status == "completed"


async def test_a_summary_is_erased_and_what_was_kept_stays(store, loop):
    await kept_over(store, loop)
    assert await loop.erase_message("s", 11) == [11]
    assert [message["content"] for message in await loop.get_messages("s")][:3] == [
        "[erased]", f"My card is {SECRET}.", "untouched",
    ]  # fmt: skip
    assert "folded again" not in str(await store.read("s"))
    assert await loop.search("folded again") == []
    await verified(store, "s")


# -- looking and moving


async def test_search_and_stats_by_session(store, loop):
    await talked(store, "a", "ceviche in Lima")
    await talked(store, "b", "ceviche in Paris")
    assert [hit.session_id for hit in await loop.search("Cevi")] == ["b", "a"]
    assert [hit.session_id for hit in await loop.search("ceviche", session_id="a")] == ["a"]
    assert len(await loop.search("ceviche", limit=1)) == 1
    assert [size.session_id for size in (await loop.stats("a")).sessions] == ["a"]
    with pytest.raises(SessionNotFoundError):
        await loop.stats("nobody")


async def test_a_session_moves_with_its_children(store, loop, tmp_path):
    await talked(store, "s", metadata={"who": "ann"})
    await store.create(NewSession("child", 0, parent_id="s", kind="subagent", lifecycle=SubagentLifecycle.LINKED))
    path = tmp_path / "s.jsonl"
    assert await loop.export_session("s", path) == ("s", "child")
    other = StatefulAgentLoop(llm=ScriptedLLM("and on"), db_path=":memory:")
    assert await other.import_session(path) == ("s", "child")
    assert await other.get_messages("s") == await loop.get_messages("s")
    assert (await other.send("Go on.", "s")).final_text == "and on"
    with pytest.raises(SessionExistsError):
        await loop.import_session(path)
    await loop.export_session("s", path, children=False)
    assert await loop.import_session(path, session_id="copy") == ("copy",)
    assert await loop.get_messages("copy") == await loop.get_messages("s")
    with pytest.raises(InvalidInputError):
        await loop.import_session(path, session_id="\x1b[2J")


async def test_a_cut_file_imports_nothing(store, loop, tmp_path):
    await talked(store, "s")
    path = tmp_path / "s.jsonl"
    await loop.export_session("s", path)
    lines = path.read_bytes().splitlines(keepends=True)
    other = StatefulAgentLoop(llm=ScriptedLLM(), db_path=":memory:")
    for count in range(len(lines)):
        path.write_bytes(b"".join(lines[:count]))
        with pytest.raises(StoreCorrupt):
            await other.import_session(path)
        assert await other.list_sessions() == []


def test_the_twins_do_the_same(tmp_path):
    loop = StatefulAgentLoop(llm=ScriptedLLM("fine", repeat=True), db_path=str(tmp_path / "sessions.db"))
    session = loop.send_sync(f"ceviche {SECRET}").session_id
    (hit,) = loop.search_sync("ceviche")
    loop.export_session_sync(session, tmp_path / "s")
    assert loop.erase_message_sync(session, hit.seq) == [hit.seq]
    assert loop.prune_sync(keep_last=0).sessions == (session,)
    assert loop.import_session_sync(tmp_path / "s", session_id="copy") == ("copy",)
    assert loop.stats_sync().sessions[0].session_id == "copy"
    assert loop.vacuum_sync() >= 0
    loop.close_sync()
