"""send, stream and resume with an output type, on both stores."""

import asyncio
import re

import pydantic
import pytest
from output_world import BAD, GOOD, LIMA, NativeLLM, PlainLLM, Trip, answer

from power_loop import (
    AgentEventType,
    AgentHooks,
    AgentLoopConfig,
    AgentMessage,
    ConfigError,
    HookPoint,
    LLMResponse,
    ReplyCall,
    StatefulAgentLoop,
    StructuredOutputError,
    StructuredOutputSpec,
    tool,
)
from power_loop.facts import jsontext
from power_loop.facts.entries import InputReceived, OutputChecked
from power_loop.testing import ScriptedLLM, call, reply
from power_loop.testing.crashing import CrashingStore


@tool(effect="read")
def look(city: str) -> str:
    """Look a city up."""
    return f"{city} is fine"


def loop_of(model, store, **settings):
    hooks = settings.pop("hooks", None)
    tools = settings.pop("tools", [look])
    return StatefulAgentLoop(llm=model, tools=tools, store=store, hooks=hooks, config=AgentLoopConfig(**settings))


async def kinds(store, session):
    return [entry.kind for entry in await store.read(session)]


def names(request):
    return [offered.name for offered in request.tools]


# -- by a tool


async def test_the_arguments_of_the_tool_are_the_output(store):
    model = ScriptedLLM(reply("", call("look", city="Lima")), answer(city="Lima", days=5))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output, result.rounds) == ("completed", LIMA, 2)
    assert jsontext.parse_object(result.final_text) == {"city": "Lima", "days": 5}
    assert result.usage.total_tokens == 30
    assert [names(request) for request in model.requests] == [["look", "final_answer"]] * 2
    assert model.requests[0].tools[-1].input_schema["required"] == ["city", "days"]
    assert model.requests[0].response_format is None


async def test_the_tool_is_offered_for_that_input_only(store):
    """P20: the definition changes, and the journal says so."""
    model = ScriptedLLM(answer(city="Lima", days=5), "You are welcome.")
    loop = loop_of(model, store)
    first = await loop.send("Plan.", output_type=Trip)
    second = await loop.send("Thanks.", first.session_id)
    assert (second.output, second.final_text) == (None, "You are welcome.")
    assert [names(request) for request in model.requests] == [["look", "final_answer"], ["look"]]
    changes = [entry.fact for entry in await store.read(first.session_id) if entry.kind == "definition_changed"]
    assert [change.output for change in changes] == ["", "final_answer", ""]
    assert changes[0] == changes[2], "the host's own definition is recorded by itself"


async def test_wrong_arguments_are_told_in_the_tools_result(store):
    model = ScriptedLLM(answer(city="Lima"), answer(city="Lima", days=5))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)
    assert "days: missing, but required" in model.requests[1].messages[-1].text
    assert "note" not in await kinds(store, result.session_id)


async def test_arguments_that_are_no_json_are_looked_through(store):
    fenced = ReplyCall("w1", "final_answer", f"```json\n{GOOD}\n```")
    model = ScriptedLLM(reply("", fenced))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)


async def test_text_is_taken_too(store):
    model = ScriptedLLM(f"Here it is:\n```json\n{GOOD}\n```")
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)
    assert result.final_text.startswith("Here it is")


async def test_text_that_is_no_answer_is_sent_back_to_the_tool(store):
    model = ScriptedLLM("Lima, five days.", answer(city="Lima", days=5))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert result.output == LIMA
    note = model.requests[1].messages[-1].text
    assert "contains no JSON object" in note
    assert "calling final_answer" in note


async def test_other_tools_of_the_reply_get_their_results(store):
    model = ScriptedLLM(reply("", call("final_answer", city="Lima", days=5), call("look", city="Lima")))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)
    messages = await loop_of(ScriptedLLM(), store).get_messages(result.session_id)
    assert [message["content"] for message in messages[-2:]] == ["Accepted.", "Lima is fine"]


async def test_of_two_answers_in_one_reply_the_first_is_checked(store):
    both = reply("", call("final_answer", city="Lima", days=5), call("final_answer", city="Oslo", days=1))
    result = await loop_of(ScriptedLLM(both), store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)
    assert (await kinds(store, result.session_id)).count("output_checked") == 1


async def test_a_tool_of_the_hosts_own_keeps_its_name(store):
    @tool(effect="read")
    def final_answer() -> str:
        """Not the output."""
        return "42"

    model = ScriptedLLM(answer(), reply("", call("final_answer_", city="Lima", days=5)))
    result = await loop_of(model, store, tools=[final_answer]).send("Plan.", output_type=Trip)
    assert result.output == LIMA
    assert model.requests[1].messages[-1].text == "42"


