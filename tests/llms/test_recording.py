"""Recording a model once and replaying it: what goes in comes out, and nothing that should not be there."""

import asyncio
import json
import multiprocessing
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from power_loop import AgentMessage, ConfigError, MemoryStore, MessageRole, StatefulAgentLoop, ToolCall, tool
from power_loop.facts.errors import (
    InvalidRequestError,
    LLMAuthError,
    LLMError,
    LLMOverloaded,
    LLMRateLimited,
    LLMTimeout,
    MissingExtraError,
)
from power_loop.facts.messages import CallSlot, Document, Image, Reasoning, Text
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import (
    DescribedLLM,
    LLMRequest,
    LLMResponse,
    LLMService,
    ReasoningDelta,
    ReplyCall,
    TextDelta,
    ToolCallDelta,
)
from power_loop.ports.models import ModelInfo, Prices
from power_loop.ports.tools import ToolDefinition
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.recording import NoRecordedReply, RecordingLLM, ReplayingLLM

BLOB = "sha256:" + "0a" * 32
FULL = LLMResponse(
    (
        Reasoning("thinking…", signature="c2ln", origin="anthropic", id="rs_1"),
        Reasoning("", data="ZW5j", origin="openai_responses"),
        Text("Grüße, 世界 👋"),
        CallSlot(0),
        Image(BLOB, "image/png", 12),
        Document(BLOB, "application/pdf", "a.pdf", 34, BLOB),
        Text("after"),
    ),
    (ReplyCall("call_1", "look", '{"city": "Lima", "n": 12345678901234567890}'), ReplyCall("", "bad", "{not json")),
    "tool_calls",
    LLMTokenUsage(100, 20, 60, 10, 5),
    "model-2026-01-01",
    "0.00012",
    {"item": [1, None, {"deep": 0.5}]},
)
DELTAS = [ReasoningDelta("thin"), TextDelta("Grü"), TextDelta("ße, 世"), ToolCallDelta(0, "call_1", "look", '{"ci'),
          ToolCallDelta(0, arguments='ty"')]  # fmt: skip


class Playing(ScriptedLLM):
    """A scripted model with deltas of its own and a description."""

    info = ModelInfo("m", 1000, 50, frozenset({"text", "image"}), prices=Prices(Decimal("0.1"), Decimal(2)), known=True)
    closed = False

    def __init__(self, *lines, deltas=()):
        super().__init__(*lines)
        self.deltas = deltas

    async def complete(self, request, *, on_delta=lambda _: None):
        for delta in self.deltas:
            on_delta(delta)
        return await super().complete(request)

    def describe(self, model=None):
        return self.info

    async def close(self):
        self.closed = True


@pytest.fixture
def cassette(tmp_path):
    return tmp_path / "cassettes" / "talk.jsonl"


def ask(text, **fields):
    return LLMRequest((AgentMessage(MessageRole.USER, text),), **fields)


async def record(path, *exchanges, **options):
    """Record pairs of request and line."""
    llm = RecordingLLM(ScriptedLLM(*(line for _, line in exchanges)), path, **options)
    for request, line in exchanges:
        if isinstance(line, Exception):
            with pytest.raises(type(line)):
                await llm.complete(request)
        else:
            await llm.complete(request)


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_a_reply_comes_back_whole_with_its_deltas_as_they_were_cut(cassette):
    request = LLMRequest(
        (
            AgentMessage(MessageRole.USER, (Text("look"), Image(BLOB, "image/png", 3))),
            AgentMessage(MessageRole.ASSISTANT, FULL.content, (ToolCall("call_1", "look", {"city": "Lima"}),)),
            AgentMessage(MessageRole.TOOL, "fine", tool_call_id="call_1"),
        ),
        "Be brief.",
        (ToolDefinition("look", "Look.", {"type": "object"}),),
        response_format={"type": "json_schema"},
        extra={"seed": 1},
    )
    heard, again = [], []
    given_back = await RecordingLLM(Playing(FULL, deltas=DELTAS), cassette).complete(request, on_delta=heard.append)
    replayed = await ReplayingLLM(cassette).complete(request, on_delta=again.append)
    assert given_back == replayed == FULL
    assert heard == again == DELTAS


ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\0\u2028\n"), max_size=20)


