"""Picking a model service for each request."""

import pytest

from power_loop import AgentMessage, ConfigError
from power_loop.llms.routing import RoutingLLM
from power_loop.ports.llm import DescribedLLM, LLMRequest, LLMService, TextDelta
from power_loop.ports.models import ModelInfo
from power_loop.testing import ScriptedLLM


class Described(ScriptedLLM):
    """A scripted model of a given window."""

    def __init__(self, *lines, window):
        super().__init__(*lines)
        self.window = window
        self.closed = 0

    def describe(self, model=None):
        return ModelInfo(model or "own", self.window, known=True)

    async def close(self):
        self.closed += 1


def by_length(request):
    return "large" if len(request.messages[-1].text) > 10 else "small"


def ask(text):
    return LLMRequest((AgentMessage("user", text),))


@pytest.fixture
def services():
    return {"small": Described("from small", window=1000), "large": Described("from large", window=9000)}


async def test_each_request_goes_where_the_function_says(services):
    heard = []
    llm = RoutingLLM(by_length, services)
    assert (await llm.complete(ask("short"), on_delta=heard.append)).text == "from small"
    assert (await llm.complete(ask("long enough"), on_delta=heard.append)).text == "from large"
    assert heard == [TextDelta("from small"), TextDelta("from large")]


async def test_a_service_may_be_chosen_itself(services):
    other = Described("from another", window=5)
    llm = RoutingLLM(lambda _: other, services)
    assert (await llm.complete(ask("x"))).text == "from another"
    await llm.close()
    assert (other.closed, services["small"].closed, services["large"].closed) == (0, 1, 1)


async def test_an_unknown_name_is_told_with_the_known_ones(services):
    with pytest.raises(ConfigError, match="no service 'huge'; it has large, small"):
        await RoutingLLM(lambda _: "huge", services).complete(ask("x"))


def test_it_describes_what_holds_for_all(services):
    llm = RoutingLLM(by_length, services)
    assert isinstance(llm, LLMService)
    assert isinstance(llm, DescribedLLM)
    assert (llm.describe().context_window, llm.describe("m").name, llm.describe().known) == (1000, "m", True)


def test_it_needs_services():
    with pytest.raises(ConfigError, match="at least one service"):
        RoutingLLM(by_length, {})
