"""What services say of their models, and what their replies cost."""

import json
from decimal import Decimal

import pytest
import responses_script
from wires import ANTHROPIC, FORMATS, RESPONSES, asks

from power_loop import StatefulAgentLoop, tool
from power_loop.facts.errors import ConfigError
from power_loop.facts.messages import to_message
from power_loop.llms.fallback import FallbackLLM
from power_loop.llms.routing import RoutingLLM
from power_loop.ports.llm import DescribedLLM, LLMRequest
from power_loop.ports.models import DEFAULT_CONTEXT_WINDOW, ModelInfo, Prices
from power_loop.testing.faulty_server import FaultyServer
from power_loop.testing.recording import RecordingLLM, ReplayingLLM

ASK = LLMRequest([to_message("hi")])
PRICES = Prices(Decimal(2), Decimal(10))
PRICED = {"scripted": {"prices": PRICES, "context_window": 9000}}
COST = "0.00007"  # of the 10 and 5 tokens that a scripted reply reports


@pytest.mark.parametrize("wire", FORMATS)
def test_a_providers_own_endpoint_has_windows_and_prices(wire):
    name = "claude-sonnet-4-5" if wire is ANTHROPIC else "gpt-5-mini"
    llm = wire.service(model=name, api_key="k")
    assert isinstance(llm, DescribedLLM)
    info = llm.describe()
    assert (info.name, info.known, info.native_schema) == (name, True, True)
    assert info.context_window == (200_000 if wire is ANTHROPIC else 400_000)
    assert info.prices.output > info.prices.input > 0
    assert llm.describe("nobody-1") == ModelInfo("nobody-1")


@pytest.mark.parametrize("wire", FORMATS)
def test_what_the_host_says_counts_more(wire):
    url = "http://127.0.0.1:9/v1"
    llm = wire.service(model="scripted", base_url=url, model_info=PRICED)
    assert (llm.describe().context_window, llm.describe().prices, llm.describe().known) == (9000, PRICES, True)
    plain = wire.service(model="gpt-5-mini", base_url=url).describe()
    assert (plain.known, plain.prices) == (True, None)
    with pytest.raises(ConfigError, match="no field 'price'"):
        wire.service(model="scripted", base_url=url, model_info={"scripted": {"price": 1}}).describe()


@pytest.mark.parametrize("wire", FORMATS)
async def test_a_reply_says_what_it_cost(wire):
    async with FaultyServer([wire.text("a"), wire.text("b")]) as server:
        priced, plain = wire.at(server, model_info=PRICED), wire.at(server)
        assert (await priced.complete(ASK)).cost == COST
        assert (await plain.complete(ASK)).cost is None
        await priced.close()
        await plain.close()


async def test_a_reply_without_figures_has_no_cost():
    """An endpoint that reports no usage is not free."""
    none = {"input_tokens": 0, "output_tokens": 0}
    async with FaultyServer([responses_script.replying(responses_script.spoken("x"), usage=none)]) as server:
        llm = RESPONSES.at(server, model_info=PRICED)
        assert (await llm.complete(ASK)).cost is None
        await llm.close()


@pytest.mark.parametrize("wire", FORMATS)
async def test_an_override_that_cannot_work_is_told_before_anything_is_paid(wire):
    async with FaultyServer([wire.text("a")]) as server:
        llm = wire.at(server, model_info={"scripted": {"context_window": 0}})
        with pytest.raises(ConfigError, match="no tokens"):
            await llm.complete(ASK)
        await llm.close()
        assert server.requests == []


@pytest.mark.parametrize("wire", FORMATS)
async def test_the_result_of_a_run_has_the_cost_of_all_its_calls(wire, tmp_path):
    @tool(effect="read")
    async def look(city: str) -> str:
        """Return the weather of a city."""
        return f"sunny in {city}"

    script = [wire.calls(asks(1, "look", city="Lima")), wire.text("Warm."), wire.text("You are welcome.")]
    async with FaultyServer(script) as server:
        llm = wire.at(server, model_info=PRICED)
        loop = StatefulAgentLoop(llm=llm, db_path=tmp_path / "sessions.db", tools=[look])
        result = await loop.send("Where is it warm?")
        assert (result.final_text, result.cost) == ("Warm.", 2 * Decimal(COST))
        result = await loop.send("Thanks.", session_id=result.session_id)
        assert result.cost == Decimal(COST)
        assert (await loop.get_usage(result.session_id)).cost == 3 * Decimal(COST)
        await loop.close()
        await llm.close()


def test_variables_for_compatible_endpoints_do_not_touch_anthropic(monkeypatch):
    monkeypatch.setenv("OPENAI_COMPAT_SUPPORTS_TOOLS", "0")
    monkeypatch.setenv("POWER_LOOP_SUPPORTS_IMAGE_INPUT", "0")
    described = {
        name: wire.values[0].service(model="claude-sonnet-4-5", base_url="http://127.0.0.1:9/v1").describe()
        for name, wire in zip(("chat", "responses", "anthropic"), FORMATS, strict=True)
    }
    assert {name: info.tools for name, info in described.items()} == {
        "chat": False,
        "responses": False,
        "anthropic": True,
    }
    assert not any("image" in info.inputs for info in described.values())


async def test_wrappers_pass_on_what_services_say_and_what_replies_cost(tmp_path):
    async with FaultyServer([wire.values[0].text("x") for wire in FORMATS]) as server:
        chat, responses, anthropic = (
            wire.values[0].at(server, model_info={"scripted": {"context_window": window, "prices": PRICES}})
            for wire, window in zip(FORMATS, (3000, 2000, 1000), strict=True)
        )
        path = tmp_path / "cassette.jsonl"
        recording = RecordingLLM(RoutingLLM(lambda _: "a", {"a": chat, "b": responses}), path)
        both = FallbackLLM(recording, anthropic)
        assert both.describe().context_window == 1000
        assert recording.describe().context_window == 2000
        assert both.describe().prices.output == PRICES.output
        assert (await both.complete(ASK)).cost == COST
        assert (await ReplayingLLM(path).complete(ASK)).cost == COST
        assert json.loads(path.read_text())["response"]["cost"] == COST
        await both.close()


def test_an_unknown_model_has_safe_defaults():
    info = RESPONSES.service(model="nobody-1", base_url="http://127.0.0.1:9/v1").describe()
    assert (info.context_window, info.known, info.prices) == (DEFAULT_CONTEXT_WINDOW, False, None)
