"""Images and documents in sessions: what is sent, kept, shown, and what becomes of it after a kill."""

import asyncio
import base64
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from power_loop import (
    AgentHooks,
    AgentLoopConfig,
    AgentMessage,
    ConfigError,
    ContentNotAllowed,
    ContentUnavailable,
    Document,
    HookError,
    HookPoint,
    Image,
    InvalidInputError,
    MemoryStore,
    MessageRole,
    SqliteStore,
    StatefulAgentLoop,
    StoreFull,
    Text,
    UnsupportedContent,
    document,
    image,
    tool,
)
from power_loop.facts.blobs import blob_id
from power_loop.facts.chain import seal_all
from power_loop.facts.clock import SYSTEM_CLOCK
from power_loop.facts.entries import InputReceived, ToolFinished
from power_loop.facts.erasure import erasure_of
from power_loop.ports.store import LEASE_TTL, Append, Claim
from power_loop.testing import CrashingStore, ScriptedLLM, call, reply

PNG = b"\x89PNG\r\n\x1a\n not much of a picture"
GIF = b"GIF89a not much of a picture"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


async def sent(value, store=None, llm=None, **settings):
    """Send, and return the content that the model saw of the last message."""
    llm = llm or ScriptedLLM("seen", repeat=True)
    loop = StatefulAgentLoop(llm=llm, store=store or MemoryStore(), **settings)
    await loop.send(value)
    return llm.requests[-1].messages[-1].content


# -- forms of input


@pytest.mark.parametrize(
    "value",
    [
        ["Look:", image(PNG), "Well?"],
        {"role": "user", "content": ["Look:", image(PNG), "Well?"]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
                {"type": "text", "text": "Well?"},
            ],
        },
        [
            {"type": "input_text", "text": "Look:"},
            {"type": "input_image", "image_url": PNG_URL},
            {"type": "input_text", "text": "Well?"},
        ],
    ],
)
async def test_parts_are_one_message_in_their_order(value):
    assert await sent(value) == (Text("Look:"), Image(blob_id(PNG), "image/png", len(PNG)), Text("Well?"))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}},
        {"type": "input_file", "filename": "a.txt", "file_data": "aGVsbG8="},
        document(b"hello", name="a.txt"),
    ],
)
async def test_files_are_documents(part):
    assert await sent(part) == (Document(blob_id(b"hello"), "text/plain", "a.txt", 5),)


async def test_a_list_of_texts_is_still_several_messages():
    llm = ScriptedLLM("seen")
    await sent(["one", "two"], llm=llm)
    assert [message.content for message in llm.requests[0].messages] == ["one", "two"]


@pytest.mark.parametrize(
    "value",
    [
        [{"type": "image_url"}],
        [{"type": "file", "file": {"file_id": "file-1"}}],
        [{"type": "input_audio", "input_audio": {}}],
        [image(PNG), {"role": "user", "content": "x"}],
        [image(PNG), 7],
        {"role": "system", "content": ["x", image(PNG)]},
        {"role": "assistant", "content": [image(PNG)]},
        {"role": "user", "content": [{"type": "text", "text": " "}]},
        [Text("")],
    ],
)
async def test_what_cannot_be_taken_is_refused(value):
    with pytest.raises(InvalidInputError):
        await sent(value)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (image(b"BM not a picture"), UnsupportedContent),
        (image(Path("/etc/passwd")), ContentNotAllowed),
        (image("https://example.com/a.png"), ContentNotAllowed),
        (image(blob_id(PNG)), ContentUnavailable),
    ],
)
async def test_nothing_is_written_before_all_is_read(store, part, error):
    loop = StatefulAgentLoop(llm=ScriptedLLM("never"), store=store)
    with pytest.raises(error):
        await loop.send([image(PNG), part])
    assert await loop.list_sessions() == []


