"""The measured programs with power-loop: a model that costs nothing, two tools that cost nothing, the default store."""

import asyncio
import sqlite3
import time
from pathlib import Path

from benchmarks.child import (
    CHUNKS_PER_READ,
    MESSAGES_PER_TURN,
    SESSION,
    Numbers,
    check,
    cost_of,
    cpu_of_turns,
    main,
    rate_of,
)
from power_loop import StatefulAgentLoop, tool
from power_loop.facts.events import AgentEventType
from power_loop.facts.messages import MessageRole
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, TextDelta, ignore_delta
from power_loop.ports.store import Append
from power_loop.stores import SqliteStore
from power_loop.testing import call, reply

_QUESTION = "q" * 100
_ANSWER = reply("a" * 100)
_ASKS_FOR_TOOLS = reply("t" * 100, call("first", n=1), call("second", n=1))
_DB = "sessions.db"
_RUN_ROWS = (
    "SELECT count(*), coalesce(sum(length(body)), 0) FROM entries WHERE run > 0 AND kind <> 'definition_changed'"
)


@tool(effect="read")
async def first(n: int) -> str:  # noqa: ARG001 -- a constant costs nothing
    """Return a constant."""
    return "r" * 100


@tool(effect="read")
async def second(n: int) -> str:  # noqa: ARG001 -- as above
    """Return another constant."""
    return "s" * 100


class ConstantModel:
    """Asks for both tools, then answers; keeps and checks nothing. Without ``tools`` it only answers."""

    def __init__(self, *, tools: bool = True) -> None:
        self._tools = tools

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:  # noqa: ARG002
        """Return one of two constants."""
        answers = not self._tools or request.messages[-1].role is MessageRole.TOOL
        return _ANSWER if answers else _ASKS_FOR_TOOLS

    async def close(self) -> None:
        """Nothing to let go of."""


class StreamingModel:
    """Answers in many small pieces, some of which arrive together."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:  # noqa: ARG002
        """Stream the pieces."""
        for number in range(self._chunks):
            if number % CHUNKS_PER_READ == 0:
                await asyncio.sleep(0)
            on_delta(TextDelta("token "))
        return _ANSWER

    async def close(self) -> None:
        """Nothing to let go of."""


class CountingStore(SqliteStore):
    """Counts appends, each of which is one commit of its session."""

    appends = 0

    async def append(self, append: Append) -> None:
        """Count, and append."""
        self.appends += 1
        await super().append(append)


def open_loop(folder: str, model: ConstantModel | StreamingModel) -> StatefulAgentLoop:
    """Open the loop of a program on its folder."""
    return StatefulAgentLoop(llm=model, tools=[first, second], db_path=str(Path(folder, _DB)))


async def one_turn(loop: StatefulAgentLoop, session_id: str) -> None:
    """Send, and see that the turn was completed."""
    result = await loop.send(_QUESTION, session_id)
    check(result.status, "completed", "status of a turn")


async def cost(folder: str, turns: int) -> Numbers:
    """Run turns of two tool calls in one session."""
    async with open_loop(folder, ConstantModel()) as loop:
        await loop.new_session(SESSION)
        spent = await cpu_of_turns(lambda: one_turn(loop, SESSION), turns)
    numbers = cost_of(spent, folder) | rows_of(folder, turns + 1)
    return numbers | {"commits": await commits_of_a_turn(folder)}


def rows_of(folder: str, turns: int) -> Numbers:
    """Return the rows and the characters of text that a turn wrote, to be compared with the floor's."""
    db = sqlite3.connect(Path(folder, _DB))
    rows, characters = db.execute(_RUN_ROWS).fetchone()
    db.close()
    return {"rows": rows / turns, "characters": characters / turns}


async def commits_of_a_turn(folder: str) -> int:
    """Run one turn more and return how many commits it made."""
    store = CountingStore(str(Path(folder, _DB)))
    await one_turn(StatefulAgentLoop(llm=ConstantModel(), tools=[first, second], store=store), SESSION)
    await store.close()
    return store.appends


async def concurrency(folder: str, sessions: int, turns: int, tools: bool) -> Numbers:
    """Run many sessions at once."""
    async with open_loop(folder, ConstantModel(tools=tools)) as loop:
        names = [await loop.new_session() for _ in range(sessions)]

        async def session_turns(number: int) -> None:
            for _ in range(turns):
                await one_turn(loop, names[number])

        numbers = await rate_of(session_turns, sessions, turns)
    return numbers | rows_of(folder, sessions * turns)


async def prepare(folder: str, turns: int) -> Numbers:
    """Make the long session that ``reopen`` opens."""
    async with open_loop(folder, ConstantModel()) as loop:
        await loop.new_session(SESSION)
        for _ in range(turns):
            await one_turn(loop, SESSION)
    return {}


async def reopen(folder: str, messages: int) -> Numbers:
    """Open the file, load the session, run a turn, as a process does that has just started."""
    start = time.perf_counter()
    loop = open_loop(folder, ConstantModel())
    await one_turn(loop, SESSION)
    ready = time.perf_counter()
    check(len(await loop.get_messages(SESSION)), messages + MESSAGES_PER_TURN, "messages after a turn")
    await loop.close()
    return {"ms": (ready - start) * 1e3}


async def stream(folder: str, chunks: int) -> Numbers:
    """Iterate over the events of one streamed reply."""
    async with open_loop(folder, StreamingModel(chunks)) as loop:
        async for _ in loop.stream(_QUESTION, await loop.new_session(SESSION)):
            pass
        pieces, before = 0, time.process_time()
        async for event in loop.stream(_QUESTION, SESSION):
            pieces += event.type is AgentEventType.STREAM_DELTA
        spent = time.process_time() - before
    check(pieces, chunks, "streamed pieces")
    return {"us": spent / chunks * 1e6}


if __name__ == "__main__":
    main({"cost": cost, "concurrency": concurrency, "prepare": prepare, "reopen": reopen, "stream": stream})
