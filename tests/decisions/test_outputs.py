"""What output an input wants, and what its replies make of it: pure."""

import pytest
from journal import ASKED, STARTED, journal, state_of, tool

from power_loop.decisions.endings import ending, final_text
from power_loop.decisions.state import CONTINUE, WRAP_UP
from power_loop.decisions.steps import CallModel, CheckOutput, EndRun, RunLimits, RunTools, next_step
from power_loop.decisions.verbs import plan_resume
from power_loop.facts import jsontext
from power_loop.facts.entries import (
    Cancelled,
    DefinitionChanged,
    InputReceived,
    Limits,
    ModelCalled,
    ModelReplied,
    Note,
    OutputChecked,
    RecordedCall,
    RunEnded,
    RunStarted,
    ToolFinished,
)
from power_loop.facts.erasure import erased_body
from power_loop.facts.structured import RecordedOutput

WANTED = RecordedOutput("point", '{"type":"object"}', max_repairs=1)
WANTS = InputReceived("where?", output=WANTED)
OFFERED = DefinitionChanged("d2", None, (tool("a"), tool("final_answer")), output="final_answer")
BEGUN = (WANTS, STARTED, OFFERED, ModelCalled())
TALKED = (*BEGUN, ModelReplied("here"))
ANSWERED = (*BEGUN, ModelReplied(calls=(RecordedCall("w0", "final_answer"),)))
GOOD = OutputChecked(ok=True, text="{}")
BAD = OutputChecked(ok=False, problem="no JSON")
LAST = OutputChecked(ok=False, problem="no JSON", repairs=1, final=True)
LIMITS = RunLimits(Limits(), frozenset({"a"}))


def step(*facts, limits=LIMITS):
    return next_step(state_of(*facts), limits)


def answer(checked, outcome="ok"):
    called = OutputChecked(checked.ok, checked.text, checked.problem, checked.repairs, checked.final, "call_5_0")
    return (called, ToolFinished("call_5_0", "final_answer", outcome))


def test_without_a_wish_nothing_is_checked():
    assert step(ASKED, STARTED, ModelCalled(), ModelReplied("here")) == EndRun("completed")


def test_a_reply_is_checked_before_it_ends_anything():
    assert step(*TALKED) == CheckOutput()
    assert step(*TALKED, GOOD) == EndRun("completed")


def test_a_bad_reply_wants_another_and_the_last_one_is_an_error():
    assert step(*TALKED, BAD, Note("output_repair", "again")) == CallModel(1)
    assert step(*TALKED, BAD) == CallModel(1)
    again = (*TALKED, BAD, Note("output_repair", "again"), ModelCalled(), ModelReplied("here"))
    assert step(*again) == CheckOutput()
    assert step(*again, LAST) == EndRun("error")


def test_a_repair_is_told_once():
    """A driver that dies between the check and the note leaves it due."""
    assert state_of(*TALKED, BAD).output.repair_due
    assert not state_of(*TALKED, BAD, Note("output_repair", "again")).output.repair_due
    assert not state_of(*TALKED, LAST).output.repair_due
    assert not state_of(*ANSWERED, *answer(BAD, "failed")).output.repair_due


def test_repairs_are_counted_from_facts():
    assert state_of(*TALKED).output.repairs == 0
    assert state_of(*TALKED, BAD).output.repairs == 1
    assert state_of(*TALKED, BAD, (2, STARTED), ModelCalled(), ModelReplied("x")).output.repairs == 1
    assert state_of(*TALKED, BAD, ModelCalled(), ModelReplied("x"), LAST).output.repairs == 1
    assert state_of(*TALKED, BAD, WANTS).output.repairs == 0


def test_an_answer_by_the_tool_needs_no_further_call():
    assert step(*ANSWERED) == CheckOutput("call_5_0")
    assert step(*ANSWERED, *answer(GOOD)) == EndRun("completed")
    assert step(*ANSWERED, *answer(BAD, "failed")) == CallModel(1)
    assert step(*ANSWERED, *answer(LAST, "failed")) == EndRun("error")


def test_tools_beside_the_answer_run_first():
    both = (*BEGUN, ModelReplied(calls=(RecordedCall("w0", "final_answer"), RecordedCall("w1", "a"))))
    assert step(*both) == RunTools(("call_5_1",))
    assert step(*both, ToolFinished("call_5_1", "a")) == CheckOutput("call_5_0")


