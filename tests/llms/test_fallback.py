"""Falling over from one model service to the next."""

import gc
import logging
from decimal import Decimal

import pytest

from power_loop import (
    AgentEventType,
    AgentLoopConfig,
    AgentMessage,
    ConfigError,
    LLMRetryPolicy,
    MemoryStore,
    StatefulAgentLoop,
)
from power_loop.facts.errors import (
    LLMAuthError,
    LLMBadRequest,
    LLMConnectionError,
    LLMContextTooLong,
    LLMOverloaded,
    LLMRateLimited,
    LLMRefused,
    LLMRetryExhausted,
    LLMTruncated,
    LLMUnavailable,
)
from power_loop.llms.fallback import FALLS_OVER, FallbackLLM
from power_loop.ports.llm import DescribedLLM, LLMRequest, LLMService, TextDelta
from power_loop.ports.models import DEFAULT_CONTEXT_WINDOW, ModelInfo, Prices
from power_loop.testing import ScriptedLLM, ScriptExhausted

REQUEST = LLMRequest(messages=(AgentMessage("user", "Hello"),))
OVERLOADED = LLMOverloaded("busy", status=529)


class Described(ScriptedLLM):
    """A scripted model that says what it is, and whether it was closed."""

    def __init__(self, *lines, info=None, closing=None, **options):
        super().__init__(*lines, **options)
        self.info = info or ModelInfo()
        self.closed = 0
        self._closing = closing

    def describe(self, model=None):
        return self.info

    async def close(self):
        self.closed += 1
        if self._closing:
            raise self._closing


class Breaking(ScriptedLLM):
    """A model whose connection breaks after its first word, as often as it is told."""

    def __init__(self, *lines, times=1, **options):
        super().__init__(*lines, **options)
        self.times = times
        self.begun = 0

    async def complete(self, request, *, on_delta=lambda _: None):
        self.begun += 1
        if self.times:
            self.times -= 1
            on_delta(TextDelta("Half"))
            raise LLMConnectionError("cut off")
        return await super().complete(request, on_delta=on_delta)


def window(tokens, *, known=True):
    return ModelInfo(context_window=tokens, known=known)


async def test_the_first_that_can_answers():
    first, second = ScriptedLLM("first"), ScriptedLLM("second")
    reply = await FallbackLLM(first, second).complete(REQUEST)
    assert (reply.text, second.calls) == ("first", 0)


@pytest.mark.parametrize("kind", FALLS_OVER)
async def test_what_another_may_not_have_goes_to_the_next(kind, caplog):
    with caplog.at_level(logging.WARNING, "power_loop"):
        reply = await FallbackLLM(ScriptedLLM(kind("no")), ScriptedLLM("yes")).complete(REQUEST)
    assert reply.text == "yes"
    assert "service 1 of 2 failed: no" in caplog.text


@pytest.mark.parametrize("error", [LLMRefused("no"), LLMBadRequest("no"), ValueError("no"), ScriptExhausted("no")])
async def test_what_is_about_the_request_is_raised_at_once(error):
    second = ScriptedLLM("second")
    with pytest.raises(type(error)) as caught:
        await FallbackLLM(ScriptedLLM(error), second).complete(REQUEST)
    assert (caught.value, second.calls) == (error, 0)


async def test_the_host_says_what_falls_over():
    llm = FallbackLLM(ScriptedLLM(LLMRefused("no"), OVERLOADED), ScriptedLLM("yes"), on=(LLMRefused,))
    assert (await llm.complete(REQUEST)).text == "yes"
    with pytest.raises(LLMOverloaded):
        await llm.complete(REQUEST)


async def test_the_last_error_names_the_earlier_ones_and_asks_for_the_shortest_wait():
    services = [ScriptedLLM(error) for error in (LLMRateLimited("slow", retry_after=7.0), LLMAuthError("no key"),
                                                 LLMUnavailable("down", status=502, retry_after=30.0))]  # fmt: skip
    with pytest.raises(LLMUnavailable) as caught:
        await FallbackLLM(*services).complete(REQUEST)
    error = caught.value
    assert str(error) == "down (Other services failed too: llm_rate_limited: slow; llm_auth_error: no key)"
    assert (error.status, error.retry_after, error.details["status"], str(error.__cause__)) == (502, 7.0, 502, "down")


