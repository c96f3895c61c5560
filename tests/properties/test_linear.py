"""P21: what a round costs does not depend on how long the session is. Counted, never timed."""

import sys
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from power_loop import AgentLoopConfig, MemoryStore, SqliteStore, StatefulAgentLoop, tool
from power_loop.decisions.replay import replay
from power_loop.facts.messages import AgentMessage
from power_loop.llms.openai_chat_request import RequestEncoder
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ReplyCall, ignore_delta
from power_loop.testing import call, reply

TURNS = 40
FILLED = "x" * 100
ROUND = 5
"""Messages that may come between two model calls: a reply, two results, another reply, an input."""


class Model:
    """Asks for two tools, then answers; encodes every request as the chat client does."""

    def __init__(self) -> None:
        self.calls = 0
        self.conversions: list[int] = []
        self.lengths: list[int] = []
        self.encoder = RequestEncoder(
            "m", max_tokens=None, max_tokens_field="max_tokens", temperature=None, extra={}, reasoning_field=None
        )
        self.converted = 0
        convert = self.encoder._messages._convert

        def counted(message: AgentMessage, *given: Any) -> Any:
            self.converted += 1
            return convert(message, *given)

        self.encoder._messages._convert = counted

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        before = self.converted
        self.lengths.append(len(self.encoder.encode(request)))
        self.conversions.append(self.converted - before)
        self.calls += 1
        if self.calls % 2 == 0:
            return reply(FILLED)
        calls = [ReplyCall(f"id_{self.calls:05}_{n}", "look", call("look", n=1).arguments) for n in range(2)]
        return reply(FILLED, *calls)

    async def close(self) -> None:
        """Nothing to let go of."""


@tool(effect="read")
async def look(n: int) -> str:
    """Look."""
    return FILLED


class CountingStore:
    """Counts every operation by its name."""

    def __init__(self, store: Any) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[name] += 1
            return found(*args, **kwargs)

        return counted


def loop_on(store: Any) -> StatefulAgentLoop:
    return StatefulAgentLoop(llm=Model(), store=store, tools=[look], config=AgentLoopConfig())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_turn_does_the_same_store_operations_however_long_the_session(tmp_path, kind):
    inner = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "sessions.db")
    store = CountingStore(inner)
    loop = loop_on(store)
    session = await loop.new_session()
    turns = []
    for _ in range(TURNS):
        store.counts.clear()
        await loop.send(FILLED, session)
        turns.append(dict(store.counts))
    assert turns[1:] == [turns[1]] * (TURNS - 1)
    assert set(turns[1]) == {"append"}, "a turn reads nothing back"
    await inner.close()


async def test_entries_and_their_bytes_grow_by_the_same_with_every_turn():
    store = MemoryStore()
    loop = loop_on(store)
    session = await loop.new_session()
    sizes = []
    for _ in range(TURNS):
        head = (await store.get(session)).head_seq
        await loop.send(FILLED, session)
        new = await store.read(session, after=head)
        # numbers grow with the session, and so does the text of a number
        sizes.append((len(new), sum(len(entry.body) for entry in new) // 100))
    assert len(set(sizes[10:])) == 1, sizes


async def test_a_message_is_converted_for_the_wire_once():
    loop = loop_on(MemoryStore())
    session = await loop.new_session()
    for _ in range(TURNS):
        await loop.send(FILLED, session)
    model = loop.llm
    assert model.lengths[-1] > 20 * model.lengths[0]
    messages = len(await loop.get_messages(session))
    assert sum(model.conversions) == messages - 1, "all but the last reply were sent, each was converted once"
    assert max(model.conversions) <= 3


class Untouched(list):
    """A list that may grow at its end; looking further back than a round is an error."""

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice) and at.start is not None and len(self) - at.start <= ROUND:
            return super().__getitem__(at)
        return self._refuse()

    def _refuse(self, *_: Any) -> Any:
        raise AssertionError("the history was looked at")

    __iter__ = __contains__ = __eq__ = __add__ = __mul__ = __reversed__ = index = count = copy = _refuse
    __delitem__ = __setitem__ = insert = pop = remove = sort = reverse = clear = _refuse
    __hash__ = None


async def test_applying_an_entry_does_not_look_at_the_history():
    store = MemoryStore()
    loop = loop_on(store)
    session = await loop.new_session()
    for _ in range(5):
        await loop.send(FILLED, session)
    record, entries = await store.load(session)
    half = len(entries) // 2
    state = replay(entries[:half], base_seq=0, base_digest=record.base_digest)
    state.messages = Untouched(state.messages)
    known = len(state.messages)
    for entry in entries[half:]:
        state.apply(entry)
    assert len(state.messages) > known
    assert state.head_digest == record.head_digest


async def test_the_number_of_function_calls_of_a_turn_does_not_grow():
    """Counts every call of a Python function during a turn, the kernel's own and the library's below it."""
    loop = loop_on(MemoryStore())
    loop.llm.encoder.encode = lambda _request: b""  # handing the history to the provider is the provider's cost
    session = await loop.new_session()
    counts = []
    for _ in range(TURNS):
        calls = 0

        def count(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        await loop.send(FILLED, session)
        sys.setprofile(None)
        counts.append(calls)
    early, late = sorted(counts[5:15]), sorted(counts[-10:])
    assert late[5] <= early[5] * 1.02, counts


async def test_another_process_replays_once_and_then_goes_on_as_cheaply():
    store = CountingStore(MemoryStore())
    session = await loop_on(store).new_session()
    loop = loop_on(store)
    for _ in range(5):
        await loop.send(FILLED, session)
    store.counts.clear()
    other = loop_on(store)
    await other.send(FILLED, session)
    assert store.counts["load"] == 1
    store.counts.clear()
    await other.send(FILLED, session)
    assert set(store.counts) == {"append"}


async def test_each_request_is_the_last_one_and_what_was_said_since():
    seen: list[tuple[AgentMessage, ...]] = []
    loop = loop_on(MemoryStore())
    complete = loop.llm.complete

    async def kept(request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        seen.append(tuple(request.messages))
        return await complete(request, on_delta=on_delta)

    loop.llm.complete = kept
    session = await loop.new_session()
    for _ in range(10):
        await loop.send(FILLED, session)
    for earlier, later in pairwise(seen):
        assert all(old is new for old, new in zip(earlier, later, strict=False)), "the very same objects"
