"""One process that drives the demo's session: starts it, or continues it. Tells its parent what it hears."""

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from power_loop.cli.demo.ledger import Ledger, tell
from power_loop.cli.demo.subject import PaidLLM, make_tools, question
from power_loop.face.config import AgentLoopConfig
from power_loop.face.loop import StatefulAgentLoop
from power_loop.facts.errors import PowerLoopError
from power_loop.facts.events import AgentEvent, AgentEventType
from power_loop.llms.resolve import service_from_string
from power_loop.ports.bus import AgentEventBus

_QUIET = frozenset({AgentEventType.STREAM_DELTA, AgentEventType.STREAM_THINK_DELTA, AgentEventType.STREAM_TOOL_DELTA})


class Order(msgspec.Struct, frozen=True):
    """What a worker is to do. ``session`` empty: start one."""

    db: str
    ledger: str
    model: str
    session: str = ""


def end_with_parent() -> None:
    """End this process when its parent is gone: the pipe on stdin closes with it, whatever ended it."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _hear(event: AgentEvent) -> None:
    if event.type not in _QUIET:
        tell(str(event.type), seq=event.seq, attempt=event.attempt, data=event.payload)


async def _work(order: Order) -> None:
    ledger = Ledger(Path(order.ledger))
    bus = AgentEventBus()
    service = PaidLLM(service_from_string(order.model), ledger)
    loop = StatefulAgentLoop(
        llm=service,
        tools=make_tools(ledger),
        db_path=order.db,
        config=AgentLoopConfig(max_tokens=None),
        event_bus=bus,
    )
    async with loop:
        try:
            bus.subscribe(None, _hear)
            result = await _drive(loop, order.session)
        finally:
            await service.close()
    error: dict[str, Any] = {} if result.error is None else {"code": result.error.code, "message": result.error.message}
    tell("result", status=result.status, text=result.final_text, error=error)


async def _drive(loop: StatefulAgentLoop, session: str) -> Any:  # noqa: ANN401 -- StatefulResult
    if session:
        return await loop.resume(session)
    session = await loop.new_session(metadata={"made_by": "power-loop demo"})
    tell("opened", session=session)
    return await loop.send(question(), session)


def main() -> int:
    """Do what the order in the first argument says."""
    end_with_parent()
    try:
        asyncio.run(_work(msgspec.json.decode(sys.argv[1], type=Order)))
    except PowerLoopError as error:
        tell("failed", code=error.code, message=error.message)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
