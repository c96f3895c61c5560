"""read_result and search_history: what they find, what they do not, and that no session reads another."""

import pytest

from power_loop import AgentHooks, HookPoint, MemoryStore, SqliteStore, StatefulAgentLoop, tool
from power_loop.engine.reader import StoreReader
from power_loop.facts.entries import ToolFinished
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.toolkits.history import search_history_tool
from power_loop.toolkits.results import MAX_FOUND, MAX_READ, read_result_tool

LINES = [f"line {number}: {'needle' if number % 700 == 5 else 'hay'}" for number in range(5000)]
LONG = "\n".join(LINES)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "sessions.db"))
    yield made
    await made.close()


@tool(effect="read", output_limit=1000)
def dump() -> str:
    """Return a lot."""
    return LONG


def loop_with(store, *lines, hooks=None, tools=()):
    llm = ScriptedLLM(*lines)
    return llm, StatefulAgentLoop(
        llm=llm, store=store, hooks=hooks, tools=[dump, read_result_tool(), search_history_tool(), *tools]
    )


async def asked(store, question, **settings):
    """Let a session dump, and then ask ``question`` of the handle; return the answer."""

    def ask(request):
        handle = request.messages[2].content.partition('handle="')[2].partition('"')[0]
        return reply("", call("read_result", **{"handle": handle, **question}))

    llm, loop = loop_with(store, reply("", call("dump")), ask, "done", **settings)
    await loop.send("Go")
    return llm.requests[2].messages[-1].content


# -- read_result


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ({"start": 100, "length": 50}, LONG[100:150]),
        ({"start": -50}, LONG[-50:]),
        ({"start": len(LONG) + 10}, ""),
        ({"start": -10 * len(LONG), "length": 3}, LONG[:3]),
        ({"start": 10, "length": 2, "unit": "lines"}, "\n".join(LINES[10:12]) + "\n"),
        ({"start": -1, "length": 9, "unit": "lines"}, LINES[-1]),
        ({"start": 9999, "unit": "lines"}, ""),
        ({"start": 5, "length": -3}, LONG[5]),
        ({"length": 10**9}, LONG[:MAX_READ]),
        ({"length": 10**9, "unit": "lines"}, LONG[:MAX_READ]),
    ],
)
async def test_any_part_can_be_read_within_bounds(question, part):
    head, _, text = (await asked(MemoryStore(), question)).partition("\n")
    assert text == part
    assert f"of {len(LONG)}" in head


async def test_reading_on_from_where_it_says_gives_everything():
    llm_start, parts = 0, []
    while True:
        head, _, text = (await asked(MemoryStore(), {"start": llm_start, "length": 10**9})).partition("\n")
        parts.append(text)
        if "this is the end" in head:
            break
        llm_start = int(head.partition("start=")[2].partition(",")[0])
    assert "".join(parts) == LONG


@pytest.mark.parametrize("pattern", [{"pattern": "needle"}, {"pattern": "(?i)NEED.E$", "regex": True}])
async def test_every_place_is_found_with_its_line(store, pattern):
    answer = await asked(store, pattern)
    found = [line for line in answer.splitlines() if line.startswith("character ")]
    expected = [number for number, line in enumerate(LINES) if "needle" in line]
    assert [int(line.partition("line ")[2].partition(":")[0]) for line in found] == expected
    for line in found:
        place = int(line.split()[1].rstrip(","))
        assert "needle" in LONG[place : place + 30]


async def test_a_search_is_bounded_and_says_where_to_search_on():
    answer = await asked(MemoryStore(), {"pattern": "hay"})
    assert answer.count("character ") == MAX_FOUND
    on = int(answer.partition("start=")[2].split()[0])
    assert LONG[on : on + 3] == "hay"


async def test_a_pattern_in_one_endless_line_is_found():
    @tool(effect="read", output_limit=1000)
    def minified() -> str:
        """Return one line."""
        return "a" * 30_000 + "needle" + "b" * 30_000

    def ask(request):
        handle = request.messages[2].content.partition('handle="')[2].partition('"')[0]
        return reply("", call("read_result", handle=handle, pattern="ne+dle", regex=True))

    llm, loop = loop_with(MemoryStore(), reply("", call("minified")), ask, "done", tools=[minified])
    await loop.send("Go")
    (place,) = [int(line.split()[1].rstrip(",")) for line in llm.requests[2].messages[-1].content.splitlines()]
    assert 29_500 <= place <= 30_000


