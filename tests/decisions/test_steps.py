import pytest
from journal import ASKED, DEFINED, STARTED, asks, state_of

from power_loop.decisions.calls import Fate, fate
from power_loop.decisions.state import WRAP_UP
from power_loop.decisions.steps import CallModel, EndRun, RunLimits, RunTools, next_step
from power_loop.facts.entries import (
    Cancelled,
    Limits,
    ModelCalled,
    ModelFailed,
    ModelReplied,
    Note,
    RecordedCall,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
)

LIMITS = RunLimits(Limits(), frozenset({"a", "b", "c"}))
BEGUN = (ASKED, STARTED, DEFINED, ModelCalled())


def step(*facts, limits=LIMITS):
    return next_step(state_of(*facts), limits)


def test_an_input_wants_a_model_call():
    assert step(ASKED, STARTED) == CallModel(1)


def test_a_reply_without_calls_ends_the_run():
    assert step(*BEGUN, ModelReplied("done")) == EndRun("completed")


def test_an_ended_run_wants_nothing():
    assert step(*BEGUN, ModelReplied("done"), RunEnded("completed")) is None


def test_calls_are_run_and_finished_ones_are_not_run_again():
    begun = (*BEGUN, asks("a", "b"))
    assert step(*begun) == RunTools(("call_5_0", "call_5_1"))
    assert step(*begun, ToolFinished("call_5_0", "a")) == RunTools(("call_5_1",))


def test_results_want_another_model_call():
    assert step(*BEGUN, asks("a"), ToolFinished("call_5_0", "a")) == CallModel(1)


def test_a_failed_attempt_is_followed_by_the_next_after_its_delay():
    failed = ModelFailed(1, "llm_rate_limited", retry=True, delay=2.5)
    assert step(*BEGUN, failed) == CallModel(2, 2.5)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("llm_retry_exhausted", "degraded"),
        ("llm_timeout", "degraded"),
        ("llm_auth_error", "error"),
        ("llm_bad_request", "error"),
    ],
)
def test_a_final_failure_ends_the_run(code, status):
    assert step(*BEGUN, ModelFailed(3, code)) == EndRun(status)


def test_a_resumed_run_starts_its_attempts_anew():
    facts = (*BEGUN, ModelFailed(3, "llm_retry_exhausted"), RunEnded("degraded"), (2, STARTED))
    assert step(*facts) == CallModel(1)


def test_the_round_limit_asks_for_a_last_word_without_tools():
    limits = RunLimits(Limits(max_rounds=1), LIMITS.runnable)
    done = (*BEGUN, asks("a"), ToolFinished("call_5_0", "a"))
    assert step(*done, limits=limits) == CallModel(1, 0.0, wrap_up=True)
    wrapped = (*done, Note(WRAP_UP, "sum up"), ModelCalled(wrap_up=True))
    assert step(*wrapped, ModelReplied("that was it"), limits=limits) == EndRun("hit_round_limit")


def test_calls_of_the_last_word_are_refused():
    limits = RunLimits(Limits(max_rounds=1), LIMITS.runnable)
    facts = (*BEGUN, asks("a"), ToolFinished("call_5_0", "a"), Note(WRAP_UP, "sum up"), asks("b"))
    state = state_of(*facts)
    assert next_step(state, limits) == RunTools(("call_8_0",))
    assert fate(state.calls["call_8_0"], state, limits.runnable) is Fate.REFUSE


def test_a_cancel_ends_the_run_whatever_is_open():
    assert step(*BEGUN, asks("a", "b"), Cancelled(1)) == EndRun("cancelled")


def test_a_cancel_of_another_run_is_void():
    assert step(*BEGUN, asks("a"), Cancelled(7)) == RunTools(("call_5_0",))


def test_three_deaths_in_model_calls_end_in_crash_loop_and_force_forgives():
    facts = [ASKED, STARTED, DEFINED, ModelCalled()]
    for run in (2, 3, 4):
        facts += [(run, STARTED), ModelCalled()]
    facts.pop()
    assert step(*facts) == EndRun("crash_loop")
    assert step(*facts[:-1], (4, RunStarted(Limits(), force=True))) == CallModel(1)


def test_a_failed_call_is_not_a_death():
    facts = [ASKED, STARTED, DEFINED]
    for run in range(1, 6):
        facts += [(run, STARTED), ModelCalled(), ModelFailed(1, "llm_timeout"), RunEnded("degraded")]
    assert step(*facts, (9, STARTED)) == CallModel(1)


def fate_of(effect: str, attempt: int, run: int = 2, runnable=LIMITS.runnable) -> Fate:
    started = ToolStarted("call_5_0", "a", effect, attempt, "key")
    state = state_of(*BEGUN, asks("a"), started, (run, STARTED))
    return fate(state.calls["call_5_0"], state, runnable)


@pytest.mark.parametrize("effect", ["read", "idempotent"])
def test_a_repeatable_call_in_doubt_runs_again_at_most_three_times(effect):
    assert fate_of(effect, 1) is Fate.RUN
    assert fate_of(effect, 2) is Fate.RUN
    assert fate_of(effect, 3) is Fate.UNKNOWN


def test_a_once_call_in_doubt_is_never_simply_run():
    assert fate_of("once", 1) is Fate.RECONCILE


def test_a_call_that_this_run_started_is_not_in_doubt():
    state = state_of(*BEGUN, asks("a"), ToolStarted("call_5_0", "a", "once", 1, "key"))
    assert not state.in_doubt(state.calls["call_5_0"])


def test_a_tool_that_is_not_registered_here_waits():
    assert fate_of("read", 1, runnable=frozenset()) is Fate.WAIT
    assert step(*BEGUN, asks("a"), limits=RunLimits(Limits())) == EndRun("pending_tools")


def test_what_can_be_run_is_run_before_waiting():
    limits = RunLimits(Limits(), frozenset({"b"}))
    assert step(*BEGUN, asks("a", "b"), limits=limits) == RunTools(("call_5_1",))


def test_a_tool_never_offered_and_unreadable_arguments_are_refused():
    unreadable = ModelReplied(calls=(RecordedCall("w", "a", raw="{oops", error="not JSON"), RecordedCall("x", "zzz")))
    state = state_of(*BEGUN, unreadable)
    assert {fate(call, state, LIMITS.runnable) for call in state.calls.values()} == {Fate.REFUSE}
