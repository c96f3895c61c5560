"""A model that fails now and then: each attempt is recorded, a typed status tells when it was too much.

The endpoint is a real HTTP server on loopback that plays its faults by script, so that this runs without a key.
Needs the openai package, as every OpenAI-compatible endpoint does.
"""

import asyncio

from power_loop import AgentEventType, AgentLoopConfig, LLMRetryPolicy, StatefulAgentLoop
from power_loop.llms.openai_chat import OpenAIChatLLM
from power_loop.testing.faulty_server import FaultyServer, Reply, chunk, error_reply, text_reply

CUT_OFF = Reply((chunk({"content": "Half a sen"}),))  # ends without finish reason and without [DONE]
POLICY = LLMRetryPolicy(max_attempts=3, backoff_initial=0.01, backoff_max=0.02, total_timeout=60)


async def main() -> None:
    busy = error_reply(429, "slow down", headers={"Retry-After": "0"})
    script = [busy, CUT_OFF, text_reply("Here ", "I am."), busy, busy, busy, text_reply("Back again.")]
    async with FaultyServer(script) as server:
        model = OpenAIChatLLM(model="any", base_url=server.base_url)
        async with StatefulAgentLoop(llm=model, config=AgentLoopConfig(retry_policy=POLICY)) as loop:
            loop.event_bus.subscribe(
                AgentEventType.LLM_RETRY_ATTEMPTED,
                lambda event: print(f"  attempt {event.payload['attempt'] + 1} failed: {event.payload['error_type']}"),
            )
            result = await loop.send("Are you there?")
            print(f"{result.status}: {result.final_text}")

            result = await loop.send("And now?", result.session_id)
            print(f"{result.status}: {result.error and result.error.code}")

            result = await loop.resume(result.session_id)
            print(f"{result.status}: {result.final_text}  ({len(server.requests)} requests in all)")
        await model.close()


asyncio.run(main())