async def test_a_wait_that_one_leaves_to_the_policy_is_left_to_it():
    services = ScriptedLLM(LLMOverloaded("busy")), ScriptedLLM(LLMRateLimited("slow", retry_after=60.0))
    with pytest.raises(LLMRateLimited) as caught:
        await FallbackLLM(*services).complete(REQUEST)
    assert caught.value.retry_after is None


async def test_an_error_worth_another_try_is_raised_before_one_that_is_not():
    with pytest.raises(LLMOverloaded, match=r"busy .*llm_auth_error: no key"):
        await FallbackLLM(ScriptedLLM(OVERLOADED), ScriptedLLM(LLMAuthError("no key"))).complete(REQUEST)


async def test_an_error_with_arguments_of_its_own_keeps_them():
    last = LLMRetryExhausted(attempts=3, last_error=OVERLOADED)
    with pytest.raises(LLMRetryExhausted) as caught:
        await FallbackLLM(
            ScriptedLLM(LLMAuthError("no key")), ScriptedLLM(last), on=(LLMAuthError, LLMRetryExhausted)
        ).complete(REQUEST)
    assert caught.value is last
    assert "no key" in last.__notes__[0]


# -- deltas


async def test_deltas_of_a_failure_do_not_mix_with_the_next_reply():
    heard = []
    first, second = Breaking("first"), ScriptedLLM("second", chunk=3)
    llm = FallbackLLM(first, second)
    with pytest.raises(LLMConnectionError, match=r"^cut off$"):
        await llm.complete(REQUEST, on_delta=heard.append)
    assert (heard, second.calls) == ([TextDelta("Half")], 0)
    heard.clear()
    assert (await llm.complete(REQUEST, on_delta=heard.append)).text == "second"
    assert (heard, first.begun) == ([TextDelta("sec"), TextDelta("ond")], 1)
    assert (await llm.complete(REQUEST, on_delta=heard.append)).text == "first"


async def test_another_request_still_starts_with_the_first():
    llm = FallbackLLM(Breaking("first"), ScriptedLLM("second"))
    with pytest.raises(LLMConnectionError):
        await llm.complete(REQUEST, on_delta=lambda _: None)
    assert (await llm.complete(LLMRequest((AgentMessage("user", "Hello"),)))).text == "first"


async def test_what_is_remembered_goes_with_the_message():
    llm = FallbackLLM(Breaking(times=9), ScriptedLLM("second"))
    request = LLMRequest((AgentMessage("user", "Hello"),))
    with pytest.raises(LLMConnectionError):
        await llm.complete(request, on_delta=lambda _: None)
    assert len(llm._starts) == 1
    del request
    gc.collect()
    assert not llm._starts


async def test_after_the_last_the_next_attempt_starts_again_with_the_first():
    first, second = ScriptedLLM(OVERLOADED, "first"), Breaking()
    llm = FallbackLLM(first, second)
    with pytest.raises(LLMConnectionError, match="busy"):
        await llm.complete(REQUEST, on_delta=lambda _: None)
    assert (await llm.complete(REQUEST, on_delta=lambda _: None)).text == "first"


async def test_a_host_that_shows_no_deltas_may_fall_over_all_the_same():
    heard = []
    llm = FallbackLLM(Breaking(), ScriptedLLM("second"), after_delta=True)
    assert (await llm.complete(REQUEST, on_delta=heard.append)).text == "second"
    assert heard == [TextDelta("Half"), TextDelta("second")]


async def test_without_a_listener_nothing_was_shown():
    assert (await FallbackLLM(Breaking(), ScriptedLLM("second")).complete(REQUEST)).text == "second"


