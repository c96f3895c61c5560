"""A run that would never fit its model's window is folded on the way. The model is scripted: no key is needed."""

import asyncio
import re

from power_loop import AgentLoopConfig, LLMRequest, LLMResponse, ModelInfo, StatefulAgentLoop, estimate_tokens, tool
from power_loop.facts.usage import LLMTokenUsage
from power_loop.testing import ScriptedLLM, call, reply

PAGES = 30


@tool(effect="read")
def read_page(number: int) -> str:
    """Read a page of the book."""
    return f"Page {number}. " + "It was a dark and stormy night. " * 20


class Reader(ScriptedLLM):
    """Its window holds a third of the book."""

    def describe(self, _model: str | None = None) -> ModelInfo:
        """Say what is known of the model."""
        return ModelInfo("reader", context_window=3_000)


def read_on(request: LLMRequest) -> LLMResponse:
    text = "\n".join(message.text for message in request.messages)
    page = max(map(int, re.findall(r"[Pp]age (\d+)", text)), default=0)
    if (request.system_prompt or "").startswith("You sum up"):
        return reply(f"Read as far as page {page}. It was stormy throughout.")
    usage = LLMTokenUsage(estimate_tokens(request.messages), 20)
    if page == PAGES:
        return reply("The end: it was stormy throughout.", usage=usage)
    return reply("", call("read_page", number=page + 1), usage=usage)


async def main() -> None:
    config = AgentLoopConfig(max_rounds=50, max_tokens=300)
    async with StatefulAgentLoop(llm=Reader(read_on, repeat=True), tools=[read_page], config=config) as loop:
        result = await loop.send("Read the whole book and tell me how it ends.")
        print(f"{result.status}: {result.final_text}")

        async for event in loop.events(result.session_id):
            if event.payload.get("phase") == "completed":
                fold = event.payload
                print(
                    f"folded in round {fold['round_index']}: {fold['before_tokens']} -> {fold['after_tokens']} tokens"
                )

        view = await loop.get_messages(result.session_id)
        print("the model sees first:", view[0]["content"][:80])
        everything = await loop.get_messages(result.session_id, include_compacted=True)
        pages = sum(message["role"] == "tool" for message in everything)
        print(f"in view {len(view)} messages; in the journal all {pages} pages")


asyncio.run(main())