async def test_a_pattern_made_to_explode_does_not():
    """Models write patterns. This one takes a backtracking matcher longer than the world is old."""
    assert "Nothing found" in await asked(MemoryStore(), {"pattern": "(l+|i+|n+|e+|.)+!$", "regex": True})


@pytest.mark.parametrize(
    "question", [{"handle": "call_1_0"}, {"handle": "x"}, {"handle": "call_99999999999999999999_0"}, {"handle": ""}]
)
async def test_what_is_not_there_is_said_to_be_not_there(question):
    assert (await asked(MemoryStore(), question)).startswith("Error: there is no result")


async def test_a_pattern_that_is_none_is_explained():
    assert (await asked(MemoryStore(), {"pattern": "(", "regex": True})).startswith("Error: '(' is not a regular")


async def test_what_a_hook_masked_stays_masked(store):
    hooks = AgentHooks()

    @hooks.on(HookPoint.TOOL_AFTER)
    def after(ctx):
        if ctx.tool_name == "dump":
            ctx.output = 'masked; handle="call_6_0"'

    assert (await asked(store, {}, hooks=hooks)).partition("\n")[2] == 'masked; handle="call_6_0"'
    assert (await asked(store, {"pattern": "needle"}, hooks=hooks)).startswith("Nothing found")


async def test_no_session_reads_another(store):
    _, loop = loop_with(store, reply("", call("dump")), "done")
    session = (await loop.send("the secret word")).session_id
    (handle,) = [e.fact.call for e in await store.read(session) if isinstance(e.fact, ToolFinished)]
    other = await loop.new_session()
    assert await StoreReader(store, session).result(handle) == LONG
    assert await StoreReader(store, other).result(handle) is None
    assert await StoreReader(store, other).search("secret") == []
    assert [said.text for said in await StoreReader(store, session).search("secret")] == ["the secret word"]


# -- search_history


async def searched(store, session, **arguments):
    llm, loop = loop_with(store, reply("", call("search_history", **arguments)), "done")
    await loop.send("And?", session)
    return llm.requests[-1].messages[-1].content


async def test_what_was_said_is_found_and_brought_back(store):
    _, loop = loop_with(store, reply("Calling", call("dump")), "The answer is ceviche.")
    session = (await loop.send("What is the dish of Lima?")).session_id
    found = await searched(store, session, query="ceviche")
    assert "assistant" in found
    assert "The answer is ceviche." in found
    number = int(found.split()[1].rstrip(","))
    assert (await searched(store, session, entry=number)).endswith(":\nThe answer is ceviche.")


async def test_a_search_does_not_find_itself(store):
    _, loop = loop_with(store, "Hello.")
    session = (await loop.send("Hi")).session_id
    for _ in range(2):
        assert (await searched(store, session, query="xylophone")).startswith("Nothing found")


async def test_an_original_is_the_whole_of_it(store):
    _, loop = loop_with(store, reply("", call("dump")), "done")
    session = (await loop.send("Go")).session_id
    (seq,) = [entry.seq for entry in await store.read(session) if isinstance(entry.fact, ToolFinished)]
    assert (await StoreReader(store, session).said(seq)).text == LONG
    assert (await searched(store, session, entry=seq)).startswith(f"entry {seq}, tool dump, ")


async def test_what_hooks_changed_is_found_as_they_left_it(store):
    hooks = AgentHooks()

    @hooks.on(HookPoint.TOOL_AFTER)
    def after(ctx):
        ctx.output = "harmless"

    @hooks.on(HookPoint.LLM_AFTER)
    def replied(ctx):
        if ctx.output.text == "my password":
            ctx.output = type(ctx.output)("my ****")

    _, loop = loop_with(store, reply("", call("dump")), "my password", hooks=hooks)
    session = (await loop.send("Go")).session_id
    reader = StoreReader(store, session)
    assert await reader.search("needle") == []
    assert await reader.search("password") == []
    assert [said.text for said in await reader.search("harmless")] == ["harmless"]
    assert [said.text for said in await reader.search("my")] == ["my ****"]


@pytest.mark.parametrize("arguments", [{}, {"entry": 9999}, {"entry": 1}, {"entry": -4}])
async def test_a_search_for_nothing_is_an_error(store, arguments):
    _, loop = loop_with(store, "Hello.")
    session = (await loop.send("Hi")).session_id
    assert (await searched(store, session, **arguments)).startswith("Error: ")
