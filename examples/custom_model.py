"""Any object with complete() and close() is a model. This one needs no key: it turns words around.

Call on_delta as pieces arrive; return one complete reply, or raise an LLMError.
"""

import asyncio
from decimal import Decimal

from power_loop import (
    AgentEventType,
    LLMBadRequest,
    LLMRequest,
    LLMResponse,
    LLMTokenUsage,
    StatefulAgentLoop,
    TextDelta,
)


class Mirror:
    """Answers with the last message, backwards, at a price."""

    async def complete(self, request: LLMRequest, *, on_delta=lambda _delta: None) -> LLMResponse:
        """Return the complete reply."""
        said = request.messages[-1].text
        if not said.isascii():
            raise LLMBadRequest("This model reads ASCII only.", status=400)
        words = said[::-1].split(" ")
        for word in words:
            on_delta(TextDelta(word + " "))
            await asyncio.sleep(0)  # where a real one waits for its provider
        usage = LLMTokenUsage(input_tokens=len(request.messages), output_tokens=len(words))
        return LLMResponse(" ".join(words), usage=usage, model="mirror-1", cost=str(Decimal("0.001") * len(words)))

    async def close(self) -> None:
        """Let go of connections; there are none."""


async def main() -> None:
    async with StatefulAgentLoop(llm=Mirror(), db_path=":memory:") as loop:
        stream = loop.stream("was it a car")
        async for event in stream:
            if event.type is AgentEventType.STREAM_DELTA:
                print(f"delta {event.payload['text']!r}")
        assert stream.result is not None
        print(f"{stream.result.final_text}  (cost {stream.result.cost} USD)")

        failed = await loop.send("olé", stream.result.session_id)
        print(f"{failed.status}: {failed.error and failed.error.code}")
        usage = await loop.get_usage(stream.result.session_id)
        print(f"session: {usage.total.total_tokens} tokens, {usage.cost} USD, {len(usage.rounds)} replies")


asyncio.run(main())
