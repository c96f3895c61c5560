import asyncio
import threading

import pytest

from power_loop import (
    AgentLoopConfig,
    CancellationRequested,
    CancellationToken,
    ConfigError,
    LLMAuthError,
    LLMOverloaded,
    LLMRateLimited,
    LLMRetryExhausted,
    LLMRetryPolicy,
    LLMTimeout,
    StatefulAgentLoop,
    with_retry,
)
from power_loop.facts.entries import ModelCalled, ModelFailed
from power_loop.testing import ScriptedLLM

QUICK = LLMRetryPolicy(max_attempts=3, backoff_initial=0, backoff_max=0)


def run_of(*lines, policy=QUICK):
    return StatefulAgentLoop(llm=ScriptedLLM(*lines), db_path=":memory:", config=AgentLoopConfig(retry_policy=policy))


async def facts(loop, kind):
    (session,) = await loop.list_sessions()
    return [e.fact for e in await loop.store.read(session.session_id) if isinstance(e.fact, kind)]


async def test_every_attempt_and_every_failure_is_a_fact():
    loop = run_of(LLMOverloaded("busy"), LLMRateLimited("slow"), "fine")
    assert (await loop.send("go")).final_text == "fine"
    assert [f.attempt for f in await facts(loop, ModelCalled)] == [1, 2, 3]
    assert [(f.code, f.retry) for f in await facts(loop, ModelFailed)] == [
        ("llm_overloaded", True),
        ("llm_rate_limited", True),
    ]


async def test_a_provider_that_asks_for_patience_gets_it():
    loop = run_of(LLMRateLimited("slow", retry_after=0.02), "fine")
    await loop.send("go")
    (failed,) = await facts(loop, ModelFailed)
    assert failed.delay >= 0.02


async def test_what_cannot_get_better_is_not_tried_again():
    loop = run_of(LLMAuthError("wrong key"), "never")
    result = await loop.send("go")
    assert (result.status, result.error.code, loop.llm.calls) == ("error", "llm_auth_error", 1)


async def test_total_timeout_bounds_the_call_itself():
    async def hangs(_request):
        await asyncio.Event().wait()

    loop = run_of(hangs, policy=LLMRetryPolicy(total_timeout=0.05))
    result = await loop.send("go")
    assert (result.status, result.error.code) == ("degraded", "llm_timeout")


async def test_a_pause_longer_than_what_is_left_is_not_made():
    loop = run_of(LLMRateLimited("slow", retry_after=3600), policy=LLMRetryPolicy(total_timeout=5))
    result = await loop.send("go")
    assert (result.status, result.error.code) == ("degraded", "llm_timeout")


def test_pauses_double_up_to_the_most():
    policy = LLMRetryPolicy(backoff_initial=0.5, backoff_max=3)
    assert [policy.backoff_for_attempt(n) for n in range(6)] == [0, 0.5, 1, 2, 3, 3]


def test_jitter_spreads_pauses():
    policy = LLMRetryPolicy(backoff_initial=1, backoff_max=1, jitter=0.5)
    pauses = {policy.pause(1, ValueError()) for _ in range(50)}
    assert len(pauses) > 10
    assert all(0.5 <= pause <= 1.5 for pause in pauses)


@pytest.mark.parametrize(
    "wrong", [{"max_attempts": 0}, {"backoff_initial": -1}, {"backoff_max": 0.1}, {"total_timeout": 0}, {"jitter": 1}]
)
def test_a_policy_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        LLMRetryPolicy(**wrong)


async def test_with_retry_for_code_of_ones_own():
    failures = iter([LLMOverloaded("a"), LLMOverloaded("b")])
    heard = []

    async def flaky():
        error = next(failures, None)
        if error:
            raise error
        return "fine"

    assert await with_retry(flaky, policy=QUICK, on_retry=lambda *args: heard.append(args[0])) == "fine"
    assert heard == [1, 2]

    async def broken():
        raise LLMOverloaded("always")

    with pytest.raises(LLMRetryExhausted) as caught:
        await with_retry(broken, policy=QUICK)
    assert caught.value.attempts == 3

    async def hangs():
        await asyncio.Event().wait()

    with pytest.raises(LLMTimeout):
        await with_retry(hangs, policy=LLMRetryPolicy(total_timeout=0.02))
    token = CancellationToken()
    token.cancel("enough")
    with pytest.raises(CancellationRequested, match="enough"):
        await with_retry(flaky, policy=QUICK, token=token)


def test_tokens_wrap_what_hosts_have():
    event = threading.Event()
    token = CancellationToken.from_any(event)
    assert not token.is_cancelled()
    event.set()
    assert token.is_cancelled()
    assert CancellationToken.from_any(lambda: True).is_cancelled()
    assert not CancellationToken.from_any(lambda: 1 / 0).is_cancelled()
    assert CancellationToken.from_any(token) is token
    assert not CancellationToken.never().is_cancelled()
    with pytest.raises(ConfigError):
        CancellationToken.from_any(5)


def test_without_a_policy_the_service_says_how_often():
    service = ScriptedLLM()
    assert AgentLoopConfig().retries(service).max_attempts == 3
    service.max_retries = 4
    assert AgentLoopConfig().retries(service).max_attempts == 5
    assert AgentLoopConfig(retry_policy=QUICK).retries(service) is QUICK