@settings(max_examples=40, deadline=None)
@given(text=ANY_TEXT, said=ANY_TEXT)
@example(text="\ud800", said="\udfff\r\n")
def test_any_text_comes_back(tmp_path_factory, text, said):
    path = tmp_path_factory.mktemp("any") / "c.jsonl"

    async def both():
        await RecordingLLM(ScriptedLLM(reply(said)), path).complete(ask(text))
        return await ReplayingLLM(path).complete(ask(text))

    assert asyncio.run(both()).text == said


@pytest.mark.parametrize(
    "error",
    [
        LLMRateLimited("slow down", retry_after=2.5, status=429),
        LLMOverloaded("busy", status=529, request_id="req_1"),
        LLMAuthError("no"),
        LLMTimeout(elapsed=1.5, attempts=2, total_timeout=3.0),
        InvalidRequestError("pairing"),
        MissingExtraError("pip install it"),
    ],
)
async def test_errors_come_back_by_their_code(cassette, error):
    await record(cassette, (ask("x"), error))
    with pytest.raises(type(error)) as caught:
        await ReplayingLLM(cassette).complete(ask("x"))
    again = caught.value
    assert (type(again), str(again), again.code, again.details) == (type(error), str(error), error.code, error.details)
    for name in ("retry_after", "status", "elapsed", "attempts", "retryable"):
        assert getattr(again, name, None) == getattr(error, name, None)


async def test_an_error_that_is_not_ours_comes_back_as_a_model_error(cassette):
    await record(cassette, (ask("x"), ValueError("odd")))
    with pytest.raises(LLMError, match="ValueError: odd"):
        await ReplayingLLM(cassette).complete(ask("x"))


async def test_deltas_before_an_error_come_back_too(cassette):
    llm = RecordingLLM(Playing(LLMOverloaded("busy"), deltas=DELTAS[:2]), cassette)
    heard = []
    with pytest.raises(LLMOverloaded):
        await llm.complete(ask("x"))
    with pytest.raises(LLMOverloaded):
        await ReplayingLLM(cassette).complete(ask("x"), on_delta=heard.append)
    assert heard == DELTAS[:2]


# -- finding the answer


async def test_the_order_of_requests_does_not_matter(cassette):
    await record(cassette, (ask("a"), "1"), (ask("b"), "2"), (ask("a"), "3"))
    llm = ReplayingLLM(cassette)
    assert [(await llm.complete(ask(text))).text for text in "baa"] == ["2", "1", "3"]
    assert llm.unused == 0


async def test_equal_requests_have_as_many_answers_as_were_recorded(cassette):
    await record(cassette, (ask("a"), "1"), (ask("a"), LLMOverloaded("busy")), (ask("b"), "2"))
    llm = ReplayingLLM(cassette)
    assert llm.unused == 3
    assert (await llm.complete(ask("a"))).text == "1"
    with pytest.raises(LLMOverloaded):
        await llm.complete(ask("a"))
    with pytest.raises(NoRecordedReply, match="every recorded answer to this request was used") as caught:
        await llm.complete(ask("a"))
    assert (caught.value.code, caught.value.retryable, llm.unused) == ("no_recorded_reply", False, 1)


async def test_the_last_answer_may_be_repeated(cassette):
    await record(cassette, (ask("a"), "1"), (ask("a"), "2"))
    llm = ReplayingLLM(cassette, on_missing="repeat")
    assert [(await llm.complete(ask("a"))).text for _ in range(4)] == ["1", "2", "2", "2"]
    with pytest.raises(NoRecordedReply):
        await llm.complete(ask("b"))


async def test_not_strict_gives_the_next_unused_answer(cassette):
    await record(cassette, (ask("a"), "1"), (ask("b"), "2"), (ask("c"), "3"))
    llm = ReplayingLLM(cassette, strict=False)
    assert [(await llm.complete(ask(text))).text for text in "bxy"] == ["2", "1", "3"]
    with pytest.raises(NoRecordedReply):
        await llm.complete(ask("z"))


