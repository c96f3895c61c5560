"""Looking after what is stored: find a message and erase it, export what is old, prune it, bring it back.

The model is scripted, so that this runs without a key; none of these verbs calls one.
"""

import asyncio
from datetime import timedelta

from power_loop import SessionStats, StatefulAgentLoop
from power_loop.testing import FakeClock, ScriptedLLM

DAY = 86_400


async def forget_a_card(loop: StatefulAgentLoop, session: str) -> None:
    for hit in await loop.search("card 4929"):
        erased = await loop.erase_message(hit.session_id, hit.seq, reason="asked for by its owner")
        print(f"entry {hit.seq} found, erased: {erased}")
    print("left of it:", [message["content"] for message in await loop.get_messages(session)])


async def keep_a_month(loop: StatefulAgentLoop) -> tuple[str, ...]:
    """Export what a prune would delete, then let it."""
    month = timedelta(days=30)
    for session in (await loop.prune(older_than=month, dry_run=True)).sessions:
        await loop.export_session(session, f"{session}.jsonl")
    done = await loop.prune(older_than=month)
    print(f"pruned {done.sessions}: {done.entries} entries, {done.bytes > 0}")
    return done.sessions


def told(size: SessionStats) -> str:
    return f"{size.session_id} ({size.entries} entries)"


async def main() -> None:
    clock = FakeClock()  # so that a month can pass
    async with StatefulAgentLoop(llm=ScriptedLLM("Noted.", repeat=True), db_path="sessions.db", clock=clock) as loop:
        for session in ("spring", "summer"):
            await loop.new_session(session)
            await loop.send(f"My card is 4929 1234, and it is {session}.", session)
            clock.advance(40 * DAY if session == "spring" else 0)
        await loop.export_session("spring", "untouched.jsonl")
        await forget_a_card(loop, "summer")
        clock.advance(DAY)
        await keep_a_month(loop)
        await loop.import_session("untouched.jsonl", session_id="spring-copy")
        print("held now:", ", ".join(map(told, (await loop.stats()).sessions)))
        print("space given back:", await loop.vacuum() >= 0)


asyncio.run(main())
