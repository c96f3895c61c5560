"""Results that are too long: kept whole in the commit that records them, shown by head and tail, read by handle."""

import signal
import subprocess
import sys

import pytest

from power_loop import AgentHooks, HookPoint, Image, MemoryStore, SqliteStore, StatefulAgentLoop, Text, image, tool
from power_loop.engine.results import MAX_KEPT, to_record, with_text
from power_loop.facts.blobs import blob_id
from power_loop.facts.entries import KeptResult, ToolFinished
from power_loop.facts.erasure import erased_body
from power_loop.testing import CrashingStore, ScriptedLLM, call, reply
from power_loop.toolkits.results import read_result_tool

LONG = "HEAD\n" + "".join(f"line {number}: ünïcödé\n" for number in range(5000)) + "TAIL"
PNG = b"\x89PNG\r\n\x1a\n not much of a picture"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "sessions.db"))
    yield made
    await made.close()


@tool(effect="read", output_limit=1000)
def dump() -> str:
    """Return a lot."""
    return LONG


async def run_one(store, chosen=dump, *more, **settings):
    """Run one tool; return its session, its entry, and what the model saw of it."""
    llm = ScriptedLLM(reply("", call(chosen.name)), "done")
    loop = StatefulAgentLoop(llm=llm, tools=[chosen, *more], store=store, **settings)
    session = (await loop.send("Go")).session_id
    (finished,) = [e.fact for e in await loop.store.read(session) if isinstance(e.fact, ToolFinished)]
    return session, finished, llm.requests[1].messages[-1].content


async def test_the_whole_is_kept_and_the_model_sees_head_tail_size_and_handle(store):
    session, finished, seen = await run_one(store)
    assert finished.whole == KeptResult(blob_id(LONG.encode()), len(LONG))
    assert await store.read_blob(finished.whole.blob) == LONG.encode()
    assert finished.content == seen
    assert len(seen) <= 1000
    assert seen.startswith("HEAD\n")
    assert seen.endswith("TAIL")
    assert f"of {len(LONG)} characters cut; kept as {finished.call} ...]" in seen
    assert await store.list_blobs(session) == {finished.whole.blob}


async def test_the_way_to_read_on_is_named_only_where_there_is_one(store):
    _, finished, seen = await run_one(store, dump, read_result_tool())
    assert f'read_result(handle="{finished.call}")' in seen


async def test_it_is_in_the_commit_that_records_the_result(store):
    """P1: no moment at which the handle is durable and what it names is not."""
    kept = []

    async def look(point):
        if point.moment == "after" and "tool_finished" in point.kinds:
            fact = next(entry.fact for entry in point.entries if entry.kind == "tool_finished")
            kept.append(await store.read_blob(fact.whole.blob))

    await run_one(CrashingStore(store, look))
    assert kept == [LONG.encode()]


async def test_a_result_that_fits_costs_nothing(store):
    @tool(effect="read", output_limit=len(LONG))
    def fits() -> str:
        """Return just enough."""
        return LONG

    session, finished, seen = await run_one(store, fits)
    assert (finished.whole, seen) == (None, LONG)
    assert await store.list_blobs(session) == frozenset()


async def test_what_a_tool_raises_is_bounded_too(store):
    @tool(effect="read", output_limit=1000)
    def bad() -> str:
        """Raise a lot."""
        raise ValueError(LONG)

    _, finished, seen = await run_one(store, bad)
    assert len(seen) <= 1000
    assert await store.read_blob(finished.whole.blob) == f"Error: ValueError: {LONG}".encode()


async def test_text_beside_pictures_is_bounded_and_they_stay(store):
    @tool(effect="read", output_limit=1000)
    def report() -> object:
        """Return a report."""
        return [image(PNG), LONG, "more"]

    session, finished, seen = await run_one(store, report)
    picture, text = seen
    assert picture == Image(blob_id(PNG), "image/png", len(PNG))
    assert len(text.text) <= 1000
    assert await store.read_blob(finished.whole.blob) == (LONG + "more").encode()
    assert await store.list_blobs(session) == {finished.whole.blob, blob_id(PNG)}


async def test_a_hook_sees_what_the_model_would_see_and_its_words_stand(store):
    hooks = AgentHooks()
    outputs = []

    @hooks.on(HookPoint.TOOL_AFTER)
    def after(ctx):
        outputs.append(ctx.output)
        ctx.output = "masked"

    _, finished, seen = await run_one(store, hooks=hooks)
    assert outputs == [finished.content]
    assert seen == "masked"


async def test_an_erased_result_is_gone_with_its_whole(store):
    session, finished, _ = await run_one(store)
    entry = next(e for e in await store.read(session) if e.kind == "tool_finished")
    assert finished.whole.blob in entry.body
    assert finished.whole.blob not in erased_body(entry.kind, entry.body)


def test_what_is_kept_is_bounded():
    text = "x" * (MAX_KEPT + 5)
    record = to_record(text, 1000, "call_1_0", readable=False, blobs={})
    assert record.whole == KeptResult(blob_id(b"x" * MAX_KEPT), len(text), 5)


def test_what_no_store_can_hold_is_replaced_in_both():
    record = to_record("\ud800" * 2000, 1000, "call_1_0", readable=False, blobs={})
    assert record.cleaned
    assert record.blobs[record.whole.blob].decode() == "\ufffd" * 2000
    record.content.encode()


def test_a_limit_without_room_for_a_handle_is_kept_all_the_same():
    record = to_record("x" * 2000, 10, "call_1_0", readable=True, blobs={})
    assert record.content == "x" * 10
    assert record.whole.characters == 2000


@pytest.mark.parametrize(
    ("content", "text", "expected"),
    [
        ("a", "b", "b"),
        ((Text("a"), Image("i", "m"), Text("c")), "b", (Text("b"), Image("i", "m"))),
        ((Image("i", "m"), Text("a")), "b", (Image("i", "m"), Text("b"))),
        ((Image("i", "m"),), "b", (Text("b"), Image("i", "m"))),
        ((Text("a"), Image("i", "m")), "", (Image("i", "m"),)),
    ],
)
def test_other_text_stands_where_the_first_was(content, text, expected):
    assert with_text(content, text) == expected


KILLED = """
import os, signal, sys
from power_loop import StatefulAgentLoop, tool
from power_loop.testing import ScriptedLLM, call, reply
@tool(effect="once", output_limit=1000)
def dump() -> str:
    "Return a lot."
    return "HEAD" + "x" * 100000 + "TAIL"
def die(request):
    os.kill(os.getpid(), signal.SIGKILL)
StatefulAgentLoop(llm=ScriptedLLM(reply("", call("dump")), die), tools=[dump], db_path=sys.argv[1]).send_sync("Go")
"""


async def test_a_handle_outlives_the_process_that_gave_it(tmp_path):
    """P3, P17: the tool must not run again, and what the model did not see of it can still be read."""
    path = str(tmp_path / "sessions.db")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    results = []

    def ask(request):
        shown = request.messages[-1].content
        handle = shown.partition("kept as ")[2].partition(" ")[0]
        return reply("", call("read_result", handle=handle, start=-10))

    def answered(request):
        results.append(request.messages[-1].content)
        return "done"

    # the definition changed with the tool, so the old result still says what it said
    async with StatefulAgentLoop(
        llm=ScriptedLLM(ask, answered), tools=[dump, read_result_tool()], db_path=path
    ) as loop:
        session = (await loop.list_sessions())[0].session_id
        assert (await loop.resume(session)).final_text == "done"
    assert results[0].endswith("]\nxxxxxxTAIL")
