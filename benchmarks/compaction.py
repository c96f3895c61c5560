"""The measured program of compaction: what a fold costs beside the turn it happens in, and what opening costs after it.

The floor is ``json.dumps`` of the folded messages, which whoever has them summed up has to do at least.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.child import MESSAGES_PER_TURN, SESSION, Numbers, check, cpu_of_turns
from benchmarks.kernel import ConstantModel, first, one_turn, second
from power_loop import LLMContextTooLong, StatefulAgentLoop
from power_loop.compaction.default import SUMMARY_PROMPT
from power_loop.ports.llm import LLMRequest, LLMResponse, OnDelta, ignore_delta
from power_loop.testing import reply

_TURNS_BESIDE = 20
_SUMMARY = reply("u" * 2_000)


class RefusingModel(ConstantModel):
    """Refuses one context as too long, and sums up when asked."""

    refuses = False

    async def complete(self, request: LLMRequest, *, on_delta: OnDelta = ignore_delta) -> LLMResponse:
        """Return a constant."""
        if request.system_prompt == SUMMARY_PROMPT:
            return _SUMMARY
        if self.refuses:
            self.refuses = False
            raise LLMContextTooLong("as the benchmark wants it")
        return await super().complete(request, on_delta=on_delta)


async def measure(folder: str, messages: int) -> Numbers:
    """Return the CPU milliseconds of a fold, and the milliseconds until a new loop has answered behind it."""
    path, model = str(Path(folder, "sessions.db")), RefusingModel()
    async with StatefulAgentLoop(llm=model, tools=[first, second], db_path=path) as loop:
        await loop.new_session(SESSION)
        spent = await cpu_of_turns(lambda: one_turn(loop, SESSION), messages // MESSAGES_PER_TURN - 1)
        model.refuses = True
        before = time.process_time()
        await one_turn(loop, SESSION)
        folding = (time.process_time() - before) * 1e3 - statistics.median(spent[-_TURNS_BESIDE:])
        view = await loop.get_messages(SESSION)
        folded = [m for m in await loop.get_messages(SESSION, include_compacted=True) if "compacted" in m]
    check(len(view) + len(folded), messages + MESSAGES_PER_TURN + 1, "messages, folded and in view")
    began = time.perf_counter()
    async with StatefulAgentLoop(llm=ConstantModel(), tools=[first, second], db_path=path) as again:
        await one_turn(again, SESSION)
        opened = (time.perf_counter() - began) * 1e3
    before = time.process_time()
    json.dumps(folded)
    return {"fold_ms": folding, "open_ms": opened, "floor_ms": (time.process_time() - before) * 1e3}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="power-loop-bench-", dir=sys.argv[1]) as scratch:
        print(json.dumps(asyncio.run(measure(scratch, int(sys.argv[2])))))
