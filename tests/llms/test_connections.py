"""When a connection serves a second call."""

import pytest
from wires import FORMATS

from power_loop.facts.messages import to_message
from power_loop.ports.llm import LLMRequest
from power_loop.testing.faulty_server import FaultyServer

ASK = LLMRequest([to_message("hi")])

pytestmark = pytest.mark.parametrize("wire", FORMATS)


async def test_a_request_without_tls_has_a_connection_of_its_own(wire):
    """A server that closes an idle connection cannot do it just as the next request arrives."""
    async with FaultyServer([wire.text(text) for text in "abc"]) as server:
        llm = wire.at(server)
        assert [(await llm.complete(ASK)).text for _ in "abc"] == ["a", "b", "c"]
        await llm.close()
        assert [request.headers["connection"] for request in server.requests] == ["close"] * 3
        assert server.connections == 3


async def test_a_client_of_the_host_uses_its_connection_again(wire):
    """Replies are read to the end of their body, so that a connection kept alive is not thrown away."""
    async with FaultyServer([wire.text(text) for text in "abc"]) as server:
        own = wire.client(base_url=server.base_url, api_key="of-the-host")
        llm = wire.service(model="scripted", client=own)
        assert [(await llm.complete(ASK)).text for _ in "abc"] == ["a", "b", "c"]
        await llm.close()
        await own.close()
        assert server.connections == 1