TALK = (AgentMessage(MessageRole.USER, "Hello"), AgentMessage(MessageRole.ASSISTANT, "Hi"))


@pytest.mark.parametrize(
    ("asked", "place", "recorded", "got"),
    [
        (LLMRequest((*TALK, AgentMessage("user", "Bye"))), "messages[2].content", '"Go on"', '"Bye"'),
        (LLMRequest(TALK), "messages[2]", '{"content": "Go on", "role": "user"}', "nothing"),
        (LLMRequest((*TALK, AgentMessage("user", "Go on")), max_tokens=5), "max_tokens", "null", "5"),
        (LLMRequest((*TALK, AgentMessage("user", "Go on")), extra={"seed": 1}), "extra.seed", "nothing", "1"),
    ],
)
async def test_what_has_no_answer_is_told_with_the_first_difference(cassette, asked, place, recorded, got):
    await record(cassette, (ask("Something else"), "0"), (LLMRequest((*TALK, AgentMessage("user", "Go on"))), "1"))
    with pytest.raises(NoRecordedReply) as caught:
        await ReplayingLLM(cassette).complete(asked)
    assert caught.value.details["difference"] == (place, recorded, got)
    assert f"differs at {place}: recorded {recorded}, asked {got}" in str(caught.value)


async def test_a_difference_deep_in_a_long_text_is_shown_short(cassette):
    await record(cassette, (ask("x" * 5000 + "left" + "y" * 5000), "1"))
    with pytest.raises(NoRecordedReply) as caught:
        await ReplayingLLM(cassette).complete(ask("x" * 5000 + "right" + "y" * 5000))
    _, recorded, got = caught.value.details["difference"]
    assert "xleft" in recorded
    assert "xright" in got
    assert max(len(recorded), len(got)) <= 82


@pytest.mark.parametrize(
    "changed",
    [
        {"system_prompt": "s"},
        {"tools": (ToolDefinition("t"),)},
        {"tool_choice": "none"},
        {"model": "m"},
        {"max_tokens": 1},
        {"temperature": 0.5},
        {"response_format": {"type": "json_object"}},
        {"extra": {"k": 1}},
    ],
)
async def test_all_that_a_provider_is_asked_counts(cassette, changed):
    await record(cassette, (ask("a"), "1"))
    with pytest.raises(NoRecordedReply):
        await ReplayingLLM(cassette).complete(ask("a", **changed))


async def test_what_only_the_kernel_needs_does_not_count(cassette):
    async def blobs(_):
        raise AssertionError

    plain, equipped = ToolDefinition("t"), ToolDefinition("t", effect="read", timeout=3, output_limit=1)
    await record(cassette, (ask("a", tools=(plain,)), "1"))
    assert (await ReplayingLLM(cassette).complete(ask("a", tools=(equipped,), blobs=blobs))).text == "1"


async def test_what_changes_from_day_to_day_can_be_blanked(cassette):
    def undated(asked):
        return asked | {"system_prompt": asked["system_prompt"].partition("Today")[0]}

    await record(cassette, (ask("a", system_prompt="Be kind. Today is Monday."), "1"), normalise=undated)
    llm = ReplayingLLM(cassette, normalise=undated)
    assert (await llm.complete(ask("a", system_prompt="Be kind. Today is Friday."))).text == "1"


# -- the file


async def test_no_secret_gets_into_the_file(cassette):
    request = ask(
        "my key is sk-abcdefghijklmnop, and the house's is hunter2",
        extra={"extra_headers": {"Authorization": "Zm9vYmFy", "X-Api-Key": "quux"}, "max_completion_tokens": 77},
    )
    answers = [reply("You said hunter2."), LLMAuthError("Bearer abcdefghijkl is wrong, so is hunter2", key="hunter2")]
    llm = RecordingLLM(Playing(*answers, deltas=[TextDelta("hunter2")]), cassette, secrets=["hunter2"])
    await llm.complete(request)
    with pytest.raises(LLMAuthError):
        await llm.complete(request)
    text = cassette.read_text()
    assert not [secret for secret in ("hunter2", "sk-abc", "Zm9vYmFy", "quux", "abcdefghijkl") if secret in text]
    assert lines(cassette)[0]["request"]["extra"]["max_completion_tokens"] == 77
    replaying = ReplayingLLM(cassette, secrets=["hunter2"])
    assert (await replaying.complete(request)).text == "You said ***."


