"""P20 on each wire: a request is the one before it plus what was appended, byte for byte, cache markers aside."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from wires import ANTHROPIC, CHAT, FORMATS, RESPONSES, WireFormat, asks

from power_loop import AgentLoopConfig, LLMRetryPolicy, StatefulAgentLoop, tool
from power_loop.testing.faulty_server import FaultyServer, Reply, error_reply

ROUNDS = 14
MARKER = b',"cache_control":{"type":"ephemeral"}'
LOOKS_BACK = 20
"""Blocks over which Anthropic looks back from a marker for a prefix that it knows."""
FEATURES = {
    CHAT: {"reasoning_field": "reasoning_content"},
    RESPONSES: {"encrypted_reasoning": True},
    ANTHROPIC: {"thinking": {"type": "adaptive"}},
}


@tool(effect="read")
async def look(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city} ☀"


@tool
async def fail(n: int) -> str:
    """Fail."""
    raise LookupError(f"{n}")


def script(wire: WireFormat) -> list[Reply]:
    """Sixty rounds: three inputs, the second beyond the limit of rounds, the third cut off in its middle."""
    numbers = iter(range(1000))

    def one() -> Reply:
        return wire.calls(asks(next(numbers), "look", city="Lima"))

    def mixed() -> Reply:
        return wire.calls(
            asks(next(numbers), "look", city="Quíto"),
            asks(next(numbers), "fail", n=1),
            asks(next(numbers), "vanish"),
            asks(next(numbers), "look", town="Lima"),
        )

    def many() -> Reply:
        return wire.calls(*[asks(next(numbers), "look", city=f"City {at}") for at in range(14)])

    rounds = [one, mixed, one, many, one]
    tools = [rounds[at % len(rounds)]() for at in range(3 * ROUNDS)]
    first, second, third = tools[: ROUNDS - 1], tools[ROUNDS : 2 * ROUNDS], tools[2 * ROUNDS :]
    return [
        *first,
        wire.text("Both are sunny."),
        *second,
        wire.text("The limit is reached."),
        *third[:5],
        error_reply(500),
        *third[5:8],
        error_reply(400),
        *third[8:-1],
        wire.text("The end."),
        *[one() for _ in range(ROUNDS - 1)],
        wire.text("You are welcome."),
    ]


class Driver:
    """Every verb comes from a loop of its own, with a service of its own: nothing but the journal is shared."""

    def __init__(self, wire: WireFormat, server: FaultyServer, path: Path) -> None:
        self._wire, self._server, self._path = wire, server, path
        self.session: str | None = None

    async def send(self, words: str) -> str:
        return await self._drive("send", words)

    async def resume(self) -> str:
        return await self._drive("resume")

    async def _drive(self, verb: str, *words: str) -> str:
        llm = self._wire.at(self._server, **FEATURES[self._wire])
        retries = LLMRetryPolicy(max_attempts=2, backoff_initial=0, backoff_max=0)
        config = AgentLoopConfig(system_prompt="Be kind. ☀", max_rounds=ROUNDS, retry_policy=retries)
        loop = StatefulAgentLoop(llm=llm, db_path=self._path, tools=[look, fail], config=config)
        ids = {"session_id": self.session} if verb == "send" else {}
        result = await getattr(loop, verb)(*(words or (self.session,)), **ids)
        self.session = result.session_id
        await loop.close()
        await llm.close()
        return result.status


def definition(body: bytes) -> list[bytes | None]:
    """Return model, tools and system text as they stand in the body."""
    fields = msgspec.json.decode(body.replace(MARKER, b""), type=dict[str, msgspec.Raw])
    return [bytes(fields[name]) if name in fields else None for name in ("model", "tools", "system", "instructions")]


def blocks(body: bytes) -> list[bytes]:
    """Return what the conversation is made of: messages, items, or content blocks with their role."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    if "input" in fields or "system" not in fields:
        return [
            bytes(raw) for raw in msgspec.json.decode(fields.get("input") or fields["messages"], type=list[msgspec.Raw])
        ]
    messages = msgspec.json.decode(fields["messages"], type=list[dict[str, msgspec.Raw]])
    return [
        bytes(message["role"]) + bytes(block)
        for message in messages
        for block in msgspec.json.decode(message["content"], type=list[msgspec.Raw])
    ]


async def bodies(wire: WireFormat, path: Path) -> list[bytes]:
    async with FaultyServer(script(wire)) as server:
        driver = Driver(wire, server, path / "sessions.db")
        assert await driver.send("Where is it warm? ☀") == "completed"
        assert await driver.send("And where is it cold?") == "hit_round_limit"
        assert await driver.send("Once more.") == "error"
        assert await driver.resume() == "completed"
        assert await driver.send("Thanks.") == "completed"
        assert server.script == []
        return [request.body for request in server.requests]


@pytest.mark.parametrize("wire", FORMATS)
async def test_each_request_extends_the_one_before(wire, tmp_path):
    """P20"""
    sent = await bodies(wire, tmp_path)
    assert len(sent) > 4 * ROUNDS
    for earlier, later in pairwise(sent):
        assert definition(later) == definition(earlier)
        old, new = blocks(earlier.replace(MARKER, b"")), blocks(later.replace(MARKER, b""))
        assert new[: len(old)] == old
    assert b"limit of rounds" in sent[-1]


async def test_markers_leave_no_gap_in_which_a_known_prefix_is_missed(tmp_path):
    sent = await bodies(ANTHROPIC, tmp_path)
    known = 0
    for body in sent:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        assert bytes(fields["system"]).count(MARKER) == 1
        marked = [at for at, block in enumerate(blocks(body)) if MARKER in block]
        assert marked[-1] == len(blocks(body)) - 1
        assert len(marked) <= 3
        assert all(later - earlier <= 15 for earlier, later in pairwise(marked))
        assert any(known <= at <= known + LOOKS_BACK for at in marked)
        known = marked[-1]