# -- by the provider's schema mode, and in words


async def test_the_providers_own_mode_is_used_where_there_is_one(store):
    model = NativeLLM("Lima.", GOOD)
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output, result.final_text, result.rounds) == ("completed", LIMA, GOOD, 2)
    assert [names(request) for request in model.requests] == [["look"]] * 2
    formats = [request.response_format for request in model.requests]
    assert formats[0] == formats[1]
    assert formats[0]["json_schema"]["name"] == "Trip"
    assert '"days"' in model.requests[1].messages[-1].text, "the schema is told with what was wrong"


async def test_a_model_without_tools_is_told_in_words(store):
    model = PlainLLM("Lima.", GOOD, "Fine.")
    loop = loop_of(model, store, tools=[], system_prompt="Be kind.")
    result = await loop.send("Plan.", output_type=Trip)
    assert result.output == LIMA
    await loop.send("Thanks.", result.session_id)
    told, _, thanks = model.requests
    assert sum("JSON" in message.text for message in thanks.messages) == 2, "told once, and once what was wrong"
    assert told.messages[-1].text.startswith("Write nothing but one JSON object that fits")
    assert thanks.messages[: len(told.messages)] == told.messages
    assert (told.tools, told.system_prompt, told.response_format) == ((), "Be kind.", None)


@pytest.mark.parametrize("model_type", [ScriptedLLM, NativeLLM])
async def test_the_hosts_own_validators_count_where_its_type_is_known(store, model_type):
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def _even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("must be even")
            return number

    model = model_type('{"number": 1}', '{"number": 2}')
    result = await loop_of(model, store).send("A number.", output_type=Even)
    assert (result.output, model.calls) == (Even(number=2), 2)
    assert "must be even" in model.requests[1].messages[-1].text


async def test_a_value_that_is_no_object_travels_in_one(store):
    model = ScriptedLLM(answer(value=[1, 2]))
    result = await loop_of(model, store).send("Count.", output_type=list[int])
    assert result.output == [1, 2]
    assert model.requests[0].tools[-1].input_schema["properties"]["value"]["type"] == "array"


# -- bounds


@pytest.mark.parametrize("repairs", [0, 1, 3])
@pytest.mark.parametrize("bad", ["no", answer(city="Lima")], ids=["text", "tool"])
async def test_a_model_that_does_not_manage_is_asked_so_often_and_no_more(store, repairs, bad):
    """P17: output that never fits ends in a typed error with what the model wrote."""
    model = ScriptedLLM(bad, repeat=True)
    loop = loop_of(model, store, max_output_repairs=repairs)
    result = await loop.send("Plan.", output_type=Trip)
    assert (result.status, result.output, model.calls) == ("error", None, repairs + 1)
    assert result.error is not None
    assert (result.error.code, result.error.type) == ("structured_output_invalid", "StructuredOutputError")
    assert result.final_text == ("no" if bad == "no" else '{"city":"Lima"}')
    assert result.usage.total_tokens == 15 * (repairs + 1)
    again = await loop.resume(result.session_id, output_type=Trip)
    assert (again.status, model.calls) == ("error", 2 * (repairs + 1))


async def test_after_the_error_both_ways_lead_on(store):
    wanted = StructuredOutputSpec("trip", {"required": ["days"], "type": "object"}, max_repairs=0)
    model = ScriptedLLM("no", "no", GOOD, "Text.")
    loop = loop_of(model, store)
    session = (await loop.send("Plan.", output_type=wanted)).session_id
    assert (await loop.send("Plan again.", session, output_type=wanted)).status == "error"
    resumed = await loop.resume(session)
    assert (resumed.status, resumed.output) == ("completed", {"city": "Lima", "days": 5})
    assert (await loop.resume(session)).output == resumed.output
    assert (await loop.send("Thanks.", session)).final_text == "Text."
    assert model.calls == 4


@pytest.mark.parametrize("model_type", [ScriptedLLM, NativeLLM])
async def test_the_round_limit_asks_for_the_output_as_text(store, model_type):
    model = model_type(reply("", call("look", city="Lima")), GOOD)
    result = await loop_of(model, store, max_rounds=1).send("Plan.", output_type=Trip)
    assert (result.status, result.output, result.error) == ("hit_round_limit", LIMA, None)
    last = model.requests[1]
    assert last.tool_choice == "none"
    assert last.tools == model.requests[0].tools
    assert last.response_format == model.requests[0].response_format
    assert '"days"' in last.messages[-1].text