async def test_a_person_can_read_it(cassette):
    await record(cassette, (ask("Was heißt 世界?"), "Die Welt"))
    assert "Was heißt 世界?" in cassette.read_text()
    (line,) = lines(cassette)
    assert line["response"]["content"] == line["deltas"][0]["text"] == "Die Welt"


async def test_a_torn_line_is_as_if_never_written_and_the_next_one_stands_alone(cassette):
    await record(cassette, (ask("a"), "1"), (ask("b"), "2"))
    whole = cassette.read_bytes()
    cassette.write_bytes(whole[:-20])
    await record(cassette, (ask("c"), "3"))
    llm = ReplayingLLM(cassette)
    assert llm.unused == 2
    assert [(await llm.complete(ask(text))).text for text in "ac"] == ["1", "3"]


async def test_many_sessions_record_at_once(cassette):
    llm = RecordingLLM(ScriptedLLM(lambda request: request.messages[-1].text, repeat=True), cassette)
    await asyncio.gather(*(llm.complete(ask(f"{number} " * 500)) for number in range(50)))
    assert {line["response"]["content"] for line in lines(cassette)} == {f"{number} " * 500 for number in range(50)}


def record_many(path, mark):
    async def run():
        llm = RecordingLLM(ScriptedLLM(mark, repeat=True), path)
        for number in range(25):
            await llm.complete(ask(f"{mark}{number}" * 2000))

    asyncio.run(run())


def test_many_processes_record_at_once(cassette):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=record_many, args=(cassette, mark)) for mark in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(line["response"]["content"] for line in lines(cassette)) == ["a"] * 25 + ["b"] * 25 + ["c"] * 25


async def test_a_cancelled_call_leaves_nothing(cassette):
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(_):
        begun.set()
        await never.wait()
        return "late"

    task = asyncio.create_task(RecordingLLM(ScriptedLLM(hang), cassette).complete(ask("a")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not cassette.exists()


@pytest.mark.parametrize("text", ['{"digest": 1}', '{"digest":"d","request":{},"version":99}', "[]"])
def test_what_is_no_cassette_is_refused(tmp_path, text):
    path = tmp_path / "c.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError, match="line 1"):
        ReplayingLLM(path)


async def test_a_missing_cassette_is_told_at_once_and_an_empty_one_when_asked(tmp_path):
    with pytest.raises(ConfigError, match="Record one"):
        ReplayingLLM(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    llm = ReplayingLLM(tmp_path / "empty.jsonl")
    assert llm.describe() == ModelInfo()
    with pytest.raises(NoRecordedReply, match="empty"):
        await llm.complete(ask("x"))


# -- as a model of a session


async def test_both_are_services_and_describe_the_same_model(cassette):
    inner = Playing("1")
    recording = RecordingLLM(inner, cassette)
    await recording.complete(ask("a"))
    replaying = ReplayingLLM(cassette)
    assert all(isinstance(llm, LLMService) and isinstance(llm, DescribedLLM) for llm in (recording, replaying))
    assert recording.describe() == replaying.describe() == inner.info
    await recording.close()
    await replaying.close()
    assert inner.closed


@tool(effect="read")
def dish(city: str) -> str:
    """Return the dish of a city."""
    return f"ceviche of {city}"


async def test_a_session_replays_as_it_was_recorded(cassette):
    script = ScriptedLLM(reply("", call("dish", city="Lima")), "Eat ceviche.", "Drink pisco.", chunk=3)

    async def talk(llm):
        loop = StatefulAgentLoop(llm=llm, tools=[dish], store=MemoryStore())
        first = await loop.send("What to eat?")
        second = await loop.send("And to drink?", session_id=first.session_id)
        return await loop.get_messages(first.session_id), second.usage

    recorded = await talk(RecordingLLM(script, cassette))
    llm = ReplayingLLM(cassette)
    assert await talk(llm) == recorded
    assert llm.unused == 0