async def test_a_session_goes_on_with_the_second_service_and_watchers_see_two_attempts():
    llm = FallbackLLM(Breaking(times=9), ScriptedLLM("second"))
    policy = LLMRetryPolicy(max_attempts=2, backoff_initial=0, backoff_max=0)
    loop = StatefulAgentLoop(llm=llm, store=MemoryStore(), config=AgentLoopConfig(retry_policy=policy))
    seen = [event async for event in loop.stream("Hello")]
    deltas = [event for event in seen if event.type is AgentEventType.STREAM_DELTA]
    assert [(event.attempt, event.payload["text"]) for event in deltas] == [(1, "Half"), (2, "second")]


# -- windows


async def test_too_long_goes_to_a_larger_window_only():
    small = Described(LLMContextTooLong("long"), info=window(1000))
    equal, large = Described(info=window(1000)), Described("large", info=window(1001))
    assert (await FallbackLLM(small, equal, large).complete(REQUEST)).text == "large"
    assert equal.calls == 0


async def test_too_long_for_all_is_raised_so_that_the_session_is_compacted():
    small, large = Described(LLMContextTooLong("long"), info=window(1000)), Described(OVERLOADED, info=window(2000))
    with pytest.raises(LLMContextTooLong):
        await FallbackLLM(large, small).complete(REQUEST)
    with pytest.raises(LLMContextTooLong, match=r"^long$"):
        await FallbackLLM(
            Described(LLMContextTooLong("long"), info=window(10)), Described("no", info=window(10))
        ).complete(REQUEST)


@pytest.mark.parametrize("other", [Described("yes", info=window(5, known=False)), ScriptedLLM("yes")])
async def test_a_window_that_nobody_knows_is_worth_asking(other):
    llm = FallbackLLM(Described(LLMContextTooLong("long"), info=window(100_000)), other)
    assert (await llm.complete(REQUEST)).text == "yes"


# -- the port


async def test_a_model_that_the_request_names_is_of_the_first_service():
    first, second = ScriptedLLM(LLMTruncated("cut")), ScriptedLLM("second")
    await FallbackLLM(first, second).complete(LLMRequest(REQUEST.messages, model="gpt-5"))
    assert (first.requests[0].model, second.requests[0].model) == ("gpt-5", None)


def test_it_describes_what_holds_for_all():
    one = ModelInfo("one", 1000, 50, frozenset({"text", "image"}), native_schema=True, known=True,
                    prices=Prices(Decimal(1), Decimal(2)))  # fmt: skip
    two = ModelInfo(
        "two", 2000, None, frozenset({"text", "pdf"}), known=True, prices=Prices(Decimal("0.5"), Decimal(3))
    )
    llm = FallbackLLM(Described(info=one), Described(info=two))
    assert isinstance(llm, DescribedLLM)
    info = llm.describe()
    assert (info.name, info.context_window, info.max_output, info.inputs) == ("one", 1000, 50, {"text"})
    assert (info.tools, info.native_schema, info.known) == (True, False, True)
    assert (info.prices.input, info.prices.output) == (1, 3)
    plain = FallbackLLM(Described(info=one), ScriptedLLM()).describe()
    assert (plain.known, plain.prices, plain.context_window) == (False, None, min(1000, DEFAULT_CONTEXT_WINDOW))


async def test_closing_closes_all_once_and_tells_the_first_failure():
    twice, broken, last = Described(), Described(closing=OSError("stuck")), Described()
    llm = FallbackLLM(twice, broken, twice, last)
    assert isinstance(llm, LLMService)
    with pytest.raises(OSError, match="stuck"):
        await llm.close()
    assert (twice.closed, broken.closed, last.closed) == (1, 1, 1)


def test_it_wishes_for_as_many_retries_as_its_services():
    first, second = ScriptedLLM(), ScriptedLLM()
    assert FallbackLLM(first, second).max_retries is None
    second.max_retries = 5
    assert FallbackLLM(first, second).max_retries == 5


def test_one_service_is_no_fallback():
    with pytest.raises(ConfigError, match="two services"):
        FallbackLLM(ScriptedLLM())