async def test_at_the_round_limit_a_bad_output_is_not_repaired(store):
    model = ScriptedLLM(reply("", call("look", city="Lima")), "Lima.", answer(city="Lima", days=5))
    result = await loop_of(model, store, max_rounds=1).send("Plan.", output_type=Trip)
    assert (result.status, result.output, result.error.code) == ("hit_round_limit", None, "structured_output_invalid")
    more = await loop_of(model, store, max_rounds=5).resume(result.session_id, output_type=Trip)
    assert (more.status, more.output) == ("completed", LIMA)


@pytest.mark.parametrize(
    "output_type",
    [{"type": "nonsense"}, {"enum": []}, lambda: None],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)
async def test_what_cannot_be_asked_for_is_refused_before_anything_is_written(store, output_type):
    loop = loop_of(ScriptedLLM(), store)
    with pytest.raises(ConfigError):
        await loop.send("Plan.", output_type=output_type)
    assert await loop.list_sessions() == []


# -- other doors


async def test_stream_and_the_sync_twins_take_it(tmp_path):
    model = ScriptedLLM("no", answer(city="Lima", days=5), GOOD)
    async with StatefulAgentLoop(llm=model, db_path=str(tmp_path / "s.db")) as loop:
        stream = loop.stream("Plan.", output_type=Trip)
        events = [event async for event in stream]
        assert stream.result is not None
        assert stream.result.output == LIMA
        told = [event.type for event in events]
        assert told.count(AgentEventType.USER_NOTIFICATION) == 1
        assert told.count(AgentEventType.ROUND_STARTED) == told.count(AgentEventType.ROUND_COMPLETED) == 2
        assert told[-1] is AgentEventType.SESSION_ENDED
        logged = [event.payload["message"] for event in events if event.type is AgentEventType.SYSTEM_LOG]
        assert any("repair 1: The reply contains no JSON object." in message for message in logged)
        assert loop.send_sync("Plan.", output_type=Trip).output == LIMA


async def test_a_resume_elsewhere_builds_the_type_or_plain_data(store):
    session = (await loop_of(ScriptedLLM(answer(city="Lima", days=5)), store).send("?", output_type=Trip)).session_id
    loop = loop_of(ScriptedLLM(), store)
    assert (await loop.resume(session)).output == {"city": "Lima", "days": 5}
    assert (await loop.resume(session, output_type=Trip)).output == LIMA
    with pytest.raises(StructuredOutputError):
        await loop.resume(session, output_type=list[int])


@pytest.mark.parametrize(("first", "second"), [(NativeLLM, ScriptedLLM), (ScriptedLLM, NativeLLM)])
async def test_another_service_asks_in_its_own_way(store, first, second):
    """The journal says how each reply was asked for; a change is a recorded change of the definition."""
    session = (await loop_of(first("no"), store, max_output_repairs=0).send("Plan.", output_type=Trip)).session_id
    model = second(answer(city="Lima", days=5) if second is ScriptedLLM else GOOD)
    result = await loop_of(model, store).resume(session, output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)
    assert ("final_answer" in names(model.requests[0])) is (second is ScriptedLLM)
    assert (model.requests[0].response_format is None) is (second is ScriptedLLM)
    assert (await kinds(store, session)).count("definition_changed") == (2 if second is ScriptedLLM else 3)


async def test_an_answer_that_was_asked_for_by_a_tool_is_checked_under_any_service(store):
    class Cut(Exception):
        pass

    def cut(point):
        if point.moment == "after" and "model_replied" in point.kinds:
            raise Cut

    hooks = AgentHooks()
    hooks.register(HookPoint.LLM_AFTER, lambda _ctx: None)
    dying = loop_of(ScriptedLLM(answer(city="Lima", days=5)), CrashingStore(store, cut), hooks=hooks)
    session = await dying.new_session()
    with pytest.raises(Cut):
        await dying.send("Plan.", session, output_type=Trip)
    assert (await kinds(store, session))[-1] == "model_replied"
    model = NativeLLM()
    result = await loop_of(model, store).resume(session, output_type=Trip)
    assert (result.status, result.output, model.calls) == ("completed", LIMA, 0)