async def test_paths_beneath_a_root_that_the_config_names(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    config = AgentLoopConfig(content_roots=[tmp_path])
    assert await sent(image(tmp_path / "a.png"), config=config) == (Image(blob_id(PNG), "image/png", len(PNG)),)


@pytest.mark.parametrize(
    "settings",
    [
        {"content_roots": "/tmp"},
        {"content_hosts": "example.com"},
        {"max_image_bytes": 0},
        {"max_document_bytes": -1},
        {"content_timeout": float("inf")},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        AgentLoopConfig(**settings)


# -- blobs


async def test_the_same_image_twice_is_stored_once_and_in_the_commit_that_mentions_it(store):
    commits = []
    loop = StatefulAgentLoop(llm=ScriptedLLM("seen", repeat=True), store=CrashingStore(store, commits.append))
    first = await loop.send([image(PNG), image(PNG)])
    assert await store.list_blobs(first.session_id) == {blob_id(PNG)}
    second = await loop.send(image(PNG))
    assert (await store.stats(second.session_id)).sessions[0].blobs == 1
    await loop.close_session(first.session_id)
    assert await store.read_blob(blob_id(PNG)) == PNG
    held = [point.kinds for point in commits if any(blob_id(PNG) in entry.body for entry in point.entries)]
    assert held[0] == ("input_received", "run_started", "definition_changed", "model_called")


async def test_the_model_gets_a_reader_of_the_bytes(store):
    async def look(request):
        (block,) = request.messages[-1].content
        assert await request.blobs(block.blob) == PNG
        return "seen"

    assert (await StatefulAgentLoop(llm=ScriptedLLM(look), store=store).send(image(PNG))).final_text == "seen"


async def test_messages_show_addresses_not_bytes_and_can_be_sent_again(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM("seen", repeat=True), store=store)
    first = await loop.send(["Look:", image(PNG), document(b"hello", name="a.txt")])
    shown = (await loop.get_messages(first.session_id))[0]
    assert shown == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look:"},
            {"type": "image_url", "image_url": {"url": blob_id(PNG)}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": blob_id(b"hello")}},
        ],
    }
    second = await loop.send(shown)
    assert (await loop.get_messages(second.session_id))[0] == shown
    await loop.close_session(first.session_id)
    assert await store.read_blob(blob_id(PNG)) == PNG


async def test_blocks_of_another_session_become_this_sessions_own(store):
    llm = ScriptedLLM("seen", repeat=True)
    loop = StatefulAgentLoop(llm=llm, store=store)
    first = await loop.send(image(PNG))
    second = await loop.send(AgentMessage(MessageRole.USER, llm.requests[0].messages[0].content))
    await loop.close_session(first.session_id)
    assert await store.list_blobs(second.session_id) == {blob_id(PNG)}
    assert await store.read_blob(blob_id(PNG)) == PNG


async def erase(store, session_id, entry):
    """Erase an entry's content, as a host does it."""
    record = await store.get(session_id)
    now = SYSTEM_CLOCK.now()
    facts = seal_all(
        [erasure_of(entry)],
        head_seq=record.head_seq, head_digest=record.head_digest, run=record.epoch + 1, round_=0, time=now.wall_ms,
    )  # fmt: skip
    claim = Claim(store.owner, now.plus(LEASE_TTL), now)
    await store.append(
        Append(session_id, record.epoch, record.head_seq, record.head_digest, facts, claim=claim, release=True)
    )


async def test_an_erased_image_is_gone_and_the_session_goes_on(store):
    loop = StatefulAgentLoop(llm=ScriptedLLM("seen", repeat=True), store=store)
    session = (await loop.send(["My face:", image(PNG)])).session_id
    entry = next(entry for entry in await store.read(session) if isinstance(entry.fact, InputReceived))
    await erase(store, session, entry)
    assert await store.list_blobs(session) == frozenset()
    assert (await loop.send("Again", session)).status == "completed"
    assert (await loop.get_messages(session))[0]["content"] == "[erased]"


async def test_a_refused_commit_is_written_again_with_its_bytes(store):
    """A cancel from elsewhere refuses the call that would follow a result; the result is written with its picture."""

    @tool(effect="read")
    async def shot() -> object:
        """Take a picture."""
        return [image(GIF)]

    async def interfere(point):
        if point.moment == "before" and point.kinds == ("tool_finished", "model_called"):
            interfered.append(point.kinds)
            await store.enqueue(session, "cancel", "enough", run=point.entries[0].run, now=1)

    interfered = []
    llm = ScriptedLLM(reply("", call("shot")), "never")
    loop = StatefulAgentLoop(llm=llm, tools=[shot], store=CrashingStore(store, interfere))
    session = await loop.new_session()
    result = await loop.send("Go", session)
    assert result.status == "cancelled"
    assert interfered
    assert await store.read_blob(blob_id(GIF)) == GIF
    assert await store.list_blobs(session) == {blob_id(GIF)}


async def test_a_commit_that_a_cancellation_stopped_is_written_again_with_its_bytes(store):
    """P15: the task is cancelled while a result with a picture is about to be written; its end writes both."""

    @tool(effect="read")
    async def shot() -> object:
        """Take a picture."""
        return [image(GIF)]

    async def hold(point):
        if point.moment == "before" and point.kinds == ("tool_finished", "model_called"):
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    llm = ScriptedLLM(reply("", call("shot")), "never")
    loop = StatefulAgentLoop(llm=llm, tools=[shot], store=CrashingStore(store, hold))
    session = await loop.new_session()
    task = asyncio.create_task(loop.send("Go", session))
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.list_blobs(session) == {blob_id(GIF)}
    assert await store.read_blob(blob_id(GIF)) == GIF


async def test_a_verb_that_is_planned_again_brings_its_bytes_again(tmp_path):
    """Another process wrote since this one's snapshot: the input is staged anew, with what it refers to."""
    path = str(tmp_path / "sessions.db")
    one, other = (StatefulAgentLoop(llm=ScriptedLLM("a", repeat=True), store=SqliteStore(path)) for _ in range(2))
    session = (await one.send("hello")).session_id
    await other.send("from elsewhere", session)
    await one.send(image(PNG), session)
    assert await one.store.list_blobs(session) == {blob_id(PNG)}
    assert await one.store.read_blob(blob_id(PNG)) == PNG
    await one.store.close()
    await other.store.close()


async def test_after_a_full_disk_the_next_send_works(store):
    def full(point):
        if point.moment == "before" and point.operation == "append" and not failed:
            failed.append(point)
            raise StoreFull("no space left", path="here")

    failed = []
    loop = StatefulAgentLoop(llm=ScriptedLLM("seen"), store=CrashingStore(store, full))
    session = await loop.new_session()
    with pytest.raises(StoreFull):
        await loop.send(image(PNG), session)
    assert (await loop.send(image(PNG), session)).final_text == "seen"


# -- hooks


def appending(change) -> AgentHooks:
    hooks = AgentHooks()

    @hooks.on(HookPoint.MESSAGE_APPEND)
    def append(ctx):
        if ctx.message.role is MessageRole.USER:
            ctx.message = change(ctx.message)

    return hooks


async def test_a_hook_may_leave_an_image_take_it_away_or_be_refused(store):
    async def run_with(change):
        loop = StatefulAgentLoop(llm=ScriptedLLM("seen"), store=store, hooks=appending(change))
        result = await loop.send(["Look:", image(PNG)])
        return (await loop.get_messages(result.session_id))[0]["content"], await store.list_blobs(result.session_id)

    content, blobs = await run_with(lambda message: AgentMessage(MessageRole.USER, (*message.content, Text("!"))))
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    assert blobs == {blob_id(PNG)}
    assert await run_with(lambda _message: AgentMessage(MessageRole.USER, "no pictures")) == ("no pictures", set())
    with pytest.raises(HookError):
        await run_with(lambda _message: AgentMessage(MessageRole.USER, (Image(blob_id(GIF), "image/gif"),)))


# -- tools


@tool(effect="read")
def camera() -> object:
    """Take a picture."""
    return ["Front:", image(PNG), {"lens": 35}, image(GIF), document(b"raw", name="raw.txt")]


CAMERA = (
    Text("Front:"),
    Image(blob_id(PNG), "image/png", len(PNG)),
    Text('{"lens":35}'),
    Image(blob_id(GIF), "image/gif", len(GIF)),
    Document(blob_id(b"raw"), "text/plain", "raw.txt", 3),
)


async def test_a_tool_returns_images_and_files_in_order(store):
    llm = ScriptedLLM(reply("", call("camera")), "seen")
    loop = StatefulAgentLoop(llm=llm, tools=[camera], store=store)
    session = (await loop.send("Go")).session_id
    assert llm.requests[1].messages[-1].content == CAMERA
    assert await store.list_blobs(session) == {blob_id(PNG), blob_id(GIF), blob_id(b"raw")}


@pytest.mark.parametrize("blocking", [True, False])
async def test_an_image_by_itself_is_a_result(blocking):
    @tool(effect="read")
    async def waits() -> object:
        """Take a picture."""
        return image(PNG)

    @tool(effect="read")
    def blocks() -> object:
        """Take a picture."""
        return image(PNG)

    chosen = blocks if blocking else waits
    llm = ScriptedLLM(reply("", call(chosen.name)), "seen")
    await sent("Go", llm=llm, tools=[chosen])
    assert llm.requests[1].messages[-1].content == (Image(blob_id(PNG), "image/png", len(PNG)),)


@pytest.mark.parametrize("source", [b"BM not a picture", Path("/etc/passwd"), "https://example.com/a.png"])
async def test_what_a_tool_may_not_return_the_model_is_told(source):
    @tool(effect="read")
    def bad() -> object:
        """Return it."""
        return image(source)

    llm = ScriptedLLM(reply("", call("bad")), "told")
    content = await sent("Go", llm=llm, tools=[bad])
    assert content.startswith("Error: ")


async def test_a_tool_gets_no_bytes_of_another_session(store):
    """A model may have the address from anywhere; only what this session refers to can be had by it."""

    @tool(effect="read")
    def show() -> object:
        """Show it again."""
        return image(blob_id(PNG))

    async def shown(*first):
        llm = ScriptedLLM(reply("", call("show")), "done")
        await StatefulAgentLoop(llm=llm, tools=[show], store=store).send([Text("Go"), *first])
        return llm.requests[1].messages[-1].content

    assert await shown(image(PNG)) == (Image(blob_id(PNG), "image/png", len(PNG)),)
    assert (await shown()).startswith("Error: ContentUnavailable")


async def test_an_image_inside_other_data_is_an_error_not_its_bytes():
    @tool(effect="read")
    def nested() -> object:
        """Return it."""
        return {"picture": image(PNG)}

    content = await sent("Go", llm=ScriptedLLM(reply("", call("nested")), "told"), tools=[nested])
    assert content.startswith("Error") or "cannot be written as JSON" in content
    assert "in a list" in content


async def test_a_hook_edits_the_text_of_a_result_and_the_pictures_stay():
    hooks = AgentHooks()

    @hooks.on(HookPoint.TOOL_AFTER)
    def after(ctx):
        assert ctx.output == 'Front:{"lens":35}'
        ctx.output = "masked"

    llm = ScriptedLLM(reply("", call("camera")), "seen")
    content = await sent("Go", llm=llm, tools=[camera], hooks=hooks)
    assert content == (Text("masked"), CAMERA[1], CAMERA[3], CAMERA[4])


KILLED = """
import os, signal, sys
from power_loop import StatefulAgentLoop, image, tool
from power_loop.testing import ScriptedLLM, call, reply
@tool(effect="once")
def camera() -> object:
    "Take a picture."
    return ["Front:", image({png!r})]
def die(request):
    os.kill(os.getpid(), signal.SIGKILL)
StatefulAgentLoop(llm=ScriptedLLM(reply("", call("camera")), die), tools=[camera], db_path=sys.argv[1]).send_sync(
    ["Like this:", image({gif!r})], None)
"""


async def test_a_picture_survives_the_process_that_took_it(tmp_path):
    """P1, P3: a tool that must not run twice gave a picture; another process goes on with it."""
    path = str(tmp_path / "sessions.db")
    script = KILLED.format(png=PNG, gif=GIF)
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, path], check=False)
    assert done.returncode == -signal.SIGKILL
    llm = ScriptedLLM("seen")
    loop = StatefulAgentLoop(llm=llm, tools=[camera], db_path=path)
    session = (await loop.list_sessions())[0].session_id
    assert (await loop.resume(session)).final_text == "seen"
    _, _, result = llm.requests[0].messages
    assert result.content == (Text("Front:"), Image(blob_id(PNG), "image/png", len(PNG)))
    for data in (PNG, GIF):
        assert await llm.requests[0].blobs(blob_id(data)) == data
    finished = [entry.fact for entry in await loop.store.read(session) if isinstance(entry.fact, ToolFinished)]
    assert len(finished) == 1
    await loop.close()
