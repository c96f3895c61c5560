import asyncio
import sys

import jsonschema_rs
import pytest

from power_loop.facts import jsontext
from power_loop.facts.errors import ConfigError, InvalidRequestError, LLMContextTooLong, MissingExtraError
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.llms.local import LocalLLM
from power_loop.ports.llm import LLMRequest, LLMService, TextDelta, ToolCallDelta

FILES = ["README.md", "pyproject.toml", "LICENSE", "CHANGELOG.md", "Makefile", "src/power_loop/engine/loop.py"]
STORY = LLMRequest([AgentMessage(MessageRole.USER, "Tell me a long story about a dog.")])


def saying(text, **fields):
    return LLMRequest([AgentMessage(MessageRole.USER, text)], **fields)


def test_it_is_an_llm_service(llm):
    assert isinstance(llm, LLMService)
    assert llm.model == "SmolLM2-135M-Instruct.Q4_1"
    assert LocalLLM().model == "SmolLM2-135M-Instruct"


async def test_it_describes_its_own_window_and_costs_nothing(llm, weights):
    info = LocalLLM(weights, context_window=1000).describe()
    assert (info.context_window, info.known, info.native_schema) == (1000, True, True)
    assert llm.describe("any").context_window == llm.context_window == 4096
    assert (info.prices.input, info.prices.output) == (0, 0)
    assert (await llm.complete(saying("Say hello.", max_tokens=1))).cost == "0"


@pytest.mark.parametrize("file", FILES)
async def test_the_demo_question_calls_both_tools_with_the_right_path(conversation, make_tool, file):
    path = {"type": "string", "enum": FILES}
    tools = [
        make_tool("count_lines", "Count the lines of a file.", path=path),
        make_tool("count_bytes", "Count the bytes of a file.", path=path),
    ]
    talk = conversation(tools, {"count_lines": "120", "count_bytes": "5312"})
    reply = await talk.ask(f"How many lines and how many bytes does {file} have?")
    assert talk.calls == [("count_lines", {"path": file}), ("count_bytes", {"path": file})]
    assert (reply.finish_reason, bool(reply.text), reply.tool_calls) == ("stop", True, ())


