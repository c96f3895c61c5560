import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal import ASKED, BASE, DEFINED, STARTED, asks, journal, state_of

from power_loop.decisions.replay import replay
from power_loop.decisions.verbs import Condition, condition
from power_loop.decisions.views import splice
from power_loop.facts.entries import (
    InputReceived,
    ModelCalled,
    ModelReplied,
    ReplyEdited,
    ResultEdited,
    RunEnded,
    ToolFinished,
    ToolStarted,
    ViewEdited,
)
from power_loop.facts.errors import JournalTooNew, StoreCorrupt
from power_loop.facts.journal import Entry, decode
from power_loop.facts.messages import AgentMessage, MessageRole
from power_loop.facts.usage import LLMTokenUsage
from power_loop.ports.llm import LLMRequest, validate_request

BEGUN = (ASKED, STARTED, DEFINED, ModelCalled())


def said(state):
    return [(str(m.role), m.text or [c.id for c in m.tool_calls]) for m in state.messages]


def test_results_stand_in_call_order_whatever_order_they_came_in():
    finished = [ToolFinished(f"call_5_{i}", "a", content=f"r{i}") for i in (2, 0, 1)]
    state = state_of(*BEGUN, asks("a", "b", "c"), *finished)
    assert said(state)[2:] == [("tool", "r0"), ("tool", "r1"), ("tool", "r2")]


def test_an_input_inside_an_open_batch_stands_behind_the_last_result():
    state = state_of(
        *BEGUN, asks("a", "b"), ToolFinished("call_5_1", "b", content="r1"), InputReceived("wait"),
        ToolFinished("call_5_0", "a", content="r0"),
    )  # fmt: skip
    assert said(state)[2:] == [("tool", "r0"), ("tool", "r1"), ("user", "wait")]
    validate_request(LLMRequest(state.messages))


@given(st.permutations(range(4)), st.lists(st.integers(0, 4), max_size=3))
def test_every_order_of_results_and_inputs_gives_a_valid_request(order, inputs):
    facts = [*BEGUN, asks("a", "b", "c", "a")]
    for position, index in enumerate(order):
        facts += [InputReceived(f"i{position}") for when in inputs if when == position]
        facts.append(ToolFinished(f"call_5_{index}", "a", content=f"r{index}"))
    state = state_of(*facts)
    validate_request(LLMRequest(state.messages))
    assert [text for role, text in said(state) if role == "tool"] == ["r0", "r1", "r2", "r3"]


def test_an_empty_reply_leaves_no_message():
    state = state_of(*BEGUN, ModelReplied(""))
    assert said(state) == [("user", "question")]


def test_usage_adds_up_and_starts_anew_with_an_input():
    reply = ModelReplied("x", usage=LLMTokenUsage(10, 5), cost="0.25")
    state = state_of(*BEGUN, reply, RunEnded("completed"), ASKED, STARTED, ModelCalled(), reply)
    assert state.spent.total.usage == LLMTokenUsage(20, 10)
    assert state.spent.since_input.usage == LLMTokenUsage(10, 5)
    assert str(state.spent.total.cost) == "0.50"


def test_a_hook_edit_of_a_result_replaces_what_the_model_sees():
    state = state_of(
        *BEGUN, asks("a"), ToolStarted("call_5_0", "a"), ToolFinished("call_5_0", "a", content="secret"),
        ResultEdited("call_5_0", "redacted"),
    )  # fmt: skip
    assert said(state)[-1] == ("tool", "redacted")


def test_a_hook_edit_of_a_reply_replaces_its_calls():
    state = state_of(*BEGUN, asks("a", "b"), ReplyEdited(5, "no tools, thanks"))
    assert state.open_calls == 0
    assert said(state)[-1] == ("assistant", "no tools, thanks")


def test_a_view_edit_is_a_splice():
    state = state_of(ASKED, STARTED, ViewEdited(0, 1, (AgentMessage(MessageRole.USER, "other"),)))
    assert said(state) == [("user", "other")]


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_a_splice_turns_one_view_into_the_other(before, after):
    old = [AgentMessage(MessageRole.USER, text) for text in before]
    new = [AgentMessage(MessageRole.USER, text) for text in after]
    edit = splice(old, new)
    if edit is not None:
        old[edit.start : edit.stop] = edit.messages
    assert old == new


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ((), Condition.EMPTY),
        (BEGUN, Condition.CUT_OFF),
        ((ASKED,), Condition.CUT_OFF),
        ((*BEGUN, ModelReplied("x")), Condition.CUT_OFF),
        ((*BEGUN, ModelReplied("x"), RunEnded("completed")), Condition.ENDED),
        ((*BEGUN, asks("a")), Condition.CALLS_OPEN),
        ((*BEGUN, asks("a"), RunEnded("pending_tools")), Condition.WAITING_TOOLS),
        ((*BEGUN, asks("a"), ToolFinished("call_5_0", "a")), Condition.CUT_OFF),
    ],
)
def test_the_condition_follows_from_derived_facts(facts, expected):
    assert condition(state_of(*facts)) is expected


def test_a_changed_body_is_noticed():
    entries = journal(*BEGUN)
    entries[0] = msgspec.structs.replace(entries[0], body='{"content":"forged"}', decoded=None)
    with pytest.raises(StoreCorrupt, match="Entry 1"):
        replay(entries, base_seq=0, base_digest=BASE)


def test_a_missing_entry_is_noticed():
    entries = journal(*BEGUN)
    del entries[1]
    with pytest.raises(StoreCorrupt, match="Entry 2"):
        replay(entries, base_seq=0, base_digest=BASE)


def test_two_swapped_entries_are_noticed():
    entries = journal(ASKED, ASKED, STARTED)
    entries[0], entries[1] = entries[1], entries[0]
    with pytest.raises(StoreCorrupt):
        replay(entries, base_seq=0, base_digest=BASE)


def test_an_unknown_essential_kind_stops_and_an_ancillary_one_is_skipped():
    with pytest.raises(JournalTooNew, match="teleported"):
        decode("teleported", 1, "{}")
    with pytest.raises(JournalTooNew):
        decode("model_called", 99, "{}")
    assert decode("aux_weather", 1, "{}") is None
    state = state_of(ASKED)
    state.apply(Entry(2, "aux_weather", 1, 1, 0, 0, "{}", b"x"))
    assert state.head_seq == 2


def test_a_body_of_the_wrong_shape_is_corrupt():
    with pytest.raises(StoreCorrupt):
        decode("input_received", 1, '{"content": 5}')
    with pytest.raises(StoreCorrupt):
        decode("input_received", 1, '{"content": "x", "surprise": 1}')