def test_a_tool_that_is_not_here_does_not_keep_the_answer_open():
    both = (*BEGUN, ModelReplied(calls=(RecordedCall("w0", "final_answer"), RecordedCall("w1", "a"))))
    nowhere = RunLimits(Limits())
    assert step(*both, limits=nowhere) == CheckOutput("call_5_0")
    assert step(*both, *answer(GOOD), limits=nowhere) == EndRun("pending_tools")
    assert step(*both, *answer(GOOD), ToolFinished("call_5_1", "a")) == EndRun("completed")


def test_a_tool_of_that_name_that_is_the_hosts_own_is_a_tool():
    own = DefinitionChanged("d3", None, (tool("final_answer"),))
    called = (WANTS, STARTED, own, ModelCalled(), ModelReplied(calls=(RecordedCall("w0", "final_answer"),)))
    assert step(*called, limits=RunLimits(Limits(), frozenset({"final_answer"}))) == RunTools(("call_5_0",))


def test_at_the_round_limit_the_limit_is_what_ended_the_run():
    wrapped = (*TALKED, BAD, Note(WRAP_UP, "now"), ModelCalled(wrap_up=True), ModelReplied("{}"))
    assert step(*wrapped) == CheckOutput()
    assert step(*wrapped, GOOD) == EndRun("hit_round_limit")
    assert step(*wrapped, LAST) == EndRun("hit_round_limit")
    assert ending(state_of(*wrapped, LAST), "hit_round_limit").error is not None
    assert ending(state_of(*wrapped, GOOD), "hit_round_limit").error is None


def test_a_newer_input_overtakes_an_answer():
    assert step(*TALKED, InputReceived("or there?")) == CallModel(1)
    overtaken = state_of(*ANSWERED, InputReceived("or there?"))
    assert next_step(overtaken, LIMITS) == CheckOutput("call_5_0"), "which says that it was overtaken"
    assert not overtaken.output.due
    assert step(*TALKED, GOOD, InputReceived("or there?")) == CallModel(1)


def test_input_in_the_middle_of_a_run_leaves_the_wish_and_a_new_run_does_not():
    assert state_of(*BEGUN, InputReceived("quick")).output.wanted == WANTED
    assert state_of(*TALKED, GOOD, RunEnded("completed"), (2, ASKED), STARTED).output.wanted is None
    assert state_of(*BEGUN, (2, ASKED), STARTED).output.wanted is None, "its run is dead"


def test_what_the_model_wrote_last_is_the_final_text():
    def ended(*facts, status="error"):
        state = state_of(*facts)
        ended = state_of(*facts, ending(state, status))
        assert ended.ended is not None
        return final_text(ended), ended.ended.error and ended.ended.error.code

    spent = OutputChecked(ok=False, text='{"x":1}', problem="y: missing", final=True)
    assert ended(*TALKED, LAST) == ("here", "structured_output_invalid")
    assert ended(*ANSWERED, *answer(spent, "failed")) == ('{"x":1}', "structured_output_invalid")
    assert ended(*ANSWERED, *answer(GOOD), status="completed") == ("{}", None)


def plan(*facts):
    return plan_resume(state_of(*facts), RunStarted(Limits()), LIMITS.runnable)


@pytest.mark.parametrize("facts", [(*TALKED, LAST), (*ANSWERED, *answer(LAST, "failed"))], ids=["text", "tool"])
def test_a_resume_asks_again_with_all_repairs(facts):
    ended = (*facts, RunEnded("error"))
    started, note = plan(*ended)
    assert isinstance(note, Note)
    assert (note.topic, "no JSON" in note.text) == (CONTINUE, True)
    state = state_of(*ended, (2, started), note)
    assert next_step(state, LIMITS) == CallModel(1)
    assert state.output.repairs == 0


def test_a_resume_checks_a_reply_that_was_never_checked():
    cancelled = (*TALKED, Cancelled(1), RunEnded("cancelled"))
    assert [fact.kind for fact in plan(*cancelled)] == ["run_started"]
    assert step(*cancelled, (2, STARTED)) == CheckOutput()
    assert plan(*TALKED, GOOD, Cancelled(1), RunEnded("cancelled")) == []


def test_an_erased_output_is_gone_and_ends_what_it_ended():
    entry = journal(*TALKED, GOOD)[-1]
    erased = jsontext.decode(erased_body(entry.kind, entry.body), OutputChecked)
    state = state_of(*TALKED, erased)
    assert (state.output.text, next_step(state, LIMITS)) == ("", EndRun("completed"))


def test_the_derived_state_is_json():
    """A summary of the journal can carry it."""
    output = state_of(*ANSWERED, *answer(BAD, "failed")).output
    assert jsontext.decode(jsontext.encode(output), type(output)) == output