NESTED = {
    "type": "object",
    "properties": {"kind": {"enum": ["funghi", "salami"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["kind", "count"],
}
SHAPES = {
    "enum": {"unit": {"enum": ["celsius", "fahrenheit"]}, "city": {"type": "string", "maxLength": 10}},
    "integer": {"n": {"type": "integer", "minimum": 3, "maximum": 12}},
    "number": {"x": {"type": "number"}, "yes": {"type": "boolean"}},
    "nested": {"item": NESTED},
    "array": {"tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}},
    "nullable": {"note": {"anyOf": [{"type": "string", "maxLength": 20}, {"type": "null"}]}},
    "hostile names": {'a "quoted" name': {"enum": [1, None, "ü\n"]}, "日本": {"const": {"a": []}}},
    "none": {},
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_arguments_fit_the_schema(llm, make_tool, shape):
    tool = make_tool("order", "Order something.", **SHAPES[shape])
    reply = await llm.complete(saying("Order 2 funghi pizzas in Lima, at 21 celsius.", tools=[tool]))
    assert reply.finish_reason == "tool_calls"
    arguments = jsontext.parse_object(reply.tool_calls[0].arguments)
    assert jsonschema_rs.is_valid(tool.input_schema, arguments), arguments


async def test_tool_choice_none_gives_an_answer(llm, make_tool):
    reply = await llm.complete(saying("Say hello.", tools=[make_tool()], tool_choice="none"))
    assert (reply.tool_calls, reply.finish_reason) == ((), "stop")


async def test_text_arrives_before_the_end(llm):
    heard = []
    reply = await llm.complete(saying("Say hello."), on_delta=heard.append)
    assert len(heard) > 1
    assert all(isinstance(delta, TextDelta) for delta in heard)
    assert "".join(delta.text for delta in heard) == reply.text


async def test_the_first_delta_arrives_while_the_model_still_writes(llm):
    first = asyncio.Event()
    task = asyncio.create_task(llm.complete(STORY, on_delta=lambda _delta: first.set()))
    await first.wait()
    assert not task.done()
    assert (await task).finish_reason == "length"


async def test_arguments_stream_as_pieces_of_one_call(llm, make_tool):
    heard = []
    tool = make_tool("weather", "Tell the weather.", city={"enum": ["Lima", "Oslo"]})
    reply = await llm.complete(saying("How is Oslo?", tools=[tool]), on_delta=heard.append)
    assert all(isinstance(delta, ToolCallDelta) and delta.index == 0 for delta in heard)
    assert (heard[0].id, heard[0].name) == (reply.tool_calls[0].id, "weather")
    assert "".join(delta.arguments for delta in heard) == reply.tool_calls[0].arguments


async def test_usage_comes_from_the_engine(llm):
    short = await llm.complete(saying("Tell me a story.", max_tokens=5))
    long = await llm.complete(saying("Tell me a story. " * 50, max_tokens=5))
    assert (short.finish_reason, short.usage.output_tokens) == ("length", 5)
    assert long.usage.input_tokens > short.usage.input_tokens > 0


async def test_temperature_zero_is_deterministic_whatever_was_asked_before(llm):
    first = await llm.complete(saying("Name a colour."))
    await llm.complete(saying("Name a colour and an animal.", temperature=1.5, max_tokens=10))
    assert (await llm.complete(saying("Name a colour."))).text == first.text


async def test_cancelling_ends_the_generation(llm):
    heard = []
    first = asyncio.Event()

    def listen(delta):
        heard.append(delta)
        first.set()

    task = asyncio.create_task(llm.complete(STORY, on_delta=listen))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    count = len(heard)
    assert count < 50  # of 200
    assert (await llm.complete(saying("Say hello."))).text
    assert len(heard) == count


async def test_a_call_cancelled_while_it_waits_for_its_turn_never_runs(llm):
    first = asyncio.Event()
    running = asyncio.create_task(llm.complete(STORY, on_delta=lambda _delta: first.set()))
    heard = []
    waiting = asyncio.create_task(llm.complete(STORY, on_delta=heard.append))
    await first.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not running.done()
    await running
    assert heard == []


async def test_two_calls_at_once_do_not_mix(llm):
    alone = [await llm.complete(saying(text)) for text in ("Say hello.", "Name a colour.")]
    both = await asyncio.gather(*(llm.complete(saying(text)) for text in ("Say hello.", "Name a colour.")))
    assert [reply.text for reply in both] == [reply.text for reply in alone]


async def test_a_listener_that_raises_ends_the_call_with_its_error(llm):
    def listen(_delta):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await llm.complete(STORY, on_delta=listen)
    assert (await llm.complete(saying("Say hello."))).text


async def test_a_prompt_beyond_the_window_is_refused_by_its_name(llm):
    with pytest.raises(LLMContextTooLong, match="context_window"):
        await llm.complete(saying("dog " * 6000))


async def test_a_request_that_breaks_the_pairing_rules_is_refused(llm):
    with pytest.raises(InvalidRequestError):
        await llm.complete(LLMRequest([AgentMessage(MessageRole.TOOL, "7", tool_call_id="x")]))


async def test_the_model_is_shared_and_loaded_anew_after_close(weights):
    one, two = LocalLLM(weights, context_window=512), LocalLLM(weights, context_window=512)
    first = await one.complete(saying("Say hello."))
    second = await two.complete(saying("Say hello."))
    assert one._engine is two._engine
    await one.close()
    assert (await two.complete(saying("Say hello."))).text == first.text == second.text
    await two.close()
    await two.close()
    assert (await one.complete(saying("Say hello."))).text == first.text
    await one.close()


async def test_closing_ends_the_calls_that_run(weights):
    llm = LocalLLM(weights, context_window=768)
    first = asyncio.Event()
    task = asyncio.create_task(llm.complete(STORY, on_delta=lambda _delta: first.set()))
    await first.wait()
    await llm.close()
    with pytest.raises(Exception, match="was ended"):
        await task


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.gguf"):
        LocalLLM(tmp_path / "nothing.gguf")


async def test_a_file_that_is_no_model_is_named(tmp_path, capfd):
    path = tmp_path / "poem.gguf"
    path.write_text("roses are red")
    with pytest.raises(ConfigError, match=r"poem\.gguf.*GGUF"):
        await LocalLLM(path).complete(saying("Say hello."))
    assert capfd.readouterr() == ("", "")


def test_without_xllamacpp_the_error_says_what_to_install(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'power-loop\[local\]'"):
        LocalLLM(weights)