async def test_input_in_the_middle_of_a_run_overtakes_an_answer_and_keeps_the_wish(store):
    async def meanwhile(_request):
        (listed,) = await store.list()
        late = jsontext.encode(InputReceived("Make it six days."))
        await store.enqueue(listed.id, "input", late, now=0)
        return answer(city="Lima", days=5)

    model = ScriptedLLM(meanwhile, answer(city="Lima", days=6))
    result = await loop_of(model, store).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", Trip("Lima", 6))
    assert model.calls == 2


async def test_a_cancel_during_a_repair_leaves_a_session_that_goes_on(store):
    async def cancelled(_request):
        (listed,) = await store.list()
        await loop.cancel(listed.id)
        await asyncio.Event().wait()

    model = ScriptedLLM(BAD, cancelled, GOOD)
    loop = loop_of(model, store)
    result = await loop.send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("cancelled", None)
    assert (await loop.resume(result.session_id, output_type=Trip)).output == LIMA


# -- hooks and commits


async def test_a_hook_mends_a_reply_before_it_is_checked(store):
    hooks = AgentHooks()

    @hooks.on(HookPoint.LLM_AFTER)
    def mend(ctx):
        ctx.output = LLMResponse(GOOD)

    result = await loop_of(ScriptedLLM("rubbish"), store, hooks=hooks).send("Plan.", output_type=Trip)
    assert (result.status, result.output) == ("completed", LIMA)


@pytest.mark.parametrize("first", [NativeLLM, ScriptedLLM])
async def test_what_was_wrong_goes_through_message_append_and_is_told_also_after_a_death_before_it(store, first):
    class Cut(Exception):
        pass

    def cut(point):
        if point.moment == "after" and "output_checked" in point.kinds:
            raise Cut

    hooks = AgentHooks()

    @hooks.on(HookPoint.MESSAGE_APPEND)
    def politely(ctx):
        ctx.message = AgentMessage(ctx.message.role, f"Please. {ctx.message.text}")

    dying = loop_of(first("no"), CrashingStore(store, cut), hooks=hooks)
    session = await dying.new_session()
    with pytest.raises(Cut):
        await dying.send("Plan.", session, output_type=Trip)
    assert (await kinds(store, session))[-1] == "output_checked"
    model = NativeLLM(GOOD)
    result = await loop_of(model, store, hooks=hooks).resume(session, output_type=Trip)
    assert result.output == LIMA
    told = model.requests[0].messages[-1].text
    assert told.startswith("Please. Your reply is not")
    assert "final_answer" not in told, "in the way of the service that is asked now"
    assert (await kinds(store, session)).count("note") == 1


@pytest.mark.parametrize("last", [GOOD, answer(city="Lima", days=5)], ids=["text", "tool"])
async def test_hooks_see_each_round_end_once_and_batches_of_real_tools(store, last):
    hooks, seen = AgentHooks(), []
    for point in (HookPoint.ROUND_START, HookPoint.ROUND_DECIDE, HookPoint.TOOLS_BATCH_AFTER, HookPoint.ROUND_END):
        hooks.register(point, lambda ctx: seen.append((str(ctx.point), ctx.round_index)))
    both = reply("", call("look", city="Lima"), call("final_answer", city="Lima"))
    model = ScriptedLLM("rubbish", both, last)
    result = await loop_of(model, store, hooks=hooks).send("Plan.", output_type=Trip)
    assert result.output == LIMA
    assert [event for event in seen if event != ("tools.batch.after", 2)] == [
        ("round.start", 0),
        ("round.end", 0),
        ("round.start", 1),
        ("round.decide", 1),
        ("tools.batch.after", 1),
        ("round.end", 1),
        ("round.start", 2),
        ("round.end", 2),
    ]


async def test_a_check_costs_no_commit_of_its_own(store):
    commits = []
    counted = CrashingStore(
        store, lambda point: commits.append(point.kinds) if point.moment == "after" and point.kinds else None
    )
    await loop_of(NativeLLM("no", GOOD), counted).send("Plan.", output_type=Trip)
    assert commits[1:] == [
        ("input_received", "run_started", "definition_changed", "model_called"),
        ("model_replied", "output_checked", "note", "model_called"),
        ("model_replied", "output_checked", "run_ended"),
    ]


async def test_what_is_recorded_of_a_check(store):
    result = await loop_of(ScriptedLLM("no", GOOD), store).send("Plan.", output_type=Trip)
    checks = [entry.fact for entry in await store.read(result.session_id) if entry.kind == "output_checked"]
    assert checks == [
        OutputChecked(ok=False, problem="The reply contains no JSON object."),
        OutputChecked(ok=True, text='{"city":"Lima","days":5}', repairs=1),
    ]
