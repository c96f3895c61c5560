import pytest

from power_loop.facts.messages import AgentMessage, MessageRole, ToolCall
from power_loop.llms.local.plan import plan
from power_loop.ports.llm import LLMRequest
from power_loop.ports.tools import ToolDefinition

PATH = {"type": "object", "properties": {"path": {"enum": ["a.md", "b.md"], "description": "The file."}}}
LINES = ToolDefinition("lines", "Count lines.", PATH, ("path",))
BYTES = ToolDefinition("bytes", "Count bytes.", PATH, ("path",))


def user(text):
    return AgentMessage(MessageRole.USER, text)


def answer(text):
    return AgentMessage(MessageRole.ASSISTANT, text)


def round_of(name, result, call_id="call_1"):
    call = ToolCall(call_id, name, {"path": "a.md"})
    return [
        AgentMessage(MessageRole.ASSISTANT, "", (call,)),
        AgentMessage(MessageRole.TOOL, result, tool_call_id=call_id),
    ]


def chosen(messages, **fields):
    prompt = plan(LLMRequest(messages, tools=fields.pop("tools", [LINES, BYTES]), **fields))
    return prompt.tool and prompt.tool.name


def test_each_offered_tool_is_called_once_in_order_and_then_comes_the_answer():
    first, second = round_of("lines", "7"), round_of("bytes", "90", "call_2")
    assert chosen([user("How long is a.md?")]) == "lines"
    assert chosen([user("How long is a.md?"), *first]) == "bytes"
    assert chosen([user("How long is a.md?"), *first, *second]) is None


def test_a_new_input_starts_the_plan_anew():
    before = [user("How long?"), *round_of("lines", "7"), *round_of("bytes", "9", "call_2"), answer("7 and 9.")]
    assert chosen([*before, user("And b.md?")]) == "lines"


def test_order_is_the_order_of_the_offer():
    assert chosen([user("How long?")], tools=[BYTES, LINES]) == "bytes"


@pytest.mark.parametrize(
    ("choice", "called", "expected"), [("none", False, None), ("required", True, "lines"), ("auto", True, None)]
)
def test_tool_choice_is_honoured(choice, called, expected):
    messages = [user("How long?"), *(round_of("lines", "7") if called else ())]
    assert chosen(messages, tools=[LINES], tool_choice=choice) == expected


def test_call_ids_are_new_in_the_conversation():
    messages = [user("?"), *round_of("lines", "7", "call_2")]
    assert plan(LLMRequest(messages, tools=[LINES, BYTES])).call_id not in {"call_2", ""}


def test_a_tool_step_describes_the_tool_and_ends_with_the_question():
    prompt = plan(LLMRequest([user("How long is b.md?")], "Be kind.", [LINES]))
    system = prompt.messages[0]["content"]
    for part in ("Be kind.", "lines", "Count lines.", "path", "The file.", "a.md", "b.md"):
        assert part in system
    assert prompt.messages[-1] == {"role": "user", "content": "How long is b.md?"}
    assert prompt.schema["properties"]["path"] == {"enum": ["a.md", "b.md"]}


def test_an_answer_step_gives_the_results_in_plain_text_with_the_question():
    prompt = plan(LLMRequest([user("How long is a.md?"), *round_of("lines", "7 lines")], tools=[LINES]))
    last = prompt.messages[-1]["content"]
    assert "lines(path=a.md) returned: 7 lines" in last
    assert last.endswith("How long is a.md?")
    assert prompt.schema is None


def test_earlier_turns_are_told_without_their_tool_rounds():
    messages = [user("How long?"), *round_of("lines", "7"), answer("Seven."), user("Thanks!")]
    prompt = plan(LLMRequest(messages))
    told = [(message["role"], message["content"]) for message in prompt.messages[1:]]
    assert told == [("user", "How long?"), ("assistant", "Seven."), ("user", "Thanks!")]


def test_results_survive_a_note_behind_them():
    messages = [user("How long?"), *round_of("lines", "7"), user("Answer now.")]
    last = plan(LLMRequest(messages, tools=[LINES], tool_choice="none")).messages[-1]["content"]
    assert "returned: 7" in last
    assert "How long?" in last
    assert "Answer now." in last


def test_a_wanted_shape_of_the_answer_becomes_its_schema():
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": shape}}
    prompt = plan(LLMRequest([user("How many?")], response_format=wanted))
    assert prompt.tool is None
    assert prompt.schema["required"] == ["n"]
